//! Metrics of a model on a part of the examples, and which candidate is best.

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{filter, filter_record_batch};
use pelton_base::Report;
use pelton_learn::{LearnError, Learner, Model, Part, metrics};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A learner that was fitted, and how it did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The learner.
    pub learner: Learner,
    /// Parameters that the project sets; the others have their defaults.
    pub params: BTreeMap<String, f64>,
    /// Rounds of boosting that were kept, or iterations.
    pub rounds: usize,
    /// Metrics on the valid part, by which candidates are compared. Empty when there is none.
    pub valid: BTreeMap<String, f64>,
    /// Metrics on the test part, which neither fitting nor choosing sees.
    pub test: BTreeMap<String, f64>,
}

/// Rows of one part, ready to be scored.
pub(crate) struct PartRows {
    features: RecordBatch,
    target: ArrayRef,
}

impl PartRows {
    /// The rows of `part`; `None` when there are none.
    pub(crate) fn of(
        features: &RecordBatch,
        target: &ArrayRef,
        parts: &[Part],
        part: Part,
    ) -> Result<Option<Self>, Report> {
        let wanted: BooleanArray = parts.iter().map(|other| Some(*other == part)).collect();
        if wanted.true_count() == 0 {
            return Ok(None);
        }
        let defect = |error: arrow::error::ArrowError| Report::error("internal", error.to_string());
        let features = filter_record_batch(features, &wanted).map_err(defect)?;
        Ok(Some(PartRows { features, target: filter(target, &wanted).map_err(defect)? }))
    }

    /// All metrics of a model on these rows.
    pub(crate) fn metrics(&self, model: &Model) -> Result<BTreeMap<String, f64>, LearnError> {
        metrics::evaluate(&model.predict(&self.features)?, &self.target)
    }
}

/// Whether `a` is strictly better than `b` by a metric; a metric that is not defined is worse than any value.
pub(crate) fn is_better(metric: &str, a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) if metrics::is_higher_better(metric) == Some(false) => a < b,
        (Some(a), Some(b)) => a > b,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

/// The position of the best candidate by `metric` on the valid part; of equals, and without a valid part, the first.
pub(crate) fn best(candidates: &[Candidate], metric: &str) -> usize {
    let of = |at: usize| candidates[at].valid.get(metric).copied();
    (1..candidates.len()).fold(0, |best, at| if is_better(metric, of(at), of(best)) { at } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(learner: Learner, metric: &str, valid: Option<f64>) -> Candidate {
        let valid = valid.map(|value| (metric.to_string(), value)).into_iter().collect();
        Candidate { learner, params: BTreeMap::new(), rounds: 1, valid, test: BTreeMap::new() }
    }

    #[test]
    fn the_best_candidate_depends_on_which_way_the_metric_goes() {
        let of = |metric: &str, values: [Option<f64>; 3]| {
            best(&values.map(|value| candidate(Learner::Gbdt, metric, value)), metric)
        };
        assert_eq!(of("roc_auc", [Some(0.7), Some(0.9), Some(0.8)]), 1);
        assert_eq!(of("rmse", [Some(0.7), Some(0.9), Some(0.2)]), 2);
        assert_eq!(of("roc_auc", [Some(0.9), Some(0.9), None]), 0);
        assert_eq!(of("log_loss", [None, Some(0.9), None]), 1);
    }
}
