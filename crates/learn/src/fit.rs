//! [`fit`]: training examples to a [`Model`].

use crate::error::LearnError;
use crate::matrix::Encoder;
use crate::model::{Fitted, Model};
use crate::params::Params;
use crate::target::{self, Target};
use crate::values::type_name;
use crate::{baseline, gbdt, linear, logistic, matrix};
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    /// One of two or more classes.
    Classification,
    /// A number.
    Regression,
}

/// What a model does, once its target is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Tells two classes apart.
    Binary,
    /// Tells more than two classes apart.
    Multiclass,
    /// Estimates a number.
    Regression,
}

/// A learning algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Learner {
    /// Gradient boosted decision trees.
    Gbdt,
    /// Logistic regression with a quadratic penalty.
    Logistic,
    /// Linear regression with a quadratic penalty.
    Linear,
    /// The target's distribution alone.
    Baseline,
}

/// What a row of the examples is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Learned from.
    Train,
    /// Decides when boosting stops.
    Valid,
    /// Judges; nothing is learned from it.
    Test,
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TaskKind::Classification => "classification",
            TaskKind::Regression => "regression",
        })
    }
}

impl fmt::Display for Learner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Learner::Gbdt => "gbdt",
            Learner::Logistic => "logistic",
            Learner::Linear => "linear",
            Learner::Baseline => "baseline",
        })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Train => "train",
            Part::Valid => "valid",
            Part::Test => "test",
        })
    }
}

/// Training examples: input columns, target, and what each row is for. The order of the rows matters to the last bit.
#[derive(Clone, Copy)]
pub struct TrainingData<'a> {
    /// The input columns only.
    pub features: &'a RecordBatch,
    /// The target, without missing values.
    pub target: &'a ArrayRef,
    /// What each row is for. Without valid rows boosting does not stop early; without test rows nothing is checked about them.
    pub part: &'a [Part],
    /// A weight for each row, finite and not negative; `None` weighs all alike. Metrics do not weigh.
    pub weights: Option<&'a [f32]>,
}

/// How to learn.
#[derive(Debug, Clone)]
pub struct FitOptions {
    /// What is asked for.
    pub task: TaskKind,
    /// The algorithm.
    pub learner: Learner,
    /// Its parameters by name; see [`params_of`](crate::params_of).
    pub params: BTreeMap<String, f64>,
    /// For row and column samples; the other algorithms draw nothing.
    pub seed: u64,
    /// Threads to train on; 0 is the pool of the calling thread. The model does not depend on it.
    pub threads: usize,
}

/// How far training is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Rounds or iterations that are done.
    pub round: usize,
    /// The most there can be.
    pub rounds_max: usize,
    /// The loss on the valid part, where there is one: log loss, or the root mean square error.
    pub valid_loss: Option<f64>,
}

/// Rows by part, and what learners need beside the target.
pub(crate) struct Fit<'a> {
    pub(crate) features: &'a RecordBatch,
    pub(crate) train: Vec<u32>,
    pub(crate) valid: Vec<u32>,
    /// Weights of the train rows.
    pub(crate) weights: Option<Vec<f64>>,
    pub(crate) params: Params<'a>,
    pub(crate) seed: u64,
    pub(crate) progress: &'a (dyn Fn(Progress) + Sync),
}

impl Fit<'_> {
    /// The values of `all` at the train rows.
    pub(crate) fn train_of<T: Copy>(&self, all: &[T]) -> Vec<T> {
        self.train.iter().map(|&row| all[row as usize]).collect()
    }

    /// The weight of the `at`th train row.
    pub(crate) fn weight(&self, at: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[at])
    }
}

/// Checks the types of input columns without data; fails with all that cannot be learned from.
pub fn check_inputs(schema: &Schema) -> Result<(), LearnError> {
    matrix::check_inputs(schema)
}

/// Checks the type of a target without data.
pub fn check_target(data_type: &DataType, task: TaskKind) -> Result<(), LearnError> {
    if target::fits(data_type, task) {
        return Ok(());
    }
    Err(LearnError::TargetType { data_type: type_name(data_type), task })
}

/// Learns a model from the train rows, stopping by the valid rows; the test rows are only checked for having two classes.
///
/// Promises the same bytes of the model for the same arguments at any number of threads. `progress` is called on the training
/// thread, at least once. Fails with all mistakes in parameters and column types at once, before anything is learned.
pub fn fit(
    data: &TrainingData<'_>,
    options: &FitOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Model, LearnError> {
    if options.threads == 0 {
        return fit_here(data, options, progress);
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.threads).build();
    let pool = pool.map_err(|error| LearnError::Defect { step: "starting threads", reason: error.to_string() })?;
    pool.install(|| fit_here(data, options, progress))
}

fn fit_here(
    data: &TrainingData<'_>,
    options: &FitOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Model, LearnError> {
    check_shape(data)?;
    let (learner, task) = (options.learner, options.task);
    let mut errors = Vec::new();
    errors.extend(check_inputs(data.features.schema_ref()).err());
    errors.extend(check_target(data.target.data_type(), task).err());
    if matches!(
        (learner, task),
        (Learner::Logistic, TaskKind::Regression) | (Learner::Linear, TaskKind::Classification)
    ) {
        errors.push(LearnError::LearnerTask { learner, task });
    }
    let params = Params::new(learner, &options.params).map_err(|error| errors.push(error));
    LearnError::all(errors)?;
    let params = params.expect("a mistake in them was returned");

    let mut fit = Fit {
        features: data.features,
        train: rows_of(data.part, Part::Train),
        valid: rows_of(data.part, Part::Valid),
        weights: None,
        params,
        seed: options.seed,
        progress,
    };
    let target = Target::read(data.target, data.part, &fit.train, task)?;
    fit.weights = data.weights.map(|weights| fit.train.iter().map(|&row| f64::from(weights[row as usize])).collect());
    if fit.weights.as_ref().is_some_and(|weights| weights.iter().sum::<f64>() <= 0.0) {
        return Err(LearnError::Weights);
    }
    if let Target::Classes(_, codes) = &target {
        // A class that the training rows lack cannot be stopped by.
        fit.valid.retain(|&row| codes[row as usize] != target::NO_CLASS);
    }
    let limits = match learner {
        Learner::Gbdt => gbdt::category_limits(fit.train.len()),
        _ => linear::category_limits(data.features),
    };
    let encoder = Encoder::fit(data.features, &fit.train, limits)?;
    let (fitted, classes) = learn(&fit, learner, &encoder, target)?;
    if !fitted.is_finite() {
        return Err(LearnError::TargetRange);
    }
    progress(Progress { round: fitted.rounds(), rounds_max: fitted.rounds(), valid_loss: fitted.valid_loss() });
    Model::new(learner, encoder, classes, fit.train.len(), fitted)
}

fn learn(
    fit: &Fit<'_>,
    learner: Learner,
    encoder: &Encoder,
    target: Target,
) -> Result<(Fitted, Option<target::Classes>), LearnError> {
    Ok(match (target, learner) {
        (Target::Numbers(values), Learner::Gbdt) => (Fitted::Gbdt(gbdt::regression(fit, encoder, &values)?), None),
        (Target::Numbers(values), Learner::Linear) => (Fitted::Linear(linear::fit(fit, encoder, &values)?), None),
        (Target::Numbers(values), _) => (Fitted::Baseline(baseline::mean(fit, &values)), None),
        (Target::Classes(classes, codes), Learner::Gbdt) => {
            (Fitted::Gbdt(gbdt::classification(fit, encoder, &codes, classes.len())?), Some(classes))
        }
        (Target::Classes(classes, codes), Learner::Logistic) => {
            (Fitted::Logistic(logistic::fit(fit, encoder, &codes, classes.len())?), Some(classes))
        }
        (Target::Classes(classes, codes), _) => {
            (Fitted::Baseline(baseline::frequencies(fit, &codes, classes.len())), Some(classes))
        }
    })
}

fn rows_of(part: &[Part], wanted: Part) -> Vec<u32> {
    part.iter().zip(0..).filter(|(part, _)| **part == wanted).map(|(_, row)| row).collect()
}

fn check_shape(data: &TrainingData<'_>) -> Result<(), LearnError> {
    let rows = data.features.num_rows();
    let weights = data.weights.map_or(rows, <[f32]>::len);
    for (what, found) in [("the target", data.target.len()), ("the parts", data.part.len()), ("the weights", weights)] {
        if found != rows {
            return Err(LearnError::Shape { what, rows, found });
        }
    }
    if data.weights.is_some_and(|weights| weights.iter().any(|weight| !weight.is_finite() || *weight < 0.0)) {
        return Err(LearnError::Weights);
    }
    Ok(())
}
