//! Files in, rows out: parsers on threads of their own, and one thread that puts their blocks in order, tells keys that were
//! there before, and hands everything to the sink.
//!
//! A file is parsed by one thread, so one huge file is parsed while its rows are sunk, and no faster. Files are handed to the
//! sink in their order, whichever is parsed first.

use crate::block::{Block, FileCounts, FileEnd, Halt, Rejected};
use crate::error::IngestError;
use crate::keys::KeySet;
use crate::list::InputFile;
use crate::schema::{Known, Look, Plan, resolve};
use crate::{csv, ndjson, parquet};
use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, SchemaRef};
use pelton_base::Report;
use pelton_project::model::{FileFormat, Node, Source};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};

/// How many blocks of a file may wait for the sink. A month of a busy shop fits in, so that the next file is parsed while this
/// one is written; with 8,192 rows of 200 bytes it is 13 MB for each thread.
pub const BLOCKS_WAITING_MAX: usize = 8;

/// The default of [`TakeIn::batch_rows`].
pub const BATCH_ROWS: usize = 8_192;

/// What takes the rows: file by file, each in order of its lines, as far as rows of one kind are concerned.
pub trait Sink {
    /// A file begins. The schema is that of all batches of all files.
    fn begin_file(&mut self, file: &InputFile, schema: &SchemaRef) -> Result<(), IngestError>;
    /// Rows of the file; never none.
    fn rows(&mut self, batch: RecordBatch) -> Result<(), IngestError>;
    /// A row that goes to quarantine.
    fn rejected(&mut self, row: Rejected) -> Result<(), IngestError>;
    /// The file ends.
    fn end_file(&mut self, counts: FileCounts) -> Result<(), IngestError>;
}

/// Limits of [`take_in`].
#[derive(Debug, Clone, Copy)]
pub struct TakeIn {
    /// How many files are parsed at the same time; the calling thread works as well.
    pub threads: usize,
    /// The most rows of a batch.
    pub batch_rows: usize,
}

impl Default for TakeIn {
    fn default() -> Self {
        TakeIn { threads: 1, batch_rows: BATCH_ROWS }
    }
}

/// What was taken in.
#[derive(Debug)]
pub struct Intake {
    /// The columns.
    pub schema: SchemaRef,
    /// Columns of the version before whose type changed: name, old type, new type.
    pub widened: Vec<(String, DataType, DataType)>,
    /// Columns that the version before did not have.
    pub new_columns: Vec<String>,
    /// Columns that none of the files has.
    pub missing_columns: Vec<String>,
    /// Columns without any value so far, stored as text: give them as `DataType::Null` in [`Known::columns`] next time, and
    /// they take the type of the first values that come.
    pub untyped: Vec<String>,
    /// The keys of all rows: those of [`Known::keys`] and of the rows handed on.
    pub keys: KeySet,
    /// The sums over all files; the digest is without meaning.
    pub counts: FileCounts,
}

/// Takes in files: every row is handed to the sink, as a row or as a rejected one, or was dropped by a declared rule and counted.
///
/// `files` are the new files only, in order; "later", where keys are concerned, is the order of files and then of lines. Stops
/// without an end of the file that was under way when a file is wrong as a whole, a frozen contract is broken, or the sink fails:
/// the caller throws away what the sink got.
pub fn take_in(
    source: &Source,
    node: &Node,
    files: &[InputFile],
    known: Known,
    sink: &mut dyn Sink,
    options: &TakeIn,
) -> Result<Intake, IngestError> {
    let threads = options.threads.max(1);
    let plan = resolve(source, node, files, &known.columns, Look { threads, sample_rows: None })?;
    let mut drain =
        Drain { plan: &plan, keys: known.keys, sums: FileCounts::default(), seen: vec![false; plan.columns.len()] };
    let (give, take) = channel::<Job<'_>>();
    let jobs = Mutex::new(take);
    std::thread::scope(|scope| -> Result<(), IngestError> {
        // Ends with this closure, so that the threads find no more jobs.
        let give = give;
        for _ in 0..threads.min(files.len()) {
            scope.spawn(|| work(&plan, &jobs, options.batch_rows));
        }
        // One file more than there are threads waits, so that a thread that is done finds its next file.
        let mut waiting: VecDeque<(&InputFile, Receiver<Message>)> = VecDeque::new();
        let mut rest = files.iter();
        loop {
            while waiting.len() <= threads {
                let Some(file) = rest.next() else { break };
                let (into, from) = sync_channel(BLOCKS_WAITING_MAX);
                give.send(Job { file, into }).expect("the queue of jobs lives as long as this loop");
                waiting.push_back((file, from));
            }
            // An error ends the loop and drops the channels: the parsers find nobody waiting, and stop.
            let Some((file, messages)) = waiting.pop_front() else { return Ok(()) };
            drain.file(file, &messages, sink)?;
        }
    })?;
    let Drain { keys, sums, seen, .. } = drain;
    let missing_columns =
        plan.columns.iter().zip(&seen).filter(|(_, seen)| !**seen).map(|(column, _)| column.name.clone()).collect();
    Ok(Intake {
        schema: plan.schema,
        widened: plan.widened,
        new_columns: plan.new_columns,
        missing_columns,
        untyped: plan.untyped,
        keys,
        counts: sums,
    })
}

/// A file to parse.
struct Job<'a> {
    file: &'a InputFile,
    into: SyncSender<Message>,
}

/// What a parser tells.
enum Message {
    Block(Block),
    End(FileEnd),
    Failed(IngestError),
}

/// Parses files until there are no more.
fn work(plan: &Plan, jobs: &Mutex<Receiver<Job<'_>>>, batch_rows: usize) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { file, into }) = job else { return };
        let mut out = |block| into.send(Message::Block(block)).map_err(|_| Halt::Unwanted);
        let end = match file.format {
            FileFormat::Csv => csv::read(plan, file, batch_rows, &mut out),
            FileFormat::Ndjson => ndjson::read(plan, file, batch_rows, &mut out),
            FileFormat::Parquet => parquet::read(plan, file, batch_rows, &mut out),
        };
        // When nobody waits any more, nobody needs to know.
        let _ = match end {
            Ok(end) => into.send(Message::End(end)),
            Err(Halt::Failed(error)) => into.send(Message::Failed(error)),
            Err(Halt::Unwanted) => Ok(()),
        };
    }
}

/// The calling thread's part.
struct Drain<'a> {
    plan: &'a Plan,
    keys: KeySet,
    sums: FileCounts,
    seen: Vec<bool>,
}

impl Drain<'_> {
    /// Hands a file to the sink.
    fn file(&mut self, file: &InputFile, messages: &Receiver<Message>, sink: &mut dyn Sink) -> Result<(), IngestError> {
        sink.begin_file(file, &self.plan.schema)?;
        let mut counts = FileCounts::default();
        loop {
            match messages.recv() {
                Ok(Message::Block(block)) => self.block(file, block, &mut counts, sink)?,
                Ok(Message::End(end)) => {
                    counts.digest = end.digest;
                    debug_assert_eq!(counts.rows_in, counts.rows + counts.quarantined + counts.dropped);
                    self.seen.iter_mut().zip(end.seen).for_each(|(all, here)| *all |= here);
                    self.sums.rows_in += counts.rows_in;
                    self.sums.rows += counts.rows;
                    self.sums.quarantined += counts.quarantined;
                    self.sums.dropped += counts.dropped;
                    self.sums.values_dropped += counts.values_dropped;
                    return sink.end_file(counts);
                }
                Ok(Message::Failed(error)) => return Err(error),
                Err(_) => {
                    let report =
                        Report::error("internal", format!("the parser of `{}` stopped without a word", file.path));
                    return Err(report.into());
                }
            }
        }
    }

    /// Hands a block to the sink, without rows whose key is missing or was there before.
    fn block(
        &mut self,
        file: &InputFile,
        block: Block,
        counts: &mut FileCounts,
        sink: &mut dyn Sink,
    ) -> Result<(), IngestError> {
        let Block { mut batch, lines, raws, keys, mut rejected, rows_in, dropped, values_dropped } = block;
        let before = rejected.len();
        let mut keep = Vec::with_capacity(keys.len());
        for (row, key) in keys.iter().enumerate() {
            let fits = key.is_some_and(|key| self.keys.insert(key));
            keep.push(fits);
            if !fits {
                rejected.push(self.reject(file, &batch, row, *key, lines[row], raws.get(row)));
            }
        }
        if rejected.len() > before {
            batch = filter_record_batch(&batch, &BooleanArray::from(keep)).expect("one mark a row");
            rejected.sort_by_key(|row| row.line);
        }
        counts.rows_in += rows_in;
        counts.rows += batch.num_rows() as u64;
        counts.quarantined += rejected.len() as u64;
        counts.dropped += dropped;
        counts.values_dropped += values_dropped;
        for row in rejected {
            sink.rejected(row)?;
        }
        if batch.num_rows() > 0 {
            sink.rows(batch)?;
        }
        Ok(())
    }

    fn reject(
        &self,
        file: &InputFile,
        batch: &RecordBatch,
        row: usize,
        key: Option<u128>,
        line: u64,
        raw: String,
    ) -> Rejected {
        let named = self.plan.key.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let is_missing = |name: &&String| batch.column_by_name(name).is_some_and(|column| column.is_null(row));
        let (rule, reason, column) = match key {
            Some(_) => {
                let column = if self.plan.key.len() == 1 { self.plan.key.first().cloned() } else { None };
                ("duplicate_key", format!("an earlier row has the same key ({named})"), column)
            }
            None => {
                let missing = self.plan.key.iter().find(is_missing).cloned();
                let name = missing.clone().unwrap_or_default();
                ("null_key", format!("`{name}` is part of the key and has no value"), missing)
            }
        };
        Rejected { rule: rule.into(), reason, file: file.path.clone(), line, column, raw }
    }
}
