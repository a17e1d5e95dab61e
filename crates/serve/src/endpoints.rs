//! [`Endpoints`]: the models of one publication, ready to answer; [`Switch`] replaces them between two requests.

use crate::log::{Frames, Log};
use crate::pipeline::{Features, Pipeline, Scored};
use crate::record::{RecordHead, write_record};
use arrow::array::RecordBatch;
use pelton_base::{Clock, NodeName, ReceiptId, Report, VersionId};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Up to this many rows are scored where the request arrived: a row takes microseconds, a change of thread takes tens.
const INLINE_ROWS_MAX: usize = 256;

/// A published model that answers requests.
#[derive(Debug)]
pub struct Endpoint {
    /// The model's version.
    pub version: VersionId,
    /// What scores.
    pub pipeline: Arc<Pipeline>,
}

/// The endpoints of one publication of an environment. It never changes; a new publication makes new endpoints.
pub struct Endpoints {
    /// The environment.
    pub environment: String,
    /// The publication's number.
    pub publication: i64,
    /// All nodes of the publication.
    pub nodes: BTreeMap<NodeName, VersionId>,
    /// The models.
    pub models: BTreeMap<NodeName, Arc<Endpoint>>,
    /// The online features of the publication.
    pub features: Arc<dyn Features>,
}

impl std::fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Endpoints { environment, publication, models, .. } = self;
        f.debug_struct("Endpoints")
            .field("environment", environment)
            .field("publication", publication)
            .field("models", models)
            .finish_non_exhaustive()
    }
}

impl Endpoints {
    /// A model by name, and by version when one is asked for.
    pub fn model(&self, name: &str, version: Option<&str>) -> Result<&Arc<Endpoint>, Report> {
        let Some(endpoint) = self.models.get(name) else {
            let known = || self.models.keys().map(NodeName::as_str);
            let report = Report::error("unknown-endpoint", format!("there is no endpoint `{name}`"));
            let report = match known().collect::<Vec<_>>().as_slice() {
                [] => report.note(format!("environment `{}` has no model", self.environment)),
                names => report.note(format!("endpoints: `{}`", names.join("`, `"))),
            };
            return Err(report.suggest(name, known()));
        };
        match version {
            Some(version) if version != endpoint.version.0 => {
                let message = format!("`{name}` does not serve version `{version}`");
                Err(Report::error("unknown-endpoint", message)
                    .note(format!("environment `{}` serves version {}", self.environment, endpoint.version)))
            }
            _ => Ok(endpoint),
        }
    }
}

/// Loads what an environment publishes; implemented where the store and the engine are known.
pub trait Loader: Send + Sync {
    /// The number of the environment's newest publication. It is asked several times a second.
    fn current(&self) -> Result<Option<i64>, Report>;
    /// The endpoints of the environment's newest publication.
    fn load(&self) -> Result<Endpoints, Report>;
}

/// The endpoints in service. A request keeps those that it began with, so a switch drops nobody.
#[derive(Debug)]
pub struct Switch(RwLock<Arc<Endpoints>>);

impl Switch {
    /// Puts the first endpoints into service.
    pub fn new(endpoints: Endpoints) -> Self {
        Switch(RwLock::new(Arc::new(endpoints)))
    }

    /// The endpoints in service now.
    pub fn get(&self) -> Arc<Endpoints> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts others into service; gives those before.
    pub fn set(&self, endpoints: Endpoints) -> Arc<Endpoints> {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, Arc::new(endpoints))
    }
}

/// The answer to a request: one receipt a row.
#[derive(Debug)]
pub struct Answer {
    /// The ids, one a row.
    pub receipts: Vec<ReceiptId>,
    /// Everything that was computed.
    pub scored: Scored,
}

/// Scores rows of [`Pipeline::request`] and logs every prediction; the answer is given once the log has it.
pub async fn predict(
    endpoints: Arc<Endpoints>,
    endpoint: Arc<Endpoint>,
    request: RecordBatch,
    clock: &dyn Clock,
    log: &Log,
) -> Result<Answer, Report> {
    let now_us = clock.now_us();
    let (answer, frames) = if request.num_rows() <= INLINE_ROWS_MAX {
        answer(&endpoints, &endpoint, &request, now_us)?
    } else {
        let work = move || answer(&endpoints, &endpoint, &request, now_us);
        tokio::task::spawn_blocking(work).await.map_err(|_| Report::error("internal", "scoring a request failed"))??
    };
    log.append(frames).await?;
    Ok(answer)
}

fn answer(
    endpoints: &Endpoints,
    endpoint: &Endpoint,
    request: &RecordBatch,
    now_us: i64,
) -> Result<(Answer, Frames), Report> {
    let scored = endpoint.pipeline.score(request, now_us, endpoints.features.as_ref())?;
    let head = RecordHead::new(endpoints, &endpoint.pipeline, &endpoint.version);
    let mut frames = Frames::default();
    let mut receipts = Vec::with_capacity(request.num_rows());
    for row in 0..request.num_rows() {
        let receipt = ReceiptId::fresh(now_us);
        frames.push(|out| write_record(out, &receipt, now_us, &head, &scored, row));
        receipts.push(receipt);
    }
    Ok((Answer { receipts, scored }, frames))
}
