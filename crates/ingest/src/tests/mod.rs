//! Tests of the crate as a whole: files on a disk, a source's settings, and everything that comes out.

mod contracts;
mod dirty;
mod formats;
mod properties;
mod schemas;

use crate::*;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::array_value_to_string;
use pelton_base::{NodeName, Reports};
use pelton_project::model::{Body, Column, Contract, ContractRule, CsvSettings, FileFormat, Node, Source, Spanned};
use std::fs;
use std::path::Path;

/// Writes a file and describes it, format and compression by its name.
pub(crate) fn input(folder: &Path, name: &str, bytes: &[u8]) -> InputFile {
    let absolute = folder.join(name);
    fs::create_dir_all(absolute.parent().unwrap()).unwrap();
    fs::write(&absolute, bytes).unwrap();
    let compression = match name.rsplit('.').next() {
        Some("gz") => Compression::Gzip,
        Some("zst") => Compression::Zstd,
        _ => Compression::None,
    };
    let format = if name.contains(".parquet") {
        FileFormat::Parquet
    } else if name.contains("json") {
        FileFormat::Ndjson
    } else {
        FileFormat::Csv
    };
    let (path, bytes) = (name.to_string(), bytes.len() as u64);
    InputFile { path, absolute, bytes, modified_us: 0, format, compression, text: None }
}

fn spanned(value: &str) -> Spanned<String> {
    Spanned { value: value.to_string(), span: (0, 0) }
}

/// A source `s` with the default settings, and its node.
fn source(columns: &[(&str, &str)]) -> (Source, Node) {
    let source = Source {
        kind: "files".into(),
        path: spanned("data/*"),
        format: None,
        csv: CsvSettings {
            delimiter: None,
            quote: b'"',
            header: true,
            null: ["", "NULL", "null", "NA", "N/A"].map(String::from).to_vec(),
            encoding: "utf-8".into(),
        },
        key: vec![],
        time: None,
        contract: Contract { columns: ContractRule::Evolve, data_type: ContractRule::Quarantine },
        columns: columns
            .iter()
            .map(|(name, data_type)| Column { name: spanned(name), data_type: spanned(data_type), description: None })
            .collect(),
        checks: vec![],
    };
    let node = Node {
        name: NodeName::new("s"),
        file: "sources/s.toml".into(),
        text: "path = \"data/*\"\n".into(),
        description: None,
        tags: vec![],
        body: Body::Source(Box::new(source.clone())),
        reads: vec![],
        checked_with: Default::default(),
    };
    (source, node)
}

/// Everything that a sink gets.
#[derive(Default)]
struct Collected {
    rows: Vec<String>,
    rejected: Vec<Rejected>,
    counts: Vec<FileCounts>,
    schema: Option<SchemaRef>,
    batches: Vec<RecordBatch>,
    files: Vec<String>,
}

impl Sink for Collected {
    fn begin_file(&mut self, file: &InputFile, schema: &SchemaRef) -> Result<(), IngestError> {
        self.files.push(file.path.clone());
        self.schema = Some(schema.clone());
        Ok(())
    }

    fn rows(&mut self, batch: RecordBatch) -> Result<(), IngestError> {
        assert!(batch.num_rows() > 0);
        for row in 0..batch.num_rows() {
            let values = batch.columns().iter().map(|column| match column.is_null(row) {
                true => "-".to_string(),
                false => array_value_to_string(column, row).unwrap(),
            });
            self.rows.push(values.collect::<Vec<_>>().join("|"));
        }
        self.batches.push(batch);
        Ok(())
    }

    fn rejected(&mut self, row: Rejected) -> Result<(), IngestError> {
        self.rejected.push(row);
        Ok(())
    }

    fn end_file(&mut self, counts: FileCounts) -> Result<(), IngestError> {
        assert_eq!(counts.rows_in, counts.rows + counts.quarantined + counts.dropped, "law 4");
        self.counts.push(counts);
        Ok(())
    }
}

impl Collected {
    /// `line rule column: reason` of each rejected row.
    fn reasons(&self) -> Vec<String> {
        let column = |row: &Rejected| row.column.clone().map(|c| format!(" {c}")).unwrap_or_default();
        self.rejected.iter().map(|row| format!("{} {}{}: {}", row.line, row.rule, column(row), row.reason)).collect()
    }

    /// `name type, ...` of the schema.
    fn columns(&self) -> String {
        described(self.schema.as_ref().unwrap())
    }
}

fn described(schema: &SchemaRef) -> String {
    let name = |data_type: &DataType| pelton_query::types::name(data_type);
    schema.fields().iter().map(|f| format!("{} {}", f.name(), name(f.data_type()))).collect::<Vec<_>>().join(", ")
}

/// Takes files in with nothing known.
fn run(source: &(Source, Node), files: &[InputFile]) -> Result<(Collected, Intake), IngestError> {
    run_known(source, files, Known::default())
}

fn run_known(source: &(Source, Node), files: &[InputFile], known: Known) -> Result<(Collected, Intake), IngestError> {
    let mut sink = Collected::default();
    let options = TakeIn { threads: 2, batch_rows: 4 };
    let intake = take_in(&source.0, &source.1, files, known, &mut sink, &options)?;
    let sums = sink.counts.iter().map(|counts| counts.rows_in).sum::<u64>();
    assert_eq!(intake.counts.rows_in, sums);
    assert_eq!(sink.rows.len() as u64, intake.counts.rows);
    assert_eq!(sink.rejected.len() as u64, intake.counts.quarantined);
    Ok((sink, intake))
}

/// Takes in one file from a text.
fn run_text(source: &(Source, Node), name: &str, text: &str) -> Result<(Collected, Intake), IngestError> {
    let folder = tempfile::tempdir().unwrap();
    let file = input(folder.path(), name, text.as_bytes());
    run(source, &[file])
}

fn reports<T>(result: Result<T, IngestError>) -> Reports {
    match result {
        Ok(_) => panic!("it should be refused"),
        Err(error) => error.into_reports(),
    }
}

/// The only report, as `code message (place)`.
fn report<T>(result: Result<T, IngestError>) -> String {
    let reports = reports(result);
    assert_eq!(reports.0.len(), 1, "{reports}");
    let report = &reports.0[0];
    let at = report.at.as_ref().map(|at| format!(" ({at})")).unwrap_or_default();
    format!("{}: {}{at}", report.code, report.message)
}
