//! Learning algorithms, metrics and leak detection: pure functions on Arrow columns.
//!
//! [`fit`] turns the input columns and the target of training examples into a [`Model`]; [`Model::predict`] scores columns with
//! it. [`metrics`] judges predictions, [`single_feature_auc`] looks for columns that give the answer away. Which rows train,
//! which stop the training and which judge is the caller's decision ([`Part`]), and so is where a model's bytes are kept.
//!
//! Nothing here does IO, waits, reads a clock or draws from anything but the given seed: the same rows in the same order, the
//! same options and the same seed give the same model bytes at any thread count. Sums run over the rows in their order, so a
//! caller who wants equal bytes from equal sets of rows sorts them by key first.

mod baseline;
mod error;
mod fit;
mod gbdt;
mod leak;
mod linalg;
mod linear;
mod logistic;
mod matrix;
pub mod metrics;
mod model;
mod params;
mod target;
mod trees;
mod values;

#[cfg(test)]
mod tests;

pub use error::LearnError;
pub use fit::{FitOptions, Learner, Part, Progress, Task, TaskKind, TrainingData, check_inputs, check_target, fit};
pub use leak::single_feature_auc;
pub use matrix::InputColumn;
pub use model::{Model, Prediction};
pub use params::{Param, check_params, params_of};
