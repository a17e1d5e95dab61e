//! Order, selectors, drawings.

use super::{load_text, render};
use crate::*;
use std::collections::BTreeMap;
use std::path::Path;

const SHOP: &str = r#"
--- sources/payments.toml
kind = "files"
path = "data/*.csv"
tags = ["raw"]
--- sources/merchants.toml
kind = "files"
path = "data/*.csv"
tags = ["raw"]
--- tables/clean/paid.sql
select * from payments join merchants on true
--- tables/clean/stats.sql
/* pelton
tags = ["report"]
*/
select * from paid
--- models/fraud.sql
/* pelton
task = "classification"
target = "y"
key = "id"
*/
select * from paid
--- tables/scored.sql
select * from predict(fraud, stats)
"#;

fn shop() -> Project {
    load_text(SHOP).unwrap_or_else(|reports| panic!("{reports}"))
}

fn names(list: impl IntoIterator<Item = impl ToString>) -> String {
    list.into_iter().map(|name| name.to_string()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_node_comes_after_what_it_reads_and_ties_go_by_name() {
    assert_eq!(names(shop().order), "merchants payments paid fraud stats scored");
}

#[test]
fn selectors_select() {
    let project = shop();
    let select = |selectors: &[&str]| {
        let selectors: Vec<String> = selectors.iter().map(|selector| selector.to_string()).collect();
        match select(&project, &selectors) {
            Ok(found) => names(found),
            Err(reports) => reports.0.iter().map(render).collect(),
        }
    };
    assert_eq!(select(&[]), "fraud merchants paid payments scored stats");
    assert_eq!(select(&["paid"]), "paid");
    assert_eq!(select(&["+paid"]), "merchants paid payments");
    assert_eq!(select(&["stats+"]), "scored stats");
    assert_eq!(select(&["+stats+"]), "merchants paid payments scored stats");
    assert_eq!(select(&["tag:raw", "fraud"]), "fraud merchants payments");
    assert_eq!(select(&["tag:report+"]), "scored stats");
    assert_eq!(select(&["path:tables/clean"]), "paid stats");
    assert_eq!(select(&["path:./tables/clean/"]), "paid stats");
    assert_eq!(select(&["path:sources/p*.toml"]), "payments");
    assert_eq!(select(&["path:tables/scored.sql"]), "scored");
    assert_eq!(select(&["kind:model"]), "fraud");
    let mistakes = select(&["payd", "tag:rwa", "path:table", "kind:modl", "tga:raw", "+", "path:[", ""]);
    assert_eq!(
        mistakes,
        "\
error[unknown-node]: there is no node `payd`
  hint: did you mean `paid`?
  hint: pelton graph
error[unknown-node]: no node has the tag `rwa`
  hint: did you mean `raw`?
error[unknown-node]: no node has its file at `table`
error[invalid-argument]: `modl` is not a kind of node
  note: kinds are `source`, `table` and `model`
  hint: did you mean `model`?
error[invalid-argument]: `tga:` is not a way to select nodes
  note: selectors are `name`, `+name`, `name+`, `tag:x`, `path:y` and `kind:model`
  hint: did you mean `tag`?
error[invalid-argument]: a selector is empty
  note: selectors are `name`, `+name`, `name+`, `tag:x`, `path:y` and `kind:model`
error[invalid-argument]: `[` is not a path pattern: invalid range pattern
error[invalid-argument]: a selector is empty
  note: selectors are `name`, `+name`, `name+`, `tag:x`, `path:y` and `kind:model`
"
    );
}

#[test]
fn the_graph_is_drawn() {
    let project = shop();
    assert_eq!(
        graph_text(&project),
        "\
level 0
  source  merchants
  source  payments
level 1
  table   paid       <- merchants, payments
level 2
  model   fraud      <- paid
  table   stats      <- paid
level 3
  table   scored     <- fraud, stats
"
    );
    assert_eq!(
        graph_mermaid(&project),
        "\
flowchart LR
  n_fraud{{\"fraud\"}}
  n_merchants[(\"merchants\")]
  n_paid[\"paid\"]
  n_payments[(\"payments\")]
  n_scored[\"scored\"]
  n_stats[\"stats\"]
  n_fraud --> n_scored
  n_merchants --> n_paid
  n_paid --> n_fraud
  n_paid --> n_stats
  n_payments --> n_paid
  n_stats --> n_scored
"
    );
    assert_eq!(
        graph_dot(&project),
        "\
digraph pelton {
  rankdir = LR;
  \"fraud\" [shape = hexagon];
  \"merchants\" [shape = cylinder];
  \"paid\" [shape = box];
  \"payments\" [shape = cylinder];
  \"scored\" [shape = box];
  \"stats\" [shape = box];
  \"fraud\" -> \"scored\";
  \"merchants\" -> \"paid\";
  \"paid\" -> \"fraud\";
  \"paid\" -> \"stats\";
  \"payments\" -> \"paid\";
  \"stats\" -> \"scored\";
}
"
    );
    let json: serde_json::Value = serde_json::from_str(&graph_json(&project)).unwrap();
    assert_eq!(json["nodes"][3]["name"], "fraud");
    assert_eq!(json["nodes"][2]["reads"], serde_json::json!(["merchants", "payments"]));
    assert_eq!(json["nodes"][2]["read_by"], serde_json::json!(["fraud", "stats"]));
    assert_eq!(json["nodes"][5]["level"], 3);
}

/// A long chain, every node of which also reads a wide table: deep, and with many edges.
fn large(nodes: usize, closed: bool) -> MemoryFiles {
    let mut files = BTreeMap::from([("pelton.toml".to_string(), "name = \"large\"".to_string())]);
    files.insert("sources/t0.toml".to_string(), "kind = \"files\"\npath = \"*.csv\"".to_string());
    for node in 1..nodes {
        let first = if closed && node == 1 { nodes - 1 } else { node - 1 };
        let (other, third) = (node / 2, node / 3);
        let sql = format!(
            "/* pelton\ndescription = \"node {node}\"\n[columns.x]\nchecks = [\"not_null\"]\n*/\nselect a.x, count(*) as n\nfrom t{first} a join t{other} b on a.x = b.x\n\
             left join t{third} c on a.x = c.x where a.x > 3 group by a.x"
        );
        files.insert(format!("tables/f{}/t{node}.sql", node % 100), sql);
    }
    MemoryFiles(files)
}

#[test]
fn a_large_project_is_put_in_order() {
    let project = load_with(Path::new("/large"), &large(2_000, false)).unwrap();
    let expected: Vec<String> = (0..2_000).map(|node| format!("t{node}")).collect();
    assert_eq!(names(&project.order), names(expected));
    assert_eq!(select(&project, &["+t1999".to_string()]).unwrap().len(), 2_000);
}

#[test]
fn a_large_circle_is_reported_once() {
    let reports = load_with(Path::new("/large"), &large(2_000, true)).unwrap_err();
    assert!(reports.0.iter().all(|report| report.code == "cycle"), "{}", reports.0[0]);
    assert!(reports.0.len() <= 20, "{}", reports.0.len());
}

/// A chain of tables, each reading the one before it `times` times, with one header each.
fn chain(length: usize, header: &str, times: usize) -> String {
    let mut text = "--- sources/raw.toml\nkind = \"files\"\npath = \"data/*.csv\"\n".to_string();
    for step in 0..length {
        let from = if step == 0 { "raw".to_string() } else { format!("step_{:05}", step - 1) };
        let joins = format!(" join {from} as other on true").repeat(times - 1);
        text += &format!("--- tables/step_{step:05}.sql\n{header}select * from {from}{joins}\n");
    }
    text
}

#[test]
fn a_long_cycle_names_its_beginning_and_its_end() {
    let text = chain(10_000, "", 1).replace("from raw\n", "from step_09999\n");
    let report = &load_text(&text).unwrap_err().0[0];
    assert_eq!(report.message, "10000 tables read each other, so none can be built first");
    assert!(report.notes[0].contains(" -> 9980 more -> "), "{}", report.notes[0]);
    assert!(report.notes[0].len() < 1_000, "{}", report.notes[0]);
}

#[test]
fn views_that_would_be_planned_too_deep_or_too_often_are_refused() {
    let view = "/* pelton\nbuild = \"view\"\n*/\n";
    assert!(load_text(&chain(VIEWS_DEEP_MAX, view, 1)).is_ok());
    assert!(load_text(&chain(10_000, "", 2)).is_ok());
    let reports = load_text(&chain(VIEWS_DEEP_MAX + 1, view, 1)).unwrap_err();
    let report = &reports.0[0];
    assert_eq!((reports.0.len(), report.code), (1, "unsupported-sql"));
    assert_eq!(report.message, "more than 50 views stand one on another up to `step_00050`");
    assert_eq!(report.hints, ["set `build = \"full\"` in `step_00050`"]);
    // What stands on a reported view is reported only where it is too deep by itself.
    assert_eq!(load_text(&chain(1_000, view, 1)).unwrap_err().0.len(), 19);
    // Each mentions the one before twice: the tenth would bring 1,022 others.
    assert!(load_text(&chain(9, view, 2)).is_ok());
    let reports = load_text(&chain(12, view, 2)).unwrap_err();
    assert_eq!(reports.0.len(), 1, "{reports}");
    assert!(reports.0[0].message.starts_with("`step_00009` brings more than 1000 views"), "{reports}");
}
