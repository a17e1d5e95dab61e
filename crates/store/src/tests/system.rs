//! The system tables: schemas hold, times are times, every table can be read.

use super::{run, version, warehouse};
use crate::*;
use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use pelton_base::{Digest, NodeName};
use serde_json::json;
use std::collections::BTreeMap;

#[test]
fn every_system_table_is_empty_at_first_and_has_its_schema() {
    let (_folder, warehouse) = warehouse();
    for name in SYSTEM_TABLES {
        let (schema, batches) = warehouse.state().system_table(name).unwrap().unwrap();
        assert_eq!(Some(&schema), system_table_schema(name).as_ref());
        assert_eq!(stored_schema(&schema).unwrap(), schema, "{name} has stored types");
        assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 0);
    }
    assert!(warehouse.state().system_table("secrets").unwrap().is_none());
    assert!(system_table_schema("secrets").is_none());
}

#[test]
fn what_runs_did_can_be_read_as_tables() {
    let (_folder, warehouse) = warehouse();
    let state = warehouse.state();
    let run = run(&warehouse, "r1");
    let file = SourceFile {
        path: "data/1.csv".into(),
        bytes: 10,
        modified_us: 3,
        digest: Digest::of(b"1"),
        rows_digest: Digest::of(b"rows"),
        rows: 10,
        quarantined: 0,
        dropped: 0,
        data: vec![],
        quarantine: vec![],
        columns: vec![],
        is_recent: false,
        is_outdated: false,
        repairs: Vec::new(),
    };
    for id in ["v1", "v2"] {
        state.insert_source_version(&version(&run, "raw", id), std::slice::from_ref(&file)).unwrap();
    }
    let node = NodeName::new("raw");
    let decision =
        Decision { node: node.clone(), action: Action::Built, reason: "first run".into(), detail: json!({}) };
    let of_the_run = Decision { node: NodeName::new(""), ..decision.clone() };
    let (decisions, expect, restores) = ([decision, of_the_run], None, None);
    let nodes = BTreeMap::from([(node, version(&run, "raw", "v2").id)]);
    let decisions = decisions.as_slice();
    let publish = Publish { environment: "main", run: &run, at_us: 5_000, nodes: &nodes, expect, restores, decisions };
    state.publish(&publish).unwrap();

    let rows = |name: &str| -> usize {
        let (_, batches) = state.system_table(name).unwrap().unwrap();
        batches.iter().map(|batch| batch.num_rows()).sum()
    };
    let found: Vec<_> = SYSTEM_TABLES.iter().map(|name| (*name, rows(name))).collect();
    let expected = [
        ("runs", 1),
        ("versions", 2),
        ("publications", 1),
        ("environments", 1),
        ("decisions", 2),
        ("checks", 0),
        ("profiles", 0),
        ("metrics", 0),
        ("sources", 1),
    ];
    assert_eq!(found, expected);

    let (_, runs) = state.system_table("runs").unwrap().unwrap();
    let time = |name: &str| runs[0].column_by_name(name).unwrap().as_primitive::<TimestampMicrosecondType>().value(0);
    assert_eq!((time("started_at"), time("finished_at")), (1_000, 5_000));
    assert_eq!(runs[0].column_by_name("outcome").unwrap().as_string::<i32>().value(0), "published");
    let (_, decisions) = state.system_table("decisions").unwrap().unwrap();
    assert_eq!(decisions[0].column_by_name("node").unwrap().null_count(), 1, "one is about the run as a whole");
    let (_, sources) = state.system_table("sources").unwrap().unwrap();
    assert_eq!(sources[0].column_by_name("version").unwrap().as_string::<i32>().value(0), "v2");
    let (_, versions) = state.system_table("versions").unwrap().unwrap();
    assert_eq!(versions[0].column_by_name("delta_version").unwrap().null_count(), 2);
}

#[test]
fn the_reference_page_has_every_table_and_column() {
    let page = include_str!("../../../../docs/reference/system-tables.md");
    let quarantine = crate::quarantine_schema();
    let tables = SYSTEM_TABLES.iter().map(|name| (*name, system_table_schema(name).unwrap()));
    for (name, schema) in tables.chain([("quarantine", quarantine)]) {
        let of_table = page.split("\n## pelton.").find(|part| part.lines().next() == Some(name));
        let shown: Vec<&str> =
            of_table.unwrap_or_else(|| panic!("no `{name}`")).lines().filter(|line| line.starts_with("| `")).collect();
        let fields = schema.fields().iter();
        let wanted: Vec<String> = fields
            .map(|field| format!("| `{}` | {} |", field.name(), pelton_query::types::name(field.data_type())))
            .collect();
        assert_eq!(shown, wanted, "{name}");
    }
}
