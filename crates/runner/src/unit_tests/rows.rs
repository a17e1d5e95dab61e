//! Rows of a test with types: those of the input that they stand for, so that a SELECT sees what it sees in a run.

use crate::data_file;
use pelton_base::{Place, Report, Reports, thousands};
use pelton_ingest::InputFile;
use pelton_project::{Contract, ContractRule, CsvSettings, ListedRows, Literal, Rows, Spanned, UnitTest};
use pelton_query::types;
use pelton_serve::{ColumnBuilder, Dialect, Wrong};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef};

/// The most rows that a table of a test may have: more is data, not an example.
const ROWS_MAX: usize = 100_000;

/// The most values of one table that are reported as wrong.
const MISTAKES_MAX: usize = 20;

/// Rows with the types of what they stand for.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// All columns; those that are not named are null.
    pub(crate) rows: RecordBatch,
    /// The columns that the test names, in its order.
    pub(crate) named: Vec<String>,
}

/// Gives rows their types. `what` is what they stand for, with its article or its kind: "table `payments`".
pub(crate) fn typed(
    root: &Path,
    test: &UnitTest,
    what: &str,
    rows: &Rows,
    schema: &SchemaRef,
) -> Result<Table, Reports> {
    match rows {
        Rows::Listed(listed) => of_list(test, what, listed, schema),
        Rows::File(path) => of_file(root, test, what, path, schema),
    }
}

fn of_list(test: &UnitTest, what: &str, listed: &ListedRows, schema: &SchemaRef) -> Result<Table, Reports> {
    let mut mistakes = Mistakes::default();
    if listed.rows.len() > ROWS_MAX {
        return Err(too_many(what, listed.rows.len()).at(test.place()).into());
    }
    for column in &listed.columns {
        if schema.field_with_name(&column.value).is_err() {
            mistakes.push(unknown(what, &column.value, schema).at(test.place_at(column.span)));
        }
    }
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let named = listed.columns.iter().position(|column| column.value == *field.name());
        let mut column = Column::new(field.data_type())?;
        for row in &listed.rows {
            match named.and_then(|at| row.cells.get(at)).and_then(Option::as_ref) {
                None => column.builder.push_null(),
                Some(cell) => {
                    if let Err(wrong) = column.push(&cell.value) {
                        let message =
                            format!("`{}` of {what} takes {}, not {}", field.name(), wrong.expected, wrong.got);
                        mistakes.push(Report::error("invalid-value", message).at(test.place_at(cell.span)));
                    }
                }
            }
        }
        // After a mistake the values are not whole.
        if mistakes.count == 0 {
            arrays.push(column.builder.finish());
        }
    }
    mistakes.into_result()?;
    let options = RecordBatchOptions::new().with_row_count(Some(listed.rows.len()));
    let rows = RecordBatch::try_new_with_options(stored(schema), arrays, &options).map_err(|error| {
        Report::error("internal", format!("the rows of {what} do not fit together: {error}")).at(test.place())
    })?;
    Ok(Table { rows, named: listed.columns.iter().map(|column| column.value.clone()).collect() })
}

/// A column under construction.
struct Column {
    builder: ColumnBuilder,
    data_type: DataType,
}

impl Column {
    fn new(data_type: &DataType) -> Result<Self, Report> {
        let data_type = types::stored(data_type).unwrap_or(DataType::Utf8);
        // Only a dialect that is stricter about times has no words for NaN and infinities.
        let dialect = if data_type.is_floating() { Dialect::Log } else { Dialect::Request };
        let builder = ColumnBuilder::new(&data_type, dialect)
            .ok_or_else(|| Report::error("internal", format!("a test cannot hold values of type {data_type}")))?;
        Ok(Column { builder, data_type })
    }

    fn push(&mut self, literal: &Literal) -> Result<(), Wrong> {
        let is_written_as_text = matches!(
            self.data_type,
            DataType::Utf8
                | DataType::Binary
                | DataType::Date32
                | DataType::Timestamp(_, _)
                | DataType::Decimal128(_, _)
        );
        match literal {
            Literal::Json(json) => self.builder.push(json),
            Literal::Bare(text) | Literal::Quoted(text) if is_written_as_text => self.builder.push_text(text),
            Literal::Bare(text) | Literal::Quoted(text) => {
                let is_no_number =
                    self.data_type.is_floating() && ["NaN", "Infinity", "-Infinity"].contains(&text.as_str());
                if is_no_number { self.builder.push(&format!("\"{text}\"")) } else { self.builder.push(text) }
            }
        }
    }
}

fn of_file(
    root: &Path,
    test: &UnitTest,
    what: &str,
    path: &Spanned<String>,
    schema: &SchemaRef,
) -> Result<Table, Reports> {
    let at = || test.place_at(path.span);
    let mut file = InputFile::named(&root.join(&path.value)).map_err(|mut report| {
        report.message = report.message.replace(&root.join(&path.value).display().to_string(), &path.value);
        report.at(at()).note("a text without a line break is the path of a file, from the project's folder")
    })?;
    file.path = path.value.clone();
    let columns: Vec<(String, String)> =
        schema.fields().iter().map(|field| (field.name().clone(), types::name(field.data_type()))).collect();
    let contract = Contract { columns: ContractRule::Evolve, data_type: ContractRule::Quarantine };
    let read = data_file::read(file, "given", columns, CsvSettings::default(), contract)?;
    let mut mistakes = Mistakes::default();
    for name in &read.intake.new_columns {
        if schema.field_with_name(name).is_err() {
            let report = unknown(what, name, schema).note(format!("`{}` names it", path.value));
            mistakes.push(report.at(at()));
        }
    }
    for rejected in &read.rejected {
        let of_column = rejected.column.as_ref().map_or_else(String::new, |column| format!("`{column}`: "));
        let message = format!("a row for {what} cannot be read: {of_column}{}", rejected.reason);
        let report = Report::error("invalid-value", message);
        mistakes.push(report.at(Place { line: rejected.line as usize, ..Place::file(&path.value) }));
    }
    mistakes.into_result()?;
    let rows: usize = read.batches.iter().map(RecordBatch::num_rows).sum();
    if rows > ROWS_MAX {
        return Err(too_many(what, rows).at(at()).into());
    }
    let broken = |error: arrow::error::ArrowError| {
        Report::error("internal", format!("the rows of `{}` do not fit together: {error}", path.value))
    };
    let all = concat_batches(&read.intake.schema, &read.batches).map_err(broken)?;
    let arrays = schema
        .fields()
        .iter()
        .map(|field| match all.column_by_name(field.name()) {
            Some(array) => array.clone(),
            None => arrow::array::new_null_array(field.data_type(), all.num_rows()),
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(all.num_rows()));
    let rows = RecordBatch::try_new_with_options(stored(schema), arrays, &options).map_err(broken)?;
    let is_missing = |name: &String| read.intake.missing_columns.contains(name);
    let named = schema.fields().iter().map(|field| field.name().clone()).filter(|name| !is_missing(name)).collect();
    Ok(Table { rows, named })
}

/// The schema as a stored table has it.
fn stored(schema: &SchemaRef) -> SchemaRef {
    pelton_store::stored_schema(schema).unwrap_or_else(|_| Arc::clone(schema))
}

/// The report of a column that is not there.
pub(crate) fn unknown(what: &str, name: &str, schema: &SchemaRef) -> Report {
    let known = || schema.fields().iter().map(|field| field.name().as_str());
    let report = Report::error("unknown-column", format!("{what} has no column `{name}`"));
    let hints = report.hints.len();
    let report = report.suggest(name, known());
    match report.hints.len() > hints {
        true => report,
        false => {
            report.note(format!("columns: {}", known().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")))
        }
    }
}

fn too_many(what: &str, rows: usize) -> Report {
    let message = format!("{what} is given {} rows", thousands(rows as u64));
    Report::error("invalid-value", message)
        .note(format!("a table of a test has at most {}", thousands(ROWS_MAX as u64)))
}

/// Mistakes in one table, not more than anybody reads.
#[derive(Default)]
struct Mistakes {
    reports: Reports,
    count: usize,
}

impl Mistakes {
    fn push(&mut self, report: Report) {
        self.count += 1;
        if self.count <= MISTAKES_MAX {
            self.reports.push(report);
        }
    }

    fn into_result(mut self) -> Result<(), Reports> {
        if let (Some(last), true) = (self.reports.0.last_mut(), self.count > MISTAKES_MAX) {
            last.notes.push(format!("and {} more mistakes in the same table", self.count - MISTAKES_MAX));
        }
        if self.count == 0 { Ok(()) } else { Err(self.reports) }
    }
}
