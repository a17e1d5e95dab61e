//! Rows of a request, `[{"amount": 12.5, ...}, ...]`, into one Arrow batch, in one pass over the text.
//!
//! All mistakes are collected, each with its row, its column, what was expected and what was sent.

use crate::column::{ColumnBuilder, Dialect, Wrong};
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use pelton_base::Report;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::sync::Arc;

/// How many mistakes of one request are named; the others are counted.
const MISTAKES_MAX: usize = 10;

/// A column that a request can give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name and type.
    pub field: Field,
    /// Whether a request must name it.
    pub required: bool,
    /// Whether its value may be missing.
    pub nullable: bool,
}

impl Column {
    /// A column that must be named.
    pub fn required(name: &str, data_type: DataType, nullable: bool) -> Self {
        Column { field: Field::new(name, data_type, true), required: true, nullable }
    }

    /// A column that may be left out.
    pub fn optional(name: &str, data_type: DataType) -> Self {
        Column { field: Field::new(name, data_type, true), required: false, nullable: true }
    }
}

/// The schema of a batch of these columns.
pub(crate) fn schema_of(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|column| column.field.clone()).collect::<Vec<_>>()))
}

/// What is wrong with a request, collected on the way through it.
#[derive(Debug, Default)]
pub struct Mistakes {
    named: Vec<String>,
    hints: Vec<String>,
    count: usize,
}

impl Mistakes {
    /// Adds one.
    pub fn push(&mut self, message: impl FnOnce() -> String) {
        self.count += 1;
        if self.named.len() < MISTAKES_MAX {
            self.named.push(message());
        }
    }

    /// Adds a value that does not fit.
    pub fn wrong(&mut self, row: usize, column: &str, wrong: &Wrong) {
        self.push(|| format!("row {row}: `{column}` takes {}, not {}", wrong.expected, wrong.got));
    }

    /// Adds a name that does not exist; `at` says where, for example "row 3".
    pub fn unknown(&mut self, at: &str, name: &str, columns: &[Column]) {
        self.push(|| format!("{at}: there is no column `{name}`"));
        let names = columns.iter().map(|column| column.field.name().as_str());
        let hint = match pelton_base::suggest::did_you_mean(name, names.clone()) {
            Some(known) => format!("did you mean `{known}`?"),
            None => format!("columns: {}", names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
        };
        if self.hints.len() < MISTAKES_MAX && !self.hints.contains(&hint) {
            self.hints.push(hint);
        }
    }

    /// Nothing, or one report of them all.
    pub fn into_result(self) -> Result<(), Report> {
        let mut named = self.named.into_iter();
        let Some(first) = named.next() else { return Ok(()) };
        let mut report = Report::error("invalid-request", first);
        report.notes = named.collect();
        if self.count > MISTAKES_MAX {
            report = report.note(format!("and {} more mistakes", self.count - MISTAKES_MAX));
        }
        report.hints = self.hints;
        Err(report)
    }
}

/// Reads a JSON array of objects as rows of `columns`. More than `rows_max` rows are refused before the rest is read.
pub fn decode_rows(columns: &[Column], json: &str, rows_max: usize) -> Result<RecordBatch, Report> {
    let mut rows = Rows::new(columns, rows_max, Dialect::Request)?;
    let mut reader = serde_json::Deserializer::from_str(json);
    let read = (&mut rows).deserialize(&mut reader).and_then(|()| reader.end());
    rows.finish(read)
}

/// Reads one JSON object as the only row of `columns`.
pub fn decode_row(columns: &[Column], json: &str) -> Result<RecordBatch, Report> {
    one_row(columns, json, Dialect::Request)
}

/// Reads one JSON object that [`crate::write_row`] wrote.
pub(crate) fn decode_logged(columns: &[Column], json: &str) -> Result<RecordBatch, Report> {
    one_row(columns, json, Dialect::Log)
}

fn one_row(columns: &[Column], json: &str, dialect: Dialect) -> Result<RecordBatch, Report> {
    let mut rows = Rows::new(columns, 1, dialect)?;
    let mut reader = serde_json::Deserializer::from_str(json);
    let read = Row(&mut rows).deserialize(&mut reader).and_then(|()| reader.end());
    rows.finish(read)
}

struct Rows<'a> {
    columns: &'a [Column],
    builders: Vec<ColumnBuilder>,
    /// By column: the number of the last row that named it, from 1.
    seen: Vec<usize>,
    rows: usize,
    /// The row that is being read, from 0; `None` before the first.
    at: Option<usize>,
    rows_max: usize,
    too_many: bool,
    mistakes: Mistakes,
}

impl<'a> Rows<'a> {
    fn new(columns: &'a [Column], rows_max: usize, dialect: Dialect) -> Result<Self, Report> {
        let builder = |column: &Column| {
            ColumnBuilder::new(column.field.data_type(), dialect).ok_or_else(|| {
                let message = format!(
                    "column `{}` has type {}, which no request carries",
                    column.field.name(),
                    column.field.data_type()
                );
                Report::error("internal", message)
            })
        };
        Ok(Rows {
            columns,
            builders: columns.iter().map(builder).collect::<Result<_, _>>()?,
            seen: vec![0; columns.len()],
            rows: 0,
            at: None,
            rows_max,
            too_many: false,
            mistakes: Mistakes::default(),
        })
    }

    fn finish(self, read: Result<(), serde_json::Error>) -> Result<RecordBatch, Report> {
        if self.too_many {
            return Err(too_many_rows(self.rows_max));
        }
        // The rows are a part of a longer text, in which places would be others: the row says where.
        read.map_err(|error| {
            let row = self.at.map_or_else(String::new, |row| format!("row {row}: "));
            Report::error("invalid-request", format!("{row}{}", json_reason(&error)))
        })?;
        self.mistakes.into_result()?;
        let columns = self.builders.into_iter().map(ColumnBuilder::finish).collect();
        batch_of(self.columns, columns, self.rows)
    }
}

/// Why a text is not the JSON that it should be, without the place.
pub fn json_reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    text.replace("EOF while parsing", "the text ends within")
}

/// A batch of columns that were checked to have one type and length each.
pub fn batch_of(columns: &[Column], arrays: Vec<arrow::array::ArrayRef>, rows: usize) -> Result<RecordBatch, Report> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema_of(columns), arrays, &options)
        .map_err(|error| Report::error("internal", "a request's columns do not fit together").note(error.to_string()))
}

/// The refusal of a request with more rows than the server takes.
pub fn too_many_rows(rows_max: usize) -> Report {
    Report::error("too-many-rows", format!("the request has more than {rows_max} rows"))
        .note(format!("`server.rows_max` is {rows_max}"))
        .hint("send the rows in several requests")
}

/// The refusal of a body that is not the JSON it should be.
pub fn invalid_json(error: &serde_json::Error) -> Report {
    let reason = json_reason(error);
    let report = Report::error("invalid-request", format!("the request is not the JSON that is expected: {reason}"));
    if error.line() > 0 { report.note(format!("line {}, column {}", error.line(), error.column())) } else { report }
}

impl<'de> DeserializeSeed<'de> for &mut Rows<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for &mut Rows<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows, each an object of columns")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while rows.next_element_seed(Row(self))?.is_some() {}
        Ok(())
    }
}

struct Row<'r, 'a>(&'r mut Rows<'a>);

impl<'de> DeserializeSeed<'de> for Row<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.at = Some(self.0.rows);
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Row<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row, an object of columns")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut row: A) -> Result<(), A::Error> {
        let rows = self.0;
        if rows.rows == rows.rows_max {
            rows.too_many = true;
            return Err(A::Error::custom("too many rows"));
        }
        let number = rows.rows;
        rows.rows += 1;
        let mut next = 0;
        while let Some(key) = row.next_key_seed(Key { columns: rows.columns, next })? {
            let at = match key {
                Named::Column(at) => at,
                Named::Unknown(name) => {
                    row.next_value::<IgnoredAny>()?;
                    rows.mistakes.unknown(&format!("row {number}"), &name, rows.columns);
                    continue;
                }
            };
            next = at + 1;
            let value: &'de RawValue = row.next_value()?;
            let column = &rows.columns[at];
            if rows.seen[at] == rows.rows {
                rows.mistakes.push(|| format!("row {number}: `{}` is there twice", column.field.name()));
            } else if value.get() == "null" && !column.nullable {
                rows.mistakes.push(|| format!("row {number}: `{}` must have a value", column.field.name()));
            } else if let Err(wrong) = rows.builders[at].push(value.get()) {
                rows.mistakes.wrong(number, column.field.name(), &wrong);
            }
            rows.seen[at] = rows.rows;
        }
        for (at, column) in rows.columns.iter().enumerate() {
            if rows.seen[at] == rows.rows {
                continue;
            }
            rows.builders[at].push_null();
            if column.required {
                let name = column.field.name();
                let unknown = if column.nullable { "; `null` says that it is not known" } else { "" };
                rows.mistakes.push(|| format!("row {number}: `{name}` is missing{unknown}"));
            }
        }
        Ok(())
    }
}

/// Finds the column that a key names, without copying the key. Clients send the columns of every row in one order: the one after
/// the last is tried first.
struct Key<'a> {
    columns: &'a [Column],
    next: usize,
}

enum Named {
    Column(usize),
    Unknown(String),
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Named;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Named, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Named;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a column's name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Named, E> {
        let is_it = |column: &Column| column.field.name() == name;
        let at = match self.columns.get(self.next) {
            Some(column) if is_it(column) => Some(self.next),
            _ => self.columns.iter().position(is_it),
        };
        Ok(at.map_or_else(|| Named::Unknown(name.to_string()), Named::Column))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Array;
    use pelton_query::types;

    fn columns() -> Vec<Column> {
        vec![
            Column::required("customer_id", DataType::Utf8, false),
            Column::required("amount", types::parse("decimal(12,2)").unwrap(), true),
            Column::optional("occurred_at", types::timestamp()),
        ]
    }

    fn refused(json: &str) -> Report {
        decode_rows(&columns(), json, 3).unwrap_err()
    }

    #[test]
    fn rows_become_columns_in_any_order_of_names() {
        let json = r#"[{"customer_id":"c1","amount":12.5}, {"amount":null,"occurred_at":"2026-03-01T12:00:00Z","customer_id":"cé\n"}]"#;
        let batch = decode_rows(&columns(), json, 3).unwrap();
        assert_eq!(crate::json_row(&batch, 0), r#"{"customer_id":"c1","amount":"12.50","occurred_at":null}"#);
        let second = r#"{"customer_id":"cé\n","amount":null,"occurred_at":"2026-03-01T12:00:00Z"}"#;
        assert_eq!(crate::json_row(&batch, 1), second);
        assert!(batch.column(2).is_null(0));
        assert_eq!(decode_rows(&columns(), "[]", 3).unwrap().num_rows(), 0);
    }

    #[test]
    fn all_mistakes_are_named_with_row_and_column() {
        let report = refused(r#"[{"custmer_id":"c1","amount":"a lot"}, {"customer_id":null,"amount":1,"amount":2}]"#);
        assert_eq!(report.code, "invalid-request");
        assert_eq!(report.message, "row 0: there is no column `custmer_id`");
        assert_eq!(
            report.notes,
            [
                "row 0: `amount` takes a number with at most 10 digits before and 2 after the point, not \"a lot\"",
                "row 0: `customer_id` is missing",
                "row 1: `customer_id` must have a value",
                "row 1: `amount` is there twice",
            ]
        );
        assert_eq!(report.hints, ["did you mean `customer_id`?"]);
    }

    #[test]
    fn what_is_not_rows_is_refused_with_its_row() {
        for json in ["", "{}", "[1]", "[{]", "[{}] x", "[{\"amount\": 01}]", "null"] {
            assert_eq!(refused(json).code, "invalid-request", "{json}");
        }
        let row = r#"{"customer_id":"c","amount":1}"#;
        let report = refused(&format!("[{row},\n  7]"));
        assert_eq!(report.message, "row 1: invalid type: integer `7`, expected a row, an object of columns");
        assert_eq!(refused("{}").message, "invalid type: map, expected a list of rows, each an object of columns");
    }

    #[test]
    fn rows_beyond_the_limit_are_refused() {
        let row = r#"{"customer_id":"c","amount":1}"#;
        assert!(decode_rows(&columns(), &format!("[{row},{row},{row}]"), 3).is_ok());
        assert_eq!(refused(&format!("[{row},{row},{row},{row}]")).code, "too-many-rows");
    }

    #[test]
    fn many_mistakes_are_counted() {
        let report = decode_rows(&columns(), &format!("[{}]", vec!["{}"; 20].join(",")), 50).unwrap_err();
        assert_eq!(report.notes.last().unwrap(), "and 30 more mistakes");
    }
}
