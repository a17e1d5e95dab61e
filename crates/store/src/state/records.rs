//! What the state database holds, as values.

use arrow::datatypes::{Field, Schema, SchemaRef};
use pelton_base::{Digest, NodeName, RunId, VersionId};
use pelton_query::{DataFile, types};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A run as it begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its id.
    pub id: RunId,
    /// The environment it may publish to.
    pub environment: String,
    /// When it began, microseconds since the epoch.
    pub started_at_us: i64,
    /// The command line.
    pub command: String,
    /// The process.
    pub pid: u32,
}

/// A run as it is known now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunEntry {
    /// How it began.
    #[serde(flatten)]
    pub begun: RunRecord,
    /// When it ended; absent while it runs, and for ever when it was killed.
    pub finished_at_us: Option<i64>,
    /// `published`, `nothing`, `failed` or `interrupted`; absent as `finished_at_us` is.
    pub outcome: Option<String>,
    /// The publication it made.
    pub publication: Option<i64>,
    /// What the run told at its end.
    pub summary: Value,
}

/// A column and its type, in Pelton's type names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnType {
    /// The column's name.
    pub name: String,
    /// The type as [`pelton_query::types::name`] writes it.
    #[serde(rename = "type")]
    pub data_type: String,
}

impl ColumnType {
    /// The columns of a schema.
    pub fn of(schema: &Schema) -> Vec<ColumnType> {
        let column =
            |field: &Arc<Field>| ColumnType { name: field.name().clone(), data_type: types::name(field.data_type()) };
        schema.fields().iter().map(column).collect()
    }

    /// The schema of columns that were made by [`ColumnType::of`] or belong to a version; all fields may be null.
    pub fn schema(columns: &[ColumnType]) -> SchemaRef {
        Self::try_schema(columns).expect("types are names of types: what a database holds is looked at when it is read")
    }

    /// The schema of columns of any origin; fails with what is wrong with a type.
    pub fn try_schema(columns: &[ColumnType]) -> Result<SchemaRef, String> {
        let field = |column: &ColumnType| {
            let data_type =
                types::parse(&column.data_type).map_err(|why| format!("column `{}`: {why}", column.name))?;
            Ok(Field::new(&column.name, data_type, true))
        };
        Ok(Arc::new(Schema::new(columns.iter().map(field).collect::<Result<Vec<_>, String>>()?)))
    }
}

/// An immutable state of a node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VersionRecord {
    /// Its id.
    pub id: VersionId,
    /// The node.
    pub node: NodeName,
    /// `source`, `table` or `model`.
    pub kind: String,
    /// The run that built it.
    pub run: RunId,
    /// What it was built from, as one digest: plan, settings, the parents' versions.
    pub fingerprint: Digest,
    /// What it is, as one digest: its rows and schema, or a model's bytes.
    pub digest: Digest,
    /// When it was built, microseconds since the epoch.
    pub built_at_us: i64,
    /// Its columns.
    pub columns: Vec<ColumnType>,
    /// Number of rows; 0 of a view, see [`VersionRecord::rows_known`].
    pub rows: u64,
    /// Size of its files in bytes.
    pub bytes: u64,
    /// The version of its Delta table, once it is committed.
    pub delta_version: Option<i64>,
    /// Its files, relative to the table's folder.
    pub files: Arc<Vec<DataFile>>,
    /// The versions that it was built from.
    pub inputs: Vec<(NodeName, VersionId)>,
    /// Files of rows that went to quarantine, relative to `quarantine/`.
    pub quarantine: Vec<DataFile>,
    /// How many rows went to quarantine.
    pub quarantined: u64,
    /// How many rows a declared rule dropped.
    pub dropped: u64,
    /// What else its kind knows: a model's card, a source's counts.
    pub detail: Value,
}

impl VersionRecord {
    /// The columns as a schema; all fields may be null.
    pub fn schema(&self) -> SchemaRef {
        ColumnType::schema(&self.columns)
    }

    /// Whether it is a view: a SELECT in place, that stores no rows.
    pub fn is_view(&self) -> bool {
        self.detail.get("view").is_some()
    }

    /// How many rows there are; `None` of a view, whose rows nobody counted.
    pub fn rows_known(&self) -> Option<u64> {
        (!self.is_view()).then_some(self.rows)
    }

    /// The part that is read without the file lists.
    pub fn head(&self) -> VersionHead {
        VersionHead {
            id: self.id.clone(),
            node: self.node.clone(),
            kind: self.kind.clone(),
            run: self.run.clone(),
            fingerprint: self.fingerprint,
            digest: self.digest,
            built_at_us: self.built_at_us,
            rows: self.rows,
            bytes: self.bytes,
            delta_version: self.delta_version,
            quarantined: self.quarantined,
            dropped: self.dropped,
            is_view: self.is_view(),
        }
    }
}

/// A version without columns, files, inputs and detail: cheap to read for every node of an environment at once.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VersionHead {
    /// Its id.
    pub id: VersionId,
    /// The node.
    pub node: NodeName,
    /// `source`, `table` or `model`.
    pub kind: String,
    /// The run that built it.
    pub run: RunId,
    /// What it was built from.
    pub fingerprint: Digest,
    /// What it is.
    pub digest: Digest,
    /// When it was built, microseconds since the epoch.
    pub built_at_us: i64,
    /// Number of rows; 0 of a view, see [`VersionRecord::rows_known`].
    pub rows: u64,
    /// Size of its files in bytes.
    pub bytes: u64,
    /// The version of its Delta table, once it is committed.
    pub delta_version: Option<i64>,
    /// How many rows went to quarantine.
    pub quarantined: u64,
    /// How many rows a declared rule dropped.
    pub dropped: u64,
    /// Whether it is a view.
    #[serde(skip)]
    pub is_view: bool,
}

impl VersionHead {
    /// As [`VersionRecord::rows_known`].
    pub fn rows_known(&self) -> Option<u64> {
        (!self.is_view).then_some(self.rows)
    }
}

/// A file that a source's version has taken in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceFile {
    /// The file, relative to the project where possible.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// When it was last modified, microseconds since the epoch.
    pub modified_us: i64,
    /// The digest of its bytes.
    pub digest: Digest,
    /// The digest of the rows that came of it, as a table of `columns`.
    pub rows_digest: Digest,
    /// Rows taken in.
    pub rows: u64,
    /// Rows that went to quarantine.
    pub quarantined: u64,
    /// Rows that a declared rule dropped.
    pub dropped: u64,
    /// The data files with its rows, relative to the table's folder.
    pub data: Vec<DataFile>,
    /// The files with its rows in quarantine, relative to `quarantine/`.
    pub quarantine: Vec<DataFile>,
    /// The columns found in it.
    pub columns: Vec<ColumnType>,
    /// Whether it was modified so shortly before it was read that a later change may have the same time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_recent: bool,
    /// Whether its rows may not be those that reading it now would give: it was gone when settings, types or other files changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_outdated: bool,
    /// Rows of its quarantine that were taken in after all; they count as rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repairs: Vec<Repair>,
}

/// A row that was in quarantine and was taken in after all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// The line of the file on which the row begins.
    pub line: u64,
    /// The digest of its text as it was rejected.
    pub raw: Digest,
    /// Its text as it was taken in.
    pub text: String,
}

/// What a run asks to be published.
#[derive(Debug, Clone)]
pub struct Publish<'a> {
    /// The environment.
    pub environment: &'a str,
    /// The run.
    pub run: &'a RunId,
    /// When, microseconds since the epoch.
    pub at_us: i64,
    /// All nodes of the environment after the publication.
    pub nodes: &'a BTreeMap<NodeName, VersionId>,
    /// The environment's publication that the run began with, and its nodes; `None` when it had none.
    pub expect: Option<(i64, &'a BTreeMap<NodeName, VersionId>)>,
    /// The publication whose state comes back, when this is a rollback.
    pub restores: Option<i64>,
    /// What the run did with nodes, as far as it was not recorded before.
    pub decisions: &'a [Decision],
}

/// A state of an environment: what stood at which version.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Publication {
    /// Its number; grows over all environments.
    pub id: i64,
    /// The environment.
    pub environment: String,
    /// The run that published.
    pub run: RunId,
    /// When, microseconds since the epoch.
    pub at_us: i64,
    /// The publication whose state it brought back, when it is a rollback.
    pub restores: Option<i64>,
    /// Node to version.
    pub nodes: BTreeMap<NodeName, VersionId>,
}

/// A publication without its map.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PublicationHead {
    /// Its number; grows over all environments.
    pub id: i64,
    /// The environment.
    pub environment: String,
    /// The run that published.
    pub run: RunId,
    /// When, microseconds since the epoch.
    pub at_us: i64,
    /// How many nodes it has.
    pub nodes: u64,
    /// The publication whose state it brought back, when it is a rollback.
    pub restores: Option<i64>,
    /// When its map was removed, microseconds since the epoch; absent while it can be read and restored.
    pub removed_at_us: Option<i64>,
}

/// That a node of an environment stood at a version, from one publication until another replaced it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRange {
    /// The environment.
    pub environment: String,
    /// The version.
    pub version: VersionId,
    /// The first publication that has it.
    pub since: i64,
    /// The publication that does not have it any more.
    pub until: Option<i64>,
}

/// A version with what it leads to.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionLinks {
    /// The version.
    pub head: VersionHead,
    /// The versions that it was built from.
    pub inputs: Vec<(NodeName, VersionId)>,
    /// The artifacts that its detail names.
    pub artifacts: Vec<Digest>,
}

/// How a node stands in an environment, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSince {
    /// The node.
    pub node: NodeName,
    /// Its version; `None` when the environment had the node and has it no more.
    pub version: Option<VersionId>,
    /// The publication that made it so.
    pub since: i64,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant),*
        }

        impl $name {
            /// The word as stored and printed.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }

            /// Reads the word back.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some($name::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// What a run did with a node.
    Action {
        /// It made a new version.
        Built = "built",
        /// Nothing that it depends on changed.
        Skipped = "skipped",
        /// Its version stays, and was asked checks that it had not been asked before.
        Checked = "checked",
        /// An earlier version was built from the same, and serves again.
        Reused = "reused",
        /// Something that it reads failed.
        Withheld = "withheld",
        /// It could not be built, or broke a check.
        Failed = "failed",
        /// A model that missed its gate.
        Held = "held",
        /// Its version came from another environment.
        Published = "published",
        /// It went back to the version of an earlier publication.
        Restored = "restored",
        /// It left the environment.
        Removed = "removed",
        /// Nothing was done with it, because the command was refused.
        Refused = "refused",
    }
}

words! {
    /// How a check ended.
    CheckOutcome {
        /// The rows meet the rule.
        Passed = "passed",
        /// They do not, and the check stops or moves rows to quarantine.
        Failed = "failed",
        /// They do not, and the check only warns.
        Warned = "warned",
        /// An anomaly check that knows too few earlier versions to tell.
        Learning = "learning",
    }
}

/// What a run did with a node, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The node; an empty name when it is about the run as a whole.
    pub node: NodeName,
    /// What was done.
    pub action: Action,
    /// Why, as a sentence.
    pub reason: String,
    /// Why, as data.
    pub detail: Value,
}

/// A decision with the run that made it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PastDecision {
    /// The run.
    pub run: RunId,
    /// When the run began, microseconds since the epoch.
    pub at_us: i64,
    /// The decision.
    #[serde(flatten)]
    pub decision: Decision,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckRecord {
    /// The node.
    pub node: NodeName,
    /// The version that was checked; it is not in the database when the check stopped it.
    pub version: Option<VersionId>,
    /// The check's name.
    pub name: String,
    /// The rule as written.
    pub rule: String,
    /// `stop`, `quarantine` or `warn`.
    pub on_fail: String,
    /// How it ended.
    pub outcome: CheckOutcome,
    /// Rows that break it.
    pub failed_rows: u64,
    /// Rows that were checked.
    pub rows: u64,
    /// Some rows that break it.
    pub samples: Value,
    /// What was found, for checks that are not about single rows.
    pub fact: Option<String>,
    /// When, microseconds since the epoch.
    pub at_us: i64,
}

/// Something measured of a version's rows.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileRecord {
    /// What was measured: `row_count`, `mean`, `newest`, ...
    pub statistic: &'static str,
    /// Of which column; none of the rows as such.
    pub column: Option<String>,
    /// The value; none when no row has one.
    pub value: Option<f64>,
}

/// A metric of a model's version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricRecord {
    /// The run.
    pub run: RunId,
    /// The model.
    pub node: NodeName,
    /// Its version.
    pub version: VersionId,
    /// The learner.
    pub learner: String,
    /// The part of the examples: `train`, `valid`, `test`.
    pub part: String,
    /// The metric.
    pub metric: String,
    /// Its value; not a number where the metric is undefined.
    pub value: f64,
}

/// Files that a run may have left behind: all whose name in `folder` begins with `prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleFiles {
    /// The run.
    pub run: RunId,
    /// The folder, relative to the warehouse.
    pub folder: String,
    /// How the names begin.
    pub prefix: String,
}
