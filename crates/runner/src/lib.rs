//! Walks the graph: fingerprint, plan, stage, check, commit, publish; and answers questions about what happened.
//!
//! In reading order: [`Context`] holds what every operation needs, [`check`] types the project, [`plan`] says what a run would do
//! and why, [`run`] does it. `source`, `table` and `model` build one node each. `catalog` binds names to the versions of a
//! publication, `query`, `show` and `serving` read them.
//!
//! Invariants: a version is recorded only after its checks passed; an environment changes only in one transaction at a run's end;
//! a node is skipped in exactly one place (`plan::decide`).

mod catalog;
mod check;
mod context;
mod fingerprint;
mod model;
mod outcome;
mod plan;
mod query;
mod run;
mod serving;
mod show;
mod source;
mod stage;
mod table;

pub use check::{Checked, EndpointTypes, NodeTypes, TypedColumn, check};
pub use context::Context;
pub use outcome::{Event, HeldModel, ModelReport, PlanStep, Planned, RunOptions, RunOutcome, StepAction};
pub use plan::plan;
pub use query::{AsOf, predict_rows, quarantine, query};
pub use run::run;
pub use serving::{Serving, receipts};
pub use show::{Shown, show, why};
