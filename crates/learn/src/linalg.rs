//! What the linear learners share: standardised inputs, sums over rows that do not depend on the thread count, and Cholesky.

use crate::matrix::{Encoder, Slot};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Sums over rows are made of this many sums over equal runs of rows, added in order: the result does not depend on the number
/// of threads, and up to this many of them have work.
const PIECES: usize = 16;
/// A pivot below this share of its diagonal means a column that others already say; its coefficient becomes 0.
const PIVOT_MIN: f64 = 1e-11;

/// How the columns of the matrix become inputs of a linear model.
///
/// Input 0 is always 1 and is never penalised. A number is standardised by its training mean and standard deviation; where it is
/// missing the mean stands in, and where training had missing values, one more standardised input tells so. A number that starts
/// again after a period becomes a sine and a cosine. A category becomes one of 0/1 inputs, with one of its own for a missing one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Design {
    terms: Vec<Term>,
    /// Inputs that have a value in each row; they come first.
    dense: usize,
    /// All inputs.
    width: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Term {
    /// Constant in training.
    Nothing,
    Number {
        standard: Standard,
        missing: Option<Standard>,
    },
    Cyclic {
        period: f64,
    },
    /// The first of its inputs, and the share of the training rows that each has; the last is for missing values.
    Category {
        first: usize,
        shares: Vec<f64>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Standard {
    mean: f64,
    deviation: f64,
}

impl Standard {
    /// `None` when all values are equal.
    fn of(values: impl Iterator<Item = f64> + Clone) -> Option<Self> {
        let (count, sum) = values.clone().fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
        let mean = sum / count;
        let deviation = (values.map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
        // Equal values can differ from their own mean by rounding.
        let varies = deviation.is_finite() && deviation > 1e-12 * mean.abs();
        varies.then_some(Standard { mean, deviation })
    }

    fn apply(self, value: f64) -> f64 {
        (value - self.mean) / self.deviation
    }
}

/// A row of inputs: the dense ones, and the positions of the 0/1 inputs that are 1.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    dense: Vec<f64>,
    hot: Vec<usize>,
}

impl Row {
    /// The sum of inputs times coefficients.
    #[inline]
    pub(crate) fn dot(&self, coefficients: &[f64]) -> f64 {
        let dense: f64 = self.dense.iter().zip(coefficients).map(|(input, coefficient)| input * coefficient).sum();
        dense + self.hot.iter().map(|&at| coefficients[at]).sum::<f64>()
    }

    /// Adds `scale` times the inputs to `sums`.
    #[inline]
    pub(crate) fn add_to(&self, sums: &mut [f64], scale: f64) {
        self.dense.iter().zip(sums.iter_mut()).for_each(|(input, sum)| *sum += scale * input);
        self.hot.iter().for_each(|&at| sums[at] += scale);
    }

    /// Adds `weight` times the products of all pairs of inputs to the lower triangle of `matrix`.
    #[inline]
    fn add_square_to(&self, matrix: &mut [f64], width: usize, weight: f64) {
        for (i, input) in self.dense.iter().enumerate() {
            let scale = weight * input;
            let sums = &mut matrix[i * width..][..=i];
            self.dense.iter().zip(sums).for_each(|(input, sum)| *sum += scale * input);
        }
        for (nth, &at) in self.hot.iter().enumerate() {
            let sums = &mut matrix[at * width..][..width];
            self.dense.iter().zip(sums.iter_mut()).for_each(|(input, sum)| *sum += weight * input);
            self.hot[..=nth].iter().for_each(|&other| sums[other] += weight);
        }
    }
}

impl Design {
    /// Learns from the encoded training rows.
    pub(crate) fn fit(encoder: &Encoder, cells: &[f64]) -> Self {
        let columns = encoder.width();
        let rows = cells.len() / columns;
        let terms: Vec<Term> = encoder
            .slots()
            .par_iter()
            .enumerate()
            .map(|(slot, kind)| {
                let values = cells[slot..].iter().step_by(columns).copied();
                match kind {
                    Slot::Cyclic { period } => Term::Cyclic { period: *period },
                    Slot::Number => {
                        let missing = Standard::of(values.clone().map(|value| f64::from(u8::from(value.is_nan()))));
                        let mut known = values.filter(|value| !value.is_nan());
                        match (Standard::of(known.clone()), missing) {
                            (Some(standard), missing) => Term::Number { standard, missing },
                            (None, None) => Term::Nothing,
                            // A single value that is there or not still says something; itself it is 0 in all rows, and so is
                            // its coefficient.
                            (None, missing) => {
                                let mean = known.next().unwrap_or_default();
                                Term::Number { standard: Standard { mean, deviation: 1.0 }, missing }
                            }
                        }
                    }
                    Slot::Category { categories } => {
                        let mut counts = vec![0.0; *categories as usize + 1];
                        values.for_each(|code| counts[level(code, *categories as usize)] += 1.0);
                        let shares = counts.into_iter().map(|count| count / rows as f64).collect();
                        Term::Category { first: 0, shares }
                    }
                }
            })
            .collect();
        let mut design = Design { terms, dense: 1, width: 0 };
        for term in &design.terms {
            design.dense += match term {
                Term::Nothing | Term::Category { .. } => 0,
                Term::Number { missing, .. } => 1 + usize::from(missing.is_some()),
                Term::Cyclic { .. } => 2,
            };
        }
        design.width = design.dense;
        for term in &mut design.terms {
            if let Term::Category { first, shares } = term {
                *first = design.width;
                design.width += shares.len();
            }
        }
        design
    }

    /// How many inputs there are, with the one that is always 1.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Whether it belongs to a matrix of so many columns, and holds together; for what was read from bytes.
    pub(crate) fn fits(&self, columns: usize) -> bool {
        let mut dense = 1;
        let mut next = self.dense;
        for term in &self.terms {
            match term {
                Term::Nothing => {}
                Term::Number { missing, .. } => dense += 1 + usize::from(missing.is_some()),
                Term::Cyclic { .. } => dense += 2,
                Term::Category { first, shares } => {
                    if *first != next || shares.is_empty() {
                        return false;
                    }
                    next += shares.len();
                }
            }
        }
        self.terms.len() == columns && dense == self.dense && next == self.width
    }

    /// The inputs of an encoded row.
    pub(crate) fn expand(&self, cells: &[f64], row: &mut Row) {
        row.dense.clear();
        row.hot.clear();
        row.dense.push(1.0);
        for (term, &value) in self.terms.iter().zip(cells) {
            match term {
                Term::Nothing => {}
                Term::Number { standard, missing } => {
                    row.dense.push(if value.is_nan() { 0.0 } else { standard.apply(value) });
                    if let Some(missing) = missing {
                        row.dense.push(missing.apply(f64::from(u8::from(value.is_nan()))));
                    }
                }
                Term::Cyclic { period } => {
                    let angle = std::f64::consts::TAU * value / period;
                    row.dense.extend(if value.is_nan() { [0.0, 0.0] } else { [libm::sin(angle), libm::cos(angle)] });
                }
                Term::Category { first, shares } => row.hot.push(first + level(value, shares.len() - 1)),
            }
        }
    }

    /// The variance that each column of the matrix brings into a sum with these coefficients, inputs taken as independent: for a
    /// standardised number the square of its coefficient.
    pub(crate) fn variances(&self, coefficients: &[f64]) -> Vec<f64> {
        let mut dense = coefficients[1..].iter().copied();
        let mut next = || dense.next().unwrap_or_default();
        self.terms
            .iter()
            .map(|term| match term {
                Term::Nothing => 0.0,
                Term::Number { missing, .. } => next().powi(2) + if missing.is_some() { next().powi(2) } else { 0.0 },
                // A sine and a cosine over a whole period have variance 1/2 each.
                Term::Cyclic { .. } => (next().powi(2) + next().powi(2)) / 2.0,
                Term::Category { first, shares } => {
                    let levels = shares.iter().zip(&coefficients[*first..]);
                    let mean: f64 = levels.clone().map(|(share, coefficient)| share * coefficient).sum();
                    levels.map(|(share, coefficient)| share * (coefficient - mean).powi(2)).sum()
                }
            })
            .collect()
    }

    /// Runs `add` over all rows, with their number and inputs, into sums that start as `zero`.
    pub(crate) fn sum<S: Send + Sync + Clone + Sums>(
        &self,
        cells: &[f64],
        zero: &S,
        add: impl Fn(&mut S, usize, &Row) + Sync,
    ) -> S {
        let columns = self.terms.len();
        let rows = cells.len() / columns;
        let piece = rows.div_ceil(PIECES).max(1);
        let pieces: Vec<S> = cells
            .par_chunks(piece * columns)
            .enumerate()
            .map(|(nth, cells)| {
                let (mut sums, mut row) = (zero.clone(), Row::default());
                for (at, cells) in cells.chunks_exact(columns).enumerate() {
                    self.expand(cells, &mut row);
                    add(&mut sums, nth * piece + at, &row);
                }
                sums
            })
            .collect();
        let mut pieces = pieces.into_iter();
        let mut total = pieces.next().unwrap_or_else(|| zero.clone());
        pieces.for_each(|piece| total.plus(&piece));
        total
    }
}

/// The level of a category's code; a missing one has the last.
fn level(code: f64, missing: usize) -> usize {
    if code.is_nan() { missing } else { (code as usize).min(missing) }
}

/// Sums that can be added.
pub(crate) trait Sums {
    /// Adds other sums.
    fn plus(&mut self, other: &Self);
}

impl Sums for Vec<f64> {
    fn plus(&mut self, other: &Self) {
        self.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
    }
}

/// The sums of a weighted least squares step.
#[derive(Debug, Clone)]
pub(crate) struct Normal {
    /// The lower triangle of the weighted squares of the inputs, row by row.
    pub(crate) matrix: Vec<f64>,
    /// The sums of the inputs times a number of each row.
    pub(crate) vector: Vec<f64>,
    /// The sum of a loss.
    pub(crate) loss: f64,
}

impl Normal {
    pub(crate) fn zero(width: usize) -> Self {
        Normal { matrix: vec![0.0; width * width], vector: vec![0.0; width], loss: 0.0 }
    }

    #[inline]
    pub(crate) fn add(&mut self, row: &Row, weight: f64, value: f64, loss: f64) {
        row.add_square_to(&mut self.matrix, self.vector.len(), weight);
        row.add_to(&mut self.vector, value);
        self.loss += loss;
    }

    /// Adds the penalty to the diagonal, without that of the input that is always 1.
    pub(crate) fn penalise(&mut self, l2: f64) {
        let width = self.vector.len();
        (1..width).for_each(|at| self.matrix[at * width + at] += l2);
    }
}

impl Sums for Normal {
    fn plus(&mut self, other: &Self) {
        self.matrix.plus(&other.matrix);
        self.vector.plus(&other.vector);
        self.loss += other.loss;
    }
}

/// The Cholesky factor of a symmetric matrix that is positive but for columns that others already say.
pub(crate) struct Cholesky {
    /// The lower triangle, row by row.
    factor: Vec<f64>,
    width: usize,
}

impl Cholesky {
    /// Of the lower triangle of `matrix` (Golub and Van Loan, Matrix Computations, 4.2).
    pub(crate) fn of(mut matrix: Vec<f64>, width: usize) -> Self {
        for i in 0..width {
            let (above, row) = matrix.split_at_mut(i * width);
            let row = &mut row[..=i];
            let diagonal = row[i];
            for j in 0..i {
                let other = &above[j * width..][..=j];
                let product: f64 = row[..j].iter().zip(other).map(|(a, b)| a * b).sum();
                row[j] = (row[j] - product) / other[j];
            }
            let pivot = diagonal - row[..i].iter().map(|value| value * value).sum::<f64>();
            // An infinite pivot makes the coefficient 0, and its column vanish from the rows below.
            row[i] = if pivot > PIVOT_MIN * diagonal && pivot > 0.0 { pivot.sqrt() } else { f64::INFINITY };
        }
        Cholesky { factor: matrix, width }
    }

    /// Solves for `vector` in place.
    pub(crate) fn solve(&self, vector: &mut [f64]) {
        let at = |i: usize, j: usize| self.factor[i * self.width + j];
        for i in 0..self.width {
            let known: f64 = (0..i).map(|j| at(i, j) * vector[j]).sum();
            vector[i] = (vector[i] - known) / at(i, i);
        }
        for i in (0..self.width).rev() {
            let known: f64 = (i + 1..self.width).map(|j| at(j, i) * vector[j]).sum();
            vector[i] = (vector[i] - known) / at(i, i);
        }
    }
}

/// 1 / (1 + exp(-x)), without overflow.
///
/// Here and below, exponentials and logarithms are those of `libm`, not of the system: a stored model scores to the same bits on
/// every machine.
pub(crate) fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + libm::exp(-x))
    } else {
        let e = libm::exp(x);
        e / (1.0 + e)
    }
}

/// log(1 + exp(x)), without overflow (Mächler 2012, equation 10).
pub(crate) fn log_one_plus_exp(x: f64) -> f64 {
    if x > 33.3 { x } else { libm::log1p(libm::exp(x)) }
}

/// Turns margins into probabilities; returns the logarithm of the sum of their exponentials.
pub(crate) fn softmax(margins: &mut [f64]) -> f64 {
    let greatest = margins.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    margins.iter_mut().for_each(|margin| *margin = libm::exp(*margin - greatest));
    let total: f64 = margins.iter().sum();
    margins.iter_mut().for_each(|margin| *margin /= total);
    greatest + libm::log(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cholesky_solves_and_drops_what_is_said_twice() {
        let mut x = vec![8.0, 7.0];
        Cholesky::of(vec![4.0, 0.0, 2.0, 3.0], 2).solve(&mut x);
        assert!((x[0] - 1.25).abs() < 1e-12 && (x[1] - 1.5).abs() < 1e-12, "{x:?}");
        let mut x = vec![2.0, 2.0];
        Cholesky::of(vec![1.0, 0.0, 1.0, 1.0], 2).solve(&mut x);
        assert_eq!(x, [2.0, 0.0]);
    }
}
