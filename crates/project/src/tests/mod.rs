//! Tests of the crate as a whole. What is reported, and how, stands in `cases/*.txt`: a project's files, and the reports that
//! loading them gives. `PELTON_UPDATE_CASES=1 cargo test -p pelton-project` writes the answers anew; read them before you commit.

mod cases;
mod graphs;
mod values;

use crate::{MemoryFiles, Project, load_tests_with, load_with};
use pelton_base::{Report, Reports};
use std::path::Path;

/// Loads a project from files written one after the other, each after a line `--- path`.
fn load_text(text: &str) -> Result<Project, Reports> {
    load_with(Path::new("/shop"), &files_of(text))
}

/// What is wrong with the unit tests of such a project.
fn mistakes_in_tests(project: &Project, text: &str) -> Reports {
    load_tests_with(project, &files_of(text)).mistakes
}

fn files_of(text: &str) -> MemoryFiles {
    let mut files = MemoryFiles::default();
    for part in format!("\n{text}").split("\n--- ").skip(1) {
        let (path, content) = part.split_once('\n').unwrap_or((part, ""));
        files.0.insert(path.trim().to_string(), format!("{content}\n"));
    }
    if !files.0.contains_key("pelton.toml") {
        files.0.insert("pelton.toml".to_string(), "name = \"shop\"\n".to_string());
    }
    files
}

/// A report with its place, the line and what it points at, notes and hints.
fn render(report: &Report) -> String {
    let mut out =
        format!("{}[{}]: {}\n", if report.is_error() { "error" } else { "warning" }, report.code, report.message);
    if let Some(at) = &report.at {
        out += &format!("  --> {at}\n");
        if let (Some(text), true) = (&at.text, at.column > 0) {
            out += &format!("  | {text}\n  | {}{}\n", " ".repeat(at.column - 1), "^".repeat(at.length));
        }
    }
    report.notes.iter().for_each(|note| out += &format!("  note: {note}\n"));
    report.hints.iter().for_each(|hint| out += &format!("  hint: {hint}\n"));
    out
}

/// Wherever a test file is cut off, and whichever character of it is missing, there is an answer, and it points into the file.
#[test]
fn a_damaged_test_file_is_a_report_and_never_a_panic() {
    let project = r#"--- sources/orders.toml
kind = "files"
path = "orders.csv"
--- tables/spend.sql
select sum(amount) as spent from orders
"#;
    let text = r#"node = "spend"
now = 2026-03-01T00:00:00Z
given.orders = [{ id = 1, amount = 1.5, tags = ["ä", { a = nan }] }]
[[case]]
name = "ü"
expect = '''
| spent | "x""|" |
|---|---|
| 1 | ä, "b" |
'''
expect_checks = { a = 1 }
"#;
    let loaded = load_text(project).unwrap();
    let look = |damaged: &str| {
        let found = mistakes_in_tests(&loaded, &format!("{project}--- tests/a.toml\n{damaged}"));
        for report in found.0 {
            let at = report.at.expect("a mistake in a file has a place");
            assert!(at.line <= damaged.matches('\n').count() + 2, "{damaged}");
        }
    };
    for (at, c) in text.char_indices() {
        look(&text[..at]);
        look(&format!("{}{}", &text[..at], &text[at + c.len_utf8()..]));
    }
}
