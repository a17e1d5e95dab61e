//! Which files of a source are new, changed, gone or back, against those that a version took in.
//!
//! A file whose size and time are those that were noted is not read. What is read for its digest alone is read once: where the content is
//! what it was, the new time is noted. A time counts only when it was old enough as the file was looked at, because a file that changes
//! twice within one tick of the clock of its file system has one time for two contents.

use crate::context::{Context, reports};
use crate::source::Read;
use pelton_base::{Digest, Reports, VersionId};
use pelton_ingest::{IngestError, InputFile};
use pelton_project::{Node, Source};
use pelton_store::{InputKey, SourceFile, Warehouse};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// How far times of files are apart where a time is a whole second: file systems that keep no fractions, of which FAT is the coarsest.
const COARSE_TICK_US: i64 = 2_000_000;

/// The same where it is not: the clocks of operating systems tick each 1 to 16 ms.
const FINE_TICK_US: i64 = 100_000;

/// A moment before files are opened. It is the machine's, as their times are, whatever clock a run was given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recency(i64);

impl Recency {
    pub(crate) fn now() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Recency(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
    }

    /// Whether a file was modified so shortly before this moment that a change after it may have left the same time.
    pub(crate) fn holds_for(self, file: &InputFile) -> bool {
        let tick = if file.modified_us % 1_000_000 == 0 { COARSE_TICK_US } else { FINE_TICK_US };
        file.modified_us > self.0.saturating_sub(tick)
    }
}

/// Whether size and time alone say that a file is what was taken in.
pub(crate) fn is_surely(taken: &SourceFile, file: &InputFile) -> bool {
    !taken.is_recent && taken.bytes == file.bytes && taken.modified_us == file.modified_us
}

/// The digest of a file's content, which is read once a command unless it was modified just now.
pub(crate) fn digest_of(warehouse: &Warehouse, file: &InputFile) -> Result<Digest, IngestError> {
    let noted: InputKey = (file.path.clone(), file.bytes, file.modified_us);
    if let Some(digest) = warehouse.input_digest(&noted) {
        return Ok(digest);
    }
    let recency = Recency::now();
    let digest = pelton_ingest::digest_file(file)?;
    if !recency.holds_for(file) {
        warehouse.note_input_digest(noted, digest);
    }
    Ok(digest)
}

/// The files of a source against those that a version took in.
pub(crate) struct Changes {
    /// Files that no version took in, in order.
    pub(crate) new: Vec<InputFile>,
    /// Files that were taken in with other content.
    pub(crate) changed: Vec<InputFile>,
    /// Files that are back, and whose kept rows are not those that reading them gives now.
    pub(crate) returned: Vec<InputFile>,
    /// What the version took in, unchanged or no longer there.
    pub(crate) kept: Vec<SourceFile>,
    /// All files there are.
    pub(crate) all: Vec<InputFile>,
}

impl Changes {
    /// All files there are are new; of those that were taken in, the ones that are gone are kept.
    pub(crate) fn anew(ctx: &Context, node: &Node, source: &Source, taken: &[SourceFile]) -> Result<Self, Reports> {
        let all = listed(ctx, node, source, taken)?;
        let mut changes =
            Changes { new: Vec::new(), changed: Vec::new(), returned: Vec::new(), kept: taken.to_vec(), all };
        changes.read_all_again();
        Ok(changes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.new.is_empty() && self.changed.is_empty() && self.returned.is_empty()
    }

    /// The first of the files that are read.
    fn first(&self) -> Option<&str> {
        self.new.iter().chain(&self.changed).map(|file| file.path.as_str()).min()
    }

    fn paths(&self) -> HashSet<&str> {
        self.all.iter().map(|file| file.path.as_str()).collect()
    }

    /// Whether a row that stays or goes now would have gone or stayed, had all files come together: a kept file lies behind one that
    /// was read, and they share keys, or did before the file changed.
    pub(crate) fn order_matters(&self, read: &Read) -> bool {
        let Some(first) = self.first() else { return false };
        let mut later = self.kept.iter().filter(|kept| kept.path.as_str() > first).peekable();
        let shared = !self.changed.is_empty();
        later.peek().is_some() && (read.has_duplicates || shared && later.any(|kept| kept.quarantined > 0))
    }

    /// Lets the kept files behind the first one that is read be read as well. Those that are gone cannot be.
    pub(crate) fn read_later_ones_again(&mut self) {
        let Some(first) = self.first().map(str::to_string) else { return };
        let kept = std::mem::take(&mut self.kept);
        let present = self.paths();
        let (later, mut kept): (Vec<SourceFile>, Vec<SourceFile>) =
            kept.into_iter().partition(|kept| kept.path > first && present.contains(kept.path.as_str()));
        kept.iter_mut().filter(|kept| kept.path > first).for_each(|gone| gone.is_outdated = true);
        let later: HashSet<&str> = later.iter().map(|kept| kept.path.as_str()).collect();
        let again: Vec<InputFile> =
            self.all.iter().filter(|file| later.contains(file.path.as_str())).cloned().collect();
        self.new.extend(again);
        self.kept = kept;
    }

    /// Lets all files that there are be read; rows of files that are gone stay.
    pub(crate) fn read_all_again(&mut self) {
        self.kept = self.gone();
        self.new = self.all.clone();
        self.changed.clear();
        self.returned.clear();
    }

    /// Files whose rows stay although they are gone.
    pub(crate) fn gone(&self) -> Vec<SourceFile> {
        let present = self.paths();
        self.kept.iter().filter(|kept| !present.contains(kept.path.as_str())).cloned().collect()
    }

    /// Notes that files which are gone may have columns or types that only the old content of others needed, or rows with a key that
    /// an earlier one has.
    pub(crate) fn outdate_gone(&mut self) {
        let present: HashSet<&str> = self.all.iter().map(|file| file.path.as_str()).collect();
        let gone = self.kept.iter_mut().filter(|kept| !present.contains(kept.path.as_str()));
        gone.for_each(|gone| gone.is_outdated = true);
    }

    /// Why there is something to do.
    pub(crate) fn reason(&self) -> String {
        let of = [(&self.new, "new file"), (&self.changed, "changed file"), (&self.returned, "file that was gone")];
        let parts = of.iter().filter(|(files, _)| !files.is_empty()).map(|(files, what)| counted(what, files));
        parts.collect::<Vec<_>>().join(", ")
    }

    /// Why there is nothing to do.
    pub(crate) fn no_reason(&self) -> String {
        if self.all.is_empty() {
            return "all its files are gone, and their rows stay".into();
        }
        let unchanged = "its files are unchanged";
        match self.gone().as_slice() {
            [] => unchanged.into(),
            [gone] => format!("{unchanged}; `{}` is gone or not named any more, and its rows stay", gone.path),
            gone => format!("{unchanged}; {} are gone or not named any more, and their rows stay", gone.len()),
        }
    }
}

fn counted(what: &str, files: &[InputFile]) -> String {
    let more = match what {
        "file that was gone" => "files that were gone".to_string(),
        _ => format!("{what}s"),
    };
    match files.len() {
        1 => format!("1 {what}: `{}`", files[0].path),
        count => format!("{count} {more}, first `{}`", files[0].path),
    }
}

/// The files that a source's path names: none, where those that it named were taken in and all of them are gone.
fn listed(ctx: &Context, node: &Node, source: &Source, taken: &[SourceFile]) -> Result<Vec<InputFile>, Reports> {
    match pelton_ingest::list(source, node, &ctx.project.root) {
        Err(found) if all_gone(&found, source, &ctx.project.root, taken) => Ok(Vec::new()),
        listed => listed,
    }
}

fn all_gone(found: &Reports, source: &Source, root: &Path, taken: &[SourceFile]) -> bool {
    found.0.iter().all(|report| report.code == "empty-glob")
        && taken.iter().any(|file| pelton_ingest::is_named(source, root, &file.path))
}

/// Compares the files there are with those that `version` took in; content is read only where size or time differ.
pub(crate) fn changes(
    ctx: &Context,
    node: &Node,
    source: &Source,
    version: Option<&VersionId>,
) -> Result<Changes, Reports> {
    let state = ctx.warehouse.state();
    let mut taken = match version {
        Some(version) => state.source_files(version).map_err(reports)?,
        None => Vec::new(),
    };
    let all = listed(ctx, node, source, &taken)?;
    let places: HashMap<String, usize> = taken.iter().enumerate().map(|(at, file)| (file.path.clone(), at)).collect();
    let (mut new, mut changed, mut returned, mut replaced) = (Vec::new(), Vec::new(), Vec::new(), HashSet::new());
    let mut has_new_times = false;
    for file in &all {
        let Some(&at) = places.get(&file.path) else {
            new.push(file.clone());
            continue;
        };
        let known = &mut taken[at];
        if known.is_outdated {
            returned.push(file.clone());
            replaced.insert(at);
        } else if !is_surely(known, file) {
            let recency = Recency::now();
            if digest_of(&ctx.warehouse, file).map_err(IngestError::into_reports)? != known.digest {
                changed.push(file.clone());
                replaced.insert(at);
            } else if !recency.holds_for(file) {
                (known.modified_us, known.is_recent, has_new_times) = (file.modified_us, false, true);
            }
        }
    }
    if let Some(version) = version.filter(|_| has_new_times) {
        // Where it cannot be noted, the files are read again by the next command.
        let _ = state.record_source_files(version, &taken);
    }
    let kept = taken.into_iter().enumerate().filter(|(at, _)| !replaced.contains(at)).map(|(_, file)| file).collect();
    Ok(Changes { new, changed, returned, kept, all })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pelton_project::model::FileFormat;

    fn modified(modified_us: i64) -> InputFile {
        InputFile {
            path: "data/a.csv".into(),
            absolute: "a.csv".into(),
            bytes: 1,
            modified_us,
            format: FileFormat::Csv,
            compression: pelton_ingest::Compression::None,
            text: None,
        }
    }

    #[test]
    fn a_time_counts_when_it_is_older_than_a_tick_of_its_file_system() {
        let looked_at = Recency(10_000_000);
        assert!(looked_at.holds_for(&modified(9_950_001)));
        assert!(!looked_at.holds_for(&modified(9_850_001)));
        assert!(looked_at.holds_for(&modified(9_000_000)), "a whole second may be all that the file system keeps");
        assert!(!looked_at.holds_for(&modified(8_000_000)));
        assert!(looked_at.holds_for(&modified(11_000_001)), "a time to come says nothing");
    }
}
