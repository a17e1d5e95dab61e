//! Publications of versions that are there already: what came from where, since when, and back again.

use super::{run, version, warehouse};
use crate::*;
use pelton_base::{Digest, NodeName, RunId, VersionId};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

fn nodes(pairs: &[(&str, &str)]) -> BTreeMap<NodeName, VersionId> {
    pairs.iter().map(|(node, version)| (NodeName::new(node), VersionId((*version).into()))).collect()
}

fn publish(warehouse: &Warehouse, environment: &str, run: &RunId, map: &[(&str, &str)]) -> i64 {
    let state = warehouse.state();
    let current = state.current(environment).unwrap();
    let expect = current.as_ref().map(|current| (current.id, &current.nodes));
    state
        .publish(&Publish {
            environment,
            run,
            at_us: 5_000,
            nodes: &nodes(map),
            expect,
            restores: None,
            decisions: &[],
        })
        .unwrap()
}

#[test]
fn a_rollback_is_a_publication_with_decisions_in_one_transaction() {
    let (_folder, warehouse) = warehouse();
    let state = warehouse.state();
    let (build, back) = (run(&warehouse, "r1"), run(&warehouse, "r2"));
    for (node, id) in [("a", "a1"), ("a", "a2"), ("b", "b1")] {
        state.insert_version(&version(&build, node, id)).unwrap();
    }
    let first = publish(&warehouse, "main", &build, &[("a", "a1")]);
    let second = publish(&warehouse, "main", &build, &[("a", "a2"), ("b", "b1")]);
    let map = nodes(&[("a", "a1")]);
    let decision = Decision {
        node: NodeName::new("a"),
        action: Action::Restored,
        reason: "publication 2 was rolled back to 1".into(),
        detail: json!({}),
    };
    let (before, restores, decisions) =
        (nodes(&[("a", "a2"), ("b", "b1")]), Some(first), std::slice::from_ref(&decision));
    let expect = Some((first, &before));
    let stale = Publish { environment: "main", run: &back, at_us: 6_000, nodes: &map, expect, restores, decisions };
    let error = state.publish(&stale).unwrap_err();
    assert_eq!(error.report().code, "publication-conflict");
    assert_eq!(state.decisions(&back).unwrap(), [], "nothing is recorded of what did not happen");

    let publish = Publish { expect: Some((second, &before)), ..stale };
    let third = state.publish(&publish).unwrap();
    let current = state.current("main").unwrap().unwrap();
    assert_eq!((current.id, current.restores, &current.nodes), (third, Some(first), &map));
    assert_eq!(state.decisions(&back).unwrap(), [decision]);
    assert_eq!(state.publication(second).unwrap().unwrap().nodes, nodes(&[("a", "a2"), ("b", "b1")]));
    let restores: Vec<_> = state.publications("main").unwrap().iter().map(|head| head.restores).collect();
    assert_eq!(restores, [Some(first), None, None]);
}

#[test]
fn since_says_when_a_node_came_to_its_version_or_left() {
    let (_folder, warehouse) = warehouse();
    let state = warehouse.state();
    let run = run(&warehouse, "r1");
    for (node, id) in [("a", "a1"), ("a", "a2"), ("b", "b1")] {
        state.insert_version(&version(&run, node, id)).unwrap();
    }
    let first = publish(&warehouse, "main", &run, &[("a", "a1"), ("b", "b1")]);
    let other = publish(&warehouse, "try", &run, &[("b", "b1")]);
    let second = publish(&warehouse, "main", &run, &[("a", "a2"), ("b", "b1")]);
    let third = publish(&warehouse, "main", &run, &[("a", "a2")]);
    let since = |node: &str, version: Option<&str>, since| NodeSince {
        node: NodeName::new(node),
        version: version.map(|id| VersionId(id.into())),
        since,
    };
    let all = ["a", "b", "never"].map(NodeName::new).into();
    assert_eq!(state.since("main", &all).unwrap(), [since("a", Some("a2"), second), since("b", None, third)]);
    assert_eq!(state.since("main", &[NodeName::new("b")].into()).unwrap(), [since("b", None, third)]);
    assert_eq!(state.since("try", &all).unwrap(), [since("b", Some("b1"), other)]);
    assert_eq!(["main", "try", "none"].map(|name| state.changed_last(name).unwrap()), [third, other, 0]);
    assert!(first < other);
    // A version that comes back is there since then.
    let fourth = publish(&warehouse, "main", &run, &[("a", "a1"), ("b", "b1")]);
    assert_eq!(state.since("main", &all).unwrap(), [since("a", Some("a1"), fourth), since("b", Some("b1"), fourth)]);
}

#[test]
fn what_main_published_waits_to_be_shown_until_its_log_does() {
    let (_folder, warehouse) = warehouse();
    let state = warehouse.state();
    let run = run(&warehouse, "r1");
    let unshown = || -> Vec<String> { state.unshown().unwrap().into_iter().map(|head| head.id.0).collect() };
    let show = |id: &str, delta_version| state.set_delta_version(&VersionId(id.into()), delta_version).unwrap();
    for (node, id) in [("a", "a1"), ("a", "a2"), ("b", "b1")] {
        state.insert_version(&version(&run, node, id)).unwrap();
    }
    let view = VersionRecord { detail: json!({"view": "select 1"}), ..version(&run, "v", "v1") };
    let model = VersionRecord { kind: "model".into(), ..version(&run, "m", "m1") };
    state.insert_versions(&[view, model]).unwrap();
    publish(&warehouse, "try", &run, &[("a", "a2")]);
    assert_eq!(unshown(), Vec::<String>::new(), "other environments are nobody else's business");
    let rest = [("b", "b1"), ("m", "m1"), ("v", "v1")];
    publish(&warehouse, "main", &run, &[&[("a", "a1")][..], &rest].concat());
    assert_eq!(unshown(), ["a1", "b1"], "a view and a model have no log");
    show("a1", 0);
    show("b1", 0);
    assert_eq!(unshown(), Vec::<String>::new());
    publish(&warehouse, "main", &run, &[&[("a", "a2")][..], &rest].concat());
    assert_eq!(unshown(), ["a2"], "what did not change is shown already");
    show("a2", 1);
    publish(&warehouse, "main", &run, &[&[("a", "a1")][..], &rest].concat());
    assert_eq!(unshown(), ["a1"], "what comes back was shown once, and is not now");
    show("a1", 2);
    assert_eq!(unshown(), Vec::<String>::new());
}

#[test]
fn a_rollback_writes_what_differs_and_not_the_whole_map() {
    let (_folder, warehouse) = warehouse();
    let state = warehouse.state();
    let run = run(&warehouse, "r1");
    let both: Vec<_> = (0..2)
        .map(|round| {
            let versions: Vec<_> =
                (0..10_000).map(|i| version(&run, &format!("node_{i}"), &format!("v{round}_{i}"))).collect();
            state.insert_versions(&versions).unwrap();
            versions.iter().map(|version| (version.node.clone(), version.id.clone())).collect::<BTreeMap<_, _>>()
        })
        .collect();
    let publish = |nodes: &BTreeMap<NodeName, VersionId>, restores| {
        let current = state.current("main").unwrap();
        let expect = current.as_ref().map(|current| (current.id, &current.nodes));
        let publish = Publish { environment: "main", run: &run, at_us: 1, nodes, expect, restores, decisions: &[] };
        state.publish(&publish).unwrap()
    };
    let first = publish(&both[0], None);
    // One changed node in a large environment: the work is in proportion to what changed.
    let mut changed = both[0].clone();
    let node = NodeName::new("node_7");
    changed.insert(node.clone(), both[1][&node].clone());
    publish(&changed, None);
    publish(&both[0], Some(first));
    let all = both[0].keys().cloned().collect();
    assert_eq!(state.since("main", &all).unwrap().iter().filter(|node| node.since != first).count(), 1);
}

#[test]
fn what_is_forgotten_leaves_the_rest_readable() {
    let (_folder, warehouse) = warehouse();
    let state = warehouse.state();
    let run = run(&warehouse, "r1");
    for (node, id) in [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1")] {
        state.insert_version(&version(&run, node, id)).unwrap();
    }
    let first = publish(&warehouse, "main", &run, &[("a", "a1"), ("b", "b1")]);
    let second = publish(&warehouse, "main", &run, &[("a", "a2"), ("b", "b1")]);
    let third = publish(&warehouse, "main", &run, &[("a", "a3"), ("b", "b1")]);
    let other = publish(&warehouse, "try", &run, &[("a", "a2")]);
    let id = |id: &str| VersionId(id.into());
    let lock = state.lock_run().unwrap();

    // Something that a publication has is refused, and then everything stays.
    state.forget(&lock, 9_000, &[first], &[id("a1"), id("a2")]).unwrap_err();
    assert_eq!(state.publication(first).unwrap().unwrap().nodes.len(), 2);
    assert!(state.version(&id("a1")).unwrap().is_some());

    state.forget(&lock, 9_000, &[first, second], &[id("a1")]).unwrap();
    assert_eq!(state.publication(first).unwrap(), None);
    let head = state.publication_head(first).unwrap().unwrap();
    assert_eq!((head.removed_at_us, head.nodes), (Some(9_000), 2), "that it was there stays on record");
    assert_eq!(state.version(&id("a1")).unwrap(), None);
    assert_eq!(state.publication(third).unwrap().unwrap().nodes, nodes(&[("a", "a3"), ("b", "b1")]));
    assert_eq!(state.publication(other).unwrap().unwrap().nodes, nodes(&[("a", "a2")]));
    let ranges: Vec<_> = state.version_ranges().unwrap().into_iter().map(|range| range.version).collect();
    assert_eq!(ranges, [id("b1"), id("a3"), id("a2")]);
    assert_eq!(state.versions_of(&NodeName::new("a")).unwrap().len(), 2);
    let tables = state.system_tables().unwrap();
    assert_eq!(tables["publications"].column_by_name("removed_at").unwrap().null_count(), 2);
}

#[test]
fn links_say_what_a_version_leads_to() {
    let (_folder, warehouse) = warehouse();
    let state = warehouse.state();
    let run = run(&warehouse, "r1");
    let (package, card) = (Digest::of(b"package"), Digest::of(b"card"));
    let mut model = version(&run, "churn", "c1");
    model.detail = json!({"package": package, "cards": [{"json": card}], "sql": "select 1"});
    state.insert_version(&version(&run, "a", "a1")).unwrap();
    state.insert_version(&model).unwrap();
    let links = state.version_links().unwrap();
    assert_eq!(links.iter().map(|link| link.head.id.0.as_str()).collect::<Vec<_>>(), ["a1", "c1"]);
    assert_eq!(links[1].inputs, model.inputs);
    assert_eq!(BTreeSet::from_iter(links[1].artifacts.iter().copied()), BTreeSet::from([package, card]));
    assert_eq!(links[0].artifacts, []);
}
