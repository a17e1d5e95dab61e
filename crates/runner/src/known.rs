//! [`KnownTypes`]: the types of tables as earlier commands found them, so that one over ten thousand unchanged tables does not plan
//! ten thousand SELECTs to learn that nothing changed.
//!
//! Nothing here can be stale: an entry is found by a digest of all that typing a table looks at, its file and the columns of what it
//! reads. Only a table about which there was nothing to say has one. What is not found, or cannot be read, is typed anew.

use pelton_base::Digest;
use pelton_base::fail::{self, Point};
use pelton_store::{ColumnType, Warehouse};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use arrow::datatypes::SchemaRef;

/// Raised when typing finds other mistakes or other types than before.
const FORMAT: &str = concat!("types 3 of pelton ", env!("CARGO_PKG_VERSION"));

/// What is kept of a table that was typed without anything to say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Kept {
    columns: Vec<ColumnType>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    volatile: Vec<String>,
}

/// Types of tables by what they were found from.
pub(crate) struct KnownTypes {
    file: Option<PathBuf>,
    before: BTreeMap<Digest, Kept>,
    /// What is asked for or found now: the next file.
    now: Mutex<BTreeMap<Digest, Kept>>,
}

impl KnownTypes {
    /// Knows nothing and keeps nothing.
    pub(crate) fn none() -> Self {
        KnownTypes { file: None, before: BTreeMap::new(), now: Mutex::default() }
    }

    /// What the runs in a warehouse found.
    pub(crate) fn open(warehouse: &Warehouse) -> Self {
        let file = warehouse.root().join("types");
        let before = std::fs::read(&file).ok().and_then(|bytes| read(&bytes)).unwrap_or_default();
        KnownTypes { file: Some(file), before, now: Mutex::default() }
    }

    /// Whether anything is known or kept.
    pub(crate) fn is_kept(&self) -> bool {
        self.file.is_some()
    }

    /// The columns of a table, and what makes its SELECT depend on more than its inputs.
    pub(crate) fn get(&self, key: Digest) -> Option<(SchemaRef, Vec<String>)> {
        let kept = self.before.get(&key)?;
        self.now.lock().unwrap_or_else(PoisonError::into_inner).insert(key, kept.clone());
        Some((ColumnType::try_schema(&kept.columns).ok()?, kept.volatile.clone()))
    }

    pub(crate) fn put(&self, key: Digest, schema: &SchemaRef, volatile: &[String]) {
        if self.is_kept() {
            let kept = Kept { columns: ColumnType::of(schema), volatile: volatile.to_vec() };
            self.now.lock().unwrap_or_else(PoisonError::into_inner).insert(key, kept);
        }
    }

    /// Writes what was asked for or found, and drops the rest.
    pub(crate) fn keep(self) {
        let now = self.now.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = self.file.filter(|_| now != self.before) else { return };
        // What cannot be written is found again by the next run; another command may write at the same time, so each has a name of its own.
        let beside = file.with_extension(std::process::id().to_string());
        let kept = std::fs::write(&beside, written(&now))
            .and_then(|()| fail::before(Point::TypesWrite))
            .and_then(|()| std::fs::rename(&beside, &file));
        if kept.is_err() {
            let _ = std::fs::remove_file(&beside);
        }
    }
}

/// The format, the digest of what follows, and the entries as JSON, a line each.
fn written(kept: &BTreeMap<Digest, Kept>) -> String {
    let entries = serde_json::to_string(kept).expect("digests are texts, and the rest is plain");
    format!("{FORMAT}\n{}\n{entries}", Digest::of(entries.as_bytes()))
}

/// The entries of a file; `None` when it is damaged, or another Pelton's.
fn read(bytes: &[u8]) -> Option<BTreeMap<Digest, Kept>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (digest, entries) = text.strip_prefix(FORMAT)?.strip_prefix('\n')?.split_once('\n')?;
    if Digest::parse(digest)? != Digest::of(entries.as_bytes()) {
        return None;
    }
    serde_json::from_str(entries).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field, Schema};
    use std::sync::Arc;

    fn schema(name: &str) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new(name, DataType::Decimal128(18, 2), true)]))
    }

    #[test]
    fn what_was_found_is_known_to_the_next_run_and_what_nobody_asks_for_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let warehouse = Warehouse::open(folder.path()).unwrap();
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let first = KnownTypes::open(&warehouse);
        assert_eq!(first.get(one), None);
        first.put(one, &schema("a"), &["now()".into()]);
        first.put(two, &schema("b"), &[]);
        first.keep();
        let second = KnownTypes::open(&warehouse);
        assert_eq!(second.get(one), Some((schema("a"), vec!["now()".into()])));
        second.keep();
        let third = KnownTypes::open(&warehouse);
        assert_eq!(third.get(two), None);
        assert!(third.get(one).is_some());
    }

    #[test]
    fn a_damaged_file_is_as_none() {
        let kept =
            BTreeMap::from([(Digest::of(b"one"), Kept { columns: ColumnType::of(&schema("a")), volatile: vec![] })]);
        let text = written(&kept);
        assert_eq!(read(text.as_bytes()), Some(kept));
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert_eq!(read(&bytes), None, "byte {at}");
            assert_eq!(read(&text.as_bytes()[..at]), None, "cut at {at}");
        }
    }
}
