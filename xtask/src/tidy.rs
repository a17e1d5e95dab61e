//! The rules of ARCHITECTURE.md and of how the code reads, as checks over the working tree.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// The layer of each crate; a crate depends on lower layers only. `testkit` is a dev-dependency only.
const LAYERS: [(&str, u8); 16] = [
    ("base", 0),
    ("project", 1),
    ("query", 1),
    ("learn", 1),
    ("demo", 1),
    ("store", 2),
    ("ingest", 3),
    ("quality", 3),
    ("features", 3),
    ("train", 3),
    ("serve", 3),
    ("runner", 4),
    ("engine", 4),
    ("api", 5),
    ("cli", 6),
    ("pelton", 7),
];

/// Files that are longer than this grew two subjects.
const LINES_MAX: usize = 700;

/// Crates of the engine room, which only `engine` names.
const ENGINE_ROOM: [&str; 3] = ["datafusion", "deltalake", "ballista"];

/// Crates of which a second version in the lock file costs minutes and breaks types.
const SINGLE: [&str; 6] = ["arrow", "arrow-array", "parquet", "datafusion", "object_store", "deltalake-core"];

/// Everything that is out of order, a line each.
pub fn check(root: &Path) -> Vec<String> {
    let sources = rust_files(root);
    let mut broken = Vec::new();
    broken.extend(layers(root));
    broken.extend(single_versions(root));
    broken.extend(sources.iter().flat_map(|(path, text)| file_rules(path, text)));
    broken.extend(codes_without_case(root, &sources));
    broken
}

fn rust_files(root: &Path) -> BTreeMap<PathBuf, String> {
    let folders = ["crates", "xtask", "bench"];
    folders
        .iter()
        .flat_map(|folder| WalkDir::new(root.join(folder)))
        .filter_map(Result::ok)
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|entry| {
            let text = fs::read_to_string(entry.path()).ok()?;
            Some((entry.path().strip_prefix(root).ok()?.to_path_buf(), text))
        })
        .collect()
}

fn layers(root: &Path) -> Vec<String> {
    let layer: BTreeMap<&str, u8> = LAYERS.into();
    let mut broken = Vec::new();
    for entry in fs::read_dir(root.join("crates")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(manifest) = fs::read_to_string(entry.path().join("Cargo.toml")) else { continue };
        if name == "testkit" {
            continue;
        }
        let Some(own) = layer.get(name.as_str()) else {
            broken.push(format!("crates/{name}: has no layer in xtask/src/tidy.rs"));
            continue;
        };
        for dependency in normal_dependencies(&manifest) {
            let ours = dependency.strip_prefix("pelton-").unwrap_or_default();
            if layer.get(ours).is_some_and(|other| other >= own) || ours == "testkit" {
                broken.push(format!("crates/{name}: depends on `{dependency}`, which is not below it"));
            }
            if name != "engine" && ENGINE_ROOM.iter().any(|engine| dependency.starts_with(engine)) {
                broken.push(format!("crates/{name}: names `{dependency}`; only `engine` may"));
            }
        }
    }
    broken
}

/// The names under `[dependencies]`.
fn normal_dependencies(manifest: &str) -> Vec<&str> {
    let section = manifest.split("\n[dependencies]").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    section
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .collect()
}

fn single_versions(root: &Path) -> Vec<String> {
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    SINGLE
        .iter()
        .filter(|name| lock.matches(&format!("name = \"{name}\"\n")).count() != 1)
        .map(|name| format!("Cargo.lock: not exactly one version of `{name}`"))
        .collect()
}

fn file_rules(path: &Path, text: &str) -> Vec<String> {
    let place = path.display();
    let mut broken = Vec::new();
    if !text.starts_with("//!") {
        broken.push(format!("{place}: does not open with `//!`"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        broken.push(format!("{place}: {lines} lines, more than {LINES_MAX}"));
    }
    let is_own = path.starts_with("xtask");
    for (number, line) in text.lines().enumerate() {
        let unfinished = ["todo!(", "unimplemented!(", "FIXME", "XXX"].iter().any(|word| line.contains(word));
        if !is_own && unfinished {
            broken.push(format!("{place}:{}: unfinished: {}", number + 1, line.trim()));
        }
        if !is_own && line.contains("#[ignore") && !line.contains("= \"") {
            broken.push(format!("{place}:{}: ignored without a reason", number + 1));
        }
    }
    broken
}

/// Report codes that no test mentions.
fn codes_without_case(root: &Path, sources: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let Some(table) = sources.get(Path::new("crates/base/src/codes.rs")) else {
        return vec!["crates/base/src/codes.rs: is missing".into()];
    };
    let mut tests: String = sources.iter().filter_map(|(path, text)| test_part(path, text)).collect();
    for entry in WalkDir::new(root.join("crates/pelton/tests")).into_iter().filter_map(Result::ok) {
        tests.push_str(&fs::read_to_string(entry.path()).unwrap_or_default());
    }
    table
        .lines()
        .filter_map(|line| {
            let mut words = line.trim().strip_prefix('"')?.splitn(2, '"');
            let (code, rest) = (words.next()?, words.next()?);
            let kind = rest.split_whitespace().next()?;
            (kind.starts_with(char::is_uppercase) && kind.chars().all(char::is_alphabetic)).then_some(code)
        })
        .filter(|code| !tests.contains(code))
        .map(|code| format!("crates/base/src/codes.rs: no test has a case of `{code}`"))
        .collect()
}

/// A file's tests: all of a file in a `tests` folder, else what follows `mod tests`.
fn test_part<'a>(path: &Path, text: &'a str) -> Option<&'a str> {
    if path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs") {
        return Some(text);
    }
    text.find("mod tests {").map(|at| &text[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_find_what_breaks_them() {
        assert_eq!(file_rules(Path::new("crates/a/src/a.rs"), "//! A.\n").len(), 0);
        assert_eq!(file_rules(Path::new("crates/a/src/a.rs"), "fn a() { todo!() }\n").len(), 2);
        let long = format!("//! A.\n{}", "\n".repeat(LINES_MAX));
        assert_eq!(file_rules(Path::new("crates/a/src/a.rs"), &long).len(), 1);
        let manifest = "[package]\nname = \"a\"\n\n[dependencies]\na-b.workspace = true\nc = \"1\"\n\n[dev-dependencies]\nd = \"1\"\n";
        assert_eq!(normal_dependencies(manifest), ["a-b", "c"]);
    }

    #[test]
    fn only_tests_count_as_cases() {
        let path = Path::new("crates/a/src/a.rs");
        assert_eq!(test_part(path, "code \"x\"\nmod tests { \"y\" }"), Some("mod tests { \"y\" }"));
        assert_eq!(test_part(path, "code"), None);
        assert_eq!(test_part(Path::new("crates/a/src/tests/b.rs"), "all"), Some("all"));
    }
}
