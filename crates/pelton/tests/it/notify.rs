//! Webhooks and command hooks: what they are told, and that nothing of a run depends on them.

use crate::program::{PELTON, pelton, shell, stderr, stdout, write};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
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
    serve("http", statuses, |stream| stream)
}

/// As [`server`], over connections of a kind.
fn serve<S: Read + Write>(
    scheme: &str,
    statuses: &'static [&'static str],
    over: impl Fn(TcpStream) -> S + Send + 'static,
) -> (String, Receiver<(String, String)>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("{scheme}://{}/secret-path?token=secret-token", listener.local_addr().unwrap());
    let (sender, requests) = channel();
    std::thread::spawn(move || {
        for status in statuses {
            let mut stream = over(listener.accept().unwrap().0);
            let mut text = Vec::new();
            let mut piece = [0; 4096];
            let asked = loop {
                // A client that does not trust the server leaves without having asked.
                let Some(read) = stream.read(&mut piece).ok().filter(|read| *read > 0) else { break None };
                text.extend_from_slice(&piece[..read]);
                let so_far = String::from_utf8_lossy(&text).into_owned();
                let Some((head, body)) = so_far.split_once("\r\n\r\n") else { continue };
                let length =
                    head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if body.len() >= length.unwrap_or(0) {
                    break Some((head.to_string(), body.to_string()));
                }
            };
            let Some(asked) = asked else { continue };
            sender.send(asked).unwrap();
            // Who gave up waiting does not hear it.
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.flush();
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

/// For who answers: a busy machine is to fail no test.
const PATIENT_MS: u32 = 60_000;

/// An address at which nobody listens, and which nobody who asks for any port is given.
const NOBODY: &str = "127.0.0.1:9";

#[test]
fn a_command_that_fails_changes_nothing_and_holds_up_nobody() {
    for (command, timeout_ms, says) in [
        ("[\"sh\", \"-c\", \"exit 3\"]", PATIENT_MS, "note: it ended with exit status: 3\n"),
        ("[\"./nowhere.sh\"]", PATIENT_MS, "note: it cannot be started: entity not found\n"),
        (
            // What it started holds the stderr of the command, which would be waited for.
            "[\"sh\", \"-c\", \"sleep 600 & sleep 600\"]",
            300,
            "note: it took longer than `notify.timeout_ms` (300 ms), and was stopped\n",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        project(folder.path(), &format!("command = {command}\ntimeout_ms = {timeout_ms}\n"));
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
    let nobody = format!("http://{NOBODY}/secret-path");
    for (url, timeout_ms, says) in [
        (refusing.as_str(), PATIENT_MS, "note: it answered 403 Forbidden\n"),
        (&failing, PATIENT_MS, "note: it answered 503 Service Unavailable; tried 2 times\n"),
        (&moved, PATIENT_MS, "note: it answered 302 Found\n"),
        (&silent_url, 400, "note: it did not answer in time; tried 2 times\n"),
        (&nobody, PATIENT_MS, "note: it cannot be connected to; tried 2 times\n"),
        ("nonsense", PATIENT_MS, "note: its URL cannot be read\n"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let names = "webhook_env = \"SHOP_HOOK\"\nbearer_env = \"SHOP_TOKEN\"";
        project(folder.path(), &format!("{names}\ntimeout_ms = {timeout_ms}\nattempts = 2\n"));
        let output = run_with(folder.path(), &[("SHOP_HOOK", url), ("SHOP_TOKEN", "secret-bearer")]);
        assert_eq!(output.status.code(), Some(0), "{url}: {}", stderr(&output));
        let said = stderr(&output);
        assert!(said.contains("warning[not-notified]: the webhook") && said.contains(says), "{url}: {said}");
        assert!(!said.contains("secret") && !stdout(&output).contains("secret"), "{said}");
    }
    assert!(
        requests.recv_timeout(Duration::from_secs(60)).is_ok() && requests.recv().is_err(),
        "a refusal is not tried again"
    );
    let folder = tempfile::tempdir().unwrap();
    project(folder.path(), "webhook_env = \"PELTON_TEST_NOT_SET\"\n");
    let said = stderr(&pelton(folder.path(), &["run"]));
    let wanted = "note: `notify.webhook_env` names the environment variable `PELTON_TEST_NOT_SET`, which is not set\n";
    assert!(said.contains(wanted), "{said}");
}

/// A settings file whose webhook is given by the environment.
const HOOK: &str = "webhook_env = \"SHOP_HOOK\"\ntimeout_ms = 20000\nattempts = 1\n";

#[test]
fn a_webhook_over_https_that_nobody_answers_is_a_warning() {
    // One that speaks no TLS: what it reads is no request.
    let (plain, _plain) = server(&["204 No Content"]);
    for url in [format!("https://{NOBODY}/secret-path"), plain.replace("http://", "https://")] {
        let folder = tempfile::tempdir().unwrap();
        project(folder.path(), &HOOK.replace("20000", "2000"));
        let output = run_with(folder.path(), &[("SHOP_HOOK", &url)]);
        assert_eq!(output.status.code(), Some(0), "{url}: {}", stderr(&output));
        let said = stderr(&output);
        assert!(said.contains("warning[not-notified]: the webhook at 127.0.0.1 was not told\n"), "{url}: {said}");
        assert!(!said.contains("panic") && !said.contains("internal") && !said.contains("secret"), "{url}: {said}");
    }
}

#[test]
fn a_machine_without_certificates_tells_over_http() {
    let none = [("SSL_CERT_FILE", "/nowhere/certificates.pem"), ("SSL_CERT_DIR", "/nowhere")];
    let (url, requests) = server(&["204 No Content"]);
    let folder = tempfile::tempdir().unwrap();
    project(folder.path(), HOOK);
    let output = run_with(folder.path(), &[none[0], none[1], ("SHOP_HOOK", &url)]);
    assert!(!stderr(&output).contains("not-notified"), "{}", stderr(&output));
    assert!(requests.recv().unwrap().1.contains("\"published\""));
    write(folder.path(), &[("tables/big.sql", "select * from orders where amount > 4")]);
    let output = run_with(folder.path(), &[none[0], none[1], ("SHOP_HOOK", &format!("https://{NOBODY}/secret-path"))]);
    assert!(stderr(&output).contains("note: this machine's certificates cannot be read\n"), "{}", stderr(&output));
}

/// An authority and a certificate of 127.0.0.1 by it; `false` where `openssl` is not installed.
fn make_certificates(folder: &Path) -> bool {
    if Command::new("openssl").arg("version").output().is_err() {
        #[expect(clippy::print_stderr, reason = "a test that did not run says so")]
        {
            eprintln!("skipped: there is no `openssl` to make certificates with");
        }
        return false;
    }
    write(folder, &[("extensions", "subjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n")]);
    let line = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem && \
                openssl req -new -newkey rsa:2048 -nodes -subj /CN=hook -keyout hook.key -out hook.csr && \
                openssl x509 -req -in hook.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out hook.pem";
    let output = shell(folder, line).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    true
}

#[test]
fn a_webhook_over_https_is_told_when_its_certificate_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    if !make_certificates(folder.path()) {
        return;
    }
    let chain = CertificateDer::from_pem_file(folder.path().join("hook.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.path().join("hook.key")).unwrap();
    let settings = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    let settings = Arc::new(settings);
    let over = move |stream| StreamOwned::new(ServerConnection::new(settings.clone()).unwrap(), stream);
    let (url, requests) = serve("https", &["204 No Content", "204 No Content"], over);
    project(folder.path(), HOOK);
    // The machine's own certificates do not have this authority.
    let output = run_with(folder.path(), &[("SHOP_HOOK", &url)]);
    let said = stderr(&output);
    assert!(said.contains("warning[not-notified]: the webhook at 127.0.0.1 was not told\n"), "{said}");
    assert!(!said.contains("secret"), "{said}");
    write(folder.path(), &[("tables/big.sql", "select * from orders where amount > 4")]);
    let authority = folder.path().join("ca.pem").display().to_string();
    let output = run_with(folder.path(), &[("SHOP_HOOK", &url), ("SSL_CERT_FILE", &authority)]);
    assert!(!stderr(&output).contains("not-notified"), "{}", stderr(&output));
    let (head, body) = requests.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(head.starts_with("POST /secret-path?token=secret-token HTTP/1.1\r\n"), "{head}");
    let notice: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&notice["event"], &notice["publication"]), (&"published".into(), &2.into()));
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
