//! Reading Arrow columns as numbers and texts, and the types that inputs can have.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::*;
use serde::{Deserialize, Serialize};

/// What a column is to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Number,
    Flag,
    Text,
    Date,
    Time,
}

/// What a column of this type is to a model; `None` when it cannot be learned from.
pub(crate) fn sort_of(data_type: &DataType) -> Option<Sort> {
    Some(match data_type {
        DataType::Boolean => Sort::Flag,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Sort::Text,
        DataType::Date32 | DataType::Date64 => Sort::Date,
        DataType::Timestamp(_, _) => Sort::Time,
        DataType::Dictionary(_, value) => sort_of(value)?,
        DataType::Float16 | DataType::Decimal32(_, _) | DataType::Decimal64(_, _) | DataType::Decimal256(_, _) => {
            Sort::Number
        }
        other if other.is_integer() || other.is_floating() => Sort::Number,
        DataType::Decimal128(_, _) => Sort::Number,
        _ => return None,
    })
}

/// The types that tables store, among those that can be learned from; how they are written in a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stored {
    Boolean,
    Tinyint,
    Smallint,
    Int,
    Bigint,
    Real,
    Double,
    Decimal(u8, i8),
    Text,
    Date,
    Timestamp,
}

impl Stored {
    /// The stored type of a column of this type; `None` when it cannot be learned from.
    pub(crate) fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Stored::Boolean,
            DataType::Int8 => Stored::Tinyint,
            DataType::Int16 | DataType::UInt8 => Stored::Smallint,
            DataType::Int32 | DataType::UInt16 => Stored::Int,
            DataType::Int64 | DataType::UInt32 | DataType::UInt64 => Stored::Bigint,
            DataType::Float16 | DataType::Float32 => Stored::Real,
            DataType::Float64 => Stored::Double,
            DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) => {
                Stored::Decimal(*p, *s)
            }
            // Wider than tables store; its values are read as doubles.
            DataType::Decimal256(_, _) => Stored::Double,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Stored::Text,
            DataType::Date32 | DataType::Date64 => Stored::Date,
            DataType::Timestamp(_, _) => Stored::Timestamp,
            DataType::Dictionary(_, value) => Stored::of(value)?,
            _ => return None,
        })
    }

    pub(crate) fn data_type(self) -> DataType {
        match self {
            Stored::Boolean => DataType::Boolean,
            Stored::Tinyint => DataType::Int8,
            Stored::Smallint => DataType::Int16,
            Stored::Int => DataType::Int32,
            Stored::Bigint => DataType::Int64,
            Stored::Real => DataType::Float32,
            Stored::Double => DataType::Float64,
            Stored::Decimal(p, s) => DataType::Decimal128(p, s),
            Stored::Text => DataType::Utf8,
            Stored::Date => DataType::Date32,
            Stored::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }

    pub(crate) fn sort(self) -> Sort {
        sort_of(&self.data_type()).expect("every stored type can be learned from")
    }
}

/// A type's name for people.
pub(crate) fn type_name(data_type: &DataType) -> String {
    match Stored::of(data_type) {
        Some(Stored::Decimal(p, s)) => format!("decimal({p},{s})"),
        Some(stored) => format!("{stored:?}").to_lowercase(),
        None => match data_type {
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _) => "list".into(),
            DataType::Struct(_) => "struct".into(),
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                "bytes".into()
            }
            other => other.to_string().to_lowercase(),
        },
    }
}

/// The column without dictionary encoding, so that the readers below see plain values.
pub(crate) fn plain(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Dictionary(_, value) => {
            arrow::compute::cast(array, value).expect("a dictionary casts to its own value type")
        }
        DataType::Float16 | DataType::Decimal32(_, _) | DataType::Decimal64(_, _) | DataType::Decimal256(_, _) => {
            arrow::compute::cast(array, &DataType::Float64).expect("every number casts to a double")
        }
        _ => array.clone(),
    }
}

const SECONDS_A_DAY: f64 = 86_400.0;

/// Hands the values of a plain number, flag, date or time column at `rows` to `put`, in order: flags as 0 and 1, dates and times
/// as seconds since the epoch, missing and infinite values as NaN.
pub(crate) fn read_numbers(array: &dyn Array, rows: impl Iterator<Item = usize>, put: impl FnMut(f64)) {
    macro_rules! primitive {
        ($type:ty, $convert:expr) => {{
            let array = array.as_primitive::<$type>();
            let values = array.values();
            let convert = $convert;
            read(array, rows, |row| convert(values[row]), put)
        }};
    }
    match array.data_type() {
        DataType::Boolean => {
            let array: &BooleanArray = array.as_boolean();
            read(array, rows, |row| f64::from(u8::from(array.value(row))), put)
        }
        DataType::Int8 => primitive!(Int8Type, f64::from),
        DataType::Int16 => primitive!(Int16Type, f64::from),
        DataType::Int32 => primitive!(Int32Type, f64::from),
        DataType::Int64 => primitive!(Int64Type, |value| value as f64),
        DataType::UInt8 => primitive!(UInt8Type, f64::from),
        DataType::UInt16 => primitive!(UInt16Type, f64::from),
        DataType::UInt32 => primitive!(UInt32Type, f64::from),
        DataType::UInt64 => primitive!(UInt64Type, |value| value as f64),
        DataType::Float32 => primitive!(Float32Type, f64::from),
        DataType::Float64 => primitive!(Float64Type, |value| value),
        DataType::Decimal128(_, scale) => {
            // Correctly rounded for up to 15 digits and scales up to 22, because both operands are then exact doubles.
            let unit = 10f64.powi(i32::from(*scale));
            primitive!(Decimal128Type, |value| value as f64 / unit)
        }
        DataType::Date32 => primitive!(Date32Type, |days: i32| f64::from(days) * SECONDS_A_DAY),
        DataType::Date64 => primitive!(Date64Type, |ms: i64| ms as f64 / 1e3),
        DataType::Timestamp(TimeUnit::Second, _) => primitive!(TimestampSecondType, |value| value as f64),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            primitive!(TimestampMillisecondType, |value| value as f64 / 1e3)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            primitive!(TimestampMicrosecondType, |value| value as f64 / 1e6)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => primitive!(TimestampNanosecondType, |value| value as f64 / 1e9),
        other => unreachable!("`{other}` is neither number, flag nor time, and was refused before"),
    }
}

#[inline(always)]
fn read(array: &dyn Array, rows: impl Iterator<Item = usize>, value: impl Fn(usize) -> f64, mut put: impl FnMut(f64)) {
    let finite = |value: f64| if value.is_finite() { value } else { f64::NAN };
    match array.nulls() {
        None => rows.for_each(|row| put(finite(value(row)))),
        Some(nulls) => rows.for_each(|row| put(if nulls.is_valid(row) { finite(value(row)) } else { f64::NAN })),
    }
}

/// Hands the values of a plain text column at `rows` to `put`, in order.
pub(crate) fn read_texts<'a>(
    array: &'a dyn Array,
    rows: impl Iterator<Item = usize>,
    mut put: impl FnMut(Option<&'a str>),
) {
    macro_rules! texts {
        ($array:expr) => {{
            let array = $array;
            rows.for_each(|row| put(if array.is_valid(row) { Some(array.value(row)) } else { None }))
        }};
    }
    match array.data_type() {
        DataType::Utf8 => texts!(array.as_string::<i32>()),
        DataType::LargeUtf8 => texts!(array.as_string::<i64>()),
        DataType::Utf8View => texts!(array.as_string_view()),
        other => unreachable!("`{other}` is no text, and was refused before"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::*;
    use std::sync::Arc;

    fn numbers(array: ArrayRef) -> Vec<f64> {
        let array = plain(&array);
        let mut out = Vec::new();
        read_numbers(&array, 0..array.len(), |value| out.push(value));
        out
    }

    #[test]
    fn every_numeric_type_is_read() {
        let int = Int64Array::from(vec![Some(-3), None]);
        for data_type in [
            DataType::Int8,
            DataType::Int16,
            DataType::Int32,
            DataType::Int64,
            DataType::Float16,
            DataType::Float32,
            DataType::Float64,
            DataType::Decimal32(5, 2),
            DataType::Decimal64(9, 2),
            DataType::Decimal128(12, 2),
            DataType::Decimal256(40, 2),
        ] {
            let values = numbers(arrow::compute::cast(&int, &data_type).unwrap());
            assert_eq!(values[0], -3.0, "{data_type}");
            assert!(values[1].is_nan(), "{data_type}");
        }
        let values = numbers(Arc::new(Float64Array::from(vec![f64::INFINITY, f64::NEG_INFINITY, 0.5])));
        assert!(values[0].is_nan() && values[1].is_nan() && values[2] == 0.5);
        assert_eq!(numbers(Arc::new(Date32Array::from(vec![2]))), [172_800.0]);
        assert_eq!(numbers(Arc::new(TimestampMicrosecondArray::from(vec![1_500_000]))), [1.5]);
        assert_eq!(numbers(Arc::new(BooleanArray::from(vec![false, true]))), [0.0, 1.0]);
    }

    #[test]
    fn stored_types_survive_json() {
        for data_type in [DataType::Boolean, DataType::Decimal128(12, 2), Stored::Timestamp.data_type()] {
            let stored = Stored::of(&data_type).unwrap();
            let json = serde_json::to_string(&stored).unwrap();
            assert_eq!(serde_json::from_str::<Stored>(&json).unwrap().data_type(), data_type);
        }
        assert_eq!(type_name(&DataType::Decimal128(12, 2)), "decimal(12,2)");
        assert_eq!(type_name(&DataType::Binary), "bytes");
    }
}
