//! Pelton's names for types: the SQL names that settings, `show` and casts use, and the Arrow types that they mean.

use arrow::datatypes::{DataType, Field, TimeUnit};
use std::sync::Arc;

/// The time type: microseconds since the epoch, UTC, as Delta Lake stores it.
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Reads a type as written in settings: `bigint`, `decimal(12,2)`, `text[]`, `struct<a bigint, b text>`.
///
/// Known names: `boolean`, `tinyint`, `smallint`, `int`/`integer`, `bigint`, `real`/`float`, `double`, `decimal(p,s)` with p
/// up to 38, `text`/`varchar`/`string`, `bytes`/`binary`, `date`, `timestamp` (microseconds, UTC).
pub fn parse(text: &str) -> Result<DataType, String> {
    let text = text.trim();
    if let Some(inner) = text.strip_suffix("[]") {
        return Ok(DataType::List(Arc::new(Field::new("item", parse(inner)?, true))));
    }
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
    if let Some(inner) = lower.strip_prefix("struct<") {
        let inner = &text[text.len() - inner.len()..];
        let inner = inner.strip_suffix('>').ok_or_else(|| unknown(text))?;
        let fields = split_top(inner)
            .into_iter()
            .map(|field| {
                let (name, data_type) = field.trim().split_once(' ').ok_or_else(|| unknown(text))?;
                Ok(Field::new(name.trim(), parse(data_type)?, true))
            })
            .collect::<Result<Vec<_>, String>>()?;
        return Ok(DataType::Struct(fields.into()));
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

/// Splits at commas that are not inside `<>` or `()`.
fn split_top(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0i32, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '<' | '(' => depth += 1,
            '>' | ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
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
            let fields = fields.iter().map(|f| format!("{} {}", f.name(), name(f.data_type())));
            format!("struct<{}>", fields.collect::<Vec<_>>().join(", "))
        }
        DataType::Dictionary(_, value) => name(value),
        other => other.to_string().to_lowercase(),
    }
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
}
