//! The columns that a source has before it is read, for `check` and for the typing that begins a run.

use crate::context::reports;
use crate::source::{known_columns, settings_digest, untyped_of};
use crate::source_files;
use pelton_base::{Digest, Report, Reports};
use pelton_ingest::{IngestError, InputFile, KeySet, Known};
use pelton_project::model::ContractRule;
use pelton_project::{Node, Source};
use pelton_store::{ColumnType, SourceFile, Warehouse};
use std::collections::{HashMap, HashSet};
use std::path::Path;

use arrow::datatypes::{DataType, SchemaRef};

/// How many rows of each file are looked at to type columns that nobody declared, before the source was ever read.
const SAMPLE_ROWS: u64 = 1000;

/// What the newest version of a source was read from, and how.
#[derive(Default)]
pub(crate) struct Recorded {
    columns: Vec<ColumnType>,
    untyped: Vec<String>,
    files: Vec<SourceFile>,
    has_settings: bool,
}

impl Recorded {
    /// Of the newest version, published or not; nothing when there is none.
    pub(crate) fn newest(warehouse: &Warehouse, node: &Node, source: &Source) -> Result<Self, Reports> {
        let state = warehouse.state();
        let heads = state.version_heads_of(&node.name).map_err(reports)?;
        let Some(head) = heads.into_iter().find(|head| head.kind == "source") else { return Ok(Recorded::default()) };
        let Some(version) = state.version(&head.id).map_err(reports)? else {
            return Ok(Recorded::default());
        };
        let settings = version.detail.get("settings").and_then(|value| value.as_str()).and_then(Digest::parse);
        Ok(Recorded {
            untyped: untyped_of(&version),
            columns: version.columns,
            files: state.source_files(&head.id).map_err(reports)?,
            has_settings: settings == Some(settings_digest(source)),
        })
    }

    /// Whether the next run reads all files as if for the first time, or may: one of them is not what it was.
    fn begins_anew(&self, files: &[InputFile], warehouse: &Warehouse) -> bool {
        let paths: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
        if self.files.iter().any(|taken| !paths.contains(taken.path.as_str())) {
            return false;
        }
        let taken: HashMap<&str, &SourceFile> = self.files.iter().map(|file| (file.path.as_str(), file)).collect();
        let differs = |file: &InputFile| {
            let Some(taken) = taken.get(file.path.as_str()) else { return false };
            taken.is_outdated
                || !source_files::is_surely(taken, file)
                    && source_files::digest_of(warehouse, file).is_ok_and(|digest| digest != taken.digest)
        };
        !self.has_settings || files.iter().any(differs)
    }

    /// How many of the files that were taken in are named by the source's path; those of a path that it had before are not.
    pub(crate) fn files_named(&self, root: &Path, source: &Source) -> usize {
        self.files.iter().filter(|file| pelton_ingest::is_named(source, root, &file.path)).count()
    }
}

/// Why a node has no types.
pub(crate) enum Untyped {
    /// Files of the project are wrong.
    Project(Reports),
    /// The project may be right: what is wrong, the files of a source show.
    Files(Reports),
}

impl From<Reports> for Untyped {
    fn from(mistakes: Reports) -> Self {
        Untyped::Project(mistakes)
    }
}

impl Untyped {
    /// Of a source that was never taken in.
    fn of_source(source: &Source, mistakes: Reports) -> Self {
        let declares = |name: &str| source.columns.iter().any(|column| column.name.value == name);
        let is_of_files = |report: &Report| match report.code {
            "invalid-value" => false,
            // Where nothing is declared, the files alone say which columns there are, and of which types.
            "unknown-column" => source.columns.is_empty(),
            "type-mismatch" => source.time.as_ref().is_none_or(|time| !declares(&time.value)),
            _ => true,
        };
        match mistakes.0.iter().filter(|report| report.is_error()).all(is_of_files) {
            true => Untyped::Files(mistakes),
            false => Untyped::Project(mistakes),
        }
    }
}

/// The columns of a source before it is read: those of its last version with what new files add, else declared ones and those of a sample of
/// its files. Where a file that was taken in changed, what it had does not count: it may have been a mistake.
pub(crate) fn columns_of(
    (root, warehouse): (&Path, Option<&Warehouse>),
    node: &Node,
    source: &Source,
    recorded: &Recorded,
) -> Result<SchemaRef, Untyped> {
    let look = pelton_ingest::Look { threads: 1, sample_rows: Some(SAMPLE_ROWS) };
    let resolved = |files: &[InputFile], columns: Vec<(String, DataType)>| {
        let known = Known { columns, keys: KeySet::default() };
        pelton_ingest::resolve_schema(source, node, files, &known, look).map_err(IngestError::into_reports)
    };
    let files = pelton_ingest::list(source, node, root);
    if recorded.columns.is_empty() {
        let found = match files {
            Ok(files) => resolved(&files, Vec::new()),
            // A project can be checked before its data is there, when the source says what it will be.
            Err(reports) if source.columns.is_empty() => Err(reports),
            Err(_) => resolved(&[], Vec::new()),
        };
        return found.map_err(|mistakes| Untyped::of_source(source, mistakes));
    }
    let known = || known_columns(&recorded.columns, &recorded.untyped);
    let mut files = files.unwrap_or_default();
    // What is wrong with a file is told by the run that reads it.
    let found = match warehouse.is_some_and(|warehouse| recorded.begins_anew(&files, warehouse)) {
        true => resolved(&files, Vec::new()),
        false => {
            let taken: HashSet<&str> = recorded.files.iter().map(|taken| taken.path.as_str()).collect();
            files.retain(|file| !taken.contains(file.path.as_str()));
            let adds = source.contract.columns == ContractRule::Evolve && !files.is_empty();
            if adds { resolved(&files, known()) } else { resolved(&[], known()) }
        }
    };
    found.or_else(|_| resolved(&[], known())).map_err(Untyped::Project)
}
