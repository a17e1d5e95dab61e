//! Complete segments of the prediction log become rows of the Delta table `pelton_predictions`, each exactly once.
//!
//! The Parquet files of a segment are named after it. A drain that was killed after its commit and before it deleted the segment
//! finds the files in the table and only deletes; one that was killed before its commit writes them again. One process
//! drains at a time, because a commit names all files of the table. Small files are merged now and then, by the same process
//! after its segments are gone, so that no segment can miss the file that was made of it. Files that were merged, or left by a drain
//! that was killed, are those of the table's folder that its newest version does not name; queries that began before may still read
//! them.

use crate::column::unquote;
use crate::log::{self, End, Log, SegmentInfo};
use crate::record::Record;
use arrow::array::cast::AsArray;
use arrow::array::types::{Int64Type, TimestampMicrosecondType};
use arrow::array::{
    Array, ArrayBuilder, ArrayRef, Float64Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::StreamExt;
use pelton_base::fail::{self, Point};
use pelton_base::{NodeName, ReceiptId, Report, Severity, VersionId};
use pelton_query::{Catalog, Commit, DataFile, Engine, QueryError, Relation, TableLocation, collect, sql, types};
use pelton_store::{FileLock, StageOptions, StageWriter, Warehouse};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What the table is called in messages.
const SUBJECT: &str = "the table of predictions";

/// The table of all predictions; its folder in the warehouse has the same name.
pub(crate) const TABLE: &str = "pelton_predictions";

/// Segments that one drain takes in; the next takes further ones. Bounds the work behind one commit.
const SEGMENTS_MAX: usize = 64;

/// How often who waits for another process that drains looks whether it is done.
const TURN_EVERY: Duration = Duration::from_millis(10);

/// This many small files are merged into one. A drain every few seconds makes thousands a day, and a query opens each of them.
const SMALL_FILES_MAX: usize = 64;

/// Files below this size are small. Merged ones grow out of it, so that no row is rewritten more than a few times.
const SMALL_BYTES_MAX: u64 = 16 << 20;

/// Rows that are put together in memory before they are written to Parquet.
const CHUNK_ROWS: usize = 4096;

/// What a drain did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drained {
    /// Segments taken in.
    pub segments: usize,
    /// Predictions that became rows of the table.
    pub rows: u64,
    /// The table's version after the commit, when there was one.
    pub version: Option<i64>,
    /// Segments with bytes that are not what was written; their readable records are in the table, the files are kept here.
    pub damaged: Vec<PathBuf>,
}

/// Where the table of all predictions lives.
pub fn predictions_table(warehouse: &Warehouse) -> TableLocation {
    warehouse.table(&NodeName::new(TABLE))
}

/// The columns of the table of all predictions. `request`, `features` and `output` are JSON, whose numbers read back to the same bits.
pub fn predictions_schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let bigint = |name: &str| Field::new(name, DataType::Int64, true);
    Arc::new(Schema::new(vec![
        text("receipt"),
        Field::new("at", types::timestamp(), true),
        text("environment"),
        bigint("publication"),
        text("model"),
        text("version"),
        bigint("row"),
        text("prediction"),
        Field::new("score", DataType::Float64, true),
        text("request"),
        text("features"),
        text("output"),
    ]))
}

/// Takes the complete segments of all processes into the table. Does nothing while another process does the same.
pub async fn drain(engine: &dyn Engine, warehouse: &Warehouse) -> Result<Drained, Report> {
    let Some(hold) = hold_drain(warehouse)? else { return Ok(Drained::default()) };
    drain_held(engine, warehouse, &hold).await
}

/// Takes in everything that is complete, however much it is, and waits for its turn, at most `wait_max`, while another process does the
/// same.
///
/// Gives what there is to say of it. Nothing of it stops the caller, whose predictions are in the log: who drains next takes them in.
pub async fn drain_in_turn(engine: &dyn Engine, warehouse: &Warehouse, wait_max: Duration) -> Vec<Report> {
    let mut said = Vec::new();
    let until = tokio::time::Instant::now() + wait_max;
    loop {
        let drained = match hold_drain(warehouse) {
            Ok(Some(hold)) => drain_held(engine, warehouse, &hold).await,
            Ok(None) if tokio::time::Instant::now() < until => {
                tokio::time::sleep(TURN_EVERY).await;
                continue;
            }
            Ok(None) => return said,
            Err(report) => Err(report),
        };
        match drained {
            Ok(drained) => {
                said.extend(drained.damaged.iter().map(|path| damaged(path)));
                if drained.segments < SEGMENTS_MAX {
                    return said;
                }
            }
            Err(report) => {
                let stays = "the predictions are in the log, and become rows of their table with the next ones";
                said.push(Report { severity: Severity::Warning, ..report }.note(stays));
                return said;
            }
        }
    }
}

async fn drain_held(engine: &dyn Engine, warehouse: &Warehouse, _hold: &DrainHold) -> Result<Drained, Report> {
    let mut taken = Vec::new();
    for segment in log::segments(&warehouse.log_dir())? {
        if taken.len() < SEGMENTS_MAX
            && let Some(lock) = log::take(&segment)?
        {
            taken.push((segment, lock));
        }
    }
    if taken.is_empty() {
        return Ok(Drained::default());
    }
    let table = predictions_table(warehouse);
    let present = engine.files(&table, None).await.map_err(|error| error.report(SUBJECT))?;
    let mut files = present.map(|present| present.files).unwrap_or_default();

    let mut drained = Drained { segments: taken.len(), ..Drained::default() };
    let mut damaged = Vec::new();
    let mut fresh = Vec::new();
    for (segment, _lock) in &taken {
        let is_present = files.iter().any(|file| file.path.starts_with(&file_prefix(segment)));
        let (in_thread, of) = (warehouse.clone(), segment.clone());
        let staged = tokio::task::spawn_blocking(move || stage(&in_thread, &of, is_present)).await;
        let (staged, end) = staged.map_err(|_| Report::error("internal", "taking in the prediction log failed"))??;
        drained.rows += staged.iter().map(|file| file.rows).sum::<u64>();
        damaged.push(matches!(end, End::Damaged(_)));
        fresh.extend(staged);
    }
    let has_grown = !fresh.is_empty();
    if has_grown {
        files.extend(fresh);
        let info = vec![("pelton.segments".to_string(), taken.len().to_string())];
        let commit = Commit { schema: predictions_schema(), files: files.clone(), info };
        drained.version = Some(engine.commit(&table, commit).await.map_err(|error| error.report(SUBJECT))?);
    }
    for ((segment, _lock), damaged) in taken.iter().zip(damaged) {
        drained.damaged.extend(settle(segment, damaged)?);
    }
    if has_grown && let Some(version) = merge(engine, warehouse, &table, files).await? {
        drained.version = Some(version);
    }
    Ok(drained)
}

/// Merges small files into one, sorted by receipt and so by time, when there are many; gives the table's version.
async fn merge(
    engine: &dyn Engine,
    warehouse: &Warehouse,
    table: &TableLocation,
    files: Vec<DataFile>,
) -> Result<Option<i64>, Report> {
    let failed = |error: QueryError| error.report(SUBJECT);
    let (small, mut rest): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.bytes < SMALL_BYTES_MAX);
    if small.len() < SMALL_FILES_MAX {
        return Ok(None);
    }
    let merged = format!("part-{}", uuid::Uuid::now_v7());
    let catalog = catalog_of(table, small);
    let query = format!("select * from {} order by receipt", sql::ident(TABLE));
    let mut stream = engine.query(&catalog, &query).await.map_err(failed)?;
    let mut writer = writer(warehouse, &merged)?;
    while let Some(batch) = stream.batches.next().await {
        let batch = batch.map_err(failed)?;
        // Encoding is work for a thread; the writer comes back with what it did.
        let written = tokio::task::spawn_blocking(move || writer.write(&batch).map(|()| writer)).await;
        writer = written.map_err(|_| Report::error("internal", "merging predictions failed"))??;
    }
    let staged = tokio::task::spawn_blocking(move || writer.finish()).await;
    rest.extend(staged.map_err(|_| Report::error("internal", "merging predictions failed"))??.files);
    let info = vec![("pelton.merged".to_string(), merged)];
    let commit = Commit { schema: predictions_schema(), files: rest, info };
    engine.commit(table, commit).await.map(Some).map_err(failed)
}

fn writer(warehouse: &Warehouse, prefix: &str) -> Result<StageWriter, Report> {
    // Files of the default size: a file is put together in memory.
    Ok(StageWriter::new(warehouse, &format!("tables/{TABLE}"), prefix, predictions_schema(), StageOptions::default())?)
}

pub(crate) fn catalog_of(table: &TableLocation, files: Vec<DataFile>) -> Catalog {
    let (schema, folder) = (predictions_schema(), table.0.clone());
    Catalog::default().with(TABLE, Relation::Files { schema, folder, files: Arc::new(files) })
}

/// Moves a log into the table until `stop` completes, then once more: every `every` the segment that is being written ends, and what is
/// complete is taken in. `tell` hears of what went wrong, and of damage that was found; predictions wait in their segments meanwhile.
///
/// A drain runs on a task of its own, so that what waits beside this goes on, and to its end: cancelled halfway it would leave its
/// writer at work beside that of the next one.
pub async fn keep_draining(
    log: Arc<Log>,
    engine: Arc<dyn Engine>,
    warehouse: Warehouse,
    every: Duration,
    stop: impl Future<Output = ()>,
    mut tell: impl FnMut(Report),
) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::pin!(stop);
    let mut is_last = false;
    while !is_last {
        tokio::select! {
            () = &mut stop => is_last = true,
            _ = ticks.tick() => {}
        }
        let (log, engine, warehouse) = (Arc::clone(&log), Arc::clone(&engine), warehouse.clone());
        let draining = tokio::spawn(async move {
            log.rotate().await?;
            drain(engine.as_ref(), &warehouse).await
        });
        match draining.await.unwrap_or_else(|_| Err(Report::error("internal", "taking in the prediction log failed"))) {
            Ok(drained) => drained.damaged.iter().map(|path| damaged(path)).for_each(&mut tell),
            Err(report) => tell(report),
        }
    }
}

fn damaged(kept: &Path) -> Report {
    Report::warning("damaged-artifact", "a part of the prediction log is damaged")
        .note("the predictions in it that can be read are in the table")
        .note(format!("the rest is kept as `{}`", kept.display()))
}

/// Held by the one process that changes the table of predictions; given back when dropped, or when the process dies.
#[derive(Debug)]
pub struct DrainHold {
    _lock: FileLock,
}

/// Keeps the table of predictions as it is; `None` while another process changes it.
pub fn hold_drain(warehouse: &Warehouse) -> Result<Option<DrainHold>, Report> {
    let path = warehouse.log_dir().join("drain.lock");
    let failed = |error: io::Error| log::unwritable(&path, &error);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    FileLock::of(file).map(|lock| lock.map(|lock| DrainHold { _lock: lock })).map_err(failed)
}

/// Names of files in the log's folder that a process left which died before they became segments.
pub fn abandoned_segments(warehouse: &Warehouse) -> Result<Vec<String>, Report> {
    log::abandoned(&warehouse.log_dir())
}

/// How the names of a segment's files begin; [`StageWriter`] adds a number.
fn file_prefix(segment: &SegmentInfo) -> String {
    format!("part-{}", segment.name)
}

/// Writes a segment's records to Parquet, unless the table has them; says how the segment ends.
fn stage(warehouse: &Warehouse, segment: &SegmentInfo, is_present: bool) -> Result<(Vec<DataFile>, End), Report> {
    let unreadable = |error: io::Error| log::unwritable(&segment.path, &error);
    if is_present {
        return Ok((Vec::new(), log::read(&segment.path, |_| true).map_err(unreadable)?));
    }
    let mut writer = writer(warehouse, &file_prefix(segment))?;
    let mut rows = Rows::default();
    let mut failed = None;
    let mut is_readable = true;
    let end = log::read(&segment.path, |bytes| {
        match Record::from_bytes(bytes) {
            Ok(record) => rows.push(&record),
            // It is kept aside like other damage: one record must not hold up those after it.
            Err(_) => is_readable = false,
        }
        if rows.receipt.len() >= CHUNK_ROWS {
            let batch = std::mem::take(&mut rows).finish();
            failed = batch.and_then(|batch| Ok(writer.write(&batch)?)).err();
        }
        failed.is_none()
    });
    let end = end.map_err(unreadable)?;
    if let Some(report) = failed {
        return Err(report);
    }
    if !rows.receipt.is_empty() {
        writer.write(&rows.finish()?)?;
    }
    Ok((writer.finish()?.files, if is_readable { end } else { End::Damaged(0) }))
}

/// Deletes a segment whose records are in the table; one with damage is kept under another name, which is given.
fn settle(segment: &SegmentInfo, damaged: bool) -> Result<Option<PathBuf>, Report> {
    let kept = segment.path.with_extension("damaged");
    fail::before(Point::DrainSettle).map_err(|error| log::unwritable(&segment.path, &error))?;
    let done = if damaged { fs::rename(&segment.path, &kept) } else { fs::remove_file(&segment.path) };
    match done {
        Ok(()) => Ok(damaged.then_some(kept)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(log::unwritable(&segment.path, &error)),
    }
}

/// The table's columns, as records come in.
#[derive(Default)]
struct Rows {
    receipt: StringBuilder,
    at: TimestampMicrosecondBuilder,
    environment: StringBuilder,
    publication: Int64Builder,
    model: StringBuilder,
    version: StringBuilder,
    row: Int64Builder,
    prediction: StringBuilder,
    score: Float64Builder,
    request: StringBuilder,
    features: StringBuilder,
    output: StringBuilder,
}

/// The columns of the output that the table has by themselves.
#[derive(serde::Deserialize)]
struct Headline<'a> {
    #[serde(borrow, default)]
    prediction: Option<&'a RawValue>,
    #[serde(default)]
    score: Option<f64>,
}

impl Rows {
    fn push(&mut self, record: &Record) {
        self.receipt.append_value(&record.receipt.0);
        self.at.append_value(record.at_us);
        self.environment.append_value(&record.environment);
        self.publication.append_value(record.publication);
        self.model.append_value(record.model.as_str());
        self.version.append_value(&record.version.0);
        self.row.append_value(i64::try_from(record.row).unwrap_or(i64::MAX));
        // A score that is not a number is text in JSON; the column has nothing for it, `output` still has all.
        let headline = serde_json::from_str::<Headline>(record.output.get()).ok();
        let prediction = headline.as_ref().and_then(|headline| headline.prediction).map(RawValue::get);
        self.prediction.append_option(prediction.map(|text| unquote(text).unwrap_or(Cow::Borrowed(text))));
        self.score.append_option(headline.and_then(|headline| headline.score));
        self.request.append_value(record.request.get());
        let features = serde_json::to_string(&record.features).expect("a record has string keys only");
        self.features.append_value(features);
        self.output.append_value(record.output.get());
    }

    fn finish(mut self) -> Result<RecordBatch, Report> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.receipt.finish()),
            Arc::new(self.at.finish().with_timezone("UTC")),
            Arc::new(self.environment.finish()),
            Arc::new(self.publication.finish()),
            Arc::new(self.model.finish()),
            Arc::new(self.version.finish()),
            Arc::new(self.row.finish()),
            Arc::new(self.prediction.finish()),
            Arc::new(self.score.finish()),
            Arc::new(self.request.finish()),
            Arc::new(self.features.finish()),
            Arc::new(self.output.finish()),
        ];
        RecordBatch::try_new(predictions_schema(), columns).map_err(|error| {
            Report::error("internal", "logged predictions do not fit their table").note(error.to_string())
        })
    }
}

/// Finds a prediction by its receipt in the table.
pub(crate) async fn find_in_table(
    engine: &dyn Engine,
    table: &TableLocation,
    receipt: &ReceiptId,
) -> Result<Option<Record>, Report> {
    let failed = |error: QueryError| error.report(SUBJECT);
    let Some(present) = engine.files(table, None).await.map_err(failed)? else { return Ok(None) };
    let catalog = catalog_of(table, present.files);
    let query = format!("select * from {} where receipt = {}", sql::ident(TABLE), sql::text(&receipt.0));
    let rows = engine.query(&catalog, &query).await.map_err(failed)?;
    let rows = collect(rows).await.map_err(failed)?;
    rows.iter().find(|batch| batch.num_rows() > 0).map(record_of).transpose()
}

/// The record of the first row of a batch of the table.
fn record_of(batch: &RecordBatch) -> Result<Record, Report> {
    let damaged = || Report::error("damaged-table", "a row of the table of predictions is not a prediction");
    let column = |name: &str, data_type: &DataType| -> Result<ArrayRef, Report> {
        let column = batch.column_by_name(name).ok_or_else(damaged)?;
        let column = arrow::compute::cast(&column.slice(0, 1), data_type).map_err(|_| damaged())?;
        if column.is_null(0) { Err(damaged()) } else { Ok(column) }
    };
    let text =
        |name: &str| Ok::<String, Report>(column(name, &DataType::Utf8)?.as_string::<i32>().value(0).to_string());
    let number = |name: &str| Ok::<i64, Report>(column(name, &DataType::Int64)?.as_primitive::<Int64Type>().value(0));
    let json = |name: &str| RawValue::from_string(text(name)?).map_err(|_| damaged());
    Ok(Record {
        receipt: ReceiptId(text("receipt")?),
        at_us: column("at", &types::timestamp())?.as_primitive::<TimestampMicrosecondType>().value(0),
        environment: text("environment")?,
        publication: number("publication")?,
        model: NodeName::new(text("model")?),
        version: VersionId(text("version")?),
        row: u64::try_from(number("row")?).map_err(|_| damaged())?,
        request: json("request")?,
        features: serde_json::from_str(&text("features")?).map_err(|_| damaged())?,
        output: json("output")?,
    })
}
