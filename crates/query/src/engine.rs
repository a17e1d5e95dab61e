//! [`Engine`]: plan, run, commit. Implemented by the engine crate and by fakes in tests.

use crate::catalog::{Catalog, DataFile};
use crate::lineage::Lineage;
use crate::locality::Locality;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt};
use pelton_base::Report;
use std::sync::Arc;

/// Rows on their way: a schema, then batches of that schema or the error that ended them.
pub struct BatchStream {
    /// The columns of every batch.
    pub schema: SchemaRef,
    /// The batches.
    pub batches: BoxStream<'static, Result<RecordBatch, QueryError>>,
}

impl std::fmt::Debug for BatchStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchStream").field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// Reads a stream to its end.
pub async fn collect(mut stream: BatchStream) -> Result<Vec<RecordBatch>, QueryError> {
    let mut batches = Vec::new();
    while let Some(batch) = stream.batches.next().await {
        batches.push(batch?);
    }
    Ok(batches)
}

/// A stream of rows that are already in memory.
pub fn stream_of(schema: SchemaRef, batches: Vec<RecordBatch>) -> BatchStream {
    BatchStream { schema, batches: futures::stream::iter(batches.into_iter().map(Ok)).boxed() }
}

/// Why the engine could not do what was asked, in the user's words. `line` and `column` are 1-based places in the SQL.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueryError {
    /// The SQL does not parse.
    #[error("{message}")]
    Syntax {
        /// What is wrong.
        message: String,
        /// Where.
        at: Option<(usize, usize)>,
    },
    /// A table is not in the catalog.
    #[error("there is no table `{name}`")]
    UnknownTable {
        /// The name as written.
        name: String,
    },
    /// A column is in none of the inputs.
    #[error("there is no column `{name}`")]
    UnknownColumn {
        /// The name as written, without its qualifier.
        name: String,
        /// The table it was asked of, when the name was qualified.
        table: Option<String>,
        /// The columns there are.
        known: Vec<String>,
        /// Where.
        at: Option<(usize, usize)>,
    },
    /// A function does not exist.
    #[error("there is no function `{name}`")]
    UnknownFunction {
        /// The name as written.
        name: String,
        /// A function that may be meant.
        suggestion: Option<String>,
    },
    /// Types do not go together.
    #[error("{message}")]
    Type {
        /// What is wrong.
        message: String,
        /// Where.
        at: Option<(usize, usize)>,
    },
    /// The dialect allows it, the engine cannot run it.
    #[error("{message}")]
    Unsupported {
        /// What.
        message: String,
    },
    /// A value in the data made an expression fail (division by zero, a failed cast).
    #[error("{message}")]
    Value {
        /// What is wrong.
        message: String,
    },
    /// The memory limit was reached by something that cannot spill.
    #[error("{message} needs more memory than there is")]
    Memory {
        /// What could not go on: `a join`, `an aggregation`.
        message: String,
    },
    /// A file that the version names is missing or damaged.
    #[error("{message}")]
    Damaged {
        /// Which, and how.
        message: String,
    },
    /// There is no space left on the disk.
    #[error("no space left on the disk")]
    DiskFull,
    /// The storage did not do its part.
    #[error("{message}")]
    Storage {
        /// Its reason.
        message: String,
    },
    /// Another writer committed first.
    #[error("another writer committed to the table first")]
    Conflict,
    /// A defect of Pelton.
    #[error("{message}")]
    Internal {
        /// What happened.
        message: String,
    },
}

impl QueryError {
    /// The place in the SQL, when known.
    pub fn at(&self) -> Option<(usize, usize)> {
        match self {
            QueryError::Syntax { at, .. } | QueryError::UnknownColumn { at, .. } | QueryError::Type { at, .. } => *at,
            _ => None,
        }
    }

    /// The place in `sql`: the one that is known, or that of the first thing that the message names and the SQL has once.
    pub fn place_in(&self, sql: &str) -> Option<(usize, usize)> {
        let message = self.to_string();
        self.at().or_else(|| message.split('`').skip(1).step_by(2).find_map(|named| only_place(sql, named)))
    }

    /// The report of this error; `subject` is what the SQL belongs to, for example "table `orders`". The caller adds the place.
    pub fn report(&self, subject: &str) -> Report {
        match self {
            QueryError::Syntax { message, .. } => Report::error("invalid-sql", format!("{subject}: {message}")),
            QueryError::UnknownTable { name } => {
                Report::error("unknown-node", format!("{subject} reads `{name}`, which does not exist"))
            }
            QueryError::UnknownColumn { name, table, known, .. } => {
                let message = match table {
                    Some(table) => format!("table `{table}` has no column `{name}`"),
                    None => format!("{subject} names a column `{name}` that none of its inputs has"),
                };
                let report = Report::error("unknown-column", message);
                let meant = pelton_base::suggest::did_you_mean(name, known.iter().map(String::as_str));
                let report = match meant {
                    Some(meant) => report.hint(format!("did you mean `{}`?", crate::sql::as_written(meant))),
                    None => report,
                };
                if known.is_empty() { report } else { report.note(format!("columns: {}", list(known))) }
            }
            QueryError::UnknownFunction { name, suggestion } => {
                let report =
                    Report::error("unknown-function", format!("{subject} calls `{name}`, which does not exist"));
                match suggestion {
                    Some(other) => report.hint(format!("did you mean `{other}`?")),
                    None => report,
                }
            }
            QueryError::Type { message, .. } => Report::error("type-mismatch", format!("{subject}: {message}")),
            QueryError::Unsupported { message } => Report::error("unsupported-sql", format!("{subject}: {message}")),
            QueryError::Value { message } => Report::error("value-failed", format!("{subject}: {message}")),
            QueryError::Memory { message } => {
                Report::error("out-of-memory", format!("{subject} needs more memory than `engine.memory` allows"))
                    .note(format!("{message} could not go on with what was left"))
                    .hint("raise `memory` under `[engine]` in pelton.toml")
            }
            QueryError::Damaged { message } => Report::error("damaged-table", format!("{subject}: {message}"))
                .note("nothing was changed")
                .hint("pelton verify --repair --rows"),
            QueryError::DiskFull => Report::error("disk-full", format!("{subject}: no space left on the disk"))
                .hint("free some space, then run again"),
            QueryError::Storage { message } => Report::error("storage-failed", format!("{subject}: {message}")),
            QueryError::Conflict => Report::error("publication-conflict", format!("{subject}: {self}"))
                .note("nothing was published; what was built is kept for the next run")
                .hint("pelton run"),
            QueryError::Internal { message } => Report::error("internal", format!("{subject}: {message}")),
        }
    }
}

/// Where a word stands in a text, when it does once.
fn only_place(text: &str, word: &str) -> Option<(usize, usize)> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let (folded, word) = (text.to_ascii_lowercase(), word.to_ascii_lowercase());
    let mut found = folded.match_indices(&word).map(|(at, _)| at).filter(|at| {
        !word.is_empty() && !folded[..*at].ends_with(is_part) && !folded[at + word.len()..].starts_with(is_part)
    });
    let (Some(at), None) = (found.next(), found.next()) else { return None };
    let line_start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    Some((text[..at].matches('\n').count() + 1, text[line_start..at].chars().count() + 1))
}

fn list(names: &[String]) -> String {
    const SHOWN_MAX: usize = 20;
    let mut text = names.iter().take(SHOWN_MAX).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN_MAX {
        text.push_str(&format!(" and {} more", names.len() - SHOWN_MAX));
    }
    text
}

/// What `analyze` finds out about a SELECT without reading data.
#[derive(Debug, Clone)]
pub struct Typed {
    /// The result's columns.
    pub schema: SchemaRef,
    /// What makes the result depend on more than the inputs (`now()`, `random()`, an unordered limit); empty when nothing does.
    pub volatile: Vec<String>,
}

/// Row-wise expressions, compiled once, evaluated on batches of any length.
pub trait RowProgram: Send + Sync {
    /// The results' columns.
    fn schema(&self) -> SchemaRef;
    /// Evaluates on rows of the schema that the program was compiled for.
    fn evaluate(&self, batch: &RecordBatch) -> Result<RecordBatch, QueryError>;
}

/// Where a table lives: the URL of its folder, ending in `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableLocation(pub String);

/// What a commit does to a table.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The table's columns after the commit.
    pub schema: SchemaRef,
    /// All files of the table after the commit; they already lie in its folder. What the table has beyond them leaves it,
    /// so that a commit can be repeated.
    pub files: Vec<DataFile>,
    /// Facts for the log's commit info, such as the run id.
    pub info: Vec<(String, String)>,
}

/// The files of a table at a version.
#[derive(Debug, Clone)]
pub struct TableFiles {
    /// The version, counted from 0.
    pub version: i64,
    /// The columns.
    pub schema: SchemaRef,
    /// The files.
    pub files: Vec<DataFile>,
}

/// The query engine.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Types a SELECT without reading data.
    fn analyze(&self, catalog: &Catalog, sql: &str) -> Result<Typed, QueryError>;

    /// What the analysed plan of a SELECT proves about the part of its inputs that a part of its result depends on.
    fn locality(&self, catalog: &Catalog, sql: &str) -> Result<Locality, QueryError>;

    /// Says what each column of a SELECT is made from, without reading data.
    ///
    /// A view of the catalog is looked through, to what it reads. A scorer that is called without arguments reads the columns of its
    /// inputs' names, as far as they are there.
    fn lineage(&self, catalog: &Catalog, sql: &str) -> Result<Lineage, QueryError>;

    /// Runs a SELECT. Rows come in no particular order unless the SELECT orders them.
    async fn query(&self, catalog: &Catalog, sql: &str) -> Result<BatchStream, QueryError>;

    /// The engine's plan of a SELECT, as text.
    fn explain(&self, catalog: &Catalog, sql: &str) -> Result<String, QueryError>;

    /// Compiles row-wise expressions `(name, sql)` over `schema`; an expression may name an earlier one.
    fn compile(&self, schema: SchemaRef, expressions: &[(String, String)]) -> Result<Arc<dyn RowProgram>, QueryError>;

    /// Commits to a Delta table, creating it when it does not exist; gives the new version.
    async fn commit(&self, table: &TableLocation, commit: Commit) -> Result<i64, QueryError>;

    /// The files of a Delta table at a version, or at the newest; `None` when there is no table.
    async fn files(&self, table: &TableLocation, version: Option<i64>) -> Result<Option<TableFiles>, QueryError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_names_has_its_place_where_the_text_has_it_once() {
        let place = |message: &str, sql: &str| QueryError::Unsupported { message: message.into() }.place_in(sql);
        assert_eq!(place("`sum` does not take text", "select\n  SUM(name) from summary"), Some((2, 3)));
        assert_eq!(place("`sum` does not take text", "select sum(a), sum(b) from t"), None);
        assert_eq!(place("`a.x` is not `b`", "select ü, a.x + a.x, b from t"), Some((1, 22)));
        assert_eq!(place("no name", "select no name"), None);
        let known = QueryError::Type { message: "`a`".into(), at: Some((3, 4)) };
        assert_eq!(known.place_in("select a"), Some((3, 4)));
    }
}
