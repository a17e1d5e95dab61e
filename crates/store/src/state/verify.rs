//! Whether the database is what was written, and the two changes that a repair makes to it.

use super::{RunLock, State};
use crate::error::StoreError;
use pelton_base::{Digest, VersionId};
use rusqlite::params;

/// How many problems are named; a damaged page makes thousands.
const PROBLEMS_MAX: u32 = 20;

impl State {
    /// What is wrong with the database, each with whether it is of an index alone; nothing when it is sound. Reads all of it.
    pub fn problems(&self) -> Result<Vec<(String, bool)>, StoreError> {
        let mut problems = Vec::new();
        self.each_row(&format!("pragma integrity_check({PROBLEMS_MAX})"), |row| {
            let text: String = row.get(0)?;
            if text != "ok" {
                let is_of_index =
                    text.contains(" missing from index ") || text.starts_with("wrong # of entries in index ");
                problems.push((text, is_of_index));
            }
            Ok(())
        })?;
        // A damaged page may hide what its rows refer to.
        if problems.is_empty() {
            self.each_row("select \"table\", parent, count(*) from pragma_foreign_key_check group by 1, 2", |row| {
                let (table, parent, rows): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
                problems.push((format!("{rows} rows of `{table}` name rows of `{parent}` that are not there"), false));
                Ok(())
            })?;
        }
        Ok(problems)
    }

    /// Makes all indexes anew from their tables. The lock proves that no run counts on them meanwhile.
    pub fn reindex(&self, _lock: &RunLock) -> Result<(), StoreError> {
        self.write(|db| Ok(db.execute_batch("reindex")?))
    }

    /// Gives versions another fingerprint, so that no run takes them for what it is to make. Their record stays.
    pub fn mark(&self, _lock: &RunLock, versions: &[VersionId], fingerprint: Digest) -> Result<(), StoreError> {
        if versions.is_empty() {
            return Ok(());
        }
        self.write(|db| {
            let mut mark = db.prepare_cached("update versions set fingerprint = ? where id = ?")?;
            for version in versions {
                mark.execute(params![fingerprint.to_string(), version.0])?;
            }
            Ok(())
        })
    }
}
