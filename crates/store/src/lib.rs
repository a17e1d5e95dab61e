//! The state database, artifacts and staged Parquet of a warehouse.
//!
//! [`Warehouse`] is the folder; [`State`] what is known about runs, versions and environments; [`Artifacts`] byte strings by
//! digest; [`StageWriter`] writes rows to Parquet that belong to nobody until their version is committed; [`TableDigest`]
//! says what rows are, independent of their order. No query is run here, and no Delta log is written: that is the engine's.

mod artifacts;
mod digest;
mod encoding;
mod error;
mod stage;
mod state;
mod stats;
mod stored;
mod system;
mod wait;
mod warehouse;

pub use artifacts::Artifacts;
pub use digest::TableDigest;
pub use error::StoreError;
pub use stage::{StageOptions, StageWriter, Staged};
pub use state::{
    Action, CheckOutcome, CheckRecord, ColumnType, Decision, FileLock, MetricRecord, NodeSince, PastDecision,
    ProfileRecord, Publication, PublicationHead, Publish, Repair, RunEntry, RunLock, RunRecord, SHOWN_ENVIRONMENT,
    SourceFile, StaleFiles, State, VersionHead, VersionLinks, VersionRange, VersionRecord,
};
pub use stored::{quarantine_schema, stored_schema, to_stored};
pub use system::{SYSTEM_TABLES, system_table_schema};
pub use wait::wait;
pub use warehouse::{InputKey, Warehouse};

#[cfg(test)]
mod tests;
