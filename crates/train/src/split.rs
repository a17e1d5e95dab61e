//! [`split`]: what each example is for.
//!
//! By time, the latest examples judge and those before them stop and choose; examples of one moment stay together. Otherwise the
//! part depends on a hash of the key (or group) and the seed alone, so that an example keeps its part when others come and go,
//! and the order of rows never matters.

use crate::columns::Columns;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::row::{RowConverter, Rows, SortField};
use pelton_base::{Digest, Report, Seed};
use pelton_learn::Part;
use pelton_project::{Split, SplitBy};
use pelton_query::types;
use std::collections::BTreeMap;

/// What each row of `batch` is for. `seed` is the project's.
///
/// The shares are met exactly by `time` (up to examples of one moment) and `stratified` (up to one example a class), and on
/// average by `random` and `group`. Rows without a time are learned from, and never judge.
pub fn split(batch: &RecordBatch, split: &Split, columns: &Columns, seed: Seed) -> Result<Vec<Part>, Report> {
    let seed = seed.derive("split");
    let column = |name: &str| {
        let missing = || Report::error("internal", format!("the training set has no column `{name}`"));
        batch.column_by_name(name).cloned().ok_or_else(missing)
    };
    let key_names: Vec<&str> = match columns.key.is_empty() {
        // Without a key a row is known by what it says.
        true => batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect(),
        false => columns.key.iter().map(|field| field.name().as_str()).collect(),
    };
    let key = || key_names.iter().map(|name| column(name)).collect::<Result<Vec<_>, _>>();
    match &split.by {
        SplitBy::Time => {
            let missing = || Report::error("internal", "a split by time needs a time");
            let time = columns.time.as_ref().ok_or_else(missing)?;
            by_time(&column(time.name())?, split)
        }
        SplitBy::Random => Ok(by_hash(&hashes(&key()?, seed)?, split)),
        SplitBy::Group(name) => Ok(by_hash(&hashes(&[column(name)?], seed)?, split)),
        SplitBy::Stratified => {
            let classes = rows_of(&[column(columns.target.name())?])?;
            Ok(stratified(&classes, &hashes(&key()?, seed)?, split))
        }
    }
}

fn defect(error: arrow::error::ArrowError) -> Report {
    Report::error("internal", format!("the training set cannot be split: {error}"))
}

/// Rows as comparable bytes.
pub(crate) fn rows_of(columns: &[ArrayRef]) -> Result<Rows, Report> {
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    RowConverter::new(fields).and_then(|converter| converter.convert_columns(columns)).map_err(defect)
}

/// The times of a column in microseconds; `None` where it has none.
pub(crate) fn times_of(column: &ArrayRef) -> Result<Vec<Option<i64>>, Report> {
    let times = cast(column, &types::timestamp()).map_err(defect)?;
    Ok(times.as_primitive::<TimestampMicrosecondType>().iter().collect())
}

/// A hash of each row and the seed: the XXH3-128 of the row's bytes, mixed with the seed by SplitMix64.
fn hashes(columns: &[ArrayRef], seed: Seed) -> Result<Vec<u64>, Report> {
    let rows = rows_of(columns)?;
    Ok(rows.iter().map(|row| Seed(seed.0 ^ Digest::of(row.data()).0 as u64).at(0)).collect())
}

fn by_hash(hashes: &[u64], split: &Split) -> Vec<Part> {
    let part = |hash: &u64| {
        let unit = (hash >> 11) as f64 / (1u64 << 53) as f64;
        match unit {
            unit if unit < split.test => Part::Test,
            unit if unit < split.test + split.valid => Part::Valid,
            _ => Part::Train,
        }
    };
    hashes.iter().map(part).collect()
}

fn stratified(classes: &Rows, hashes: &[u64], split: &Split) -> Vec<Part> {
    let mut by_class: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    for row in 0..classes.num_rows() {
        by_class.entry(classes.row(row).data()).or_default().push(row);
    }
    let mut parts = vec![Part::Train; hashes.len()];
    for mut rows in by_class.into_values() {
        rows.sort_unstable_by_key(|row| hashes[*row]);
        let wanted = |share: f64| (share * rows.len() as f64).round() as usize;
        let (test, valid) = (wanted(split.test), wanted(split.valid));
        for (at, row) in rows.iter().enumerate() {
            parts[*row] = match at {
                at if at < test => Part::Test,
                at if at < test + valid => Part::Valid,
                _ => Part::Train,
            };
        }
    }
    parts
}

fn by_time(column: &ArrayRef, split: &Split) -> Result<Vec<Part>, Report> {
    let times = times_of(column)?;
    let mut sorted: Vec<i64> = times.iter().flatten().copied().collect();
    sorted.sort_unstable();
    let wanted = |share: f64| (share * times.len() as f64).round() as usize;
    let (test, valid) = (wanted(split.test), wanted(split.valid));
    let test_from = cut(&sorted, test);
    let before_test = &sorted[..sorted.partition_point(|time| *time < test_from)];
    let valid_from = cut(before_test, valid).min(test_from);
    let part = |time: &Option<i64>| match time {
        Some(time) if *time >= test_from => Part::Test,
        Some(time) if *time >= valid_from => Part::Valid,
        _ => Part::Train,
    };
    Ok(times.iter().map(part).collect())
}

/// The moment from which on about `wanted` of the sorted times are: that or the next one, whichever comes nearer to it.
fn cut(sorted: &[i64], wanted: usize) -> i64 {
    let Some(first) = sorted.len().checked_sub(wanted).filter(|_| wanted > 0).and_then(|at| sorted.get(at)) else {
        return i64::MAX;
    };
    let (from, after) = (sorted.partition_point(|time| time < first), sorted.partition_point(|time| time <= first));
    let (many, few) = (sorted.len() - from, sorted.len() - after);
    // Never all of them; none only where all are of one moment.
    let takes_few = many - wanted > wanted - few || from == 0;
    match sorted.get(after) {
        Some(next) if takes_few => *next,
        None if from == 0 => i64::MAX,
        _ => *first,
    }
}

#[cfg(test)]
#[path = "tests/split.rs"]
mod tests;
