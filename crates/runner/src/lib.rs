//! Walks the graph: fingerprint, plan, stage, check, commit, publish; and answers questions about what happened.
//!
//! In reading order: [`Context`] holds what every operation needs, [`check`] types the project, [`plan`] says what a run would do
//! and why, [`run`] does it. `source`, `table` and `model` build one node each (`learned` spares a model the training that would teach it nothing new), `checks` asks what the rows must meet, `clock` what must hold
//! at every run, `replay`
//! takes rows in that were kept out. `catalog` binds names to the versions of a publication, `query`, `show` and `serving` read
//! them. `environments` publishes one environment to another and goes back, `diff` compares two publications, `gc` removes what
//! nobody needs. `fit` says whether the models of a publication find what they look up. `retry` tries again what may succeed the next time, `resume` goes on with a run that failed or died, `verify` finds
//! what is not as it was written, and repairs it. `lineage` says what each column is made from, and what depends on it.
//!
//! Invariants: a version is recorded only after its checks passed; an environment changes only in one transaction at a run's end;
//! a node is skipped in exactly one place (`plan::decide`).

mod backfill;
mod catalog;
mod check;
mod checks;
mod clock;
mod column_names;
mod context;
mod data_file;
mod diff;
mod environments;
mod fingerprint;
mod fit;
mod gc;
mod gone;
mod increment;
mod known;
mod learned;
mod lineage;
mod logs;
mod model;
mod narrow;
mod outcome;
mod plan;
mod query;
mod refusal;
mod repaired;
mod replay;
mod resume;
mod retry;
mod run;
mod serving;
mod shape;
mod show;
mod sink;
mod source;
mod source_columns;
mod source_files;
mod stage;
mod succession;
mod table;
mod unit_tests;
mod verify;

pub use backfill::{Backfill, backfill};
pub use check::{Checked, EndpointTypes, NodeTypes, TypedColumn, check};
pub use context::Context;
pub use diff::{
    ChangedRow, ChangedValue, ColumnChanges, Compared, ComparedNode, ComparedSide, ComparedVersion, DiffOptions,
    Retyped, RowChanges, diff,
};
pub use environments::{
    Moved, MovedNode, PublishOptions, RollbackOptions, RolledBack, publications, publish, rollback,
};
pub use gc::{Collected, GcOptions, Kept, OldFile, OldPublication, OldVersion, gc};
pub use lineage::{
    Affected, AffectedColumn, AffectedEndpoint, AffectedNode, ColumnGraph, ColumnOrigin, ColumnOrigins, Impact,
    NodeOrigins, Part, ShownColumns, ShownOrigins, Step, lineage,
};
pub use outcome::{Event, HeldModel, ModelReport, PlanStep, Planned, RunOptions, RunOutcome, StepAction};
pub use plan::plan;
pub use query::{
    AsOf, QuarantineOptions, Quarantined, predict_rows, quarantine, quarantine_rows, query, take_in_predictions,
};
pub use repaired::read_repaired;
pub use replay::{REPLAY_ROWS_MAX, Repaired, Replay, replay};
pub use resume::{Resumed, resume};
pub use retry::Retried;
pub use run::run;
pub use serving::{Serving, receipts};
pub use show::{Shown, show, why};
pub use unit_tests::{
    BrokenCheck, DifferentRow, DifferentValue, MetricBound, Removed, RowsDiffer, Tested, TestsOutcome, test,
};
pub use verify::{Became, Finding, Remedy, Verified, VerifyOptions, verify};
