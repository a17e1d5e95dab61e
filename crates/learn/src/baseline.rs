//! The baseline: what is known from the target alone. Every model has to beat it.

use crate::fit::Fit;
use serde::{Deserialize, Serialize};

/// The class frequencies of the training rows, or their mean: the best constant by log loss, and by squares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Baseline {
    /// One number for two classes (the frequency of the positive one) and for regression, else one for each class.
    pub(crate) values: Vec<f64>,
}

pub(crate) fn mean(fit: &Fit<'_>, target: &[f64]) -> Baseline {
    let (mut sum, mut total) = (0.0, 0.0);
    for (at, &row) in fit.train.iter().enumerate() {
        sum += fit.weight(at) * target[row as usize];
        total += fit.weight(at);
    }
    Baseline { values: vec![sum / total] }
}

pub(crate) fn frequencies(fit: &Fit<'_>, codes: &[u32], classes: usize) -> Baseline {
    let (mut counts, mut total) = (vec![0.0; classes], 0.0);
    for (at, &row) in fit.train.iter().enumerate() {
        counts[codes[row as usize] as usize] += fit.weight(at);
        total += fit.weight(at);
    }
    let mut values: Vec<f64> = counts.into_iter().map(|count| count / total).collect();
    if classes == 2 {
        values.remove(0);
    }
    Baseline { values }
}
