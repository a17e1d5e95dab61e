//! [`Sum`]: the exact sum of any doubles; and [`apart`], from which variances and covariances come, exact until its one division.
//!
//! A double is a whole number of units of 2^-1074. The sum is kept as such a number, in limbs of 32 bits that have room for many additions
//! before carries must move up (the small superaccumulator of R. M. Neal, "Fast exact summation using small and large superaccumulators",
//! 2015). Only the limbs that the values reach are kept: three or four for values of one magnitude.
//!
//! A whole number does not depend on the order in which its parts were added, nor on how they were grouped, and what was added can be
//! taken away again. So the result is one of the values alone: their sum, rounded once.

use smallvec::{SmallVec, smallvec};
use std::cmp::Ordering;

/// Bits of a limb. It has 63: what is above waits for the next carry.
const LIMB: u32 = 32;
/// Additions of up to 2^32 - 1 to a limb that 63 bits have room for, and half of them, so that two sums can be put together.
const ADDS_MAX: u32 = 1 << 30;
/// Bits of a double's significand.
const SIGNIFICAND: u32 = 53;
/// Limbs that one deposit reaches: 53 bits, moved up by up to 31.
const REACH: usize = 3;

/// The exact sum of doubles, or of products of two.
#[derive(Debug, Clone, Default)]
pub(super) struct Sum {
    /// Limb `i` counts units of 2^(32 * (first + i)).
    limbs: SmallVec<[i64; 4]>,
    first: u8,
    /// Additions since the last carry.
    adds: u32,
    /// What no whole number stands for.
    special: Option<Box<Special>>,
}

/// How many values were added that are not numbers, or infinite.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Special {
    nan: i64,
    positive: i64,
    negative: i64,
}

impl Special {
    fn value(self) -> Option<f64> {
        match (self.nan, self.positive, self.negative) {
            (0, 0, 0) => None,
            (0, _, 0) => Some(f64::INFINITY),
            (0, 0, _) => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        }
    }
}

impl Sum {
    /// Adds a value `sign` times. `scale` says how many bits lie below those that a double has.
    pub(super) fn put(&mut self, value: f64, sign: i64, scale: u32) {
        match parts(value) {
            Some((significand, bit)) => {
                self.deposit(significand, bit + scale, if value < 0.0 { -sign } else { sign });
            }
            None => self.put_special(value, sign),
        }
    }

    /// Adds the product of two values `sign` times, in units of 2^-2148. A sum of products is read by [`apart`].
    pub(super) fn put_product(&mut self, a: f64, b: f64, sign: i64) {
        let (Some((of_a, bit_a)), Some((of_b, bit_b))) = (parts(a), parts(b)) else {
            return self.put_special(a * b, sign);
        };
        let product = u128::from(of_a) * u128::from(of_b);
        let sign = if (a < 0.0) == (b < 0.0) { sign } else { -sign };
        let low = (product & ((1 << SIGNIFICAND) - 1)) as u64;
        self.deposit(low, bit_a + bit_b, sign);
        self.deposit((product >> SIGNIFICAND) as u64, bit_a + bit_b + SIGNIFICAND, sign);
    }

    fn put_special(&mut self, value: f64, sign: i64) {
        let special = self.special.get_or_insert_default();
        match value.partial_cmp(&0.0) {
            None => special.nan += sign,
            Some(Ordering::Less) => special.negative += sign,
            Some(_) => special.positive += sign,
        }
    }

    /// Adds `sign * significand * 2^bit` units.
    #[inline]
    fn deposit(&mut self, significand: u64, bit: u32, sign: i64) {
        if significand == 0 {
            return;
        }
        if self.adds >= ADDS_MAX {
            self.carry();
        }
        let at = self.reach((bit / LIMB) as usize, REACH);
        let moved = u128::from(significand) << (bit % LIMB);
        for (i, limb) in self.limbs[at..at + REACH].iter_mut().enumerate() {
            *limb += sign * i64::from((moved >> (LIMB * i as u32)) as u32);
        }
        self.adds += 1;
    }

    /// Makes sure that there are `count` limbs from `limb` on, and says where they are.
    #[inline]
    fn reach(&mut self, limb: usize, count: usize) -> usize {
        let (first, end) = (usize::from(self.first), usize::from(self.first) + self.limbs.len());
        if limb >= first && limb + count <= end {
            return limb - first;
        }
        self.grow(limb, limb + count);
        limb - usize::from(self.first)
    }

    #[cold]
    fn grow(&mut self, from: usize, to: usize) {
        if self.limbs.is_empty() {
            self.first = from as u8;
        }
        let first = usize::from(self.first);
        if from < first {
            self.limbs.insert_many(0, std::iter::repeat_n(0, first - from));
            self.first = from as u8;
        }
        let first = usize::from(self.first);
        if to - first > self.limbs.len() {
            self.limbs.resize(to - first, 0);
        }
    }

    /// Moves up what is above 32 bits. After it all limbs but the last are in 0..2^32, and the last has the sign.
    fn carry(&mut self) {
        self.adds = 1;
        let Some(last) = self.limbs.len().checked_sub(1) else { return };
        for i in 0..last {
            let up = self.limbs[i] >> LIMB;
            self.limbs[i] -= up << LIMB;
            self.limbs[i + 1] += up;
        }
        let up = self.limbs[last] >> LIMB;
        if up != 0 && up != -1 {
            self.limbs[last] -= up << LIMB;
            self.limbs.push(up);
        }
    }

    /// Adds another sum.
    pub(super) fn merge(&mut self, other: &Sum) {
        if let Some(theirs) = other.special.as_deref() {
            let special = self.special.get_or_insert_default();
            special.nan += theirs.nan;
            special.positive += theirs.positive;
            special.negative += theirs.negative;
        }
        if other.limbs.is_empty() {
            return;
        }
        if self.adds + other.adds >= ADDS_MAX {
            self.carry();
        }
        if self.adds + other.adds >= ADDS_MAX {
            let mut other = other.clone();
            other.carry();
            return self.merge_limbs(&other);
        }
        self.merge_limbs(other);
    }

    fn merge_limbs(&mut self, other: &Sum) {
        let at = self.reach(usize::from(other.first), other.limbs.len());
        for (limb, theirs) in self.limbs[at..].iter_mut().zip(&other.limbs) {
            *limb += theirs;
        }
        self.adds += other.adds.max(1);
    }

    fn special(&self) -> Option<f64> {
        self.special.as_deref().and_then(|special| special.value())
    }

    /// The sum, rounded to the nearest double, of two to the even one.
    pub(super) fn value(&self) -> f64 {
        self.special().unwrap_or_else(|| {
            let number = self.number();
            let value = number.to_double(0);
            if number.negative { -value } else { value }
        })
    }

    fn number(&self) -> Number {
        let mut sum = self.clone();
        sum.carry();
        let negative = sum.limbs.last().is_some_and(|last| *last < 0);
        if negative {
            sum.limbs.iter_mut().for_each(|limb| *limb = -*limb);
            sum.carry();
        }
        let digits = sum.limbs.iter().map(|limb| *limb as u32).collect();
        Number { negative, digits, first: u32::from(sum.first) }.trimmed()
    }

    /// The sum as bytes: the first limb and all limbs, one byte more than a multiple of eight; of what is no number, a double.
    pub(super) fn to_bytes(&self, out: &mut Vec<u8>) {
        if let Some(value) = self.special() {
            return out.extend(value.to_le_bytes());
        }
        let mut sum = self.clone();
        sum.carry();
        out.push(sum.first);
        out.extend(sum.limbs.iter().flat_map(|limb| limb.to_le_bytes()));
    }

    /// A sum that was written as bytes; `None` when these are not such.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Sum> {
        let (first, limbs) = bytes.split_first()?;
        let (limbs, rest) = limbs.as_chunks::<8>();
        if !rest.is_empty() {
            return None;
        }
        let limbs = limbs.iter().map(|limb| i64::from_le_bytes(*limb)).collect();
        Some(Sum { limbs, first: *first, adds: 1, special: None })
    }

    /// Bytes on the heap.
    pub(super) fn heap(&self) -> usize {
        let limbs = if self.limbs.spilled() { self.limbs.capacity() * size_of::<i64>() } else { 0 };
        limbs + self.special.as_ref().map_or(0, |_| size_of::<Special>())
    }
}

/// A finite double as a significand and the bit at which it begins, in units of 2^-1074.
#[inline]
fn parts(value: f64) -> Option<(u64, u32)> {
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as u32;
    let fraction = bits & ((1 << 52) - 1);
    match exponent {
        0x7ff => None,
        0 => Some((fraction, 0)),
        _ => Some((fraction | (1 << 52), exponent - 1)),
    }
}

/// A whole number of units: sign, and digits of 32 bits, the lowest first, at 2^(32 * first).
#[derive(Debug, Clone, PartialEq)]
struct Number {
    negative: bool,
    digits: SmallVec<[u32; 8]>,
    first: u32,
}

impl Number {
    fn trimmed(mut self) -> Self {
        while self.digits.last() == Some(&0) {
            self.digits.pop();
        }
        self
    }

    fn times(&self, other: &Number) -> Number {
        let mut digits: SmallVec<[u32; 8]> = smallvec![0; self.digits.len() + other.digits.len()];
        for (i, a) in self.digits.iter().enumerate() {
            let mut carry = 0u64;
            for (j, b) in other.digits.iter().enumerate() {
                let sum = u64::from(*a) * u64::from(*b) + u64::from(digits[i + j]) + carry;
                digits[i + j] = sum as u32;
                carry = sum >> LIMB;
            }
            digits[i + other.digits.len()] = carry as u32;
        }
        Number { negative: self.negative != other.negative, digits, first: self.first + other.first }.trimmed()
    }

    /// The difference of two numbers.
    fn minus(&self, other: &Number) -> Number {
        match (self.negative == other.negative, self.is_below(other)) {
            (false, _) => self.with(other, 1),
            (true, false) => self.with(other, -1),
            (true, true) => {
                let opposite = other.with(self, -1);
                Number { negative: !self.negative, ..opposite }
            }
        }
    }

    /// The digit at 2^(32 * at).
    fn digit(&self, at: u32) -> u32 {
        at.checked_sub(self.first).and_then(|at| self.digits.get(at as usize)).copied().unwrap_or(0)
    }

    fn end(&self) -> u32 {
        self.first + self.digits.len() as u32
    }

    /// Whether the magnitude is below that of another.
    fn is_below(&self, other: &Number) -> bool {
        let (first, end) = (self.first.min(other.first), self.end().max(other.end()));
        let differs = (first..end).rev().find(|at| self.digit(*at) != other.digit(*at));
        differs.is_some_and(|at| self.digit(at) < other.digit(at))
    }

    /// A number of this sign with the other magnitude added (`times` 1), or taken away (-1), which then is not above this one.
    fn with(&self, other: &Number, times: i64) -> Number {
        let (first, end) = (self.first.min(other.first), self.end().max(other.end()));
        let mut carry = 0i64;
        let digits = (first..=end).map(|at| {
            let sum = i64::from(self.digit(at)) + times * i64::from(other.digit(at)) + carry;
            carry = sum >> LIMB;
            sum as u32
        });
        let digits = digits.collect();
        Number { negative: self.negative, digits, first }.trimmed()
    }

    fn bit(&self, at: u64) -> bool {
        self.digits[(at / u64::from(LIMB)) as usize] >> (at % u64::from(LIMB)) & 1 == 1
    }

    /// All bits from `low` on; there are at most 64 of them.
    fn bits(&self, low: u64) -> u64 {
        let digits = self.digits[(low / u64::from(LIMB)).min(self.digits.len() as u64) as usize..].iter();
        let whole = digits.take(REACH).rev().fold(0u128, |whole, digit| whole << LIMB | u128::from(*digit));
        (whole >> (low % u64::from(LIMB))) as u64
    }

    /// The nearest double to the magnitude times 2^scale.
    fn to_double(&self, scale: i64) -> f64 {
        let Some(last) = self.digits.last() else { return 0.0 };
        let top = self.digits.len() as u64 * u64::from(LIMB) - 1 - u64::from(last.leading_zeros());
        // Where the highest bit lies in units of 2^-1074.
        let place = top as i64 + i64::from(self.first * LIMB) + scale;
        // The number of bits that a double has there; subnormal ones have fewer.
        let kept = (place + 1).min(i64::from(SIGNIFICAND));
        if kept < 0 {
            return 0.0;
        }
        // A number of fewer bits than are kept has zeros below it.
        let low = top as i64 + 1 - kept;
        let mut significand = if low < 0 { self.bits(0) << -low } else { self.bits(low as u64) };
        let rest = |from: u64| {
            let words = (from / u64::from(LIMB)) as usize;
            self.digits[..words].iter().any(|digit| *digit != 0)
                || !from.is_multiple_of(u64::from(LIMB))
                    && self.digits[words] & ((1 << (from % u64::from(LIMB))) - 1) != 0
        };
        let half = top.checked_sub(kept as u64).is_some_and(|at| self.bit(at));
        let below = top.checked_sub(kept as u64).is_some_and(rest);
        if half && (below || significand & 1 == 1) {
            significand += 1;
        }
        // The lowest kept bit counts 2^exponent units.
        let exponent = place + 1 - kept;
        scaled(significand, exponent)
    }
}

/// `significand * 2^exponent` units of 2^-1074 as a double; at most 2^53, which is one digit more than fits and even.
fn scaled(significand: u64, exponent: i64) -> f64 {
    let (significand, exponent) = match significand >> SIGNIFICAND {
        0 => (significand, exponent),
        _ => (significand >> 1, exponent + 1),
    };
    if significand < 1 << 52 {
        return f64::from_bits(significand);
    }
    match exponent + 1 {
        biased @ 1..=2046 => f64::from_bits((biased as u64) << 52 | (significand & ((1 << 52) - 1))),
        _ => f64::INFINITY,
    }
}

/// How far `count` pairs of values lie apart: `(count * products - a * b) / by`, where `a` and `b` are the sums of the values and `products` that of
/// their products. Divided by `count` it is the sum of the products of what they differ from their means, by `count^2` the covariance, and
/// with the same values on both sides the variance. Dividend and divisor are exact, so nothing is cancelled; each is rounded, and so is the
/// quotient.
pub(super) fn apart(count: u64, [a, b, products]: [&Sum; 3], by: [u64; 2]) -> f64 {
    if [a, b, products].iter().any(|sum| sum.special().is_some()) {
        return f64::NAN;
    }
    let whole =
        |number: u64| Number { negative: false, digits: smallvec![number as u32, (number >> LIMB) as u32], first: 0 };
    let apart = products.number().times(&whole(count)).minus(&a.number().times(&b.number()));
    let by = by.map(|number| whole(number).trimmed());
    let quotient = apart.over(&by[0].times(&by[1]));
    if apart.negative { -quotient } else { quotient }
}

/// The variance of `count` values with this sum and this sum of squares. `None` when there are too few values.
pub(super) fn variance(count: u64, sum: &Sum, squares: &Sum, is_sample: bool) -> Option<f64> {
    covariance(count, [sum, sum, squares], is_sample)
}

/// As [`variance`], of pairs of values with these sums and this sum of their products.
pub(super) fn covariance(count: u64, sums: [&Sum; 3], is_sample: bool) -> Option<f64> {
    let divisor = if is_sample { count.checked_sub(1)? } else { count };
    (divisor > 0).then(|| apart(count, sums, [count, divisor]))
}

impl Number {
    /// The magnitude, which counts units of 2^-2148 that no double needs to have, divided by a whole number.
    fn over(&self, by: &Number) -> f64 {
        let Some(last) = self.digits.last() else { return 0.0 };
        let bits =
            self.digits.len() as i64 * i64::from(LIMB) - i64::from(last.leading_zeros()) + i64::from(self.first * LIMB);
        // 2^bits units as about 1.
        let near = self.to_double(1074 - bits);
        let quotient = near / by.to_double(1074);
        // In two steps, because 2^(bits - 2148) alone may not be a double.
        let scale = (bits - 2148) as i32;
        quotient * 2f64.powi(scale / 2) * 2f64.powi(scale - scale / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carries_move_up_before_a_limb_is_full() {
        // As after 2^30 - 2 additions; the exact result of the further ones is known.
        let mut sum = Sum::default();
        sum.put(-3.0, 1, 0);
        sum.adds = ADDS_MAX - 2;
        for _ in 0..10 {
            sum.put(f64::from(u32::MAX), 1, 0);
        }
        assert_eq!(sum.value(), 10.0 * f64::from(u32::MAX) - 3.0);
        assert!(sum.adds < 20);
        let mut other = sum.clone();
        other.adds = ADDS_MAX - 1;
        other.merge(&sum);
        assert_eq!(other.value(), 20.0 * f64::from(u32::MAX) - 6.0);
    }
}
