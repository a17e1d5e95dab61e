//! Pelton's names for types: the SQL names that settings, `show` and casts use, and the Arrow types that they mean.

use arrow::datatypes::{DataType, Field, TimeUnit};
use std::sync::Arc;

/// The time type: microseconds since the epoch, UTC, as Delta Lake stores it.
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Reads a type as written in settings: `bigint`, `decimal(12,2)`, `text[]`, `struct<a bigint, "first name" text>`.
///
/// Known names: `boolean`, `tinyint`, `smallint`, `int`/`integer`, `bigint`, `real`/`float`, `double`, `decimal(p,s)` with p
/// up to 38, `text`/`varchar`/`string`, `bytes`/`binary`, `date`, `timestamp` (microseconds, UTC).
pub fn parse(text: &str) -> Result<DataType, String> {
    let text = text.trim();
    let (data_type, rest) = leading(text)?;
    if rest.trim_start().is_empty() { Ok(data_type) } else { Err(unknown(text)) }
}

/// Reads the type with which a text begins, up to a comma or an angle bracket of what is around it; gives what follows.
fn leading(text: &str) -> Result<(DataType, &str), String> {
    let text = text.trim_start_matches(WHITE);
    let word = &text[..end_of_word(text)];
    let (mut data_type, mut rest) = match word.get(..7).filter(|begin| begin.eq_ignore_ascii_case("struct<")) {
        Some(_) => fields(&text[7..]).map(|(fields, rest)| (DataType::Struct(fields.into()), rest))?,
        None => (plain(word.trim_end_matches(WHITE))?, &text[word.len()..]),
    };
    while let Some(after) = rest.trim_start_matches(WHITE).strip_prefix("[]") {
        data_type = DataType::List(Arc::new(Field::new("item", data_type, true)));
        rest = after;
    }
    Ok((data_type, rest))
}

/// White space between the words of a type, and what makes a field's name need quotes.
const WHITE: [char; 5] = [' ', '\t', '\n', '\r', '\u{c}'];

/// Where the word ends that names a type: `struct<` with its bracket, others with what stands in parentheses behind them.
fn end_of_word(text: &str) -> usize {
    let mut in_parentheses = false;
    for (at, c) in text.char_indices() {
        match c {
            '(' => in_parentheses = true,
            ')' => in_parentheses = false,
            '<' if text[..at].eq_ignore_ascii_case("struct") => return at + 1,
            ',' | '>' | '[' if !in_parentheses => return at,
            _ => {}
        }
    }
    text.len()
}

/// Reads the fields of a struct up to the bracket that closes it; gives what follows.
fn fields(text: &str) -> Result<(Vec<Field>, &str), String> {
    let (mut fields, mut rest) = (Vec::new(), text.trim_start_matches(WHITE));
    if let Some(after) = rest.strip_prefix('>') {
        return Ok((fields, after));
    }
    loop {
        let (name, data_type, after) = field(rest)?;
        fields.push(Field::new(name, data_type, true));
        let after = after.trim_start_matches(WHITE);
        rest = match after.chars().next() {
            Some(',') => after[1..].trim_start_matches(WHITE),
            Some('>') => return Ok((fields, &after[1..])),
            _ => return Err(unknown(text)),
        };
    }
}

/// Reads a field's name and type; gives what follows.
fn field(text: &str) -> Result<(String, DataType, &str), String> {
    if let Some(quoted) = text.strip_prefix('"') {
        let mut end = 0;
        loop {
            end += quoted[end..].find('"').ok_or_else(|| unknown(text))?;
            // A quote that stands twice is one of the name's.
            if !quoted[end + 1..].starts_with('"') {
                break;
            }
            end += 2;
        }
        let (data_type, rest) = leading(&quoted[end + 1..])?;
        return Ok((quoted[..end].replace("\"\"", "\""), data_type, rest));
    }
    // Names with white space were once written without quotes: such a name ends where a type begins.
    let mut first_mistake = None;
    for (at, _) in text.match_indices(WHITE) {
        match leading(&text[at..]) {
            Ok((data_type, rest)) => return Ok((text[..at].to_string(), data_type, rest)),
            Err(mistake) => first_mistake = first_mistake.or(Some(mistake)),
        }
    }
    Err(first_mistake.unwrap_or_else(|| unknown(text)))
}

/// Reads a type that holds no other.
fn plain(text: &str) -> Result<DataType, String> {
    let lower = text.to_ascii_lowercase();
    if let Some(inner) = lower.strip_prefix("decimal(").or_else(|| lower.strip_prefix("numeric(")) {
        let inner = inner.strip_suffix(')').ok_or_else(|| unknown(text))?;
        let (precision, scale) = inner.split_once(',').unwrap_or((inner, "0"));
        let precision: u8 = precision.trim().parse().map_err(|_| unknown(text))?;
        let scale: i8 = scale.trim().parse().map_err(|_| unknown(text))?;
        if precision == 0 || precision > 38 || scale < 0 || scale as u8 > precision {
            return Err(format!("`{text}`: the precision is 1 to 38, the scale 0 to the precision"));
        }
        return Ok(DataType::Decimal128(precision, scale));
    }
    Ok(match lower.as_str() {
        "boolean" | "bool" => DataType::Boolean,
        "tinyint" => DataType::Int8,
        "smallint" => DataType::Int16,
        "int" | "integer" => DataType::Int32,
        "bigint" => DataType::Int64,
        "real" | "float" => DataType::Float32,
        "double" | "double precision" => DataType::Float64,
        "text" | "varchar" | "string" => DataType::Utf8,
        "bytes" | "binary" | "bytea" => DataType::Binary,
        "date" => DataType::Date32,
        "timestamp" | "timestamptz" => timestamp(),
        _ => return Err(unknown(text)),
    })
}

fn unknown(text: &str) -> String {
    const KNOWN: [&str; 13] = [
        "boolean",
        "tinyint",
        "smallint",
        "int",
        "bigint",
        "real",
        "double",
        "decimal(p,s)",
        "text",
        "bytes",
        "date",
        "timestamp",
        "struct<name type, ...>",
    ];
    match pelton_base::suggest::did_you_mean(text, KNOWN) {
        Some(known) => format!("`{text}` is not a type; did you mean `{known}`?"),
        None => format!("`{text}` is not a type; types are {}, and TYPE[]", KNOWN.join(", ")),
    }
}

/// The name of a type, which [`parse`] reads back for every type that a table can have.
pub fn name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "boolean".into(),
        DataType::Int8 => "tinyint".into(),
        DataType::Int16 | DataType::UInt8 => "smallint".into(),
        DataType::Int32 | DataType::UInt16 => "int".into(),
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => "bigint".into(),
        DataType::Float16 | DataType::Float32 => "real".into(),
        DataType::Float64 => "double".into(),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => {
            format!("decimal({p},{s})")
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "bytes".into()
        }
        DataType::Date32 | DataType::Date64 => "date".into(),
        DataType::Timestamp(_, _) => "timestamp".into(),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            format!("{}[]", name(item.data_type()))
        }
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|f| format!("{} {}", field_name(f.name()), name(f.data_type())));
            format!("struct<{}>", fields.collect::<Vec<_>>().join(", "))
        }
        DataType::Dictionary(_, value) => name(value),
        other => other.to_string().to_lowercase(),
    }
}

/// A field's name as it stands in the name of a struct: in double quotes where the type could not be read back without them.
/// Which names those are is part of the digests of tables.
fn field_name(name: &str) -> std::borrow::Cow<'_, str> {
    let needs_quotes = name.is_empty() || name.starts_with(['"', '>']) || name.contains(',') || name.contains(WHITE);
    if needs_quotes { format!("\"{}\"", name.replace('"', "\"\"")).into() } else { name.into() }
}

/// The type in which a column of this type is stored: unsigned become signed and wider, views and dictionaries plain,
/// times microseconds in UTC. `None` when a table cannot hold it.
pub fn stored(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::Binary
        | DataType::Date32
        | DataType::Decimal128(_, _) => data_type.clone(),
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Date64 => DataType::Date32,
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => DataType::Decimal128(*p, *s),
        DataType::Timestamp(_, _) => timestamp(),
        DataType::Dictionary(_, value) => stored(value)?,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            DataType::List(Arc::new(Field::new("item", stored(item.data_type())?, true)))
        }
        DataType::Struct(fields) => DataType::Struct(
            fields
                .iter()
                .map(|f| Some(Field::new(f.name(), stored(f.data_type())?, true)))
                .collect::<Option<Vec<_>>>()?
                .into(),
        ),
        DataType::Null => DataType::Utf8,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_round_trip() {
        for text in ["boolean", "bigint", "decimal(12,2)", "text[]", "timestamp", "struct<a bigint, b decimal(5,1)[]>"]
        {
            assert_eq!(name(&parse(text).unwrap()), text);
        }
        assert!(parse("bigit").unwrap_err().contains("did you mean `bigint`"));
        assert!(parse("decimal(50,2)").is_err());
    }

    #[test]
    fn any_name_of_a_field_survives_a_round_trip() {
        let names = [
            "a",
            "first name",
            "",
            "a,b",
            "a<b",
            "a>b",
            ">",
            "a(b",
            "a)b",
            "\"a\"",
            "a\"b",
            "a[]",
            " a ",
            "\t",
            "text",
            "a\nb",
        ];
        let field = |name: &&str, data_type: &DataType| Field::new(*name, data_type.clone(), true);
        let inner = DataType::Struct(names.iter().map(|name| field(name, &DataType::Decimal128(5, 1))).collect());
        let list = DataType::List(Arc::new(Field::new("item", inner, true)));
        let data_type = DataType::Struct(names.iter().map(|name| field(name, &list)).collect());
        assert_eq!(parse(&name(&data_type)).unwrap(), data_type);
        for one in names {
            let data_type = DataType::Struct(vec![field(&one, &DataType::Utf8)].into());
            assert_eq!(parse(&name(&data_type)).unwrap(), data_type, "{one:?}");
        }
    }

    #[test]
    fn names_that_need_no_quotes_get_none() {
        let of = |field: &str| name(&DataType::Struct(vec![Field::new(field, DataType::Int64, true)].into()));
        for plain in ["a", "Zoë", "a-b", "a.b", "a(b)", "a<b>", "a\"b", "a[]", "a\u{a0}b"] {
            assert_eq!(of(plain), format!("struct<{plain} bigint>"));
        }
        assert_eq!(of("first name"), "struct<\"first name\" bigint>");
        assert_eq!(of("a,\"b"), "struct<\"a,\"\"b\" bigint>");
        assert_eq!(of(""), "struct<\"\" bigint>");
    }

    #[test]
    fn types_written_before_names_were_quoted_are_read() {
        let read = |text: &str| name(&parse(text).unwrap());
        assert_eq!(read("struct<first name text, id bigint>"), "struct<\"first name\" text, id bigint>");
        assert_eq!(read("struct<a b struct<c d int[]>[]>"), "struct<\"a b\" struct<\"c d\" int[]>[]>");
        assert_eq!(read(" STRUCT< a  BIGINT ,b double precision [] > "), "struct<a bigint, b double[]>");
        for wrong in [
            "struct<a",
            "struct<a>",
            "struct<a bigint",
            "struct<a bigint> x",
            "struct<\"a bigint>",
            "struct<a bigint,>",
            "text[",
            "[]",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
