//! [`Lineage`]: what each column of a SELECT is made from, and how.

use serde::Serialize;

/// How a column takes part in another one.
///
/// The first five say that its value goes into the other's value (direct). The others say that it decides which rows there are, or which of
/// them count (indirect). Of several direct ones on one way, the greatest by this order tells the whole way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The value is taken as it is, under the same name or another one.
    Copied,
    /// The value goes into an expression over one row; a cast is one.
    Computed,
    /// The value goes into one that is computed over several rows: an aggregate or a window.
    Aggregated,
    /// A model answers from the value.
    Predicted,
    /// A model was fitted to the value. Never of a SELECT.
    Learned,
    /// A condition (WHERE, HAVING, FILTER, a check that removes rows) reads it.
    Filter,
    /// Rows of two tables are matched by it.
    Join,
    /// Rows are put together by it: GROUP BY, PARTITION BY, DISTINCT.
    Group,
    /// Rows are put in order by it: those of a window, of an aggregate, of the result.
    Order,
    /// It is a time of an as-of join.
    AsOf,
    /// It is a list whose elements become rows.
    Unnest,
    /// A model's examples are told apart or divided by it. Never of a SELECT.
    Split,
    /// The rows of the table as a whole.
    Rows,
    /// A check compares rows with it, and stops or warns. Never of a SELECT.
    Check,
}

impl How {
    /// Whether the value of the one goes into the value of the other.
    pub fn is_direct(self) -> bool {
        self <= How::Learned
    }

    /// The words that stand before what takes part.
    pub fn words(self) -> &'static str {
        match self {
            How::Copied => "copied from",
            How::Computed => "computed from",
            How::Aggregated => "aggregated from",
            How::Predicted => "predicted from",
            How::Learned => "learned from",
            How::Filter => "filtered by",
            How::Join => "joined by",
            How::Group => "grouped by",
            How::Order => "ordered by",
            How::AsOf => "as of",
            How::Unnest => "unnested from",
            How::Split => "split by",
            How::Rows => "rows of",
            How::Check => "checked with",
        }
    }
}

/// A column of the catalog that takes part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineageOrigin {
    /// The relation's name in the catalog; of what a scorer answers, the scorer's name.
    pub relation: String,
    /// The column; the relation's rows as a whole when absent (`count(*)` is made from them).
    pub column: Option<String>,
    /// How.
    pub how: How,
}

/// What a column of a SELECT is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnLineage {
    /// The column's name.
    pub name: String,
    /// Its origins, sorted; none of a literal. An origin stands here once with the greatest direct way, and once with each indirect one.
    pub from: Vec<LineageOrigin>,
}

/// What a SELECT is made from.
///
/// What decides which rows there are concerns every column alike and is told once, in `rows`; the origins of a column have only what
/// concerns that column beyond it, such as the order of its window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// One entry a column of the result, in order.
    pub columns: Vec<ColumnLineage>,
    /// What decides which rows there are, sorted: the tables whose rows they are ([`How::Rows`]), and columns in indirect ways.
    pub rows: Vec<LineageOrigin>,
}
