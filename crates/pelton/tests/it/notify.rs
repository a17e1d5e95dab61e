//! Webhooks and command hooks: what they are told, and that nothing of a run depends on them.

use crate::program::{PELTON, pelton, stderr, stdout, write};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

fn project(folder: &Path, notify: &str) {
    write(
        folder,
        &[
            ("pelton.toml", &format!("name = \"shop\"\n[notify]\n{notify}")),
            ("data/orders.csv", "order_id,amount\n1,5\n2,7\n"),
            ("sources/orders.toml", "kind = \"files\"\npath = \"data/*.csv\"\nkey = [\"order_id\"]\n"),
            ("tables/big.sql", "select * from orders where amount > 6"),
            // Appends what it is told, a line a notice.
            ("tell.sh", "#!/bin/sh\ncat >> told\n"),
        ],
    );
}

/// A server that answers requests in turn with these statuses, and hands on the head and the body of each.
fn server(statuses: &'static [&'static str]) -> (String, Receiver<(String, String)>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/secret-path?token=secret-token", listener.local_addr().unwrap());
    let (sender, requests) = channel();
    std::thread::spawn(move || {
        for status in statuses {
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = Vec::new();
            let mut piece = [0; 4096];
            let (head, body) = loop {
                let read = stream.read(&mut piece).unwrap();
                text.extend_from_slice(&piece[..read]);
                let so_far = String::from_utf8_lossy(&text).into_owned();
                let Some((head, body)) = so_far.split_once("\r\n\r\n") else { continue };
                let length =
                    head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if body.len() >= length.unwrap_or(0) {
                    break (head.to_string(), body.to_string());
                }
            };
            sender.send((head, body)).unwrap();
            // Who gave up waiting does not hear it.
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    (url, requests)
}

fn told(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("told")).unwrap_or_default();
    let _ = std::fs::remove_file(folder.join("told"));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn events(notices: &[Value]) -> Vec<&str> {
    notices.iter().map(|notice| notice["event"].as_str().unwrap()).collect()
}

#[test]
fn a_command_is_told_what_happened() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    project(folder, "command = [\"sh\", \"tell.sh\"]\n");
    assert!(pelton(folder, &["run"]).status.success());
    let notices = told(folder);
    assert_eq!(events(&notices), ["published"]);
    let notice = &notices[0];
    assert_eq!((&notice["text"], &notice["project"]), (&"shop: publication 1 of `main`".into(), &"shop".into()));
    assert_eq!((&notice["environment"], &notice["publication"]), (&"main".into(), &1.into()));
    assert_eq!(notice["outcome"]["built"], serde_json::json!(["orders", "big"]));
    assert_eq!(notice["run"], notice["outcome"]["run"]);
    // Nothing happened, so nobody is told.
    assert!(pelton(folder, &["run"]).status.success());
    assert_eq!(events(&told(folder)), Vec::<&str>::new());

    write(
        folder,
        &[(
            "tables/big.sql",
            "/* pelton\n[checks]\nnone = { sql = \"amount > 100\", on_fail = \"warn\" }\n*/\nselect * from orders",
        )],
    );
    assert!(pelton(folder, &["run"]).status.success());
    let notices = told(folder);
    assert_eq!(events(&notices), ["warned", "published"]);
    assert!(
        notices[0]["text"].as_str().unwrap().contains("2 of 2 rows of `big` break `amount > 100`"),
        "{}",
        notices[0]
    );
    assert_eq!(notices[0]["reports"][0]["code"], "check-warned");

    write(
        folder,
        &[(
            "tables/big.sql",
            "/* pelton\n[checks]\nnone = \"amount > 100\"\n*/\nselect * from orders where amount > 1",
        )],
    );
    let failed = pelton(folder, &["run", "--format", "json"]);
    assert_eq!(failed.status.code(), Some(1));
    let notices = told(folder);
    assert_eq!(events(&notices), ["run-failed", "check-failed"]);
    assert_eq!(notices[0]["text"], "shop: a run failed at big");
    let outcome: Value = serde_json::from_str(&stdout(&failed)).unwrap();
    assert_eq!(notices[1]["outcome"], outcome, "the JSON of the command and of the notice are the same");

    assert!(pelton(folder, &["rollback"]).status.success());
    let notices = told(folder);
    assert_eq!(
        (events(&notices), &notices[0]["text"]),
        (vec!["published"], &"shop: publication 3 of `main` brought 1 back".into())
    );
    let refused = pelton(folder, &["run"]);
    assert_eq!(refused.status.code(), Some(2));
    let notices = told(folder);
    assert_eq!((events(&notices), &notices[0]["reports"][0]["code"]), (vec!["run-failed"], &"rolled-back".into()));

    write(folder, &[("tables/big.sql", "select * from orders where amount > 2")]);
    assert!(pelton(folder, &["run", "--env", "try"]).status.success());
    assert_eq!(told(folder)[0]["environment"], "try");
    assert!(pelton(folder, &["publish", "try"]).status.success());
    assert_eq!(told(folder)[0]["text"], "shop: publication 5 of `main`, from `try`");
}

#[test]
fn only_what_is_asked_for_is_told() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path(), "command = [\"sh\", \"tell.sh\"]\non = [\"check-failed\"]\n");
    assert!(pelton(folder.path(), &["run"]).status.success());
    write(
        folder.path(),
        &[("tables/big.sql", "/* pelton\n[checks]\nnone = \"amount > 100\"\n*/\nselect * from orders")],
    );
    assert_eq!(pelton(folder.path(), &["run"]).status.code(), Some(1));
    assert_eq!(events(&told(folder.path())), ["check-failed"]);
}

#[test]
fn a_command_that_fails_changes_nothing_and_holds_up_nobody() {
    for (command, says) in [
        ("[\"sh\", \"-c\", \"exit 3\"]", "note: it ended with exit status: 3\n"),
        ("[\"./nowhere.sh\"]", "note: it cannot be started: entity not found\n"),
        (
            "[\"sh\", \"-c\", \"exec sleep 600\"]",
            "note: it took longer than `notify.timeout_ms` (300 ms), and was stopped\n",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        project(folder.path(), &format!("command = {command}\ntimeout_ms = 300\n"));
        let output = pelton(folder.path(), &["run", "--format", "json"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let outcome: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!((&outcome["publication"], &outcome["reports"]), (&1.into(), &serde_json::json!([])));
        let said = stderr(&output);
        assert!(said.contains("warning[not-notified]: the command `") && said.contains(says), "{command}: {said}");
    }
    // What it prints is not part of the answer.
    let folder = tempfile::tempdir().unwrap();
    project(folder.path(), "command = [\"echo\", \"noise\"]\n");
    let output = pelton(folder.path(), &["run", "--format", "json"]);
    assert!(serde_json::from_str::<Value>(&stdout(&output)).is_ok(), "{}", stdout(&output));
}

fn run_with(folder: &Path, variables: &[(&str, &str)]) -> Output {
    Command::new(PELTON).arg("run").current_dir(folder).envs(variables.iter().copied()).output().unwrap()
}

#[test]
fn a_webhook_is_told_again_when_the_server_failed() {
    let folder = tempfile::tempdir().unwrap();
    let (url, requests) = server(&["500 Internal Server Error", "204 No Content"]);
    project(folder.path(), "webhook_env = \"SHOP_HOOK\"\nbearer_env = \"SHOP_TOKEN\"\n");
    let output = run_with(folder.path(), &[("SHOP_HOOK", &url), ("SHOP_TOKEN", "secret-bearer")]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(!stderr(&output).contains("not-notified"), "{}", stderr(&output));
    let (first, second) = (requests.recv().unwrap(), requests.recv().unwrap());
    assert_eq!(first.1, second.1, "the same notice twice");
    assert!(second.0.starts_with("POST /secret-path?token=secret-token HTTP/1.1\r\n"), "{}", second.0);
    let head = second.0.to_lowercase();
    assert!(
        head.contains("content-type: application/json") && head.contains("authorization: bearer secret-bearer"),
        "{head}"
    );
    let notice: Value = serde_json::from_str(&second.1).unwrap();
    assert_eq!((&notice["event"], &notice["publication"]), (&"published".into(), &1.into()));
}

#[test]
fn a_webhook_that_is_not_told_is_a_warning_without_secrets() {
    // Refused, out of order for good, silent, sent elsewhere, and nobody there.
    let (refusing, requests) = server(&["403 Forbidden"]);
    let (failing, _failing) = server(&["503 Service Unavailable", "503 Service Unavailable"]);
    let (moved, _moved) = server(&["302 Found\r\nLocation: http://127.0.0.1:9/secret-path"]);
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let silent_url = format!("http://{}/secret-path", silent.local_addr().unwrap());
    let gone = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    for (url, says) in [
        (refusing.as_str(), "note: it answered 403 Forbidden\n"),
        (&failing, "note: it answered 503 Service Unavailable; tried 2 times\n"),
        (&moved, "note: it answered 302 Found\n"),
        (&silent_url, "note: it did not answer in time; tried 2 times\n"),
        (&format!("http://{gone}/secret-path"), "note: it cannot be connected to; tried 2 times\n"),
        ("nonsense", "note: its URL cannot be read\n"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        project(
            folder.path(),
            "webhook_env = \"SHOP_HOOK\"\nbearer_env = \"SHOP_TOKEN\"\ntimeout_ms = 400\nattempts = 2\n",
        );
        let output = run_with(folder.path(), &[("SHOP_HOOK", url), ("SHOP_TOKEN", "secret-bearer")]);
        assert_eq!(output.status.code(), Some(0), "{url}: {}", stderr(&output));
        let said = stderr(&output);
        assert!(said.contains("warning[not-notified]: the webhook") && said.contains(says), "{url}: {said}");
        assert!(!said.contains("secret") && !stdout(&output).contains("secret"), "{said}");
    }
    assert!(
        requests.recv_timeout(Duration::from_secs(1)).is_ok() && requests.recv().is_err(),
        "a refusal is not tried again"
    );
    let folder = tempfile::tempdir().unwrap();
    project(folder.path(), "webhook_env = \"PELTON_TEST_NOT_SET\"\n");
    let said = stderr(&pelton(folder.path(), &["run"]));
    let wanted = "note: `notify.webhook_env` names the environment variable `PELTON_TEST_NOT_SET`, which is not set\n";
    assert!(said.contains(wanted), "{said}");
}

#[test]
fn settings_that_cannot_hold_are_refused_and_a_url_is_not_shown() {
    for (notify, says) in [
        ("webhook = \"ftp://x\"\n", "`webhook` is not a URL that begins with `https://` or `http://`"),
        ("webhook = \"http://x\"\nwebhook_env = \"X\"\n", "`webhook_env` stands beside `webhook`"),
        ("webhook_env = \"MY HOOK\"\n", "`webhook_env` is not the name of an environment variable"),
        ("on = [\"publishd\"]\n", "published"),
        ("attempts = 50\n", "cannot be 50"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        project(folder.path(), notify);
        let output = pelton(folder.path(), &["check"]);
        assert_eq!(output.status.code(), Some(2), "{notify}");
        assert!(
            stderr(&output).contains("invalid-value") && stderr(&output).contains(says),
            "{notify}: {}",
            stderr(&output)
        );
    }
    let folder = tempfile::tempdir().unwrap();
    project(folder.path(), "webhook = \"https://hooks.example.org/secret-path\"\n");
    let shown = stdout(&pelton(folder.path(), &["config"]));
    assert!(shown.contains("https://hooks.example.org/...") && !shown.contains("secret"), "{shown}");
}
