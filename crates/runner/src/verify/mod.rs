//! Looks at everything a warehouse has and says what is not as it was written; repairs what can be repaired without guessing.
//!
//! What is looked at: the state database (pages, indexes, references, records), the files of all versions and of their quarantine,
//! models and cards, the Delta logs against the records, the online stores that published models need, and the table of predictions.
//! With [`VerifyOptions::rows`] every file is read, and the digests of its bytes and of its table's rows are computed anew.
//!
//! The run lock is held meanwhile, so that nothing moves. How each finding is repaired stands with [`Remedy`]; what has none is named with
//! what to do.

mod repair;

use crate::context::{Context, reports};
use crate::refusal::{self, By};
use crate::{catalog, logs, serving};
use pelton_base::{Digest, Digester, NodeName, Report, Reports, RunId, VersionId, thousands};
use pelton_features::OnlineStore;
use pelton_project::{Body, Build};
use pelton_query::{Catalog, DataFile, QueryError, TableFiles, sql};
use pelton_serve::predictions_table;
use pelton_store::{StoreError, TableDigest, VersionHead, VersionLinks, VersionRecord, to_stored};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

/// The fingerprint of a version whose files are lost: nothing is ever made from it, so the next run makes the version anew.
pub(crate) const LOST: Digest = Digest(0);

/// How many findings a report names; the answer has all.
const NAMED_MAX: usize = 5;

/// What to look at, and whether to repair it.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// Whether to repair what can be repaired.
    pub repair: bool,
    /// Whether to read all rows of all tables.
    pub rows: bool,
    /// The environment of the command, for the record.
    pub environment: String,
    /// The command as typed, for the record.
    pub command: String,
}

/// What helps against a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remedy {
    /// The indexes of the state database are made anew from its tables.
    Reindex,
    /// The version that is recorded is committed to the Delta log again; a log that cannot be read is put aside.
    Commit,
    /// The online store is made anew from its table.
    Build,
    /// The version is marked as lost, and the next run builds it again from what it reads.
    Rebuild,
    /// Only a copy of what was there helps.
    Restore,
}

/// What became of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Became {
    /// It was only named.
    Found,
    /// It is as it was written again.
    Repaired,
    /// The next run builds it again.
    Marked,
    /// It could not be repaired.
    Left,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `state`, `file`, `rows`, `artifact`, `delta`, `online` or `predictions`.
    pub what: &'static str,
    /// The node.
    pub node: Option<NodeName>,
    /// The version.
    pub version: Option<VersionId>,
    /// The file or folder, relative to the warehouse.
    pub path: String,
    /// What is wrong with it, as the end of a sentence.
    pub problem: String,
    /// What helps.
    pub remedy: Remedy,
    /// What became of it.
    pub became: Became,
}

/// What was looked at, and what was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verified {
    /// Versions.
    pub versions: u64,
    /// Their files, those of their quarantine included.
    pub files: u64,
    /// The size of these.
    pub bytes: u64,
    /// Rows that were read; none unless asked for.
    pub rows: u64,
    /// Models, packages and cards.
    pub artifacts: u64,
    /// Delta logs.
    pub logs: u64,
    /// Online stores.
    pub online: u64,
    /// What is not as it was written.
    pub findings: Vec<Finding>,
    /// Versions that lost something and were replaced since; only earlier publications have them.
    pub replaced: u64,
    /// The run that the repair was.
    pub run: Option<RunId>,
    /// What there is to say.
    pub reports: Reports,
}

impl Verified {
    /// 0 when all is as it was written, or was repaired; else 1.
    pub fn exit_code(&self) -> u8 {
        self.reports.exit_code()
    }
}

/// Whether a version was found to have lost its files.
pub(crate) fn is_lost(head: &VersionHead) -> bool {
    head.fingerprint == LOST
}

/// Why a node is built again whose version is lost.
pub(crate) fn lost_reason(head: &VersionHead) -> String {
    format!("files of its version {} are lost (`pelton verify`)", head.id)
}

/// Looks at everything, and repairs what can be repaired when told to.
pub async fn verify(ctx: &Context, options: &VerifyOptions) -> Result<Verified, Reports> {
    let state = ctx.warehouse.state();
    let lock = refusal::lock(ctx, By { environment: &options.environment, command: &options.command })?;
    let mut look = Look { ctx, verified: Verified::default(), published: BTreeSet::new() };
    look.state()?;
    for environment in state.environments().map_err(reports)? {
        look.published.extend(state.heads(&environment).map_err(reports)?.into_iter().map(|head| head.id));
    }
    let links = match state.version_links() {
        Ok(links) => links,
        Err(error) => {
            look.found("state", None, "state.db", error.to_string(), Remedy::Restore);
            Vec::new()
        }
    };
    for link in &links {
        look.version(link, options.rows).await?;
    }
    look.logs(&links).await?;
    look.online()?;
    look.predictions().await?;
    let mut verified = look.verified;
    if options.repair && !verified.findings.is_empty() {
        repair::repair(ctx, options, &lock, &links, &mut verified).await?;
    }
    let report = report(&verified.findings, options);
    verified.reports.extend(Reports(report.into_iter().collect()));
    Ok(verified)
}

/// What there is to say of findings; nothing when there are none, or none is left.
fn report(findings: &[Finding], options: &VerifyOptions) -> Option<Report> {
    let open: Vec<&Finding> =
        findings.iter().filter(|finding| matches!(finding.became, Became::Found | Became::Left)).collect();
    let run = match options.environment.as_str() {
        "main" => "pelton run".to_string(),
        environment => format!("pelton run --env {environment}"),
    };
    if open.is_empty() {
        let marked = findings.iter().filter(|finding| finding.became == Became::Marked).count();
        return (marked > 0).then(|| {
            let message = match marked {
                1 => "1 finding is mended by the next run".to_string(),
                _ => format!("{} findings are mended by the next run", thousands(marked as u64)),
            };
            Report::warning("damage-found", message).hint(run)
        });
    }
    let things = if open.len() == 1 { "thing in the warehouse is" } else { "things in the warehouse are" };
    let message = format!("{} {things} not as written", thousands(open.len() as u64));
    let mut report = Report::error("damage-found", message);
    for finding in open.iter().take(NAMED_MAX) {
        report = report.note(format!("{} {}", finding.path, finding.problem));
    }
    if open.len() > NAMED_MAX {
        report = report.note(format!("and {} more", thousands((open.len() - NAMED_MAX) as u64)));
    }
    if !options.repair && open.iter().any(|finding| finding.remedy != Remedy::Restore) {
        // What only reading the rows finds, only reading them repairs.
        report = report.hint(if options.rows { "pelton verify --repair --rows" } else { "pelton verify --repair" });
    }
    if open.iter().any(|finding| finding.remedy == Remedy::Restore) {
        report = report.hint("restore what is named from a copy of the warehouse");
    }
    Some(report)
}

/// The look at everything.
struct Look<'a> {
    ctx: &'a Context,
    verified: Verified,
    /// What environments stand at.
    published: BTreeSet<VersionId>,
}

impl Look<'_> {
    fn found(&mut self, what: &'static str, head: Option<&VersionHead>, path: &str, problem: String, remedy: Remedy) {
        let (node, version) = (head.map(|head| head.node.clone()), head.map(|head| head.id.clone()));
        let path = path.to_string();
        let became = if head.is_some_and(is_lost) { Became::Marked } else { Became::Found };
        self.verified.findings.push(Finding { what, node, version, path, problem, remedy, became });
    }

    fn state(&mut self) -> Result<(), Reports> {
        let problems = self.ctx.warehouse.state().problems().map_err(reports)?;
        for (problem, is_of_index) in problems {
            let remedy = if is_of_index { Remedy::Reindex } else { Remedy::Restore };
            self.found("state", None, "state.db", format!("is damaged: {problem}"), remedy);
        }
        Ok(())
    }

    /// A version's record, its files and artifacts.
    async fn version(&mut self, link: &VersionLinks, rows: bool) -> Result<(), Reports> {
        let head = &link.head;
        self.verified.versions += 1;
        if is_lost(head) && !self.published.contains(&head.id) {
            self.verified.replaced += 1;
            return Ok(());
        }
        let version = match catalog::load(self.ctx, &head.id) {
            Ok(version) => version,
            Err(report) => {
                self.found("state", Some(head), "state.db", report.message, Remedy::Restore);
                return Ok(());
            }
        };
        let before = self.verified.findings.len();
        let folder = format!("tables/{}", head.node);
        let all = [(folder.as_str(), version.files.as_slice()), ("quarantine", version.quarantine.as_slice())];
        for (folder, files) in all {
            for file in files {
                self.file(head, folder, file, rows);
            }
        }
        if head.kind == "model" {
            for digest in &link.artifacts {
                self.verified.artifacts += 1;
                if let Err(error) = self.ctx.warehouse.artifacts().get(*digest) {
                    let problem = match &error {
                        StoreError::DamagedArtifact { reason, .. } => reason.clone(),
                        other => other.to_string(),
                    };
                    let path = format!("artifacts/{}/{digest}", &digest.to_string()[..2]);
                    self.found("artifact", Some(head), &path, problem, Remedy::Rebuild);
                }
            }
        }
        let is_sound = self.verified.findings.len() == before;
        if rows && is_sound && !version.files.is_empty() {
            self.rows(head, &version).await?;
        }
        if is_lost(head) && is_sound {
            // Somebody restored its files. A run that builds it again does no harm.
            self.found("file", Some(head), &folder, "was lost, and is there again".into(), Remedy::Rebuild);
        }
        Ok(())
    }

    /// What helps against a version that lost something: to build it again, unless it has seen what nothing tells again.
    fn remedy(&self, head: &VersionHead) -> Remedy {
        let body = self.ctx.project.nodes.get(&head.node).map(|node| &node.body);
        match body {
            Some(Body::Table(table)) if table.build == Build::History && table.time.is_none() => Remedy::Restore,
            _ => Remedy::Rebuild,
        }
    }

    fn file(&mut self, head: &VersionHead, folder: &str, file: &DataFile, whole: bool) {
        self.verified.files += 1;
        self.verified.bytes += file.bytes;
        let path = format!("{folder}/{}", file.path);
        let place = self.ctx.warehouse.root().join(&path);
        // What says how many rows there are, and between which values, decides as much as the rows.
        let changed = || file.digest.filter(|_| whole).and_then(|digest| changed(&place, digest));
        if let Some(problem) = damage(&place, file.bytes).or_else(changed) {
            self.found("file", Some(head), &path, problem, self.remedy(head));
        }
    }

    /// Reads all rows of a version.
    async fn rows(&mut self, head: &VersionHead, version: &VersionRecord) -> Result<(), Reports> {
        let folder = format!("tables/{}", head.node);
        match digest_of(self.ctx, version).await {
            Ok((digest, rows)) => {
                self.verified.rows += rows;
                if digest != version.digest {
                    let problem = format!("has rows with digest {digest}, and {} were written", version.digest);
                    self.found("rows", Some(head), &folder, problem, self.remedy(head));
                }
            }
            Err(error @ (QueryError::Storage { .. } | QueryError::DiskFull | QueryError::Memory { .. })) => {
                return Err(error.report(&format!("version {} of `{}`", head.id, head.node)).into());
            }
            // They were read when they were checked.
            Err(_) => {
                self.found("rows", Some(head), &folder, "has rows that cannot be read".into(), self.remedy(head));
            }
        }
        Ok(())
    }

    /// Each Delta log against what `main` has published of its table, and where that is nothing, against what is recorded.
    async fn logs(&mut self, links: &[VersionLinks]) -> Result<(), Reports> {
        let wanted = logs::wanted(self.ctx)?;
        let mut by_node: BTreeMap<&NodeName, Vec<&VersionHead>> = BTreeMap::new();
        for link in links.iter().filter(|link| link.head.delta_version.is_some()) {
            by_node.entry(&link.head.node).or_default().push(&link.head);
        }
        for node in wanted.keys() {
            by_node.entry(node).or_default();
        }
        for (node, heads) in by_node {
            self.verified.logs += 1;
            let path = format!("tables/{node}/_delta_log");
            let found = self.ctx.engine.files(&self.ctx.warehouse.table(node), None).await;
            let problem = match found {
                Ok(Some(files)) => self.disagreement(node, wanted.get(node), &heads, &files)?,
                Ok(None) => Some("is missing".to_string()),
                Err(QueryError::Damaged { .. }) => Some("cannot be read".to_string()),
                Err(error) => return Err(error.report(&format!("the Delta log of `{node}`")).into()),
            };
            if let Some(problem) = problem {
                let (node, version) = (Some(node.clone()), None);
                let (what, remedy, became) = ("delta", Remedy::Commit, Became::Found);
                self.verified.findings.push(Finding { what, node, version, path, problem, remedy, became });
            }
        }
        Ok(())
    }

    /// How a Delta log differs from the version that `main` has published; where there is none, from every recorded version, unless
    /// gc has forgotten the one that it shows.
    fn disagreement(
        &self,
        node: &NodeName,
        wanted: Option<&VersionHead>,
        heads: &[&VersionHead],
        found: &TableFiles,
    ) -> Result<Option<String>, Report> {
        let shown: BTreeSet<&str> = found.files.iter().map(|file| file.path.as_str()).collect();
        let shows = |head: &VersionHead| {
            let version = catalog::load(self.ctx, &head.id);
            // A record that cannot be read is a finding already.
            version.map_or(true, |version| {
                version.files.iter().map(|file| file.path.as_str()).collect::<BTreeSet<_>>() == shown
            })
        };
        let is_as_wanted = match wanted {
            Some(wanted) => shows(wanted),
            None => heads.iter().rev().any(|head| shows(head)),
        };
        if is_as_wanted {
            return Ok(None);
        }
        let folder = self.ctx.warehouse.table_dir(node);
        let foreign = found.files.iter().find(|file| !is_ours(&file.path));
        let gone = found.files.iter().find_map(|file| Some((file, damage(&folder.join(&file.path), file.bytes)?)));
        Ok(match (foreign, gone, wanted) {
            (Some(file), ..) => Some(format!("names `{}`, which Pelton did not write", file.path)),
            (None, Some((file, problem)), _) => Some(format!("names `{}`, which {problem}", file.path)),
            (None, None, Some(wanted)) => {
                Some(format!("does not show version {}, which `main` has published", wanted.id))
            }
            (None, None, None) => None,
        })
    }

    /// The online stores that the models of all environments look up.
    fn online(&mut self) -> Result<(), Reports> {
        let state = self.ctx.warehouse.state();
        for environment in state.environments().map_err(reports)? {
            let Some(current) = state.current(&environment).map_err(reports)? else { continue };
            // A package that cannot be read is a finding already.
            let Ok(wanted) = serving::wanted_online(self.ctx, &current.nodes) else { continue };
            for (id, lookup) in wanted {
                let path = self.ctx.warehouse.online_path(&lookup.table, &id);
                let name = format!("online/{}-{id}.redb", lookup.table);
                if self.verified.findings.iter().any(|finding| finding.path == name) {
                    continue;
                }
                self.verified.online += 1;
                let problem = match OnlineStore::open(&path) {
                    Ok(_) => continue,
                    Err(_) if !path.exists() => "is missing".to_string(),
                    Err(error) => error.report("it").notes.first().cloned().unwrap_or_else(|| "is damaged".into()),
                };
                let problem = problem.rsplit(": ").next().unwrap_or_default().to_string();
                let (what, remedy, became) = ("online", Remedy::Build, Became::Found);
                let (node, version) = (Some(lookup.table), Some(id));
                self.verified.findings.push(Finding { what, node, version, path: name, problem, remedy, became });
            }
        }
        Ok(())
    }

    /// The table of predictions: nobody else has its rows.
    async fn predictions(&mut self) -> Result<(), Reports> {
        let place = predictions_table(&self.ctx.warehouse);
        let Some(name) = place.0.trim_end_matches('/').rsplit('/').next().map(str::to_string) else { return Ok(()) };
        let folder = format!("tables/{name}");
        match self.ctx.engine.files(&place, None).await {
            Ok(found) => {
                for file in found.map(|found| found.files).unwrap_or_default() {
                    self.verified.files += 1;
                    self.verified.bytes += file.bytes;
                    let path = format!("{folder}/{}", file.path);
                    if let Some(problem) = damage(&self.ctx.warehouse.root().join(&path), file.bytes) {
                        self.found("predictions", None, &path, problem, Remedy::Restore);
                    }
                }
            }
            Err(QueryError::Damaged { .. }) => {
                let path = format!("{folder}/_delta_log");
                self.found("predictions", None, &path, "cannot be read".into(), Remedy::Restore);
            }
            Err(error) => return Err(error.report("the table of predictions").into()),
        }
        Ok(())
    }
}

/// Whether a data file's name is one that Pelton gives: `part-`, a version, and more.
fn is_ours(path: &str) -> bool {
    let version = path.strip_prefix("part-").and_then(|rest| rest.split(['-', '.']).next()).unwrap_or_default();
    version.len() == 12 && version.chars().all(|c| c.is_ascii_hexdigit())
}

/// The digest and the number of the rows that a version has now.
async fn digest_of(ctx: &Context, version: &VersionRecord) -> Result<(Digest, u64), QueryError> {
    let internal = |error: StoreError| QueryError::Internal { message: error.to_string() };
    let Some(relation) = catalog::relation(ctx, version) else { return Ok((version.digest, 0)) };
    let name = version.node.to_string();
    let catalog = Catalog::default().with(name.clone(), relation);
    let mut stream = ctx.engine.query(&catalog, &format!("select * from {}", sql::ident(&name))).await?;
    let mut digest = TableDigest::new(&version.schema()).map_err(internal)?;
    while let Some(batch) = futures::StreamExt::next(&mut stream.batches).await {
        digest.add(&to_stored(&batch?).map_err(internal)?).map_err(internal)?;
    }
    let rows = digest.rows();
    Ok((digest.finish(), rows))
}

/// What is wrong with a Parquet file, as far as its size and its ends tell, as the end of a sentence.
fn damage(path: &Path, bytes: u64) -> Option<String> {
    const MARK: &[u8; 4] = b"PAR1";
    let look = || -> std::io::Result<Option<String>> {
        let mut file = File::open(path)?;
        let found = file.metadata()?.len();
        if found != bytes {
            return Ok(Some(format!("has {} bytes, and {} were written", thousands(found), thousands(bytes))));
        }
        let (mut head, mut tail) = ([0; 4], [0; 4]);
        file.read_exact(&mut head)?;
        file.seek(SeekFrom::End(-4))?;
        file.read_exact(&mut tail)?;
        Ok((&head != MARK || &tail != MARK).then(|| "is not what was written".to_string()))
    };
    match look() {
        Ok(problem) => problem,
        Err(error) if error.kind() == ErrorKind::NotFound => Some("is missing".into()),
        Err(error) => Some(format!("cannot be read: {}", error.kind())),
    }
}

/// What is wrong with a file whose bytes have another digest, as the end of a sentence.
fn changed(path: &Path, wanted: Digest) -> Option<String> {
    const READ_BYTES: usize = 1 << 20;
    let look = || -> std::io::Result<Digest> {
        let (mut file, mut digester, mut bytes) = (File::open(path)?, Digester::default(), vec![0; READ_BYTES]);
        loop {
            match file.read(&mut bytes)? {
                0 => return Ok(digester.finish()),
                count => digester.add(&bytes[..count]),
            }
        }
    };
    match look() {
        Ok(digest) => (digest != wanted).then(|| "is not what was written".to_string()),
        Err(error) => Some(format!("cannot be read: {}", error.kind())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_pelton_gives_are_told_from_others() {
        for (name, is_of_pelton) in [
            ("part-0123456789ab-0.parquet", true),
            ("part-0123456789ab-f12-0.parquet", true),
            ("part-00000-5f0c8a1e-1111-2222-3333-444455556666-c000.snappy.parquet", false),
            ("0-5f0c8a1e-0.parquet", false),
        ] {
            assert_eq!(is_ours(name), is_of_pelton, "{name}");
        }
    }
}
