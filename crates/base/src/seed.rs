//! Randomness as a value: every draw comes from a named seed, so that the same inputs give the same bytes.

/// A 64-bit seed from which independent streams are derived by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seed(pub u64);

impl Seed {
    /// An independent seed for the part called `name`.
    #[must_use]
    pub fn derive(self, name: &str) -> Seed {
        Seed(xxhash_rust::xxh3::xxh3_64_with_seed(name.as_bytes(), self.0))
    }

    /// A pseudo-random number that depends on the seed and `index` alone (SplitMix64, Steele et al. 2014).
    pub fn at(self, index: u64) -> u64 {
        let mut z = self.0.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// As [`Seed::at`], as a number in `[0, 1)`.
    pub fn unit_at(self, index: u64) -> f64 {
        (self.at(index) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_name_and_repeat_by_seed() {
        assert_ne!(Seed(1).derive("split").at(0), Seed(1).derive("tune").at(0));
        assert_eq!(Seed(7).derive("split").at(3), Seed(7).derive("split").at(3));
        let mean = (0..10_000).map(|i| Seed(3).unit_at(i)).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
    }
}
