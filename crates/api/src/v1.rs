//! `/v1`: rows as JSON, what the endpoints are, and receipts.

use crate::app::{App, Content, Names};
use crate::object::{Described, Object};
use crate::refusal::{Refusal, json, json_bytes};
use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use pelton_base::{ReceiptId, Report};
use pelton_query::types;
use pelton_serve::{
    Answer, Endpoint, Endpoints, Pipeline, decode_row, decode_rows, invalid_json, predict, write_row, write_value,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/models", get(models))
        .route("/v1/models/{model}", get(model))
        .route("/v1/models/{model}/predict", post(predict_rows))
        .route("/v1/receipts/{id}", get(receipt))
        .route("/v1/environment", get(environment))
}

/// The body of a prediction request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask<'a> {
    #[serde(borrow)]
    rows: Option<&'a RawValue>,
    #[serde(borrow)]
    row: Option<&'a RawValue>,
    #[serde(default)]
    options: Object<Options>,
}

impl Described for Ask<'_> {
    const WORDS: &'static str = "an object with `rows` or `row`";
}

/// What the answer is to hold besides.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// The features that were looked up, and the derived columns.
    features: bool,
}

impl Described for Options {
    const WORDS: &'static str = "an object such as `{\"features\": true}`";
}

async fn predict_rows(
    State(app): State<App>,
    Names(name): Names<String>,
    Content(body): Content,
) -> Result<Response, Refusal> {
    let endpoints = app.endpoints();
    let endpoint = Arc::clone(endpoints.model(&name, None)?);
    let ask: Object<Ask<'_>> = serde_json::from_slice(&body).map_err(|error| invalid_json(&error))?;
    let request = rows_of(&ask, &endpoint.pipeline, app.settings.rows_max)?;
    let answer = predict(Arc::clone(&endpoints), Arc::clone(&endpoint), request, app.clock.as_ref(), &app.log).await?;
    Ok(json_bytes(write_answer(&endpoints, &endpoint, &answer, ask.options.features)))
}

fn rows_of(ask: &Ask<'_>, pipeline: &Pipeline, rows_max: usize) -> Result<RecordBatch, Report> {
    match (ask.rows, ask.row) {
        (Some(rows), None) => decode_rows(pipeline.request(), rows.get(), rows_max),
        (None, Some(row)) => decode_row(pipeline.request(), row.get()),
        (Some(_), Some(_)) => Err(Report::error("invalid-request", "the request has both `rows` and `row`")
            .hint("send `{\"rows\": [{...}, ...]}`, or `{\"row\": {...}}`")),
        (None, None) => Err(Report::error("invalid-request", "the request has neither `rows` nor `row`")
            .hint("send `{\"rows\": [{...}, ...]}`, or `{\"row\": {...}}`")),
    }
}

/// Written by hand: this is the hot path, and its values are Arrow's.
fn write_answer(endpoints: &Endpoints, endpoint: &Endpoint, answer: &Answer, with_features: bool) -> Vec<u8> {
    let scored = &answer.scored;
    let mut out = Vec::with_capacity(128 * (answer.receipts.len() + 1));
    let head = json!({
        "model": endpoint.pipeline.package().model,
        "version": endpoint.version,
        "publication": endpoints.publication,
    });
    out.extend_from_slice(head.to_string().as_bytes());
    out.pop();
    out.extend_from_slice(b",\"predictions\":[");
    let width = endpoint.pipeline.request_width();
    let features = scored.inputs.schema_ref().fields()[width..].to_vec().into();
    for (row, receipt) in answer.receipts.iter().enumerate() {
        if row > 0 {
            out.push(b',');
        }
        out.push(b'{');
        for (field, column) in scored.output.fields().iter().zip(scored.output.columns()) {
            out.push(b'"');
            out.extend_from_slice(field.name().as_bytes());
            out.extend_from_slice(b"\":");
            write_value(&mut out, column, row);
            out.push(b',');
        }
        if with_features {
            out.extend_from_slice(b"\"features\":");
            write_row(&mut out, &features, &scored.inputs.columns()[width..], row);
            out.extend_from_slice(b",\"derived\":");
            write_row(&mut out, scored.derived.schema_ref().fields(), scored.derived.columns(), row);
            out.push(b',');
        }
        out.extend_from_slice(b"\"receipt\":\"");
        out.extend_from_slice(receipt.0.as_bytes());
        out.extend_from_slice(b"\"}");
    }
    out.extend_from_slice(b"]}");
    out
}

async fn models(State(app): State<App>) -> Response {
    let endpoints = app.endpoints();
    let models = endpoints.models.iter().map(|(name, endpoint)| {
        let package = endpoint.pipeline.package();
        json!({
            "name": name,
            "version": endpoint.version,
            "task": package.task,
            "target": package.target,
            "learner": package.learner,
            "metrics": package.training.metrics,
        })
    });
    json(&json!({
        "environment": endpoints.environment,
        "publication": endpoints.publication,
        "models": models.collect::<Vec<_>>(),
    }))
}

async fn model(State(app): State<App>, Names(name): Names<String>) -> Result<Response, Refusal> {
    let endpoints = app.endpoints();
    Ok(json(&card(&endpoints, endpoints.model(&name, None)?)))
}

/// What an endpoint takes, what it looks up, what it answers.
fn card(endpoints: &Endpoints, endpoint: &Endpoint) -> Value {
    let pipeline = &endpoint.pipeline;
    let package = pipeline.package();
    let request = pipeline.request().iter().map(|column| {
        json!({
            "name": column.field.name(),
            "type": types::name(column.field.data_type()),
            "required": column.required,
            "nullable": column.nullable,
        })
    });
    let features = package.lookups.iter().flat_map(|lookup| {
        lookup.columns.iter().map(move |feature| {
            json!({
                "name": feature.name,
                "type": feature.data_type,
                "table": lookup.table,
                "version": lookup.version,
                "column": feature.column,
                "entity": lookup.entity,
            })
        })
    });
    let derived = package.derive.iter().map(|(name, sql)| json!({"name": name, "sql": sql}));
    let answer = pipeline
        .output()
        .iter()
        .map(|field| json!({"name": field.name(), "type": types::name(field.data_type())}))
        .chain([json!({"name": "receipt", "type": "text"})]);
    json!({
        "name": package.model,
        "version": endpoint.version,
        "environment": endpoints.environment,
        "publication": endpoints.publication,
        "task": package.task,
        "target": package.target,
        "learner": package.learner,
        "classes": classes(pipeline),
        "missing": package.missing,
        "request": request.collect::<Vec<_>>(),
        "features": features.collect::<Vec<_>>(),
        "derived": derived.collect::<Vec<_>>(),
        "inputs": package.inputs,
        "answer": answer.collect::<Vec<_>>(),
        "metrics": package.training.metrics,
        "training": {"rows": package.training.rows, "inputs": package.training.inputs},
    })
}

/// The classes as an answer gives them under `prediction`; `None` when the model predicts a number.
fn classes(pipeline: &Pipeline) -> Option<Vec<Value>> {
    let data_type = pipeline.output().find("prediction").map(|(_, field)| field.data_type().clone());
    let typed = |name: String| match &data_type {
        Some(DataType::Boolean) => json!(name == "true"),
        Some(number) if number.is_integer() => name.parse::<i64>().map_or_else(|_| json!(name), |value| json!(value)),
        Some(number) if number.is_floating() => name.parse::<f64>().map_or_else(|_| json!(name), |value| json!(value)),
        _ => json!(name),
    };
    pipeline.classes().map(|names| names.into_iter().map(typed).collect())
}

async fn receipt(State(app): State<App>, Names(id): Names<String>) -> Result<Response, Refusal> {
    Ok(json(&app.receipts.receipt(&ReceiptId(id)).await?))
}

async fn environment(State(app): State<App>) -> Response {
    let endpoints = app.endpoints();
    json(&json!({
        "environment": endpoints.environment,
        "publication": endpoints.publication,
        "nodes": endpoints.nodes,
    }))
}
