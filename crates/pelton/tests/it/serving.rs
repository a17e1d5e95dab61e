//! `pelton serve` from outside: ports, requests, signals.

use crate::program::{PELTON, pelton, stderr, stdout, write};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A project with a model that is learned in a moment: `y` is true when `x` is over 50.
pub(crate) fn write_project(folder: &Path) {
    let mut rows = String::from("id,x,y\n");
    for id in 0..400 {
        let x = id * 37 % 101;
        rows.push_str(&format!("{id},{x},{}\n", x > 50));
    }
    write(
        folder,
        &[
            ("pelton.toml", "name = \"t\"\n"),
            ("data/points.csv", &rows),
            (
                "sources/points.toml",
                "kind = \"files\"\npath = \"data/points.csv\"\nkey = \"id\"\n[columns]\nid = \"bigint\"\nx = \"double\"\ny = \"boolean\"\n",
            ),
            (
                "models/over.sql",
                "/* pelton\ntask = \"classification\"\ntarget = \"y\"\nkey = [\"id\"]\n*/\nselect id, x, y from points\n",
            ),
        ],
    );
}

pub(crate) fn start(folder: &Path) -> (Child, String) {
    let mut child = Command::new(PELTON)
        .args(["serve", "--port", "0"])
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://").unwrap_or_else(|| {
        let mut errors = String::new();
        child.stderr.as_mut().unwrap().read_to_string(&mut errors).unwrap();
        panic!("{line}{errors}")
    });
    (child, address.to_string())
}

pub(crate) fn ask(address: &str, method: &str, path: &str, body: &str) -> (String, serde_json::Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_string(), serde_json::from_str(body).unwrap_or_default())
}

#[test]
fn a_server_answers_and_stops_in_peace() {
    let folder = tempfile::tempdir().unwrap();
    write_project(folder.path());
    let ran = pelton(folder.path(), &["run"]);
    assert!(ran.status.success(), "{}", stderr(&ran));
    let (mut child, address) = start(folder.path());
    let (status, answer) = ask(&address, "POST", "/v1/models/over/predict", r#"{"rows": [{"x": 99}, {"x": 2}]}"#);
    assert!(status.contains("200"), "{status} {answer}");
    assert_eq!(
        (&answer["predictions"][0]["prediction"], &answer["predictions"][1]["prediction"]),
        (&true.into(), &false.into())
    );
    let (status, refused) = ask(&address, "POST", "/v1/models/over/predict", r#"{"rows": [{"z": 99}]}"#);
    assert!(status.contains("400"), "{status}");
    assert_eq!(refused["code"], "invalid-request");
    let receipt = answer["predictions"][0]["receipt"].as_str().unwrap().to_string();
    let (_, over_http) = ask(&address, "GET", &format!("/v1/receipts/{receipt}"), "");

    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{errors}");
    assert!(errors.contains(&format!("curl http://{address}/v1/models/over/predict")), "{errors}");
    assert!(errors.ends_with("stopped\n"), "{errors}");

    // The log went into its table at the end, and the receipt says the same there.
    let counted = pelton(folder.path(), &["query", "select count(*) as n from pelton.predictions", "--format", "csv"]);
    assert_eq!(stdout(&counted), "n\n2\n", "{}", stderr(&counted));
    let shown = pelton(folder.path(), &["receipt", &receipt, "--format", "json"]);
    assert_eq!(shown.status.code(), Some(0), "{}", stderr(&shown));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&stdout(&shown)).unwrap(), over_http);
    assert_eq!(over_http["rescored"]["same_bits"], true);
    let page = stdout(&pelton(folder.path(), &["receipt", &receipt]));
    assert!(page.contains("re-scored     same bits") && page.contains("data/points.csv"), "{page}");

    // One row, three ways: the numbers are the same.
    let predicted = pelton(folder.path(), &["predict", "over", "--row", r#"{"x": 99}"#, "--format", "json"]);
    let predicted: serde_json::Value = serde_json::from_str(&stdout(&predicted)).unwrap();
    assert_eq!(predicted["predictions"][0]["score"], answer["predictions"][0]["score"]);
    assert!(predicted["predictions"][0]["score"].is_f64(), "{predicted}");
    let sql = "select distinct score from predict(over, points) where x = 99";
    let queried = pelton(folder.path(), &["query", sql, "--format", "json"]);
    assert_eq!(queried.status.code(), Some(0), "{}", stderr(&queried));
    let rows: serde_json::Value = serde_json::from_str(&stdout(&queried)).unwrap();
    assert_eq!(rows, serde_json::json!([{ "score": answer["predictions"][0]["score"] }]));
}

#[test]
fn a_server_tells_programs_where_it_listens() {
    let folder = tempfile::tempdir().unwrap();
    write_project(folder.path());
    let nothing = pelton(folder.path(), &["serve", "--port", "0", "--format", "json"]);
    assert_eq!(nothing.status.code(), Some(2));
    let refused: serde_json::Value = serde_json::from_str(&stdout(&nothing)).unwrap();
    assert_eq!(refused["errors"][0]["code"], "nothing-published");
    assert!(pelton(folder.path(), &["run"]).status.success());
    let mut child = Command::new(PELTON)
        .args(["serve", "--port", "0", "--format", "json"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut answer = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    answer.read_line(&mut line).unwrap();
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();
    let address = format!("{}:{}", told["host"].as_str().unwrap(), told["port"]);
    assert_eq!(told["listening"], format!("http://{address}"));
    assert_eq!((&told["environment"], &told["publication"]), (&"main".into(), &1.into()));
    let endpoint = &told["endpoints"][0];
    assert_eq!((&endpoint["model"], &told["endpoints"][1]), (&"over".into(), &serde_json::Value::Null));
    let (status, predicted) =
        ask(&address, "POST", endpoint["predict"].as_str().unwrap(), &endpoint["example"].to_string());
    assert!(status.contains("200") && predicted["version"] == endpoint["version"], "{status} {predicted} {told}");
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let mut rest = String::new();
    answer.read_to_string(&mut rest).unwrap();
    assert_eq!((child.wait().unwrap().code(), rest.as_str()), (Some(0), ""), "one document, a line");
}

#[test]
fn a_server_without_a_model_says_so() {
    let folder = tempfile::tempdir().unwrap();
    write_project(folder.path());
    std::fs::remove_dir_all(folder.path().join("models")).unwrap();
    assert!(pelton(folder.path(), &["run"]).status.success());
    let (child, _) = start(folder.path());
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success());
    assert!(stderr(&ended).contains("an endpoint is there as soon as one is published"), "{}", stderr(&ended));
}

#[test]
fn a_prediction_of_the_command_line_is_a_row_when_the_command_ends() {
    let folder = tempfile::tempdir().unwrap();
    write_project(folder.path());
    assert!(pelton(folder.path(), &["run"]).status.success());
    let predict = || pelton(folder.path(), &["predict", "over", "--row", r#"{"x": 99}"#]);
    let counted = || {
        let sql = "select count(*) as n, count(distinct receipt) as receipts from pelton.predictions";
        stdout(&pelton(folder.path(), &["query", sql, "--format", "csv"]))
    };
    assert_eq!(counted(), "n,receipts\n0,0\n");
    for (n, others) in [(1, 0), (2, 0), (5, 2)] {
        // Some at once: one waits for the other.
        let output = std::thread::scope(|scope| {
            let others: Vec<_> = (0..others).map(|_| scope.spawn(predict)).collect();
            let output = predict();
            others.into_iter().for_each(|other| drop(other.join().unwrap()));
            output
        });
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
        assert_eq!(counted(), format!("n,receipts\n{n},{n}\n"));
    }
    // Beside a server, which drains too.
    let (mut child, address) = start(folder.path());
    assert!(ask(&address, "POST", "/v1/models/over/predict", r#"{"rows": [{"x": 1}]}"#).0.contains("200"));
    assert!(predict().status.success());
    assert!(counted().starts_with("n,receipts\n6,6\n") || counted().starts_with("n,receipts\n7,7\n"), "{}", counted());
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(counted(), "n,receipts\n7,7\n");

    // What cannot be taken in now is told, and waits in the log.
    let mut command = Command::new(PELTON);
    command.args(["predict", "over", "--row", r#"{"x": 99}"#, "--format", "json"]).current_dir(folder.path());
    let output = command.env("PELTON_FAILPOINT", "stage.file=error-on").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("\"receipt\""), "{}", stdout(&output));
    assert!(stderr(&output).starts_with("warning[storage-failed]: "), "{}", stderr(&output));
    // Until somebody asks.
    assert_eq!(counted(), "n,receipts\n8,8\n");
    assert!(predict().status.success());
    assert_eq!(counted(), "n,receipts\n9,9\n");
}

#[test]
fn a_port_in_use_is_told_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    assert!(pelton(folder.path(), &["init", "."]).status.success());
    assert!(pelton(folder.path(), &["run"]).status.success());
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = pelton(folder.path(), &["serve", "--port", &port.to_string()]);
    assert_eq!(output.status.code(), Some(2));
    let expected =
        format!("error[port-in-use]: cannot listen on 127.0.0.1:{port}, another process does\nhint: pass `--port ");
    assert!(stderr(&output).starts_with(&expected), "{}", stderr(&output));
    assert!(stderr(&output).contains("`--port 0` for any free port"), "{}", stderr(&output));
    let output = pelton(folder.path(), &["serve", "--host", "192.0.2.1", "--port", "0"]);
    assert!(stderr(&output).starts_with("error[cannot-listen]: cannot listen on 192.0.2.1:0\n"), "{}", stderr(&output));
}

#[test]
fn an_interrupted_run_says_so() {
    let folder = tempfile::tempdir().unwrap();
    assert!(pelton(folder.path(), &["init", "."]).status.success());
    // The check multiplies the five orders until it takes longer than the test waits for the signal to be sent.
    let slow = "/* pelton\nbuild = \"full\"\n*/\nselect count(*) as n from orders a, orders b, orders c, orders d, orders e, orders f, orders g, orders h, orders i, orders j, orders k, orders l\n";
    write(folder.path(), &[("tables/slow.sql", slow)]);
    let mut child = Command::new(PELTON)
        .arg("run")
        .current_dir(folder.path())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    // The first node is done: the run is under way.
    while !line.contains("orders") {
        line.clear();
        assert!(errors.read_line(&mut line).unwrap() > 0);
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let mut rest = String::new();
    errors.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2), "{rest}");
    assert!(rest.contains("error[interrupted]: the run was interrupted"), "{rest}");
    let left = pelton(folder.path(), &["query", "select 1"]);
    assert!(stderr(&left).contains("error[nothing-published]"), "{}", stderr(&left));
}
