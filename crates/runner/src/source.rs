//! A source becomes a version: new and changed files are read, the rows of unchanged ones are kept as they are.

use crate::context::{Context, reports};
use crate::run::Building;
use crate::sink::FileSink;
use crate::source_files::{self, Changes};
use crate::{catalog, fingerprint, gone, narrow, replay, stage, verify};
use pelton_base::{Digest, Report, Reports, VersionId};
use pelton_ingest::{InputFile, Intake, KeySet, Known, TakeIn};
use pelton_project::{Node, Source};
use pelton_query::{BatchStream, DataFile, sql};
use pelton_store::{ColumnType, SourceFile, TableDigest, VersionHead, VersionRecord};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, SchemaRef};

/// What of a source's settings changes how its files are read, as a digest.
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
    let recorded = match previous {
        Some(head) => ctx.warehouse.state().source_files(&head.id).map_err(reports)?,
        None => Vec::new(),
    };
    let mut said: Vec<Report> = Vec::new();
    let (mut changes, mut columns, mut untyped) = match previous {
        Some(head) if same_settings => {
            let version = catalog::load(ctx, &head.id)?;
            let changes = source_files::changes(ctx, node, source, Some(&head.id))?;
            (changes, version.columns.clone(), untyped_of(&version))
        }
        Some(head) => {
            let mut changes = Changes::anew(ctx, node, source, &recorded)?;
            let (columns, reports) = gone::carry(ctx, node, source, head, &mut changes).await?;
            said.extend(reports);
            (changes, columns, Vec::new())
        }
        None => (Changes::anew(ctx, node, source, &[])?, Vec::new(), Vec::new()),
    };
    said.extend(changes.changed.iter().map(|file| changed_report(node, file)));
    said.extend(changes.returned.iter().map(|file| returned_report(node, file)));
    let has_other_content = !changes.changed.is_empty() || !changes.returned.is_empty();
    if has_other_content && let Some(less) = narrow::look(ctx, node, source, &changes, (&columns, &untyped)).await? {
        said.push(narrow::report(node, &less));
        (columns, untyped) = narrow::columns(&less);
        changes.read_all_again();
    }
    // While such a file was gone, its rows decided about those of others.
    if !changes.returned.is_empty() {
        changes.read_all_again();
    }
    if has_other_content {
        changes.outdate_gone();
    }
    let id = VersionId::of(&node.name, settings_digest(source), building.run);
    let mut read = read(building, node, source, &id, "", &changes, (&columns, &untyped)).await?;
    if !read.intake.widened.is_empty() && !changes.kept.is_empty() {
        // A wider type reads text that the narrower one had already changed (`007`): all files are read once more.
        read.discard(ctx, node);
        changes.read_all_again();
        columns = ColumnType::of(&read.intake.schema);
        read = self::read(building, node, source, &id, "-w", &changes, (&columns, &[])).await?;
    } else if !source.key.is_empty() && changes.order_matters(&read) {
        // Of rows with one key, the first in the order of the files stays, whenever each file came.
        read.discard(ctx, node);
        changes.read_later_ones_again();
        read = self::read(building, node, source, &id, "-o", &changes, (&columns, &untyped)).await?;
    }
    if !source.key.is_empty() && read.has_duplicates {
        changes.outdate_gone();
    }
    said.extend(renamed_report(node, source, &read.intake));
    said.extend(moved_reports(node, &read.files, &changes.gone()));
    let schema = read.intake.schema.clone();
    let mut files = keep(building, node, &id, changes.kept, &schema).await?;
    files.extend(read.files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    replay::reapply(building, node, source, &id, recorded, (&mut files, &schema)).await?;
    let version = commit(building, node, source, id, (schema, read.intake.untyped), &files).await?;
    // Told when it is so: a file that cannot be read replaces nothing.
    said.into_iter().for_each(|report| building.warn(report));
    Ok(version)
}

/// Of files that have the content of one that is gone: somebody may have moved it, and its rows are there twice.
fn moved_reports<'a>(node: &'a Node, read: &'a [SourceFile], gone: &'a [SourceFile]) -> impl Iterator<Item = Report> {
    let moved = read.iter().filter_map(|file| {
        let before = gone.iter().find(|gone| gone.digest == file.digest)?;
        (file.rows + file.quarantined > 0).then_some((file, before))
    });
    moved.map(|(file, before)| {
        let message =
            format!("`{}` has the content of `{}`, which is gone or not named any more", file.path, before.path);
        Report::warning("gone-file", message)
            .note(format!(
                "the rows of `{}` stay, so `{}` has those of both, where no key tells them apart",
                before.path, node.name
            ))
            .hint(
                "to let them go, put a file without rows (the header alone) in its place, under a `path` that names it",
            )
    })
}

fn returned_report(node: &Node, file: &InputFile) -> Report {
    Report::warning("gone-file", format!("`{}` is back", file.path)).note(format!(
        "other files of `{}` or its settings changed while it was gone, so all files were read again",
        node.name
    ))
}

/// Of columns that are declared, that none of the files has, while others came: somebody may have renamed them.
fn renamed_report(node: &Node, source: &Source, intake: &Intake) -> Option<Report> {
    let declared: Vec<&str> = source.columns.iter().map(|column| column.name.value.as_str()).collect();
    let is_declared = |name: &&str| declared.contains(name);
    let missing: Vec<&str> = intake.missing_columns.iter().map(String::as_str).filter(is_declared).collect();
    let new: Vec<&str> = intake.new_columns.iter().map(String::as_str).filter(|name| !is_declared(name)).collect();
    if missing.is_empty() || new.is_empty() {
        return None;
    }
    let list = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let message = format!("no file that was read of `{}` has its column {}", node.name, list(&missing));
    let report = Report::warning("unknown-column", message).at(node.place());
    Some(
        report
            .note(format!("columns that nobody declared came instead: {}", list(&new)))
            .note("in the rows of these files it is null")
            .hint("if it was renamed, correct the name in the files or under `[columns]`"),
    )
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

/// What came of reading files.
pub(crate) struct Read {
    intake: Intake,
    files: Vec<SourceFile>,
    /// Whether a row had the key of another one.
    pub(crate) has_duplicates: bool,
}

impl Read {
    /// Takes back what was written.
    fn discard(&self, ctx: &Context, node: &Node) {
        for file in &self.files {
            stage::discard(ctx, &node.name, &file.data);
            stage::discard_quarantine(ctx, &file.quarantine);
        }
    }
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
    let mut sink = FileSink::new(building, node, id, part);
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
    if source.key.is_empty() || kept.iter().all(|file| file.rows == 0) {
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
                // Its text might have read otherwise as the wider type.
                file.is_outdated = true;
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
    let version = VersionRecord {
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
        files: Arc::new(data),
        inputs: Vec::new(),
        quarantine: files.iter().flat_map(|file| file.quarantine.clone()).collect(),
        quarantined: files.iter().map(|file| file.quarantined).sum(),
        dropped: files.iter().map(|file| file.dropped).sum(),
        detail: serde_json::json!({ "settings": settings_digest(source), "files": files.len(), "untyped": untyped }),
    };
    ctx.warehouse.state().insert_source_version(&version, files).map_err(reports)?;
    Ok(version)
}
