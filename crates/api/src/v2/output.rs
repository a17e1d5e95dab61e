//! The answer of an inference: prediction columns as tensors, in JSON or in binary.

use super::datatype::Datatype;
use super::infer::JSON_LENGTH;
use crate::refusal::json_bytes;
use arrow::array::cast::AsArray;
use arrow::array::types::{Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use pelton_base::Report;
use pelton_serve::{Answer, Endpoint, Pipeline, write_value};
use serde_json::{Map, Value, json};

/// An output that is wanted, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) column: usize,
    pub(super) binary: bool,
}

/// The response: JSON, followed by binary data when some was asked for.
pub(super) fn write_answer(
    endpoint: &Endpoint,
    id: Option<&str>,
    answer: &Answer,
    wanted: &[Wanted],
) -> Result<Response, Report> {
    let mut head = Map::new();
    head.insert("model_name".into(), json!(endpoint.pipeline.package().model));
    head.insert("model_version".into(), json!(endpoint.version));
    if let Some(id) = id {
        head.insert("id".into(), json!(id));
    }
    head.insert("parameters".into(), json!({"receipts": answer.receipts}));
    let mut out = serde_json::to_vec(&head).expect("answers have string keys only");
    out.pop();
    out.extend_from_slice(b",\"outputs\":[");
    let mut binary = Vec::new();
    for (at, wanted) in wanted.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let field = &answer.scored.output.fields()[wanted.column];
        let column = answer.scored.output.column(wanted.column);
        write_tensor(&mut out, &mut binary, (field.name(), column), &endpoint.pipeline, wanted.binary)?;
    }
    out.extend_from_slice(b"]}");
    if !wanted.iter().any(|wanted| wanted.binary) {
        return Ok(json_bytes(out));
    }
    let length = HeaderValue::from(out.len());
    out.extend_from_slice(&binary);
    let mut response = json_bytes(out);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(JSON_LENGTH, length);
    Ok(response)
}

fn write_tensor(
    out: &mut Vec<u8>,
    binary: &mut Vec<u8>,
    (name, column): (&str, &ArrayRef),
    pipeline: &Pipeline,
    is_binary: bool,
) -> Result<(), Report> {
    let rows = column.len();
    // A list has as many items in every row: a class each.
    let (values, shape): (ArrayRef, Value) = match column.data_type() {
        DataType::List(_) => {
            let lists = column.as_list::<i32>();
            let items = match rows {
                0 => pipeline.classes().map_or(0, |classes| classes.len()),
                _ => lists.value_length(0) as usize,
            };
            let (from, to) = (lists.value_offsets()[0] as usize, lists.value_offsets()[rows] as usize);
            (lists.values().slice(from, to - from), json!([rows, items]))
        }
        _ => (column.clone(), json!([rows])),
    };
    // The protocol has no decimals.
    let values = match values.data_type() {
        DataType::Decimal128(_, _) => cast(&values, &DataType::Float64).map_err(|error| {
            Report::error("internal", format!("output `{name}` has no tensor")).note(error.to_string())
        })?,
        _ => values,
    };
    let datatype = Datatype::of(values.data_type());
    let mut head = json!({"name": name, "datatype": datatype, "shape": shape});
    if is_binary {
        let before = binary.len();
        write_binary(binary, &values);
        head["parameters"] = json!({"binary_data_size": binary.len() - before});
        out.extend_from_slice(head.to_string().as_bytes());
        return Ok(());
    }
    out.extend_from_slice(head.to_string().as_bytes());
    out.pop();
    out.extend_from_slice(b",\"data\":[");
    for row in 0..values.len() {
        if row > 0 {
            out.push(b',');
        }
        write_value(out, &values, row);
    }
    out.extend_from_slice(b"]}");
    Ok(())
}

/// Little endian; text and everything that is written as text with its length before it.
fn write_binary(out: &mut Vec<u8>, values: &ArrayRef) {
    macro_rules! numbers {
        ($type:ty) => {
            values.as_primitive::<$type>().values().iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()))
        };
    }
    match values.data_type() {
        DataType::Boolean => values.as_boolean().values().iter().for_each(|value| out.push(u8::from(value))),
        DataType::Int8 => numbers!(Int8Type),
        DataType::Int16 => numbers!(Int16Type),
        DataType::Int32 => numbers!(Int32Type),
        DataType::Int64 => numbers!(Int64Type),
        DataType::Float32 => numbers!(Float32Type),
        DataType::Float64 => numbers!(Float64Type),
        _ => {
            for row in 0..values.len() {
                let mut json = Vec::new();
                write_value(&mut json, values, row);
                let text: String = serde_json::from_slice(&json).unwrap_or_default();
                out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
}
