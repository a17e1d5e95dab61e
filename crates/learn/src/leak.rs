//! Does one column alone give the answer away?

use crate::fit::{Part, TaskKind};
use crate::metrics::roc_auc;
use crate::target::Target;
use crate::values::{Sort, plain, read_numbers, read_texts, sort_of};
use arrow::array::{ArrayRef, RecordBatch};
use rayon::prelude::*;
use std::collections::HashMap;

/// The most held-out rows that are ranked: the standard error of an area under the curve is then below 0.01 with 1% positives.
const ROWS_MAX: usize = 50_000;
/// The most training rows from which the rate of a text's values is taken.
const TRAIN_ROWS_MAX: usize = 200_000;
/// A value's rate is drawn towards the mean as if so many average rows were added.
const PRIOR_ROWS: f64 = 5.0;

/// How well each column alone ranks the held-out rows: its area under the ROC curve, or 1 minus it where that is greater.
///
/// Held-out rows are the test rows, or the valid rows where there are none; of many, 50,000 at equal distances. A number, time or
/// boolean ranks by its value, missing ones first or last, whichever tells more. A text ranks by how often its values were
/// positive in training rows. Empty when the target has not exactly two classes, or the held-out rows have one only; columns
/// that cannot be learned from are left out.
pub fn single_feature_auc(features: &RecordBatch, target: &ArrayRef, part: &[Part]) -> Vec<(String, f64)> {
    let rows_of = |wanted: Part| -> Vec<u32> {
        part.iter().zip(0..).filter(|(part, _)| **part == wanted).map(|(_, row)| row).collect()
    };
    let train = rows_of(Part::Train);
    let held_out = match rows_of(Part::Test) {
        rows if rows.is_empty() => rows_of(Part::Valid),
        rows => rows,
    };
    let Ok(Target::Classes(classes, codes)) = Target::read(target, part, &train, TaskKind::Classification) else {
        return Vec::new();
    };
    let (train, held_out) = (thin(train, TRAIN_ROWS_MAX), thin(held_out, ROWS_MAX));
    let positive = |rows: &[u32]| -> Vec<bool> { rows.iter().map(|&row| codes[row as usize] == 1).collect() };
    let (seen, asked) = (positive(&train), positive(&held_out));
    if classes.len() != 2 || asked.iter().all(|&positive| positive) || !asked.contains(&true) {
        return Vec::new();
    }
    let columns: Vec<_> = features.schema_ref().fields().iter().zip(features.columns()).collect();
    let one = |(field, array): &(&arrow::datatypes::FieldRef, &ArrayRef)| {
        let sort = sort_of(array.data_type())?;
        let array = plain(array);
        let rows = |rows: &[u32]| -> Vec<usize> { rows.iter().map(|&row| row as usize).collect() };
        let auc = if sort == Sort::Text {
            let rates = rates(&array, &rows(&train), &seen);
            let mut scores = Vec::with_capacity(held_out.len());
            read_texts(&array, rows(&held_out).into_iter(), |value| {
                scores.push(rates.get(&value).copied().unwrap_or(rates[&None]));
            });
            either_way(&asked, &scores)
        } else {
            let mut scores = Vec::with_capacity(held_out.len());
            read_numbers(&array, rows(&held_out).into_iter(), |value| scores.push(value));
            let filled = |missing: f64| -> Vec<f64> {
                scores.iter().map(|&score| if score.is_nan() { missing } else { score }).collect()
            };
            let first = either_way(&asked, &filled(f64::NEG_INFINITY));
            if scores.iter().any(|score| score.is_nan()) {
                first.max(either_way(&asked, &filled(f64::INFINITY)))
            } else {
                first
            }
        };
        Some((field.name().clone(), auc))
    };
    columns.par_iter().filter_map(one).collect()
}

/// At most `max` rows at equal distances.
fn thin(rows: Vec<u32>, max: usize) -> Vec<u32> {
    let stride = rows.len().div_ceil(max).max(1);
    rows.into_iter().step_by(stride).collect()
}

fn either_way(target: &[bool], scores: &[f64]) -> f64 {
    let auc = roc_auc(target, scores);
    auc.max(1.0 - auc)
}

/// How often each value is positive; `None` is missing, and is always there.
fn rates<'a>(array: &'a ArrayRef, rows: &[usize], positive: &[bool]) -> HashMap<Option<&'a str>, f64> {
    let mean = positive.iter().filter(|&&positive| positive).count() as f64 / positive.len().max(1) as f64;
    let mut counts: HashMap<Option<&str>, (f64, f64)> = HashMap::from([(None, (0.0, 0.0))]);
    let mut positive = positive.iter();
    read_texts(array, rows.iter().copied(), |value| {
        let count = counts.entry(value).or_default();
        count.0 += f64::from(u8::from(positive.next() == Some(&true)));
        count.1 += 1.0;
    });
    let rate = |(hits, rows): (f64, f64)| (hits + PRIOR_ROWS * mean) / (rows + PRIOR_ROWS);
    counts.into_iter().map(|(value, count)| (value, rate(count))).collect()
}
