//! [`Record`]: one prediction as the log keeps it. Every number in it reads back to the same bits.

use crate::endpoints::Endpoints;
use crate::pipeline::{Pipeline, Scored};
use crate::rows::{Column, decode_logged};
use crate::values::{into_text, json_struct, write_json, write_row, write_value};
use arrow::array::RecordBatch;
use pelton_base::{NodeName, ReceiptId, Report, VersionId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;

/// A logged prediction.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Its id. It comes first: readers of a segment look for it without parsing the rest.
    pub receipt: ReceiptId,
    /// When it was made, microseconds since the epoch.
    pub at_us: i64,
    /// The environment that answered.
    pub environment: String,
    /// The environment's publication.
    pub publication: i64,
    /// The model.
    pub model: NodeName,
    /// Its version.
    pub version: VersionId,
    /// The row of the request, from 0.
    pub row: u64,
    /// Request, time and key columns, as an object.
    pub request: Box<RawValue>,
    /// The features by lookup.
    pub features: Vec<FeatureRecord>,
    /// The prediction's columns, as an object.
    pub output: Box<RawValue>,
}

/// What one lookup gave.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FeatureRecord {
    /// The feature table.
    pub table: NodeName,
    /// Its version.
    pub version: VersionId,
    /// Whether it had the entity.
    pub found: bool,
    /// The features under their names in the training set, as an object.
    pub values: Box<RawValue>,
}

/// Writes the JSON of one row of a scored request, as [`Record`] reads it.
pub(crate) fn write_record(
    out: &mut Vec<u8>,
    receipt: &ReceiptId,
    at_us: i64,
    head: &RecordHead,
    scored: &Scored,
    row: usize,
) {
    let pipeline = head.pipeline;
    out.extend_from_slice(RECEIPT_PREFIX.as_bytes());
    out.extend_from_slice(receipt.0.as_bytes());
    out.extend_from_slice(b"\",\"at_us\":");
    out.extend_from_slice(at_us.to_string().as_bytes());
    out.extend_from_slice(head.text.as_bytes());
    out.extend_from_slice(row.to_string().as_bytes());
    out.extend_from_slice(b",\"request\":{");
    let width = pipeline.request_width();
    let inputs = scored.inputs.schema_ref().fields().iter().zip(scored.inputs.columns());
    let key = scored.key.schema_ref().fields().iter().zip(scored.key.columns());
    for (at, (field, column)) in inputs.take(width).chain(key).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_json(out, field.name());
        out.push(b':');
        write_value(out, column, row);
    }
    out.extend_from_slice(b"},\"features\":[");
    let mut from = width;
    for (at, lookup) in pipeline.package().lookups.iter().enumerate() {
        let to = from + lookup.columns.len();
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(head.lookups[at].as_bytes());
        out.extend_from_slice(if scored.found[at][row] { b"true" } else { b"false" });
        out.extend_from_slice(b",\"values\":");
        let fields = scored.inputs.schema_ref().fields()[from..to].to_vec().into();
        write_row(out, &fields, &scored.inputs.columns()[from..to], row);
        out.push(b'}');
        from = to;
    }
    out.extend_from_slice(b"],\"output\":");
    write_row(out, scored.output.fields(), scored.output.columns(), row);
    out.push(b'}');
}

/// How every record begins.
pub(crate) const RECEIPT_PREFIX: &str = "{\"receipt\":\"";

/// The parts of a record that all rows of a request share, as text.
pub(crate) struct RecordHead<'a> {
    pipeline: &'a Pipeline,
    text: String,
    lookups: Vec<String>,
}

impl<'a> RecordHead<'a> {
    pub(crate) fn new(endpoints: &Endpoints, pipeline: &'a Pipeline, version: &VersionId) -> Self {
        let mut out = b",\"environment\":".to_vec();
        write_json(&mut out, &endpoints.environment);
        out.extend_from_slice(b",\"publication\":");
        write_json(&mut out, &endpoints.publication);
        out.extend_from_slice(b",\"model\":");
        write_json(&mut out, &pipeline.package().model);
        out.extend_from_slice(b",\"version\":");
        write_json(&mut out, version);
        out.extend_from_slice(b",\"row\":");
        let lookups = pipeline.package().lookups.iter().map(|lookup| {
            let mut out = b"{\"table\":".to_vec();
            write_json(&mut out, &lookup.table);
            out.extend_from_slice(b",\"version\":");
            write_json(&mut out, &lookup.version);
            out.extend_from_slice(b",\"found\":");
            into_text(out)
        });
        RecordHead { pipeline, text: into_text(out), lookups: lookups.collect() }
    }
}

impl Record {
    /// Reads a record of the log.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Report> {
        serde_json::from_slice(bytes).map_err(|error| {
            Report::error("damaged-artifact", "a record of the prediction log is not readable").note(error.to_string())
        })
    }

    /// The rows that the pipeline scored, one row of [`Pipeline::inputs`].
    pub fn inputs(&self, pipeline: &Pipeline) -> Result<RecordBatch, Report> {
        let request = decode_logged(pipeline.request(), self.request.get())?;
        let mut columns = request.columns()[..pipeline.request_width()].to_vec();
        let mut from = columns.len();
        for lookup in &pipeline.package().lookups {
            let to = from + lookup.columns.len();
            let wanted: Vec<Column> = pipeline.inputs().fields()[from..to]
                .iter()
                .map(|field| Column::optional(field.name(), field.data_type().clone()))
                .collect();
            let Some(found) = self.features.iter().find(|found| found.table == lookup.table) else {
                let message = format!("the log has no features of `{}` for receipt {}", lookup.table, self.receipt);
                return Err(Report::error("damaged-artifact", message));
            };
            columns.extend_from_slice(decode_logged(&wanted, found.values.get())?.columns());
            from = to;
        }
        RecordBatch::try_new(Arc::clone(pipeline.inputs()), columns)
            .map_err(|error| Report::error("internal", "a logged row does not fit its model").note(error.to_string()))
    }

    /// Scores the logged row again.
    pub fn rescore(&self, pipeline: &Pipeline) -> Result<Again, Report> {
        let (derived, output) = pipeline.rescore(&self.inputs(pipeline)?)?;
        // The text of a value is the shortest that reads back to its bits, so equal texts are equal bits.
        let output = json_struct(&output, 0);
        let same_bits = is_same(self.output.get(), &output);
        Ok(Again { derived: crate::json_row(&derived, 0), output, same_bits })
    }
}

/// Whether an answer is the logged one; a model may answer more now than it did when it was asked, after that.
fn is_same(logged: &str, now: &str) -> bool {
    let rest = logged.strip_suffix('}').and_then(|logged| now.strip_prefix(logged));
    rest.is_some_and(|rest| rest == "}" || rest.starts_with(','))
}

/// A logged row, scored again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Again {
    /// The derived columns, as an object.
    pub derived: String,
    /// The prediction's columns, as an object.
    pub output: String,
    /// Whether the output is the logged one to the bit.
    pub same_bits: bool,
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn an_answer_is_the_same_when_its_columns_are() {
        let logged = r#"{"prediction":"a","score":0.25}"#;
        assert!(is_same(logged, logged));
        assert!(is_same(logged, r#"{"prediction":"a","score":0.25,"probabilities":[0.75,0.25]}"#));
        assert!(!is_same(logged, r#"{"prediction":"a","score":0.251}"#));
        assert!(!is_same(logged, r#"{"prediction":"b","score":0.25}"#));
        assert!(!is_same(r#"{"prediction":"a","score":0.25,"more":1}"#, logged));
    }
}
