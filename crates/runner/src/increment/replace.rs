//! Copy on write: files without a row that is replaced stay, the others are written again without those rows.

use super::{Stop, Work, base};
use crate::{Context, stage};
use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, not};
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use pelton_base::{NodeName, Report, RunId, VersionId};
use pelton_query::{BatchStream, Catalog, DataFile, QueryError, Relation, sql};
use pelton_store::{StageOptions, TableDigest};
use std::sync::{Arc, Mutex, PoisonError};

/// Tells which rows of a batch are replaced.
pub(crate) type Mask = Arc<dyn Fn(&RecordBatch) -> Result<BooleanArray, QueryError> + Send + Sync>;

/// What is left of the files of a version.
pub(crate) struct Left {
    /// Files that stay as they are.
    pub(crate) kept: Vec<DataFile>,
    /// Files that were written again.
    pub(crate) staged: Vec<DataFile>,
    /// The rows that are replaced, where they were to be held.
    pub(crate) replaced: Vec<RecordBatch>,
}

impl Left {
    /// All files together with new ones; and those that this build staged.
    fn with(self, new: Vec<DataFile>) -> (Vec<DataFile>, Vec<DataFile>) {
        let staged: Vec<DataFile> = self.staged.into_iter().chain(new).collect();
        (self.kept.into_iter().chain(staged.iter().cloned()).collect(), staged)
    }
}

const FILE: &str = "pelton_file";

/// Removes the rows that `mask` marks, and keeps them in memory when `hold` says so. The mask sees `columns`; files that `may_hold` says no to
/// are not looked at.
pub(crate) async fn without(
    work: &Work<'_>,
    (files, hold): (&[DataFile], bool),
    columns: &[&str],
    may_hold: impl Fn(&DataFile) -> bool,
    mask: Mask,
) -> Result<Left, Stop> {
    let mut left = Left { kept: Vec::new(), staged: Vec::new(), replaced: Vec::new() };
    let mut touched: Vec<DataFile> = Vec::new();
    for file in files {
        match may_hold(file) && holds_any(work, file, columns, &mask).await? {
            true => touched.push(file.clone()),
            false => left.kept.push(file.clone()),
        }
    }
    let (ctx, count) = (work.building.ctx, touched.len());
    if count > 0 {
        work.building.progress(&work.node.name, format!("writing {count} of {} files again", files.len()));
    }
    // As many files at a time as there are threads: each is put together in memory.
    let rewriting = touched.into_iter().enumerate().map(|(at, file)| {
        let rewrite = Rewrite {
            ctx: ctx.clone(),
            run: work.building.run.clone(),
            node: work.node.name.clone(),
            id: work.id.clone(),
            part: format!("-kept{at}"),
            schema: work.schema.clone(),
            relation: work.relation(std::slice::from_ref(&file)),
            file,
            mask: mask.clone(),
            hold,
        };
        tokio::spawn(rewrite.run())
    });
    let mut rewritten = futures::stream::iter(rewriting).buffered(ctx.threads.max(1));
    let mut failed = None;
    while let Some(written) = rewritten.next().await {
        match written {
            Ok(Ok((file, replaced))) => {
                left.staged.extend(file);
                left.replaced.extend(replaced);
            }
            Ok(Err(report)) => failed = failed.or(Some(report)),
            Err(_) => failed = failed.or_else(|| Some(Report::error("internal", "the writer of files panicked"))),
        }
    }
    match failed {
        None => Ok(left),
        Some(report) => {
            base::discard(work, &left.staged);
            Err(report.into())
        }
    }
}

/// Whether a file has a row that is replaced.
async fn holds_any(work: &Work<'_>, file: &DataFile, columns: &[&str], mask: &Mask) -> Result<bool, Stop> {
    let catalog = Catalog::default().with(FILE, work.relation(std::slice::from_ref(file)));
    let select = format!("select {} from {FILE}", sql::idents(columns.iter().copied()));
    let stream = work.building.ctx.engine.query(&catalog, &select).await.map_err(|error| work.failed(&error))?;
    let mut batches = stream.batches;
    while let Some(batch) = batches.next().await {
        let marked = batch.and_then(|batch| mask(&batch)).map_err(|error| work.failed(&error))?;
        if marked.true_count() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A file to be written again without the rows that are replaced.
struct Rewrite {
    ctx: Context,
    run: RunId,
    node: NodeName,
    id: VersionId,
    part: String,
    schema: SchemaRef,
    relation: Relation,
    file: DataFile,
    mask: Mask,
    hold: bool,
}

/// What a file's rewriting takes out of it.
struct Removed {
    digest: TableDigest,
    held: Option<Vec<RecordBatch>>,
}

impl Rewrite {
    /// The file without them, or nothing when all of its rows are replaced; and those rows, where they are held.
    async fn run(self) -> Result<(Option<DataFile>, Vec<RecordBatch>), Report> {
        let subject = format!("table `{}`", self.node);
        let report = |error: QueryError| error.report(&subject);
        let digest = TableDigest::new(&self.schema).map_err(|error| error.report())?;
        let removed = Arc::new(Mutex::new(Removed { digest, held: self.hold.then(Vec::new) }));
        let catalog = Catalog::default().with(FILE, self.relation);
        let all = self.ctx.engine.query(&catalog, &format!("select * from {FILE}")).await.map_err(report)?;
        let (mask, seen) = (self.mask, removed.clone());
        let kept = all.batches.map(move |batch| without_marked(&batch?, &mask, &seen));
        // One file of the same size: its digest is what is left of the other's, and no row that stays is hashed.
        let options = StageOptions { bytes_per_file_max: u64::MAX, digests: false, ..StageOptions::default() };
        let version = (&self.id, self.part.as_str());
        let writer = stage::writer_with(&self.ctx, &self.run, &self.node, version, self.schema.clone(), options);
        let writer = writer.map_err(|error| error.report())?;
        let stream = BatchStream { schema: self.schema, batches: kept.boxed() };
        let staged = stage::drain(&self.node, writer, stream).await?;
        let mut removed = removed.lock().unwrap_or_else(PoisonError::into_inner);
        if staged.rows + removed.digest.rows() != self.file.rows {
            let message = format!("{subject}: file `{}` does not have {} rows", self.file.path, self.file.rows);
            return Err(Report::error("damaged-table", message).note("nothing was published").hint("pelton verify"));
        }
        let rows_digest = self.file.rows_digest.map(|had| had.minus(removed.digest.rows_sum()));
        let file = staged.files.into_iter().next().map(|file| DataFile { rows_digest, ..file });
        Ok((file, removed.held.take().unwrap_or_default()))
    }
}

fn without_marked(batch: &RecordBatch, mask: &Mask, seen: &Mutex<Removed>) -> Result<RecordBatch, QueryError> {
    let marked = mask(batch)?;
    if marked.true_count() == 0 {
        return Ok(batch.clone());
    }
    let gone = filter_record_batch(batch, &marked).map_err(|error| internal(&error))?;
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.digest.add(&gone).map_err(|error| QueryError::Internal { message: error.to_string() })?;
    if let Some(held) = &mut seen.held {
        held.push(gone);
    }
    let stays = not(&marked).map_err(|error| internal(&error))?;
    filter_record_batch(batch, &stays).map_err(|error| internal(&error))
}

pub(crate) fn internal(error: &dyn std::fmt::Display) -> QueryError {
    QueryError::Internal { message: format!("rows to replace: {error}") }
}

/// All files of a version that has new ones beside what is left, and those of them that this build staged. Where one of both is not there,
/// what was staged for the other is deleted.
pub(crate) fn together(
    work: &Work<'_>,
    new: Result<Vec<DataFile>, Stop>,
    left: Result<Left, Stop>,
) -> Result<(Vec<DataFile>, Vec<DataFile>), Stop> {
    match (new, left) {
        (Ok(new), Ok(left)) => Ok(left.with(new)),
        (Ok(staged), Err(stop)) | (Err(stop), Ok(Left { staged, .. })) => {
            base::discard(work, &staged);
            Err(stop)
        }
        (Err(stop), Err(_)) => Err(stop),
    }
}
