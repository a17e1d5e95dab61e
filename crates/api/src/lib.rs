//! HTTP routes of a serving Pelton: routes, limits and their refusals, nothing else.
//!
//! `/v2` is the Open Inference Protocol over REST, with the binary tensors that its standard clients send; `/v1` is friendlier
//! to people: rows as JSON. Every refusal is the same JSON object, `{"error", "code", "notes", "hints"}`. Scoring, logging and
//! receipts are the serve crate's.

mod app;
mod connection;
mod object;
mod refusal;
mod server;
mod v1;
mod v2;

#[cfg(test)]
mod tests;

pub use app::{App, router};
pub use server::{Drain, bind, serve};
