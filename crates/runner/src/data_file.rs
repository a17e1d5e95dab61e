//! Reads one data file that belongs to no source, as a source of Pelton's own, so that CSV, NDJSON and Parquet are understood as
//! everywhere.

use pelton_base::{NodeName, Reports};
use pelton_ingest::{FileCounts, IngestError, InputFile, Intake, Known, Rejected, Sink, TakeIn};
use pelton_project::{Body, Column, Contract, CsvSettings, Node, Source, Spanned};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

/// What a file holds.
pub(crate) struct Read {
    /// Its rows.
    pub(crate) batches: Vec<RecordBatch>,
    /// Rows that the contract does not let in.
    pub(crate) rejected: Vec<Rejected>,
    /// Its columns.
    pub(crate) intake: Intake,
}

/// Reads a file with these columns and types.
pub(crate) fn read(
    file: InputFile,
    what: &str,
    columns: impl IntoIterator<Item = (String, String)>,
    csv: CsvSettings,
    contract: Contract,
) -> Result<Read, Reports> {
    let plain = |value: String| Spanned { value, span: (0, 0) };
    let column = |(name, data_type)| Column { name: plain(name), data_type: plain(data_type), description: None };
    let source = Source {
        kind: "files".into(),
        path: plain(file.path.clone()),
        format: None,
        csv,
        key: Vec::new(),
        time: None,
        contract,
        columns: columns.into_iter().map(column).collect(),
        checks: Vec::new(),
    };
    let node = Node {
        name: NodeName::new(what),
        file: file.path.clone(),
        text: String::new(),
        description: None,
        tags: Vec::new(),
        body: Body::Source(Box::new(source.clone())),
        reads: Vec::new(),
        checked_with: Default::default(),
    };
    let mut rows = Rows::default();
    let intake = pelton_ingest::take_in(&source, &node, &[file], Known::default(), &mut rows, &TakeIn::default())
        .map_err(IngestError::into_reports)?;
    Ok(Read { batches: rows.batches, rejected: rows.rejected, intake })
}

#[derive(Default)]
struct Rows {
    batches: Vec<RecordBatch>,
    rejected: Vec<Rejected>,
}

impl Sink for Rows {
    fn begin_file(&mut self, _: &InputFile, _: &SchemaRef) -> Result<(), IngestError> {
        Ok(())
    }

    fn rows(&mut self, batch: RecordBatch) -> Result<(), IngestError> {
        self.batches.push(batch);
        Ok(())
    }

    fn rejected(&mut self, row: Rejected) -> Result<(), IngestError> {
        self.rejected.push(row);
        Ok(())
    }

    fn end_file(&mut self, _: FileCounts) -> Result<(), IngestError> {
        Ok(())
    }
}
