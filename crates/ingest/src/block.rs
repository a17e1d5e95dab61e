//! Rows on their way from a parser to the sink: blocks of rows that fit, with the rows that do not and their reasons.
//!
//! [`Assembler`] is where a parser puts values row by row, and where the contract decides what becomes of a row.

use crate::column::ColumnBuilder;
use crate::error::IngestError;
use crate::keys::KeySet;
use crate::list::InputFile;
use crate::schema::{Plan, PlanColumn, Verdict};
use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::filter_record_batch;
use pelton_base::{Digest, Place, Report};
use std::sync::Arc;

/// How much of a rejected row's text is kept.
pub(crate) const RAW_BYTES_MAX: usize = 4 << 10;

/// What stands at the end of a text that was cut.
pub(crate) const CUT: char = '…';

/// A block is handed on when its rows take this much text, however few they are.
const BLOCK_BYTES_MAX: usize = 8 << 20;

/// A row that goes to quarantine.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Rejected {
    /// What it breaks: `unreadable`, `columns`, `data_type`, `null_key` or `duplicate_key`.
    pub rule: String,
    /// How, in a sentence without a full stop.
    pub reason: String,
    /// The file, as named by [`InputFile::path`].
    pub file: String,
    /// The line of the file on which the row begins, from 1; for Parquet the number of the row, from 1.
    pub line: u64,
    /// The column, when one is to blame.
    pub column: Option<String>,
    /// The row as it stands in the file, at most 4 KiB of it; for Parquet the row as JSON.
    pub raw: String,
}

/// What became of the rows of a file: `rows_in == rows + quarantined + dropped`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct FileCounts {
    /// Rows that the file has; blank lines and the header are none.
    pub rows_in: u64,
    /// Rows handed on.
    pub rows: u64,
    /// Rows in quarantine.
    pub quarantined: u64,
    /// Rows that `discard_row` dropped.
    pub dropped: u64,
    /// Values that `discard_value` dropped from rows that were handed on or not.
    pub values_dropped: u64,
    /// The digest of the file's bytes.
    pub digest: Digest,
}

/// Why a parser stops before the end of its file.
pub(crate) enum Halt {
    /// Nobody waits for the rows any more.
    Unwanted,
    /// The file cannot be taken in.
    Failed(IngestError),
}

impl<E: Into<IngestError>> From<E> for Halt {
    fn from(error: E) -> Self {
        Halt::Failed(error.into())
    }
}

/// Where a parser hands its blocks.
pub(crate) type Out<'a> = &'a mut dyn FnMut(Block) -> Result<(), Halt>;

/// What a parser knows at the end of a file.
pub(crate) struct FileEnd {
    /// The digest of the file's bytes.
    pub(crate) digest: Digest,
    /// For each column of the plan, whether the file has it.
    pub(crate) seen: Vec<bool>,
}

/// Some rows of a file, in order.
pub(crate) struct Block {
    /// Rows that fit the schema.
    pub(crate) batch: RecordBatch,
    /// Their lines.
    pub(crate) lines: Vec<u64>,
    /// Their text, kept when the source has a key: a later row with the same key goes to quarantine with its text.
    pub(crate) raws: Raws,
    /// Their keys; empty when the source has none.
    pub(crate) keys: Vec<Option<u128>>,
    /// Rows that do not fit.
    pub(crate) rejected: Vec<Rejected>,
    /// Rows read, whatever became of them.
    pub(crate) rows_in: u64,
    /// Rows dropped.
    pub(crate) dropped: u64,
    /// Values dropped.
    pub(crate) values_dropped: u64,
}

/// The text of rows, should one of them be rejected later.
pub(crate) enum Raws {
    /// Not kept.
    None,
    /// As it stood in the file.
    Text {
        /// All rows' text, one behind the other.
        bytes: Vec<u8>,
        /// Where each row ends.
        ends: Vec<usize>,
    },
    /// Rows of a Parquet file as they were read, written as JSON when needed.
    Rows(RecordBatch),
}

impl Raws {
    pub(crate) fn get(&self, row: usize) -> String {
        match self {
            Raws::None => String::new(),
            Raws::Text { bytes, ends } => {
                let start = if row == 0 { 0 } else { ends[row - 1] };
                shorten(&bytes[start..ends[row]])
            }
            Raws::Rows(batch) => crate::parquet::row_as_json(batch, row),
        }
    }
}

/// At most [`RAW_BYTES_MAX`] of a row's text; what is not UTF-8 becomes `�`.
pub(crate) fn shorten(raw: &[u8]) -> String {
    if raw.len() <= RAW_BYTES_MAX {
        return String::from_utf8_lossy(raw).into_owned();
    }
    let mut end = RAW_BYTES_MAX;
    // Do not cut a character in two.
    while end > RAW_BYTES_MAX - 4 && raw[end] & 0xC0 == 0x80 {
        end -= 1;
    }
    format!("{}{CUT}", String::from_utf8_lossy(&raw[..end]))
}

/// What is wrong with a row.
pub(crate) struct Trouble {
    pub(crate) verdict: Verdict,
    rule: &'static str,
    reason: String,
    column: Option<String>,
    /// Where in the row's text, in bytes.
    at: usize,
}

impl Trouble {
    pub(crate) fn new(verdict: Verdict, rule: &'static str, reason: String, column: Option<&str>, at: usize) -> Self {
        Trouble { verdict, rule, reason, column: column.map(str::to_string), at }
    }

    /// A row that cannot be read at all; `place` in bytes.
    pub(crate) fn unreadable(plan: &Plan, reason: String, at: usize) -> Self {
        Trouble { verdict: plan.on_unreadable, rule: "unreadable", reason, column: None, at }
    }

    /// The row for the quarantine.
    pub(crate) fn reject(self, file: &InputFile, line: u64, raw: String) -> Rejected {
        let rule = self.rule.to_string();
        Rejected { rule, reason: self.reason, file: file.path.clone(), line, column: self.column, raw }
    }

    /// The report of a row that breaks a frozen contract; `text` is the beginning of its text.
    pub(crate) fn stop(&self, plan: &Plan, file: &InputFile, line: u64, text: &str) -> Report {
        let place = match text {
            "" => Place { line: 1, ..Place::file(&file.path) },
            _ => Place::in_text(&file.path, text, self.at, self.at),
        };
        let place = Place { line: line as usize + place.line - 1, ..place };
        broken(&plan.source, self.rule, &self.reason, self.column.as_deref()).at(place)
    }
}

/// The troubles of a row: the gravest counts, among equals the first.
#[derive(Default)]
pub(crate) struct Troubles {
    gravest: Option<Trouble>,
    pub(crate) values_dropped: u64,
}

impl Troubles {
    pub(crate) fn into_gravest(self) -> Option<Trouble> {
        self.gravest
    }

    pub(crate) fn add(&mut self, verdict: Verdict, trouble: impl FnOnce() -> Trouble) {
        if verdict == Verdict::DropValue {
            self.values_dropped += 1;
        } else if self.gravest.as_ref().is_none_or(|known| known.verdict < verdict) {
            self.gravest = Some(trouble());
        }
    }
}

/// Builds blocks row by row.
pub(crate) struct Assembler<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) file: &'a InputFile,
    /// One builder a column, in the order of the schema.
    pub(crate) builders: Vec<ColumnBuilder>,
    /// Whether the file has the column; builders of others stay empty.
    present: Vec<bool>,
    rows: usize,
    keep: Vec<bool>,
    lines: Vec<u64>,
    raw_bytes: Vec<u8>,
    raw_ends: Vec<usize>,
    rejected: Vec<Rejected>,
    rows_in: u64,
    dropped: u64,
    values_dropped: u64,
    bytes: usize,
    batch_rows: usize,
    out: Out<'a>,
}

impl<'a> Assembler<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        file: &'a InputFile,
        present: Vec<bool>,
        batch_rows: usize,
        out: Out<'a>,
    ) -> Self {
        let builder = |column: &PlanColumn| {
            let mut builder = ColumnBuilder::new(&column.data_type, batch_rows);
            if !plan.declared.contains(&column.name) {
                builder.be_exact();
            }
            builder
        };
        Assembler {
            plan,
            file,
            builders: plan.columns.iter().map(builder).collect(),
            present,
            rows: 0,
            keep: Vec::with_capacity(batch_rows),
            lines: Vec::with_capacity(batch_rows),
            raw_bytes: Vec::new(),
            raw_ends: Vec::new(),
            rejected: Vec::new(),
            rows_in: 0,
            dropped: 0,
            values_dropped: 0,
            bytes: 0,
            batch_rows: batch_rows.max(1),
            out,
        }
    }

    /// Ends a row whose values are in the builders.
    pub(crate) fn end_row(&mut self, line: u64, raw: &[u8], troubles: Troubles) -> Result<(), Halt> {
        self.rows += 1;
        self.keep.push(troubles.gravest.is_none());
        self.values_dropped += troubles.values_dropped;
        match troubles.gravest {
            None => {
                self.lines.push(line);
                if !self.plan.key.is_empty() {
                    self.raw_bytes.extend_from_slice(&raw[..raw.len().min(RAW_BYTES_MAX + 4)]);
                    self.raw_ends.push(self.raw_bytes.len());
                }
                self.count(raw.len())
            }
            Some(trouble) => self.end_bad_row(line, raw, trouble),
        }
    }

    /// Ends a row that cannot be read, but whose columns are in the builders: as far as it was read, then nulls.
    pub(crate) fn end_filled_bad_row(&mut self, line: u64, raw: &[u8], trouble: Trouble) -> Result<(), Halt> {
        self.rows += 1;
        self.keep.push(false);
        self.end_bad_row(line, raw, trouble)
    }

    /// Ends a row that left nothing in the builders.
    pub(crate) fn end_bad_row(&mut self, line: u64, raw: &[u8], trouble: Trouble) -> Result<(), Halt> {
        match trouble.verdict {
            Verdict::Stop => {
                let text = String::from_utf8_lossy(&raw[..raw.len().min(RAW_BYTES_MAX)]);
                return Err(trouble.stop(self.plan, self.file, line, &text).into());
            }
            Verdict::DropRow => self.dropped += 1,
            _ => self.rejected.push(trouble.reject(self.file, line, shorten(raw))),
        }
        self.count(raw.len())
    }

    fn count(&mut self, bytes: usize) -> Result<(), Halt> {
        self.rows_in += 1;
        self.bytes += bytes;
        if self.rows_in as usize >= self.batch_rows || self.bytes >= BLOCK_BYTES_MAX {
            return self.flush();
        }
        Ok(())
    }

    /// Hands on what there is.
    pub(crate) fn flush(&mut self) -> Result<(), Halt> {
        if self.rows_in == 0 {
            return Ok(());
        }
        let rows = self.rows;
        let columns: Vec<ArrayRef> = self
            .builders
            .iter_mut()
            .zip(&self.plan.columns)
            .zip(&self.present)
            .map(|((builder, column), present)| match present {
                true => builder.finish(),
                false => new_null_array(&column.data_type, rows),
            })
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let mut batch = RecordBatch::try_new_with_options(Arc::clone(&self.plan.schema), columns, &options)
            .expect("every row adds one value to every column");
        let keep = std::mem::take(&mut self.keep);
        if keep.contains(&false) {
            batch = filter_record_batch(&batch, &BooleanArray::from(keep)).expect("one mark a row");
        }
        let raws = match self.plan.key.is_empty() {
            true => Raws::None,
            false => {
                Raws::Text { bytes: std::mem::take(&mut self.raw_bytes), ends: std::mem::take(&mut self.raw_ends) }
            }
        };
        let block = Block {
            keys: keys(self.plan, &batch),
            batch,
            lines: std::mem::take(&mut self.lines),
            raws,
            rejected: std::mem::take(&mut self.rejected),
            rows_in: self.rows_in,
            dropped: self.dropped,
            values_dropped: self.values_dropped,
        };
        (self.rows, self.rows_in, self.dropped, self.values_dropped, self.bytes) = (0, 0, 0, 0, 0);
        (self.out)(block)
    }
}

/// The keys of rows that fit.
pub(crate) fn keys(plan: &Plan, batch: &RecordBatch) -> Vec<Option<u128>> {
    if plan.key.is_empty() {
        return Vec::new();
    }
    KeySet::hash_rows(batch, &plan.key).expect("key columns were looked up when the schema was resolved")
}

/// The report of a difference from a frozen contract; the caller adds the place.
pub(crate) fn broken(source: &str, rule: &str, reason: &str, column: Option<&str>) -> Report {
    let message = match column {
        Some(column) => format!("source `{source}` breaks its frozen contract in column `{column}`: {reason}"),
        None => format!("source `{source}` breaks its frozen contract: {reason}"),
    };
    let word = if rule == "columns" { "columns" } else { "data_type" };
    Report::error("contract-broken", message)
        .note(format!("the contract says `{word} = \"freeze\"`; nothing of the source was taken in"))
        .hint(format!("correct the file, or set `{word} = \"quarantine\"` under `contract`"))
}
