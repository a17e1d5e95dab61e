//! Tests that cross the crate's modules, and fixtures for all of them.

mod damage;
mod digest;
mod environments;
mod stage;
mod state;
mod system;

use crate::{ColumnType, RunRecord, VersionRecord, Warehouse};
use pelton_base::{Digest, NodeName, RunId, VersionId};
use pelton_query::DataFile;
use serde_json::json;
use std::sync::Arc;
use tempfile::TempDir;

/// A warehouse of its own, with its folder, which goes when it does.
fn warehouse() -> (TempDir, Warehouse) {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(folder.path()).unwrap();
    (folder, warehouse)
}

/// A run that has begun.
fn run(warehouse: &Warehouse, id: &str) -> RunId {
    let id = RunId(id.into());
    let record = RunRecord {
        id: id.clone(),
        environment: "main".into(),
        started_at_us: 1_000,
        command: "pelton run".into(),
        pid: 7,
    };
    warehouse.state().begin_run(&record).unwrap();
    id
}

/// A version, not inserted yet.
fn version(run: &RunId, node: &str, id: &str) -> VersionRecord {
    VersionRecord {
        id: VersionId(id.into()),
        node: NodeName::new(node),
        kind: "table".into(),
        run: run.clone(),
        fingerprint: Digest::of(b"plan"),
        digest: Digest::of(id.as_bytes()),
        built_at_us: 2_000,
        columns: vec![
            ColumnType { name: "id".into(), data_type: "bigint".into() },
            ColumnType { name: "tags".into(), data_type: "text[]".into() },
        ],
        rows: 10,
        bytes: 1_234,
        delta_version: None,
        files: Arc::new(vec![DataFile {
            path: format!("part-{id}-0.parquet"),
            bytes: 1_234,
            rows: 10,
            stats: Some("{\"numRecords\":10}".into()),
            rows_digest: None,
            digest: None,
        }]),
        inputs: vec![(NodeName::new("raw"), VersionId("0123456789ab".into()))],
        quarantine: vec![],
        quarantined: 2,
        dropped: 1,
        detail: json!({"volatile": ["now()"]}),
    }
}
