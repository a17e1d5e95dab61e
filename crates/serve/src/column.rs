//! [`ColumnBuilder`]: JSON values, still as text, into one Arrow column of a known type, strictly.

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder,
    Int8Builder, Int16Builder, Int32Builder, Int64Builder, ListArray, StringBuilder, StructArray,
    TimestampMicrosecondBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, FieldRef, Fields, TimeUnit};
use base64::Engine as _;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many characters of a refused value a message shows.
const SHOWN_MAX: usize = 40;

/// A value that does not read as its column's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// What the column takes.
    pub expected: String,
    /// What was sent.
    pub got: String,
}

impl Wrong {
    pub(crate) fn new(expected: impl Into<String>, got: &str) -> Self {
        let mut shown: String = got.chars().take(SHOWN_MAX).collect();
        if shown.len() < got.len() {
            shown.push_str("...");
        }
        Wrong { expected: expected.into(), got: shown }
    }
}

/// Which spellings of a value are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// What a client sends.
    Request,
    /// What [`crate::write_value`] wrote: also `"NaN"`, `"Infinity"` and `"-Infinity"`, and times as numbers.
    Log,
}

/// Collects the values of one column.
#[derive(Debug)]
pub struct ColumnBuilder {
    dialect: Dialect,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Boolean(BooleanBuilder),
    Int8(Int8Builder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder, u8, i8),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Time(TimestampMicrosecondBuilder),
    List { item: FieldRef, items: Box<ColumnBuilder>, lengths: Vec<usize>, valid: Vec<bool> },
    Struct { fields: Fields, columns: Vec<ColumnBuilder>, valid: Vec<bool> },
}

impl ColumnBuilder {
    /// A column of a type that tables store; `None` for others.
    pub fn new(data_type: &DataType, dialect: Dialect) -> Option<Self> {
        let values = match data_type {
            DataType::Boolean => Values::Boolean(BooleanBuilder::new()),
            DataType::Int8 => Values::Int8(Int8Builder::new()),
            DataType::Int16 => Values::Int16(Int16Builder::new()),
            DataType::Int32 => Values::Int32(Int32Builder::new()),
            DataType::Int64 => Values::Int64(Int64Builder::new()),
            DataType::Float32 => Values::Float32(Float32Builder::new()),
            DataType::Float64 => Values::Float64(Float64Builder::new()),
            DataType::Decimal128(p, s) => {
                Values::Decimal(Decimal128Builder::new().with_data_type(data_type.clone()), *p, *s)
            }
            DataType::Utf8 => Values::Text(StringBuilder::new()),
            DataType::Binary => Values::Bytes(BinaryBuilder::new()),
            DataType::Date32 => Values::Date(Date32Builder::new()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Values::Time(TimestampMicrosecondBuilder::new().with_data_type(data_type.clone()))
            }
            DataType::List(item) => Values::List {
                item: Arc::clone(item),
                items: Box::new(ColumnBuilder::new(item.data_type(), dialect)?),
                lengths: Vec::new(),
                valid: Vec::new(),
            },
            DataType::Struct(fields) => Values::Struct {
                fields: fields.clone(),
                columns: fields
                    .iter()
                    .map(|field| ColumnBuilder::new(field.data_type(), dialect))
                    .collect::<Option<_>>()?,
                valid: Vec::new(),
            },
            _ => return None,
        };
        Some(ColumnBuilder { dialect, values })
    }

    /// Appends a missing value.
    pub fn push_null(&mut self) {
        match &mut self.values {
            Values::Boolean(b) => b.append_null(),
            Values::Int8(b) => b.append_null(),
            Values::Int16(b) => b.append_null(),
            Values::Int32(b) => b.append_null(),
            Values::Int64(b) => b.append_null(),
            Values::Float32(b) => b.append_null(),
            Values::Float64(b) => b.append_null(),
            Values::Decimal(b, _, _) => b.append_null(),
            Values::Text(b) => b.append_null(),
            Values::Bytes(b) => b.append_null(),
            Values::Date(b) => b.append_null(),
            Values::Time(b) => b.append_null(),
            Values::List { lengths, valid, .. } => {
                lengths.push(0);
                valid.push(false);
            }
            Values::Struct { columns, valid, .. } => {
                columns.iter_mut().for_each(ColumnBuilder::push_null);
                valid.push(false);
            }
        }
    }

    /// Appends a JSON value; `null` is a missing value. After a mistake the column is good for finding more mistakes only, not for
    /// [`ColumnBuilder::finish`].
    pub fn push(&mut self, json: &str) -> Result<(), Wrong> {
        if json == "null" {
            self.push_null();
            return Ok(());
        }
        self.push_value(json)
    }

    fn push_value(&mut self, json: &str) -> Result<(), Wrong> {
        let dialect = self.dialect;
        match &mut self.values {
            Values::Boolean(b) => match json {
                "true" => b.append_value(true),
                "false" => b.append_value(false),
                _ => return Err(Wrong::new("true or false", json)),
            },
            Values::Int8(b) => b.append_value(integer(json, i8::MIN.into(), i8::MAX.into())? as i8),
            Values::Int16(b) => b.append_value(integer(json, i16::MIN.into(), i16::MAX.into())? as i16),
            Values::Int32(b) => b.append_value(integer(json, i32::MIN.into(), i32::MAX.into())? as i32),
            Values::Int64(b) => b.append_value(integer(json, i64::MIN, i64::MAX)?),
            Values::Float32(b) => {
                b.append_value(float::<f32>(json, dialect, |v| v.is_finite(), [f32::NAN, f32::INFINITY])?);
            }
            Values::Float64(b) => {
                b.append_value(float::<f64>(json, dialect, |v| v.is_finite(), [f64::NAN, f64::INFINITY])?);
            }
            Values::Decimal(b, p, s) => {
                let text = unquote(json).unwrap_or(Cow::Borrowed(json));
                b.append_value(decimal(&text, *p, *s).ok_or_else(|| Wrong::new(decimal_words(*p, *s), json))?);
            }
            Values::Date(b) if dialect == Dialect::Log && is_number(json) => {
                b.append_value(integer(json, i32::MIN.into(), i32::MAX.into())? as i32);
            }
            Values::Time(b) if dialect == Dialect::Log && is_number(json) => {
                b.append_value(integer(json, i64::MIN, i64::MAX)?);
            }
            Values::Text(_) | Values::Bytes(_) | Values::Date(_) | Values::Time(_) => {
                let expected = self.text_words();
                let text = unquote(json).ok_or_else(|| Wrong::new(expected, json))?;
                return self.push_text(&text);
            }
            Values::List { items, lengths, valid, .. } => {
                let parts: Vec<&RawValue> =
                    serde_json::from_str(json).map_err(|_| Wrong::new("a list of values", json))?;
                for part in &parts {
                    items.push(part.get())?;
                }
                lengths.push(parts.len());
                valid.push(true);
            }
            Values::Struct { fields, columns, valid } => {
                let parts: BTreeMap<String, &RawValue> =
                    serde_json::from_str(json).map_err(|_| Wrong::new("an object", json))?;
                if let Some(name) = parts.keys().find(|name| !fields.iter().any(|field| field.name() == *name)) {
                    let known = fields.iter().map(|field| format!("`{}`", field.name())).collect::<Vec<_>>();
                    return Err(Wrong::new(format!("an object of {}", known.join(", ")), name));
                }
                for (field, column) in fields.iter().zip(columns) {
                    match parts.get(field.name()) {
                        Some(part) => column.push(part.get())?,
                        None => column.push_null(),
                    }
                }
                valid.push(true);
            }
        }
        Ok(())
    }

    /// Appends a text as if it stood in JSON, for columns that are written as text: text, decimals, times, dates, bytes.
    pub fn push_text(&mut self, text: &str) -> Result<(), Wrong> {
        let expected = self.text_words();
        let wrong = || Wrong::new(expected, &format!("\"{text}\""));
        match &mut self.values {
            Values::Text(b) => b.append_value(text),
            Values::Bytes(b) => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| wrong())?;
                b.append_value(bytes);
            }
            Values::Date(b) => {
                let us = if text.len() == 10 { pelton_base::parse_time_us(text) } else { None };
                let days = us.map(|us| us.div_euclid(86_400_000_000)).and_then(|days| i32::try_from(days).ok());
                b.append_value(days.ok_or_else(wrong)?);
            }
            Values::Time(b) => b.append_value(pelton_base::parse_time_us(text).ok_or_else(wrong)?),
            Values::Decimal(b, p, s) => {
                b.append_value(decimal(text, *p, *s).ok_or_else(|| Wrong::new(decimal_words(*p, *s), text))?);
            }
            _ => return Err(wrong()),
        }
        Ok(())
    }

    /// Appends an integer, where the column holds it exactly.
    pub fn push_integer(&mut self, value: i128) -> Result<(), Wrong> {
        // Integers beyond these have gaps between them in the float.
        const SINGLE_MAX: u128 = 1 << 24;
        const DOUBLE_MAX: u128 = 1 << 53;
        let wrong =
            |low: i128, high: i128| Err(Wrong::new(format!("an integer from {low} to {high}"), &value.to_string()));
        macro_rules! ranged {
            ($builder:expr, $type:ty) => {
                match <$type>::try_from(value) {
                    Ok(value) => $builder.append_value(value),
                    Err(_) => return wrong(<$type>::MIN.into(), <$type>::MAX.into()),
                }
            };
        }
        match &mut self.values {
            Values::Int8(b) => ranged!(b, i8),
            Values::Int16(b) => ranged!(b, i16),
            Values::Int32(b) => ranged!(b, i32),
            Values::Int64(b) => ranged!(b, i64),
            Values::Float32(b) if value.unsigned_abs() <= SINGLE_MAX => b.append_value(value as f32),
            Values::Float32(_) => return wrong(-(SINGLE_MAX as i128), SINGLE_MAX as i128),
            Values::Float64(b) if value.unsigned_abs() <= DOUBLE_MAX => b.append_value(value as f64),
            Values::Float64(_) => return wrong(-(DOUBLE_MAX as i128), DOUBLE_MAX as i128),
            Values::Decimal(..) => return self.push_text(&value.to_string()),
            _ => return Err(Wrong::new(self.text_words(), &value.to_string())),
        }
        Ok(())
    }

    /// Appends a single-precision number. One that is not a number stays so where the column holds it, as in a table, and is a missing
    /// value elsewhere.
    pub fn push_single(&mut self, value: f32) -> Result<(), Wrong> {
        match &mut self.values {
            // The log knows one.
            Values::Float32(b) if value.is_nan() => b.append_value(f32::NAN),
            Values::Float32(b) if value.is_finite() => b.append_value(value),
            Values::Decimal(..) if value.is_finite() => return self.push_text(&value.to_string()),
            _ => return self.push_double(value.into()),
        }
        Ok(())
    }

    /// Appends a number; one that is not a number as [`ColumnBuilder::push_single`] does.
    pub fn push_double(&mut self, value: f64) -> Result<(), Wrong> {
        match &mut self.values {
            Values::Float64(b) if value.is_nan() => b.append_value(f64::NAN),
            _ if value.is_nan() => self.push_null(),
            _ if value.is_infinite() => return Err(Wrong::new("a finite number", &value.to_string())),
            Values::Float64(b) => b.append_value(value),
            Values::Decimal(..) => return self.push_text(&value.to_string()),
            _ => return Err(Wrong::new(self.text_words(), &value.to_string())),
        }
        Ok(())
    }

    /// Appends a truth value.
    pub fn push_boolean(&mut self, value: bool) -> Result<(), Wrong> {
        match &mut self.values {
            Values::Boolean(b) => b.append_value(value),
            _ => return Err(Wrong::new(self.text_words(), &value.to_string())),
        }
        Ok(())
    }

    /// Appends bytes: to a column of bytes as they are, to others as the text that they are in UTF-8.
    pub fn push_bytes(&mut self, value: &[u8]) -> Result<(), Wrong> {
        match &mut self.values {
            Values::Bytes(b) => {
                b.append_value(value);
                Ok(())
            }
            _ => match std::str::from_utf8(value) {
                Ok(text) => self.push_text(text),
                Err(_) => Err(Wrong::new(self.text_words(), "bytes that are not UTF-8")),
            },
        }
    }

    fn text_words(&self) -> &'static str {
        match &self.values {
            Values::Text(_) => "text",
            Values::Bytes(_) => "bytes as base64 text",
            Values::Date(_) => "a date as text, such as \"2026-03-01\"",
            Values::Time(_) => "a time as text, such as \"2026-03-01T12:00:00Z\"",
            Values::Decimal(_, _, _) => "a number",
            Values::Boolean(_) => "true or false",
            Values::List { .. } => "a list of values",
            Values::Struct { .. } => "an object",
            Values::Float32(_) | Values::Float64(_) => "a number",
            Values::Int8(_) | Values::Int16(_) | Values::Int32(_) | Values::Int64(_) => "an integer",
        }
    }

    /// The column.
    pub fn finish(self) -> ArrayRef {
        match self.values {
            Values::Boolean(mut b) => Arc::new(b.finish()),
            Values::Int8(mut b) => Arc::new(b.finish()),
            Values::Int16(mut b) => Arc::new(b.finish()),
            Values::Int32(mut b) => Arc::new(b.finish()),
            Values::Int64(mut b) => Arc::new(b.finish()),
            Values::Float32(mut b) => Arc::new(b.finish()),
            Values::Float64(mut b) => Arc::new(b.finish()),
            Values::Decimal(mut b, _, _) => Arc::new(b.finish()),
            Values::Text(mut b) => Arc::new(b.finish()),
            Values::Bytes(mut b) => Arc::new(b.finish()),
            Values::Date(mut b) => Arc::new(b.finish()),
            Values::Time(mut b) => Arc::new(b.finish()),
            Values::List { item, items, lengths, valid } => Arc::new(ListArray::new(
                item,
                OffsetBuffer::from_lengths(lengths),
                items.finish(),
                Some(NullBuffer::from(valid)),
            )),
            Values::Struct { fields, columns, valid } => {
                let rows = valid.len();
                let columns = columns.into_iter().map(ColumnBuilder::finish).collect();
                let array = StructArray::try_new_with_length(fields, columns, Some(NullBuffer::from(valid)), rows);
                Arc::new(array.expect("every column got a value for every row"))
            }
        }
    }
}

/// The text that a JSON string means; `None` when `json` is not a string.
pub(crate) fn unquote(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(json).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// An integer, also written as `5.0` or `5e0`: some clients have no other numbers.
fn integer(json: &str, low: i64, high: i64) -> Result<i64, Wrong> {
    // Above 2^53 a float no longer tells neighbouring integers apart.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let written_as_float = || {
        let value: f64 = if is_number(json) { json.parse().ok()? } else { return None };
        (value.fract() == 0.0 && value.abs() <= EXACT_MAX).then_some(value as i64)
    };
    match json.parse::<i64>().ok().or_else(written_as_float) {
        Some(value) if (low..=high).contains(&value) => Ok(value),
        // Digits beyond the type are an integer all the same, and told the range.
        _ if (low, high) == (i64::MIN, i64::MAX) && json.parse::<i128>().is_err() => {
            Err(Wrong::new("an integer", json))
        }
        _ => Err(Wrong::new(format!("an integer from {low} to {high}"), json)),
    }
}

/// Whether JSON text is a number: the text is valid JSON, so its first character tells.
fn is_number(json: &str) -> bool {
    json.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

fn float<F: std::str::FromStr + Copy + std::ops::Neg<Output = F>>(
    json: &str,
    dialect: Dialect,
    is_finite: fn(F) -> bool,
    [nan, infinity]: [F; 2],
) -> Result<F, Wrong> {
    if is_number(json)
        && let Ok(value) = json.parse::<F>()
    {
        // JSON has no infinities: this one was written as digits that do not fit.
        return if is_finite(value) { Ok(value) } else { Err(Wrong::new("a number within the type's range", json)) };
    }
    match (dialect, json) {
        (Dialect::Log, "\"NaN\"") => Ok(nan),
        (Dialect::Log, "\"Infinity\"") => Ok(infinity),
        (Dialect::Log, "\"-Infinity\"") => Ok(-infinity),
        _ => Err(Wrong::new("a number", json)),
    }
}

fn decimal_words(precision: u8, scale: i8) -> String {
    let whole = i16::from(precision) - i16::from(scale);
    format!("a number with at most {whole} digits before and {scale} after the point")
}

/// A decimal in units of its scale; `None` when the text is not a number or a digit other than zero does not fit.
fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || !whole.bytes().chain(part.bytes()).all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let mut shift = exponent.checked_add(i32::from(scale))?.checked_sub(i32::try_from(part.len()).ok()?)?;
    let digits: String = whole.chars().chain(part.chars()).collect();
    let mut digits = digits.trim_start_matches('0');
    while shift < 0 && digits.ends_with('0') {
        digits = &digits[..digits.len() - 1];
        shift += 1;
    }
    if digits.is_empty() {
        return Some(0);
    }
    if shift < 0 || digits.len() + usize::try_from(shift).ok()? > usize::from(precision) {
        return None;
    }
    let value = digits.parse::<i128>().ok()? * 10i128.pow(shift.unsigned_abs());
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::cast::AsArray;
    use arrow::array::types::{Date32Type, Decimal128Type, Float32Type, Float64Type, Int64Type};
    use pelton_query::types;

    fn read(data_type: &str, dialect: Dialect, values: &[&str]) -> Result<ArrayRef, Wrong> {
        let mut column = ColumnBuilder::new(&types::parse(data_type).unwrap(), dialect).unwrap();
        values.iter().try_for_each(|value| column.push(value))?;
        Ok(column.finish())
    }

    fn wrong(data_type: &str, value: &str) -> String {
        read(data_type, Dialect::Request, &[value]).unwrap_err().expected
    }

    #[test]
    fn decimals_are_read_digit_by_digit() {
        let column = read("decimal(12,2)", Dialect::Request, &["12.34", "-0.1", "1e3", "\"7.50\"", "0.10000", "null"]);
        let column = column.unwrap();
        assert_eq!(column.as_primitive::<Decimal128Type>().values()[..5], [1234, -10, 100_000, 750, 10]);
        assert!(column.is_null(5));
        for bad in ["12.345", "10000000000", "true", "\"abc\"", "1e40", "1e-3"] {
            assert!(wrong("decimal(12,2)", bad).starts_with("a number with at most 10 digits before and 2"), "{bad}");
        }
    }

    #[test]
    fn integers_keep_their_range_and_every_digit() {
        let column = read("bigint", Dialect::Request, &["9223372036854775807", "5.0", "-3"]).unwrap();
        assert_eq!(column.as_primitive::<Int64Type>().values()[..], [i64::MAX, 5, -3]);
        assert_eq!(wrong("tinyint", "128"), "an integer from -128 to 127");
        assert_eq!(wrong("bigint", "1.5"), "an integer");
        assert_eq!(wrong("bigint", "9223372036854775808"), format!("an integer from {} to {}", i64::MIN, i64::MAX));
        assert_eq!(wrong("bigint", "\"5\""), "an integer");
    }

    #[test]
    fn what_is_not_a_number_stays_so_where_the_type_has_it() {
        let column = |data_type: &str| ColumnBuilder::new(&types::parse(data_type).unwrap(), Dialect::Request).unwrap();
        let [mut double, mut single, mut decimal] = ["double", "real", "decimal(12,2)"].map(column);
        double.push_double(-f64::NAN).unwrap();
        double.push_single(f32::NAN).unwrap();
        single.push_single(-f32::NAN).unwrap();
        decimal.push_double(f64::NAN).unwrap();
        let double = double.finish();
        // The log does not tell one from another, so there is one.
        let bits: Vec<u64> =
            double.as_primitive::<Float64Type>().values().iter().map(|value| value.to_bits()).collect();
        assert_eq!((double.null_count(), bits), (0, vec![f64::NAN.to_bits(); 2]));
        assert_eq!(through_text(&double).as_primitive::<Float64Type>().value(0).to_bits(), f64::NAN.to_bits());
        let single = single.finish();
        assert_eq!(single.as_primitive::<Float32Type>().value(0).to_bits(), f32::NAN.to_bits());
        assert!(decimal.finish().is_null(0));
        assert!(column("double").push_double(f64::INFINITY).is_err());
    }

    #[test]
    fn types_are_not_guessed() {
        assert_eq!(wrong("double", "\"1.5\""), "a number");
        assert_eq!(wrong("double", "\"NaN\""), "a number");
        assert_eq!(wrong("double", "1e999"), "a number within the type's range");
        assert_eq!(wrong("boolean", "1"), "true or false");
        assert_eq!(wrong("text", "5"), "text");
        assert!(wrong("timestamp", "\"yesterday\"").starts_with("a time"));
        assert!(wrong("date", "\"2026-02-30\"").starts_with("a date"));
        assert_eq!(
            read("date", Dialect::Request, &["\"1970-01-02\""]).unwrap().as_primitive::<Date32Type>().value(0),
            1
        );
    }

    #[test]
    fn what_is_logged_reads_back_to_the_same_bits() {
        let doubles =
            [0.1, -0.0, f64::MIN_POSITIVE, 5e-324, f64::MAX, 1.0 / 3.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
        let column = arrow::array::Float64Array::from(doubles.to_vec());
        let back = through_text(&column);
        for (row, value) in doubles.iter().enumerate() {
            assert_eq!(back.as_primitive::<Float64Type>().value(row).to_bits(), value.to_bits(), "{value}");
        }
        let singles = arrow::array::Float32Array::from(vec![0.1f32, f32::MIN_POSITIVE, 1.0 / 3.0, 16_777_217.0]);
        assert_eq!(through_text(&singles).as_ref(), &singles as &dyn arrow::array::Array);
        for (data_type, values) in [
            ("text", vec!["\"a\\\"b\\n\u{e9}\"", "\"\"", "null"]),
            ("bytes", vec!["\"AAEC/w==\"", "\"\""]),
            ("timestamp", vec!["\"2026-03-01T12:00:00.000001Z\"", "\"1969-12-31T23:59:59Z\""]),
            ("date", vec!["\"1900-01-01\"", "\"9999-12-31\"", "2932897", "-719529"]),
            ("timestamp", vec!["\"9999-12-31T23:59:59.999999Z\"", "253402300800000000", "-9223372036854775808"]),
            ("decimal(38,10)", vec!["\"1234567890123456789012345678.0123456789\"", "\"-0.0000000001\""]),
            ("double[]", vec!["[0.1,null,\"NaN\"]", "[]", "null"]),
            ("struct<a bigint, b text[]>", vec!["{\"a\":1,\"b\":[\"x\"]}", "null", "{\"a\":null,\"b\":null}"]),
        ] {
            let column = read(data_type, Dialect::Log, &values).unwrap();
            let mut out = Vec::new();
            (0..values.len()).for_each(|row| crate::write_value(&mut out, &column, row));
            assert_eq!(String::from_utf8(out).unwrap(), values.concat().replace("\\u{e9}", "\u{e9}"), "{data_type}");
            assert_eq!(&through_text(&column), &column, "{data_type}");
        }
    }

    fn through_text(column: &dyn arrow::array::Array) -> ArrayRef {
        let mut back = ColumnBuilder::new(column.data_type(), Dialect::Log).unwrap();
        for row in 0..column.len() {
            let mut out = Vec::new();
            crate::write_value(&mut out, column, row);
            back.push(std::str::from_utf8(&out).unwrap()).unwrap();
        }
        back.finish()
    }
}
