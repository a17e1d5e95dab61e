//! The checked project as values: what the files said, resolved, with the place of everything that a later mistake may name.

use pelton_base::{Digest, Grain, NodeName, Place};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A project: its settings, its nodes, and who reads whom.
#[derive(Debug, Clone)]
pub struct Project {
    /// The folder of `pelton.toml`, absolute.
    pub root: PathBuf,
    /// `pelton.toml`.
    pub settings: Settings,
    /// All nodes by name.
    pub nodes: BTreeMap<NodeName, Node>,
    /// Names of all nodes, every node after what it reads; ties by name.
    pub order: Vec<NodeName>,
    /// Nodes for whose rows, or for those of their readers, the order of the columns that they read counts.
    pub by_column_order: BTreeSet<NodeName>,
}

/// `pelton.toml`, with defaults filled in.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    /// `name`: the project's name.
    pub name: String,
    /// `warehouse`: a folder, relative to the project or absolute. Default `warehouse`.
    pub warehouse: String,
    /// `publish`: what a failed node means for the rest. Default `all`.
    pub publish: PublishRule,
    /// `seed`: for splits, sampling and training. Default 42.
    pub seed: u64,
    /// `[engine]`.
    pub engine: EngineSettings,
    /// `[server]`.
    pub server: ServerSettings,
    /// `[retention]`.
    pub retention: RetentionSettings,
    /// `[retry]`.
    pub retry: crate::RetrySettings,
    /// `[notify]`.
    pub notify: crate::NotifySettings,
}

/// `[retention]`: what is kept although no environment stands at it any more.
#[derive(Debug, Clone, Serialize)]
pub struct RetentionSettings {
    /// `keep`: how long a publication is kept after it was replaced, microseconds (`"30 days"` in the file). Default 30 days.
    pub keep_us: i64,
    /// `publications`: how many of each environment are kept whatever their age. Default 10.
    pub publications: u64,
}

/// `publish = "all" | "healthy"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PublishRule {
    /// One failed node, nothing is published.
    All,
    /// What is healthy is published, the rest keeps its versions.
    Healthy,
}

/// `[engine]`: where and within which limits queries run.
#[derive(Debug, Clone, Serialize)]
pub struct EngineSettings {
    /// `kind`: only `local` now.
    pub kind: String,
    /// `memory`: what sorts, joins and aggregations may hold before they spill, in bytes (`"512MB"`, `"2GB"` in the file). Default 1 GB.
    pub memory_bytes: u64,
    /// `threads`: 0 means one a core. Default 0.
    pub threads: usize,
}

/// `[server]`: the limits of `pelton serve`.
#[derive(Debug, Clone, Serialize)]
pub struct ServerSettings {
    /// `host`: default `127.0.0.1`.
    pub host: String,
    /// `port`: default 8470.
    pub port: u16,
    /// `body_bytes_max`: the largest request body (`"8MB"` in the file). Default 8 MiB.
    pub body_bytes_max: u64,
    /// `rows_max`: the most rows of a request. Default 10,000.
    pub rows_max: usize,
    /// `requests_max`: the most requests under way. Default 512.
    pub requests_max: usize,
    /// `connections_max`: the most connections that are open. Default 512.
    pub connections_max: usize,
    /// `headers_ms`: how long a connection may wait for the whole headers of its next request. Default 30,000.
    pub headers_ms: u64,
    /// `timeout_ms`: the longest that a request may take. Default 10,000.
    pub timeout_ms: u64,
    /// `drain_ms`: how long requests under way may go on after SIGTERM. Default 10,000.
    pub drain_ms: u64,
}

/// A node of the graph.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Its file, relative to the project, with `/`.
    pub file: String,
    /// The file's text.
    pub text: String,
    /// `description`.
    pub description: Option<String>,
    /// `tags`.
    pub tags: Vec<String>,
    /// What it is.
    pub body: Body,
    /// Nodes that it reads, with the place of the first mention, sorted by name.
    pub reads: Vec<(NodeName, Place)>,
    /// Those of them that no row comes from: only checks look at them, and these remove no row.
    pub checked_with: BTreeSet<NodeName>,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum Body {
    /// Data from outside.
    Source(Box<Source>),
    /// A SELECT.
    Table(Box<Table>),
    /// A SELECT of training examples and what to learn from them.
    Model(Box<Model>),
}

impl Node {
    /// `source`, `table` or `model`.
    pub fn kind(&self) -> &'static str {
        match self.body {
            Body::Source(_) => "source",
            Body::Table(_) => "table",
            Body::Model(_) => "model",
        }
    }

    /// The place of the file as a whole, for mistakes that have no better one.
    pub fn place(&self) -> Place {
        Place::file(&self.file)
    }

    /// The place of a byte range of the file, such as a [`Spanned`] or a check has.
    pub fn place_at(&self, span: (usize, usize)) -> Place {
        Place::in_text(&self.file, &self.text, span.0, span.1)
    }

    /// The place of a 1-based line and column of the SELECT's text, as the engine gives them.
    pub fn place_in_select(&self, line: usize, column: usize, length: usize) -> Place {
        let Some(select) = self.select() else { return self.place() };
        let start = select.offset + crate::sql::offset_of(&select.sql, line, column);
        let length = self.text.get(start..).unwrap_or_default().chars().take(length).map(char::len_utf8).sum::<usize>();
        self.place_at((start, start + length))
    }

    /// The SELECT of a table or model.
    pub fn select(&self) -> Option<&Select> {
        match &self.body {
            Body::Source(_) => None,
            Body::Table(table) => Some(&table.select),
            Body::Model(model) => Some(&model.select),
        }
    }

    /// The checks on its rows; of a model, on its training examples.
    pub fn checks(&self) -> &[Check] {
        match &self.body {
            Body::Source(source) => &source.checks,
            Body::Table(table) => &table.checks,
            Body::Model(model) => &model.checks,
        }
    }
}

/// A value with the byte range in its file where it was written: of a text, the characters inside its quotes where they stand
/// there as they are (so that a place inside the text is a place in the file), else the whole value.
#[derive(Debug, Clone, PartialEq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Start and end in the file's text.
    pub span: (usize, usize),
}

/// A SELECT in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Select {
    /// The text, without the header comment, a trailing `;` and what follows it.
    pub sql: String,
    /// Where it begins in the file, in bytes; the engine's lines and columns count from here.
    pub offset: usize,
    /// The text in a normal form: comments gone, spacing and keyword case the same however it was written.
    pub normal: String,
    /// What it does with the order of the columns that it reads.
    pub order: ColumnOrder,
}

/// What a SELECT does with the order of the columns that it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ColumnOrder {
    /// Its own columns have that order: it has a `*`.
    pub is_taken: bool,
    /// Its rows depend on it: a `*` in a `UNION`, names given by place.
    pub is_seen: bool,
}

/// `sources/NAME.toml`.
#[derive(Debug, Clone)]
pub struct Source {
    /// `kind`: only `files` now.
    pub kind: String,
    /// `path`: glob, relative to the project.
    pub path: Spanned<String>,
    /// `format`; by the files' extension when absent (`.csv`, `.tsv`, `.ndjson`, `.jsonl`, `.json`, `.parquet`, each also with `.gz` or `.zst`).
    pub format: Option<FileFormat>,
    /// `[csv]`.
    pub csv: CsvSettings,
    /// `key`: columns that identify a row; later rows with the same key go to quarantine.
    pub key: Vec<Spanned<String>>,
    /// `time`: the column of the event's time.
    pub time: Option<Spanned<String>>,
    /// `contract`.
    pub contract: Contract,
    /// `[columns]`: declared types, in the order of the file. Others are inferred from all rows of all files.
    pub columns: Vec<Column>,
    /// `[checks]`.
    pub checks: Vec<Check>,
}

/// A declared column of a source.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: Spanned<String>,
    /// Its type: an Arrow type that a table can store, written as Pelton names it (`pelton_query::types::parse` reads it).
    pub data_type: Spanned<String>,
    /// `description`.
    pub description: Option<String>,
}

/// The format of a source's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// Comma (or other) separated values.
    Csv,
    /// One JSON object a line.
    Ndjson,
    /// Parquet.
    Parquet,
}

/// `[csv]`, with defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CsvSettings {
    /// `delimiter`: one byte. Default `,` (a tab for `.tsv`).
    pub delimiter: Option<u8>,
    /// `quote`: one byte. Default `"`.
    pub quote: u8,
    /// `header`: whether the first line names the columns. Default true; without, columns are the declared ones in order.
    pub header: bool,
    /// `null`: words that mean a missing value. Default `["", "NULL", "null", "NA", "N/A"]`.
    pub null: Vec<String>,
    /// `encoding`: an encoding label of the WHATWG standard. Default `utf-8`. Applies to NDJSON too.
    pub encoding: String,
}

/// `contract`: what happens to what does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Contract {
    /// `columns`: for columns that are not known yet, or that disappeared. `evolve` (default): new columns are added,
    /// missing ones are null; `freeze`: stop; `discard_value`: unknown columns are dropped; `discard_row`, `quarantine`: rows with a
    /// value in an unknown column are dropped and counted, or quarantined.
    pub columns: ContractRule,
    /// `data_type`: for values that do not read as their column's type. `evolve`: the column widens (an undeclared one only);
    /// `freeze`: stop; `discard_value`: null; `discard_row`: dropped and counted; `quarantine` (default).
    pub data_type: ContractRule,
}

/// A word of a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ContractRule {
    /// Take the change in.
    Evolve,
    /// Stop at the first difference.
    Freeze,
    /// Drop the row and count it.
    DiscardRow,
    /// Drop the value.
    DiscardValue,
    /// Put the row into quarantine.
    Quarantine,
}

/// `tables/**/NAME.sql`.
#[derive(Debug, Clone)]
pub struct Table {
    /// The SELECT.
    pub select: Select,
    /// `build`. Default `full`.
    pub build: Build,
    /// The settings of an incremental build.
    pub increment: Increment,
    /// `entity`: with `time`, the table is a feature table.
    pub entity: Vec<Spanned<String>>,
    /// `time`: the column of the event's time.
    pub time: Option<Spanned<String>>,
    /// `known_at`: the column of the time at which a row became known. Default: the column `known_at`, when the SELECT has it.
    pub known_at: Option<Spanned<String>>,
    /// `ttl`: how old a feature row may be, microseconds.
    pub ttl_us: Option<i64>,
    /// `online`: whether endpoints may look the features up. Default true.
    pub online: bool,
    /// `deterministic`: the owner's word that the SQL depends on its inputs alone, though it looks otherwise.
    pub deterministic: bool,
    /// Checks of `[columns.*]` and `[checks]`.
    pub checks: Vec<Check>,
    /// Column descriptions of `[columns.*]`.
    pub columns: Vec<ColumnNote>,
}

/// A column's entry in a table's header.
#[derive(Debug, Clone)]
pub struct ColumnNote {
    /// Its name.
    pub name: Spanned<String>,
    /// `description`.
    pub description: Option<String>,
}

/// How a table is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Build {
    /// Not stored: read in place.
    View,
    /// Built anew from all input.
    Full,
    /// Rows are added for rows that the inputs got.
    Append,
    /// One row a key: the newest.
    Merge,
    /// Intervals of time are built anew where their input changed.
    Interval,
    /// Every state that a key had, each with the time for which it held.
    History,
}

impl Build {
    /// The word in the header.
    pub fn word(self) -> &'static str {
        match self {
            Build::View => "view",
            Build::Full => "full",
            Build::Append => "append",
            Build::Merge => "merge",
            Build::Interval => "interval",
            Build::History => "history",
        }
    }

    /// Whether a new version takes over what the version before it has.
    pub fn is_incremental(self) -> bool {
        !matches!(self, Build::View | Build::Full)
    }
}

/// The settings of an incremental build.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Increment {
    /// `key`: the columns that identify a row of a merge, or what a history is about.
    pub key: Vec<Spanned<String>>,
    /// `delete`: a condition on the newest row of a key under which the key leaves a merge, or ends in a history.
    pub delete: Option<Spanned<String>>,
    /// `track`: the columns of a history whose change begins a new row. Default: all but key and time.
    pub track: Vec<Spanned<String>>,
    /// `interval`: how time is cut into intervals.
    pub interval: Option<Grain>,
    /// `lookback`: how far before an interval its SELECT looks, microseconds, where the SQL does not tell.
    pub lookback_us: Option<i64>,
    /// `lateness`: how long an interval waits for late rows before it is built, microseconds.
    pub lateness_us: Option<i64>,
    /// `start`: where intervals begin, microseconds since the epoch.
    pub start_us: Option<i64>,
    /// `schema_change`. Default: `rebuild`; of a history without `time`, `stop`.
    pub schema_change: Option<SchemaChange>,
}

/// What happens to an incremental table when its columns change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SchemaChange {
    /// It is built anew from all input.
    Rebuild,
    /// The node fails, and the table stays as it is.
    Stop,
}

/// A rule that staged rows must meet.
#[derive(Debug, Clone)]
pub struct Check {
    /// Its name: as in `[checks]`, or made from rule and column (`not_null_amount`).
    pub name: String,
    /// The rule.
    pub rule: Rule,
    /// `on_fail`. Default `stop`.
    pub on_fail: OnFail,
    /// `tolerance`. Default: no row; of a check that sends rows to quarantine, any number of them.
    pub tolerance: Tolerance,
    /// Where its rule is written, in the file's text; as [`Spanned`] has it.
    pub span: (usize, usize),
}

impl Check {
    /// Whether it may take rows away, so that a node's rows depend on it.
    pub fn removes_rows(&self) -> bool {
        self.on_fail == OnFail::Quarantine && !matches!(self.rule, Rule::Table(_) | Rule::Custom(_))
    }

    /// Whether its rule asks each row by itself, and nothing beside it.
    pub fn is_row_wise(&self) -> bool {
        match self.rule {
            Rule::NotNull(_)
            | Rule::Accepted(..)
            | Rule::Between(..)
            | Rule::Matches(..)
            | Rule::Length(..)
            | Rule::Row(_) => true,
            Rule::Unique(_)
            | Rule::References { .. }
            | Rule::Table(_)
            | Rule::Custom(_)
            | Rule::Freshness { .. }
            | Rule::Anomaly { .. } => false,
        }
    }
}

/// What a check demands.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// `not_null`
    NotNull(String),
    /// `unique`, or `unique(a, b)`
    Unique(Vec<String>),
    /// `accepted('a', 'b')`: SQL literals as text; missing values pass.
    Accepted(String, Vec<String>),
    /// `between(low, high)`, both included: SQL literals as text; missing values pass.
    Between(String, String, String),
    /// `matches('regex')`: missing values pass.
    Matches(String, String),
    /// `length(min, max)` in characters: missing values pass.
    Length(String, u64, u64),
    /// `references(table.column)`: missing values pass.
    References {
        /// The checked column.
        column: String,
        /// The table that must have the value.
        table: NodeName,
        /// Its column.
        other: String,
    },
    /// A row-wise SQL expression that must not be false; null passes, as in SQL's CHECK.
    Row(String),
    /// An SQL expression over aggregates of the whole table that must be true: `row_count() > 0`, `sum(amount) > 0`,
    /// `freshness(loaded_at) <= interval '1 day'`. (`row_count()` is `count(*)`, `freshness(c)` is `now() - max(c)`.)
    Table(String),
    /// A SELECT that gives the rows that break the rule; it may read any node.
    Custom(String),
    /// `freshness`: how old the newest value of a column may be. Asked at every run, because time alone breaks it.
    Freshness {
        /// The column: a time or a date.
        column: String,
        /// `warn_after`, microseconds.
        warn_after_us: Option<i64>,
        /// `stop_after`, microseconds.
        stop_after_us: Option<i64>,
    },
    /// One of `[anomaly]`: a statistic of the rows must be about what it was in earlier versions.
    Anomaly {
        /// What is measured.
        statistic: Statistic,
        /// Of which column; `None` of every column that has the statistic. The number of rows has no column.
        column: Option<String>,
        /// How many usual deviations from what is expected are still usual.
        sensitivity: f64,
    },
}

/// What an anomaly check measures of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// The number of rows.
    RowCount,
    /// The share of rows without a value.
    NullShare,
    /// The mean; of a truth value, the share of those that are true.
    Mean,
    /// How many different values there are, counted approximately.
    DistinctCount,
}

impl Statistic {
    /// The word of the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Statistic::RowCount => "row_count",
            Statistic::NullShare => "null_share",
            Statistic::Mean => "mean",
            Statistic::DistinctCount => "distinct_count",
        }
    }
}

/// What happens when a check fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFail {
    /// The node fails.
    Stop,
    /// The rows go to quarantine, the others stay (row-wise rules only).
    Quarantine,
    /// A warning.
    Warn,
}

/// How many rows may break a rule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tolerance {
    /// At most so many.
    Rows(u64),
    /// At most this share of all rows, 0 to 1.
    Share(f64),
    /// So many as there are: what a check that sends rows to quarantine has when it names none.
    Any,
}

/// `models/**/NAME.sql`.
#[derive(Debug, Clone)]
pub struct Model {
    /// The SELECT of training examples.
    pub select: Select,
    /// `task`.
    pub task: Task,
    /// `target`: the column to learn.
    pub target: Spanned<String>,
    /// `key`: columns that identify an example.
    pub key: Vec<Spanned<String>>,
    /// `time`: the time as of which features are joined.
    pub time: Option<Spanned<String>>,
    /// `features`.
    pub features: Vec<FeatureUse>,
    /// `exclude`: columns of the SELECT, features (`column` or `table.column`) and derived columns that the model does not see; they
    /// may still be used by `derive` or the split.
    pub exclude: Vec<Spanned<String>>,
    /// `[derive]`, in the order of the file.
    pub derive: Vec<Derived>,
    /// `split`.
    pub split: Split,
    /// `learner`: candidates, in order. `baseline` is always added.
    pub learner: Vec<Spanned<LearnerKind>>,
    /// `[gbdt]`, `[logistic]`, `[linear]`: parameters by learner, as numbers.
    pub params: BTreeMap<LearnerKind, BTreeMap<String, f64>>,
    /// `metric`: by which candidates are compared. Default by task: `average_precision` (binary), `log_loss` (multiclass), `rmse`.
    pub metric: Option<Spanned<String>>,
    /// `accept`.
    pub accept: Vec<Gate>,
    /// `missing`: what an entity without features means at the endpoint. Default `null`.
    pub missing: MissingRule,
    /// `deterministic`, as for tables.
    pub deterministic: bool,
    /// `[checks]` on the training examples.
    pub checks: Vec<Check>,
    /// Digest of everything in the header that changes what is learned.
    pub settings_digest: Digest,
}

/// A feature table, or one column of it.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureUse {
    /// The feature table.
    pub table: NodeName,
    /// One column, or all that are neither entity nor time.
    pub column: Option<String>,
    /// Where it is written.
    pub span: (usize, usize),
}

/// A derived column.
#[derive(Debug, Clone, PartialEq)]
pub struct Derived {
    /// Its name.
    pub name: String,
    /// Its row-wise SQL; it may name the SELECT's columns, features, and derived columns above it.
    pub sql: String,
    /// Where the expression is written.
    pub span: (usize, usize),
}

/// `missing = "null" | "refuse"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingRule {
    /// The model sees missing values.
    Null,
    /// The request is refused.
    Refuse,
}

/// What a model learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// One of two or more classes.
    Classification,
    /// A number.
    Regression,
}

/// A learning algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LearnerKind {
    /// Gradient boosted decision trees.
    Gbdt,
    /// Logistic regression.
    Logistic,
    /// Linear regression.
    Linear,
    /// The target's distribution alone.
    Baseline,
}

/// `split`: which examples judge the model. Shares are of the whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Split {
    /// `by`: default `time` when the model has a time, else `stratified` for classification, else `random`.
    pub by: SplitBy,
    /// `test`: share of examples that only judge. Default 0.2.
    pub test: f64,
    /// `valid`: share of examples that stop and choose. Default 0.1.
    pub valid: f64,
}

/// How examples are divided.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitBy {
    /// By a hash of the key.
    Random,
    /// By a hash of the key, each class by itself.
    Stratified,
    /// The latest examples judge.
    Time,
    /// By a hash of a column: rows with the same value stay together.
    Group(String),
}

/// One of `accept`: `metric >= number`, or `metric >= current - number`.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// As written.
    pub text: String,
    /// The metric.
    pub metric: String,
    /// `>=`, `>`, `<=` or `<`.
    pub comparison: Comparison,
    /// Whether `number` is relative to the version in service.
    pub relative: bool,
    /// The number.
    pub number: f64,
    /// Where it is written.
    pub span: (usize, usize),
}

/// A comparison of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Comparison {
    /// `>=`
    AtLeast,
    /// `>`
    Above,
    /// `<=`
    AtMost,
    /// `<`
    Below,
}
