//! To whom every file of a warehouse belongs, found without Pelton: from the state database and the Delta logs alone.

use super::reader::open;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Files that are the warehouse itself.
const ITS_OWN: &[&str] = &["state.db", "state.db-wal", "state.db-shm", "run.lock", "types", "log/drain.lock"];

/// Paths and sizes of a list of files as the state database keeps it: JSON, in a zstd frame when it is long.
pub(crate) fn files(list: &[u8]) -> Vec<(String, u64)> {
    /// The first bytes of a zstd frame (RFC 8878).
    const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
    let list: Value = match list.starts_with(ZSTD) {
        true => serde_json::from_slice(&zstd::decode_all(list).unwrap()),
        false => serde_json::from_slice(list),
    }
    .expect("a list of files is JSON");
    let file = |file: &Value| (file["path"].as_str().unwrap().to_string(), file["bytes"].as_u64().unwrap());
    list.as_array().unwrap().iter().map(file).collect()
}

/// Files that nobody owns, and files that should be there and are not, or have another size; nothing in a sound warehouse.
pub(super) fn orphans(warehouse: &Path) -> Vec<String> {
    let db = open(warehouse).expect("the warehouse was written");
    let mut owned: BTreeMap<String, u64> = BTreeMap::new();
    let (mut details, mut ids) = (String::new(), BTreeSet::new());
    let mut statement = db
        .prepare("select v.node, v.id, b.files, b.quarantine, b.detail from versions v join version_bodies b on b.version = v.id")
        .unwrap();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (node, id): (String, String) = (row.get(0).unwrap(), row.get(1).unwrap());
        let of_version = files(row.get_ref(2).unwrap().as_blob().unwrap());
        owned.extend(of_version.into_iter().map(|(path, bytes)| (format!("tables/{node}/{path}"), bytes)));
        let quarantine = files(row.get_ref(3).unwrap().as_blob().unwrap());
        owned.extend(quarantine.into_iter().map(|(path, bytes)| (format!("quarantine/{path}"), bytes)));
        details.push_str(&row.get::<_, String>(4).unwrap());
        ids.insert(id);
    }
    let mut wrong = Vec::new();
    for (path, bytes) in &owned {
        let found = fs::metadata(warehouse.join(path)).map(|file| file.len()).ok();
        if found != Some(*bytes) {
            wrong.push(format!("{path}: {found:?} bytes, {bytes} were written"));
        }
    }
    for node in fs::read_dir(warehouse.join("tables")).into_iter().flatten().flatten() {
        let node = node.file_name().to_string_lossy().into_owned();
        let live = live(&warehouse.join("tables").join(&node).join("_delta_log")).expect("a log is mended before");
        // What other programs see of the table belongs to it, also where gc left no version of it.
        owned.extend(live.into_iter().map(|path| (format!("tables/{node}/{path}"), 0)));
    }
    for path in paths(warehouse, "") {
        let is_log_entry = path.rsplit_once("/_delta_log/").is_some_and(|(_, name)| {
            name.strip_suffix(".json").is_some_and(|number| number.len() == 20 && number.parse::<u64>().is_ok())
        });
        let is_artifact = path.starts_with("artifacts/") && details.contains(path.rsplit('/').next().unwrap());
        let is_online = path.starts_with("online/")
            && path
                .strip_suffix(".redb")
                .and_then(|stem| stem.rsplit_once('-'))
                .is_some_and(|(_, id)| ids.contains(id));
        // What a repair put aside is kept for people.
        let is_aside = path.contains("/_delta_log.damaged-");
        let is_segment = path.starts_with("log/") && path.ends_with(".segment") && !path.contains("/.");
        if !(ITS_OWN.contains(&path.as_str())
            || owned.contains_key(&path)
            || is_log_entry
            || is_artifact
            || is_online
            || is_segment
            || is_aside)
        {
            wrong.push(path);
        }
    }
    let staged: i64 = db.query_row("select count(*) from staging", [], |row| row.get(0)).unwrap();
    if staged > 0 {
        wrong.push(format!("{staged} notes of staged files"));
    }
    wrong
}

/// Which of the versions that `main` has published a Delta log may show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Showing {
    /// What is published now: when nothing is under way.
    Now,
    /// What is or was published: a log is written after its publication.
    Ever,
}

/// Delta logs that show what they may not; nothing in a sound warehouse. Their files are looked for too.
pub(crate) fn wrong_logs(warehouse: &Path, showing: Showing) -> Vec<String> {
    let mut wrong = Vec::new();
    for node in fs::read_dir(warehouse.join("tables")).into_iter().flatten().flatten() {
        let node = node.file_name().to_string_lossy().into_owned();
        if node == "pelton_predictions" {
            continue;
        }
        let folder = warehouse.join("tables").join(&node);
        let log = folder.join("_delta_log");
        // The log is read first: what it shows was published by then.
        let Some(live) = live(&log) else {
            // Nobody reads anything wrong in a log that cannot be read.
            if showing == Showing::Now {
                wrong.push(format!("the log of `{node}` cannot be read"));
            }
            continue;
        };
        let mut said = Vec::new();
        let published = published(warehouse, &node, showing);
        let may_be_empty = live.is_empty() && showing == Showing::Ever;
        if !published.contains(&live) && !may_be_empty {
            said.push(format!("the log of `{node}` shows {live:?}, published is {published:?}"));
        }
        let gone = live.iter().filter(|path| !folder.join(path).exists());
        said.extend(gone.map(|path| format!("the log of `{node}` shows {path}, which is not there")));
        // Who looks between two publications looks at what the newer one has left.
        if !said.is_empty() && self::live(&log).is_some_and(|again| again == live) {
            wrong.extend(said);
        }
    }
    wrong
}

/// The files of each version of a node that `main` has or had. A node that left keeps its log; one that was never there has no files.
fn published(warehouse: &Path, node: &str, showing: Showing) -> Vec<BTreeSet<String>> {
    let Some(db) = open(warehouse) else { return Vec::new() };
    let condition = if showing == Showing::Now { " and e.until is null" } else { "" };
    let sql = format!(
        "select b.files from environment_nodes e join version_bodies b on b.version = e.version
         where e.environment = 'main' and e.node = ?{condition}"
    );
    let mut statement = db.prepare(&sql).unwrap();
    let mut rows = statement.query([node]).unwrap();
    let mut all = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        all.push(files(row.get_ref(0).unwrap().as_blob().unwrap()).into_iter().map(|(path, _)| path).collect());
    }
    match (all.is_empty(), showing) {
        (false, _) => all,
        (true, Showing::Now) => published(warehouse, node, Showing::Ever),
        (true, Showing::Ever) => vec![BTreeSet::new()],
    }
}

/// Nodes of publications of which their run has decided nothing: each node of a run of the whole project, else each that changed.
pub(super) fn undecided(warehouse: &Path) -> Vec<String> {
    let db = open(warehouse).expect("the warehouse was written");
    let sql = "select p.id || ' ' || e.node from publications p join runs r on r.id = p.run
                 join environment_nodes e on e.environment = p.environment
                 where ((r.command like 'pelton run%' and e.since <= p.id and (e.until is null or e.until > p.id))
                        or e.since = p.id or e.until = p.id)
                   and not exists (select 1 from decisions d where d.run = p.run and d.node = e.node)";
    let mut statement = db.prepare(sql).unwrap();
    let found = statement.query_map([], |row| row.get(0)).unwrap();
    found.map(Result::unwrap).collect()
}

/// The files that a Delta log's newest version has; `None` when it cannot be read.
pub(crate) fn live(log: &Path) -> Option<BTreeSet<String>> {
    let mut names: Vec<_> = fs::read_dir(log).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    names.sort();
    let mut live = BTreeSet::new();
    for path in names.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "json")) {
        for line in fs::read_to_string(path).ok()?.lines() {
            let action: Value = serde_json::from_str(line).ok()?;
            if let Some(path) = action["add"]["path"].as_str() {
                live.insert(path.to_string());
            }
            if let Some(path) = action["remove"]["path"].as_str() {
                live.remove(path);
            }
        }
    }
    Some(live)
}

/// All files below a folder, relative to it.
fn paths(folder: &Path, within: &str) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{within}{}", entry.file_name().to_string_lossy());
        match entry.path().is_dir() {
            true => all.extend(paths(&entry.path(), &format!("{name}/"))),
            false => all.push(name),
        }
    }
    all
}
