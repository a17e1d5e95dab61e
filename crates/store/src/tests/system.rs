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
    let tables = warehouse.state().system_tables().unwrap();
    assert_eq!(tables.len(), SYSTEM_TABLES.len());
    for name in SYSTEM_TABLES {
        let schema = tables[name].schema();
        assert_eq!(Some(&schema), system_table_schema(name).as_ref());
        assert_eq!(stored_schema(&schema).unwrap(), schema, "{name} has stored types");
        assert_eq!(tables[name].num_rows(), 0);
    }
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

    let tables = state.system_tables().unwrap();
    let found: Vec<_> = SYSTEM_TABLES.iter().map(|name| (*name, tables[name].num_rows())).collect();
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

    let column = |table: &str, name: &str| tables[table].column_by_name(name).unwrap().clone();
    let time = |name: &str| column("runs", name).as_primitive::<TimestampMicrosecondType>().value(0);
    assert_eq!((time("started_at"), time("finished_at")), (1_000, 5_000));
    assert_eq!(column("runs", "outcome").as_string::<i32>().value(0), "published");
    assert_eq!(column("decisions", "node").null_count(), 1, "one is about the run as a whole");
    assert_eq!(column("sources", "version").as_string::<i32>().value(0), "v2");
    assert_eq!(column("versions", "delta_version").null_count(), 2);
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
