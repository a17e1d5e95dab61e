//! Environments beside `main`: what one of them publishes is built on all that the other knows.

use crate::program::{pelton, stderr, stdout, write};
use std::fs;
use std::path::Path;

fn ran(folder: &Path, words: &[&str]) {
    let output = pelton(folder, words);
    assert!(output.status.success(), "{words:?}: {}{}", stdout(&output), stderr(&output));
}

fn rows(folder: &Path, sql: &str) -> Vec<String> {
    let output = pelton(folder, &["query", sql, "--format", "csv"]);
    assert!(output.status.success(), "{sql}: {}", stderr(&output));
    stdout(&output).lines().skip(1).map(str::to_string).collect()
}

const SOURCE: &str = "kind = \"files\"\npath = \"data/*.csv\"\nkey = [\"id\"]\n[columns]\nid = \"bigint\"\nat = \"timestamp\"\nstate = \"text\"\n";

const STATES: &str = "/* pelton\nbuild = \"history\"\nkey = \"id\"\n*/\nselect id, state from orders";

const DAILY: &str = "/* pelton\nbuild = \"interval\"\ninterval = \"1 day\"\ntime = \"day\"\nstart = \"2026-01-01\"\n*/\n\
     select date_trunc('day', at) as day, count(*) as n from orders group by 1";

#[test]
fn an_environment_goes_on_from_what_main_has_seen_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(
        folder,
        &[
            ("pelton.toml", "name = \"shop\"\n"),
            ("sources/orders.toml", SOURCE),
            ("tables/states.sql", STATES),
            ("tables/daily.sql", DAILY),
            ("data/1.csv", "id,at,state\n1,2025-06-01,open\nx,2026-01-03,open\n"),
        ],
    );
    ran(folder, &["run"]);
    ran(folder, &["run", "--env", "try"]);
    // What only `main` sees: a state, a file that goes again, times that were asked for, a row that was repaired.
    write(folder, &[("data/1.csv", "id,at,state\n1,2025-06-01,paid\nx,2026-01-03,open\n")]);
    write(folder, &[("data/2.csv", "id,at,state\n2,2026-01-02,open\n")]);
    ran(folder, &["run"]);
    ran(folder, &["backfill", "daily", "--from", "2025-01-01", "--to", "2026-01-01"]);
    ran(folder, &["quarantine", "orders", "-o", "repaired.ndjson"]);
    let text = fs::read_to_string(folder.join("repaired.ndjson")).unwrap();
    fs::write(folder.join("repaired.ndjson"), text.replace("x,2026", "7,2026")).unwrap();
    ran(folder, &["quarantine", "replay", "orders", "--file", "repaired.ndjson"]);
    fs::remove_file(folder.join("data/2.csv")).unwrap();
    write(folder, &[("data/3.csv", "id,at,state\n3,2026-01-05,open\n")]);

    let refused = pelton(folder, &["publish", "try"]);
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("hint: pelton run --env try"), "{}", stderr(&refused));
    ran(folder, &["run", "--env", "try"]);
    ran(folder, &["publish", "try"]);
    assert_eq!(rows(folder, "select id from orders order by id"), ["1", "2", "3", "7"]);
    assert_eq!(
        rows(folder, "select cast(day as date), n from daily order by day"),
        ["2025-06-01,1", "2026-01-02,1", "2026-01-03,1", "2026-01-05,1"]
    );
    let seen = "select id, state from states order by id, valid_from";
    assert_eq!(rows(folder, seen), ["1,open", "1,paid", "2,open", "3,open", "7,open"]);
    // Nothing is left to be done on either side.
    for words in [&["run"][..], &["run", "--env", "try"]] {
        let output = pelton(folder, words);
        assert!(stdout(&output).contains("nothing new is published"), "{words:?}: {}", stdout(&output));
    }
}

#[test]
fn a_table_with_a_select_as_a_check_is_published() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let checked = |limit: u32| {
        format!(
            "/* pelton\n[checks]\nfew = \"select * from spend where n > {limit}\"\n\
             none_lost = \"select id from orders where id not in (select id from spend)\"\n*/\n\
             select id, count(*) as n from orders group by id"
        )
    };
    write(
        folder,
        &[
            ("pelton.toml", "name = \"shop\"\n"),
            ("sources/orders.toml", SOURCE),
            ("tables/spend.sql", &checked(9)),
            ("data/1.csv", "id,at,state\n1,2026-01-01,open\n"),
        ],
    );
    ran(folder, &["run"]);
    ran(folder, &["publish", "main", "--to", "prod"]);
    // One that was written since was not asked.
    write(folder, &[("data/2.csv", "id,at,state\n2,2026-01-02,open\n")]);
    ran(folder, &["run"]);
    write(folder, &[("tables/spend.sql", &checked(8))]);
    let refused = pelton(folder, &["publish", "main", "--to", "prod"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("has not passed its checks\n"), "{}", stderr(&refused));
    ran(folder, &["run"]);
    ran(folder, &["publish", "main", "--to", "prod"]);
}
