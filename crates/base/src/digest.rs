//! A 128-bit digest: XXH3-128 of bytes, or the order-independent sum of the XXH3-128 of many rows.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// A 128-bit digest, written as 32 lower-case hexadecimal digits.
///
/// Of bytes it is their XXH3-128 with seed 0. Of a table it is the wrapping sum of its rows' hashes, so that row order,
/// batch size and thread count do not matter; see `docs/reference/digests.md` for the bytes that are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Digest(pub u128);

impl Digest {
    /// The digest of a byte string.
    pub fn of(bytes: &[u8]) -> Self {
        Digest(xxh3_128(bytes))
    }

    /// The digest of several parts, each prefixed by its length so that no two lists of parts collide by concatenation.
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        Self::of(&bytes)
    }

    /// Adds another digest, wrapping: the union of two disjoint sets of rows.
    #[must_use]
    pub fn plus(self, other: Digest) -> Self {
        Digest(self.0.wrapping_add(other.0))
    }

    /// Takes another digest out again.
    #[must_use]
    pub fn minus(self, other: Digest) -> Self {
        Digest(self.0.wrapping_sub(other.0))
    }

    /// Reads 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok().map(Digest)).flatten()
    }

    /// The first eight digits, for people.
    pub fn short(self) -> String {
        self.to_string()[..8].to_string()
    }
}

/// The digest of a byte string that comes in parts.
#[derive(Default)]
pub struct Digester(Xxh3);

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digester").finish_non_exhaustive()
    }
}

impl Digester {
    /// Adds the next bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was added.
    pub fn finish(&self) -> Digest {
        Digest(self.0.digest128())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Digest::parse(&text).ok_or_else(|| serde::de::Error::custom("a digest is 32 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_collide_by_concatenation() {
        assert_ne!(Digest::of_parts(["ab", "c"]), Digest::of_parts(["a", "bc"]));
    }

    #[test]
    fn the_digest_of_parts_of_a_byte_string_is_that_of_the_whole() {
        let bytes: Vec<u8> = (0..10_000u32).map(|at| (at % 251) as u8).collect();
        for size in [1, 7, 1_000, 20_000] {
            let mut digester = Digester::default();
            bytes.chunks(size).for_each(|part| digester.add(part));
            assert_eq!(digester.finish(), Digest::of(&bytes), "{size}");
        }
    }

    #[test]
    fn hex_survives_a_round_trip() {
        let digest = Digest::of(b"pelton");
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(Digest::parse("xyz"), None);
    }
}
