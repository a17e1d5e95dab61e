//! Readers that go away, and outputs that are full.

use crate::program::{PELTON, pelton, shell, stderr, stdout};
use std::io::Read;
use std::process::{Command, Stdio};

#[test]
fn a_reader_that_goes_away_is_no_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(PELTON)
        .arg("explain")
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!((child.wait().unwrap().code(), errors.as_str()), (Some(0), ""));
}

#[test]
fn a_long_answer_ends_when_its_reader_does() {
    let folder = tempfile::tempdir().unwrap();
    assert!(pelton(folder.path(), &["init", "."]).status.success());
    assert!(pelton(folder.path(), &["run"]).status.success());
    let sql = "select a.order_id from orders a, orders b, orders c, orders d, orders e, orders f, orders g, orders h";
    let output = shell(folder.path(), &format!("pelton query '{sql}' --format csv | head -n 2")).output().unwrap();
    assert_eq!(stdout(&output).lines().count(), 2);
    assert_eq!(stderr(&output), "");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_output_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let output = shell(folder.path(), "pelton explain > /dev/full").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stderr(&output), "error[disk-full]: no space left where the output goes\n");
}
