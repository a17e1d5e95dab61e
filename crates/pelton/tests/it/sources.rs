//! Files of sources over several runs: which of them are read again, and what reading them twice leaves.

use crate::program::{pelton, stderr, stdout, write};
use serde_json::Value;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

const PROJECT: &[(&str, &str)] = &[
    ("pelton.toml", "name = \"shop\"\n"),
    (
        "sources/orders.toml",
        "kind = \"files\"\npath = \"data/*.csv\"\nkey = \"id\"\n[columns]\nid = \"bigint\"\namount = \"decimal(12,2)\"\n",
    ),
    ("data/a.csv", "id,amount\n1,10.00\n2,20.00\n3,much\n6,none\n"),
    ("data/b.csv", "id,amount\n4,40.00\n5,more\n"),
];

fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), PROJECT);
    folder
}

/// Runs, and says whether anything was built.
fn builds(folder: &Path) -> bool {
    let output = pelton(folder, &["run", "--format", "json"]);
    let outcome: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert!(output.status.success(), "{outcome}");
    outcome["built"] != Value::Array(Vec::new())
}

fn value(folder: &Path, sql: &str) -> String {
    let output = pelton(folder, &["query", sql, "--format", "csv"]);
    assert!(output.status.success(), "{sql}: {}", stderr(&output));
    stdout(&output).lines().nth(1).unwrap_or_default().to_string()
}

fn set_modified(folder: &Path, path: &str, at: SystemTime) {
    File::options().write(true).open(folder.join(path)).unwrap().set_modified(at).unwrap();
}

#[test]
fn a_file_that_was_touched_is_read_once_more_and_then_its_new_time_counts() {
    let folder = project();
    let (made, touched) = (SystemTime::now() - Duration::from_secs(1000), SystemTime::now() - Duration::from_secs(500));
    set_modified(folder.path(), "data/a.csv", made);
    assert!(builds(folder.path()));
    set_modified(folder.path(), "data/a.csv", touched);
    assert!(!builds(folder.path()), "its content is what it was");
    // Another content of the same size at the same time is seen by nobody who does not read the file.
    write(folder.path(), &[("data/a.csv", "id,amount\n1,11.00\n2,20.00\n3,much\n6,none\n")]);
    set_modified(folder.path(), "data/a.csv", touched);
    assert!(!builds(folder.path()), "it is not read");
    set_modified(folder.path(), "data/a.csv", made);
    assert!(builds(folder.path()), "another time");
    assert_eq!(value(folder.path(), "select amount from orders where id = 1"), "11.00");
}

#[test]
fn a_file_that_changes_within_a_tick_of_the_clock_is_read_again() {
    let folder = project();
    // A clock that stands still, as it does for everything within one tick.
    let tick = SystemTime::now() + Duration::from_secs(3600);
    set_modified(folder.path(), "data/a.csv", tick);
    assert!(builds(folder.path()));
    assert!(!builds(folder.path()));
    write(folder.path(), &[("data/a.csv", "id,amount\n1,11.00\n2,20.00\n3,much\n6,none\n")]);
    set_modified(folder.path(), "data/a.csv", tick);
    assert!(builds(folder.path()));
    assert_eq!(value(folder.path(), "select amount from orders where id = 1"), "11.00");
}

#[test]
fn repairs_are_made_again_however_many_rows_are_in_quarantine() {
    let folder = project();
    assert!(builds(folder.path()));
    write(folder.path(), &[("rows.csv", "file,line,raw\ndata/a.csv,4,\"3,30.00\"\n")]);
    let replayed = pelton(folder.path(), &["quarantine", "replay", "orders", "--file", "rows.csv"]);
    assert!(replayed.status.success(), "{}", stderr(&replayed));
    let wrong = pelton_runner::REPLAY_ROWS_MAX + 1;
    let many: String = (0..wrong).map(|id| format!("{},none\n", id + 100)).collect();
    write(folder.path(), &[("data/c.csv", &format!("id,amount\n{many}"))]);
    assert!(builds(folder.path()));
    let settings = format!("csv = {{ null = [\"\", \"-\"] }}\n{}", PROJECT[1].1);
    write(folder.path(), &[("sources/orders.toml", &settings)]);
    assert!(builds(folder.path()));
    assert_eq!(value(folder.path(), "select amount from orders where id = 3"), "30.00");
    assert_eq!(value(folder.path(), "select count(*) from pelton.quarantine"), (wrong + 2).to_string());
}

#[test]
fn files_that_are_read_twice_in_a_run_leave_nothing_behind() {
    let folder = project();
    assert!(builds(folder.path()));
    let named = "select count(*) from pelton.sources where quarantined > 0";
    let lying = || std::fs::read_dir(folder.path().join("warehouse/quarantine")).unwrap().count();
    assert_eq!(lying(), 2);
    // The row of a key that `b.csv` has too comes before it, so `b.csv` is read again.
    write(folder.path(), &[("data/aa.csv", "id,amount\n4,41.00\n6,wrong\n7,wrong\n")]);
    assert!(builds(folder.path()));
    assert_eq!(value(folder.path(), named), "3");
    // Those of the version before, and those of the two files that were read.
    assert_eq!(lying(), 4);
}

#[test]
fn a_source_fails_alone_for_what_its_first_files_are() {
    for (path, text, code) in [
        ("events/a.csv", "when,page\n1,home\n", "unknown-column"),
        ("events/a.csv.gz", "not gzip", "unreadable-data"),
        ("events/a.ndjson", "", "unreadable-data"),
        ("events/a.txt", "id\n1\n", "missing-key"),
        ("elsewhere/a.csv", "id\n1\n", "empty-glob"),
    ] {
        let folder = project();
        write(
            folder.path(),
            &[
                ("pelton.toml", "name = \"shop\"\npublish = \"healthy\"\n"),
                ("sources/events.toml", "kind = \"files\"\npath = \"events/*\"\nkey = \"id\"\n"),
                ("tables/kept.sql", "select * from events"),
                ("tables/sums.sql", "select sum(amount) as total from orders"),
                (path, text),
            ],
        );
        assert_eq!(pelton(folder.path(), &["check"]).status.code(), Some(2), "{path}");
        let output = pelton(folder.path(), &["run", "--format", "json"]);
        assert_eq!(output.status.code(), Some(2), "{path}: {}", stderr(&output));
        let outcome: Value = serde_json::from_str(&stdout(&output)).unwrap();
        let of = |key: &str| outcome[key].to_string();
        assert_eq!((of("failed"), of("withheld")), ("[\"events\"]".into(), "[\"kept\"]".into()), "{path}");
        assert_eq!((&outcome["publication"], &outcome["reports"][0]["code"]), (&1.into(), &code.into()), "{path}");
    }
}

#[test]
fn what_settings_alone_say_wrong_stops_every_run() {
    let folder = project();
    let settings = "kind = \"files\"\npath = \"events/*\"\nkey = \"id\"\n[columns]\npage = \"text\"\n";
    write(
        folder.path(),
        &[
            ("sources/events.toml", settings),
            ("events/a.csv", "page\nhome\n"),
            ("tables/sums.sql", "select sum(amount) as total from orders"),
        ],
    );
    let output = pelton(folder.path(), &["run", "sums"]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(2), String::new()));
    assert!(
        stderr(&output).starts_with("error[unknown-column]: source `events` has no column `id`"),
        "{}",
        stderr(&output)
    );
}
