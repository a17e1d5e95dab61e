//! [`Receipt`]: what a prediction's id resolves to, from the answer back to the source files, scored once more on the way.

use crate::drain::{find_in_table, predictions_table};
use crate::log;
use crate::package::Package;
use crate::pipeline::Pipeline;
use crate::record::Record;
use async_trait::async_trait;
use pelton_base::{Digest, NodeName, ReceiptId, Report, VersionId, format_time_us};
use pelton_query::Engine;
use pelton_store::{VersionRecord, Warehouse};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// What a prediction's id resolves to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The id.
    pub id: ReceiptId,
    /// When the prediction was made, RFC 3339.
    pub at: String,
    /// The environment that answered.
    pub environment: String,
    /// Its publication.
    pub publication: i64,
    /// The model.
    pub model: NodeName,
    /// Its version.
    pub version: VersionId,
    /// What learned it.
    pub learner: String,
    /// The row of the request, from 0.
    pub row: u64,
    /// Request, time and key columns.
    pub request: Map<String, Value>,
    /// The features by their names in the training set.
    pub features: Map<String, Value>,
    /// Where the features came from.
    pub lookups: Vec<FeatureSource>,
    /// The derived columns, computed again.
    pub derived: Map<String, Value>,
    /// The prediction as it was answered.
    pub output: Map<String, Value>,
    /// The same row scored now.
    pub rescored: Rescored,
    /// Every version that the model came from, the model first, every version before those that it read.
    pub training: Vec<TrainingVersion>,
}

/// A feature table as the prediction saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureSource {
    /// The feature table.
    pub table: NodeName,
    /// Its version.
    pub version: VersionId,
    /// Whether it had the entity.
    pub found: bool,
    /// Its features, by their names in the training set.
    pub features: Vec<String>,
}

/// A logged row, scored again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rescored {
    /// The prediction.
    pub output: Map<String, Value>,
    /// Whether every bit is as it was answered.
    pub same_bits: bool,
}

/// A version that the model came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingVersion {
    /// The node.
    pub node: NodeName,
    /// `source`, `table` or `model`.
    pub kind: String,
    /// The version.
    pub version: VersionId,
    /// Its digest.
    pub digest: Digest,
    /// Its rows, unless it is a view; of a model, the examples.
    pub rows: Option<u64>,
    /// When it was built, RFC 3339.
    pub built_at: String,
    /// The versions that it read.
    pub inputs: Vec<(NodeName, VersionId)>,
    /// Its SELECT.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sql: Option<String>,
    /// Of a source: the files that were taken in.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub files: Vec<OriginFile>,
}

/// A file that a source took in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginFile {
    /// The file, relative to the project where possible.
    pub path: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Rows taken in.
    pub rows: u64,
}

/// Resolves receipts; implemented by [`Receipts`] and by fakes in tests.
#[async_trait]
pub trait ReceiptSource: Send + Sync {
    /// The receipt of a prediction.
    async fn receipt(&self, id: &ReceiptId) -> Result<Receipt, Report>;
}

/// The receipts of a warehouse.
///
/// The state database says what a version came from; it is to hold two facts in a version's `detail`: of a model, `package` (the
/// digest of its [`Package`]); of a table and a model, `sql` (the SELECT).
pub struct Receipts {
    engine: Arc<dyn Engine>,
    warehouse: Warehouse,
}

impl std::fmt::Debug for Receipts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receipts").field("warehouse", &self.warehouse).finish_non_exhaustive()
    }
}

impl Receipts {
    /// The receipts of a warehouse.
    pub fn new(engine: Arc<dyn Engine>, warehouse: Warehouse) -> Self {
        Receipts { engine, warehouse }
    }

    /// The logged prediction: in a segment, or else in the table. A segment goes only after the table has its records, so looking
    /// in this order misses none.
    pub async fn find(&self, id: &ReceiptId) -> Result<Record, Report> {
        if uuid::Uuid::try_parse(&id.0).is_err() {
            return Err(Report::error("unknown-receipt", format!("`{id}` is not the id of a prediction"))
                .hint("the answer of every prediction has its id under `receipt`"));
        }
        let folder = self.warehouse.log_dir();
        let wanted = id.clone();
        let found = tokio::task::spawn_blocking(move || log::find(&folder, &wanted)).await;
        let found = found.map_err(|_| Report::error("internal", "searching the prediction log failed"))??;
        if let Some(bytes) = found {
            return Record::from_bytes(&bytes);
        }
        match find_in_table(self.engine.as_ref(), &predictions_table(&self.warehouse), id).await? {
            Some(record) => Ok(record),
            None => Err(Report::error("unknown-receipt", format!("no prediction has the id `{id}`"))),
        }
    }

    async fn resolve(&self, id: &ReceiptId) -> Result<Receipt, Report> {
        let record = self.find(id).await?;
        let version = self.version(&record.version)?;
        let package = package_of(&self.warehouse, &version)?;
        let learner = package.learner.clone();
        let model = self.warehouse.artifacts().get(package.artifact)?;
        let pipeline = Pipeline::compile(self.engine.as_ref(), package, &model)?;
        let again = record.rescore(&pipeline)?;
        let mut features = Map::new();
        let mut lookups = Vec::new();
        for looked in &record.features {
            let values = object(looked.values.get())?;
            lookups.push(FeatureSource {
                table: looked.table.clone(),
                version: looked.version.clone(),
                found: looked.found,
                features: values.keys().cloned().collect(),
            });
            features.extend(values);
        }
        Ok(Receipt {
            id: record.receipt.clone(),
            at: format_time_us(record.at_us),
            request: object(record.request.get())?,
            output: object(record.output.get())?,
            derived: object(&again.derived)?,
            rescored: Rescored { output: object(&again.output)?, same_bits: again.same_bits },
            training: self.training(version)?,
            environment: record.environment,
            publication: record.publication,
            model: record.model,
            version: record.version,
            row: record.row,
            learner,
            features,
            lookups,
        })
    }

    fn version(&self, id: &VersionId) -> Result<VersionRecord, Report> {
        let found = self.warehouse.state().version(id)?;
        found.ok_or_else(|| Report::error("unknown-version", format!("the state database has no version `{id}`")))
    }

    /// All versions that `model` came from, breadth first.
    pub(crate) fn training(&self, model: VersionRecord) -> Result<Vec<TrainingVersion>, Report> {
        let mut seen = BTreeSet::from([model.id.clone()]);
        let mut queue = VecDeque::from([model]);
        let mut training = Vec::new();
        while let Some(version) = queue.pop_front() {
            for (_, input) in &version.inputs {
                if seen.insert(input.clone()) {
                    queue.push_back(self.version(input)?);
                }
            }
            let files =
                if version.kind == "source" { self.warehouse.state().source_files(&version.id)? } else { Vec::new() };
            training.push(TrainingVersion {
                sql: version.detail.get("sql").and_then(Value::as_str).map(str::to_string),
                files: files
                    .into_iter()
                    .map(|file| OriginFile { path: file.path, digest: file.digest, rows: file.rows })
                    .collect(),
                built_at: format_time_us(version.built_at_us),
                digest: version.digest,
                rows: version.rows_known(),
                inputs: version.inputs,
                version: version.id,
                node: version.node,
                kind: version.kind,
            });
        }
        Ok(training)
    }
}

#[async_trait]
impl ReceiptSource for Receipts {
    async fn receipt(&self, id: &ReceiptId) -> Result<Receipt, Report> {
        self.resolve(id).await
    }
}

/// The package of a model's version: the artifact that its `detail` names under `package`.
pub fn package_of(warehouse: &Warehouse, version: &VersionRecord) -> Result<Package, Report> {
    let digest = version.detail.get("package").and_then(Value::as_str).and_then(Digest::parse).ok_or_else(|| {
        Report::error("damaged-state", format!("version `{}` of `{}` names no package", version.id, version.node))
    })?;
    Package::from_bytes(&warehouse.artifacts().get(digest)?)
}

fn object(json: &str) -> Result<Map<String, Value>, Report> {
    serde_json::from_str(json).map_err(|error| {
        Report::error("damaged-artifact", "a record of the prediction log is not readable").note(error.to_string())
    })
}
