//! `pelton demo`, small.

use crate::program::{PELTON, pelton, shell, stderr, stdout};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

#[test]
fn the_demo_ends_with_a_receipt_and_its_second_run_builds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["demo", "--dir", "demo", "--rows", "20000"];
    let first = pelton(folder.path(), &arguments);
    let text = stdout(&first);
    assert_eq!(first.status.code(), Some(0), "{text}{}", stderr(&first));
    for section in ["raw files", "checked tables", "in quarantine", "models", "a prediction", "its receipt", "try next"]
    {
        assert!(text.lines().any(|line| line == section), "no section `{section}` in\n{text}");
    }
    let line = |begin: &str| {
        text.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("no `{begin}` in\n{text}"))
    };
    let score: f64 = line("prediction  ").split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!((0.0..=1.0).contains(&score), "{score}");
    assert_eq!(line("re-scored:"), "re-scored: same bits");
    assert!(line("demo finished in ").ends_with('s'));

    // What it says to try works as it stands.
    let next: Vec<&str> = text.lines().skip_while(|line| *line != "try next").skip(1).map(str::trim).collect();
    assert_eq!(next.len(), 3, "{next:?}");
    for line in next {
        assert!(line.starts_with(PELTON), "{line}");
        let output = std::process::Command::new("sh").arg("-c").arg(line).current_dir(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{line}\n{}", stderr(&output));
    }

    // Its unit tests pass, where its warehouse is and stays as it was, and where there is none and none is made.
    let project = folder.path().join("demo");
    let before = files(&project);
    let tested = pelton(&project, &["test"]);
    assert_eq!(tested.status.code(), Some(0), "{}{}", stdout(&tested), stderr(&tested));
    assert_eq!(files(&project), before);
    std::fs::rename(project.join("warehouse"), folder.path().join("warehouse")).unwrap();
    let tested = pelton(&project, &["test"]);
    assert_eq!(tested.status.code(), Some(0), "{}{}", stdout(&tested), stderr(&tested));
    assert!(!project.join("warehouse").exists());
    std::fs::rename(folder.path().join("warehouse"), project.join("warehouse")).unwrap();

    // The steps of its README do what stands beside them.
    let readme = std::fs::read_to_string(project.join("README.md")).unwrap();
    let steps = readme.split("cd fraud-demo\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let mut runs = Vec::new();
    for line in steps.lines() {
        let output = shell(&project, line).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{line}\n{}", stderr(&output));
        if line.starts_with("pelton run") {
            runs.push(stdout(&output));
        }
    }
    assert!(runs[0].starts_with("skipped ") && runs[0].contains("nothing new is published"), "{}", runs[0]);
    let built: Vec<&str> = runs[1].lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(built, ["built", "1", "channels"], "{}", runs[1]);

    let again = pelton(folder.path(), &arguments);
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
    assert!(!stderr(&again).contains("built"), "{}", stderr(&again));
    assert!(stdout(&again).contains("written by an earlier demo"), "{}", stdout(&again));
    assert!(stdout(&again).contains("re-scored: same bits"), "{}", stdout(&again));
    let other = pelton(folder.path(), &["demo", "--dir", "demo", "--rows", "30000"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(stderr(&other).starts_with("error[folder-not-empty]: folder `demo` is not empty\n"), "{}", stderr(&other));
}

#[test]
fn a_demo_for_programs_is_one_document() {
    let folder = tempfile::tempdir().unwrap();
    let json = |arguments: &[&str]| -> (Option<i32>, Value, String) {
        let output = pelton(folder.path(), &[&["demo", "--format", "json"], arguments].concat());
        let found = serde_json::from_str(&stdout(&output));
        let found = found.unwrap_or_else(|error| panic!("{error}: {}{}", stdout(&output), stderr(&output)));
        (output.status.code(), found, stderr(&output))
    };
    let (code, found, story) = json(&["--dir", "demo", "--rows", "20000"]);
    assert_eq!(code, Some(0), "{story}");
    assert!(story.contains("\nchecked tables\n") && story.contains("\ntry next\n"), "{story}");
    let of = |model: &str| found["metrics"][model]["average_precision"].as_f64().unwrap();
    assert!(of("fraud") > of("fraud_plain") && of("fraud_plain") > of("baseline"), "{found}");
    assert_eq!((&found["rows"], &found["seed"], &found["publication"]), (&20_000.into(), &42.into(), &1.into()));
    assert_eq!(found["prediction"]["receipt"], found["receipt"]["id"]);
    assert_eq!(found["prediction"]["score"], found["receipt"]["output"]["score"]);
    assert_eq!((&found["receipt"]["rescored"]["same_bits"], &found["listening"]), (&true.into(), &Value::Null));
    assert!(found["seconds"].as_f64().unwrap() > 0.0, "{found}");

    let (code, found, _) = json(&["--dir", "small", "--rows", "2000"]);
    assert_eq!((code, &found["prediction"], &found["receipt"]), (Some(1), &Value::Null, &Value::Null));
    let (code, found, _) = json(&["--dir", "demo", "--rows", "2000"]);
    assert_eq!((code, &found["errors"][0]["code"]), (Some(2), &"folder-not-empty".into()));
}

#[test]
fn a_demo_too_small_to_learn_from_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let output = pelton(folder.path(), &["demo", "--dir", "demo", "--rows", "2000"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("error[gate-not-met]: model `fraud`"), "{}", stderr(&output));
    assert!(stderr(&output).contains("pass a larger `--rows`"), "{}", stderr(&output));
}

/// Every file below a folder, with its size and the time of its last change.
fn files(folder: &Path) -> Vec<(PathBuf, u64, SystemTime)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let facts = entry.metadata().unwrap();
        match facts.is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push((entry.path(), facts.len(), facts.modified().unwrap())),
        }
    }
    found.sort();
    found
}
