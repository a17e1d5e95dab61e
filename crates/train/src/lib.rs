//! Training: a model's SELECT with its features becomes a judged model.
//!
//! [`plan_columns`] says, without data, what each column is for, and with it what an endpoint is asked and answers. [`train`]
//! takes the whole training set, refuses examples that cannot be learned from, divides them ([`split`]), fits every candidate
//! and the baseline, chooses on the valid part, judges on the test part that choosing never sees, asks the gates, looks for
//! leaks, and writes a [`Card`].
//!
//! No IO, no clock, no async: the caller brings the rows, ordered by key, and keeps what comes out.

mod card;
mod columns;
mod examples;
mod gate;
mod judge;
mod split;
mod train;

#[cfg(test)]
#[path = "tests/fixture.rs"]
mod fixture;

pub use card::{Card, CardColumn, DataVersion, Facts, PartFacts};
pub use columns::{Columns, Lookup, plan_columns};
pub use gate::{GateResult, InService, ask, refusals, refusals_in_service};
pub use judge::Candidate;
pub use split::split;
pub use train::{Options, Progress, Trained, marks, train};
