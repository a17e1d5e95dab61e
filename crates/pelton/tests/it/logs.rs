//! What other programs read of a table by its Delta log: what `main` has published, and nothing else.

use crate::crash::owned::{Showing, live, wrong_logs};
use crate::program::{pelton, stderr, write};
use std::collections::BTreeSet;
use std::path::Path;

fn project(folder: &Path) {
    write(
        folder,
        &[
            ("pelton.toml", "name = \"shop\"\n"),
            ("sources/orders.toml", "kind = \"files\"\npath = \"data/*.csv\"\n[columns]\nid = \"bigint\"\n"),
            ("data/1.csv", "id\n1\n2\n3\n"),
            ("tables/few.sql", "select id from orders where id < 3"),
        ],
    );
}

fn run(folder: &Path, words: &[&str]) {
    let output = pelton(folder, words);
    assert!(output.status.success(), "{words:?}: {}", stderr(&output));
    assert_eq!(wrong_logs(&folder.join("warehouse"), Showing::Now), Vec::<String>::new(), "{words:?}");
}

fn log_of(folder: &Path, node: &str) -> BTreeSet<String> {
    live(&folder.join("warehouse/tables").join(node).join("_delta_log")).unwrap()
}

#[test]
fn a_log_shows_what_main_has_published_and_nothing_of_other_environments() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    project(folder);
    run(folder, &["run"]);
    let first = log_of(folder, "few");
    assert_eq!(first.len(), 1);

    // An experiment, with a table that `main` does not have.
    write(folder, &[("tables/few.sql", "select id from orders where id < 2"), ("tables/one.sql", "select 1 as one")]);
    run(folder, &["run", "--env", "try"]);
    assert_eq!((log_of(folder, "few"), log_of(folder, "one").len()), (first.clone(), 0));
    assert!(pelton(folder, &["verify"]).status.success());
    run(folder, &["publish", "try"]);
    let second = log_of(folder, "few");
    assert!(second != first && log_of(folder, "one").len() == 1);

    // What is taken back is taken back for everybody.
    run(folder, &["rollback"]);
    assert_eq!(log_of(folder, "few"), first);
    // Numbers grow over all environments: 2 is that of `try`.
    run(folder, &["rollback", "--to", "3"]);
    assert_eq!(log_of(folder, "few"), second);
}

#[test]
fn a_run_that_publishes_nothing_shows_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    project(folder);
    run(folder, &["run"]);
    let first = log_of(folder, "few");
    write(
        folder,
        &[
            ("tables/few.sql", "select id from orders where id < 2"),
            ("tables/late.sql", "/* pelton\n[checks]\nnone = \"row_count() = 0\"\n*/\nselect id from few"),
        ],
    );
    let failed = pelton(folder, &["run"]);
    assert_eq!(failed.status.code(), Some(1), "{}", stderr(&failed));
    assert_eq!(log_of(folder, "few"), first, "what was built is not published");
    assert!(pelton(folder, &["verify"]).status.success());
    write(folder, &[("tables/late.sql", "select id from few")]);
    run(folder, &["run"]);
    assert_ne!(log_of(folder, "few"), first, "it is taken from the run that failed, and shown now");
}

#[test]
fn a_log_that_is_behind_is_named_and_mended() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    project(folder);
    run(folder, &["run"]);
    // As a run of an earlier Pelton left it: the log goes on, `main` does not.
    let log = folder.join("warehouse/tables/few/_delta_log");
    let shown = log_of(folder, "few").into_iter().next().unwrap();
    let remove = format!("{{\"remove\":{{\"path\":\"{shown}\",\"deletionTimestamp\":1,\"dataChange\":true}}}}\n");
    std::fs::write(log.join("00000000000000000001.json"), remove).unwrap();
    let found = pelton(folder, &["verify"]);
    assert_eq!(found.status.code(), Some(1));
    let said = stderr(&found);
    assert!(
        said.contains("note: tables/few/_delta_log does not show version ")
            && said.contains(", which `main` has published\n"),
        "{said}"
    );
    run(folder, &["verify", "--repair"]);
    assert!(pelton(folder, &["verify"]).status.success());
}
