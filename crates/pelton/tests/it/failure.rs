//! What is tried again, what is gone on with, and who is refused while another one works.

use crate::crash::copy;
use crate::program::{PELTON, pelton, stderr, stdout, write};
use rusqlite::Connection;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const PROJECT: &[(&str, &str)] = &[
    ("pelton.toml", "name = \"shop\"\n[retry]\nwait_ms = 10\n"),
    (
        "sources/orders.toml",
        "kind = \"files\"\npath = \"data/*.csv\"\nkey = [\"order_id\"]\n\
         [columns]\norder_id = \"bigint\"\ncustomer = \"text\"\namount = \"bigint\"\n",
    ),
    ("tables/big.sql", "select * from orders where amount >= 10"),
    ("tables/totals.sql", "select customer, sum(amount) as total, count(*) as n from big group by customer"),
];

fn orders(from: u64, until: u64) -> String {
    let mut text = String::from("order_id,customer,amount\n");
    for id in from..until {
        writeln!(text, "{id},c{},{}", id % 7, id % 50).expect("a string takes everything");
    }
    text
}

fn project(folder: &Path) {
    write(folder, PROJECT);
    write(folder, &[("data/2026-01.csv", &orders(0, 300))]);
}

fn with_failpoint(folder: &Path, failpoint: &str, words: &[&str]) -> Output {
    command(folder, failpoint, words).output().unwrap()
}

fn command(folder: &Path, failpoint: &str, words: &[&str]) -> Command {
    let mut command = Command::new(PELTON);
    command.args(words).current_dir(folder).stdin(Stdio::null()).env("PELTON_FAILPOINT", failpoint);
    command.env_remove("RUST_BACKTRACE").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap_or_else(|_| panic!("{}{}", stdout(output), stderr(output)))
}

fn csv(folder: &Path, sql: &str) -> String {
    let output = pelton(folder, &["query", sql, "--format", "csv"]);
    assert!(output.status.success(), "{sql}: {}", stderr(&output));
    stdout(&output)
}

#[test]
fn a_write_that_fails_once_is_tried_again_and_told() {
    // Where a write can fail, and the node that it is of; the publication is of none.
    for (failpoint, node) in [
        ("stage.file=error", "orders"),
        ("stage.file=error@2", "big"),
        ("delta.commit=error@3", "totals"),
        ("state.write=error@4", "orders"),
        ("publication.write=error", ""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        project(folder.path());
        let output = with_failpoint(folder.path(), failpoint, &["run", "--format", "json"]);
        assert_eq!(output.status.code(), Some(0), "{failpoint}: {}", stderr(&output));
        let outcome = json(&output);
        assert_eq!(outcome["publication"], 1, "{failpoint}");
        let retried = outcome["retried"].as_array().unwrap();
        assert_eq!(retried.len(), 1, "{failpoint}: {outcome}");
        assert_eq!(retried[0]["code"], "storage-failed", "{failpoint}");
        assert_eq!(retried[0]["node"].as_str().unwrap_or_default(), node, "{failpoint}");
        assert_eq!((&retried[0]["attempt"], &retried[0]["attempts"]), (&1.into(), &3.into()), "{failpoint}");
        let said = stderr(&output);
        assert!(said.contains("  retrying ") && said.contains("attempt 1 of 3 failed: "), "{failpoint}: {said}");
        assert!(!said.contains("error["), "{failpoint}: {said}");
        assert_eq!(csv(folder.path(), "select sum(n) as n from totals"), "n\n240\n", "{failpoint}");
        // What was decided about a node is published before its log is written.
        if !node.is_empty() && !failpoint.starts_with("delta") {
            let decided = csv(folder.path(), &format!("select detail from pelton.decisions where node = '{node}'"));
            assert!(decided.contains("retried") && decided.contains("storage-failed"), "{failpoint}: {decided}");
        }
    }
}

#[test]
fn what_fails_every_time_is_given_up_after_as_many_attempts_as_are_set() {
    for (attempts, settings) in [(3, ""), (5, "attempts = 5\n"), (1, "attempts = 1\n")] {
        let folder = tempfile::tempdir().unwrap();
        project(folder.path());
        write(folder.path(), &[("pelton.toml", &format!("name = \"shop\"\n[retry]\nwait_ms = 5\n{settings}"))]);
        let output = with_failpoint(folder.path(), "stage.file=error-on@2", &["run", "--format", "json"]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        let outcome = json(&output);
        assert_eq!(outcome["retried"].as_array().unwrap().len(), attempts - 1, "{outcome}");
        assert_eq!(outcome["failed"], serde_json::json!(["big"]));
        let codes: Vec<&str> =
            outcome["reports"].as_array().unwrap().iter().map(|report| report["code"].as_str().unwrap()).collect();
        assert_eq!(codes, ["storage-failed", "no-publication"], "each is told once");
        // What was built before is there for the next run.
        let next = json(&pelton(folder.path(), &["run", "--format", "json"]));
        assert_eq!((&next["reused"], &next["publication"]), (&serde_json::json!(["orders"]), &1.into()));
    }
}

#[test]
fn a_delta_log_that_cannot_be_written_is_named_and_written_by_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path());
    let output = with_failpoint(folder.path(), "delta.commit=error-on@2", &["run", "--format", "json"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let outcome = json(&output);
    assert_eq!(
        (&outcome["publication"], &outcome["published"], &outcome["failed"]),
        (&1.into(), &true.into(), &serde_json::json!([]))
    );
    let said = stderr(&output);
    assert!(
        said.contains("the publication stands; other programs still read the version of `orders` before it"),
        "{said}"
    );
    let unshown = "select node from pelton.versions where delta_version is null order by node";
    assert_eq!(csv(folder.path(), unshown), "node\norders\ntotals\n");
    let next = json(&pelton(folder.path(), &["run", "--format", "json"]));
    assert_eq!((&next["skipped"], &next["publication"]), (&serde_json::json!(["orders", "big", "totals"]), &1.into()));
    assert_eq!(csv(folder.path(), unshown), "node\n");
    assert!(pelton(folder.path(), &["verify"]).status.success());
}

#[test]
fn what_cannot_succeed_the_next_time_is_not_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path());
    write(
        folder.path(),
        &[("tables/big.sql", "/* pelton\n[checks]\nfew = \"row_count() < 10\"\n*/\nselect * from orders")],
    );
    let output = pelton(folder.path(), &["run", "--format", "json"]);
    assert_eq!(json(&output)["retried"], serde_json::json!([]));
    assert!(!stderr(&output).contains("retrying"), "{}", stderr(&output));
}

#[test]
fn a_move_or_a_gc_that_fails_once_is_tried_again() {
    for failpoint in ["state.write=error@1", "state.write=error@2", "state.write=error@3"] {
        let folder = tempfile::tempdir().unwrap();
        project(folder.path());
        assert!(pelton(folder.path(), &["run"]).status.success());
        write(folder.path(), &[("tables/big.sql", "select * from orders where amount >= 20")]);
        let run = pelton(folder.path(), &["run", "--env", "try"]);
        assert!(run.status.success(), "{}", stderr(&run));
        let gc = ["gc", "--yes", "--keep", "0s", "--keep-publications", "1"];
        for words in [&["publish", "try", "--to", "main"][..], &["rollback"], &gc] {
            let output = with_failpoint(folder.path(), failpoint, words);
            assert_eq!(output.status.code(), Some(0), "{failpoint} {words:?}: {}", stderr(&output));
        }
        let open = csv(folder.path(), "select count(*) as n from pelton.runs where finished_at is null");
        assert_eq!(open, "n\n0\n", "{failpoint}: every run is recorded with its end");
    }
}

#[test]
fn a_run_that_died_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path());
    let nothing = pelton(folder.path(), &["run", "--resume"]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(stderr(&nothing).starts_with("error[nothing-to-resume]: environment `main` has no run to resume\n"));

    let died = with_failpoint(folder.path(), "stage.file=abort@2", &["run", "+big"]);
    assert_eq!(died.status.signal(), Some(6), "{}", stderr(&died));
    let output = pelton(folder.path(), &["run", "--resume", "--format", "json"]);
    let (outcome, said) = (json(&output), stderr(&output));
    assert!(
        said.starts_with("resuming run ") && said.contains(" and died: it had recorded orders\nnodes: +big\n"),
        "{said}"
    );
    assert_eq!(outcome["resumed"]["built"], serde_json::json!(["orders"]));
    assert_eq!((&outcome["reused"], &outcome["built"]), (&serde_json::json!(["orders"]), &serde_json::json!(["big"])));
    assert_eq!(outcome["publication"], 1);
    let died = csv(folder.path(), "select run, outcome from pelton.runs order by started_at limit 1");
    assert!(died.contains(outcome["resumed"]["run"].as_str().unwrap()), "{died}");

    let nothing = pelton(folder.path(), &["run", "--resume"]);
    assert!(
        stderr(&nothing).contains("the last run of environment `main` did all that it was to do"),
        "{}",
        stderr(&nothing)
    );
    assert!(stderr(&nothing).contains("it made publication 1\nhint: pelton run\n"), "{}", stderr(&nothing));
    let elsewhere = pelton(folder.path(), &["run", "--resume", "--env", "try"]);
    assert!(stderr(&elsewhere).contains("hint: pelton run --env try"), "{}", stderr(&elsewhere));
    let both = pelton(folder.path(), &["run", "big", "--resume"]);
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn a_run_that_failed_is_gone_on_with_and_a_replay_is_not() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path());
    let failed = with_failpoint(folder.path(), "stage.file=error-on@2", &["run"]);
    assert_eq!(failed.status.code(), Some(2));
    let output = pelton(folder.path(), &["run", "--resume"]);
    assert!(
        output.status.success() && stderr(&output).contains(" and failed: it had recorded orders\n"),
        "{}",
        stderr(&output)
    );

    write(folder.path(), &[("data/2026-02.csv", "order_id,customer,amount\n900,c1,ten\n")]);
    assert!(pelton(folder.path(), &["run"]).status.success());
    assert!(pelton(folder.path(), &["quarantine", "--output", "rows.csv"]).status.success());
    let rows = fs::read_to_string(folder.path().join("rows.csv")).unwrap();
    write(folder.path(), &[("rows.csv", &rows.replace("c1,ten", "c1,10"))]);
    let died =
        with_failpoint(folder.path(), "replay.rows=abort", &["quarantine", "replay", "orders", "--file", "rows.csv"]);
    assert_eq!(died.status.signal(), Some(6), "{}", stderr(&died));
    let refused = pelton(folder.path(), &["run", "--resume"]);
    assert!(stderr(&refused).contains("hint: pelton quarantine replay orders --file rows.csv"), "{}", stderr(&refused));
    assert!(pelton(folder.path(), &["quarantine", "replay", "orders", "--file", "rows.csv"]).status.success());
    assert_eq!(csv(folder.path(), "select count(*) as n from orders"), "n\n301\n");
}

/// What is recorded of nodes: node, action and the code or summary, of the newest run first.
fn decided(folder: &Path, condition: &str) -> Vec<String> {
    let database = Connection::open(folder.join("warehouse/state.db")).unwrap();
    let sql = format!(
        "select d.node || ' ' || d.action || ' ' || json_extract(d.detail, '$.summary')
         from decisions d join runs r on r.id = d.run where {condition} order by r.seq desc, d.position"
    );
    let mut statement = database.prepare(&sql).unwrap();
    let found = statement.query_map([], |row| row.get(0)).unwrap();
    found.map(Result::unwrap).collect()
}

#[test]
fn a_run_that_dies_has_said_what_it_decided_until_then() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path());
    let died = with_failpoint(folder.path(), "stage.file=abort@2", &["run"]);
    assert_eq!(died.status.signal(), Some(6), "{}", stderr(&died));
    assert_eq!(decided(folder.path(), "true"), ["orders built 300 rows"]);
    // Whoever sees a publication sees what led to it.
    let died = with_failpoint(folder.path(), "publication.written=abort", &["run"]);
    assert_eq!(died.status.signal(), Some(6), "{}", stderr(&died));
    let all = decided(folder.path(), "r.publication = 1");
    assert_eq!(all.iter().map(|line| line.split(' ').next().unwrap()).collect::<Vec<_>>(), ["orders", "big", "totals"]);
    let died = with_failpoint(folder.path(), "publication.written=abort", &["publish", "main", "--to", "try"]);
    assert_eq!(died.status.signal(), Some(6), "{}", stderr(&died));
    let moved = decided(folder.path(), "r.publication = 2");
    assert_eq!(moved.len(), 3, "{moved:?}");
    fs::remove_file(folder.path().join("tables/totals.sql")).unwrap();
    assert!(pelton(folder.path(), &["run"]).status.success());
    let gone = decided(folder.path(), "d.action = 'removed'");
    assert!(gone.len() == 1 && gone[0].starts_with("totals removed version "), "{gone:?}");
}

#[test]
fn what_was_refused_is_a_run_with_decisions() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path());
    let folder = folder.path();
    assert!(pelton(folder, &["run"]).status.success());
    let refused = |command: &str| decided(folder, &format!("d.action = 'refused' and r.command = '{command}'"));

    let held = fs::File::options().write(true).open(folder.join("warehouse/run.lock")).unwrap();
    held.lock().unwrap();
    for words in [&["run"][..], &["run", "--resume"], &["rollback"], &["publish", "try"], &["gc"], &["verify"]] {
        assert_eq!(pelton(folder, words).status.code(), Some(2), "{words:?}");
        assert_eq!(refused(&format!("pelton {}", words.join(" "))), [" refused run-locked"], "{words:?}");
    }
    held.unlock().unwrap();
    assert_eq!(csv(folder, "select count(*) as n from pelton.decisions where node is null"), "n\n6\n");

    // `main` moves after `try` took its version over.
    let amount = |least: u64| format!("select * from orders where amount >= {least}");
    write(folder, &[("tables/big.sql", &amount(20))]);
    assert!(pelton(folder, &["run", "--env", "try"]).status.success());
    write(folder, &[("tables/big.sql", &amount(30))]);
    assert!(pelton(folder, &["run"]).status.success());
    assert_eq!(pelton(folder, &["publish", "try", "--to=main"]).status.code(), Some(2));
    let moved = ["big refused environment-moved", "totals refused environment-moved"];
    assert_eq!(refused("pelton publish try --to=main"), moved);

    assert!(pelton(folder, &["rollback", "--to", "1"]).status.success());
    assert_eq!(pelton(folder, &["run", "big"]).status.code(), Some(2));
    assert_eq!(refused("pelton run big"), ["big refused rolled-back"]);

    write(folder, &[("tables/counted.sql", "/* pelton\nbuild = \"append\"\n*/\nselect count(*) as n from orders")]);
    assert_eq!(pelton(folder, &["run", "counted"]).status.code(), Some(2));
    assert_eq!(refused("pelton run counted"), ["counted refused not-incremental"]);
    // A refusal is nothing to go on with, and did nothing.
    let resumed = pelton(folder, &["run", "--resume"]);
    assert!(stderr(&resumed).starts_with("error[nothing-to-resume]"), "{}", stderr(&resumed));
    let outcomes = "select distinct r.outcome from pelton.runs r join pelton.decisions d on d.run = r.run where d.action = 'refused'";
    assert_eq!(csv(folder, outcomes), "outcome\nnothing\n");
}

#[test]
fn a_run_whose_publication_failed_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path());
    let failed = with_failpoint(folder.path(), "publication.write=error-on", &["run", "--format", "json"]);
    assert_eq!(failed.status.code(), Some(2), "{}", stderr(&failed));
    let outcome = json(&failed);
    assert_eq!((&outcome["failed"], &outcome["publication"]), (&serde_json::json!([]), &Value::Null), "{outcome}");
    assert_eq!(csv(folder.path(), "select outcome from pelton.runs"), "outcome\nfailed\n");
    let output = pelton(folder.path(), &["run", "--resume", "--format", "json"]);
    let said = stderr(&output);
    assert!(said.contains(" and failed: it had recorded orders, big, totals\n"), "{said}");
    assert_eq!(json(&output)["publication"], 1);
    assert_eq!(csv(folder.path(), "select sum(n) as n from totals"), "n\n240\n");
}

/// A run that stopped within its publication, and holds all that it will ever hold.
fn stopped_in_its_publication(folder: &Path) -> Child {
    let run = command(folder, "publication.write=stop", &["run"]).spawn().unwrap();
    let database = Connection::open(folder.join("warehouse/state.db")).unwrap();
    // Its other transactions take milliseconds; what is held for so long is held for ever.
    database.busy_timeout(Duration::from_millis(700)).unwrap();
    while database.execute_batch("begin immediate; rollback").is_ok() {
        std::thread::yield_now();
    }
    run
}

#[test]
fn a_lock_dies_with_its_process_and_readers_wait_for_nobody() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path());
    assert!(pelton(folder.path(), &["run"]).status.success());
    write(folder.path(), &[("data/2026-02.csv", &orders(300, 400))]);
    let mut run = stopped_in_its_publication(folder.path());

    // Readers see what was published before, at once.
    assert_eq!(csv(folder.path(), "select count(*) as n from orders"), "n\n300\n");
    assert_eq!(csv(folder.path(), "select sum(n) as n from totals"), "n\n240\n");
    for words in [["show", "totals"], ["why", "totals"], ["plan", "totals"], ["rollback", "--list"]] {
        let read = pelton(folder.path(), &words);
        assert!(read.status.success(), "{words:?}: {}", stderr(&read));
    }
    // Writers are refused by name.
    let holder = format!("note: process {} holds the lock\n", run.id());
    for words in [
        &["run"][..],
        &["run", "--env", "try"],
        &["run", "--resume"],
        &["gc", "--yes"],
        &["rollback"],
        &["publish", "try"],
    ] {
        let refused = pelton(folder.path(), words);
        assert_eq!(refused.status.code(), Some(2), "{words:?}");
        let said = stderr(&refused);
        assert!(
            said.contains("error[run-locked]: another run works on this warehouse\n") && said.contains(&holder),
            "{said}"
        );
    }

    run.kill().unwrap();
    run.wait().unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("warehouse/run.lock")).unwrap().trim(), run.id().to_string());
    let next = pelton(folder.path(), &["run", "--format", "json"]);
    assert!(next.status.success(), "{}", stderr(&next));
    assert_eq!(json(&next)["publication"], 2);
    assert_eq!(csv(folder.path(), "select count(*) as n from orders"), "n\n400\n");
}

#[test]
fn a_backfill_that_is_killed_goes_on_with_the_parts_that_are_missing() {
    let day = |day: u64| format!("2026-{:02}-{:02}T08:00:00Z", 1 + day / 28, 1 + day % 28);
    let rows = (0..112).fold(String::from("order_id,ordered_at\n"), |text, n| format!("{text}{n},{}\n", day(n)));
    let daily = |start: &str| {
        format!(
            "/* pelton\nbuild = \"interval\"\ninterval = \"1 day\"\ntime = \"day\"\nstart = \"{start}\"\n*/\n\
             select date_trunc('day', ordered_at) as day, count(*) as n from orders group by 1"
        )
    };
    let folder = |start: &str| {
        let folder = tempfile::tempdir().unwrap();
        write(
            folder.path(),
            &[
                ("pelton.toml", "name = \"shop\"\n[engine]\nthreads = 2\n"),
                ("sources/orders.toml", "kind = \"files\"\npath = \"data/*.csv\"\n"),
                ("data/all.csv", &rows),
                ("tables/daily.sql", &daily(start)),
            ],
        );
        let output = pelton(folder.path(), &["run"]);
        assert!(output.status.success(), "{}", stderr(&output));
        folder
    };
    let state = |folder: &Path| {
        csv(folder, "select digest, rows from pelton.environments where environment = 'main' and node = 'daily'")
    };
    let (folder, full) = (folder("2026-04-01"), folder("2026-01-01"));
    assert!(state(folder.path()).ends_with(",28\n"), "{}", state(folder.path()));
    let backfill = ["backfill", "daily", "--from", "2026-01-01", "--to", "2026-04-01"];
    // Two parts at a time, of which each is staged in as many steps as the others: it dies with the parts 5 and 6 on the disk.
    let calm = tempfile::tempdir().unwrap();
    copy(folder.path(), calm.path());
    let counts = calm.path().join("counts");
    let counted = command(calm.path(), "", &backfill).env("PELTON_FAILPOINT_COUNTS", &counts).output().unwrap();
    assert!(counted.status.success(), "{}", stderr(&counted));
    let counts = fs::read_to_string(counts).unwrap();
    let staged = counts.lines().find_map(|line| line.strip_prefix("stage.files ")).unwrap().parse::<u64>().unwrap();
    assert_eq!(staged % 6, 0, "{counts}");
    let died = with_failpoint(folder.path(), &format!("stage.files=abort@{}", staged / 2), &backfill);
    assert_eq!(died.status.signal(), Some(6), "{}", stderr(&died));
    assert!(state(folder.path()).ends_with(",28\n"), "nothing is published before all of it is there");
    let output = pelton(folder.path(), &backfill);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(state(folder.path()), state(full.path()));
    let sql = "select reason from pelton.decisions where node = 'daily' and action = 'built' order by started_at desc limit 1";
    assert!(csv(folder.path(), sql).contains("8 of 12 parts were backfilled"), "{}", csv(folder.path(), sql));
    let again = pelton(folder.path(), &backfill);
    assert!(stdout(&again).contains("skipped  1  daily"), "{}", stdout(&again));
}

#[test]
fn a_mistake_in_a_file_that_was_undone_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let data = |text: &str| write(folder.path(), &[("data/x.csv", text)]);
    let check = || pelton(folder.path(), &["check"]).status.code();
    write(
        folder.path(),
        &[
            ("pelton.toml", "name = \"shop\"\n"),
            ("sources/x.toml", "kind = \"files\"\npath = \"data/*.csv\"\n"),
            ("tables/t.sql", "select sum(b) as b from x"),
        ],
    );
    data("a,b\n1,2\n");
    assert!(pelton(folder.path(), &["run"]).status.success());
    // A column that was renamed, and one that is not a number any more, stop what reads them before anything is read.
    for broken in ["a,c\n1,2\n", "a,b\n1,xx\n"] {
        data(broken);
        assert_eq!(check(), Some(2), "{broken}");
        let run = pelton(folder.path(), &["run"]);
        assert_eq!(run.status.code(), Some(2), "{broken}");
        assert!(!stderr(&run).contains("were replaced"), "{}", stderr(&run));
        data("a,b\n1,2\n");
        assert_eq!(check(), Some(0), "{broken}");
    }
    // The source alone takes the mistake in when nothing that reads it is there.
    write(folder.path(), &[("tables/t.sql", "select count(*) as b from x")]);
    data("a,c\n1,xx\n");
    assert!(pelton(folder.path(), &["run"]).status.success());
    write(folder.path(), &[("tables/t.sql", "select sum(b) as b from x")]);
    data("a,b\n1,2\n");
    assert_eq!(check(), Some(0));
    let run = pelton(folder.path(), &["run"]);
    assert!(run.status.success(), "{}", stderr(&run));
    assert_eq!(csv(folder.path(), "select * from t"), "b\n2\n");
    // A new file may bring a column that SQL names already.
    write(folder.path(), &[("data/y.csv", "a,b,d\n1,2,3\n"), ("tables/t.sql", "select sum(b + d) as b from x")]);
    assert_eq!(check(), Some(0));
    assert!(pelton(folder.path(), &["run"]).status.success());
    assert_eq!(csv(folder.path(), "select * from t"), "b\n5\n");
}
