//! Gradient boosted decision trees; the one file that names the library behind them.
//!
//! Binary targets are learned by log loss, more classes by softmax with one tree a class and round, numbers by squares after
//! they were standardised (trees sum single-precision values, and have an absolute threshold for the gain of a split). Split
//! search is by histograms, text columns split into sets of categories. With valid rows, training stops when the loss on them has
//! not improved for `early_stopping_rounds`, and the trees after the best round are dropped; nothing is fitted again.

use crate::error::LearnError;
use crate::fit::{Fit, Progress};
use crate::matrix::{CategoryLimits, Encoder, Rows, Slot};
use hessboost::config::{GrowPolicy, TrainingParams, TreeMethod};
use hessboost::data::{DMatrix, FeatureType};
use hessboost::error::HessboostError;
use hessboost::model::{BoostedModel, ImportanceType, Iterations, ModelFormat};
use hessboost::objective::{Multiclass, Objective, RegLoss};
use hessboost::training::Trainer;
use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

/// Batches up to this size are scored row by row on the calling thread: a request's latency is not worth a thread pool's.
const SMALL_ROWS: usize = 64;
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
    model: BoostedModel,
    pub(crate) header: Header,
}

/// What is stored beside the trees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// Rounds that were kept.
    pub(crate) rounds: usize,
    /// The loss on the valid part after the last of them.
    pub(crate) valid_loss: Option<f64>,
    /// Regression: the target's mean and standard deviation in training, else 0 and 1.
    center: f64,
    scale: f64,
}

pub(crate) fn classification(
    fit: &Fit<'_>,
    encoder: &Encoder,
    codes: &[u32],
    classes: usize,
) -> Result<Gbdt, LearnError> {
    let objective = match classes {
        2 => Objective::BinaryLogistic(RegLoss::default()),
        _ => Objective::Softprob(Multiclass::new(classes).map_err(defect("boosting"))?),
    };
    let labels: Vec<f32> = codes.iter().map(|&code| code as f32).collect();
    boost(fit, encoder, objective, &labels, (0.0, 1.0))
}

pub(crate) fn regression(fit: &Fit<'_>, encoder: &Encoder, target: &[f64]) -> Result<Gbdt, LearnError> {
    let train = fit.train_of(target);
    let count = train.len() as f64;
    let mean = train.iter().sum::<f64>() / count;
    let deviation = (train.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
    let scale = if deviation > 0.0 && deviation.is_finite() { deviation } else { 1.0 };
    let labels: Vec<f32> = target.iter().map(|value| ((value - mean) / scale).clamp(-1e30, 1e30) as f32).collect();
    boost(fit, encoder, Objective::SquaredError(RegLoss::default()), &labels, (mean, scale))
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
    (center, scale): (f64, f64),
) -> Result<Gbdt, LearnError> {
    let training = params(fit, objective)?;
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
        let valid_loss = round.values().last().map(|loss| loss * scale);
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
    Ok(Gbdt { model, header: Header { rounds, valid_loss: loss.map(|loss| loss * scale), center, scale } })
}

impl Gbdt {
    /// The trees as bytes; with [`Gbdt::header`], all there is to store.
    pub(crate) fn trees(&self) -> Vec<u8> {
        self.model.encode(ModelFormat::Binary).expect("the library's own format holds every model that it trains")
    }

    pub(crate) fn from_parts(header: Header, trees: &[u8], width: usize) -> Result<Self, LearnError> {
        let model = BoostedModel::decode(trees, ModelFormat::Binary)
            .map_err(|_| LearnError::Damaged { reason: "its trees cannot be read" })?;
        if model.n_features() != width {
            return Err(LearnError::Damaged { reason: "its trees were grown on other columns" });
        }
        Ok(Gbdt { model, header })
    }

    /// How many values a row's answer has: 1, or one a class.
    pub(crate) fn width(&self) -> usize {
        self.model.prediction_width()
    }

    /// The answers for encoded rows, in the same bits whether a row comes alone or in a batch.
    pub(crate) fn score(&self, cells: &[f32], columns: usize) -> Result<Vec<f64>, LearnError> {
        let (width, rows) = (self.width(), cells.len() / columns);
        let Header { center, scale, .. } = self.header;
        let finish = |value: f32| center + scale * f64::from(value);
        if rows > SMALL_ROWS {
            let scores = self.model.predict_rows(cells, Iterations::Best).map_err(defect("scoring"))?;
            return Ok(scores.as_slice().iter().copied().map(finish).collect());
        }
        let mut row = vec![0.0; width];
        let mut scores = Vec::with_capacity(rows * width);
        for cells in cells.chunks_exact(columns) {
            self.model.predict_row_into(cells, Iterations::Best, &mut row).map_err(defect("scoring"))?;
            scores.extend(row.iter().copied().map(finish));
        }
        Ok(scores)
    }

    /// The share of the total gain that each column of the matrix brought.
    pub(crate) fn gains(&self, columns: usize) -> Vec<f64> {
        let gains = self.model.feature_importance(ImportanceType::TotalGain);
        let total: f64 = gains.values().sum();
        (0..columns).map(|slot| gains.get(&slot).map_or(0.0, |gain| gain / total)).collect()
    }
}
