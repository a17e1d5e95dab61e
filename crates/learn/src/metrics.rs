//! How good predictions are, by the standard definitions; every row counts alike.
//!
//! Names are those of scikit-learn's functions without `_score`, and so are the definitions, the edge cases included: the oracle
//! behind the tests is `tests/oracle/metrics.py`. A metric that is not defined for the given rows (an area under a curve with one
//! class only) is NaN, and left out by [`evaluate`].

use crate::error::LearnError;
use crate::fit::{Task, TaskKind};
use crate::model::Prediction;
use crate::target;
use arrow::array::ArrayRef;
use std::collections::BTreeMap;

/// All metrics.
pub const NAMES: &[&str] = &[
    "accuracy",
    "average_precision",
    "brier",
    "f1",
    "log_loss",
    "macro_f1",
    "mae",
    "mape",
    "precision",
    "r2",
    "recall",
    "rmse",
    "roc_auc",
];

/// The metrics that [`evaluate`] gives for a task, the usual one for choosing between models first.
pub fn names_of(task: Task) -> &'static [&'static str] {
    match task {
        Task::Binary => &["average_precision", "roc_auc", "log_loss", "brier", "f1", "precision", "recall", "accuracy"],
        Task::Multiclass => &["log_loss", "accuracy", "macro_f1"],
        Task::Regression => &["rmse", "mae", "mape", "r2"],
    }
}

/// Whether more of a metric is better; `None` for a name that is not one of [`NAMES`].
pub fn is_higher_better(metric: &str) -> Option<bool> {
    match metric {
        "log_loss" | "brier" | "mae" | "mape" | "rmse" => Some(false),
        name => NAMES.contains(&name).then_some(true),
    }
}

/// All metrics of the task, of predictions against the target of the same rows.
///
/// A row whose class the model does not know counts as predicted wrongly, with probability 0 for its class; for two classes it
/// counts as negative where a metric asks only for that. Fails when the target is missing in some rows or is of another kind.
pub fn evaluate(prediction: &Prediction, target: &ArrayRef) -> Result<BTreeMap<String, f64>, LearnError> {
    if prediction.rows() != target.len() {
        return Err(LearnError::Shape { what: "the target", rows: prediction.rows(), found: target.len() });
    }
    let values: Vec<(&str, f64)> = match prediction.classes() {
        None => {
            target::check_type(target, TaskKind::Regression)?;
            let target = target::numbers(target)?;
            let score = prediction.score();
            vec![
                ("rmse", rmse(&target, score)),
                ("mae", mae(&target, score)),
                ("mape", mape(&target, score)),
                ("r2", r2(&target, score)),
            ]
        }
        Some(classes) => {
            let codes = target::present(classes.codes(target)?)?;
            if classes.len() == 2 {
                binary(&codes, prediction.score())
            } else {
                let predicted = prediction.codes();
                vec![
                    ("log_loss", multiclass_log_loss(&codes, prediction.probabilities(), classes.len())),
                    ("accuracy", accuracy(&codes, predicted)),
                    ("macro_f1", macro_f1(&codes, predicted)),
                ]
            }
        }
    };
    Ok(values
        .into_iter()
        .filter(|(_, value)| value.is_finite())
        .map(|(name, value)| (name.to_string(), value))
        .collect())
}

fn binary(codes: &[u32], score: &[f64]) -> Vec<(&'static str, f64)> {
    let target: Vec<bool> = codes.iter().map(|&code| code == 1).collect();
    let predicted: Vec<bool> = score.iter().map(|&score| score >= 0.5).collect();
    let predicted_codes: Vec<u32> = predicted.iter().map(|&positive| u32::from(positive)).collect();
    let probabilities: Vec<f64> = score.iter().flat_map(|&score| [1.0 - score, score]).collect();
    let (roc_auc, average_precision) = ranked(&target, score);
    vec![
        ("average_precision", average_precision),
        ("roc_auc", roc_auc),
        ("log_loss", multiclass_log_loss(codes, &probabilities, 2)),
        ("brier", brier(&target, score)),
        ("f1", f1(&target, &predicted)),
        ("precision", precision(&target, &predicted)),
        ("recall", recall(&target, &predicted)),
        ("accuracy", accuracy(codes, &predicted_codes)),
    ]
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// The mean negative logarithm of the probability given to what happened; probabilities are kept 2^-52 away from 0 and 1.
pub fn log_loss(target: &[bool], score: &[f64]) -> f64 {
    mean(target.iter().zip(score).map(|(&positive, &score)| {
        let score = score.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
        -(if positive { score } else { 1.0 - score }).ln()
    }))
}

/// As [`log_loss`], for `classes` probabilities a row; a code that is no class has probability 0.
pub fn multiclass_log_loss(codes: &[u32], probabilities: &[f64], classes: usize) -> f64 {
    mean(codes.iter().zip(probabilities.chunks_exact(classes)).map(|(&code, row)| {
        let probability = row.get(code as usize).copied().unwrap_or(0.0);
        -probability.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
    }))
}

/// The probability that a positive row scores above a negative one, ties counting half (Fawcett 2006, section 7).
pub fn roc_auc(target: &[bool], score: &[f64]) -> f64 {
    ranked(target, score).0
}

/// The sum of precision at each distinct score, weighted by the recall gained there; no interpolation (Manning, Raghavan and
/// Schütze 2008, section 8.4, with ties as one threshold).
pub fn average_precision(target: &[bool], score: &[f64]) -> f64 {
    ranked(target, score).1
}

/// ROC AUC and average precision in one walk down the scores. Neither is defined without positive rows, nor the first without
/// negative ones.
fn ranked(target: &[bool], score: &[f64]) -> (f64, f64) {
    let mut rows: Vec<(f64, bool)> = score.iter().copied().zip(target.iter().copied()).collect();
    rows.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let positives = target.iter().filter(|&&positive| positive).count() as f64;
    let negatives = target.len() as f64 - positives;
    let (mut hits, mut misses, mut area, mut precision) = (0.0, 0.0, 0.0, 0.0);
    for tied in rows.chunk_by(|a, b| a.0 == b.0) {
        let gained = tied.iter().filter(|(_, positive)| *positive).count() as f64;
        let lost = tied.len() as f64 - gained;
        area += lost * (hits + gained / 2.0);
        (hits, misses) = (hits + gained, misses + lost);
        precision += gained * (hits / (hits + misses));
    }
    (area / (positives * negatives), precision / positives)
}

/// The mean squared difference of score and outcome (Brier 1950, for one of two classes).
pub fn brier(target: &[bool], score: &[f64]) -> f64 {
    mean(target.iter().zip(score).map(|(&positive, score)| (f64::from(u8::from(positive)) - score).powi(2)))
}

fn count(target: &[bool], predicted: &[bool], wanted: (bool, bool)) -> f64 {
    target.iter().zip(predicted).filter(|&(&target, &predicted)| (target, predicted) == wanted).count() as f64
}

/// `part / whole`, and 0 of nothing.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// The share of rows predicted positive that are; 0 when none is predicted.
pub fn precision(target: &[bool], predicted: &[bool]) -> f64 {
    let hits = count(target, predicted, (true, true));
    share(hits, hits + count(target, predicted, (false, true)))
}

/// The share of positive rows that are predicted; 0 when there are none.
pub fn recall(target: &[bool], predicted: &[bool]) -> f64 {
    let hits = count(target, predicted, (true, true));
    share(hits, hits + count(target, predicted, (true, false)))
}

/// The harmonic mean of precision and recall; 0 when both are.
pub fn f1(target: &[bool], predicted: &[bool]) -> f64 {
    let hits = count(target, predicted, (true, true));
    share(2.0 * hits, 2.0 * hits + count(target, predicted, (false, true)) + count(target, predicted, (true, false)))
}

/// The share of rows that are predicted right.
pub fn accuracy(codes: &[u32], predicted: &[u32]) -> f64 {
    mean(codes.iter().zip(predicted).map(|(code, predicted)| f64::from(u8::from(code == predicted))))
}

/// The mean of the F1 of each class that is there or is predicted, each taken as the positive one.
pub fn macro_f1(codes: &[u32], predicted: &[u32]) -> f64 {
    // Hits and all mentions by class.
    let mut classes: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for (&code, &predicted) in codes.iter().zip(predicted) {
        classes.entry(code).or_default().1 += 1.0;
        classes.entry(predicted).or_default().1 += 1.0;
        if code == predicted {
            classes.entry(code).or_default().0 += 1.0;
        }
    }
    mean(classes.values().map(|(hits, mentions)| 2.0 * hits / mentions))
}

/// The mean absolute error.
pub fn mae(target: &[f64], predicted: &[f64]) -> f64 {
    mean(target.iter().zip(predicted).map(|(target, predicted)| (target - predicted).abs()))
}

/// The mean absolute error as a share of the target, whose absolute value counts as 2^-52 at least; not in percent.
pub fn mape(target: &[f64], predicted: &[f64]) -> f64 {
    mean(
        target
            .iter()
            .zip(predicted)
            .map(|(target, predicted)| (target - predicted).abs() / target.abs().max(f64::EPSILON)),
    )
}

/// The root of the mean squared error.
pub fn rmse(target: &[f64], predicted: &[f64]) -> f64 {
    mean(target.iter().zip(predicted).map(|(target, predicted)| (target - predicted).powi(2))).sqrt()
}

/// The share of the target's variance that is explained, negative when the mean would be better; of a constant target 1 when all
/// predictions are exact, else 0.
pub fn r2(target: &[f64], predicted: &[f64]) -> f64 {
    let center = mean(target.iter().copied());
    let error: f64 = target.iter().zip(predicted).map(|(target, predicted)| (target - predicted).powi(2)).sum();
    let total: f64 = target.iter().map(|target| (target - center).powi(2)).sum();
    match (error > 0.0, total > 0.0) {
        (_, true) => 1.0 - error / total,
        (true, false) => 0.0,
        (false, false) => 1.0,
    }
}
