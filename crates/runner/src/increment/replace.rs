//! Copy on write: files without a row that is replaced stay, the others are written again without those rows.

use super::pack::SMALL_BYTES_MAX;
use super::{Stop, Work, base};
use crate::{Context, stage};
use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, not};
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use pelton_base::{Digest, NodeName, Report, RunId, VersionId};
use pelton_query::{BatchStream, Catalog, DataFile, Engine, QueryError, Relation, sql};
use pelton_store::{StageOptions, TableDigest};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Tells which rows of a batch are replaced.
pub(crate) type Mask = Arc<dyn Fn(&RecordBatch) -> Result<BooleanArray, QueryError> + Send + Sync>;

/// What is left of the files of a version.
pub(crate) struct Left {
    /// Files that stay as they are.
    pub(crate) kept: Vec<DataFile>,
    /// Files that were written again.
    pub(crate) staged: Vec<DataFile>,
    /// The files before that had rows that are replaced.
    pub(crate) touched: Vec<DataFile>,
    /// The rows that are replaced, where they were to be held and are not too large.
    pub(crate) replaced: Option<Vec<RecordBatch>>,
}

impl Left {
    /// All files together with new ones; and those that this build staged.
    fn with(self, new: Vec<DataFile>) -> (Vec<DataFile>, Vec<DataFile>) {
        let staged: Vec<DataFile> = self.staged.into_iter().chain(new).collect();
        (self.kept.into_iter().chain(staged.iter().cloned()).collect(), staged)
    }
}

const FILE: &str = "pelton_file";

/// Files that are written again are put together in memory; all that are under way hold this part of `engine.memory`, or are one.
const REWRITING_PARTS: u64 = 4;

/// Files of more than this are cut when they are written again: twice the size at which a writer ends a file.
const UNCUT_BYTES_MAX: u64 = 128 << 20;

/// Removes the rows that `mask` marks, and keeps them in memory up to as many bytes as `hold` says. The mask sees `columns`; files that
/// `may_hold` says no to are not opened.
pub(crate) async fn without(
    work: &Work<'_>,
    (files, hold): (&[DataFile], Option<u64>),
    columns: &[&str],
    may_hold: impl Fn(&DataFile) -> bool,
    mask: Mask,
) -> Result<Left, Stop> {
    let mut left =
        Left { kept: Vec::new(), staged: Vec::new(), touched: Vec::new(), replaced: hold.map(|_| Vec::new()) };
    probe(work, files, columns, may_hold, &mask, &mut left).await?;
    let (ctx, count) = (work.building.ctx, left.touched.len());
    if count > 0 {
        work.building.progress(&work.node.name, format!("writing {count} of {} files again", files.len()));
    }
    let held = hold.map(|most| Arc::new(Held { bytes: AtomicU64::new(0), most }));
    let groups = groups(&left.touched);
    let largest = groups.iter().map(|group| bytes_of(group).min(UNCUT_BYTES_MAX)).max().unwrap_or(0);
    let at_once = usize::try_from(work.share_of_memory(REWRITING_PARTS) / largest.max(1)).unwrap_or(usize::MAX);
    let rewriting = groups.into_iter().enumerate().map(|(at, files)| {
        let rewrite = Rewrite {
            ctx: ctx.clone(),
            run: work.building.run.clone(),
            node: work.node.name.clone(),
            id: work.id.clone(),
            part: format!("-kept{at}"),
            schema: work.schema.clone(),
            relation: work.relation(&files),
            files,
            mask: mask.clone(),
            held: held.clone(),
        };
        tokio::spawn(rewrite.run())
    });
    let mut rewritten = futures::stream::iter(rewriting).buffered(at_once.clamp(1, ctx.threads.max(1))).boxed();
    let mut failed = None;
    while let Some(written) = rewritten.next().await {
        match written {
            Ok(Ok((files, replaced))) => {
                left.staged.extend(files);
                left.replaced = match (left.replaced.take(), replaced) {
                    (Some(mut all), Some(more)) => {
                        all.extend(more);
                        Some(all)
                    }
                    _ => None,
                };
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

/// Tells files with a row that is replaced from those that stay; as many at a time are read as there are threads.
async fn probe(
    work: &Work<'_>,
    files: &[DataFile],
    columns: &[&str],
    may_hold: impl Fn(&DataFile) -> bool,
    mask: &Mask,
    left: &mut Left,
) -> Result<(), Stop> {
    let (asked, kept): (Vec<DataFile>, Vec<DataFile>) = files.iter().cloned().partition(may_hold);
    left.kept = kept;
    let select = format!("select {} from {FILE}", sql::idents(columns.iter().copied()));
    let probing = asked.iter().map(|file| {
        let catalog = Catalog::default().with(FILE, work.relation(std::slice::from_ref(file)));
        tokio::spawn(holds_any(work.building.ctx.engine.clone(), catalog, select.clone(), mask.clone()))
    });
    let mut probed = futures::stream::iter(probing)
        .buffered(work.building.ctx.threads.max(1))
        .zip(futures::stream::iter(&asked))
        .boxed();
    while let Some((holds, file)) = probed.next().await {
        let holds = holds.map_err(|_| Report::error("internal", "the reader of files panicked"))?;
        match holds.map_err(|error| work.failed(&error))? {
            true => left.touched.push(file.clone()),
            false => left.kept.push(file.clone()),
        }
    }
    Ok(())
}

/// Whether a file has a row that is replaced.
async fn holds_any(engine: Arc<dyn Engine>, catalog: Catalog, select: String, mask: Mask) -> Result<bool, QueryError> {
    let mut batches = engine.query(&catalog, &select).await?.batches;
    while let Some(batch) = batches.next().await {
        if mask(&batch?)?.true_count() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Files to be written again as one: small ones together, since otherwise each would leave a smaller one.
fn groups(files: &[DataFile]) -> Vec<Vec<DataFile>> {
    let (small, large): (Vec<_>, Vec<_>) = files.iter().cloned().partition(|file| file.bytes < SMALL_BYTES_MAX);
    let mut groups: Vec<Vec<DataFile>> = large.into_iter().map(|file| vec![file]).collect();
    let mut open: Vec<DataFile> = Vec::new();
    for file in small {
        if !open.is_empty() && bytes_of(&open) + file.bytes > SMALL_BYTES_MAX {
            groups.push(std::mem::take(&mut open));
        }
        open.push(file);
    }
    groups.extend(Some(open).filter(|open| !open.is_empty()));
    groups
}

fn bytes_of(files: &[DataFile]) -> u64 {
    files.iter().map(|file| file.bytes).sum()
}

/// Counts what is held of the rows that are replaced.
struct Held {
    bytes: AtomicU64,
    most: u64,
}

impl Held {
    /// Whether these rows may be held too.
    fn takes(&self, rows: &RecordBatch) -> bool {
        let bytes = rows.get_array_memory_size() as u64;
        self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= self.most
    }
}

/// Files to be written again without the rows that are replaced.
struct Rewrite {
    ctx: Context,
    run: RunId,
    node: NodeName,
    id: VersionId,
    part: String,
    schema: SchemaRef,
    relation: Relation,
    files: Vec<DataFile>,
    mask: Mask,
    held: Option<Arc<Held>>,
}

/// What the rewriting takes out of files.
struct Removed {
    digest: TableDigest,
    rows: Option<Vec<RecordBatch>>,
    held: Option<Arc<Held>>,
}

impl Rewrite {
    /// The files without them, none when all rows are replaced; and those rows, where they are held.
    async fn run(self) -> Result<(Vec<DataFile>, Option<Vec<RecordBatch>>), Report> {
        let subject = format!("table `{}`", self.node);
        let report = |error: QueryError| error.report(&subject);
        let digest = TableDigest::new(&self.schema).map_err(|error| error.report())?;
        let rows = self.held.as_ref().map(|_| Vec::new());
        let removed = Arc::new(Mutex::new(Removed { digest, rows, held: self.held }));
        let catalog = Catalog::default().with(FILE, self.relation);
        let all = self.ctx.engine.query(&catalog, &format!("select * from {FILE}")).await.map_err(report)?;
        let (mask, seen) = (self.mask, removed.clone());
        let kept = all.batches.map(move |batch| without_marked(&batch?, &mask, &seen));
        // As one file, its digest is what is left of the others', and no row that stays is hashed.
        let options = match bytes_of(&self.files) <= UNCUT_BYTES_MAX {
            true => StageOptions { bytes_per_file_max: u64::MAX, digests: false, ..StageOptions::default() },
            false => StageOptions::default(),
        };
        let version = (&self.id, self.part.as_str());
        let writer = stage::writer_with(&self.ctx, &self.run, &self.node, version, self.schema.clone(), options);
        let writer = writer.map_err(|error| error.report())?;
        let stream = BatchStream { schema: self.schema, batches: kept.boxed() };
        let mut staged = stage::drain(&self.node, writer, stream).await?;
        let mut removed = removed.lock().unwrap_or_else(PoisonError::into_inner);
        let had: u64 = self.files.iter().map(|file| file.rows).sum();
        if staged.rows + removed.digest.rows() != had {
            stage::discard(&self.ctx, &self.node, &staged.files);
            let paths: Vec<String> = self.files.iter().map(|file| format!("`{}`", file.path)).collect();
            let message = format!("{subject}: {} do not have {had} rows", paths.join(", "));
            return Err(Report::error("damaged-table", message).note("nothing was published").hint("pelton verify"));
        }
        if let ([file], false) = (&mut staged.files[..], options.digests) {
            let had: Option<Vec<Digest>> = self.files.iter().map(|file| file.rows_digest).collect();
            let had = had.map(|had| had.into_iter().fold(Digest::default(), Digest::plus));
            file.rows_digest = had.map(|had| had.minus(removed.digest.rows_sum()));
        }
        Ok((staged.files, removed.rows.take()))
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
    // Of more than fits nothing is held: the rest is read a second time anyway.
    let fits = seen.held.as_ref().is_some_and(|held| held.takes(&gone));
    seen.rows = seen.rows.take().filter(|_| fits);
    if let Some(rows) = &mut seen.rows {
        rows.push(gone);
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

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::StringArray;

    #[test]
    fn small_files_are_written_again_together() {
        let file =
            |bytes| DataFile { path: String::new(), bytes, rows: 1, stats: None, rows_digest: None, digest: None };
        let sizes = [5 << 20, 40 << 20, 1000, 10 << 20, 2 << 20, 16 << 20];
        let sizes: Vec<Vec<u64>> =
            groups(&sizes.map(file)).iter().map(|group| group.iter().map(|file| file.bytes).collect()).collect();
        assert_eq!(sizes, [vec![40 << 20], vec![16 << 20], vec![5 << 20, 1000, 10 << 20], vec![2 << 20]]);
        assert!(groups(&[]).is_empty());
    }

    #[test]
    fn rows_are_held_by_their_bytes_not_by_their_number() {
        let rows = |width: usize| {
            let texts = StringArray::from_iter_values((0..100).map(|_| "x".repeat(width)));
            RecordBatch::try_from_iter([("text", Arc::new(texts) as arrow::array::ArrayRef)]).unwrap()
        };
        let held = Held { bytes: AtomicU64::new(0), most: 100_000 };
        assert!(held.takes(&rows(10)) && held.takes(&rows(100)));
        assert!(!held.takes(&rows(1000)));
        // What was not held counts: another thread must not go on with a part of the rows.
        assert!(!held.takes(&rows(10)));
    }
}
