//! Copy on write: files without a row that is replaced stay, the others are written again without those rows.

use super::{Stop, Work, base};
use crate::stage;
use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, not};
use futures::{StreamExt, TryStreamExt};
use pelton_query::{BatchStream, Catalog, DataFile, QueryError, sql};
use std::sync::Arc;

/// Tells which rows of a batch are replaced.
pub(crate) type Mask = Arc<dyn Fn(&RecordBatch) -> Result<BooleanArray, QueryError> + Send + Sync>;

/// What is left of the files of a version.
pub(crate) struct Left {
    /// Files that stay as they are.
    pub(crate) kept: Vec<DataFile>,
    /// Files that were written again.
    pub(crate) staged: Vec<DataFile>,
}

impl Left {
    /// All files together with new ones; and those that this build staged.
    pub(crate) fn with(self, new: Vec<DataFile>) -> (Vec<DataFile>, Vec<DataFile>) {
        let staged: Vec<DataFile> = self.staged.into_iter().chain(new).collect();
        (self.kept.into_iter().chain(staged.iter().cloned()).collect(), staged)
    }
}

const FILE: &str = "pelton_file";

/// Removes the rows that `mask` marks. It sees `columns`; files that `may_hold` says no to are not looked at.
pub(crate) async fn without(
    work: &Work<'_>,
    files: &[DataFile],
    columns: &[&str],
    may_hold: impl Fn(&DataFile) -> bool,
    mask: Mask,
) -> Result<Left, Stop> {
    let mut left = Left { kept: Vec::new(), staged: Vec::new() };
    let mut touched: Vec<(DataFile, bool)> = Vec::new();
    for file in files {
        let marked = if may_hold(file) { marked(work, file, columns, &mask).await? } else { 0 };
        match marked {
            0 => left.kept.push(file.clone()),
            marked => touched.push((file.clone(), marked == file.rows)),
        }
    }
    let rewritten: Vec<DataFile> = touched.into_iter().filter(|(_, is_all)| !is_all).map(|(file, _)| file).collect();
    if rewritten.is_empty() {
        return Ok(left);
    }
    work.building.progress(&work.node.name, format!("writing {} of {} files again", rewritten.len(), files.len()));
    let engine = work.building.ctx.engine.clone();
    let all = format!("select * from {FILE}");
    let relations: Vec<_> = rewritten.iter().map(|file| work.relation(std::slice::from_ref(file))).collect();
    // One file after the other: their rows stay near each other, and as little as one file is open.
    let rows = futures::stream::iter(relations).then(move |relation| {
        let (engine, all) = (engine.clone(), all.clone());
        async move { Ok::<_, QueryError>(engine.query(&Catalog::default().with(FILE, relation), &all).await?.batches) }
    });
    let kept = rows.try_flatten().map(move |batch| {
        let batch = batch?;
        let marked = mask(&batch)?;
        let stays = not(&marked).map_err(|error| internal(&error))?;
        filter_record_batch(&batch, &stays).map_err(|error| internal(&error))
    });
    let stream = BatchStream { schema: work.schema.clone(), batches: kept.boxed() };
    let (ctx, run) = (work.building.ctx, work.building.run);
    let (_, staged) = stage::stage(ctx, run, &work.node.name, work.id, "-kept", stream).await?;
    left.staged = staged.files;
    Ok(left)
}

async fn marked(work: &Work<'_>, file: &DataFile, columns: &[&str], mask: &Mask) -> Result<u64, Stop> {
    let catalog = Catalog::default().with(FILE, work.relation(std::slice::from_ref(file)));
    let select = format!("select {} from {FILE}", sql::idents(columns.iter().copied()));
    let stream = work.building.ctx.engine.query(&catalog, &select).await.map_err(|error| work.failed(&error))?;
    let mut batches = stream.batches;
    let mut count = 0;
    while let Some(batch) = batches.next().await {
        let marked = batch.and_then(|batch| mask(&batch)).map_err(|error| work.failed(&error))?;
        count += (marked.len() - marked.false_count()) as u64;
    }
    Ok(count)
}

pub(crate) fn internal(error: &dyn std::fmt::Display) -> QueryError {
    QueryError::Internal { message: format!("rows to replace: {error}") }
}

/// What was staged before a build found that it cannot go on is deleted.
pub(crate) fn discard_on_stop<T>(work: &Work<'_>, staged: &[DataFile], result: Result<T, Stop>) -> Result<T, Stop> {
    if result.is_err() {
        base::discard(work, staged);
    }
    result
}
