//! Checks: rules become SQL over the staged rows, and the answers become results, sample rows, reports and quarantined rows.
//!
//! [`plan`] reads a node's checks once and finds every mistake that can be found without data; [`CheckPlan::verify`] lets the
//! engine type what is left. [`run`] asks the engine, in one scan for all row-wise rules and table expressions. Nothing here
//! writes: the runner commits, publishes, and stores what is removed.
//!
//! The relation called `staged` is what is checked. A null passes every rule but `not_null` and table expressions.
//!
//! What anomaly and freshness rules need of the rows is measured in the same scan. `anomaly` compares it with earlier versions,
//! `freshness` with the time.

mod anomaly;
mod expression;
mod freshness;
mod plan;
mod quarantine;
mod report;
mod rule;
mod run;
#[cfg(test)]
mod tests;

pub use anomaly::{HISTORY_MAX, HISTORY_MIN, Known};
pub use freshness::{Freshness, judge_freshness, report_freshness};
pub use plan::{CheckPlan, STAGED, plan};
pub use quarantine::quarantine_rows;
pub use report::report;
pub use rule::{checked_columns, is_answer_of, reads_clock, rule_text};
pub use run::{CheckResult, Checked, Measure, Measured, Outcome, Past, Removed, run};
