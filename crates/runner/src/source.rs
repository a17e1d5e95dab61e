//! A source becomes a version: new and changed files are read, the rows of unchanged ones are kept as they are.

use crate::context::Context;
use crate::run::Building;
use crate::stage;
use crate::{catalog, fingerprint, narrow, replay, verify};
use pelton_base::{Digest, NodeName, Report, Reports, VersionId};
use pelton_ingest::{FileCounts, IngestError, InputFile, Intake, KeySet, Known, Rejected, Sink, TakeIn};
use pelton_project::model::ContractRule;
use pelton_project::{Node, Source};
use pelton_query::{BatchStream, Commit, DataFile, sql};
use pelton_store::{ColumnType, SourceFile, StageWriter, TableDigest, VersionHead, VersionRecord, Warehouse};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, SchemaRef};

/// The files of a source against those that a version took in.
pub(crate) struct Changes {
    /// Files that no version took in, in order.
    pub(crate) new: Vec<InputFile>,
    /// Files that were taken in with other content.
    pub(crate) changed: Vec<InputFile>,
    /// What the version took in, unchanged or no longer there.
    pub(crate) kept: Vec<SourceFile>,
    /// All files there are.
    pub(crate) all: Vec<InputFile>,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.new.is_empty() && self.changed.is_empty()
    }

    /// The first of the files that are read.
    fn first(&self) -> Option<&str> {
        self.new.iter().chain(&self.changed).map(|file| file.path.as_str()).min()
    }

    /// Whether a row that stays or goes now would have gone or stayed, had all files come together: a kept file lies behind one that
    /// was read, and they share keys, or did before the file changed.
    fn order_matters(&self, read: &Read) -> bool {
        let Some(first) = self.first() else { return false };
        let mut later = self.kept.iter().filter(|kept| kept.path.as_str() > first).peekable();
        let shared = !self.changed.is_empty();
        later.peek().is_some() && (read.has_duplicates || shared && later.any(|kept| kept.quarantined > 0))
    }

    /// Lets the kept files behind the first one that is read be read as well.
    fn read_later_ones_again(&mut self) {
        let Some(first) = self.first().map(str::to_string) else { return };
        let (later, kept): (Vec<SourceFile>, Vec<SourceFile>) = std::mem::take(&mut self.kept)
            .into_iter()
            .partition(|kept| kept.path > first && self.all.iter().any(|file| file.path == kept.path));
        let is_later = |file: &&InputFile| later.iter().any(|kept| kept.path == file.path);
        self.new.extend(self.all.iter().filter(is_later).cloned());
        self.kept = kept;
    }

    /// Lets all files that there are be read; rows of files that are gone stay.
    fn read_all_again(&mut self) {
        let present: BTreeSet<&str> = self.all.iter().map(|file| file.path.as_str()).collect();
        self.kept.retain(|kept| !present.contains(kept.path.as_str()));
        self.new = self.all.clone();
        self.changed.clear();
    }

    /// Files whose rows stay although they are gone.
    pub(crate) fn gone(&self) -> Vec<SourceFile> {
        let is_gone = |kept: &&SourceFile| self.all.iter().all(|file| file.path != kept.path);
        self.kept.iter().filter(is_gone).cloned().collect()
    }

    /// Why there is something to do.
    pub(crate) fn reason(&self) -> String {
        let mut parts = Vec::new();
        if !self.new.is_empty() {
            parts.push(counted(self.new.len(), "new file", &self.new));
        }
        if !self.changed.is_empty() {
            parts.push(counted(self.changed.len(), "changed file", &self.changed));
        }
        parts.join(", ")
    }
}

fn counted(count: usize, what: &str, files: &[InputFile]) -> String {
    match count {
        1 => format!("1 {what}: `{}`", files[0].path),
        _ => format!("{count} {what}s, first `{}`", files[0].path),
    }
}

/// Compares the files there are with those that `version` took in; content is read only where size or time differ.
pub(crate) fn changes(
    ctx: &Context,
    node: &Node,
    source: &Source,
    version: Option<&VersionId>,
) -> Result<Changes, Reports> {
    let all = pelton_ingest::list(source, node, &ctx.project.root)?;
    let mut known = match version {
        Some(version) => ctx.warehouse.state().source_files(version).map_err(crate::context::reports)?,
        None => Vec::new(),
    };
    let (mut new, mut changed) = (Vec::new(), Vec::new());
    for file in &all {
        match known.iter().position(|known| known.path == file.path) {
            None => new.push(file.clone()),
            Some(at) if known[at].bytes == file.bytes && known[at].modified_us == file.modified_us => {}
            Some(at) => {
                let digest = pelton_ingest::digest_file(file).map_err(IngestError::into_reports)?;
                if digest != known[at].digest {
                    known.remove(at);
                    changed.push(file.clone());
                }
            }
        }
    }
    Ok(Changes { new, changed, kept: known, all })
}

/// The fingerprint of the source with the files that it would have taken in; `None` when files are still to be read.
pub(crate) fn settings_digest(source: &Source) -> Digest {
    Digest::of(fingerprint::source_settings(source).as_bytes())
}

/// Whether a version was read with the settings that the source has now.
pub(crate) fn has_settings(ctx: &Context, head: &VersionHead, source: &Source) -> Result<bool, Report> {
    // One that lost its files is read again as under other settings.
    if verify::is_lost(head) {
        return Ok(false);
    }
    let version = catalog::load(ctx, &head.id)?;
    let recorded = version.detail.get("settings").and_then(|value| value.as_str()).and_then(Digest::parse);
    Ok(recorded == Some(settings_digest(source)))
}

/// Takes in what changed and commits the new version.
pub(crate) async fn build(
    building: &Building<'_>,
    node: &Node,
    source: &Source,
    previous: Option<&VersionHead>,
) -> Result<VersionRecord, Reports> {
    let ctx = building.ctx;
    // Other settings read the same files in another way: everything is taken in again.
    let same_settings = match previous {
        Some(head) => has_settings(ctx, head, source)?,
        None => false,
    };
    let repaired = match previous {
        Some(head) => ctx.warehouse.state().source_files(&head.id).map_err(crate::context::reports)?,
        None => Vec::new(),
    };
    let previous = previous.filter(|_| same_settings);
    let mut changes = changes(ctx, node, source, previous.map(|head| &head.id))?;
    let (mut columns, mut untyped) = match previous {
        Some(head) => {
            let version = catalog::load(ctx, &head.id)?;
            (version.columns.clone(), untyped_of(&version))
        }
        None => (Vec::new(), Vec::new()),
    };
    let mut said: Vec<Report> = changes.changed.iter().map(|file| changed_report(node, file)).collect();
    if !changes.changed.is_empty()
        && let Some(less) = narrow::look(ctx, node, source, &changes, (&columns, &untyped)).await?
    {
        said.push(narrow::report(node, &less));
        (columns, untyped) = narrow::columns(&less);
        changes.read_all_again();
    }
    let id = VersionId::of(&node.name, settings_digest(source), building.run);
    let mut read = read(building, node, source, &id, "", &changes, (&columns, &untyped)).await?;
    if !read.intake.widened.is_empty() && !changes.kept.is_empty() {
        // A wider type reads text that the narrower one had already changed (`007`): all files are read once more.
        for file in &read.files {
            stage::discard(ctx, &node.name, &file.data);
        }
        changes.read_all_again();
        columns = ColumnType::of(&read.intake.schema);
        read = self::read(building, node, source, &id, "-w", &changes, (&columns, &[])).await?;
    } else if !source.key.is_empty() && changes.order_matters(&read) {
        // Of rows with one key, the first in the order of the files stays, whenever each file came.
        for file in &read.files {
            stage::discard(ctx, &node.name, &file.data);
        }
        changes.read_later_ones_again();
        read = self::read(building, node, source, &id, "-o", &changes, (&columns, &untyped)).await?;
    }
    let schema = read.intake.schema.clone();
    let mut files = keep(building, node, &id, changes.kept, &schema).await?;
    files.extend(read.files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    replay::reapply(building, node, source, &id, repaired, (&mut files, &schema)).await?;
    let version = commit(building, node, source, id, (schema, read.intake.untyped), &files).await?;
    // Told when it is so: a file that cannot be read replaces nothing.
    said.into_iter().for_each(|report| building.warn(report));
    Ok(version)
}

fn changed_report(node: &Node, file: &InputFile) -> Report {
    Report::warning("changed-file", format!("`{}` changed since it was taken in", file.path))
        .note(format!("its rows of `{}` were replaced by those of the new content", node.name))
}

/// The columns of a version as the reader of files takes them. One that never had a value was stored as text, and still takes the type of
/// the first value that comes.
pub(crate) fn known_columns(columns: &[ColumnType], untyped: &[String]) -> Vec<(String, DataType)> {
    let schema = ColumnType::schema(columns);
    let type_of = |field: &Field| match untyped.contains(field.name()) {
        true => DataType::Null,
        false => field.data_type().clone(),
    };
    schema.fields().iter().map(|field| (field.name().clone(), type_of(field))).collect()
}

/// The columns of a version that nobody declared and that never had a value.
pub(crate) fn untyped_of(version: &VersionRecord) -> Vec<String> {
    let noted = version.detail.get("untyped").cloned().unwrap_or_default();
    serde_json::from_value(noted).unwrap_or_default()
}

struct Read {
    intake: Intake,
    files: Vec<SourceFile>,
    /// Whether a row had the key of another one.
    has_duplicates: bool,
}

async fn read(
    building: &Building<'_>,
    node: &Node,
    source: &Source,
    id: &VersionId,
    part: &str,
    changes: &Changes,
    (columns, untyped): (&[ColumnType], &[String]),
) -> Result<Read, Reports> {
    let ctx = building.ctx;
    let mut files: Vec<InputFile> = changes.new.iter().chain(&changes.changed).cloned().collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let known = Known {
        columns: known_columns(columns, untyped),
        keys: kept_keys(ctx, node, source, &changes.kept, columns).await?,
    };
    let options = TakeIn { threads: ctx.threads, ..TakeIn::default() };
    let mut sink = FileSink {
        ctx: ctx.clone(),
        node: node.name.clone(),
        id: id.clone(),
        part: part.to_string(),
        building: building.handle(),
        open: None,
        has_duplicates: false,
        done: Vec::new(),
    };
    let (node, source) = (node.clone(), source.clone());
    let taken = tokio::task::spawn_blocking(move || {
        let intake = pelton_ingest::take_in(&source, &node, &files, known, &mut sink, &options);
        (intake, sink)
    });
    let (intake, sink) = taken.await.map_err(|_| Report::error("internal", "the reader of files panicked"))?;
    match intake {
        Ok(intake) => Ok(Read { intake, has_duplicates: sink.has_duplicates, files: sink.done }),
        Err(error) => {
            sink.abort();
            Err(error.into_reports())
        }
    }
}

/// The keys of rows that stay, so that a new file cannot bring one of them again.
pub(crate) async fn kept_keys(
    ctx: &Context,
    node: &Node,
    source: &Source,
    kept: &[SourceFile],
    columns: &[ColumnType],
) -> Result<KeySet, Reports> {
    let mut keys = KeySet::default();
    if source.key.is_empty() || kept.is_empty() {
        return Ok(keys);
    }
    let names: Vec<String> = source.key.iter().map(|key| key.value.clone()).collect();
    let mut stream =
        rows_of(ctx, node, kept, &ColumnType::schema(columns), &sql::idents(names.iter().map(String::as_str))).await?;
    while let Some(batch) = futures::StreamExt::next(&mut stream.batches).await {
        let batch = batch.map_err(|error| error.report(&format!("source `{}`", node.name)))?;
        keys.insert_rows(&batch, &names).map_err(|name| {
            Report::error("unknown-column", format!("source `{}` has no column `{name}`", node.name))
        })?;
    }
    Ok(keys)
}

pub(crate) async fn rows_of(
    ctx: &Context,
    node: &Node,
    files: &[SourceFile],
    schema: &SchemaRef,
    what: &str,
) -> Result<BatchStream, Report> {
    let data: Vec<DataFile> = files.iter().flat_map(|file| file.data.clone()).collect();
    let catalog = pelton_query::Catalog::default()
        .with(node.name.to_string(), stage::relation(ctx, &node.name, schema.clone(), &data));
    let text = format!("select {what} from {}", sql::ident(node.name.as_str()));
    ctx.engine.query(&catalog, &text).await.map_err(|error| error.report(&format!("source `{}`", node.name)))
}

/// Files whose rows stay. Where the source got other columns, their digests are computed anew, and where a column got a wider
/// type, their rows are written anew, because other readers of the table expect one type a column.
async fn keep(
    building: &Building<'_>,
    node: &Node,
    id: &VersionId,
    kept: Vec<SourceFile>,
    schema: &SchemaRef,
) -> Result<Vec<SourceFile>, Report> {
    let columns = ColumnType::of(schema);
    let mut out = Vec::with_capacity(kept.len());
    for (at, mut file) in kept.into_iter().enumerate() {
        if file.columns != columns {
            let widened = file
                .columns
                .iter()
                .any(|had| columns.iter().any(|has| has.name == had.name && has.data_type != had.data_type));
            let files = std::slice::from_ref(&file);
            let mut stream = rows_of(building.ctx, node, files, schema, "*").await?;
            if widened {
                let part = format!("-k{at}");
                let (_, staged) = stage::stage(building.ctx, building.run, &node.name, id, &part, stream).await?;
                file.data = staged.files;
                file.rows_digest = staged.digest;
            } else {
                let mut digest = TableDigest::new(schema).map_err(|error| error.report())?;
                while let Some(batch) = futures::StreamExt::next(&mut stream.batches).await {
                    let batch = batch.map_err(|error| error.report(&format!("source `{}`", node.name)))?;
                    digest.add(&batch).map_err(|error| error.report())?;
                }
                file.rows_digest = digest.finish();
            }
            file.columns = columns.clone();
        }
        out.push(file);
    }
    Ok(out)
}

pub(crate) async fn commit(
    building: &Building<'_>,
    node: &Node,
    source: &Source,
    id: VersionId,
    (schema, untyped): (SchemaRef, Vec<String>),
    files: &[SourceFile],
) -> Result<VersionRecord, Reports> {
    let ctx = building.ctx;
    let data: Vec<DataFile> = files.iter().flat_map(|file| file.data.clone()).collect();
    let relation = stage::relation(ctx, &node.name, schema.clone(), &data);
    building.check_staged(node, &schema, &source.checks, &relation, &pelton_query::Catalog::default(), &id).await?;
    let fingerprint = fingerprint::of_source(node, source, files.iter().map(|file| (file.path.as_str(), file.digest)));
    // A table's digest is the sum of its rows' hashes and one hash of its columns, so digests of parts add up.
    let columns_digest = TableDigest::new(&schema).map_err(|error| error.report())?.finish();
    let digest = files.iter().fold(columns_digest, |sum, file| {
        Digest(sum.0.wrapping_add(file.rows_digest.0).wrapping_sub(columns_digest.0))
    });
    let mut version = VersionRecord {
        id,
        node: node.name.clone(),
        kind: "source".into(),
        run: building.run.clone(),
        fingerprint,
        digest,
        built_at_us: ctx.now_us(),
        columns: ColumnType::of(&schema),
        rows: files.iter().map(|file| file.rows).sum(),
        bytes: data.iter().map(|file| file.bytes).sum(),
        delta_version: None,
        files: Arc::new(data.clone()),
        inputs: Vec::new(),
        quarantine: files.iter().flat_map(|file| file.quarantine.clone()).collect(),
        quarantined: files.iter().map(|file| file.quarantined).sum(),
        dropped: files.iter().map(|file| file.dropped).sum(),
        detail: serde_json::json!({ "settings": settings_digest(source), "files": files.len(), "untyped": untyped }),
    };
    let info = vec![("run".to_string(), building.run.0.clone()), ("version".to_string(), version.id.0.clone())];
    let commit = Commit { schema, files: data, info };
    let delta_version = ctx
        .engine
        .commit(&ctx.warehouse.table(&node.name), commit)
        .await
        .map_err(|error| error.report(&format!("source `{}`", node.name)))?;
    version.delta_version = Some(delta_version);
    ctx.warehouse.state().insert_source_version(&version, files).map_err(crate::context::reports)?;
    Ok(version)
}

/// Writes each input file's rows into Parquet files of its own, so that they can be replaced when the file changes.
struct FileSink {
    ctx: Context,
    node: NodeName,
    id: VersionId,
    part: String,
    building: crate::run::Handle,
    open: Option<OpenFile>,
    has_duplicates: bool,
    done: Vec<SourceFile>,
}

struct OpenFile {
    file: InputFile,
    schema: SchemaRef,
    rows: StageWriter,
    rejected: Vec<Rejected>,
    quarantine: Option<StageWriter>,
}

/// How many rejected rows are collected before they are written.
const REJECTED_BATCH: usize = 1024;

impl FileSink {
    fn part(&self) -> String {
        format!("{}-f{}", self.part, self.done.len())
    }

    fn write_rejected(&mut self) -> Result<(), IngestError> {
        let part = self.part();
        let Some(open) = &mut self.open else { return Ok(()) };
        if open.rejected.is_empty() {
            return Ok(());
        }
        let batch = quarantine_batch(&self.building.run.0, &self.node, &open.rejected, self.ctx.now_us());
        open.rejected.clear();
        if open.quarantine.is_none() {
            let writer = stage::quarantine_writer(&self.ctx, &self.building.run, &self.id, &part);
            open.quarantine = Some(writer.map_err(|error| IngestError::sink(error.report()))?);
        }
        match &mut open.quarantine {
            Some(writer) => writer.write(&batch).map_err(|error| IngestError::sink(error.report())),
            None => Ok(()),
        }
    }

    /// Takes back what was written.
    fn abort(mut self) {
        if let Some(open) = self.open.take() {
            let _ = open.rows.abort();
            if let Some(quarantine) = open.quarantine {
                let _ = quarantine.abort();
            }
        }
        for file in &self.done {
            stage::discard(&self.ctx, &self.node, &file.data);
        }
    }
}

impl Sink for FileSink {
    fn begin_file(&mut self, file: &InputFile, schema: &SchemaRef) -> Result<(), IngestError> {
        self.building.progress(&self.node, format!("reading {}", file.path));
        let part = self.part();
        let rows = stage::writer(&self.ctx, &self.building.run, &self.node, &self.id, &part, schema.clone())
            .map_err(|error| IngestError::sink(error.report()))?;
        self.open =
            Some(OpenFile { file: file.clone(), schema: schema.clone(), rows, rejected: Vec::new(), quarantine: None });
        Ok(())
    }

    fn rows(&mut self, batch: RecordBatch) -> Result<(), IngestError> {
        match &mut self.open {
            Some(open) => open.rows.write(&batch).map_err(|error| IngestError::sink(error.report())),
            None => Ok(()),
        }
    }

    fn rejected(&mut self, row: Rejected) -> Result<(), IngestError> {
        self.has_duplicates |= row.rule == "duplicate_key";
        let full = match &mut self.open {
            Some(open) => {
                open.rejected.push(row);
                open.rejected.len() >= REJECTED_BATCH
            }
            None => false,
        };
        if full { self.write_rejected() } else { Ok(()) }
    }

    fn end_file(&mut self, counts: FileCounts) -> Result<(), IngestError> {
        self.write_rejected()?;
        let Some(open) = self.open.take() else { return Ok(()) };
        let staged = open.rows.finish().map_err(|error| IngestError::sink(error.report()))?;
        let quarantine = match open.quarantine {
            Some(writer) => writer.finish().map_err(|error| IngestError::sink(error.report()))?.files,
            None => Vec::new(),
        };
        self.done.push(SourceFile {
            path: open.file.path,
            bytes: open.file.bytes,
            modified_us: open.file.modified_us,
            digest: counts.digest,
            rows_digest: staged.digest,
            rows: counts.rows,
            quarantined: counts.quarantined,
            dropped: counts.dropped,
            data: staged.files,
            quarantine,
            columns: ColumnType::of(&open.schema),
            repairs: Vec::new(),
        });
        Ok(())
    }
}

fn quarantine_batch(run: &str, node: &NodeName, rows: &[Rejected], now_us: i64) -> RecordBatch {
    let text =
        |of: &dyn Fn(&Rejected) -> Option<String>| Arc::new(rows.iter().map(of).collect::<StringArray>()) as ArrayRef;
    let columns: Vec<ArrayRef> = vec![
        text(&|_| Some(run.to_string())),
        text(&|_| Some(node.to_string())),
        text(&|row| Some(row.rule.clone())),
        text(&|row| Some(row.reason.clone())),
        text(&|row| Some(row.file.clone())),
        Arc::new(rows.iter().map(|row| Some(row.line as i64)).collect::<Int64Array>()),
        text(&|row| row.column.clone()),
        text(&|row| Some(row.raw.clone())),
        Arc::new(TimestampMicrosecondArray::from(vec![now_us; rows.len()]).with_timezone("UTC")),
    ];
    RecordBatch::try_new(pelton_store::quarantine_schema(), columns).expect("columns are made in the schema's order")
}

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
        let heads = state.version_heads_of(&node.name).map_err(crate::context::reports)?;
        let Some(head) = heads.into_iter().find(|head| head.kind == "source") else { return Ok(Recorded::default()) };
        let Some(version) = state.version(&head.id).map_err(crate::context::reports)? else {
            return Ok(Recorded::default());
        };
        let settings = version.detail.get("settings").and_then(|value| value.as_str()).and_then(Digest::parse);
        Ok(Recorded {
            untyped: untyped_of(&version),
            columns: version.columns,
            files: state.source_files(&head.id).map_err(crate::context::reports)?,
            has_settings: settings == Some(settings_digest(source)),
        })
    }

    /// Whether the next run reads all files as if for the first time, or may: one of them is not what it was.
    fn begins_anew(&self, files: &[InputFile]) -> bool {
        let taken = |path: &str| self.files.iter().find(|taken| taken.path == path);
        let differs = |file: &InputFile, taken: &SourceFile| {
            file.bytes != taken.bytes
                || file.modified_us != taken.modified_us
                    && pelton_ingest::digest_file(file).is_ok_and(|digest| digest != taken.digest)
        };
        let is_gone = |taken: &SourceFile| files.iter().all(|file| file.path != taken.path);
        let changed = files.iter().any(|file| taken(&file.path).is_some_and(|taken| differs(file, taken)));
        (changed || !self.has_settings) && !self.files.iter().any(is_gone)
    }
}

/// The columns of a source before it is read: those of its last version with what new files add, else declared ones and those of a sample of
/// its files. Where a file that was taken in changed, what it had does not count: it may have been a mistake.
pub(crate) fn columns_of(root: &Path, node: &Node, source: &Source, recorded: &Recorded) -> Result<SchemaRef, Reports> {
    let look = pelton_ingest::Look { threads: 1, sample_rows: Some(SAMPLE_ROWS) };
    let resolved = |files: &[InputFile], columns: Vec<(String, DataType)>| {
        let known = Known { columns, keys: KeySet::default() };
        pelton_ingest::resolve_schema(source, node, files, &known, look).map_err(IngestError::into_reports)
    };
    let files = pelton_ingest::list(source, node, root);
    if recorded.columns.is_empty() {
        return match files {
            Ok(files) => resolved(&files, Vec::new()),
            // A project can be checked before its data is there, when the source says what it will be.
            Err(reports) if source.columns.is_empty() => Err(reports),
            Err(_) => resolved(&[], Vec::new()),
        };
    }
    let known = || known_columns(&recorded.columns, &recorded.untyped);
    let mut files = files.unwrap_or_default();
    // What is wrong with a file is told by the run that reads it.
    let found = match recorded.begins_anew(&files) {
        true => resolved(&files, Vec::new()),
        false => {
            files.retain(|file| recorded.files.iter().all(|taken| taken.path != file.path));
            let adds = source.contract.columns == ContractRule::Evolve && !files.is_empty();
            if adds { resolved(&files, known()) } else { resolved(&[], known()) }
        }
    };
    found.or_else(|_| resolved(&[], known()))
}
