//! Draws for the simulator: the same numbers on every machine, because only integer arithmetic and the correctly rounded
//! operations of IEEE 754 (`+ - * /`, square root) are used, never the platform's `exp` or `ln`.

use pelton_base::Seed;

/// A stream of draws from a named seed.
pub(crate) struct Random {
    seed: Seed,
    index: u64,
}

impl Random {
    pub(crate) fn new(seed: Seed) -> Self {
        Random { seed, index: 0 }
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        let bits = self.seed.at(self.index);
        self.index += 1;
        bits
    }

    /// A number in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        unit(self.bits())
    }

    /// A whole number in `0..end`; `end` must not be 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        below(self.bits(), end)
    }

    /// A whole number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as usize) as i64
    }

    /// True with this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Nearly a standard normal number: the sum of four uniform ones (Irwin-Hall), within 3.5 standard deviations.
    pub(crate) fn normal(&mut self) -> f64 {
        const SQRT_3: f64 = 1.732_050_807_568_877_2;
        let bits = self.bits();
        let sum: u64 = (0..4).map(|i| (bits >> (16 * i)) & 0xFFFF).sum();
        ((sum + 2) as f64 / 65_536.0 - 2.0) * SQRT_3
    }

    /// A factor around 1 whose logarithm has the standard deviation `sigma`.
    pub(crate) fn factor(&mut self, sigma: f64) -> f64 {
        exp(self.normal() * sigma)
    }

    /// The place of an entry of `weights`, each drawn in proportion to its weight.
    pub(crate) fn weighted(&mut self, weights: &[u32]) -> usize {
        let total: u32 = weights.iter().sum();
        let mut at = self.below(total as usize) as u32;
        for (i, weight) in weights.iter().enumerate() {
            if at < *weight {
                return i;
            }
            at -= weight;
        }
        weights.len() - 1
    }
}

/// 64 random bits as a number in `[0, 1)`.
pub(crate) fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// 64 random bits as a whole number in `0..end`.
pub(crate) fn below(bits: u64, end: usize) -> usize {
    ((u128::from(bits) * end as u128) >> 64) as usize
}

/// 64 random bits as a place in `0..end` of which the low ones are the likely ones, as few customers pay much and few shops
/// sell much: the density falls with the cube root of the place.
pub(crate) fn skewed(bits: u64, end: usize) -> usize {
    let u = unit(bits);
    ((u * u.sqrt() * end as f64) as usize).min(end - 1)
}

/// e to the power of `x`, for `x` between -20 and 20: the range is cut to half an octave, the rest is a Taylor polynomial.
pub(crate) fn exp(x: f64) -> f64 {
    const LN_2: f64 = std::f64::consts::LN_2;
    let octaves = (x.clamp(-20.0, 20.0) / LN_2 + 0.5).floor();
    let rest = x.clamp(-20.0, 20.0) - octaves * LN_2;
    let mut sum = 1.0;
    for k in (1..=12).rev() {
        sum = 1.0 + sum * rest / f64::from(k);
    }
    sum * f64::from_bits(((octaves as i64 + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_that_of_the_standard_library() {
        for i in -400..=400 {
            let x = f64::from(i) / 25.0;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-12, "{x}");
        }
    }

    #[test]
    fn normal_numbers_have_mean_0_and_deviation_1() {
        let mut random = Random::new(Seed(5).derive("normal"));
        let draws: Vec<f64> = (0..100_000).map(|_| random.normal()).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / draws.len() as f64;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }

    #[test]
    fn draws_stay_in_their_range() {
        let mut random = Random::new(Seed(6));
        for _ in 0..10_000 {
            assert!((3..=5).contains(&random.between(3, 5)));
            assert!(random.weighted(&[1, 0, 2]) != 1);
        }
        assert_eq!(skewed(u64::MAX, 7), 6);
        assert_eq!(below(u64::MAX, 7), 6);
    }
}
