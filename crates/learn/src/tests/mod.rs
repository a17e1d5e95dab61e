//! Tests that need a whole fit; what one file does alone is tested there.

mod fitting;
mod keeping;
mod oracle;

use crate::*;
use arrow::array::*;
use pelton_base::Seed;
use std::collections::BTreeMap;
use std::sync::Arc;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn options(learner: Learner, params: &[(&str, f64)]) -> FitOptions {
    let task = if learner == Learner::Linear { TaskKind::Regression } else { TaskKind::Classification };
    let params = params.iter().map(|(name, value)| (name.to_string(), *value)).collect::<BTreeMap<_, _>>();
    FitOptions { task, learner, params, seed: 42, threads: 2 }
}

fn regression(learner: Learner, params: &[(&str, f64)]) -> FitOptions {
    FitOptions { task: TaskKind::Regression, ..options(learner, params) }
}

/// Six of ten rows train, one stops, three judge.
fn parts(rows: usize) -> Vec<Part> {
    (0..rows).map(|row| [Part::Train, Part::Valid, Part::Test][[0, 0, 0, 0, 0, 0, 1, 2, 2, 2][row % 10]]).collect()
}

fn learn(features: &RecordBatch, target: &ArrayRef, part: &[Part], options: &FitOptions) -> Result<Model, LearnError> {
    fit(&TrainingData { features, target, part, weights: None }, options, &|_| {})
}

/// The metrics on the test rows.
fn judge(model: &Model, features: &RecordBatch, target: &ArrayRef, part: &[Part]) -> BTreeMap<String, f64> {
    let rows: UInt32Array = part.iter().zip(0..).filter(|(part, _)| **part == Part::Test).map(|(_, row)| row).collect();
    let features = arrow::compute::take_record_batch(features, &rows).unwrap();
    let target = arrow::compute::take(target, &rows, None).unwrap();
    metrics::evaluate(&model.predict(&features).unwrap(), &target).unwrap()
}

/// Every kind of column, with missing values; the answer needs `a` and `b` together, and `channel`.
fn payments(rows: usize) -> (RecordBatch, ArrayRef) {
    let seed = Seed(7);
    let unit = |name: &str, row: usize| seed.derive(name).unit_at(row as u64);
    let hole = |name: &str, row: usize| unit(name, row + 1_000_000) < 0.05;
    let number = |name: &'static str| -> Float64Array {
        (0..rows).map(|row| (!hole(name, row)).then(|| unit(name, row) * 2.0 - 1.0)).collect()
    };
    let channels = ["web", "shop", "phone", "app"];
    let channel_at = |row: usize| (unit("channel", row) * 4.0) as usize;
    let (a, b) = (number("a"), number("b"));
    let target: BooleanArray = (0..rows)
        .map(|row| {
            let apart = (a.value(row) > 0.0) != (b.value(row) > 0.0);
            Some((apart && channel_at(row) != 1) != (unit("noise", row) < 0.05))
        })
        .collect();
    let channel: StringArray =
        (0..rows).map(|row| (!hole("channel", row)).then(|| channels[channel_at(row)])).collect();
    let known: BooleanArray = (0..rows).map(|row| (!hole("known", row)).then(|| unit("known", row) < 0.3)).collect();
    let cents: Decimal128Array = (0..rows).map(|row| Some((unit("amount", row) * 1e5) as i128)).collect();
    let at: TimestampMicrosecondArray =
        (0..rows).map(|row| Some(1_795_365_547_000_000 + row as i64 * 61_000_000)).collect();
    let day: Date32Array = (0..rows).map(|row| Some(20_000 + (unit("day", row) * 365.0) as i32)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("a", Arc::new(a)),
        ("b", Arc::new(b)),
        ("channel", Arc::new(channel)),
        ("known", Arc::new(known)),
        ("amount", Arc::new(cents.with_precision_and_scale(12, 2).unwrap())),
        ("at", Arc::new(at.with_timezone("UTC"))),
        ("day", Arc::new(day)),
        ("visits", Arc::new((0..rows).map(|row| Some((unit("visits", row) * 9.0) as i64)).collect::<Int64Array>())),
    ];
    (batch(columns), Arc::new(target))
}
