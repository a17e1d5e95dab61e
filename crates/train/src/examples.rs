//! Refuses examples that cannot be learned from: keys that are there twice, missing targets, parts with too few rows.

use crate::columns::Columns;
use crate::split::rows_of;
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use pelton_base::{Place, Report, Reports};
use pelton_learn::Part;
use pelton_project::{Model, Node, SplitBy};
use std::collections::HashMap;

/// The fewest rows of a part: fewer say nothing about a model.
const PART_ROWS_MIN: usize = 10;

/// The most keys that a report names.
const SAMPLES_MAX: usize = 5;

/// Refuses rows that share a key or have no target; both at once.
pub(crate) fn check_examples(
    batch: &RecordBatch,
    node: &Node,
    model: &Model,
    columns: &Columns,
) -> Result<(), Reports> {
    let mut reports = Reports::default();
    let key: Vec<ArrayRef> =
        columns.key.iter().filter_map(|field| batch.column_by_name(field.name()).cloned()).collect();
    if !key.is_empty() {
        reports.0.extend(repeated_keys(batch, node, model, &key)?);
    }
    let target = batch.column_by_name(columns.target.name());
    if let Some(target) = target.filter(|target| target.null_count() > 0) {
        let missing: Vec<usize> = (0..target.len()).filter(|row| target.is_null(*row)).collect();
        let message = format!(
            "the target `{}` of model `{}` is missing in {} of {} rows",
            columns.target.name(),
            node.name,
            missing.len(),
            batch.num_rows()
        );
        let place = Place::in_text(&node.file, &node.text, model.target.span.0, model.target.span.1);
        let report = Report::error("invalid-target", message).at(place);
        let report = match names(&key, columns, &missing) {
            Some(names) => report.note(format!("first rows: {names}")),
            None => report,
        };
        reports.push(report.hint(format!("leave them out with `where {} is not null`", columns.target.name())));
    }
    if reports.has_errors() { Err(reports) } else { Ok(()) }
}

fn repeated_keys(batch: &RecordBatch, node: &Node, model: &Model, key: &[ArrayRef]) -> Result<Option<Report>, Report> {
    let rows = rows_of(key)?;
    let mut seen: HashMap<&[u8], usize> = HashMap::with_capacity(rows.num_rows());
    let mut repeated: Vec<usize> = Vec::new();
    for row in 0..rows.num_rows() {
        let count = seen.entry(rows.row(row).data()).or_default();
        *count += 1;
        if *count == 2 {
            repeated.push(row);
        }
    }
    if repeated.is_empty() {
        return Ok(None);
    }
    let too_many = batch.num_rows() - seen.len();
    let names_of_key: Vec<&str> = model.key.iter().map(|name| name.value.as_str()).collect();
    let message = format!(
        "{too_many} of {} examples of model `{}` repeat the `{}` of another one",
        batch.num_rows(),
        node.name,
        names_of_key.join(", ")
    );
    // In an order that does not depend on the order of the rows.
    repeated.sort_unstable_by(|a, b| rows.row(*a).cmp(&rows.row(*b)));
    let samples = repeated
        .iter()
        .take(SAMPLES_MAX)
        .map(|row| format!("{} ({} times)", values(key, *row), seen[rows.row(*row).data()]));
    let span = model.key.first().map_or((0, 0), |name| name.span);
    let report = Report::error("duplicate-example", message).at(Place::in_text(&node.file, &node.text, span.0, span.1));
    Ok(Some(report.note(format!("among them: {}", samples.collect::<Vec<_>>().join(", ")))))
}

/// `id 4, 7, 9`: some rows by their key.
fn names(key: &[ArrayRef], columns: &Columns, rows: &[usize]) -> Option<String> {
    let names: Vec<&str> = columns.key.iter().map(|field| field.name().as_str()).collect();
    let shown = rows.iter().take(SAMPLES_MAX).map(|row| values(key, *row)).collect::<Vec<_>>().join(", ");
    (!key.is_empty()).then(|| format!("{} {shown}", names.join(", ")))
}

/// A row's values: `4`, or `(4, b)`.
fn values(columns: &[ArrayRef], row: usize) -> String {
    let options = FormatOptions::default().with_null("null").with_display_error(true);
    let shown = columns.iter().map(|column| match ArrayFormatter::try_new(column.as_ref(), &options) {
        Ok(formatter) => formatter.value(row).to_string(),
        Err(_) => "?".to_string(),
    });
    match shown.collect::<Vec<_>>().as_slice() {
        [one] => one.clone(),
        several => format!("({})", several.join(", ")),
    }
}

/// Refuses parts that are too small to learn from or to judge by.
pub(crate) fn check_parts(parts: &[Part], node: &Node, model: &Model) -> Result<(), Reports> {
    let mut reports = Reports::default();
    for part in [Part::Train, Part::Valid, Part::Test] {
        let rows = parts.iter().filter(|other| **other == part).count();
        if rows >= PART_ROWS_MIN || (part == Part::Valid && model.split.valid == 0.0) {
            continue;
        }
        let message = format!("the {part} part of model `{}` has {rows} rows, and needs {PART_ROWS_MIN}", node.name);
        let by = match &model.split.by {
            SplitBy::Time => "time".to_string(),
            SplitBy::Random => "a hash of the key".to_string(),
            SplitBy::Stratified => "a hash of the key, each class by itself".to_string(),
            SplitBy::Group(name) => format!("a hash of `{name}`"),
        };
        let percent = |share: f64| (share * 1000.0).round() / 10.0;
        let report = Report::error("too-few-rows", message).at(node.place()).note(format!(
            "the SELECT gives {} rows, split by {by}: {}% test, {}% valid",
            parts.len(),
            percent(model.split.test),
            percent(model.split.valid)
        ));
        reports.push(report);
    }
    if reports.has_errors() { Err(reports) } else { Ok(()) }
}
