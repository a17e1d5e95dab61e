//! Arrow values as JSON text, so that [`crate::ColumnBuilder`] reads the same bits back.
//!
//! Numbers are written in the shortest form that reads back exactly; what JSON has no number for (`NaN`, infinities) is text, as
//! are decimals (all digits count), times (RFC 3339, UTC), dates and bytes (base64).

use arrow::array::cast::AsArray;
use arrow::array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow::array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Fields, TimeUnit};
use base64::Engine as _;
use chrono::Datelike;
use std::io::Write as _;

/// Times have four digits for the year in RFC 3339; what lies outside is written as the number that it is stored as.
const YEAR_MAX: i32 = 9999;

/// The years 0 to 9999, microseconds since the epoch.
const YEARS_US: std::ops::Range<i64> = -62_167_219_200_000_000..253_402_300_800_000_000;

/// Writes the value of `array` at `row` as JSON.
pub fn write_value(out: &mut Vec<u8>, array: &dyn Array, row: usize) {
    if array.is_null(row) {
        out.extend_from_slice(b"null");
        return;
    }
    match array.data_type() {
        DataType::Boolean => write_display(out, array.as_boolean().value(row)),
        DataType::Int8 => write_display(out, array.as_primitive::<Int8Type>().value(row)),
        DataType::Int16 => write_display(out, array.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => write_display(out, array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => write_display(out, array.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => {
            let value = array.as_primitive::<Float32Type>().value(row);
            if value.is_finite() { write_json(out, &value) } else { write_not_finite(out, value.into()) }
        }
        DataType::Float64 => {
            let value = array.as_primitive::<Float64Type>().value(row);
            if value.is_finite() { write_json(out, &value) } else { write_not_finite(out, value) }
        }
        DataType::Decimal128(_, _) => {
            write_json(out, &array.as_primitive::<Decimal128Type>().value_as_string(row));
        }
        DataType::Utf8 => write_json(out, array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => write_json(out, array.as_string::<i64>().value(row)),
        DataType::Utf8View => write_json(out, array.as_string_view().value(row)),
        DataType::Binary => {
            let text = base64::engine::general_purpose::STANDARD.encode(array.as_binary::<i32>().value(row));
            write_json(out, &text);
        }
        DataType::Date32 => match array.as_primitive::<Date32Type>().value_as_date(row) {
            Some(date) if (0..=YEAR_MAX).contains(&date.year()) => write_json(out, &date.to_string()),
            _ => write_display(out, array.as_primitive::<Date32Type>().value(row)),
        },
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let us = array.as_primitive::<TimestampMicrosecondType>().value(row);
            match YEARS_US.contains(&us) {
                true => write_json(out, &pelton_base::format_time_us(us)),
                false => write_display(out, us),
            }
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            out.push(b'[');
            for item in 0..items.len() {
                if item > 0 {
                    out.push(b',');
                }
                write_value(out, &items, item);
            }
            out.push(b']');
        }
        DataType::Struct(fields) => write_row(out, fields, array.as_struct().columns(), row),
        other => match arrow::compute::cast(&array.slice(row, 1), &DataType::Utf8) {
            Ok(text) => write_value(out, &text, 0),
            Err(_) => write_json(out, &format!("a value of type {other}")),
        },
    }
}

/// Writes one row of several columns as a JSON object.
pub fn write_row(out: &mut Vec<u8>, fields: &Fields, columns: &[ArrayRef], row: usize) {
    out.push(b'{');
    for (at, (field, column)) in fields.iter().zip(columns).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_json(out, field.name());
        out.push(b':');
        write_value(out, column, row);
    }
    out.push(b'}');
}

/// One row of a batch as a JSON object.
pub fn json_row(batch: &RecordBatch, row: usize) -> String {
    let mut out = Vec::new();
    write_row(&mut out, batch.schema_ref().fields(), batch.columns(), row);
    into_text(out)
}

/// One row of a struct array as a JSON object.
pub(crate) fn json_struct(array: &StructArray, row: usize) -> String {
    let mut out = Vec::new();
    write_row(&mut out, array.fields(), array.columns(), row);
    into_text(out)
}

/// Writes anything that serde can write as JSON.
pub(crate) fn write_json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("writing text and numbers into memory does not fail");
}

pub(crate) fn into_text(out: Vec<u8>) -> String {
    String::from_utf8(out).expect("JSON is written from text")
}

fn write_display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    write!(out, "{value}").expect("writing into memory does not fail");
}

fn write_not_finite(out: &mut Vec<u8>, value: f64) {
    let text = if value.is_nan() {
        "\"NaN\""
    } else if value > 0.0 {
        "\"Infinity\""
    } else {
        "\"-Infinity\""
    };
    out.extend_from_slice(text.as_bytes());
}
