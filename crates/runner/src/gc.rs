//! Removes what nobody needs: publications beyond the retention rule, the versions that only they had, and their files.
//!
//! First it is found what is needed and for whom, then what is left is named, and only with [`GcOptions::remove`] it goes: the
//! state database forgets it in one transaction, then the files are deleted. A file belongs to whatever names it (a recorded
//! version, the newest Delta commit, an artifact's version), so one that several versions share stays with the last of them, and
//! what a killed gc or run left is found by the next gc, because nothing names it any more.

use crate::context::{Context, reports};
use crate::refusal::{self, By};
use crate::retry;
use pelton_base::fail::{self, Point};
use pelton_base::{Digest, NodeName, Report, Reports, RunId, VersionId, format_time_us, thousands};
use pelton_serve::{abandoned_segments, hold_drain, logged_versions, predictions_table};
use pelton_store::{PublicationHead, RunLock, RunRecord, VersionLinks};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// For how long readers of the prediction table may go on with files that a merge replaced. No version counts these files, so
/// their age is all there is to go by.
const READERS_GRACE: Duration = Duration::from_secs(3600);

/// What to keep, and whether to remove the rest.
#[derive(Debug, Clone)]
pub struct GcOptions {
    /// How long what was replaced is kept, microseconds; the project's setting when absent.
    pub keep_us: Option<i64>,
    /// How many publications of each environment are kept whatever their age; the project's setting when absent.
    pub publications: Option<u64>,
    /// Whether to remove it; else it is only named.
    pub remove: bool,
    /// The environment of the command, for the record.
    pub environment: String,
    /// The command as typed, for the record.
    pub command: String,
}

/// A publication whose map is removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OldPublication {
    /// Its number.
    pub publication: i64,
    /// The environment.
    pub environment: String,
    /// When it was published, RFC 3339.
    pub published_at: String,
    /// When the next one replaced it, RFC 3339.
    pub replaced_at: String,
}

/// A version that is removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OldVersion {
    /// The node.
    pub node: NodeName,
    /// `source`, `table` or `model`.
    pub kind: String,
    /// The version.
    pub version: VersionId,
    /// When it was built, RFC 3339.
    pub built_at: String,
    /// Its rows, unless it is a view; of a model, the examples.
    pub rows: Option<u64>,
    /// Why nobody needs it.
    pub why: String,
}

/// A file that is removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OldFile {
    /// Its path, relative to the warehouse.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// The version that it was of; absent when nothing recorded names it.
    pub version: Option<VersionId>,
}

/// For whom versions are kept. A version counts once, for the first of these.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// In a publication that is kept.
    pub by_publication: u64,
    /// Named by a prediction in the log.
    pub by_receipt: u64,
    /// Built so recently that the retention rule keeps it.
    pub by_age: u64,
    /// What one of the others was built from.
    pub by_input: u64,
}

/// What gc found, and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct Collected {
    /// Whether it was removed; else it was only named.
    pub removed: bool,
    /// The run that this was, when something was removed.
    pub run: Option<RunId>,
    /// How long what was replaced is kept, in seconds.
    pub keep_seconds: i64,
    /// How many publications of each environment are kept whatever their age.
    pub keep_publications: u64,
    /// Publications whose map goes.
    pub publications: Vec<OldPublication>,
    /// Versions that go.
    pub versions: Vec<OldVersion>,
    /// Files that go.
    pub files: Vec<OldFile>,
    /// Their size together.
    pub bytes: u64,
    /// What stays, and for whom.
    pub kept: Kept,
    /// What there is to say.
    pub reports: Reports,
}

impl Collected {
    /// Whether there is nothing to remove.
    pub fn is_empty(&self) -> bool {
        self.publications.is_empty() && self.versions.is_empty() && self.files.is_empty()
    }
}

/// Finds what nobody needs, and removes it when told to.
pub async fn gc(ctx: &Context, options: &GcOptions) -> Result<Collected, Reports> {
    let state = ctx.warehouse.state();
    let lock = refusal::lock(ctx, By { environment: &options.environment, command: &options.command })?;
    let retention = &ctx.project.settings.retention;
    let rule = Rule {
        keep_us: options.keep_us.unwrap_or(retention.keep_us),
        publications: options.publications.unwrap_or(retention.publications),
        now_us: ctx.now_us(),
    };
    let mut heads = Vec::new();
    for environment in state.environments().map_err(reports)? {
        heads.extend(state.publications(&environment).map_err(reports)?);
    }
    let old = rule.old_publications(&heads);
    let links = state.version_links().map_err(reports)?;
    let needed = needed(ctx, &rule, &heads, &old, &links).await?;
    let mut collected = Collected {
        removed: false,
        run: None,
        keep_seconds: rule.keep_us / 1_000_000,
        keep_publications: rule.publications,
        versions: links.iter().filter(|link| !needed.versions.contains(&link.head.id)).map(old_version).collect(),
        publications: old,
        files: Vec::new(),
        bytes: 0,
        kept: needed.kept,
        reports: Reports::default(),
    };
    let kept: Vec<&VersionLinks> = links.iter().filter(|link| needed.versions.contains(&link.head.id)).collect();
    // Until the files are gone: what nobody names now, whoever drains next may name again.
    let hold = match ctx.warehouse.root().join(predictions_folder(ctx)).exists() {
        true => hold_drain(&ctx.warehouse)?,
        false => None,
    };
    let versions = links.iter().map(|link| &link.head.id).collect();
    let mut files = Files { ctx, found: Vec::new(), versions, holds_predictions: hold.is_some() };
    files.of_tables(&kept)?;
    files.of_predictions(&mut collected.reports)?;
    files.of_quarantine(&needed.versions)?;
    files.of_artifacts(&kept, &links)?;
    files.of_online(&needed.versions)?;
    files.half_written()?;
    collected.files = files.found;
    collected.bytes = collected.files.iter().map(|file| file.bytes).sum();
    if options.remove && !collected.is_empty() {
        remove(ctx, options, &lock, &mut collected).await?;
    }
    drop(hold);
    Ok(collected)
}

/// The folder of the table of predictions, in the warehouse.
fn predictions_folder(ctx: &Context) -> String {
    let place = predictions_table(&ctx.warehouse);
    format!("tables/{}", place.0.trim_end_matches('/').rsplit('/').next().unwrap_or_default())
}

/// The retention rule at a moment.
struct Rule {
    keep_us: i64,
    publications: u64,
    now_us: i64,
}

impl Rule {
    fn is_recent(&self, at_us: i64) -> bool {
        at_us > self.now_us.saturating_sub(self.keep_us)
    }

    /// Publications that are not in force, not among the newest of their environment, and were replaced long enough ago.
    ///
    /// `heads` has each environment's publications together, newest first.
    fn old_publications(&self, heads: &[PublicationHead]) -> Vec<OldPublication> {
        let mut old = Vec::new();
        let mut newer: Option<&PublicationHead> = None;
        let mut standing = 0;
        for head in heads {
            let replaced = newer.filter(|newer| newer.environment == head.environment);
            newer = Some(head);
            standing = if replaced.is_some() { standing } else { 0 };
            if head.removed_at_us.is_some() {
                continue;
            }
            standing += 1;
            let Some(replaced) = replaced else { continue };
            if standing > self.publications.max(1) && !self.is_recent(replaced.at_us) {
                old.push(OldPublication {
                    publication: head.id,
                    environment: head.environment.clone(),
                    published_at: format_time_us(head.at_us),
                    replaced_at: format_time_us(replaced.at_us),
                });
            }
        }
        old
    }
}

struct Needed {
    versions: HashSet<VersionId>,
    kept: Kept,
}

/// The versions that somebody needs.
async fn needed(
    ctx: &Context,
    rule: &Rule,
    heads: &[PublicationHead],
    old: &[OldPublication],
    links: &[VersionLinks],
) -> Result<Needed, Reports> {
    let going: BTreeSet<i64> = old.iter().map(|old| old.publication).collect();
    let mut standing: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for head in heads.iter().filter(|head| head.removed_at_us.is_none() && !going.contains(&head.id)) {
        standing.entry(&head.environment).or_default().push(head.id);
    }
    let mut needed = Needed { versions: HashSet::new(), kept: Kept::default() };
    let known: HashMap<&VersionId, &VersionLinks> = links.iter().map(|link| (&link.head.id, link)).collect();
    for range in ctx.warehouse.state().version_ranges().map_err(reports)? {
        let covers = |id: &&i64| **id >= range.since && range.until.is_none_or(|until| **id < until);
        let is_kept = standing.get(range.environment.as_str()).is_some_and(|ids| ids.iter().any(|id| covers(&id)));
        if is_kept && needed.versions.insert(range.version) {
            needed.kept.by_publication += 1;
        }
    }
    for (_, version) in logged_versions(ctx.engine.as_ref(), &ctx.warehouse).await? {
        if known.contains_key(&version) && needed.versions.insert(version) {
            needed.kept.by_receipt += 1;
        }
    }
    for link in links.iter().filter(|link| rule.is_recent(link.head.built_at_us)) {
        if needed.versions.insert(link.head.id.clone()) {
            needed.kept.by_age += 1;
        }
    }
    // A receipt leads from a model through everything that it was built from, so that stays with it. A version of the same node
    // is what an incremental build went on from, not what a reader of the result asks for.
    let mut open: Vec<VersionId> = needed.versions.iter().cloned().collect();
    while let Some(version) = open.pop() {
        let Some(link) = known.get(&version) else { continue };
        for (node, input) in &link.inputs {
            if *node != link.head.node && known.contains_key(input) && needed.versions.insert(input.clone()) {
                needed.kept.by_input += 1;
                open.push(input.clone());
            }
        }
    }
    Ok(needed)
}

fn old_version(link: &VersionLinks) -> OldVersion {
    let head = &link.head;
    OldVersion {
        node: head.node.clone(),
        kind: head.kind.clone(),
        version: head.id.clone(),
        built_at: format_time_us(head.built_at_us),
        rows: head.rows_known(),
        why:
            "in no publication that is kept, named by no logged prediction, and nothing that is kept was built from it"
                .into(),
    }
}

/// The files that nothing names.
struct Files<'a> {
    ctx: &'a Context,
    found: Vec<OldFile>,
    /// Every version that is recorded, those that go included.
    versions: HashSet<&'a VersionId>,
    /// Whether nobody changes the table of predictions meanwhile.
    holds_predictions: bool,
}

impl Files<'_> {
    /// Data files of nodes: named by a version that is kept, or by the newest commit of the Delta table.
    fn of_tables(&mut self, kept: &[&VersionLinks]) -> Result<(), Reports> {
        let tables = self.ctx.warehouse.root().join("tables");
        let predictions = predictions_table(&self.ctx.warehouse);
        for name in names_in(&tables)? {
            let node = NodeName::new(&name);
            if self.ctx.warehouse.table(&node) == predictions {
                continue;
            }
            let mut named = self.named_by_delta(&node)?;
            for link in kept.iter().filter(|link| link.head.node == node) {
                let version = crate::catalog::load(self.ctx, &link.head.id)?;
                named.extend(version.files.iter().map(|file| file.path.clone()));
            }
            self.unnamed(&format!("tables/{name}"), "part-", &named, &HashSet::new())?;
        }
        Ok(())
    }

    /// Files of the prediction log's table: a merge leaves the ones that it replaced.
    fn of_predictions(&mut self, said: &mut Reports) -> Result<(), Reports> {
        let folder = predictions_folder(self.ctx);
        let place = self.ctx.warehouse.root().join(&folder);
        if !place.exists() {
            return Ok(());
        }
        if !self.holds_predictions {
            let report =
                Report::warning("state-locked", "the prediction log is being taken in, so its table was left as it is");
            said.push(report.hint("pelton gc"));
            return Ok(());
        }
        let named = self.named_by_delta(&NodeName::new(folder.trim_start_matches("tables/")))?;
        let candidates = paths_in(&place, "part-")?;
        let unnamed: HashSet<String> =
            candidates.into_iter().map(|(name, ..)| name).filter(|name| !named.contains(name)).collect();
        let protected = recently_replaced(&place.join("_delta_log"), &unnamed)?;
        self.unnamed(&folder, "part-", &named, &protected)
    }

    fn named_by_delta(&self, node: &NodeName) -> Result<HashSet<String>, Reports> {
        if !self.ctx.warehouse.table_dir(node).join("_delta_log").exists() {
            return Ok(HashSet::new());
        }
        // The engine only reads a log here; nothing else waits on this thread.
        let files = pelton_store::wait(self.ctx.engine.files(&self.ctx.warehouse.table(node), None));
        let files = files.map_err(|error| error.report(&format!("the Delta log of `{node}`")))?;
        Ok(files.map(|files| files.files.into_iter().map(|file| file.path).collect()).unwrap_or_default())
    }

    fn of_quarantine(&mut self, needed: &HashSet<VersionId>) -> Result<(), Reports> {
        let mut named = HashSet::new();
        let each = |version: &VersionId, path: &str| {
            if needed.contains(version) {
                named.insert(path.to_string());
            }
        };
        self.ctx.warehouse.state().each_quarantine_file(each).map_err(reports)?;
        self.unnamed("quarantine", "rows-", &named, &HashSet::new())
    }

    /// Models, packages and cards: named by the detail of a version that is kept.
    fn of_artifacts(&mut self, kept: &[&VersionLinks], all: &[VersionLinks]) -> Result<(), Reports> {
        let named: HashSet<Digest> = kept.iter().flat_map(|link| link.artifacts.iter().copied()).collect();
        let owner: HashMap<Digest, &VersionId> =
            all.iter().flat_map(|link| link.artifacts.iter().map(|digest| (*digest, &link.head.id))).collect();
        let root = self.ctx.warehouse.root().join("artifacts");
        for folder in names_in(&root)? {
            for (name, bytes, _) in paths_in(&root.join(&folder), "")? {
                // A name with a dot is of an artifact that was being written when its process died.
                let digest = Digest::parse(&name);
                if digest.is_some_and(|digest| named.contains(&digest)) || (digest.is_none() && !name.starts_with('.'))
                {
                    continue;
                }
                let version = digest.and_then(|digest| owner.get(&digest)).map(|id| (*id).clone());
                self.found.push(OldFile { path: format!("artifacts/{folder}/{name}"), bytes, version });
            }
        }
        Ok(())
    }

    /// Online stores: each is of one version.
    fn of_online(&mut self, needed: &HashSet<VersionId>) -> Result<(), Reports> {
        for (name, bytes, _) in paths_in(&self.ctx.warehouse.root().join("online"), "")? {
            let Some((stem, ending)) = name.split_once('.') else { continue };
            let version = stem.rsplit_once('-').map(|(_, version)| VersionId(version.to_string()));
            // A partial one is of a run that died while it built it.
            let is_needed = ending == "redb" && version.as_ref().is_some_and(|id| needed.contains(id));
            if is_needed || !["redb", "redb.partial"].contains(&ending) {
                continue;
            }
            let version = version.filter(|id| self.versions.contains(id));
            self.found.push(OldFile { path: format!("online/{name}"), bytes, version });
        }
        Ok(())
    }

    /// What is written beside its place and was not put into it, because its process died in between.
    fn half_written(&mut self) -> Result<(), Reports> {
        let root = self.ctx.warehouse.root().to_path_buf();
        let mut found = |folder: &str, is_left: &dyn Fn(&str) -> bool| -> Result<(), Report> {
            for (name, bytes, _) in paths_in(&root.join(folder), "")? {
                if is_left(&name) {
                    let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                    self.found.push(OldFile { path, bytes, version: None });
                }
            }
            Ok(())
        };
        // Where another command is just writing its own, it finds the types again; nobody else may commit to a log now.
        found("", &|name| name.strip_prefix("types.").is_some_and(|pid| pid.parse::<u32>().is_ok()))?;
        let predictions = predictions_table(&self.ctx.warehouse);
        for name in names_in(&root.join("tables"))? {
            let is_predictions = self.ctx.warehouse.table(&NodeName::new(&name)) == predictions;
            if !is_predictions || self.holds_predictions {
                found(&format!("tables/{name}/_delta_log"), &|name| {
                    name.contains('#') || (name.starts_with("_commit_") && name.ends_with(".tmp"))
                })?;
            }
        }
        for name in abandoned_segments(&self.ctx.warehouse)? {
            found("log", &|file| file == name)?;
        }
        Ok(())
    }

    /// Files of a folder whose names Pelton gave, and that nothing names any more.
    fn unnamed(
        &mut self,
        folder: &str,
        prefix: &str,
        named: &HashSet<String>,
        protected: &HashSet<String>,
    ) -> Result<(), Reports> {
        for (name, bytes, _) in paths_in(&self.ctx.warehouse.root().join(folder), prefix)? {
            if named.contains(&name) || protected.contains(&name) {
                continue;
            }
            // `part-VERSION-0.parquet`, `rows-VERSION-f0-0.parquet`.
            let id = name.split('-').nth(1).map(|id| id.split('.').next().unwrap_or(id).to_string()).map(VersionId);
            let version = id.filter(|id| self.versions.contains(id));
            self.found.push(OldFile { path: format!("{folder}/{name}"), bytes, version });
        }
        Ok(())
    }
}

/// Files among `names` that a commit of the last hour took out of the table: a reader may have begun before it.
fn recently_replaced(log: &Path, names: &HashSet<String>) -> Result<HashSet<String>, Report> {
    let mut protected = HashSet::new();
    if names.is_empty() {
        return Ok(protected);
    }
    for (name, _, modified) in paths_in(log, "")? {
        let age = modified.and_then(|at| SystemTime::now().duration_since(at).ok()).unwrap_or_default();
        if !name.ends_with(".json") || age > READERS_GRACE {
            continue;
        }
        let path = log.join(&name);
        let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
        protected.extend(names.iter().filter(|name| text.contains(name.as_str())).cloned());
    }
    Ok(protected)
}

/// Names, sizes and times of the files in a folder whose names begin with `prefix`, by name.
fn paths_in(folder: &Path, prefix: &str) -> Result<Vec<(String, u64, Option<SystemTime>)>, Report> {
    let mut found = Vec::new();
    for entry in entries(folder)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Ok(metadata) = entry.metadata()
            && metadata.is_file()
            && name.starts_with(prefix)
        {
            found.push((name, metadata.len(), metadata.modified().ok()));
        }
    }
    found.sort();
    Ok(found)
}

/// Names of the folders in a folder.
fn names_in(folder: &Path) -> Result<Vec<String>, Report> {
    let entries = entries(folder)?.into_iter().filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

fn entries(folder: &Path) -> Result<Vec<std::fs::DirEntry>, Report> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.collect::<Result<_, _>>().map_err(|error| unreadable(folder, &error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(unreadable(folder, &error)),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Report {
    Report::error("unreadable-file", format!("cannot read `{}`", path.display())).note(format!("the reason: {error}"))
}

/// Forgets, then deletes. A kill in between leaves files that nothing names, which the next gc finds.
async fn remove(ctx: &Context, options: &GcOptions, lock: &RunLock, collected: &mut Collected) -> Result<(), Reports> {
    let state = ctx.warehouse.state();
    let run = RunId::fresh(ctx.now_us());
    let record = RunRecord {
        id: run.clone(),
        environment: options.environment.clone(),
        started_at_us: ctx.now_us(),
        command: options.command.clone(),
        pid: std::process::id(),
    };
    retry::quietly(ctx, || state.begin_run(&record).map_err(reports)).await?;
    collected.run = Some(run.clone());
    let publications: Vec<i64> = collected.publications.iter().map(|old| old.publication).collect();
    let versions: Vec<VersionId> = collected.versions.iter().map(|old| old.version.clone()).collect();
    fail::after(Point::GcForget);
    let forgotten = || state.forget(lock, ctx.now_us(), &publications, &versions).map_err(reports);
    retry::quietly(ctx, forgotten).await?;
    collected.removed = true;
    let mut left: Vec<(PathBuf, std::io::Error)> = Vec::new();
    for file in &collected.files {
        let path = ctx.warehouse.root().join(&file.path);
        match fail::before(Point::GcFile).and_then(|()| std::fs::remove_file(path)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => left.push((file.path.clone().into(), error)),
            _ => {}
        }
    }
    if let Some((path, error)) = left.first() {
        let message =
            format!("{} files could not be deleted, first `{}`", thousands(left.len() as u64), path.display());
        let report = Report::error("unreadable-file", message).note(format!("the reason: {error}"));
        collected.reports.push(report.note("nothing names them any more, so the next `pelton gc` finds them"));
    }
    let summary = serde_json::to_value(&*collected)
        .map_err(|error| Report::error("internal", format!("the outcome cannot be written: {error}")))?;
    let ended = || state.finish_run(&run, ctx.now_us(), "nothing", None, &summary).map_err(reports);
    retry::quietly(ctx, ended).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_US: i64 = 86_400_000_000;

    /// Publications of environments, newest first, as (number, environment, day).
    fn old(rule: &Rule, publications: &[(i64, &str, i64)]) -> Vec<i64> {
        let heads: Vec<PublicationHead> = publications
            .iter()
            .map(|(id, environment, day)| PublicationHead {
                id: *id,
                environment: (*environment).into(),
                run: RunId("r".into()),
                at_us: day * DAY_US,
                nodes: 1,
                restores: None,
                removed_at_us: None,
            })
            .collect();
        rule.old_publications(&heads).into_iter().map(|old| old.publication).collect()
    }

    #[test]
    fn a_publication_is_old_when_it_was_replaced_long_ago_and_newer_ones_are_enough() {
        let rule = |publications| Rule { keep_us: 30 * DAY_US, publications, now_us: 100 * DAY_US };
        let history = [(9, "main", 99), (7, "main", 80), (5, "main", 60), (3, "main", 10), (1, "main", 1)];
        // 5 was in force until day 80, so somebody may have read it 20 days ago.
        assert_eq!(old(&rule(1), &history), [3, 1]);
        assert_eq!(old(&rule(4), &history), [1]);
        assert_eq!(old(&rule(9), &history), Vec::<i64>::new());
        // What is in force is kept whatever its age, in every environment.
        assert_eq!(old(&rule(1), &[(4, "main", 2), (2, "main", 1), (3, "try", 2)]), [2]);
        assert_eq!(old(&Rule { keep_us: 0, ..rule(0) }, &history), [7, 5, 3, 1]);
    }
}
