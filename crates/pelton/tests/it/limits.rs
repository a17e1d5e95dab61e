//! What lies outside of Pelton and runs out: the disk, the size of a file, the state database, a server's limits.

use crate::program::{PELTON, pelton, shell, stderr, stdout, write};
use crate::serving::{ask, start, write_project};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A project whose table does not fit into a disk of three megabytes.
fn large_project(folder: &Path) {
    let wide = "select id, md5(cast(id as text)) || md5(cast(-id as text)) || md5(cast(id + 0.5 as text)) as noise\n\
                from (select unnest(range(1, 80001)) as id)";
    assert!(pelton(folder, &["init", "."]).status.success());
    write(folder, &[("tables/large.sql", wide)]);
}

#[test]
fn a_full_disk_is_told_and_leaves_what_was_published() {
    let folder = tempfile::tempdir().unwrap();
    large_project(folder.path());
    // A small disk of its own, which a user namespace may mount without being root, and root without one.
    let on_small_disk = |namespaces: &str, line: &str| {
        let line = format!("mkdir -p warehouse && mount -t tmpfs -o size=3m none warehouse && {line}");
        Command::new("unshare")
            .args([namespaces, "sh", "-c", &line])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .output()
    };
    let can = |namespaces: &&str| on_small_disk(namespaces, "true").is_ok_and(|output| output.status.success());
    let Some(namespaces) = ["-Urm", "-m"].into_iter().find(can) else {
        #[expect(clippy::print_stderr, reason = "a test that did not run says so")]
        {
            eprintln!("skipped: this machine does not let a test mount a disk of its own");
        }
        return;
    };
    let line = format!(
        "mv tables/large.sql kept.sql && {PELTON} run && mv kept.sql tables/large.sql && {PELTON} run >out 2>err; echo $? >code; \
         {PELTON} query 'select count(*) as n from orders' --format csv >rows; ls warehouse/tables/large >left 2>&1; true"
    );
    let output = on_small_disk(namespaces, &line).unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let errors = text("err");
    assert!(errors.contains("error[disk-full]: ") && errors.contains("hint: free some space"), "{errors}");
    assert_eq!((text("code").as_str(), text("rows").as_str()), ("2\n", "n\n5\n"));
    assert!(!text("left").contains(".parquet"), "half a table stays: {}", text("left"));
}

#[test]
fn no_space_left_is_told_wherever_it_ends_and_leaves_what_was_published() {
    // Needs no disk of its own: every write is told that there is no space.
    for failpoint in ["stage.file=full-on", "stage.file=full-on@2", "publication.write=full-on"] {
        let folder = tempfile::tempdir().unwrap();
        assert!(pelton(folder.path(), &["init", "."]).status.success());
        assert!(pelton(folder.path(), &["run"]).status.success());
        let (two, more) = ("select * from orders where order_id > 1", "select * from orders");
        write(folder.path(), &[("tables/later.sql", two), ("tables/everything.sql", more)]);
        let output = shell(folder.path(), "pelton run").env("PELTON_FAILPOINT", failpoint).output().unwrap();
        let errors = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{failpoint}: {errors}");
        assert!(
            errors.contains("error[disk-full]: ") && errors.contains("hint: free some space"),
            "{failpoint}: {errors}"
        );
        // More space does not come by itself.
        assert!(!errors.contains("retrying"), "{failpoint}: {errors}");
        let rows = |sql: &str| stdout(&pelton(folder.path(), &["query", sql, "--format", "csv"]));
        assert_eq!(rows("select count(*) as n from orders"), "n\n5\n", "{failpoint}");
        assert_eq!(rows("select max(publication) as id from pelton.publications"), "id\n1\n", "{failpoint}");
        let whole = pelton(folder.path(), &["verify", "--rows"]);
        assert!(whole.status.success(), "{failpoint}: {}{}", stdout(&whole), stderr(&whole));
        // With space again, what was built is gone on with.
        let output = pelton(folder.path(), &["run", "--resume"]);
        assert!(output.status.success(), "{failpoint}: {}", stderr(&output));
        assert_eq!(
            rows("select (select count(*) from later) + (select count(*) from everything) as n"),
            "n\n9\n",
            "{failpoint}"
        );
    }
}

#[test]
fn no_space_left_for_a_log_leaves_the_publication_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert!(pelton(folder, &["init", "."]).status.success());
    assert!(pelton(folder, &["run"]).status.success());
    write(folder, &[("tables/later.sql", "select * from orders where order_id > 1")]);
    let output = shell(folder, "pelton run").env("PELTON_FAILPOINT", "delta.commit=full-on").output().unwrap();
    let errors = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("error[disk-full]: ") && errors.contains("the publication stands"), "{errors}");
    let rows = stdout(&pelton(folder, &["query", "select count(*) as n from later", "--format", "csv"]));
    assert_eq!(rows, "n\n4\n");
    assert_eq!(pelton(folder, &["verify"]).status.code(), Some(1));
    assert!(pelton(folder, &["run"]).status.success());
    assert!(pelton(folder, &["verify", "--rows"]).status.success());
}

#[test]
fn a_storage_that_refuses_to_write_is_told() {
    let folder = tempfile::tempdir().unwrap();
    large_project(folder.path());
    // Files of at most a megabyte: the state database fits, the table does not.
    let output = shell(folder.path(), "trap '' XFSZ; ulimit -f 2048; pelton run").output().unwrap();
    let errors = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("error[storage-failed]: cannot write `tables/large/"), "{errors}");
    assert!(errors.contains("note: the reason: File too large"), "{errors}");
    assert!(pelton(folder.path(), &["run"]).status.success());
}

#[test]
fn a_state_database_that_another_process_keeps_locked_is_told() {
    let folder = tempfile::tempdir().unwrap();
    assert!(pelton(folder.path(), &["init", "."]).status.success());
    assert!(pelton(folder.path(), &["run"]).status.success());
    let other = rusqlite::Connection::open(folder.path().join("warehouse/state.db")).unwrap();
    other.execute_batch("begin immediate").unwrap();
    // A writer blocks writers; readers go on.
    assert!(pelton(folder.path(), &["query", "select * from orders"]).status.success());
    let output = pelton(folder.path(), &["run"]);
    assert_eq!(output.status.code(), Some(2));
    let errors = stderr(&output);
    assert!(errors.contains("error[state-locked]: another process keeps the state database locked"), "{errors}");
    assert!(errors.contains("note: waited 10000 ms for it"), "{errors}");
    assert!(errors.contains("hint: wait until it ends, then try again\n"), "{errors}");
    drop(other);
    assert!(pelton(folder.path(), &["run"]).status.success());
}

/// Asks a server to stop, which it does.
fn end(mut child: Child) {
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_server_refuses_what_is_beyond_its_limits() {
    let folder = tempfile::tempdir().unwrap();
    write_project(folder.path());
    write(folder.path(), &[("pelton.toml", "name = \"t\"\n[server]\nbody_bytes_max = 2000\n")]);
    let ran = pelton(folder.path(), &["run"]);
    assert!(ran.status.success(), "{}", stderr(&ran));
    let predict = "/v1/models/over/predict";
    let refused = |address: &str, method: &str, path: &str, body: &str| {
        let (status, answer) = ask(address, method, path, body);
        (status.trim_start_matches("HTTP/1.1 ").to_string(), answer["code"].as_str().unwrap_or_default().to_string())
    };
    let of = |status: &str, code: &str| (status.to_string(), code.to_string());
    let (child, address) = start(folder.path());
    let refused_there = |method, path, body: &str| refused(&address, method, path, body);
    assert_eq!(refused_there("GET", "/v1/nowhere", ""), of("404 Not Found", "unknown-route"));
    assert_eq!(refused_there("GET", predict, ""), of("405 Method Not Allowed", "unknown-route"));
    assert_eq!(refused_there("POST", predict, &" ".repeat(3000)), of("413 Payload Too Large", "body-too-large"));
    assert_eq!(refused_there("POST", "/v1/models/ovr/predict", "{}"), of("404 Not Found", "unknown-endpoint"));
    end(child);

    // A request whose body never ends is under way until its time is over; nobody else is let in meanwhile.
    let limits = "name = \"t\"\n[server]\nrequests_max = 1\ntimeout_ms = 1500\n";
    write(folder.path(), &[("pelton.toml", limits)]);
    let (child, address) = start(folder.path());
    let answer = loop {
        let mut slow = TcpStream::connect(&address).unwrap();
        write!(slow, "POST {predict} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 100\r\n\r\n{{")
            .unwrap();
        let other = refused(&address, "GET", "/v1/models", "");
        // The other may have come first, and this one may have been refused for it.
        if other.1 != "too-busy" {
            continue;
        }
        assert_eq!(other, of("503 Service Unavailable", "too-busy"));
        let mut answer = String::new();
        slow.read_to_string(&mut answer).unwrap();
        // Or both were refused for one of an earlier turn, which was let in after all.
        if !answer.contains("\"code\":\"too-busy\"") {
            break answer;
        }
    };
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("\"code\":\"timed-out\""), "{answer}");
    // Its place is free again, once those of earlier turns are gone too.
    while refused(&address, "GET", "/v1/models", "") != of("200 OK", "") {}
    end(child);
}
