//! `POST /v2/models/{model}/infer`: tensors to request columns, and the way to the answer.

use super::datatype::Datatype;
use super::output::{Wanted, write_answer};
use crate::app::{App, Content, Names};
use crate::object::{Described, Object};
use crate::refusal::Refusal;
use arrow::array::{Array, RecordBatch};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use pelton_base::Report;
use pelton_serve::{Column, ColumnBuilder, Dialect, Mistakes, batch_of, invalid_json, predict, too_many_rows};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;

/// The header that says where in the body the JSON ends and binary data begins.
pub(super) const JSON_LENGTH: &str = "inference-header-content-length";

/// The body. What the protocol lets clients add is not looked at.
#[derive(Deserialize)]
struct Infer<'a> {
    id: Option<String>,
    #[serde(default)]
    parameters: Object<RequestParameters>,
    #[serde(borrow, default)]
    inputs: Vec<Object<Input<'a>>>,
    #[serde(default)]
    outputs: Vec<Object<RequestedOutput>>,
}

impl Described for Infer<'_> {
    const WORDS: &'static str = "an object with `inputs`";
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RequestParameters {
    binary_data_output: bool,
}

impl Described for RequestParameters {
    const WORDS: &'static str = PARAMETERS;
}

const PARAMETERS: &str = "an object of parameters";

#[derive(Deserialize)]
struct Input<'a> {
    name: String,
    shape: Vec<i64>,
    datatype: String,
    #[serde(default)]
    parameters: Object<InputParameters>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl Described for Input<'_> {
    const WORDS: &'static str = "an input, an object with `name`, `shape`, `datatype` and `data`";
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct InputParameters {
    binary_data_size: Option<usize>,
    shared_memory_region: Option<String>,
}

impl Described for InputParameters {
    const WORDS: &'static str = PARAMETERS;
}

#[derive(Deserialize)]
struct RequestedOutput {
    name: String,
    #[serde(default)]
    parameters: Object<OutputParameters>,
}

impl Described for RequestedOutput {
    const WORDS: &'static str = "an output, an object with `name`";
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OutputParameters {
    binary_data: Option<bool>,
    classification: u64,
    shared_memory_region: Option<String>,
}

impl Described for OutputParameters {
    const WORDS: &'static str = PARAMETERS;
}

pub(super) async fn infer(
    State(app): State<App>,
    Names(name): Names<String>,
    headers: HeaderMap,
    Content(body): Content,
) -> Result<Response, Refusal> {
    answer(&app, &name, None, &headers, &body).await
}

pub(super) async fn infer_version(
    State(app): State<App>,
    Names((name, version)): Names<(String, String)>,
    headers: HeaderMap,
    Content(body): Content,
) -> Result<Response, Refusal> {
    answer(&app, &name, Some(&version), &headers, &body).await
}

async fn answer(
    app: &App,
    name: &str,
    version: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, Refusal> {
    let endpoints = app.endpoints();
    let endpoint = Arc::clone(endpoints.model(name, version)?);
    let (json, binary) = split(headers, body)?;
    let infer: Object<Infer<'_>> = serde_json::from_slice(json).map_err(|error| invalid_json(&error))?;
    let wanted = wanted(&infer, endpoint.pipeline.output())?;
    let request = decode(endpoint.pipeline.request(), &infer.inputs, binary, app.settings.rows_max)?;
    let answer = predict(endpoints, Arc::clone(&endpoint), request, app.clock.as_ref(), &app.log).await?;
    write_answer(&endpoint, infer.id.as_deref(), &answer, &wanted).map_err(Refusal::from)
}

/// The JSON and the binary data of a body.
fn split<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), Report> {
    let Some(length) = headers.get(JSON_LENGTH) else { return Ok((body, &[])) };
    let length = length.to_str().ok().and_then(|length| length.parse::<usize>().ok());
    length.and_then(|length| body.split_at_checked(length)).ok_or_else(|| {
        let message = "the header `Inference-Header-Content-Length` is not a length within the request's body";
        Report::error("invalid-request", message).note(format!("the body has {} bytes", body.len()))
    })
}

/// The outputs that the client asks for, all when it names none.
fn wanted(infer: &Infer<'_>, output: &arrow::datatypes::Fields) -> Result<Vec<Wanted>, Report> {
    let binary = infer.parameters.binary_data_output;
    if infer.outputs.is_empty() {
        return Ok((0..output.len()).map(|column| Wanted { column, binary }).collect());
    }
    let names = || output.iter().map(|field| field.name().as_str());
    let find = |asked: &Object<RequestedOutput>| {
        if asked.parameters.classification > 0 || asked.parameters.shared_memory_region.is_some() {
            let what = if asked.parameters.classification > 0 { "classification" } else { "shared memory" };
            return Err(Report::error(
                "invalid-request",
                format!("output `{}`: Pelton has no {what} extension", asked.name),
            ));
        }
        let Some(column) = names().position(|name| name == asked.name) else {
            return Err(Report::error("invalid-request", format!("there is no output `{}`", asked.name))
                .note(format!("outputs: `{}`", names().collect::<Vec<_>>().join("`, `")))
                .suggest(&asked.name, names()));
        };
        Ok(Wanted { column, binary: asked.parameters.binary_data.unwrap_or(binary) })
    };
    infer.outputs.iter().map(find).collect()
}

/// Tensors, one for each column, as rows; every mistake of every tensor is named.
fn decode(
    columns: &[Column],
    inputs: &[Object<Input<'_>>],
    mut binary: &[u8],
    rows_max: usize,
) -> Result<RecordBatch, Report> {
    let Some(first) = inputs.first() else {
        return Err(Report::error("invalid-request", "the request has no `inputs`")
            .hint("`GET /v2/models/NAME` gives the inputs with types and shapes"));
    };
    let rows = usize::try_from(first.shape.first().copied().unwrap_or_default()).unwrap_or(0);
    if rows > rows_max {
        return Err(too_many_rows(rows_max));
    }
    let mut mistakes = Mistakes::default();
    let mut arrays = vec![None; columns.len()];
    let mut named = vec![false; columns.len()];
    for input in inputs {
        let bytes = match input.parameters.binary_data_size.map(|size| binary.split_at_checked(size)) {
            Some(Some((bytes, rest))) => {
                binary = rest;
                Some(bytes)
            }
            Some(None) => {
                let size = input.parameters.binary_data_size.unwrap_or_default();
                let message =
                    format!("`{}` has {size} bytes of binary data, and the body has {} more", input.name, binary.len());
                return Err(Report::error("invalid-request", message).note(
                    "binary data follows the JSON, whose length the header `Inference-Header-Content-Length` gives",
                ));
            }
            None => None,
        };
        let Some(at) = columns.iter().position(|column| *column.field.name() == input.name) else {
            mistakes.unknown("inputs", &input.name, columns);
            continue;
        };
        if std::mem::replace(&mut named[at], true) {
            mistakes.push(|| format!("input `{}` is there twice", input.name));
            continue;
        }
        let array = tensor(&columns[at], input, bytes, rows, &mut mistakes);
        arrays[at] = array;
    }
    if !binary.is_empty() {
        mistakes.push(|| format!("the body has {} bytes after the last input's binary data", binary.len()));
    }
    for (column, named) in columns.iter().zip(&named) {
        if column.required && !named {
            mistakes.push(|| format!("input `{}` is missing", column.field.name()));
        }
    }
    mistakes.into_result()?;
    let arrays = arrays
        .into_iter()
        .zip(columns)
        .map(|(array, column)| array.unwrap_or_else(|| arrow::array::new_null_array(column.field.data_type(), rows)));
    batch_of(columns, arrays.collect(), rows)
}

/// One tensor as a column; `None` after a mistake.
fn tensor(
    column: &Column,
    input: &Input<'_>,
    bytes: Option<&[u8]>,
    rows: usize,
    mistakes: &mut Mistakes,
) -> Option<arrow::array::ArrayRef> {
    let name = &input.name;
    let (data_type, expected) = (column.field.data_type(), Datatype::of(column.field.data_type()));
    let datatype = Datatype::parse(&input.datatype).filter(|datatype| datatype.fits(data_type));
    let Some(datatype) = datatype else {
        mistakes.push(|| format!("input `{name}` has datatype {expected}, not {}", input.datatype));
        return None;
    };
    // One value a row: [n], [n, 1], [n, 1, 1].
    let is_one_a_row =
        input.shape.split_first().is_some_and(|(first, rest)| *first >= 0 && rest.iter().all(|d| *d == 1));
    if !is_one_a_row {
        mistakes.push(|| format!("input `{name}` has shape {:?}, and one value a row is [n] or [n, 1]", input.shape));
        return None;
    }
    if input.shape[0] != rows as i64 {
        mistakes.push(|| format!("input `{name}` has {} rows, and the first input has {rows}", input.shape[0]));
        return None;
    }
    let mut builder = ColumnBuilder::new(data_type, Dialect::Request)?;
    let mut count = 0;
    let mut is_sound = true;
    let mut add = |pushed: Result<(), pelton_serve::Wrong>| {
        if let Err(wrong) = pushed {
            mistakes.wrong(count, name, &wrong);
            is_sound = false;
        }
        count += 1;
    };
    match (input.data, bytes) {
        _ if input.parameters.shared_memory_region.is_some() => {
            mistakes.push(|| format!("input `{name}`: Pelton has no shared memory extension"));
            return None;
        }
        (Some(data), None) => {
            let mut values = Vec::with_capacity(rows);
            if flatten(data.get(), input.shape.len(), &mut values).is_err() {
                mistakes.push(|| format!("input `{name}`: `data` is a list of values, or lists of one value each"));
                return None;
            }
            values.into_iter().for_each(|value| add(datatype.push_json(&mut builder, value)));
        }
        (None, Some(bytes)) => {
            let mut elements = Elements { datatype, bytes };
            elements.by_ref().for_each(|element| add(datatype.push_binary(&mut builder, element)));
            if !elements.bytes.is_empty() {
                mistakes.push(|| format!("input `{name}`: its binary data does not end with a whole {datatype}"));
                return None;
            }
        }
        (Some(_), Some(_)) => {
            mistakes.push(|| format!("input `{name}` has both `data` and `binary_data_size`"));
            return None;
        }
        (None, None) => {
            mistakes.push(|| format!("input `{name}` has no `data`"));
            return None;
        }
    }
    if count != rows {
        mistakes.push(|| format!("input `{name}` has shape {:?}, and its data has {count} values", input.shape));
        return None;
    }
    if !is_sound {
        return None;
    }
    let array = builder.finish();
    if !column.nullable
        && let Some(row) = (0..array.len()).find(|row| array.is_null(*row))
    {
        mistakes.push(|| format!("row {row}: `{name}` must have a value"));
        return None;
    }
    Some(array)
}

/// The values of flat or nested lists, in order, at most `depth` lists deep.
fn flatten<'a>(json: &'a str, depth: usize, values: &mut Vec<&'a str>) -> serde_json::Result<()> {
    for part in serde_json::from_str::<Vec<&'a RawValue>>(json)? {
        if depth > 1 && part.get().starts_with('[') {
            flatten(part.get(), depth - 1, values)?;
        } else {
            values.push(part.get());
        }
    }
    Ok(())
}

/// Cuts binary data into elements; what is left when it ends is no whole element.
struct Elements<'a> {
    datatype: Datatype,
    bytes: &'a [u8],
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.bytes.is_empty() {
            return None;
        }
        let (skip, width) = match self.datatype.width() {
            Some(width) => (0, width),
            // The length of a BYTES element stands before it.
            None => (4, u32::from_le_bytes(*self.bytes.first_chunk()?) as usize),
        };
        let (element, rest) = self.bytes.get(skip..)?.split_at_checked(width)?;
        self.bytes = rest;
        Some(element)
    }
}
