//! Names and literals in SQL text: the only way that our code puts either into a query.

use crate::types;
use arrow::datatypes::DataType;
use pelton_base::DAY_US;

/// Quotes an identifier: `"name"`, with quotes inside doubled.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// An identifier as somebody writes it: quoted where SQL would read another one without quotes.
pub fn as_written(name: &str) -> String {
    let is_plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if is_plain { name.to_string() } else { ident(name) }
}

/// Quotes a dotted name part by part: `pelton.runs` becomes `"pelton"."runs"`.
pub fn dotted(name: &str) -> String {
    name.split('.').map(ident).collect::<Vec<_>>().join(".")
}

/// Quotes several identifiers, separated by commas.
pub fn idents<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(ident).collect::<Vec<_>>().join(", ")
}

/// A string literal: `'text'`, with quotes inside doubled.
pub fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// What to do with a column that has to be a timestamp, for a hint.
pub fn timestamp_advice(name: &str, data_type: &DataType) -> String {
    match data_type {
        DataType::Date32 | DataType::Date64 | DataType::Utf8 => {
            let name = as_written(name);
            format!("select `cast({name} as timestamp) as {name}`")
        }
        _ => "cast it to a timestamp".to_string(),
    }
}

/// A time as an expression to compare columns of a type with: microseconds since the epoch.
pub fn instant(us: i64, data_type: &DataType) -> String {
    let at = pelton_base::format_time_us(us);
    // A year of five digits, which `9999-12-31` and a day is, and one before the first are read from no text.
    let is_read = at.as_bytes().get(4) == Some(&b'-') && at.as_bytes()[0].is_ascii_digit();
    match data_type {
        DataType::Date32 if !is_read => format!("arrow_cast(cast({} as int), 'Date32')", us.div_euclid(DAY_US)),
        _ if !is_read => format!("arrow_cast({us}, 'Timestamp(µs, \"UTC\")')"),
        DataType::Date32 => cast(&text(at.get(..10).unwrap_or(&at)), data_type),
        // Without a zone it would be read as what clocks show in the zone of the column.
        _ => format!("cast({} as timestamp(6) with time zone)", text(&at)),
    }
}

/// An expression cast to a type, written in Pelton's type names.
pub fn cast(expression: &str, data_type: &DataType) -> String {
    format!("cast({expression} as {})", types::name(data_type))
}
