//! From a stream of rows to staged Parquet files: the writer works on its own thread while the engine computes what comes next.

use crate::context::Context;
use futures::StreamExt;
use pelton_base::fail::{self, Point};
use pelton_base::{NodeName, Report, RunId, VersionId};
use pelton_query::{BatchStream, Catalog, DataFile, Relation};
use pelton_store::{StageOptions, StageWriter, Staged, StoreError, to_stored};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

/// How many batches may wait for the writer.
const WAITING_BATCHES_MAX: usize = 8;

/// Writes a stream into a table's folder; nothing there refers to the files until a commit does.
pub(crate) async fn stage(
    ctx: &Context,
    run: &RunId,
    node: &NodeName,
    version: &VersionId,
    part: &str,
    stream: BatchStream,
) -> Result<(SchemaRef, Staged), Report> {
    let schema = pelton_store::stored_schema(&stream.schema).map_err(|error| error.report())?;
    let writer = writer(ctx, run, node, version, part, schema.clone()).map_err(|error| error.report())?;
    Ok((schema, drain(node, writer, stream).await?))
}

/// Writes a stream to its end, or takes back what was written.
pub(crate) async fn drain(node: &NodeName, mut writer: StageWriter, mut stream: BatchStream) -> Result<Staged, Report> {
    let subject = format!("`{node}`");
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<RecordBatch>(WAITING_BATCHES_MAX);
    let writing = tokio::task::spawn_blocking(move || -> Result<Option<Staged>, StoreError> {
        let mut ended = false;
        while let Some(batch) = receiver.blocking_recv() {
            if batch.num_columns() == 0 && batch.num_rows() == 0 {
                ended = true;
                break;
            }
            if let Err(error) = to_stored(&batch).and_then(|batch| writer.write(&batch)) {
                return writer.abort().and(Err(error));
            }
        }
        // Without the end mark the stream failed: what was written is taken back.
        if ended { writer.finish().map(Some) } else { writer.abort().map(|()| None) }
    });
    let mut failed = None;
    while let Some(batch) = stream.batches.next().await {
        match batch {
            Ok(batch) if batch.num_rows() == 0 => {}
            Ok(batch) => {
                if sender.send(batch).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                failed = Some(error.report(&subject));
                break;
            }
        }
    }
    if failed.is_none() {
        // A closed channel means that the writer failed; its error is told below.
        let _ = sender.send(RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty()))).await;
    }
    drop(sender);
    let done =
        writing.await.map_err(|_| Report::error("internal", format!("{subject}: the writer of files panicked")))?;
    match (failed, done) {
        (Some(failed), _) => Err(failed),
        (None, Ok(Some(staged))) => Ok(staged),
        (None, Ok(None)) => Err(Report::error("internal", format!("{subject}: its rows ended halfway"))),
        (None, Err(error)) => Err(error.report()),
    }
}

/// A writer into a table's folder, noted so that the next run removes its files should this one die.
pub(crate) fn writer(
    ctx: &Context,
    run: &RunId,
    node: &NodeName,
    version: &VersionId,
    part: &str,
    schema: SchemaRef,
) -> Result<StageWriter, StoreError> {
    writer_with(ctx, run, node, (version, part), schema, StageOptions::default())
}

/// As [`writer`], with files cut in another way.
pub(crate) fn writer_with(
    ctx: &Context,
    run: &RunId,
    node: &NodeName,
    (version, part): (&VersionId, &str),
    schema: SchemaRef,
    options: StageOptions,
) -> Result<StageWriter, StoreError> {
    let folder = format!("tables/{node}");
    let prefix = format!("part-{version}{part}");
    ctx.warehouse.state().note_staging(run, &folder, &prefix)?;
    StageWriter::new(&ctx.warehouse, &folder, &prefix, schema, options)
}

/// A writer of quarantined rows.
pub(crate) fn quarantine_writer(
    ctx: &Context,
    run: &RunId,
    version: &VersionId,
    part: &str,
) -> Result<StageWriter, StoreError> {
    let prefix = format!("rows-{version}{part}");
    ctx.warehouse.state().note_staging(run, "quarantine", &prefix)?;
    let options = StageOptions::default();
    StageWriter::new(&ctx.warehouse, "quarantine", &prefix, pelton_store::quarantine_schema(), options)
}

/// Staged files as a relation.
pub(crate) fn relation(ctx: &Context, node: &NodeName, schema: SchemaRef, files: &[DataFile]) -> Relation {
    Relation::Files { schema, folder: ctx.warehouse.table(node).0, files: Arc::new(files.to_vec()) }
}

/// Deletes staged files that are not going to be committed.
pub(crate) fn discard(ctx: &Context, node: &NodeName, files: &[DataFile]) {
    for file in files {
        fail::after(Point::StageDiscard);
        // A file that stays is removed by the next run: it is noted as staged.
        let _ = std::fs::remove_file(ctx.warehouse.table_dir(node).join(&file.path));
    }
}

/// Deletes files of quarantined rows that no version is going to name.
pub(crate) fn discard_quarantine(ctx: &Context, files: &[DataFile]) {
    for file in files {
        fail::after(Point::StageDiscard);
        let _ = std::fs::remove_file(ctx.warehouse.root().join("quarantine").join(&file.path));
    }
}

/// A catalog with the staged rows of a node under `staged` and under its own name.
pub(crate) fn with_staged(catalog: &Catalog, node: &NodeName, staged: &Relation) -> Catalog {
    let mut catalog = catalog.clone();
    catalog.relations.insert(pelton_quality::STAGED.into(), staged.clone());
    catalog.relations.insert(node.to_string(), staged.clone());
    catalog
}
