//! Draws from a seed, in order.

use pelton_base::Seed;

/// A stream of draws.
pub(crate) struct Draw {
    seed: Seed,
    at: u64,
}

impl Draw {
    pub(crate) fn new(seed: Seed) -> Self {
        Draw { seed, at: 0 }
    }

    /// A whole number in `0..end`; `end` must not be 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let bits = self.seed.at(self.at);
        self.at += 1;
        (bits % end as u64) as usize
    }

    /// A whole number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True in so many of a hundred draws.
    pub(crate) fn percent(&mut self, share: usize) -> bool {
        self.below(100) < share
    }

    /// One of some.
    pub(crate) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}
