//! Requests to the router, answered without a socket, an engine or a trained model.

mod limits;
mod mutants;
mod v1;
mod v2;

use crate::{App, router};
use arrow::array::cast::AsArray;
use arrow::array::types::{Decimal128Type, Float64Type};
use arrow::array::{
    Array, ArrayRef, BooleanArray, FixedSizeListArray, Float64Array, ListArray, RecordBatch, StructArray,
};
use arrow::datatypes::{DataType, Field, SchemaRef};
use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use pelton_base::{Digest, FixedClock, NodeName, ReceiptId, Report, VersionId};
use pelton_project::{MissingRule, ServerSettings, Task};
use pelton_query::{
    BatchStream, Catalog, Commit, Engine, Lineage, QueryError, RowProgram, TableFiles, TableLocation, Typed,
};
use pelton_serve::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tower::ServiceExt;

/// 2026-03-01T12:00:00Z
const NOW_US: i64 = 1_772_366_400_000_000;

struct NoEngine;

fn none<T>() -> Result<T, QueryError> {
    Err(QueryError::Unsupported { message: "these tests have no engine".into() })
}

#[async_trait]
impl Engine for NoEngine {
    fn locality(&self, _: &Catalog, _: &str) -> Result<pelton_query::Locality, QueryError> {
        none()
    }
    fn analyze(&self, _: &Catalog, _: &str) -> Result<Typed, QueryError> {
        none()
    }
    fn lineage(&self, _: &Catalog, _: &str) -> Result<Lineage, QueryError> {
        none()
    }
    async fn query(&self, _: &Catalog, _: &str) -> Result<BatchStream, QueryError> {
        none()
    }
    fn explain(&self, _: &Catalog, _: &str) -> Result<String, QueryError> {
        none()
    }
    fn compile(&self, _: SchemaRef, _: &[(String, String)]) -> Result<Arc<dyn RowProgram>, QueryError> {
        none()
    }
    async fn commit(&self, _: &TableLocation, _: Commit) -> Result<i64, QueryError> {
        none()
    }
    async fn files(&self, _: &TableLocation, _: Option<i64>) -> Result<Option<TableFiles>, QueryError> {
        none()
    }
}

/// The score is amount + spend_30d, with 0 for what is missing; channel `panic` panics.
struct Sum;

impl Predictor for Sum {
    fn predict(&self, inputs: &RecordBatch) -> Result<StructArray, Report> {
        let channel = inputs.column_by_name("channel").unwrap().as_string::<i32>();
        assert!(!channel.iter().any(|channel| channel == Some("panic")));
        let amount = inputs.column_by_name("amount").unwrap().as_primitive::<Decimal128Type>();
        let spend = inputs.column_by_name("spend_30d").unwrap().as_primitive::<Float64Type>();
        let scores: Vec<f64> = (0..inputs.num_rows())
            .map(|row| {
                let amount = if amount.is_null(row) { 0.0 } else { amount.value(row) as f64 / 100.0 };
                amount + if spend.is_null(row) { 0.0 } else { spend.value(row) }
            })
            .collect();
        let prediction = BooleanArray::from_iter(scores.iter().map(|score| Some(*score > 100.0)));
        let item = Arc::new(Field::new("item", DataType::Float64, true));
        let pairs = Float64Array::from_iter(scores.iter().flat_map(|score| [Some(0.25), Some(*score)]));
        let pairs = ListArray::from(FixedSizeListArray::new(item, 2, Arc::new(pairs), None));
        Ok(StructArray::from(vec![
            (Arc::new(Field::new("prediction", DataType::Boolean, true)), Arc::new(prediction) as ArrayRef),
            (Arc::new(Field::new("score", DataType::Float64, true)), Arc::new(Float64Array::from(scores)) as ArrayRef),
            (Arc::new(Field::new("probabilities", pairs.data_type().clone(), true)), Arc::new(pairs) as ArrayRef),
        ]))
    }

    fn classes(&self) -> Option<Vec<String>> {
        Some(vec!["false".into(), "true".into()])
    }
}

/// Customer 7 spent 100.5.
struct OneCustomer;

impl Features for OneCustomer {
    fn lookup(&self, _: &Lookup, entities: &[ArrayRef], _: &[i64]) -> Result<Looked, Report> {
        let customers = entities[0].as_primitive::<arrow::array::types::Int64Type>();
        let found: Vec<bool> = customers.iter().map(|customer| customer == Some(7)).collect();
        let spend: ArrayRef = Arc::new(Float64Array::from_iter(found.iter().map(|found| found.then_some(100.5))));
        Ok(Looked { columns: RecordBatch::try_from_iter([("spend_30d", spend)]).unwrap(), found })
    }
}

pub(super) fn endpoints(publication: i64) -> Endpoints {
    let field = |name: &str, data_type: &str, nullable| RequestField {
        name: name.into(),
        data_type: data_type.into(),
        nullable,
    };
    let package = Package {
        format: 1,
        model: NodeName::new("fraud"),
        task: Task::Classification,
        learner: "gbdt".into(),
        target: "is_fraud".into(),
        request: vec![
            field("customer_id", "bigint", false),
            field("amount", "decimal(12,2)", true),
            field("channel", "text", true),
        ],
        time: Some("occurred_at".into()),
        key: vec![field("payment_id", "text", true)],
        lookups: vec![Lookup {
            table: NodeName::new("activity"),
            version: VersionId("aaaa".into()),
            entity: vec!["customer_id".into()],
            columns: vec![FeatureColumn {
                column: "spend_30d".into(),
                name: "spend_30d".into(),
                data_type: "double".into(),
            }],
            ttl_us: None,
            time: "at".into(),
            known_at: None,
        }],
        derive: Vec::new(),
        inputs: ["amount", "channel", "spend_30d"].map(String::from).into(),
        missing: MissingRule::Null,
        artifact: Digest(1),
        training: Training { metrics: BTreeMap::from([("average_precision".into(), 0.75)]), ..Training::default() },
    };
    let pipeline = Pipeline::with_model(&NoEngine, package, Arc::new(Sum)).unwrap();
    let endpoint = Endpoint { version: VersionId("feed".into()), pipeline: Arc::new(pipeline) };
    let nodes = [("fraud", "feed"), ("activity", "aaaa")];
    Endpoints {
        environment: "main".into(),
        publication,
        nodes: nodes.map(|(node, version)| (NodeName::new(node), VersionId(version.into()))).into(),
        models: BTreeMap::from([(NodeName::new("fraud"), Arc::new(endpoint))]),
        features: Arc::new(OneCustomer),
    }
}

struct NoReceipts;

#[async_trait]
impl ReceiptSource for NoReceipts {
    async fn receipt(&self, id: &ReceiptId) -> Result<Receipt, Report> {
        Err(Report::error("unknown-receipt", format!("no prediction has the id `{id}`")))
    }
}

/// A server without a socket.
pub(super) struct House {
    pub(super) app: App,
    pub(super) switch: Arc<Switch>,
    pub(super) log: Arc<Log>,
    _folder: tempfile::TempDir,
}

pub(super) fn settings() -> ServerSettings {
    ServerSettings {
        host: "127.0.0.1".into(),
        port: 0,
        body_bytes_max: 4096,
        rows_max: 5,
        requests_max: 4,
        connections_max: 8,
        headers_ms: 10_000,
        timeout_ms: 10_000,
        drain_ms: 10_000,
    }
}

pub(super) fn house() -> House {
    house_with(settings())
}

pub(super) fn house_with(settings: ServerSettings) -> House {
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(Log::open(folder.path(), LogSettings::default()).unwrap());
    let switch = Arc::new(Switch::new(endpoints(1)));
    let clock = Arc::new(FixedClock(NOW_US));
    let app = App::with_clock(settings, Arc::clone(&switch), Arc::clone(&log), Arc::new(NoReceipts), clock);
    House { app, switch, log, _folder: folder }
}

pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: axum::http::HeaderMap,
    pub(super) bytes: Vec<u8>,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }

    /// Status, code and message of a refusal; its shape is checked on the way.
    pub(super) fn refusal(&self) -> (u16, String, String) {
        let body = self.json();
        assert_eq!(self.headers["content-type"], "application/json");
        assert!(body["notes"].is_array() && body["hints"].is_array(), "{body}");
        let text = |key: &str| body[key].as_str().unwrap().to_string();
        (self.status.as_u16(), text("code"), text("error"))
    }
}

impl House {
    pub(super) async fn send(&self, request: Request<Body>) -> Reply {
        let response = router(self.app.clone()).oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Reply { status, headers, bytes: to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec() }
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(super) async fn post(&self, path: &str, body: impl ToString) -> Reply {
        self.send(Request::post(path).body(Body::from(body.to_string())).unwrap()).await
    }
}

#[tokio::test]
async fn the_root_says_what_is_served() {
    let reply = house().get("/").await;
    let text = String::from_utf8(reply.bytes).unwrap();
    assert!(
        text.contains("environment `main`, publication 1") && text.contains("POST /v1/models/fraud/predict"),
        "{text}"
    );
}

#[tokio::test]
async fn unknown_routes_are_told_as_json() {
    let house = house();
    assert_eq!(house.get("/v3").await.refusal(), (404, "unknown-route".into(), "there is no route `GET /v3`".into()));
    let (status, code, _) = house.get("/v1/models/fraud/predict").await.refusal();
    assert_eq!((status, code.as_str()), (405, "unknown-route"));
    assert_eq!(house.get("/v1/models/%ff").await.refusal().1, "invalid-request");
}

#[tokio::test]
async fn a_panic_is_a_defect_and_the_server_goes_on() {
    let house = house();
    let row = json!({"row": {"customer_id": 7, "amount": 1, "channel": "panic"}});
    assert_eq!(house.post("/v1/models/fraud/predict", row).await.refusal().1, "internal");
    assert_eq!(house.get("/v1/environment").await.status, StatusCode::OK);
    assert_eq!(house.app.under_way(), 0);
}
