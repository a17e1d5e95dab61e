//! The sums of one column: of the values, and of their squares where the variance asks for them.

use super::accumulate::{Columns, Values};
use super::sum::variance;
use super::total::{Products, Total};

use arrow::array::Array;

/// What is made of the sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Single {
    Sum,
    Mean,
    Variance { is_sample: bool },
    Deviation { is_sample: bool },
}

impl Single {
    fn has_squares(self) -> bool {
        matches!(self, Single::Variance { .. } | Single::Deviation { .. })
    }
}

/// The values of one group.
#[derive(Debug, Clone, Default)]
pub(super) struct Column {
    count: u64,
    sum: Total<0>,
    squares: Option<Box<Products>>,
}

impl Values for Column {
    type Kind = Single;
    type Row = f64;

    #[inline]
    fn row(columns: &Columns<'_>, at: usize) -> Option<f64> {
        columns[0].is_valid(at).then(|| columns[0].value(at))
    }

    #[inline]
    fn add(&mut self, kind: Single, value: f64) {
        self.count += 1;
        self.sum.add(value);
        if kind.has_squares() {
            self.squares.get_or_insert_default().add_product(value, value);
        }
    }

    fn take(&mut self, kind: Single, value: f64) {
        self.count -= 1;
        self.sum.take(value);
        if kind.has_squares() {
            self.squares.get_or_insert_default().take_product(value, value);
        }
    }

    fn result(&self, kind: Single) -> Option<f64> {
        let variance = |is_sample| variance(self.count, &self.sum.whole(), &self.squares.as_ref()?.whole(), is_sample);
        match kind {
            _ if self.count == 0 => None,
            Single::Sum => Some(self.sum.value()),
            Single::Mean => Some(self.sum.value() / self.count as f64),
            Single::Variance { is_sample } => variance(is_sample),
            Single::Deviation { is_sample } => variance(is_sample).map(f64::sqrt),
        }
    }

    fn count(&mut self) -> &mut u64 {
        &mut self.count
    }

    fn sums(kind: Single) -> usize {
        if kind.has_squares() { 2 } else { 1 }
    }

    fn to_bytes(&self, at: usize, out: &mut Vec<u8>) {
        match at {
            0 => self.sum.to_bytes(out),
            _ => self.squares.as_deref().unwrap_or(&Products::default()).to_bytes(out),
        }
    }

    fn merge(&mut self, at: usize, bytes: &[u8]) -> bool {
        match at {
            0 => self.sum.merge(bytes),
            _ => self.squares.get_or_insert_default().merge(bytes),
        }
    }

    #[inline]
    fn heap(&self) -> usize {
        self.sum.heap() + self.squares.as_ref().map_or(0, |squares| size_of::<Products>() + squares.heap())
    }
}
