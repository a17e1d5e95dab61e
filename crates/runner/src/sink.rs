//! Where the reader of a source's files hands its rows: each input file's rows become Parquet files of its own, so that they can be replaced
//! when the file changes.

use crate::context::Context;
use crate::run::{Building, Handle};
use crate::source_files::Recency;
use crate::stage;
use pelton_base::{NodeName, VersionId};
use pelton_ingest::{FileCounts, IngestError, InputFile, Rejected, Sink};
use pelton_project::Node;
use pelton_store::{ColumnType, SourceFile, StageWriter};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;

/// Writes each input file's rows into Parquet files of its own.
pub(crate) struct FileSink {
    ctx: Context,
    node: NodeName,
    id: VersionId,
    part: String,
    building: Handle,
    recency: Recency,
    open: Option<OpenFile>,
    /// Whether a row had the key of another one.
    pub(crate) has_duplicates: bool,
    /// The files whose rows are written.
    pub(crate) done: Vec<SourceFile>,
}

struct OpenFile {
    file: InputFile,
    schema: SchemaRef,
    rows: StageWriter,
    rejected: Vec<Rejected>,
    quarantine: Option<StageWriter>,
}

/// How many rejected rows are collected before they are written.
const REJECTED_BATCH: usize = 1024;

impl FileSink {
    /// Made before the first file is opened.
    pub(crate) fn new(building: &Building<'_>, node: &Node, id: &VersionId, part: &str) -> Self {
        FileSink {
            ctx: building.ctx.clone(),
            node: node.name.clone(),
            id: id.clone(),
            part: part.to_string(),
            building: building.handle(),
            recency: Recency::now(),
            open: None,
            has_duplicates: false,
            done: Vec::new(),
        }
    }

    fn part(&self) -> String {
        format!("{}-f{}", self.part, self.done.len())
    }

    fn write_rejected(&mut self) -> Result<(), IngestError> {
        let part = self.part();
        let Some(open) = &mut self.open else { return Ok(()) };
        if open.rejected.is_empty() {
            return Ok(());
        }
        let batch = quarantine_batch(&self.building.run.0, &self.node, &open.rejected, self.ctx.now_us());
        open.rejected.clear();
        if open.quarantine.is_none() {
            let writer = stage::quarantine_writer(&self.ctx, &self.building.run, &self.id, &part);
            open.quarantine = Some(writer.map_err(|error| IngestError::sink(error.report()))?);
        }
        match &mut open.quarantine {
            Some(writer) => writer.write(&batch).map_err(|error| IngestError::sink(error.report())),
            None => Ok(()),
        }
    }

    /// Takes back what was written.
    pub(crate) fn abort(mut self) {
        if let Some(open) = self.open.take() {
            let _ = open.rows.abort();
            if let Some(quarantine) = open.quarantine {
                let _ = quarantine.abort();
            }
        }
        for file in &self.done {
            stage::discard(&self.ctx, &self.node, &file.data);
            stage::discard_quarantine(&self.ctx, &file.quarantine);
        }
    }
}

impl Sink for FileSink {
    fn begin_file(&mut self, file: &InputFile, schema: &SchemaRef) -> Result<(), IngestError> {
        self.building.progress(&self.node, format!("reading {}", file.path));
        let part = self.part();
        let rows = stage::writer(&self.ctx, &self.building.run, &self.node, &self.id, &part, schema.clone())
            .map_err(|error| IngestError::sink(error.report()))?;
        self.open =
            Some(OpenFile { file: file.clone(), schema: schema.clone(), rows, rejected: Vec::new(), quarantine: None });
        Ok(())
    }

    fn rows(&mut self, batch: RecordBatch) -> Result<(), IngestError> {
        match &mut self.open {
            Some(open) => open.rows.write(&batch).map_err(|error| IngestError::sink(error.report())),
            None => Ok(()),
        }
    }

    fn rejected(&mut self, row: Rejected) -> Result<(), IngestError> {
        self.has_duplicates |= row.rule == "duplicate_key";
        let full = match &mut self.open {
            Some(open) => {
                open.rejected.push(row);
                open.rejected.len() >= REJECTED_BATCH
            }
            None => false,
        };
        if full { self.write_rejected() } else { Ok(()) }
    }

    fn end_file(&mut self, counts: FileCounts) -> Result<(), IngestError> {
        self.write_rejected()?;
        let Some(open) = self.open.take() else { return Ok(()) };
        let staged = open.rows.finish().map_err(|error| IngestError::sink(error.report()))?;
        let quarantine = match open.quarantine {
            Some(writer) => writer.finish().map_err(|error| IngestError::sink(error.report()))?.files,
            None => Vec::new(),
        };
        self.done.push(SourceFile {
            is_recent: self.recency.holds_for(&open.file),
            is_outdated: false,
            path: open.file.path,
            bytes: open.file.bytes,
            modified_us: open.file.modified_us,
            digest: counts.digest,
            rows_digest: staged.digest,
            rows: counts.rows,
            quarantined: counts.quarantined,
            dropped: counts.dropped,
            data: staged.files,
            quarantine,
            columns: ColumnType::of(&open.schema),
            repairs: Vec::new(),
        });
        Ok(())
    }
}

fn quarantine_batch(run: &str, node: &NodeName, rows: &[Rejected], now_us: i64) -> RecordBatch {
    let text =
        |of: &dyn Fn(&Rejected) -> Option<String>| Arc::new(rows.iter().map(of).collect::<StringArray>()) as ArrayRef;
    let columns: Vec<ArrayRef> = vec![
        text(&|_| Some(run.to_string())),
        text(&|_| Some(node.to_string())),
        text(&|row| Some(row.rule.clone())),
        text(&|row| Some(row.reason.clone())),
        text(&|row| Some(row.file.clone())),
        Arc::new(rows.iter().map(|row| Some(row.line as i64)).collect::<Int64Array>()),
        text(&|row| row.column.clone()),
        text(&|row| Some(row.raw.clone())),
        Arc::new(TimestampMicrosecondArray::from(vec![now_us; rows.len()]).with_timezone("UTC")),
    ];
    RecordBatch::try_new(pelton_store::quarantine_schema(), columns).expect("columns are made in the schema's order")
}
