//! The state database: what is recorded comes back, publications are atomic and can all be read back.

use super::{run, version, warehouse};
use crate::*;
use pelton_base::{Digest, NodeName, RunId, VersionId};
use pelton_query::DataFile;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn nodes(pairs: &[(&str, &str)]) -> BTreeMap<NodeName, VersionId> {
    pairs.iter().map(|(node, version)| (NodeName::new(node), VersionId((*version).into()))).collect()
}

fn publish(
    warehouse: &Warehouse,
    environment: &str,
    run: &RunId,
    expect: Option<i64>,
    map: &[(&str, &str)],
) -> Result<i64, StoreError> {
    let nodes = nodes(map);
    let before = expect.and_then(|id| warehouse.state().publication(id).unwrap()).map(|found| found.nodes);
    let before = before.unwrap_or_default();
    let expect = expect.map(|id| (id, &before));
    let publish = Publish { environment, run, at_us: 5_000, nodes: &nodes, expect, restores: None, decisions: &[] };
    warehouse.state().publish(&publish)
}

#[test]
fn a_run_comes_back_with_how_it_ended() {
    let (_folder, warehouse) = warehouse();
    let state = warehouse.state();
    let (one, two) = (run(&warehouse, "r1"), run(&warehouse, "r2"));
    assert_eq!(state.run(&one).unwrap().unwrap().outcome, None);
    state.finish_run(&one, 9_000, "nothing", None, &json!({"skipped": 3})).unwrap();
    let entry = state.run(&one).unwrap().unwrap();
    assert_eq!((entry.outcome.as_deref(), entry.finished_at_us), (Some("nothing"), Some(9_000)));
    assert_eq!(entry.summary, json!({"skipped": 3}));
    let newest: Vec<_> = state.runs(10).unwrap().into_iter().map(|entry| entry.begun.id).collect();
    assert_eq!(newest, [two, one]);
    assert_eq!(state.runs(1).unwrap().len(), 1);
    let unknown = RunId("r9".into());
    assert!(state.run(&unknown).unwrap().is_none());
    let error = state.finish_run(&unknown, 1, "failed", None, &json!(null)).unwrap_err();
    assert!(matches!(error, StoreError::UnknownRun { .. }), "{error:?}");
}

#[test]
fn a_type_that_cannot_be_read_is_damage_and_no_other_type() {
    let (_folder, warehouse) = warehouse();
    let state = warehouse.state();
    let mut wrong = version(&run(&warehouse, "r1"), "orders", "v1");
    wrong.columns[1].data_type = "struct<a>".into();
    state.insert_version(&wrong).unwrap();
    let error = state.version(&wrong.id).unwrap_err();
    assert!(matches!(&error, StoreError::DamagedState { reason, .. } if reason.contains("`tags`")), "{error:?}");

    let mut quoted = version(&wrong.run, "orders", "v2");
    quoted.columns[1].data_type = "struct<\"first name\" text, \"a,b\" bigint[]>".into();
    state.insert_version(&quoted).unwrap();
    let read = state.version(&quoted.id).unwrap().unwrap();
    assert_eq!(ColumnType::of(&read.schema()), quoted.columns);
}

#[test]
fn a_version_comes_back_whole() {
    let (_folder, warehouse) = warehouse();
    let state = warehouse.state();
    let run = run(&warehouse, "r1");
    let (old, new) = (version(&run, "orders", "v1"), version(&run, "orders", "v2"));
    state.insert_version(&old).unwrap();
    state.insert_version(&new).unwrap();
    state.insert_version(&version(&run, "spend", "v3")).unwrap();

    assert_eq!(state.version(&old.id).unwrap().unwrap(), old);
    assert_eq!(state.version_head(&old.id).unwrap().unwrap(), old.head());
    assert_eq!(state.versions_of(&old.node).unwrap(), [new.clone(), old.clone()]);
    assert_eq!(state.version_heads_of(&old.node).unwrap(), [new.head(), old.head()]);
    assert_eq!(state.heads_by_fingerprint(&old.node, old.fingerprint).unwrap(), [new.head(), old.head()]);
    assert_eq!(state.heads_by_fingerprint(&old.node, Digest::of(b"another plan")).unwrap(), []);
    assert_eq!(state.version(&VersionId("v9".into())).unwrap(), None);
    assert_eq!(ColumnType::of(&old.schema()), old.columns);

    state.set_delta_version(&old.id, 4).unwrap();
    assert_eq!(state.version(&old.id).unwrap().unwrap().delta_version, Some(4));
    let error = state.set_delta_version(&VersionId("v9".into()), 4).unwrap_err();
    assert_eq!(error.report().code, "unknown-version");
}

#[test]
fn ten_thousand_source_files_come_back() {
    let (_folder, warehouse) = warehouse();
    let run = run(&warehouse, "r1");
    let data = |i: usize| DataFile {
        path: format!("part-v1-{i}.parquet"),
        bytes: 10,
        rows: 5,
        stats: None,
        rows_digest: None,
        digest: None,
    };
    let files: Vec<SourceFile> = (0..10_000usize)
        .map(|i| SourceFile {
            path: format!("data/{i}.csv"),
            bytes: 100,
            modified_us: 7,
            digest: Digest::of(&i.to_le_bytes()),
            rows_digest: Digest::of(b"rows"),
            rows: 5,
            quarantined: 1,
            dropped: 0,
            data: vec![data(i)],
            quarantine: vec![],
            columns: vec![ColumnType { name: "id".into(), data_type: "bigint".into() }],
            is_recent: false,
            is_outdated: false,
            repairs: Vec::new(),
        })
        .collect();
    let source = version(&run, "raw", "v1");
    assert_eq!(warehouse.state().source_files(&source.id).unwrap(), []);
    warehouse.state().insert_source_version(&source, &files).unwrap();
    assert_eq!(warehouse.state().source_files(&source.id).unwrap(), files);
}

#[test]
fn publications_replace_the_map_and_stay_readable() {
    let (_folder, warehouse) = warehouse();
    let state = warehouse.state();
    let (r1, r2, r3) = (run(&warehouse, "r1"), run(&warehouse, "r2"), run(&warehouse, "r3"));
    for (node, id) in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("c", "c1")] {
        state.insert_version(&version(&r1, node, id)).unwrap();
    }
    assert_eq!((state.current("main").unwrap(), state.current_id("main").unwrap()), (None, None));
    assert_eq!(state.heads("main").unwrap(), []);

    let maps: [&[(&str, &str)]; 3] =
        [&[("a", "a1"), ("b", "b1")], &[("a", "a2"), ("c", "c1")], &[("a", "a1"), ("b", "b1"), ("c", "c1")]];
    let first = publish(&warehouse, "main", &r1, None, maps[0]).unwrap();
    let other = publish(&warehouse, "try", &r3, None, maps[1]).unwrap();
    let second = publish(&warehouse, "main", &r2, Some(first), maps[1]).unwrap();
    let third = publish(&warehouse, "main", &r2, Some(second), maps[2]).unwrap();

    assert_eq!(state.current_id("main").unwrap(), Some(third));
    for (id, map) in [(first, maps[0]), (second, maps[1]), (third, maps[2]), (other, maps[1])] {
        assert_eq!(state.publication(id).unwrap().unwrap().nodes, nodes(map), "publication {id}");
    }
    assert_eq!(state.current("main").unwrap(), state.publication(third).unwrap());
    assert_eq!(state.publication(99).unwrap(), None);
    let ids: Vec<_> = state.publications("main").unwrap().iter().map(|p| (p.id, p.nodes)).collect();
    assert_eq!(ids, [(third, 3), (second, 2), (first, 2)]);
    assert_eq!(state.environments().unwrap(), ["main", "try"]);
    let heads: Vec<_> = state.heads("main").unwrap().into_iter().map(|head| (head.node, head.id)).collect();
    assert_eq!(heads, nodes(maps[2]).into_iter().collect::<Vec<_>>());

    let entry = state.run(&r2).unwrap().unwrap();
    assert_eq!((entry.outcome.as_deref(), entry.publication), (Some("published"), Some(third)));
    state.finish_run(&r2, 9_000, "published", None, &json!({"built": 2})).unwrap();
    assert_eq!(state.run(&r2).unwrap().unwrap().publication, Some(third));
}

#[test]
fn a_publication_over_another_ones_head_changes_nothing() {
    let (_folder, warehouse) = warehouse();
    let state = warehouse.state();
    let (r1, r2) = (run(&warehouse, "r1"), run(&warehouse, "r2"));
    state.insert_version(&version(&r1, "a", "a1")).unwrap();
    let first = publish(&warehouse, "main", &r1, None, &[("a", "a1")]).unwrap();

    let error = publish(&warehouse, "main", &r2, None, &[]).unwrap_err();
    assert!(
        matches!(error, StoreError::Conflict { expected: None, found: Some(found), .. } if found == first),
        "{error:?}"
    );
    let error = publish(&warehouse, "main", &r2, Some(first), &[("a", "a1"), ("b", "b9")]).unwrap_err();
    assert!(matches!(&error, StoreError::UnknownVersion { version } if version == "b9"), "{error:?}");
    let error = publish(&warehouse, "main", &r2, Some(first), &[("b", "a1")]).unwrap_err();
    assert!(matches!(error, StoreError::UnknownVersion { .. }), "a version of another node: {error:?}");
    assert_eq!(state.publications("main").unwrap().len(), 1);
    assert_eq!(state.current("main").unwrap().unwrap().nodes, nodes(&[("a", "a1")]));
    assert_eq!(state.run(&r2).unwrap().unwrap().outcome, None);
}

#[test]
fn ten_thousand_heads_are_read_in_one_query() {
    let (_folder, warehouse) = warehouse();
    let state = warehouse.state();
    let run = run(&warehouse, "r1");
    let mut map = BTreeMap::new();
    let versions: Vec<_> = (0..10_000).map(|i| version(&run, &format!("node_{i}"), &format!("v{i}"))).collect();
    state.insert_versions(&versions).unwrap();
    for version in &versions {
        map.insert(version.node.clone(), version.id.clone());
    }
    let decisions: Vec<_> = versions
        .iter()
        .map(|version| Decision {
            node: version.node.clone(),
            action: Action::Skipped,
            reason: "nothing changed".into(),
            detail: json!(null),
        })
        .collect();
    let (noted, rest) = decisions.split_at(5_000);
    state.record_decisions(&run, noted).unwrap();
    let (expect, restores) = (None, None);
    let publish = Publish { environment: "main", run: &run, at_us: 1, nodes: &map, expect, restores, decisions: rest };
    let id = state.publish(&publish).unwrap();
    assert_eq!(state.heads("main").unwrap().len(), 10_000);
    assert_eq!(state.publication(id).unwrap().unwrap().nodes, map);
    assert_eq!(state.decisions(&run).unwrap(), decisions, "those of the publication follow those noted before it");
}

#[test]
fn a_refusal_is_a_run_that_did_nothing_with_its_decisions_and_is_given_up_when_somebody_writes() {
    let (folder, warehouse) = warehouse();
    let state = warehouse.state();
    let record = |id: &str| RunRecord {
        id: RunId(id.into()),
        environment: "main".into(),
        started_at_us: 4_000,
        command: "pelton publish try".into(),
        pid: 7,
    };
    let decisions = [Decision {
        node: NodeName::new("a"),
        action: Action::Refused,
        reason: "it is newer in `main`".into(),
        detail: json!({"code": "environment-moved"}),
    }];
    let summary = json!({"refused": "environment-moved"});
    state.record_refusal(&record("r1"), &decisions, &summary, Duration::ZERO).unwrap();
    let entry = state.run(&RunId("r1".into())).unwrap().unwrap();
    assert_eq!(
        (entry.outcome.as_deref(), entry.finished_at_us, entry.summary),
        (Some("nothing"), Some(4_000), summary)
    );
    assert_eq!(state.decisions(&RunId("r1".into())).unwrap(), decisions);

    let other = rusqlite::Connection::open(folder.path().join("state.db")).unwrap();
    other.execute_batch("begin immediate").unwrap();
    let began = Instant::now();
    let error = state.record_refusal(&record("r2"), &decisions, &json!(null), Duration::from_millis(20)).unwrap_err();
    assert_eq!(error.report().code, "state-locked");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}: the patience of others was used", began.elapsed());
    other.execute_batch("rollback").unwrap();
    assert_eq!(state.run(&RunId("r2".into())).unwrap(), None);
}

#[test]
fn decisions_checks_and_metrics_come_back() {
    let (_folder, warehouse) = warehouse();
    let state = warehouse.state();
    let (r1, r2) = (run(&warehouse, "r1"), run(&warehouse, "r2"));
    let decision = |node: &str, action, reason: &str| Decision {
        node: NodeName::new(node),
        action,
        reason: reason.into(),
        detail: json!({"inputs": []}),
    };
    let first = [decision("a", Action::Built, "first run"), decision("b", Action::Failed, "a check failed")];
    state.record_decisions(&r1, &first[..1]).unwrap();
    state.record_decisions(&r1, &first[1..]).unwrap();
    state.record_decisions(&r2, &[decision("a", Action::Skipped, "nothing changed")]).unwrap();
    assert_eq!(state.decisions(&r1).unwrap(), first);
    let last = state.last_decisions(&NodeName::new("a"), 5).unwrap();
    assert_eq!(last.iter().map(|past| past.run.clone()).collect::<Vec<_>>(), [r2.clone(), r1.clone()]);
    assert_eq!(state.last_decisions(&NodeName::new("a"), 1).unwrap()[0].decision.action, Action::Skipped);

    let check = |version: Option<&str>, outcome| CheckRecord {
        node: NodeName::new("a"),
        version: version.map(|id| VersionId(id.into())),
        name: "amount_positive".into(),
        rule: "amount > 0".into(),
        on_fail: "stop".into(),
        outcome,
        failed_rows: 2,
        rows: 10,
        samples: json!([{"id": 1}]),
        fact: version.map(|id| format!("of {id}")),
        at_us: 77,
    };
    let checks = [check(Some("a1"), CheckOutcome::Passed), check(None, CheckOutcome::Failed)];
    state.record_checks(&r1, &checks).unwrap();
    assert_eq!(state.checks_of(&VersionId("a1".into())).unwrap(), checks[..1]);
    assert_eq!(state.checks_of_run(&NodeName::new("a"), &r1).unwrap(), checks);

    let profile = |value| ProfileRecord { statistic: "row_count", column: None, value };
    let newest = ProfileRecord { statistic: "newest", column: Some("at".into()), value: None };
    let node = NodeName::new("a");
    let a = |number: u32| VersionId(format!("a{number}"));
    for (number, run) in [(1, &r1), (2, &r1), (3, &r2)] {
        let value = Some(f64::from(number) * 10.0);
        state.record_profiles(run, &node, &a(number), i64::from(number), &[profile(value), newest.clone()]).unwrap();
    }
    state.record_profiles(&r2, &node, &a(3), 4, &[profile(Some(33.0))]).unwrap();
    assert_eq!(state.profile(&a(3), "row_count", None).unwrap(), Some(Some(33.0)));
    assert_eq!(state.profile(&a(3), "newest", Some("at")).unwrap(), Some(None));
    assert_eq!(state.profile(&a(3), "mean", Some("at")).unwrap(), None);
    let history = |environment: &str, current, limit| {
        state.profile_history(&node, ("row_count", None), environment, &a(current), limit).unwrap()
    };
    assert_eq!(history("main", 3, 9), [(1, 10.0), (2, 20.0)]);
    assert_eq!(history("try", 1, 1), [(4, 33.0)]);
    // A version that a check stopped when it was measured is no example of what is usual.
    let stopped = CheckRecord { version: Some(a(2)), ..check(None, CheckOutcome::Failed) };
    state.record_checks(&r1, &[stopped]).unwrap();
    assert_eq!(history("main", 4, 9), [(1, 10.0), (4, 33.0)]);
    // How many rows a stored version has is known without having been measured; those of a view are not counted.
    state.insert_version(&super::version(&r1, "a", "a5")).unwrap();
    let view = VersionRecord { detail: json!({"view": "select 1"}), ..super::version(&r1, "a", "a6") };
    state.insert_version(&view).unwrap();
    assert_eq!(history("main", 4, 9), [(1, 10.0), (4, 33.0), (2_000, 10.0)]);

    let metric = |name: &str, value| MetricRecord {
        run: r1.clone(),
        node: NodeName::new("a"),
        version: VersionId("a1".into()),
        learner: "gbdt".into(),
        part: "test".into(),
        metric: name.into(),
        value,
    };
    state.record_metrics(&[metric("roc_auc", 0.9), metric("f1", f64::NAN)]).unwrap();
    let found = state.metrics_of(&VersionId("a1".into())).unwrap();
    assert_eq!(found[0], metric("roc_auc", 0.9));
    assert!(found[1].value.is_nan());
}

#[test]
fn staged_files_belong_to_their_version_once_it_is_inserted() {
    let (_folder, warehouse) = warehouse();
    let state = warehouse.state();
    let (dead, live) = (run(&warehouse, "r1"), run(&warehouse, "r2"));
    let mut kept = version(&dead, "a", "a1");
    kept.quarantine = vec![DataFile {
        path: "a-a1-0.parquet".into(),
        bytes: 1,
        rows: 1,
        stats: None,
        rows_digest: None,
        digest: None,
    }];
    for (folder, prefix) in [("tables/a", "part-a1"), ("quarantine", "a-a1"), ("tables/b", "part-b1")] {
        state.note_staging(&dead, folder, prefix).unwrap();
        state.note_staging(&dead, folder, &format!("{prefix}-f7")).unwrap();
    }
    state.note_staging(&live, "tables/a", "part-a2").unwrap();
    state.insert_version(&kept).unwrap();

    let lock = state.lock_run().unwrap();
    let stale = state.stale_staging(&lock, &live).unwrap();
    let expected = StaleFiles { run: dead.clone(), folder: "tables/b".into(), prefix: "part-b1".into() };
    assert_eq!(stale, [expected]);
    state.clear_staging(&dead).unwrap();
    assert_eq!(state.stale_staging(&lock, &live).unwrap(), []);
    assert_eq!(state.stale_staging(&lock, &dead).unwrap().len(), 1, "the live run's own");
}

#[test]
fn two_warehouses_on_one_folder_see_each_other() {
    let (folder, one) = warehouse();
    let two = Warehouse::open_existing(folder.path()).unwrap().unwrap();
    let run = run(&one, "r1");
    one.state().insert_version(&version(&run, "a", "a1")).unwrap();
    assert_eq!(two.state().current_id("main").unwrap(), None);
    let id = publish(&one, "main", &run, None, &[("a", "a1")]).unwrap();
    assert_eq!(two.state().current_id("main").unwrap(), Some(id));
    let files: Arc<Vec<DataFile>> = two.state().version(&VersionId("a1".into())).unwrap().unwrap().files;
    assert_eq!(files.len(), 1);
}

#[test]
fn first_openings_at_the_same_time_all_succeed() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        let open = || scope.spawn(|| Warehouse::open(folder.path()).map(|_| ()));
        let opening: Vec<_> = (0..8).map(|_| open()).collect();
        for opened in opening {
            opened.join().unwrap().unwrap();
        }
    });
}

#[test]
fn a_database_that_another_process_creates_is_not_there_or_whole() {
    // The creator's one commit has to fall between two looks of a reader: in one round of a few it does.
    for _ in 0..24 {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            let creator = scope.spawn(|| Warehouse::open(folder.path()).map(|_| ()));
            while !creator.is_finished() {
                Warehouse::open_existing(folder.path()).unwrap();
            }
            creator.join().unwrap().unwrap();
        });
    }
}

#[test]
fn versions_of_failed_runs_are_those_since_the_last_run_that_ended_well() {
    let (_folder, warehouse) = warehouse();
    let state = warehouse.state();
    let recorded = || -> Vec<String> {
        state.versions_of_failed_runs("main").unwrap().into_iter().map(|head| head.id.0).collect()
    };
    let insert = |run: &RunId, node: &str, id: &str| state.insert_version(&version(run, node, id)).unwrap();
    let one = run(&warehouse, "r1");
    insert(&one, "orders", "v1");
    state.finish_run(&one, 9_000, "failed", None, &json!(null)).unwrap();
    let two = run(&warehouse, "r2");
    insert(&two, "orders", "v2");
    assert_eq!(recorded(), ["v1", "v2"], "one failed, one was killed");
    assert_eq!(state.versions_of_failed_runs("staging").unwrap(), []);
    state.finish_run(&two, 9_000, "nothing", None, &json!(null)).unwrap();
    assert_eq!(recorded(), Vec::<String>::new());
    let three = run(&warehouse, "r3");
    insert(&three, "orders", "v3");
    insert(&three, "spend", "v4");
    assert_eq!(recorded(), ["v3", "v4"]);
    assert_eq!(state.versions_built_in(&three).unwrap(), nodes(&[("orders", "v3"), ("spend", "v4")]));
}
