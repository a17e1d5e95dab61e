//! The query engine behind the port: DataFusion for SQL, delta-rs for table logs.
//!
//! The only crate that names either. Their errors are translated here (`error`), so that their words never reach a user.
//! Beside their operators it has Pelton's own: the as-of join (`asof`), scoring inside SQL (`score`), aggregates of doubles that do not
//! depend on the order of rows (`exact`), and orders without ties (`order`).

mod asof;
mod compile;
mod context;
mod damage;
mod delta;
mod error;
mod exact;
mod lineage;
mod local;
mod locality;
mod memory;
mod micros;
mod mistake;
mod order;
mod overflow;
mod provider;
mod rewrite;
mod score;
mod spans;
mod times;
mod volatile;
mod walk;

#[cfg(test)]
mod tests;

pub use local::{Limits, LocalEngine};
