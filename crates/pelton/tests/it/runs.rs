//! Sequences of runs: what is built again, what is published, and what a kill leaves.

use crate::program::{PELTON, pelton, stderr, stdout, write};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

const PROJECT: &[(&str, &str)] = &[
    ("pelton.toml", "name = \"shop\"\n"),
    (
        "sources/orders.toml",
        "kind = \"files\"\npath = \"data/*.csv\"\nkey = [\"order_id\"]\n\
         [columns]\norder_id = \"bigint\"\ncustomer = \"text\"\namount = \"decimal(12,2)\"\n",
    ),
    ("tables/big.sql", "select * from orders where amount >= 10"),
    ("tables/totals.sql", "select customer, sum(amount) as total, count(*) as n from big group by customer"),
    ("tables/names.sql", "/* pelton\nbuild = \"view\"\n*/\nselect distinct customer from orders"),
];

/// Orders `from..until` as CSV.
fn orders(from: u64, until: u64) -> String {
    let mut text = String::from("order_id,customer,amount\n");
    for id in from..until {
        writeln!(text, "{id},c{},{}.{:02}", id % 7, id % 50, id % 100).expect("a string takes everything");
    }
    text
}

fn project(folder: &Path) {
    write(folder, PROJECT);
    write(folder, &[("data/2026-01.csv", &orders(0, 500)), ("data/2026-02.csv", &orders(500, 900))]);
}

fn run(folder: &Path) -> Value {
    let output = pelton(folder, &["run", "--format", "json"]);
    serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}{}", stdout(&output), stderr(&output)))
}

fn names(outcome: &Value, what: &str) -> Vec<String> {
    let list = outcome[what].as_array().unwrap_or_else(|| panic!("{outcome}"));
    let mut names: Vec<String> = list.iter().map(|name| name.as_str().unwrap_or_default().to_string()).collect();
    names.sort();
    names
}

/// The digest of each published node.
fn digests(folder: &Path) -> Vec<String> {
    let sql = "select node, digest from pelton.environments where environment = 'main' order by node";
    let output = pelton(folder, &["query", sql, "--format", "csv"]);
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output).lines().skip(1).map(str::to_string).collect()
}

fn value(folder: &Path, sql: &str) -> String {
    let output = pelton(folder, &["query", sql, "--format", "csv"]);
    assert!(output.status.success(), "{sql}: {}", stderr(&output));
    stdout(&output).lines().nth(1).unwrap_or_default().to_string()
}

#[test]
fn a_second_run_builds_nothing_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path());
    let first = run(folder.path());
    assert_eq!(names(&first, "built"), ["big", "names", "orders", "totals"]);
    let second = run(folder.path());
    assert_eq!(names(&second, "built"), Vec::<String>::new());
    assert_eq!(names(&second, "skipped"), ["big", "names", "orders", "totals"]);
    assert_eq!(second["publication"], first["publication"]);
    let why = stdout(&pelton(folder.path(), &["why", "totals"]));
    assert!(why.contains("unchanged") && why.contains("never built"), "{why}");
}

#[test]
fn incremental_runs_give_the_digests_of_one_full_build() {
    let (step, full) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    project(step.path());
    run(step.path());
    write(step.path(), &[("data/2026-03.csv", &orders(850, 1300))]);
    let outcome = run(step.path());
    assert_eq!(names(&outcome, "built"), ["big", "names", "orders", "totals"]);
    // The file was taken in, and 50 of its rows have keys that were there.
    assert_eq!(value(step.path(), "select count(*) from orders"), "1300");
    assert_eq!(value(step.path(), "select count(*) from pelton.quarantine where rule = 'duplicate_key'"), "50");
    write(step.path(), &[("data/2026-04.csv", "order_id,customer,amount,coupon\n5000,c1,11.00,SPRING\n")]);
    run(step.path());

    project(full.path());
    write(full.path(), &[("data/2026-03.csv", &orders(850, 1300))]);
    write(full.path(), &[("data/2026-04.csv", "order_id,customer,amount,coupon\n5000,c1,11.00,SPRING\n")]);
    run(full.path());
    assert_eq!(digests(step.path()), digests(full.path()));
}

#[test]
fn of_rows_with_one_key_the_first_by_file_stays_whenever_the_files_came() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path());
    run(folder.path());
    let customer = || value(folder.path(), "select customer from orders where order_id = 600");
    assert_eq!(customer(), "c5");
    // A file that comes later and sorts before.
    let late = "order_id,customer,amount\n600,late,1.00\n";
    write(folder.path(), &[("data/2026-01b.csv", late)]);
    run(folder.path());
    assert_eq!(customer(), "late");
    assert_eq!(value(folder.path(), "select count(*) from orders"), "900");
    assert_eq!(
        value(folder.path(), "select file from pelton.quarantine where rule = 'duplicate_key'"),
        "data/2026-02.csv"
    );
    // It changes, and no longer has the row.
    write(folder.path(), &[("data/2026-01b.csv", "order_id,customer,amount\n9600,late,1.00\n")]);
    run(folder.path());
    assert_eq!(customer(), "c5");
    assert_eq!(value(folder.path(), "select count(*) from pelton.quarantine"), "0");
}

#[test]
fn a_rebuilt_table_with_the_same_rows_stops_the_wave() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path());
    run(folder.path());
    write(folder.path(), &[("tables/big.sql", "select * from orders where amount >= 9.995 and amount > 0")]);
    let outcome = run(folder.path());
    assert_eq!(names(&outcome, "built"), ["big"]);
    assert_eq!(names(&outcome, "skipped"), ["names", "orders", "totals"]);
    write(
        folder.path(),
        &[("tables/big.sql", "-- a comment\nSELECT *\nFROM orders\nWHERE amount >= 9.995 AND amount > 0;")],
    );
    assert_eq!(names(&run(folder.path()), "built"), Vec::<String>::new());
}

#[test]
fn what_failed_is_withheld_and_what_was_built_is_kept_for_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path());
    write(
        folder.path(),
        &[("tables/big.sql", "/* pelton\n[checks]\nfew = \"row_count() < 10\"\n*/\nselect * from orders")],
    );
    let output = pelton(folder.path(), &["run", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let outcome: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(names(&outcome, "built"), ["names", "orders"]);
    assert_eq!(names(&outcome, "failed"), ["big"]);
    assert_eq!(names(&outcome, "withheld"), ["totals"]);
    assert_eq!(outcome["publication"], Value::Null);
    let codes = outcome["reports"].to_string();
    assert!(codes.contains("check-failed") && codes.contains("no-publication"), "{codes}");
    assert_eq!(pelton(folder.path(), &["query", "select * from orders"]).status.code(), Some(2));

    // Mended: the source is not read again.
    write(folder.path(), &[("tables/big.sql", "select * from orders where amount >= 10")]);
    let outcome = run(folder.path());
    assert_eq!(names(&outcome, "reused"), ["names", "orders"]);
    assert_eq!(names(&outcome, "built"), ["big", "totals"]);
    assert_eq!(outcome["publication"], 1);
}

#[test]
fn healthy_publishes_what_is_healthy_and_says_what_stayed() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path());
    write(folder.path(), &[("pelton.toml", "name = \"shop\"\npublish = \"healthy\"\n")]);
    run(folder.path());
    write(
        folder.path(),
        &[
            ("tables/big.sql", "/* pelton\n[checks]\nfew = \"row_count() < 10\"\n*/\nselect * from orders"),
            ("tables/small.sql", "select * from orders where amount < 10"),
        ],
    );
    let output = pelton(folder.path(), &["run", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let outcome: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(outcome["publication"], 2);
    assert!(outcome["reports"].to_string().contains("node-failed"), "{outcome}");
    let both =
        value(folder.path(), "select (select count(*) from small) + (select count(*) from big) = count(*) from orders");
    assert_eq!(both, "true", "big kept its version");
}

#[test]
fn past_publications_can_be_queried() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path());
    run(folder.path());
    write(folder.path(), &[("data/2026-03.csv", &orders(900, 1000))]);
    run(folder.path());
    assert_eq!(value(folder.path(), "select count(*) from orders"), "1000");
    let past = pelton(folder.path(), &["query", "select count(*) from orders", "--as-of", "1", "--format", "csv"]);
    assert_eq!(stdout(&past).lines().nth(1), Some("900"));
    let never = pelton(folder.path(), &["query", "select 1", "--as-of", "99"]);
    assert!(stderr(&never).contains("unknown-publication"), "{}", stderr(&never));
    let nowhere = pelton(folder.path(), &["query", "select 1", "--env", "mian"]);
    assert!(stderr(&nowhere).contains("unknown-environment"), "{}", stderr(&nowhere));
}

#[test]
fn a_killed_run_leaves_nothing_that_the_next_does_not_mend() {
    let folder = tempfile::tempdir().unwrap();
    let calm = tempfile::tempdir().unwrap();
    for place in [folder.path(), calm.path()] {
        project(place);
        run(place);
    }
    for round in 0..6u64 {
        let file = format!("data/2026-1{round}.csv");
        let rows = orders(2000 + round * 1000, 3000 + round * 1000);
        write(folder.path(), &[(&file, &rows)]);
        write(calm.path(), &[(&file, &rows)]);
        let before = digests(folder.path());
        let mut child = Command::new(PELTON)
            .args(["run"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // How far the run gets differs from round to round; whatever it wrote is what a kill leaves.
        let mut waited = 0u64;
        while child.try_wait().unwrap().is_none() && waited < 400 + round * 600 {
            waited += 1;
            std::thread::yield_now();
            std::hint::black_box(std::fs::metadata(folder.path().join("warehouse/state.db")).is_ok());
        }
        let _ = child.kill();
        child.wait().unwrap();
        let seen = digests(folder.path());
        run(calm.path());
        let wanted = digests(calm.path());
        assert!(seen == before || seen == wanted, "round {round}: a reader saw a mixture");
        run(folder.path());
        assert_eq!(digests(folder.path()), wanted, "round {round}");
    }
    // No data file lies about that no version owns.
    run(folder.path());
    let owned = value(folder.path(), "select count(*) from pelton.versions where node = 'totals'");
    let files = std::fs::read_dir(folder.path().join("warehouse/tables/totals")).unwrap();
    let data = files.flatten().filter(|file| file.file_name().to_string_lossy().ends_with(".parquet")).count();
    assert_eq!(data.to_string(), owned);
}

#[test]
fn two_runs_at_once_one_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path());
    run(folder.path());
    let lock = std::fs::OpenOptions::new().write(true).open(folder.path().join("warehouse/run.lock")).unwrap();
    lock.lock().unwrap();
    let refused = pelton(folder.path(), &["run"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("run-locked"), "{}", stderr(&refused));
    // Readers go on.
    assert_eq!(value(folder.path(), "select count(*) from orders"), "900");
    drop(lock);
    assert!(pelton(folder.path(), &["run"]).status.success());
}

#[test]
fn rows_in_are_rows_out_and_rows_in_quarantine() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path());
    let dirty =
        "order_id,customer,amount\n7000,c1,1.00\n7001,c1,1,50\n7002,c1\n7003,c1,abc\n7000,c2,3.00\n7004,\"c1,9.00\n";
    write(folder.path(), &[("data/dirty.csv", dirty)]);
    let output = pelton(folder.path(), &["run"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let sums = "select sum(rows) as rows, sum(quarantined) as quarantined, sum(dropped) as dropped from pelton.sources";
    assert_eq!(value(folder.path(), &format!("{sums} where path = 'data/dirty.csv'")), "1,5,0");
    let told = stdout(&pelton(folder.path(), &["quarantine", "orders"]));
    for origin in ["data/dirty.csv:3", "data/dirty.csv:4", "data/dirty.csv:5", "data/dirty.csv:6", "data/dirty.csv:7"] {
        assert!(told.contains(origin), "{origin}: {told}");
    }
}
