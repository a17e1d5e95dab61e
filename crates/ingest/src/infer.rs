//! Types of columns that nobody declared: what the values of all rows have in common.
//!
//! What was seen is a set of marks, so neither the order of rows nor the way they are spread over files and threads matters; the
//! type is read off at the end. Types of several files, and of the version before, are joined by [`widen`].

use crate::{json, parse};
use arrow::datatypes::{DataType, Field, Fields};
use pelton_query::types;
use std::collections::HashMap;
use std::sync::Arc;

/// How deep objects and arrays are told apart; what lies deeper is kept as JSON text.
const NESTING_MAX: usize = 16;

/// How many different fields a nested object may have; one with more is a map in disguise and is kept as JSON text.
const FIELDS_MAX: usize = 500;

mod mark {
    pub(super) const BOOLEAN: u16 = 1;
    pub(super) const INTEGER: u16 = 2;
    pub(super) const DOUBLE: u16 = 4;
    pub(super) const DATE: u16 = 8;
    pub(super) const TIME: u16 = 16;
    pub(super) const TEXT: u16 = 32;
    pub(super) const LIST: u16 = 64;
    pub(super) const OBJECT: u16 = 128;
    /// A whole number that a double may not hold.
    pub(super) const LONG: u16 = 256;
}

/// What the values of a column look like so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shape {
    marks: u16,
    item: Option<Box<Shape>>,
    fields: Option<Box<Named>>,
}

/// Shapes by name, in the order of first appearance.
#[derive(Debug, Clone, Default)]
pub(crate) struct Named {
    /// The shapes.
    pub(crate) list: Vec<(String, Shape)>,
    index: HashMap<String, usize>,
}

impl Named {
    /// The position of a name, new when it was not there. `guess` is where it was the last time.
    pub(crate) fn position(&mut self, name: &str, guess: usize) -> usize {
        if self.list.get(guess).is_some_and(|(known, _)| known == name) {
            return guess;
        }
        if let Some(&at) = self.index.get(name) {
            return at;
        }
        self.list.push((name.to_string(), Shape::default()));
        self.index.insert(name.to_string(), self.list.len() - 1);
        self.list.len() - 1
    }
}

impl Shape {
    /// Takes in a value that is written as text: a CSV field.
    pub(crate) fn add_text(&mut self, text: &str) {
        // A text stays one, whatever else comes.
        if self.marks & mark::TEXT == 0 {
            self.marks |= classify(parse::trim(text));
        }
    }

    /// Takes in a JSON value.
    pub(crate) fn add_json(&mut self, raw: &str) {
        self.add_json_at(raw, 0);
    }

    fn add_json_at(&mut self, raw: &str, depth: usize) {
        match raw.as_bytes().first() {
            Some(b'n') | None => {}
            // A text stays one, whatever else comes.
            _ if self.marks & mark::TEXT != 0 => {}
            Some(b't' | b'f') => self.marks |= mark::BOOLEAN,
            Some(b'{' | b'[') if depth >= NESTING_MAX => self.marks |= mark::TEXT,
            Some(b'{') => {
                self.marks |= mark::OBJECT;
                let named = self.fields.get_or_insert_default();
                let mut guess = 0;
                let read = json::fields(raw, |name, raw| {
                    if named.list.len() <= FIELDS_MAX {
                        let at = named.position(&name, guess);
                        guess = at + 1;
                        named.list[at].1.add_json_at(raw, depth + 1);
                    }
                });
                if read.is_err() || named.list.len() > FIELDS_MAX {
                    self.marks |= mark::TEXT;
                }
            }
            Some(b'[') => {
                self.marks |= mark::LIST;
                let item = self.item.get_or_insert_default();
                if json::items(raw, |raw| item.add_json_at(raw, depth + 1)).is_err() {
                    self.marks |= mark::TEXT;
                }
            }
            // A JSON string is a text or a time, never a number in disguise.
            Some(b'"') => {
                self.marks |= json::string(raw).map_or(mark::TEXT, |text| match classify(&text) {
                    found @ (mark::DATE | mark::TIME) => found,
                    _ => mark::TEXT,
                });
            }
            _ => self.marks |= number(raw).unwrap_or(mark::TEXT),
        }
    }

    /// The type that holds every value seen; `Null` when there was none. `UInt64`, which no column is, stands for whole numbers
    /// some of which a double may not hold, until [`settle`] makes it `Int64`.
    pub(crate) fn data_type(&self) -> DataType {
        match self.marks {
            0 => DataType::Null,
            mark::BOOLEAN => DataType::Boolean,
            mark::INTEGER => DataType::Int64,
            marks if marks & !(mark::INTEGER | mark::LONG) == 0 => DataType::UInt64,
            marks if marks & !(mark::INTEGER | mark::DOUBLE) == 0 => DataType::Float64,
            mark::DATE => DataType::Date32,
            marks if marks & !(mark::DATE | mark::TIME) == 0 => types::timestamp(),
            mark::LIST => list(self.item.as_ref().map_or(DataType::Null, |item| item.data_type())),
            mark::OBJECT => DataType::Struct(
                self.fields
                    .iter()
                    .flat_map(|named| &named.list)
                    .map(|(name, shape)| Field::new(name, shape.data_type(), true))
                    .collect::<Fields>(),
            ),
            _ => DataType::Utf8,
        }
    }
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

/// The mark of a value that is written as text.
///
/// Only what reads back as it was written is a number: `007` and `+49` are texts, as is a whole number beyond 64 bits.
fn classify(text: &str) -> u16 {
    match text.as_bytes() {
        [b'0'..=b'9', ..] => match number(text) {
            Some(found) => found,
            None if text.len() == 10 && parse::date(text).is_some() => mark::DATE,
            None if parse::timestamp(text).is_some() => mark::TIME,
            None => mark::TEXT,
        },
        [b'-' | b'.', ..] => match text {
            "-inf" | "-Inf" | "-Infinity" => mark::DOUBLE,
            _ => number(text).unwrap_or(mark::TEXT),
        },
        _ => match text {
            "true" | "false" | "True" | "False" | "TRUE" | "FALSE" => mark::BOOLEAN,
            "nan" | "NaN" | "NAN" | "inf" | "Inf" | "Infinity" => mark::DOUBLE,
            _ => mark::TEXT,
        },
    }
}

/// The mark of a number in its usual spelling; `None` when it is none.
fn number(text: &str) -> Option<u16> {
    let unsigned = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let whole = unsigned.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if whole > 1 && unsigned[0] == b'0' {
        return None;
    }
    if whole == unsigned.len() {
        let is_long = |value: i64| value.unsigned_abs() > parse::WHOLE_IN_DOUBLE_MAX;
        return parse::integer(text).map(|value| if is_long(value) { mark::LONG } else { mark::INTEGER });
    }
    if !matches!(unsigned[whole], b'.' | b'e' | b'E') {
        return None;
    }
    parse::double(text).map(|_| mark::DOUBLE)
}

/// The type that holds every value of two types: of two files, or of the version before and a new file.
pub(crate) fn widen(a: &DataType, b: &DataType) -> DataType {
    use DataType::{
        Date32, Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, List, Null, Struct, Timestamp, UInt64, Utf8,
    };
    if a == b {
        return a.clone();
    }
    match (a, b) {
        (Null, other) | (other, Null) => other.clone(),
        (Float32 | Float64, Float32 | Float64) => Float64,
        // Of long whole numbers a double is another number: they stay as they are written.
        (UInt64, Float32 | Float64) | (Float32 | Float64, UInt64) => Utf8,
        (UInt64, Int8 | Int16 | Int32 | Int64) | (Int8 | Int16 | Int32 | Int64, UInt64) => UInt64,
        (Date32, Timestamp(_, _)) | (Timestamp(_, _), Date32) => types::timestamp(),
        (List(a), List(b)) => list(widen(a.data_type(), b.data_type())),
        (Struct(a), Struct(b)) => {
            let mut fields: Vec<Field> = a
                .iter()
                .map(|field| {
                    let other = b.iter().find(|other| other.name() == field.name());
                    let other = other.map_or(&Null, |other| other.data_type());
                    Field::new(field.name(), widen(field.data_type(), other), true)
                })
                .collect();
            for field in b {
                if a.iter().all(|known| known.name() != field.name()) {
                    fields.push(Field::new(field.name(), field.data_type().clone(), true));
                }
            }
            Struct(fields.into())
        }
        (Decimal128(_, _), Float32 | Float64) | (Float32 | Float64, Decimal128(_, _)) => {
            // Fifteen digits survive the way through a double.
            if decimal_of(a).0.max(decimal_of(b).0) <= 15 { Float64 } else { Utf8 }
        }
        _ => match (integer_digits(a), integer_digits(b)) {
            (Some(a_digits), Some(b_digits)) => {
                if a_digits >= b_digits {
                    a.clone()
                } else {
                    b.clone()
                }
            }
            (Some(_), None) if matches!(b, Float32 | Float64) => Float64,
            (None, Some(_)) if matches!(a, Float32 | Float64) => Float64,
            (Some(digits), None) if matches!(b, Decimal128(_, _)) => join((digits, 0), decimal_of(b)),
            (None, Some(digits)) if matches!(a, Decimal128(_, _)) => join(decimal_of(a), (digits, 0)),
            _ if matches!((a, b), (Decimal128(_, _), Decimal128(_, _))) => join(decimal_of(a), decimal_of(b)),
            _ => Utf8,
        },
    }
}

fn integer_digits(data_type: &DataType) -> Option<u8> {
    Some(match data_type {
        DataType::Int8 => 3,
        DataType::Int16 => 5,
        DataType::Int32 => 10,
        DataType::Int64 | DataType::UInt64 => 19,
        _ => return None,
    })
}

fn decimal_of(data_type: &DataType) -> (u8, i8) {
    match data_type {
        DataType::Decimal128(precision, scale) => (*precision, *scale),
        _ => (0, 0),
    }
}

/// The decimal that holds the whole and the fraction digits of both; text when none is wide enough.
fn join(a: (u8, i8), b: (u8, i8)) -> DataType {
    let whole = (a.0 as i8 - a.1).max(b.0 as i8 - b.1);
    let scale = a.1.max(b.1);
    if whole + scale <= 38 { DataType::Decimal128((whole + scale) as u8, scale) } else { DataType::Utf8 }
}

/// The type in which a column is stored: one that had no values, or objects without fields, is a text; whole numbers are `Int64`,
/// however long.
pub(crate) fn settle(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Null => DataType::Utf8,
        DataType::UInt64 => DataType::Int64,
        DataType::Struct(fields) if fields.is_empty() => DataType::Utf8,
        DataType::Struct(fields) => DataType::Struct(
            fields.iter().map(|field| Field::new(field.name(), settle(field.data_type()), true)).collect(),
        ),
        DataType::List(item) => list(settle(item.data_type())),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_texts(texts: &[&str]) -> String {
        let mut shape = Shape::default();
        texts.iter().for_each(|text| shape.add_text(text));
        types::name(&settle(&shape.data_type()))
    }

    fn of_json(values: &[&str]) -> String {
        let mut shape = Shape::default();
        values.iter().for_each(|value| shape.add_json(value));
        types::name(&settle(&shape.data_type()))
    }

    #[test]
    fn texts_become_the_narrowest_type_that_holds_them_all() {
        for (texts, expect) in [
            (&["1", "-2", " 3 "][..], "bigint"),
            (&["1", "2.5"], "double"),
            (&["1", "1e3", "NaN"], "double"),
            (&["9007199254740992", "-9007199254740992", "0.5"], "double"),
            (&["9007199254740993", "1"], "bigint"),
            (&["9007199254740993", "0.5"], "text"),
            (&["0.5", "1", "-9007199254740993"], "text"),
            (&["NaN", "9223372036854775807"], "text"),
            (&["1", "x"], "text"),
            (&["true", "FALSE"], "boolean"),
            (&["true", "1"], "text"),
            (&["t", "f"], "text"),
            (&["2026-01-01"], "date"),
            (&["2026-01-01", "2026-01-01 10:00:00"], "timestamp"),
            (&["2026-01-01", "7"], "text"),
            (&["2026-02-30"], "text"),
            (&["007"], "text"),
            (&["+49"], "text"),
            (&["9223372036854775808"], "text"),
            (&["-", "1"], "text"),
            (&[], "text"),
        ] {
            assert_eq!(of_texts(texts), expect, "{texts:?}");
        }
    }

    #[test]
    fn json_keeps_strings_apart_from_numbers_and_merges_objects() {
        for (values, expect) in [
            (&["1", "null"][..], "bigint"),
            (&["1", "2.0"], "double"),
            (&["\"1\""], "text"),
            (&["\"2026-01-01T00:00:00Z\"", "\"2026-01-01\""], "timestamp"),
            (&["true", "false"], "boolean"),
            (&["[1, 2.5]", "[]"], "double[]"),
            (&["9007199254740993", "1.0"], "text"),
            (&["[0.5]", "[9007199254740993]"], "text[]"),
            (&["{\"a\": -9007199254740993}"], "struct<a bigint>"),
            (&["[]"], "text[]"),
            (&["{}"], "text"),
            (&["{\"a\": 1}", "{\"b\": [\"x\"], \"a\": 1.5}"], "struct<a double, b text[]>"),
            (&["{\"a\": 1}", "[1]"], "text"),
            (&["18446744073709551616"], "text"),
        ] {
            assert_eq!(of_json(values), expect, "{values:?}");
        }
    }

    #[test]
    fn deep_nesting_and_wide_objects_stay_text() {
        let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
        assert!(of_json(&[&deep]).starts_with("text[]"));
        let wide = (0..600).map(|i| format!("\"k{i}\": 1")).collect::<Vec<_>>().join(",");
        assert_eq!(of_json(&[&format!("{{{wide}}}")]), "text");
    }

    #[test]
    fn widening_does_not_depend_on_the_order() {
        let names = [
            "boolean",
            "smallint",
            "int",
            "bigint",
            "real",
            "double",
            "text",
            "date",
            "timestamp",
            "bigint[]",
            "double[]",
            "struct<a bigint>",
            "struct<b text, a double>",
            "decimal(12,2)",
            "decimal(30,10)",
        ];
        let long = [DataType::UInt64, list(DataType::UInt64)];
        let all: Vec<DataType> = names.iter().map(|name| types::parse(name).unwrap()).chain(long).collect();
        for a in &all {
            for b in &all {
                let sorted = |data_type: DataType| match data_type {
                    DataType::Struct(fields) => {
                        let mut names: Vec<_> = fields.iter().map(|f| f.to_string()).collect();
                        names.sort();
                        names.join(",")
                    }
                    other => other.to_string(),
                };
                assert_eq!(sorted(widen(a, b)), sorted(widen(b, a)), "{a} {b}");
                assert_eq!(widen(a, &widen(a, b)), widen(a, b), "{a} {b}");
            }
        }
    }
}
