//! [`Total`]: an exact sum that is a pair of doubles as long as a pair can be it, and a [`Sum`] from then on.
//!
//! Two doubles that do not overlap have 106 bits, which is enough for the exact sum of values of one magnitude. The error of an addition of
//! doubles is itself a double (D. E. Knuth, "The Art of Computer Programming" 2, 4.2.2), so adding to the pair takes a few operations, and
//! tells whether anything is left over. A group of an aggregate takes 40 bytes that way, less than a cache line: with a million groups, memory
//! is what an aggregation waits for.

use super::sum::Sum;

/// Products are whole numbers of units of 2^-2148, values of 2^-1074.
const MULTIPLIED: u32 = 1074;

/// The exact sum of products of two doubles.
pub(super) type Products = Total<MULTIPLIED>;

/// The exact sum of doubles. `SCALE` says how many bits lie below those that a double has.
#[derive(Debug, Clone, Default)]
pub(super) struct Total<const SCALE: u32> {
    /// The sum is `hi + lo`, and `hi` is the double that is nearest to it.
    hi: f64,
    lo: f64,
    /// The sum, once a pair was not enough.
    wide: Option<Box<Sum>>,
}

/// The sum of two doubles, rounded, and what the rounding took away.
#[inline]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    (sum, (a - (sum - of_b)) + (b - of_b))
}

impl<const SCALE: u32> Total<SCALE> {
    /// Adds a value.
    #[inline]
    pub(super) fn add(&mut self, value: f64) {
        if self.wide.is_some() || !self.add_to_pair(value) {
            self.widen().put(value, 1, SCALE);
        }
    }

    /// Takes away a value that was added.
    pub(super) fn take(&mut self, value: f64) {
        if self.wide.is_some() || !self.add_to_pair(-value) {
            self.widen().put(value, -1, SCALE);
        }
    }

    /// Adds to the pair what fits into it exactly, or nothing.
    #[inline]
    fn add_to_pair(&mut self, value: f64) -> bool {
        let (hi, rest) = two_sum(self.hi, value);
        let (lo, rest) = two_sum(self.lo, rest);
        let (hi, lo) = two_sum(hi, lo);
        // What is not finite makes a rest that is not a number.
        let fits = rest == 0.0 && hi.is_finite() && lo.is_finite();
        if fits {
            (self.hi, self.lo) = (hi, lo);
        }
        fits
    }

    #[cold]
    fn widen(&mut self) -> &mut Sum {
        let (hi, lo) = (self.hi, self.lo);
        self.wide.get_or_insert_with(|| Box::new(of_pair(hi, lo, SCALE)))
    }

    /// The sum, rounded to the nearest double, of two to the even one.
    pub(super) fn value(&self) -> f64 {
        self.wide.as_ref().map_or(self.hi, |wide| wide.value())
    }

    /// The sum as a whole number.
    pub(super) fn whole(&self) -> Sum {
        match &self.wide {
            Some(wide) => Sum::clone(wide),
            None => of_pair(self.hi, self.lo, SCALE),
        }
    }

    /// The sum as bytes: of one double, of a pair, or of a whole number.
    pub(super) fn to_bytes(&self, out: &mut Vec<u8>) {
        match &self.wide {
            Some(wide) => wide.to_bytes(out),
            None => {
                out.extend(self.hi.to_le_bytes());
                if self.lo != 0.0 {
                    out.extend(self.lo.to_le_bytes());
                }
            }
        }
    }

    /// Adds a sum that was written as bytes; whether these are such.
    #[must_use]
    pub(super) fn merge(&mut self, bytes: &[u8]) -> bool {
        let (doubles, rest) = bytes.as_chunks::<8>();
        if rest.is_empty() && doubles.len() <= 2 {
            doubles.iter().for_each(|double| self.add(f64::from_le_bytes(*double)));
            return true;
        }
        let Some(sum) = Sum::from_bytes(bytes) else { return false };
        self.widen().merge(&sum);
        true
    }

    /// Bytes on the heap.
    #[inline]
    pub(super) fn heap(&self) -> usize {
        self.wide.as_ref().map_or(0, |wide| size_of::<Sum>() + wide.heap())
    }
}

fn of_pair(hi: f64, lo: f64, scale: u32) -> Sum {
    let mut sum = Sum::default();
    sum.put(hi, 1, scale);
    sum.put(lo, 1, scale);
    sum
}

/// Products below it may lose bits that no double has: 2^-968 is 106 bits above the least one.
const PRODUCT_MIN: f64 = 1e-290;

impl Products {
    /// Adds the product of two values.
    #[inline]
    pub(super) fn add_product(&mut self, a: f64, b: f64) {
        match product(a, b) {
            Some((hi, lo)) if self.wide.is_none() => {
                self.add(hi);
                self.add(lo);
            }
            _ => self.widen().put_product(a, b, 1),
        }
    }

    /// Takes away the product of two values that was added.
    pub(super) fn take_product(&mut self, a: f64, b: f64) {
        match product(a, b) {
            Some((hi, lo)) if self.wide.is_none() => {
                self.take(hi);
                self.take(lo);
            }
            _ => self.widen().put_product(a, b, -1),
        }
    }
}

/// A product as a pair of doubles, where it is one.
#[inline]
fn product(a: f64, b: f64) -> Option<(f64, f64)> {
    let product = a * b;
    let is_exact = product.is_finite() && (product.abs() >= PRODUCT_MIN || a == 0.0 || b == 0.0);
    is_exact.then(|| (product, a.mul_add(b, -product)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::sum::variance;
    use super::*;

    /// Doubles whose exponents lie in a range, the same as the oracle had.
    pub(in super::super) fn values(seed: u64, count: usize, exponents: std::ops::Range<u64>) -> Vec<f64> {
        let mut state = seed;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state
        };
        let one = |a: u64, b: u64| {
            let exponent = exponents.start + (a >> 33) % (exponents.end - exponents.start);
            f64::from_bits(b >> 63 << 63 | exponent << 52 | b >> 11 & ((1 << 52) - 1))
        };
        (0..count)
            .map(|_| {
                let a = next();
                one(a, next())
            })
            .collect()
    }

    fn summed(values: &[f64]) -> (Total<0>, Products) {
        let (mut sum, mut squares) = (Total::default(), Products::default());
        for value in values {
            sum.add(*value);
            squares.add_product(*value, *value);
        }
        (sum, squares)
    }

    #[test]
    fn sums_and_variances_are_those_of_exact_arithmetic() {
        // `math.fsum`, and `statistics.variance` over fractions, of Python 3.11.
        for (seed, count, exponents, sum, spread) in [
            (1, 1000, 1020..1030, 0xc097_c31b_a1bc_9229, 0x4094_b953_b1c4_9481),
            (2, 1000, 900..1100, 0x44ce_6f90_3fdf_c4bc, 0x4908_24f2_7b29_e75c),
            (3, 2000, 0..2040, 0x7f79_56d3_d22e_aa8d, f64::INFINITY.to_bits()),
            (4, 500, 0..60, 0x03a4_43ab_2702_f635, 0),
        ] {
            let values = values(seed, count, exponents);
            let (sums, squares) = summed(&values);
            assert_eq!(sums.value().to_bits(), sum, "sum {seed}");
            let found = variance(count as u64, &sums.whole(), &squares.whole(), true).unwrap();
            // Three roundings: of the dividend, the divisor and the quotient.
            assert!(found.to_bits().abs_diff(spread) <= 2, "variance {seed}: {found:e}");
        }
    }

    #[test]
    fn order_and_grouping_make_no_difference() {
        for exponents in [1000..1030, 990..1060, 700..1400] {
            order_makes_no_difference(&values(5, 600, exponents));
        }
    }

    fn order_makes_no_difference(values: &[f64]) {
        let (whole, whole_squares) = summed(values);
        for parts in [1, 2, 7, 100] {
            let (mut sum, mut squares) = (Total::<0>::default(), Products::default());
            for part in 0..parts {
                let part: Vec<f64> = values.iter().rev().skip(part).step_by(parts).copied().collect();
                let (of_part, squares_of_part) = summed(&part);
                let (mut bytes, mut square_bytes) = (Vec::new(), Vec::new());
                of_part.to_bytes(&mut bytes);
                squares_of_part.to_bytes(&mut square_bytes);
                assert!(sum.merge(&bytes) && squares.merge(&square_bytes));
            }
            assert_eq!(sum.value().to_bits(), whole.value().to_bits());
            let spread = |sum: &Total<0>, squares: &Products| variance(600, &sum.whole(), &squares.whole(), false);
            assert_eq!(spread(&sum, &squares), spread(&whole, &whole_squares));
        }
    }

    #[test]
    fn what_is_taken_away_leaves_nothing() {
        let values = values(6, 300, 0..2040);
        let mut sum = Total::<0>::default();
        values.iter().for_each(|value| sum.add(*value));
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            sum.add(value);
        }
        assert!(sum.value().is_nan());
        sum.take(f64::NAN);
        sum.take(f64::NEG_INFINITY);
        assert_eq!(sum.value(), f64::INFINITY);
        sum.take(f64::INFINITY);
        values[1..].iter().for_each(|value| sum.take(*value));
        assert_eq!(sum.value(), values[0]);
    }

    #[test]
    fn borders_of_what_a_double_is() {
        let sum = |values: &[f64]| summed(values).0.value();
        let tiny = f64::from_bits(1);
        for (values, wanted) in [
            (&[][..], 0.0),
            (&[-0.0], 0.0),
            (&[f64::MAX, f64::MAX, -f64::MAX], f64::MAX),
            (&[f64::MAX, f64::MAX], f64::INFINITY),
            (&[-f64::MAX, -f64::MAX], f64::NEG_INFINITY),
            (&[tiny, tiny, -tiny], tiny),
            (&[f64::MIN_POSITIVE, -tiny], f64::from_bits((1 << 52) - 1)),
            // Half of the last digit: to the even one; a little more: up.
            (&[1.0, f64::EPSILON / 2.0], 1.0),
            (&[1.0, f64::EPSILON / 2.0, tiny], 1.0 + f64::EPSILON),
            (&[1.0 + f64::EPSILON, f64::EPSILON / 2.0], 1.0 + 2.0 * f64::EPSILON),
            (&[2.0 - f64::EPSILON, f64::EPSILON / 2.0], 2.0),
            (&[1e308, 1.0, -1e308], 1.0),
            (&[1e16, 1.0, -1e16], 1.0),
        ] {
            assert_eq!(sum(values).to_bits(), wanted.to_bits(), "{values:?}");
        }
    }

    #[test]
    fn a_sum_beyond_what_a_double_can_be_comes_back_from_its_bytes() {
        for sign in [1.0, -1.0] {
            let (part, _) = summed(&[sign * f64::MAX, sign * f64::MAX]);
            let mut bytes = Vec::new();
            part.to_bytes(&mut bytes);
            let mut whole = Total::<0>::default();
            assert!(whole.merge(&bytes) && !whole.merge(&[1, 2, 3]));
            assert_eq!(whole.value(), sign * f64::INFINITY);
            whole.add(-sign * f64::MAX);
            assert_eq!(whole.value(), sign * f64::MAX);
        }
    }

    #[test]
    fn a_large_mean_does_not_hide_a_small_variance() {
        let values: Vec<f64> = (0..1000).map(|i| 1e9 + f64::from(i % 2)).collect();
        let (sum, squares) = summed(&values);
        assert_eq!(variance(1000, &sum.whole(), &squares.whole(), false), Some(0.25));
        assert_eq!(variance(1, &sum.whole(), &squares.whole(), true), None);
        assert_eq!(variance(0, &Sum::default(), &Sum::default(), false), None);
    }

    #[test]
    fn values_of_one_magnitude_stay_a_pair_until_one_does_not() {
        let (mut sum, squares) = summed(&values(7, 10_000, 1013..1024));
        assert!(sum.wide.is_none() && sum.lo != 0.0);
        assert!(squares.wide.is_some() || squares.lo != 0.0);
        let before = sum.value();
        sum.add(1e-200);
        assert!(sum.wide.is_some());
        sum.take(1e-200);
        assert_eq!(sum.value().to_bits(), before.to_bits());
        // An infinite value that is taken away again leaves what was there.
        let (mut sum, _) = summed(&[1.5, f64::INFINITY]);
        assert_eq!(sum.value(), f64::INFINITY);
        sum.take(f64::INFINITY);
        assert_eq!(sum.value(), 1.5);
        // Products that no pair of doubles has.
        let (sum, squares) = summed(&[1e-170, -1e-170, 3e200]);
        assert!(variance(3, &sum.whole(), &squares.whole(), true).unwrap().is_infinite());
        let (sum, squares) = summed(&[1e-155, -1e-155]);
        let spread = variance(2, &sum.whole(), &squares.whole(), true).unwrap();
        assert!((spread / 2e-310 - 1.0).abs() < 1e-3, "{spread:e}");
    }
}
