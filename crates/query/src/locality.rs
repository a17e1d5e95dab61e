//! What part of the inputs a part of a SELECT's result depends on: the ground on which a table is built incrementally.

use pelton_base::Grain;
use std::collections::BTreeSet;

/// What the analysed plan of a SELECT proves about its result, without reading data. Names are those of stored tables; views are seen
/// through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locality {
    /// All tables that the SELECT reads.
    pub inputs: BTreeSet<String>,
    /// The tables over whose rows the SELECT is a sum: when they grow by some rows and the others stay as they are, the result grows by
    /// the SELECT over those rows alone. Or why there are none, in words.
    pub additive: Result<BTreeSet<String>, String>,
    /// The result's columns, in order.
    pub columns: Vec<LocalColumn>,
}

impl Locality {
    /// A column of the result.
    pub fn column(&self, name: &str) -> Option<&LocalColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// A column of a result: its rows with the value `v` depend, of each input that has an origin here, only on the rows in reach of `v`,
/// and on other inputs as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalColumn {
    /// Its name.
    pub name: String,
    /// Where the value comes from. An input that is read more than once may have several; then rows in reach of any of them count.
    pub origins: Vec<Origin>,
}

impl LocalColumn {
    /// The origins in an input.
    pub fn of<'a>(&'a self, input: &'a str) -> impl Iterator<Item = &'a Origin> {
        self.origins.iter().filter(move |origin| origin.input == input)
    }
}

/// A column of an input in which a value of the result lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The input.
    pub input: String,
    /// Its column.
    pub column: String,
    /// The steps to whose begin the input's time is rounded down first; the finest for no rounding.
    pub rounded: Grain,
    /// How far before the result's time the rounded time may lie, microseconds; `i64::MAX` for any time before.
    pub before_us: i64,
    /// How far after it.
    pub after_us: i64,
    /// Whether every row before counts, as in a running total, and not only what is nearest, as in `lag`. Of the first kind no bound may be
    /// assumed that the SQL does not have.
    pub all_before: bool,
    /// Whether rows without a time may count.
    pub nulls: bool,
}

impl Origin {
    /// Whether the input's value is the result's.
    pub fn is_equal(&self) -> bool {
        self.rounded == Grain::FINEST && self.before_us == 0 && self.after_us == 0
    }
}
