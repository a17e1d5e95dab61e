//! What a query may read: every name is bound to exact data before the query is planned.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, SchemaRef};
use pelton_base::Digest;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A Parquet file of a pinned table version.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DataFile {
    /// Path relative to the table's folder.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Number of rows.
    pub rows: u64,
    /// Column statistics as Delta's `stats` JSON, when known.
    #[serde(default)]
    pub stats: Option<String>,
    /// The sum of its rows' hashes, as the digest of its table has them; absent where nobody computed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_digest: Option<Digest>,
    /// The digest of its bytes; absent where another program wrote it, or a Pelton that did not note it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// What a name stands for in a query.
#[derive(Clone)]
pub enum Relation {
    /// A type without data: enough for [`crate::Engine::analyze`], an error when rows are asked for.
    Typed(SchemaRef),
    /// A pinned table version.
    Files {
        /// The columns; files that lack a column give nulls for it.
        schema: SchemaRef,
        /// URL of the table's folder, ending in `/`.
        folder: String,
        /// The version's files.
        files: Arc<Vec<DataFile>>,
    },
    /// Rows in memory.
    Batches(SchemaRef, Vec<RecordBatch>),
    /// Another SELECT over this catalog, in place.
    View(String),
}

/// Scores rows inside a query; a model version, seen from the engine.
pub trait Scorer: Send + Sync + fmt::Debug {
    /// What it is called in a mistake of who calls it, such as "model `fraud`".
    fn subject(&self) -> String;
    /// The inputs, by position.
    fn inputs(&self) -> &[Field];
    /// The one output: a struct of the prediction's columns.
    fn output(&self) -> Field;
    /// Scores rows: one array an input, all of the same length; gives one struct array of that length.
    fn score(&self, inputs: &[ArrayRef]) -> Result<ArrayRef, String>;
}

/// Gives the SELECT that `predict(MODEL, table)` stands for, for the name of the table (already quoted).
///
/// The SELECT calls the model's scorer by the name it has in [`Catalog::scorers`].
pub type Predict = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// Everything a query may name. Names are `node` or `schema.name` (`pelton.runs`).
#[derive(Clone, Default)]
pub struct Catalog {
    /// Tables and views by name.
    pub relations: BTreeMap<String, Relation>,
    /// Scoring functions by name.
    pub scorers: BTreeMap<String, Arc<dyn Scorer>>,
    /// `predict(MODEL, table)` by model name.
    pub predicts: BTreeMap<String, Predict>,
    /// The instant that `now()` and friends mean, microseconds since the epoch; the wall clock when absent.
    pub now_us: Option<i64>,
}

impl Catalog {
    /// Binds a name.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, relation: Relation) -> Self {
        self.relations.insert(name.into(), relation);
        self
    }
}
