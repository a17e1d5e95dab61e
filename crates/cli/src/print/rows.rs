//! Rows of a query: an aligned table for people; CSV, JSON and Parquet for programs, written as they come.
//!
//! Values are written as the endpoints write them: times in RFC 3339, decimals with all their digits. In CSV a missing value is an
//! empty field and an empty text is `""`, so that the two stay apart.

use super::sheet::Sheet;
use super::style::Style;
use super::words;
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use pelton_serve::{json_row, write_value};
use std::io::{self, Write};

/// How many rows a table shows; nobody reads more, and other formats do not hold them.
pub(crate) const TABLE_ROWS_MAX: usize = 1_000;
/// How wide a cell of a table may be.
const CELL_WIDTH_MAX: usize = 80;

/// Takes rows, batch by batch.
pub(crate) trait RowSink {
    /// Writes the rows of a batch.
    fn batch(&mut self, batch: &RecordBatch) -> io::Result<()>;
    /// Writes what comes after the last row.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// A value as people and CSV have it; `None` when it is missing.
pub(crate) fn cell(array: &dyn Array, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    let mut json = Vec::new();
    write_value(&mut json, array, row);
    match json.first() {
        Some(b'"') => serde_json::from_slice(&json).ok(),
        _ if json == b"null" => None,
        _ => Some(String::from_utf8_lossy(&json).into_owned()),
    }
}

/// Rows as an aligned table. Texts are cut and made safe for a terminal.
pub(crate) fn table(schema: &SchemaRef, batches: &[RecordBatch], style: Style) -> String {
    let numbers = schema.fields().iter().enumerate().filter(|(_, field)| is_number(field.data_type()));
    let mut sheet = Sheet::with_head(schema.fields().iter().map(|field| words::visible(field.name())))
        .right(numbers.map(|(at, _)| at).collect::<Vec<_>>());
    for batch in batches {
        for row in 0..batch.num_rows() {
            sheet.row(batch.columns().iter().map(|column| match cell(column, row) {
                Some(text) => super::sheet::Cell::from(words::cut(&words::visible(&text), CELL_WIDTH_MAX)),
                None => super::sheet::Cell::painted("null", style.dim("null")),
            }));
        }
    }
    sheet.text(style)
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

/// Comma separated values with a header (RFC 4180, lines end in `\n`).
pub(crate) struct Csv<W>(W);

impl<W: Write> Csv<W> {
    pub(crate) fn begin(mut sink: W, schema: &SchemaRef) -> io::Result<Self> {
        let names = schema.fields().iter().map(|field| csv_field(field.name())).collect::<Vec<_>>();
        writeln!(sink, "{}", names.join(","))?;
        Ok(Csv(sink))
    }
}

impl<W: Write> RowSink for Csv<W> {
    fn batch(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            for (at, column) in batch.columns().iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                if let Some(cell) = cell(column, row) {
                    text.push_str(&csv_field(&cell));
                } else if batch.num_columns() == 1 {
                    // A line of one missing value would be an empty line, which readers pass over.
                    text.push_str("NULL");
                }
            }
            text.push('\n');
        }
        self.0.write_all(text.as_bytes())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.0.flush()
    }
}

fn csv_field(text: &str) -> String {
    let needs_quotes =
        text.is_empty() || text.contains(['"', ',', '\n', '\r']) || text.starts_with(' ') || text.ends_with(' ');
    if needs_quotes { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_string() }
}

/// One JSON object a line, or all of them in an array.
pub(crate) struct Json<W> {
    sink: W,
    is_array: bool,
    rows: u64,
}

impl<W: Write> Json<W> {
    pub(crate) fn array(mut sink: W) -> io::Result<Self> {
        sink.write_all(b"[")?;
        Ok(Json { sink, is_array: true, rows: 0 })
    }

    pub(crate) fn lines(sink: W) -> Self {
        Json { sink, is_array: false, rows: 0 }
    }
}

impl<W: Write> RowSink for Json<W> {
    fn batch(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            match (self.is_array, self.rows) {
                (false, _) => {}
                (true, 0) => text.push('\n'),
                (true, _) => text.push_str(",\n"),
            }
            text.push_str(&json_row(batch, row));
            if !self.is_array {
                text.push('\n');
            }
            self.rows += 1;
        }
        self.sink.write_all(text.as_bytes())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        if self.is_array {
            self.sink.write_all(if self.rows == 0 { b"]\n" } else { b"\n]\n" })?;
        }
        self.sink.flush()
    }
}

/// Parquet, with the types that tables have.
pub(crate) struct Parquet<W: Write + Send>(ArrowWriter<W>);

impl<W: Write + Send> Parquet<W> {
    /// `schema` is what [`pelton_store::stored_schema`] gives.
    pub(crate) fn begin(sink: W, schema: &SchemaRef) -> io::Result<Self> {
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        ArrowWriter::try_new(sink, schema.clone(), Some(properties)).map(Parquet).map_err(io::Error::other)
    }
}

impl<W: Write + Send> RowSink for Parquet<W> {
    fn batch(&mut self, batch: &RecordBatch) -> io::Result<()> {
        let batch = pelton_store::to_stored(batch).map_err(io::Error::other)?;
        self.0.write(&batch).map_err(io::Error::other)
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.0.close().map(|_| ()).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Decimal128Array, Int64Array, StringArray, TimestampMicrosecondArray};
    use std::sync::Arc;

    fn rows() -> RecordBatch {
        let amounts = Decimal128Array::from(vec![Some(1250), None, Some(-5)]).with_precision_and_scale(12, 2).unwrap();
        let times = TimestampMicrosecondArray::from(vec![Some(0), Some(1_500_000), None]).with_timezone("UTC");
        RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(vec![1, 2, 30])) as ArrayRef),
            ("amount", Arc::new(amounts) as ArrayRef),
            ("at", Arc::new(times) as ArrayRef),
            ("note", Arc::new(StringArray::from(vec![Some("a, \"b\""), Some(""), None])) as ArrayRef),
        ])
        .unwrap()
    }

    fn written(make: impl FnOnce(&mut Vec<u8>) -> Box<dyn RowSink + '_>, batches: &[RecordBatch]) -> String {
        let mut out = Vec::new();
        let mut sink = make(&mut out);
        for batch in batches {
            sink.batch(batch).unwrap();
        }
        sink.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_lines_up_numbers_to_the_right() {
        let rows = rows();
        assert_eq!(
            table(&rows.schema(), &[rows], Style::default()),
            r#"id  amount  at                      note
--  ------  ----------------------  --------
 1   12.50  1970-01-01T00:00:00Z    a, "b"
 2    null  1970-01-01T00:00:01.500Z
30   -0.05  null                    null
"#
            .replace("at                      note", "at                        note")
            .replace("----------------------  --------", "------------------------  ------")
            .replace("00:00:00Z    a", "00:00:00Z      a")
            .replace("null                    null", "null                      null")
        );
    }

    #[test]
    fn csv_keeps_missing_and_empty_apart() {
        let rows = rows();
        let schema = rows.schema();
        let text = written(|out| Box::new(Csv::begin(out, &schema).unwrap()), &[rows.slice(0, 1), rows.slice(1, 2)]);
        assert_eq!(
            text,
            "id,amount,at,note\n1,12.50,1970-01-01T00:00:00Z,\"a, \"\"b\"\"\"\n2,,1970-01-01T00:00:01.500Z,\"\"\n30,-0.05,,\n"
        );
    }

    #[test]
    fn json_is_an_array_or_lines() {
        let rows = rows().project(&[0, 1]).unwrap();
        let two = [rows.slice(0, 1), rows.slice(1, 1)];
        let array = written(|out| Box::new(Json::array(out).unwrap()), &two);
        assert_eq!(array, "[\n{\"id\":1,\"amount\":\"12.50\"},\n{\"id\":2,\"amount\":null}\n]\n");
        assert_eq!(written(|out| Box::new(Json::array(out).unwrap()), &[]), "[]\n");
        let lines = written(|out| Box::new(Json::lines(out)), &two);
        assert_eq!(lines, "{\"id\":1,\"amount\":\"12.50\"}\n{\"id\":2,\"amount\":null}\n");
    }

    #[test]
    fn parquet_reads_back() {
        let rows = rows();
        let schema = pelton_store::stored_schema(&rows.schema()).unwrap();
        let mut out = Vec::new();
        let mut sink = Box::new(Parquet::begin(&mut out, &schema).unwrap());
        sink.batch(&rows).unwrap();
        sink.finish().unwrap();
        let reader =
            parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes::Bytes::from(out), 1024).unwrap();
        let read: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
        assert_eq!(read[0].columns(), rows.columns());
    }

    #[test]
    fn long_and_dangerous_texts_are_tamed() {
        let batch =
            RecordBatch::try_from_iter([("t", Arc::new(StringArray::from(vec!["\x1b[2J".repeat(50)])) as ArrayRef)])
                .unwrap();
        let text = table(&batch.schema(), &[batch], Style::default());
        assert!(!text.contains('\x1b') && text.contains('…'), "{text}");
    }
}
