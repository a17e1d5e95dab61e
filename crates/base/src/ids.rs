//! Identifiers are types, so that one is never passed where another was meant.

use crate::Digest;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The name of a source, table or model: lower-case letters, digits and `_`, beginning with a letter, at most 100 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// Takes a name as it is written; `is_valid` says whether a project may define it.
    pub fn new(name: impl AsRef<str>) -> Self {
        NodeName(Arc::from(name.as_ref()))
    }

    /// Whether a project may define a node of this name.
    pub fn is_valid(name: &str) -> bool {
        name.len() <= 100
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for NodeName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for NodeName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for NodeName {
    fn from(name: &str) -> Self {
        NodeName::new(name)
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// One execution of a plan: a UUIDv7, so that ids sort by start time.
    RunId
}

text_id! {
    /// What a prediction id resolves to: a UUIDv7.
    ReceiptId
}

impl RunId {
    /// A fresh id for a run that begins at `now_us` (microseconds since the epoch).
    pub fn fresh(now_us: i64) -> Self {
        RunId(uuid_v7(now_us))
    }
}

impl ReceiptId {
    /// A fresh id for a prediction made at `now_us` (microseconds since the epoch).
    pub fn fresh(now_us: i64) -> Self {
        ReceiptId(uuid_v7(now_us))
    }
}

fn uuid_v7(now_us: i64) -> String {
    let seconds = now_us.div_euclid(1_000_000).max(0) as u64;
    let nanos = (now_us.rem_euclid(1_000_000) * 1000) as u32;
    uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos)).to_string()
}

/// An immutable state of a node: 12 hexadecimal digits, from the node's fingerprint and the run that made it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VersionId(pub String);

impl VersionId {
    /// The id of the version of `node` that `run` builds from a node state with this fingerprint.
    pub fn of(node: &NodeName, fingerprint: Digest, run: &RunId) -> Self {
        let digest = Digest::of_parts([node.as_str(), &fingerprint.to_string(), &run.0]);
        VersionId(digest.to_string()[..12].to_string())
    }

    /// As [`VersionId::of`], for one of several versions of `node` that the run builds one on another.
    pub fn of_part(node: &NodeName, fingerprint: Digest, run: &RunId, part: &str) -> Self {
        let digest = Digest::of_parts([node.as_str(), &fingerprint.to_string(), &run.0, part]);
        VersionId(digest.to_string()[..12].to_string())
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_identifiers() {
        for good in ["a", "orders_2", "customer_activity"] {
            assert!(NodeName::is_valid(good), "{good}");
        }
        for bad in ["", "Orders", "2nd", "a-b", "a b", "a.b", "_x"] {
            assert!(!NodeName::is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn run_ids_sort_by_start() {
        assert!(RunId::fresh(1_000_000_000_000) < RunId::fresh(2_000_000_000_000));
    }
}
