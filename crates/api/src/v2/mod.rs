//! `/v2`: the Open Inference Protocol, version 2, over REST, with its binary tensor data extension.
//!
//! Specification: <https://github.com/open-inference/open-inference-protocol>, and Triton's `extension_binary_data` for tensors
//! that follow the JSON in the body. Names of request columns are names of input tensors.

mod datatype;
mod infer;
mod output;

use crate::app::{App, Names, health};
use crate::refusal::{Refusal, json};
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use datatype::Datatype;
use pelton_serve::Endpoint;
use serde_json::{Value, json};

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/v2", get(server))
        .route("/v2/", get(server))
        .route("/v2/health/live", get(async || health("live", true)))
        .route("/v2/health/ready", get(ready))
        .route("/v2/models/{model}", get(model))
        .route("/v2/models/{model}/versions/{version}", get(model_version))
        .route("/v2/models/{model}/ready", get(model_ready))
        .route("/v2/models/{model}/versions/{version}/ready", get(model_version_ready))
        .route("/v2/models/{model}/infer", post(infer::infer))
        .route("/v2/models/{model}/versions/{version}/infer", post(infer::infer_version))
}

async fn server() -> Response {
    json(&json!({"name": "pelton", "version": env!("CARGO_PKG_VERSION"), "extensions": ["binary_tensor_data"]}))
}

async fn ready(State(app): State<App>) -> Response {
    health("ready", !app.is_draining())
}

async fn model(State(app): State<App>, Names(name): Names<String>) -> Result<Response, Refusal> {
    Ok(json(&metadata(app.endpoints().model(&name, None)?)))
}

async fn model_version(
    State(app): State<App>,
    Names((name, version)): Names<(String, String)>,
) -> Result<Response, Refusal> {
    Ok(json(&metadata(app.endpoints().model(&name, Some(&version))?)))
}

async fn model_ready(State(app): State<App>, Names(name): Names<String>) -> Result<Response, Refusal> {
    app.endpoints().model(&name, None)?;
    Ok(json(&json!({"name": name, "ready": true})))
}

async fn model_version_ready(
    State(app): State<App>,
    Names((name, version)): Names<(String, String)>,
) -> Result<Response, Refusal> {
    app.endpoints().model(&name, Some(&version))?;
    Ok(json(&json!({"name": name, "ready": true})))
}

/// The model's tensors. `-1` is a dimension of any length: rows, and classes after them.
fn metadata(endpoint: &Endpoint) -> Value {
    let pipeline = &endpoint.pipeline;
    let inputs = pipeline.request().iter().map(|column| {
        json!({
            "name": column.field.name(),
            "datatype": Datatype::of(column.field.data_type()),
            "shape": [-1],
            "parameters": {"optional": !column.required},
        })
    });
    let classes = pipeline.classes().map_or(-1, |classes| i64::try_from(classes.len()).unwrap_or(-1));
    let outputs = pipeline.output().iter().map(|field| match Datatype::of_items(field.data_type()) {
        Some(items) => json!({"name": field.name(), "datatype": items, "shape": [-1, classes]}),
        None => json!({"name": field.name(), "datatype": Datatype::of(field.data_type()), "shape": [-1]}),
    });
    json!({
        "name": pipeline.package().model,
        "versions": [endpoint.version],
        "platform": "pelton",
        "inputs": inputs.collect::<Vec<_>>(),
        "outputs": outputs.collect::<Vec<_>>(),
    })
}
