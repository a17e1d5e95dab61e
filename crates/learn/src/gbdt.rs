//! Gradient boosted decision trees; the one file that names the library behind them.
//!
//! Binary targets are learned by log loss, more classes by softmax with one tree a class and round, numbers by squares after
//! they were standardised (trees sum single-precision values, and have an absolute threshold for the gain of a split). Split
//! search is by histograms, text columns split into sets of categories. With valid rows, training stops when the loss on them has
//! not improved for `early_stopping_rounds`, and the trees after the best round are dropped; nothing is fitted again. The library
//! grows trees and does nothing else: they are kept and scored in our own layout.

use crate::error::LearnError;
use crate::fit::{Fit, Progress};
use crate::linalg::{sigmoid, softmax};
use crate::matrix::{CategoryLimits, Encoder, Rows, Slot};
use crate::trees::{Ask, Grown, Trees};
use hessboost::config::{GrowPolicy, TrainingParams, TreeMethod};
use hessboost::data::{DMatrix, FeatureType};
use hessboost::error::HessboostError;
use hessboost::model::{BoostedModel, ImportanceType};
use hessboost::objective::{Multiclass, Objective, RegLoss};
use hessboost::training::Trainer;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

/// Rows that one thread scores at a time; fewer rows stay on the calling thread, whose latency is not worth a pool's.
const BLOCK_ROWS: usize = 1_024;
/// The most categories of a text column: each node sorts them for each such column, which takes longer than all else beyond that.
const CATEGORIES_MAX: usize = 1_000;
/// Rounds when there is no valid part to stop by.
const ROUNDS_UNWATCHED: usize = 100;

/// Categories below a thousandth of the training rows, at least 1 and at most 20 rows, share one code: sets of them are chosen
/// after sorting by gradient, which fits noise when a category has a few rows.
pub(crate) fn category_limits(rows: usize) -> CategoryLimits {
    CategoryLimits { categories_max: CATEGORIES_MAX, rows_min: (rows / 1_000).clamp(1, 20) }
}

/// Trees, and how their sum becomes the answer.
pub(crate) struct Gbdt {
    trees: Trees,
    pub(crate) header: Header,
}

/// What is stored beside the trees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// Rounds that were kept.
    pub(crate) rounds: usize,
    /// The loss on the valid part after the last of them.
    pub(crate) valid_loss: Option<f64>,
    /// The share of the total gain that each column of the matrix brought.
    pub(crate) gains: Vec<f64>,
    link: Link,
}

/// How margins become answers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Link {
    /// The probability of the positive class.
    Sigmoid,
    /// A probability for each class.
    Softmax,
    /// A number that was standardised by these.
    Number { mean: f64, deviation: f64 },
}

pub(crate) fn classification(
    fit: &Fit<'_>,
    encoder: &Encoder,
    codes: &[u32],
    classes: usize,
) -> Result<Gbdt, LearnError> {
    let (objective, link) = match classes {
        2 => (Objective::BinaryLogistic(RegLoss::default()), Link::Sigmoid),
        _ => (Objective::Softprob(Multiclass::new(classes).map_err(defect("boosting"))?), Link::Softmax),
    };
    let labels: Vec<f32> = codes.iter().map(|&code| code as f32).collect();
    boost(fit, encoder, objective, &labels, link)
}

pub(crate) fn regression(fit: &Fit<'_>, encoder: &Encoder, target: &[f64]) -> Result<Gbdt, LearnError> {
    let train = fit.train_of(target);
    let count = train.len() as f64;
    let mean = train.iter().sum::<f64>() / count;
    let deviation = (train.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
    let scale = if deviation > 0.0 && deviation.is_finite() { deviation } else { 1.0 };
    let labels: Vec<f32> = target.iter().map(|value| ((value - mean) / scale).clamp(-1e30, 1e30) as f32).collect();
    let link = Link::Number { mean, deviation: scale };
    boost(fit, encoder, Objective::SquaredError(RegLoss::default()), &labels, link)
}

fn defect(step: &'static str) -> impl Fn(HessboostError) -> LearnError {
    move |error| LearnError::Defect { step, reason: error.to_string() }
}

/// The encoded rows with their labels.
fn matrix(fit: &Fit<'_>, encoder: &Encoder, rows: &[u32], labels: &[f32]) -> Result<DMatrix, LearnError> {
    let cells = encoder.matrix::<f32>(fit.features, Rows::Some(rows))?;
    let labels: Vec<f32> = rows.iter().map(|&row| labels[row as usize]).collect();
    let types: Vec<FeatureType> = encoder
        .slots()
        .iter()
        .map(|slot| match slot {
            Slot::Category { .. } => FeatureType::Categorical,
            Slot::Number | Slot::Cyclic { .. } => FeatureType::Numerical,
        })
        .collect();
    DMatrix::from_dense_vec(cells, rows.len(), encoder.width())
        .and_then(|matrix| matrix.with_labels(&labels))
        .and_then(|matrix| matrix.with_feature_types(&types))
        .map_err(defect("building the training matrix"))
}

fn params(fit: &Fit<'_>, objective: Objective) -> Result<TrainingParams, LearnError> {
    let params = &fit.params;
    let builder = TrainingParams::builder()
        .objective(objective)
        .tree_method(TreeMethod::Hist)
        .seed(fit.seed)
        .eta(params.get("learning_rate"))
        .max_bin(params.count("bins"))
        .min_child_weight(params.get("min_child_weight"))
        .gamma(params.get("min_split_gain"))
        .lambda(params.get("l2"))
        .alpha(params.get("l1"))
        .subsample(params.get("subsample"))
        .colsample_bytree(params.get("column_sample"));
    // With `leaves` the best leaf grows first, as deep as it likes unless `depth` is given too.
    let leaves = params.count("leaves");
    let depth = if leaves > 0 { params.given("depth").unwrap_or(0.0) as usize } else { params.count("depth") };
    let builder = if depth > 0 { builder.max_depth(depth) } else { builder.unlimited_depth() };
    let builder =
        if leaves > 0 { builder.grow_policy(GrowPolicy::LossGuide).max_leaves(leaves.max(2)) } else { builder };
    builder.build().map_err(defect("boosting"))
}

fn boost(
    fit: &Fit<'_>,
    encoder: &Encoder,
    objective: Objective,
    labels: &[f32],
    link: Link,
) -> Result<Gbdt, LearnError> {
    let training = params(fit, objective)?;
    let unit = if let Link::Number { deviation, .. } = link { deviation } else { 1.0 };
    let mut train = matrix(fit, encoder, &fit.train, labels)?;
    if let Some(weights) = &fit.weights {
        let weights: Vec<f32> = weights.iter().map(|&weight| weight as f32).collect();
        train = train.with_weights(&weights).map_err(defect("building the training matrix"))?;
    }
    let valid = match fit.valid.is_empty() {
        true => None,
        false => Some(matrix(fit, encoder, &fit.valid, labels)?),
    };
    let patience = NonZeroUsize::new(fit.params.count("early_stopping_rounds"));
    let rounds_max = match (&valid, fit.params.given("rounds")) {
        (None, None) => ROUNDS_UNWATCHED,
        _ => fit.params.count("rounds"),
    };
    let mut trainer = Trainer::new(&training, &train, rounds_max).on_round(|round| {
        let valid_loss = round.values().last().map(|loss| loss * unit);
        (fit.progress)(Progress { round: round.iteration() + 1, rounds_max, valid_loss });
        ControlFlow::Continue(())
    });
    if let Some(valid) = &valid {
        trainer = trainer.eval(valid, "valid");
        if let Some(patience) = patience {
            trainer = trainer.early_stopping_rounds(patience);
        }
    }
    let result = trainer.train().map_err(defect("boosting"))?;
    let rounds = result.model.best_iteration().map_or(result.model.num_boost_rounds(), |best| best + 1);
    let loss = rounds.checked_sub(1).and_then(|last| result.history.round(last)?.values().last().copied());
    let model = result.model.slice(..rounds, 1).map_err(defect("cutting to the best round"))?;
    let header = Header { rounds, valid_loss: loss.map(|loss| loss * unit), gains: gains(&model), link };
    Ok(Gbdt { trees: trees(&model), header })
}

/// The trained trees in our own layout.
fn trees(model: &BoostedModel) -> Trees {
    let mut trees = Trees::new(model.n_features(), model.base_scores().to_vec());
    for tree in model.trees() {
        let node = |(at, node): (usize, &hessboost::tree::Node)| {
            if node.is_leaf() {
                return (Grown::Leaf(node.leaf_value), node.sum_hess);
            }
            let ask = match node.is_categorical {
                true => Ask::In(tree.split_categories(at).to_vec()),
                false => Ask::Below(node.split_cond),
            };
            let (left, right) = (node.left as usize, node.right as usize);
            let grown = Grown::Split { column: node.split_feature, ask, missing_left: node.default_left, left, right };
            (grown, node.sum_hess)
        };
        trees.push(&tree.nodes().iter().enumerate().map(node).collect::<Vec<_>>());
    }
    trees
}

fn gains(model: &BoostedModel) -> Vec<f64> {
    let gains = model.feature_importance(ImportanceType::TotalGain);
    let total: f64 = gains.values().sum();
    (0..model.n_features()).map(|column| gains.get(&column).map_or(0.0, |gain| gain / total)).collect()
}

impl Gbdt {
    /// The trees as bytes; with [`Gbdt::header`], all there is to store.
    pub(crate) fn trees(&self) -> Vec<u8> {
        self.trees.to_bytes()
    }

    pub(crate) fn from_parts(header: Header, trees: &[u8]) -> Result<Self, LearnError> {
        Ok(Gbdt { trees: Trees::from_bytes(trees)?, header })
    }

    /// Whether it belongs to a matrix of so many columns.
    pub(crate) fn fits(&self, columns: usize) -> bool {
        let outputs_fit = self.trees.outputs() == 1 || self.header.link == Link::Softmax;
        self.trees.columns() == columns && self.header.gains.len() == columns && outputs_fit
    }

    /// Whether what the trees add up to can be told as a number.
    pub(crate) fn is_finite(&self) -> bool {
        match self.header.link {
            Link::Number { mean, deviation } => mean.is_finite() && deviation.is_finite(),
            Link::Sigmoid | Link::Softmax => true,
        }
    }

    /// How many values a row's answer has: 1, or one a class.
    pub(crate) fn width(&self) -> usize {
        self.trees.outputs()
    }

    /// The answers for encoded rows, in the same bits whether a row comes alone or in a batch.
    pub(crate) fn score(&self, cells: &[f32]) -> Vec<f64> {
        let (width, columns) = (self.width(), self.trees.columns());
        let mut margins = vec![0.0f32; cells.len() / columns * width];
        if cells.len() <= BLOCK_ROWS * columns {
            self.trees.margins(cells, &mut margins);
        } else {
            let blocks = cells.par_chunks(BLOCK_ROWS * columns).zip(margins.par_chunks_mut(BLOCK_ROWS * width));
            blocks.for_each(|(cells, margins)| self.trees.margins(cells, margins));
        }
        let mut scores: Vec<f64> = margins.into_iter().map(f64::from).collect();
        match self.header.link {
            Link::Sigmoid => scores.iter_mut().for_each(|score| *score = sigmoid(*score)),
            Link::Number { mean, deviation } => scores.iter_mut().for_each(|score| *score = mean + deviation * *score),
            Link::Softmax => scores.chunks_exact_mut(width).for_each(|row| {
                softmax(row);
            }),
        }
        scores
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_trees_score_to_the_bits_of_the_library_that_grew_them() {
        let rows = 600;
        let cells: Vec<f32> = (0..rows)
            .flat_map(|row| {
                let number = (row * 7919 % 211) as f32 / 10.0;
                [if row % 9 == 0 { f32::NAN } else { number }, (row * 31 % 70) as f32, (row % 13) as f32]
            })
            .collect();
        let labels: Vec<f32> = (0..rows).map(|row| ((row * 7919 % 211 + row * 31 % 70 * 3) % 3) as f32).collect();
        let types = [FeatureType::Numerical, FeatureType::Categorical, FeatureType::Numerical];
        let matrix = DMatrix::from_dense(&cells, rows, 3).unwrap().with_labels(&labels).unwrap();
        let matrix = matrix.with_feature_types(&types).unwrap();
        let params = TrainingParams::builder()
            .objective(Objective::Softprob(Multiclass::new(3).unwrap()))
            .tree_method(TreeMethod::Hist)
            .max_depth(5)
            .build()
            .unwrap();
        let model = hessboost::training::train(&params, &matrix, 6).unwrap();
        let theirs = model.predict_margin(&matrix, hessboost::model::Iterations::Best).unwrap();
        let mut ours = vec![0.0; rows * 3];
        trees(&model).margins(&cells, &mut ours);
        assert_eq!(ours, theirs.as_slice());
    }
}
