//! Which files may have a row with a touched key, as the statistics that are kept with files tell: the others are not opened.
//!
//! A file is left out only where its range of a key column is known and no touched key lies in it. Without statistics, with a type that
//! has no range or a value that JSON cannot say, it may have any key. Nulls are in no range and are no key.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::{cast, concat, sort};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use pelton_base::{DAY_US, parse_time_us};
use pelton_query::DataFile;
use serde_json::Value;

/// Touched keys, column by column.
pub(crate) struct Keys(Vec<(String, Ordered)>);

/// The values of a column, least first.
enum Ordered {
    /// Numbers, days, microseconds, or decimals without their point.
    Numbers(Vec<i128>, Kind),
    Texts(StringArray),
}

#[derive(Clone, Copy)]
enum Kind {
    Integer,
    Date,
    Time,
    Decimal(i8),
}

impl Keys {
    /// Of rows that have the columns of `schema` and no null.
    pub(crate) fn of(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Self, ArrowError> {
        let mut columns = Vec::new();
        for (at, field) in schema.fields().iter().enumerate() {
            if let Some(kind) = kind_of(field.data_type()) {
                let mut numbers = Vec::new();
                for batch in batches {
                    kind.take(batch.column(at), &mut numbers)?;
                }
                numbers.sort_unstable();
                numbers.dedup();
                columns.push((field.name().clone(), Ordered::Numbers(numbers, kind)));
            } else if *field.data_type() == DataType::Utf8 && !batches.is_empty() {
                let parts: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(at).as_ref()).collect();
                // More than two gigabytes of texts do not fit into one array.
                let Ok(texts) = concat(&parts) else { continue };
                let texts = sort(&texts, None)?.as_string::<i32>().clone();
                columns.push((field.name().clone(), Ordered::Texts(texts)));
            }
        }
        Ok(Keys(columns))
    }

    /// Whether a row of the file may have one of the keys.
    pub(crate) fn may_be_in(&self, file: &DataFile) -> bool {
        let stats = file.stats.as_deref().and_then(|stats| serde_json::from_str::<Value>(stats).ok());
        let Some(stats) = stats else { return true };
        let bound = |which: &str, column: &str| stats.get(which).and_then(|bounds| bounds.get(column)).cloned();
        self.0.iter().all(|(column, values)| match (bound("minValues", column), bound("maxValues", column)) {
            (Some(least), Some(greatest)) => values.any_between(&least, &greatest),
            _ => true,
        })
    }
}

fn kind_of(data_type: &DataType) -> Option<Kind> {
    match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Some(Kind::Integer),
        DataType::Date32 => Some(Kind::Date),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Some(Kind::Time),
        DataType::Decimal128(_, scale) => Some(Kind::Decimal(*scale)),
        _ => None,
    }
}

impl Kind {
    fn take(self, column: &ArrayRef, numbers: &mut Vec<i128>) -> Result<(), ArrowError> {
        match self {
            Kind::Integer => {
                let column = cast(column, &DataType::Int64)?;
                numbers.extend(column.as_primitive::<Int64Type>().iter().flatten().map(i128::from));
            }
            Kind::Date => numbers.extend(column.as_primitive::<Date32Type>().iter().flatten().map(i128::from)),
            Kind::Time => {
                numbers.extend(column.as_primitive::<TimestampMicrosecondType>().iter().flatten().map(i128::from));
            }
            Kind::Decimal(_) => numbers.extend(column.as_primitive::<Decimal128Type>().iter().flatten()),
        }
        Ok(())
    }

    /// What a bound says, and by how much it may be off.
    fn bound(self, bound: &Value) -> Option<(i128, i128)> {
        match self {
            Kind::Integer => Some((bound.as_i64()?.into(), 0)),
            Kind::Date => Some((parse_time_us(bound.as_str()?)?.div_euclid(DAY_US).into(), 0)),
            // The protocol allows writers to cut times down to milliseconds.
            Kind::Time => Some((parse_time_us(bound.as_str()?)?.into(), 999)),
            // A double of up to 15 digits: the nearest whole number is the decimal; one more on each side costs nothing.
            Kind::Decimal(scale) => Some(((bound.as_f64()? * 10f64.powi(scale.into())).round() as i128, 1)),
        }
    }
}

impl Ordered {
    fn any_between(&self, least: &Value, greatest: &Value) -> bool {
        match self {
            Ordered::Numbers(values, kind) => {
                let (Some((least, low)), Some((greatest, high))) = (kind.bound(least), kind.bound(greatest)) else {
                    return true;
                };
                let at = values.partition_point(|value| *value < least - low);
                values.get(at).is_some_and(|value| *value <= greatest + high)
            }
            Ordered::Texts(values) => {
                let (Some(least), Some(greatest)) = (least.as_str(), greatest.as_str()) else { return true };
                let (mut low, mut high) = (0, values.len());
                while low < high {
                    let middle = low.midpoint(high);
                    if values.value(middle) < least { low = middle + 1 } else { high = middle }
                }
                low < values.len() && values.value(low) <= greatest
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BooleanArray, Date32Array, Decimal128Array, Int32Array, TimestampMicrosecondArray};
    use serde_json::json;
    use std::sync::Arc;

    fn keys(columns: Vec<(&str, ArrayRef)>) -> Keys {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let halves =
            [batch.slice(0, batch.num_rows() / 2), batch.slice(batch.num_rows() / 2, batch.num_rows().div_ceil(2))];
        Keys::of(&batch.schema(), &halves).unwrap()
    }

    fn file(stats: Option<Value>) -> DataFile {
        let stats = stats.map(|stats| stats.to_string());
        DataFile { path: "a".into(), bytes: 1, rows: 1, stats, rows_digest: None, digest: None }
    }

    #[track_caller]
    fn check(keys: &Keys, least: Value, greatest: Value, expected: bool) {
        let found = keys.may_be_in(&file(Some(json!({ "minValues": least, "maxValues": greatest }))));
        assert_eq!(found, expected, "{least} to {greatest}");
    }

    #[test]
    fn a_file_is_left_out_when_no_key_lies_in_its_range() {
        let keys = keys(vec![("n", Arc::new(Int32Array::from(vec![70, -5, 30])))]);
        for (least, greatest, expected) in [
            (-9, -6, false),
            (-9, -5, true),
            (-4, 29, false),
            (30, 30, true),
            (31, 69, false),
            (70, 99, true),
            (71, 99, false),
        ] {
            check(&keys, json!({ "n": least }), json!({ "n": greatest }), expected);
        }
    }

    #[test]
    fn every_type_is_read_as_statistics_say_it() {
        let days = keys(vec![("d", Arc::new(Date32Array::from(vec![-1, 20_000])))]);
        check(&days, json!({ "d": "1969-12-31" }), json!({ "d": "1969-12-31" }), true);
        check(&days, json!({ "d": "1970-01-01" }), json!({ "d": "2024-10-03" }), false);
        check(&days, json!({ "d": "1970-01-01" }), json!({ "d": "2024-10-04" }), true);
        let times = TimestampMicrosecondArray::from(vec![1_500_400]).with_timezone("UTC");
        let times = keys(vec![("t", Arc::new(times))]);
        check(&times, json!({ "t": "1970-01-01T00:00:00Z" }), json!({ "t": "1970-01-01T00:00:01.500Z" }), true);
        check(&times, json!({ "t": "1970-01-01T00:00:00Z" }), json!({ "t": "1970-01-01T00:00:01.499Z" }), false);
        let amounts = Decimal128Array::from(vec![99_999, -1250]).with_precision_and_scale(12, 2).unwrap();
        let amounts = keys(vec![("a", Arc::new(amounts))]);
        check(&amounts, json!({ "a": 999.99 }), json!({ "a": 1e9 }), true);
        check(&amounts, json!({ "a": 1000.5 }), json!({ "a": 1e9 }), false);
        check(&amounts, json!({ "a": -12.4 }), json!({ "a": 999.9 }), false);
        let names = keys(vec![("s", Arc::new(StringArray::from(vec!["m", "b", "zé"])))]);
        check(&names, json!({ "s": "c" }), json!({ "s": "l" }), false);
        check(&names, json!({ "s": "" }), json!({ "s": "b" }), true);
        check(&names, json!({ "s": "z" }), json!({ "s": "zê" }), true);
        check(&names, json!({ "s": "zê" }), json!({ "s": "zz" }), false);
    }

    #[test]
    fn each_column_of_a_key_can_leave_a_file_out() {
        let keys = keys(vec![
            ("n", Arc::new(Int32Array::from(vec![1, 9]))),
            ("s", Arc::new(StringArray::from(vec!["a", "x"]))),
        ]);
        check(&keys, json!({ "n": 0, "s": "b" }), json!({ "n": 20, "s": "w" }), false);
        check(&keys, json!({ "n": 2, "s": "a" }), json!({ "n": 8, "s": "z" }), false);
        check(&keys, json!({ "n": 1, "s": "a" }), json!({ "n": 1, "s": "a" }), true);
    }

    #[test]
    fn what_statistics_do_not_tell_leaves_nothing_out() {
        let numbers = keys(vec![("n", Arc::new(Int32Array::from(vec![1])))]);
        for stats in [None, Some(json!("broken")), Some(json!({})), Some(json!({ "minValues": { "n": 5 } }))] {
            assert!(numbers.may_be_in(&file(stats.clone())), "{stats:?}");
        }
        check(&numbers, json!({ "other": 5 }), json!({ "other": 6 }), true);
        check(&numbers, json!({ "n": "5" }), json!({ "n": "6" }), true);
        assert!(numbers.may_be_in(&DataFile { stats: Some("{".into()), ..file(None) }));
        let flags = keys(vec![("f", Arc::new(BooleanArray::from(vec![true])))]);
        check(&flags, json!({ "f": false }), json!({ "f": false }), true);
    }
}
