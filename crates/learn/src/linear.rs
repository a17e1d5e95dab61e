//! Linear regression with a quadratic penalty (ridge), by the normal equations of standardised inputs.

use crate::error::LearnError;
use crate::fit::Fit;
use crate::linalg::{Cholesky, Design, Normal, Row};
use crate::matrix::{CategoryLimits, Encoder, Rows};
use crate::values::{Sort, Stored};
use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

/// The most categories of one text column.
const CATEGORIES_MAX: usize = 100;
/// The most categories of all text columns: the normal equations have the square of that many entries.
const CATEGORIES_TOTAL: usize = 800;

/// Categories beyond the most frequent share one coefficient.
pub(crate) fn category_limits(features: &RecordBatch) -> CategoryLimits {
    let types = features.schema_ref().fields().iter().map(|field| Stored::of(field.data_type()));
    let texts = types.flatten().filter(|stored| stored.sort() == Sort::Text).count();
    CategoryLimits { categories_max: CATEGORIES_MAX.min(CATEGORIES_TOTAL / texts.max(1)), rows_min: 1 }
}

/// Coefficients of a sum over the inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Linear {
    pub(crate) design: Design,
    pub(crate) coefficients: Vec<f64>,
}

/// Minimises the weighted sum of squares plus `l2` times the sum of the squared coefficients but the first (Hoerl and Kennard
/// 1970, equation 2.1).
pub(crate) fn fit(fit: &Fit<'_>, encoder: &Encoder, target: &[f64]) -> Result<Linear, LearnError> {
    let cells = encoder.matrix::<f64>(fit.features, Rows::Some(&fit.train))?;
    let target = fit.train_of(target);
    // The mean is taken out, so that a target far from zero does not cost digits.
    let mean = target.iter().sum::<f64>() / target.len() as f64;
    let design = Design::fit(encoder, &cells);
    let mut normal = design.sum(&cells, &Normal::zero(design.width()), |sums, at, row| {
        let weight = fit.weight(at);
        sums.add(row, weight, weight * (target[at] - mean), 0.0);
    });
    normal.penalise(fit.params.get("l2"));
    let mut coefficients = normal.vector;
    Cholesky::of(normal.matrix, design.width()).solve(&mut coefficients);
    coefficients[0] += mean;
    Ok(Linear { design, coefficients })
}

impl Linear {
    pub(crate) fn fits(&self, columns: usize) -> bool {
        self.design.fits(columns) && self.coefficients.len() == self.design.width()
    }

    pub(crate) fn score(&self, cells: &[f64], row: &mut Row) -> f64 {
        self.design.expand(cells, row);
        row.dot(&self.coefficients)
    }
}
