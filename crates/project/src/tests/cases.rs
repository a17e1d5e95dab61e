//! Runs `cases/*.txt`.

use super::{load_text, mistakes_in_tests, render};
use std::fs;
use std::path::Path;

fn run(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/cases").join(file);
    let text = fs::read_to_string(&path).unwrap();
    let (mut fresh, mut wrong) = (String::new(), Vec::new());
    for case in format!("\n{text}").split("\n## ").skip(1) {
        let (name, rest) = case.split_once('\n').unwrap();
        let (input, expected) = rest.split_once("\n===\n").unwrap_or((rest.trim_end(), ""));
        let answer = match load_text(input) {
            Ok(project) => {
                let mistakes: String = mistakes_in_tests(&project, input).0.iter().map(render).collect();
                if mistakes.is_empty() { format!("ok\n{}", crate::graph_text(&project)) } else { mistakes }
            }
            Err(reports) => reports.0.iter().map(render).collect(),
        };
        if answer.trim_end() != expected.trim_end() {
            wrong.push(format!("{name}\n--- expected\n{}\n--- found\n{}", expected.trim_end(), answer.trim_end()));
        }
        fresh += &format!("## {name}\n{}\n===\n{}\n\n", input.trim_end(), answer.trim_end());
    }
    if std::env::var_os("PELTON_UPDATE_CASES").is_some() {
        fs::write(&path, format!("{}\n", fresh.trim_end())).unwrap();
    } else {
        assert!(wrong.is_empty(), "{file}: {} cases differ\n\n{}", wrong.len(), wrong.join("\n\n"));
    }
}

#[test]
fn settings_are_read_and_mistakes_in_them_found() {
    run("settings.txt");
}

#[test]
fn sources_are_read_and_mistakes_in_them_found() {
    run("sources.txt");
}

#[test]
fn headers_are_read_and_mistakes_in_them_found() {
    run("headers.txt");
}

#[test]
fn checks_are_read_and_mistakes_in_them_found() {
    run("checks.txt");
}

#[test]
fn models_are_read_and_mistakes_in_them_found() {
    run("models.txt");
}

#[test]
fn unit_tests_are_read_and_mistakes_in_them_found() {
    run("tests.txt");
}

#[test]
fn sql_is_read_and_mistakes_in_it_found() {
    run("sql.txt");
}

#[test]
fn names_are_linked_and_mistakes_in_them_found() {
    run("names.txt");
}
