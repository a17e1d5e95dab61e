//! What is kept and for whom, and forgetting what nobody needs.

use super::versions::{HEAD, head};
use super::{RunLock, State, VersionHead, VersionLinks, VersionRange, blob_at, json_at};
use crate::error::StoreError;
use pelton_base::{Digest, NodeName, VersionId};
use rusqlite::params;
use serde_json::Value;

impl State {
    /// Which version every node of every environment stood at, from which publication until which.
    pub fn version_ranges(&self) -> Result<Vec<VersionRange>, StoreError> {
        self.read(|db| {
            db.prepare_cached(
                "select environment, version, since, until from environment_nodes order by environment, since, node",
            )?
            .query_map([], |row| {
                Ok(VersionRange {
                    environment: row.get(0)?,
                    version: VersionId(row.get(1)?),
                    since: row.get(2)?,
                    until: row.get(3)?,
                })
            })?
            .collect()
        })
    }

    /// Every version, oldest first, with what it was built from and the artifacts that it names.
    pub fn version_links(&self) -> Result<Vec<VersionLinks>, StoreError> {
        self.read(|db| {
            // One read transaction: a version of another process must not come between the two queries.
            let db = db.unchecked_transaction()?;
            let heads: Vec<VersionHead> =
                db.prepare_cached(&format!("{HEAD} order by v.seq"))?.query_map([], head)?.collect::<Result<_, _>>()?;
            let mut bodies = db.prepare_cached("select inputs, detail from version_bodies where version = ?")?;
            let link = |head: VersionHead| {
                bodies.query_row([&head.id.0], |row| {
                    let inputs: Vec<(NodeName, VersionId)> = json_at(row, 0)?;
                    let mut artifacts = Vec::new();
                    digests(&json_at(row, 1)?, &mut artifacts);
                    Ok(VersionLinks { head: head.clone(), inputs, artifacts })
                })
            };
            heads.into_iter().map(link).collect()
        })
    }

    /// Hands the quarantine files that a source's version has to `take`, beside those that its record names.
    pub fn each_quarantine_file(&self, mut take: impl FnMut(&VersionId, &str)) -> Result<(), StoreError> {
        self.each_row("select version, quarantine from version_bodies", |row| {
            let files: Vec<pelton_query::DataFile> = blob_at(row, 1)?;
            let version = VersionId(row.get(0)?);
            files.iter().for_each(|file| take(&version, &file.path));
            Ok(())
        })
    }

    /// Forgets publications' maps and versions, in one transaction; what a run did, checked and measured stays on record.
    ///
    /// A version that a publication still needs is refused by the database, and then nothing is forgotten. The lock proves that no
    /// run counts on any of them.
    pub fn forget(
        &self,
        _lock: &RunLock,
        at_us: i64,
        publications: &[i64],
        versions: &[VersionId],
    ) -> Result<(), StoreError> {
        self.write(|db| {
            let mut mark = db.prepare_cached("update publications set removed_at_us = ? where id = ?")?;
            for id in publications {
                mark.execute(params![at_us, id])?;
            }
            db.execute(
                "delete from environment_nodes as e where not exists
                 (select 1 from publications p where p.environment = e.environment and p.removed_at_us is null
                  and p.id >= e.since and (e.until is null or p.id < e.until))",
                [],
            )?;
            for table in ["version_bodies", "source_files", "check_passes"] {
                let mut delete = db.prepare_cached(&format!("delete from {table} where version = ?"))?;
                for version in versions {
                    delete.execute([&version.0])?;
                }
            }
            let mut delete = db.prepare_cached("delete from versions where id = ?")?;
            for version in versions {
                delete.execute([&version.0])?;
            }
            Ok(())
        })
    }
}

/// Digests in a version's detail that are no artifacts: of how files are read, and of what a model was trained on.
const NO_ARTIFACTS: [&str; 2] = ["settings", "training"];

/// Every other digest that a version's detail names anywhere: its artifacts, whatever they are called.
fn digests(value: &Value, found: &mut Vec<Digest>) {
    match value {
        Value::String(text) => found.extend(Digest::parse(text)),
        Value::Array(items) => items.iter().for_each(|item| digests(item, found)),
        Value::Object(fields) => {
            let named = fields.iter().filter(|(name, _)| !NO_ARTIFACTS.contains(&name.as_str()));
            named.for_each(|(_, item)| digests(item, found));
        }
        _ => {}
    }
}
