//! Column statistics of one file, as the `stats` JSON of a Delta log: counts of rows and nulls, least and greatest values.
//!
//! Readers leave out files by them, so a range may be too wide but never too narrow: it is left out where JSON cannot say it
//! exactly (not a number, infinite, more than 15 digits, years beyond four digits), and long texts are cut so that the lower
//! bound stays below and the upper bound above. They are collected from the rows rather than from Parquet's own statistics,
//! which leave out what is not a number without a word.

use arrow::array::*;
use arrow::compute::{max, max_string, min, min_string, nullif};
use arrow::datatypes::*;
use chrono::{DateTime, Datelike, Days, NaiveDate, SecondsFormat};
use serde_json::{Map, Number, Value};

/// Only the first columns are described, as Delta's default has it (`delta.dataSkippingNumIndexedCols`); a struct counts as
/// its leaves.
const LEAVES_MAX: usize = 32;

/// How many characters of a text are kept.
const TEXT_CHARS_MAX: usize = 32;

/// Integers of this many digits survive a reader that takes JSON's numbers as doubles.
const DECIMAL_EXACT_MAX: i128 = 999_999_999_999_999;

/// Collects the statistics of one file.
#[derive(Debug)]
pub(crate) struct FileStats {
    rows: u64,
    leaves: Vec<Leaf>,
}

#[derive(Debug)]
struct Leaf {
    /// Positions from the top column down.
    path: Vec<usize>,
    names: Vec<String>,
    nulls: u64,
    range: Range,
}

#[derive(Debug)]
enum Range {
    /// Only nulls are counted.
    None,
    Integer(Option<(i64, i64)>),
    Date(Option<(i32, i32)>),
    Time(Option<(i64, i64)>),
    /// `spoiled` by a value that JSON cannot say.
    Float {
        range: Option<(f64, f64)>,
        spoiled: bool,
    },
    Decimal {
        range: Option<(i128, i128)>,
        scale: i8,
    },
    Text(Option<(String, String)>),
}

impl FileStats {
    /// For rows of a stored schema.
    pub(crate) fn new(schema: &Schema) -> Self {
        let mut leaves = Vec::new();
        for (at, field) in schema.fields().iter().enumerate() {
            plant(field, vec![at], Vec::new(), &mut leaves);
        }
        leaves.truncate(LEAVES_MAX);
        FileStats { rows: 0, leaves }
    }

    /// Adds rows of the schema.
    pub(crate) fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
        for leaf in &mut self.leaves {
            let (first, below) = leaf.path.split_first().expect("a path names at least a column");
            let column = below.iter().fold(batch.column(*first).clone(), |column, at| child(&column, *at));
            leaf.nulls += column.null_count() as u64;
            leaf.range.add(&column);
        }
    }

    /// The JSON text.
    pub(crate) fn json(&self) -> String {
        let (mut least, mut greatest, mut nulls) = (Map::new(), Map::new(), Map::new());
        for leaf in &self.leaves {
            place(&mut nulls, &leaf.names, Value::from(leaf.nulls));
            let (low, high) = leaf.range.bounds();
            if let Some(low) = low {
                place(&mut least, &leaf.names, low);
            }
            if let Some(high) = high {
                place(&mut greatest, &leaf.names, high);
            }
        }
        let mut stats = Map::new();
        stats.insert("numRecords".into(), Value::from(self.rows));
        stats.insert("minValues".into(), Value::Object(least));
        stats.insert("maxValues".into(), Value::Object(greatest));
        stats.insert("nullCount".into(), Value::Object(nulls));
        Value::Object(stats).to_string()
    }
}

fn plant(field: &Field, path: Vec<usize>, mut names: Vec<String>, leaves: &mut Vec<Leaf>) {
    names.push(field.name().clone());
    let range = match field.data_type() {
        DataType::Struct(fields) => {
            for (at, field) in fields.iter().enumerate() {
                let path = path.iter().copied().chain([at]).collect();
                plant(field, path, names.clone(), leaves);
            }
            return;
        }
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Range::Integer(None),
        DataType::Date32 => Range::Date(None),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Range::Time(None),
        DataType::Float32 | DataType::Float64 => Range::Float { range: None, spoiled: false },
        DataType::Decimal128(_, scale) => Range::Decimal { range: None, scale: *scale },
        DataType::Utf8 => Range::Text(None),
        _ => Range::None,
    };
    leaves.push(Leaf { path, names, nulls: 0, range });
}

/// A struct's field, null where the struct is.
fn child(column: &ArrayRef, at: usize) -> ArrayRef {
    let column = column.as_struct();
    let child = column.column(at);
    match column.nulls() {
        None => child.clone(),
        Some(nulls) => {
            let is_null = BooleanArray::new(!nulls.inner(), None);
            nullif(child, &is_null).expect("a struct and its field have one length")
        }
    }
}

fn place(map: &mut Map<String, Value>, names: &[String], value: Value) {
    match names {
        [] => {}
        [name] => {
            map.insert(name.clone(), value);
        }
        [name, below @ ..] => {
            let inner = map.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                place(inner, below, value);
            }
        }
    }
}

fn widen<T: Copy + PartialOrd>(range: &mut Option<(T, T)>, low: Option<T>, high: Option<T>) {
    let (Some(low), Some(high)) = (low, high) else { return };
    *range = Some(match *range {
        None => (low, high),
        Some((least, greatest)) => {
            (if low < least { low } else { least }, if high > greatest { high } else { greatest })
        }
    });
}

impl Range {
    fn add(&mut self, column: &ArrayRef) {
        match self {
            Range::None => {}
            Range::Integer(range) => match column.data_type() {
                DataType::Int8 => widen_integers::<Int8Type>(range, column),
                DataType::Int16 => widen_integers::<Int16Type>(range, column),
                DataType::Int32 => widen_integers::<Int32Type>(range, column),
                _ => widen_integers::<Int64Type>(range, column),
            },
            Range::Date(range) => {
                let column = column.as_primitive::<Date32Type>();
                widen(range, min(column), max(column));
            }
            Range::Time(range) => {
                let column = column.as_primitive::<TimestampMicrosecondType>();
                widen(range, min(column), max(column));
            }
            Range::Float { range, spoiled } => {
                let (low, high) = match column.data_type() {
                    DataType::Float32 => {
                        let column = column.as_primitive::<Float32Type>();
                        (min(column).map(f64::from), max(column).map(f64::from))
                    }
                    _ => {
                        let column = column.as_primitive::<Float64Type>();
                        (min(column), max(column))
                    }
                };
                // In the total order that the kernels use, what is not a number lies at the ends.
                *spoiled |= [low, high].into_iter().flatten().any(|value| !value.is_finite());
                widen(range, low, high);
            }
            Range::Decimal { range, .. } => {
                let column = column.as_primitive::<Decimal128Type>();
                widen(range, min(column), max(column));
            }
            Range::Text(range) => {
                let column = column.as_string::<i32>();
                let (Some(low), Some(high)) = (min_string(column), max_string(column)) else { return };
                match range {
                    None => *range = Some((low.to_string(), high.to_string())),
                    Some((least, greatest)) => {
                        if low < least.as_str() {
                            *least = low.to_string();
                        }
                        if high > greatest.as_str() {
                            *greatest = high.to_string();
                        }
                    }
                }
            }
        }
    }

    /// The least and the greatest value as JSON, where they can be said.
    fn bounds(&self) -> (Option<Value>, Option<Value>) {
        fn both<T: Copy>(range: &Option<(T, T)>, say: impl Fn(T) -> Option<Value>) -> (Option<Value>, Option<Value>) {
            range.map_or((None, None), |(low, high)| (say(low), say(high)))
        }
        match self {
            Range::None => (None, None),
            Range::Integer(range) => both(range, |value| Some(Value::from(value))),
            Range::Date(range) => both(range, |value| date_text(value).map(Value::from)),
            Range::Time(range) => both(range, |value| time_text(value).map(Value::from)),
            Range::Float { spoiled: true, .. } => (None, None),
            Range::Float { range, .. } => {
                // The two zeros are equal in SQL but not in every reader's order: the lower bound takes the lower one.
                let (low, high) = match *range {
                    None => return (None, None),
                    Some((low, high)) => (if low == 0.0 { -0.0 } else { low }, if high == 0.0 { 0.0 } else { high }),
                };
                (Number::from_f64(low).map(Value::Number), Number::from_f64(high).map(Value::Number))
            }
            Range::Decimal { range, scale } => both(range, |value| decimal(value, *scale)),
            Range::Text(range) => match range {
                None => (None, None),
                Some((low, high)) => (Some(Value::from(cut_low(low))), cut_high(high).map(Value::from)),
            },
        }
    }
}

fn widen_integers<T: ArrowNumericType<Native: Into<i64>>>(range: &mut Option<(i64, i64)>, column: &ArrayRef) {
    let column = column.as_primitive::<T>();
    widen(range, min(column).map(Into::into), max(column).map(Into::into));
}

fn decimal(value: i128, scale: i8) -> Option<Value> {
    if !(-DECIMAL_EXACT_MAX..=DECIMAL_EXACT_MAX).contains(&value) {
        return None;
    }
    if scale == 0 {
        return i64::try_from(value).ok().map(Value::from);
    }
    // Up to 15 digits, the nearest double prints as the very decimal.
    Number::from_f64(value as f64 / 10f64.powi(scale.into())).map(Value::Number)
}

fn date_text(days: i32) -> Option<String> {
    let epoch = NaiveDate::default();
    let distance = Days::new(days.unsigned_abs().into());
    let date = if days < 0 { epoch.checked_sub_days(distance) } else { epoch.checked_add_days(distance) }?;
    (0..=9999).contains(&date.year()).then(|| date.format("%Y-%m-%d").to_string())
}

/// To the microsecond: the protocol allows writers to cut times down to milliseconds, and its readers allow for that.
fn time_text(us: i64) -> Option<String> {
    let at = DateTime::from_timestamp_micros(us)?;
    (0..=9999).contains(&at.year()).then(|| at.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// A text that is not above `text`: its first characters.
fn cut_low(text: &str) -> &str {
    text.char_indices().nth(TEXT_CHARS_MAX).map_or(text, |(end, _)| &text[..end])
}

/// A text that is not below `text`, in the order of code points, which is that of UTF-8 bytes: its first characters, with
/// the last one that has a successor raised to it. `None` when none has.
fn cut_high(text: &str) -> Option<String> {
    if text.chars().nth(TEXT_CHARS_MAX).is_none() {
        return Some(text.to_string());
    }
    let mut kept: Vec<char> = text.chars().take(TEXT_CHARS_MAX).collect();
    while let Some(last) = kept.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            other => char::from_u32(other as u32 + 1),
        };
        if let Some(next) = next {
            kept.push(next);
            return Some(kept.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn stats(columns: Vec<(&str, ArrayRef)>) -> Value {
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, c)| (name, c, true))).unwrap();
        let mut stats = FileStats::new(&batch.schema());
        // Two halves must say the same as the whole.
        let half = batch.num_rows() / 2;
        stats.add(&batch.slice(0, half));
        stats.add(&batch.slice(half, batch.num_rows() - half));
        serde_json::from_str(&stats.json()).unwrap()
    }

    #[test]
    fn ranges_and_nulls_are_told_as_delta_wants_them() {
        let time =
            TimestampMicrosecondArray::from(vec![Some(1), None, Some(1_772_366_400_000_000)]).with_timezone("UTC");
        let decimal =
            Decimal128Array::from(vec![Some(-1250), Some(99_999), None]).with_precision_and_scale(12, 2).unwrap();
        let found = stats(vec![
            ("n", Arc::new(Int32Array::from(vec![Some(3), Some(-7), None]))),
            ("day", Arc::new(Date32Array::from(vec![Some(0), Some(-1), None]))),
            ("at", Arc::new(time)),
            ("amount", Arc::new(decimal)),
            ("share", Arc::new(Float64Array::from(vec![0.1, 2.5, -1.0]))),
            ("flag", Arc::new(BooleanArray::from(vec![Some(true), None, None]))),
            ("name", Arc::new(StringArray::from(vec![Some("b"), Some("a"), None]))),
            ("void", Arc::new(StringArray::from(vec![None::<&str>, None, None]))),
        ]);
        let expected = serde_json::json!({
            "numRecords": 3,
            "minValues": {"n": -7, "day": "1969-12-31", "at": "1970-01-01T00:00:00.000001Z", "amount": -12.5, "share": -1.0, "name": "a"},
            "maxValues": {"n": 3, "day": "1970-01-01", "at": "2026-03-01T12:00:00.000000Z", "amount": 999.99, "share": 2.5, "name": "b"},
            "nullCount": {"n": 1, "day": 1, "at": 1, "amount": 1, "share": 0, "flag": 2, "name": 1, "void": 3},
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn what_json_cannot_say_is_left_out() {
        let big = Decimal128Array::from(vec![1, 10i128.pow(30)]).with_precision_and_scale(38, 2).unwrap();
        let found = stats(vec![
            ("nan", Arc::new(Float64Array::from(vec![1.0, f64::NAN]))),
            ("minus_nan", Arc::new(Float32Array::from(vec![-f32::NAN, 1.0]))),
            ("infinite", Arc::new(Float32Array::from(vec![f32::INFINITY, 1.0]))),
            ("far", Arc::new(Date32Array::from(vec![i32::MAX, 0]))),
            ("big", Arc::new(big)),
            ("zero", Arc::new(Float64Array::from(vec![0.0, -0.0]))),
        ]);
        assert_eq!(found["minValues"], serde_json::json!({"far": "1970-01-01", "big": 0.01, "zero": -0.0}));
        assert_eq!(found["maxValues"], serde_json::json!({"zero": 0.0}));
        assert!(found.to_string().contains("\"zero\":-0.0"), "{found}");
    }

    #[test]
    fn long_texts_are_cut_to_bounds() {
        let long = "é".repeat(40);
        let top = "\u{10ffff}".repeat(40);
        let found = stats(vec![
            ("long", Arc::new(StringArray::from(vec![long.as_str(), long.as_str()]))),
            ("gap", Arc::new(StringArray::from(vec![format!("{}\u{d7ff}x", "a".repeat(31)), "a".into()]))),
            ("top", Arc::new(StringArray::from(vec![top.as_str(), "\u{10ffff}"]))),
            ("exact", Arc::new(StringArray::from(vec!["x".repeat(32), "x".repeat(32)]))),
        ]);
        assert_eq!(found["minValues"]["long"], "é".repeat(32));
        assert_eq!(found["maxValues"]["long"], format!("{}ê", "é".repeat(31)));
        assert!(found["maxValues"]["long"].as_str().unwrap() > long.as_str());
        assert_eq!(found["maxValues"]["gap"], format!("{}\u{e000}", "a".repeat(31)));
        assert_eq!(found["maxValues"].get("top"), None);
        assert_eq!(found["minValues"]["top"], "\u{10ffff}");
        assert_eq!(found["maxValues"]["exact"], "x".repeat(32));
    }

    #[test]
    fn structs_are_told_leaf_by_leaf_and_lists_by_their_nulls() {
        let inner = Arc::new(Field::new("n", DataType::Int64, true));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(900), Some(4)]));
        let nulls = arrow::buffer::NullBuffer::from(vec![true, true, false, true]);
        let pair = StructArray::new(vec![inner].into(), vec![numbers], Some(nulls));
        let mut lists = ListBuilder::new(Int64Builder::new());
        lists.append_value([Some(1)]);
        lists.append_null();
        lists.append_null();
        lists.append_value([None]);
        let found = stats(vec![("pair", Arc::new(pair)), ("lists", Arc::new(lists.finish()))]);
        assert_eq!(found["minValues"], serde_json::json!({"pair": {"n": 1}}));
        assert_eq!(found["maxValues"], serde_json::json!({"pair": {"n": 4}}));
        assert_eq!(found["nullCount"], serde_json::json!({"pair": {"n": 2}, "lists": 2}));
    }

    #[test]
    fn only_the_first_columns_are_described() {
        let names: Vec<String> = (0..40).map(|i| format!("c{i:02}")).collect();
        let columns = names.iter().map(|n| (n.as_str(), Arc::new(Int64Array::from(vec![1])) as ArrayRef)).collect();
        let found = stats(columns);
        assert_eq!(found["nullCount"].as_object().unwrap().len(), 32);
        assert!(found["minValues"].get("c31").is_some() && found["minValues"].get("c32").is_none());
    }
}
