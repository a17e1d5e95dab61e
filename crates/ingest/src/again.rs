//! Rows that were rejected, read once more from their text: as it was kept, or as somebody repaired it.
//!
//! Each text is read as a file of its own, with the header of the file that it came from, so that a quote that is never closed
//! costs its own row and no other.

use crate::block::{CUT, FileCounts, RAW_BYTES_MAX, Rejected};
use crate::csv;
use crate::error::IngestError;
use crate::list::{Compression, InputFile, format_of};
use crate::pipeline::{Sink, TakeIn, take_in};
use crate::schema::{Known, text_settings};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use pelton_project::model::{ContractRule, FileFormat, Node, Source};
use std::path::PathBuf;
use std::sync::Arc;

/// How the rows of a file are written, as far as one row alone must be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    path: String,
    format: FileFormat,
    header: Option<String>,
}

impl Origin {
    /// Of a file that is there: its header is read.
    pub fn of(source: &Source, node: &Node, file: &InputFile) -> Result<Self, IngestError> {
        let header = match file.format {
            FileFormat::Csv => csv::header_text(file, &text_settings(source, node)?)?,
            FileFormat::Ndjson | FileFormat::Parquet => None,
        };
        Ok(Origin { path: file.path.clone(), format: row_format(file.format), header })
    }

    /// Of a file that is gone; `None` when its rows cannot be told apart into columns without its header.
    pub fn gone(source: &Source, path: &str) -> Option<Self> {
        let format = source.format.or(format_of(path).0)?;
        let needs_header = format == FileFormat::Csv && source.csv.header;
        (!needs_header).then(|| Origin { path: path.to_string(), format: row_format(format), header: None })
    }

    /// A row's text as a file.
    fn file(&self, text: &str) -> InputFile {
        let text = match &self.header {
            Some(header) => format!("{header}\n{text}\n"),
            None => format!("{text}\n"),
        };
        InputFile {
            path: self.path.clone(),
            absolute: PathBuf::new(),
            bytes: text.len() as u64,
            modified_us: 0,
            format: self.format,
            compression: Compression::None,
            text: Some(Arc::from(text)),
        }
    }
}

/// The rejected rows of a Parquet file are kept as JSON.
fn row_format(format: FileFormat) -> FileFormat {
    if format == FileFormat::Parquet { FileFormat::Ndjson } else { format }
}

/// What became of a text.
#[derive(Debug, Clone, PartialEq)]
pub enum Again {
    /// It is a row of the source now.
    Fits(RecordBatch),
    /// It is none; why, in a sentence without a full stop.
    Refused(String),
}

/// Whether a rejected row's text is all that its file had: not cut, and readable in the file's encoding.
///
/// A text that was cut in front of a character of four bytes is, with its mark, no longer than a whole one may be. So one of exactly that
/// length that ends like a cut one counts as cut: it can be repaired, but nothing of it gets lost.
pub fn is_whole(raw: &str) -> bool {
    let may_be_cut = raw.len() >= RAW_BYTES_MAX && raw.ends_with(CUT);
    raw.len() <= RAW_BYTES_MAX && !may_be_cut && !raw.contains('\u{FFFD}')
}

/// Reads rows from their texts under the source's contract; the answers come in the order of the texts.
///
/// `known` has the columns of the version, which stay as they are: what would widen or add one is refused; and the keys of all its
/// rows: a text whose key is there, or in a text before it, is refused.
pub fn read_again(
    source: &Source,
    node: &Node,
    texts: &[(&Origin, &str)],
    known: Known,
    threads: usize,
) -> Result<Vec<Again>, IngestError> {
    let mut source = source.clone();
    // The text was decoded when it was rejected.
    source.csv.encoding = "utf-8".to_string();
    for rule in [&mut source.contract.columns, &mut source.contract.data_type] {
        if *rule != ContractRule::DiscardValue {
            *rule = ContractRule::Quarantine;
        }
    }
    let mut answers: Vec<Option<Again>> = vec![None; texts.len()];
    let (mut files, mut places) = (Vec::new(), Vec::new());
    for (at, (origin, text)) in texts.iter().enumerate() {
        if origin.format == FileFormat::Ndjson && !text.trim_start().starts_with('{') {
            answers[at] = Some(Again::Refused("it is not a JSON object".to_string()));
        } else {
            files.push(origin.file(text));
            places.push(at);
        }
    }
    if !files.is_empty() {
        let mut sink = OneByOne::default();
        take_in(&source, node, &files, known, &mut sink, &TakeIn { threads, batch_rows: 1 })?;
        for (at, answer) in places.into_iter().zip(sink.answers) {
            answers[at] = Some(answer);
        }
    }
    Ok(answers.into_iter().map(|answer| answer.expect("every text was refused or read")).collect())
}

/// Keeps what came of each file.
#[derive(Default)]
struct OneByOne {
    answers: Vec<Again>,
    rows: Option<RecordBatch>,
    reason: Option<String>,
}

impl Sink for OneByOne {
    fn begin_file(&mut self, _: &InputFile, _: &SchemaRef) -> Result<(), IngestError> {
        (self.rows, self.reason) = (None, None);
        Ok(())
    }

    fn rows(&mut self, batch: RecordBatch) -> Result<(), IngestError> {
        self.rows = Some(batch);
        Ok(())
    }

    fn rejected(&mut self, row: Rejected) -> Result<(), IngestError> {
        self.reason = Some(match row.column {
            Some(column) => format!("{column}: {}", row.reason),
            None => row.reason,
        });
        Ok(())
    }

    fn end_file(&mut self, counts: FileCounts) -> Result<(), IngestError> {
        let reason = match counts.rows_in {
            1 => self.reason.take(),
            0 => Some("it is empty".to_string()),
            rows => Some(format!("it is {rows} rows, not one")),
        };
        self.answers.push(match (reason, self.rows.take()) {
            (None, Some(row)) => Again::Fits(row),
            (reason, _) => Again::Refused(reason.unwrap_or_else(|| "a rule of the contract drops it".to_string())),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::shorten;

    #[test]
    fn a_cut_text_is_never_whole_whatever_stands_at_the_cut() {
        for character in ["a", "é", "…", "😀"] {
            for before in 0..8 {
                let raw = "x".repeat(RAW_BYTES_MAX - before) + &character.repeat(8);
                let kept = shorten(raw.as_bytes());
                assert_eq!(is_whole(&kept), kept == raw, "{character} after {before}: {} bytes", kept.len());
            }
        }
        assert!(is_whole(&"x".repeat(RAW_BYTES_MAX)));
        assert!(is_whole("short…"));
    }
}
