//! Runs the folders of `tests/cases`.
//!
//! `cmd` has a shell command a line; they run in a copy of the other files. `expected.txt` is what they printed: each command after
//! a `$`, its stdout, its stderr after `-- stderr`, its exit code after `-- exit` when it is not 0. What differs from run to run is
//! replaced by a word in brackets. `PELTON_UPDATE=1 cargo test -p pelton` writes the answers anew: read them before you keep them.

use crate::program::{shell, stderr, stdout};
use regex::Regex;
use std::fmt::Write;
use std::path::{Path, PathBuf};

fn folder_of_cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

fn names() -> Vec<String> {
    let entries = std::fs::read_dir(folder_of_cases()).expect("the folder of cases is part of the repository");
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Runs a part of the cases, so that the parts run beside each other.
fn run_part(part: usize, parts: usize) {
    let only = std::env::var("PELTON_CASE").ok();
    let mut wrong = String::new();
    for (at, name) in names().into_iter().enumerate() {
        let is_meant = only.as_ref().is_none_or(|only| name.contains(only.as_str()));
        if at % parts == part
            && is_meant
            && let Some(difference) = run(&name)
        {
            wrong.push_str(&difference);
        }
    }
    assert!(wrong.is_empty(), "{wrong}\n`PELTON_UPDATE=1 cargo test -p pelton` writes the answers anew");
}

#[test]
fn cases_first_part() {
    run_part(0, 2);
}

#[test]
fn cases_second_part() {
    run_part(1, 2);
}

/// Runs a case; gives how it differs from what is expected.
fn run(name: &str) -> Option<String> {
    let case = folder_of_cases().join(name);
    let folder = tempfile::tempdir().expect("the system has a temporary folder");
    let project = folder.path().join("project");
    copy(&case, &project);
    let normal = Normal::new(folder.path());
    let mut found = String::new();
    let commands = std::fs::read_to_string(case.join("cmd")).expect("every case has commands");
    for line in commands.lines().filter(|line| !line.trim().is_empty()) {
        let output = shell(&project, line).output().expect("there is a shell");
        let _ = writeln!(found, "$ {line}");
        found.push_str(&normal.text(&stdout(&output)));
        let errors = stderr(&output);
        if !errors.is_empty() {
            let _ = write!(found, "-- stderr\n{}", normal.text(&errors));
        }
        if output.status.code() != Some(0) {
            let _ =
                writeln!(found, "-- exit {}", output.status.code().map_or("by signal".into(), |code| code.to_string()));
        }
    }
    let path = case.join("expected.txt");
    if std::env::var_os("PELTON_UPDATE").is_some() {
        std::fs::write(&path, &found).expect("the repository can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if found == expected {
        return None;
    }
    let at = found.lines().zip(expected.lines()).take_while(|(found, expected)| found == expected).count();
    let line = |text: &str| text.lines().nth(at).unwrap_or("(nothing)").to_string();
    Some(format!(
        "\n=== {name}, line {}\nexpected: {}\nfound:    {}\n--- all that was found\n{found}",
        at + 1,
        line(&expected),
        line(&found)
    ))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the folder is ours");
    for entry in std::fs::read_dir(from).expect("the case is a folder").flatten() {
        let name = entry.file_name();
        if name == "cmd" || name == "expected.txt" {
            continue;
        }
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(name));
        } else {
            std::fs::copy(entry.path(), to.join(name)).expect("the folder is ours");
        }
    }
}

/// Replaces what differs from run to run and from machine to machine.
struct Normal {
    folder: String,
    rules: Vec<(Regex, &'static str)>,
}

impl Normal {
    fn new(folder: &Path) -> Self {
        let rules = [
            (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "[ID]"),
            // Of the wall clock; times in the cases' data have no fraction.
            // In a column they are filled up to the longest: whether microseconds are printed is chance.
            (r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3,6}Z {2,}", "[NOW]  "),
            (r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3,6}Z", "[NOW]"),
            (r"\b[0-9a-f]{32}\b", "[DIGEST]"),
            (r"\b[0-9a-f]{12}\b", "[VERSION]"),
            (r"\b\d+(\.\d)? (ms|s)\b", "[TIME]"),
            (r"\b\d+ (second|minute|hour|day|week)s?( \d+ (minute|second)s?)? old", "[AGE] old"),
            (r#""elapsed_ms": \d+"#, r#""elapsed_ms": [TIME]"#),
            (r"(127\.0\.0\.1|localhost):\d+", "$1:[PORT]"),
            (r"process \d+", "process [PID]"),
            (r"\b\d+ days \d+ hours \d+ mins \d+\.\d+ secs\b", "[AGE]"),
            // Metrics and scores: how models are fitted may change, and has tests of its own.
            (r"\b\d+\.\d{4,}(e-\d+)?\b", "[METRIC]"),
            (r"part-[0-9a-zA-Z.-]+\.parquet", "[PART]"),
            (r#"("bytes": )\d+"#, "$1[BYTES]"),
            (r"(?m)^(size +).*$", "$1[BYTES]"),
        ];
        let rules = rules.map(|(pattern, word)| (Regex::new(pattern).expect("a constant pattern"), word)).into();
        Normal { folder: folder.display().to_string(), rules }
    }

    fn text(&self, text: &str) -> String {
        let mut text = text.replace(&self.folder, "[DIR]").replace(self.folder.trim_start_matches('/'), "[DIR]");
        for (pattern, word) in &self.rules {
            text = pattern.replace_all(&text, *word).into_owned();
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }
}

#[test]
fn what_differs_from_run_to_run_is_replaced() {
    let normal = Normal::new(Path::new("/tmp/x"));
    assert_eq!(
        normal.text("/tmp/x/a run 0198a1b2-0000-7000-8000-0123456789ab took 1.2 s, version 0123456789ab"),
        "[DIR]/a run [ID] took [TIME], version [VERSION]\n"
    );
}
