//! Logistic regression with a quadratic penalty: Newton's method for two classes, L-BFGS for more, on standardised inputs.
//!
//! Both minimise the weighted sum of the log loss plus `l2 / 2` times the sum of the squared coefficients but the intercepts,
//! which is scikit-learn's objective at `C = 1 / l2`.

use crate::error::LearnError;
use crate::fit::{Fit, Progress};
use crate::linalg::{Cholesky, Design, Normal, Row, Sums, log_one_plus_exp, sigmoid, softmax};
use crate::matrix::{Encoder, Rows};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Stops when no part of the gradient is above this share of the sum of weights.
const TOLERANCE: f64 = 1e-9;
/// Pairs of steps that L-BFGS remembers (Nocedal and Wright, 7.2, suggest 3 to 20).
const MEMORY: usize = 10;
/// A step that was halved this often leads nowhere: what is left is rounding.
const HALVINGS_MAX: i32 = 40;

/// Coefficients of a sum over the inputs, for each class, or once for two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Logistic {
    pub(crate) design: Design,
    pub(crate) coefficients: Vec<Vec<f64>>,
    pub(crate) iterations: usize,
}

pub(crate) fn fit(fit: &Fit<'_>, encoder: &Encoder, codes: &[u32], classes: usize) -> Result<Logistic, LearnError> {
    let cells = encoder.matrix::<f64>(fit.features, Rows::Some(&fit.train))?;
    let problem = Problem {
        fit,
        design: Design::fit(encoder, &cells),
        cells,
        codes: fit.train_of(codes),
        classes,
        l2: fit.params.get("l2"),
        total: (0..fit.train.len()).map(|at| fit.weight(at)).sum(),
        iterations_max: fit.params.count("iterations"),
    };
    let (coefficients, iterations) = if classes == 2 { problem.newton() } else { problem.descend() };
    Ok(Logistic { design: problem.design, coefficients, iterations })
}

struct Problem<'a> {
    fit: &'a Fit<'a>,
    design: Design,
    cells: Vec<f64>,
    codes: Vec<u32>,
    classes: usize,
    l2: f64,
    total: f64,
    iterations_max: usize,
}

impl Problem<'_> {
    fn progress(&self, round: usize) {
        (self.fit.progress)(Progress { round, rounds_max: self.iterations_max, valid_loss: None });
    }

    fn is_flat(&self, gradient: &[f64]) -> bool {
        gradient.iter().all(|value| value.abs() <= TOLERANCE * self.total)
    }

    /// Newton's method with halved steps, known as iteratively reweighted least squares (Hastie, Tibshirani and Friedman,
    /// Elements of Statistical Learning, 4.4.1).
    fn newton(&self) -> (Vec<Vec<f64>>, usize) {
        let width = self.design.width();
        let sums = |coefficients: &[f64]| {
            let mut sums = self.design.sum(&self.cells, &Normal::zero(width), |sums, at, row| {
                let (weight, margin) = (self.fit.weight(at), row.dot(coefficients));
                let (positive, probability) = (self.codes[at] == 1, sigmoid(margin));
                let residual = if positive { 1.0 - probability } else { -probability };
                let loss = log_one_plus_exp(if positive { -margin } else { margin });
                // The second derivative never vanishes altogether, or a far-off row would make the step endless.
                let curvature = (probability * (1.0 - probability)).max(1e-12);
                sums.add(row, weight * curvature, weight * residual, weight * loss);
            });
            for (gradient, coefficient) in sums.vector.iter_mut().zip(coefficients).skip(1) {
                *gradient -= self.l2 * coefficient;
            }
            sums.loss += self.l2 / 2.0 * squares(&coefficients[1..]);
            sums
        };
        let mut coefficients = vec![0.0; width];
        let positives: f64 =
            (0..self.codes.len()).filter(|&at| self.codes[at] == 1).map(|at| self.fit.weight(at)).sum();
        let share = (positives / self.total).clamp(1e-9, 1.0 - 1e-9);
        coefficients[0] = libm::log(share / (1.0 - share));
        let mut now = sums(&coefficients);
        for iteration in 1..=self.iterations_max {
            if self.is_flat(&now.vector) {
                return (vec![coefficients], iteration - 1);
            }
            let mut step = now.vector.clone();
            now.penalise(self.l2);
            Cholesky::of(std::mem::take(&mut now.matrix), width).solve(&mut step);
            // Goes along the step, or the first of its halves that does not raise the loss beyond rounding.
            let shortened = (0..HALVINGS_MAX).find_map(|halvings| {
                let next = along(&coefficients, &step, 0.5f64.powi(halvings));
                let sums = sums(&next);
                (sums.loss <= now.loss * (1.0 + 1e-14)).then_some((next, sums))
            });
            let Some(next) = shortened else { return (vec![coefficients], iteration) };
            (coefficients, now) = next;
            self.progress(iteration);
        }
        (vec![coefficients], self.iterations_max)
    }

    /// L-BFGS with backtracking (Nocedal and Wright, Numerical Optimization, algorithms 7.4 and 3.1). Directions start from the
    /// inverse of a bound on the second derivatives that holds everywhere (Böhning 1992): half the squares of the inputs.
    fn descend(&self) -> (Vec<Vec<f64>>, usize) {
        let width = self.design.width();
        let mut bound = self.design.sum(&self.cells, &Normal::zero(width), |sums, at, row| {
            sums.add(row, 0.5 * self.fit.weight(at), 0.0, 0.0);
        });
        bound.penalise(self.l2);
        let bound = Cholesky::of(bound.matrix, width);
        let mut at = vec![0.0; width * self.classes];
        let mut now = self.softmax(&at);
        let mut memory: VecDeque<(Vec<f64>, Vec<f64>, f64)> = VecDeque::new();
        for iteration in 1..=self.iterations_max {
            if self.is_flat(&now.gradient) {
                return (self.by_class(&at), iteration - 1);
            }
            let mut step = now.gradient.clone();
            let mut scales = Vec::new();
            for (moved, change, inverse) in memory.iter().rev() {
                let scale = inverse * dot(moved, &step);
                step.iter_mut().zip(change).for_each(|(step, change)| *step -= scale * change);
                scales.push(scale);
            }
            step.chunks_exact_mut(width).for_each(|step| bound.solve(step));
            for ((moved, change, inverse), scale) in memory.iter().zip(scales.iter().rev()) {
                let correction = scale - inverse * dot(change, &step);
                step.iter_mut().zip(moved).for_each(|(step, moved)| *step += correction * moved);
            }
            step.iter_mut().for_each(|step| *step = -*step);
            let slope = dot(&step, &now.gradient);
            let Some(next) = self.backtrack(&at, &step, &now, slope) else {
                // Rounding has the last word, or the memory misleads: forget it once, then stop.
                if memory.is_empty() {
                    return (self.by_class(&at), iteration);
                }
                memory.clear();
                continue;
            };
            let (moved, change) = (minus(&next.0, &at), minus(&next.1.gradient, &now.gradient));
            let curvature = dot(&moved, &change);
            if curvature > f64::EPSILON * squares(&change) {
                memory.push_back((moved, change, 1.0 / curvature));
                if memory.len() > MEMORY {
                    memory.pop_front();
                }
            }
            (at, now) = next;
            self.progress(iteration);
        }
        (self.by_class(&at), self.iterations_max)
    }

    fn backtrack(&self, from: &[f64], step: &[f64], now: &Gradient, slope: f64) -> Option<(Vec<f64>, Gradient)> {
        (0..HALVINGS_MAX).find_map(|halvings| {
            let length = 0.5f64.powi(halvings);
            let at = along(from, step, length);
            let next = self.softmax(&at);
            (next.loss <= now.loss + 1e-4 * length * slope).then_some((at, next))
        })
    }

    /// The penalised log loss and its gradient at coefficients that stand class by class.
    fn softmax(&self, coefficients: &[f64]) -> Gradient {
        let (width, classes) = (self.design.width(), self.classes);
        let zero = Gradient { gradient: vec![0.0; width * classes], loss: 0.0, margins: vec![0.0; classes] };
        let mut sums = self.design.sum(&self.cells, &zero, |sums, at, row| {
            let (weight, class) = (self.fit.weight(at), self.codes[at] as usize);
            for (margin, coefficients) in sums.margins.iter_mut().zip(coefficients.chunks_exact(width)) {
                *margin = row.dot(coefficients);
            }
            let own = sums.margins[class];
            let log_total = softmax(&mut sums.margins);
            sums.loss += weight * (log_total - own);
            for (nth, gradient) in sums.gradient.chunks_exact_mut(width).enumerate() {
                row.add_to(gradient, weight * (sums.margins[nth] - f64::from(u8::from(nth == class))));
            }
        });
        for (gradient, coefficients) in sums.gradient.chunks_exact_mut(width).zip(coefficients.chunks_exact(width)) {
            for (gradient, coefficient) in gradient.iter_mut().zip(coefficients).skip(1) {
                *gradient += self.l2 * coefficient;
            }
            sums.loss += self.l2 / 2.0 * squares(&coefficients[1..]);
        }
        sums
    }

    fn by_class(&self, coefficients: &[f64]) -> Vec<Vec<f64>> {
        coefficients.chunks_exact(self.design.width()).map(<[f64]>::to_vec).collect()
    }
}

#[derive(Debug, Clone)]
struct Gradient {
    gradient: Vec<f64>,
    loss: f64,
    /// Room for a row.
    margins: Vec<f64>,
}

impl Sums for Gradient {
    fn plus(&mut self, other: &Self) {
        self.gradient.plus(&other.gradient);
        self.loss += other.loss;
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn squares(values: &[f64]) -> f64 {
    dot(values, values)
}

fn along(from: &[f64], step: &[f64], length: f64) -> Vec<f64> {
    from.iter().zip(step).map(|(from, step)| from + length * step).collect()
}

fn minus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

impl Logistic {
    /// Whether it belongs to a matrix of so many columns and to so many values a row; for what was read from bytes.
    pub(crate) fn fits(&self, columns: usize, width: usize) -> bool {
        let inputs = self.design.width();
        self.design.fits(columns)
            && self.coefficients.len() == width
            && self.coefficients.iter().all(|c| c.len() == inputs)
    }

    /// Appends the probability of the positive class, or of each of more than two.
    pub(crate) fn score(&self, cells: &[f64], row: &mut Row, scores: &mut [f64]) {
        self.design.expand(cells, row);
        for (score, coefficients) in scores.iter_mut().zip(&self.coefficients) {
            *score = row.dot(coefficients);
        }
        match scores {
            [score] => *score = sigmoid(*score),
            scores => {
                softmax(scores);
            }
        }
    }

    /// The variance that each column of the matrix brings into the margins, summed over the classes.
    pub(crate) fn variances(&self) -> Vec<f64> {
        let mut total = vec![0.0; 0];
        for coefficients in &self.coefficients {
            let variances = self.design.variances(coefficients);
            total.resize(variances.len(), 0.0);
            total.plus(&variances);
        }
        total
    }
}
