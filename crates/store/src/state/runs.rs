//! Runs, and the files they have under way.

use super::history::insert_decisions;
use super::versions::{HEAD, head};
use super::{
    Decision, Failure, RunEntry, RunLock, RunRecord, StaleFiles, State, VersionHead, VersionRecord, json, json_at,
};
use crate::error::StoreError;
use pelton_base::{NodeName, RunId, VersionId};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

impl State {
    /// Records that a run begins.
    pub fn begin_run(&self, run: &RunRecord) -> Result<(), StoreError> {
        self.write_soon(|db| Ok(begin(db, run)?))
    }

    /// Records what a run is about, until [`State::finish_run`] records how it ended.
    pub fn note_run(&self, run: &RunId, about: &Value) -> Result<(), StoreError> {
        self.write_soon(|db| Ok(note(db, run, about)?))
    }

    /// Records a command that was refused before it began anything: a run that did nothing, and a decision for each node that the
    /// refusal is about. Waits for other writers no longer than `patience`, because whoever was refused is told anyway.
    pub fn record_refusal(
        &self,
        run: &RunRecord,
        decisions: &[Decision],
        summary: &Value,
        patience: Duration,
    ) -> Result<(), StoreError> {
        self.write_within(patience, |db| {
            begin(db, run)?;
            insert_decisions(db, &run.id, decisions)?;
            finish(db, &run.id, run.started_at_us, "nothing", None)?;
            Ok(note(db, &run.id, summary)?)
        })
    }

    /// The nodes of which a run recorded a version, in order.
    pub fn nodes_built_in(&self, run: &RunId) -> Result<Vec<NodeName>, StoreError> {
        self.read(|db| {
            db.prepare_cached("select node from versions where run = ? order by seq")?
                .query_map([&run.0], |row| Ok(NodeName::new(row.get_ref(0)?.as_str()?)))?
                .collect()
        })
    }

    /// The versions that a run recorded, by node; of a node with several, the newest.
    pub fn versions_built_in(&self, run: &RunId) -> Result<BTreeMap<NodeName, VersionId>, StoreError> {
        self.read(|db| {
            db.prepare_cached("select node, id from versions where run = ? order by seq")?
                .query_map([&run.0], |row| Ok((NodeName::new(row.get_ref(0)?.as_str()?), VersionId(row.get(1)?))))?
                .collect()
        })
    }

    /// The versions that runs of an environment recorded since one of its runs last ended well, oldest first: what is newer than its
    /// publication and not in it.
    pub fn versions_of_failed_runs(&self, environment: &str) -> Result<Vec<VersionHead>, StoreError> {
        self.read(|db| {
            db.prepare_cached(&format!(
                "{HEAD} join runs r on r.id = v.run
                 where r.environment = ?1 and r.seq > coalesce(
                     (select max(seq) from runs where environment = ?1 and outcome in ('published', 'nothing')), 0)
                 order by v.seq"
            ))?
            .query_map([environment], head)?
            .collect()
        })
    }

    /// Records how a run ended: `published`, `nothing`, `failed` or `interrupted`. May be called after a publication, which
    /// has recorded `published` already, to add the summary.
    pub fn finish_run(
        &self,
        run: &RunId,
        at_us: i64,
        outcome: &str,
        publication: Option<i64>,
        summary: &Value,
    ) -> Result<(), StoreError> {
        self.write(|db| {
            finish(db, run, at_us, outcome, publication)?;
            Ok(note(db, run, summary)?)
        })
    }

    /// A run.
    pub fn run(&self, run: &RunId) -> Result<Option<RunEntry>, StoreError> {
        self.read(|db| {
            db.prepare_cached(&format!("{RUN_COLUMNS} where id = ?"))?.query_row([&run.0], run_entry).optional()
        })
    }

    /// The newest runs, newest first.
    pub fn runs(&self, limit: usize) -> Result<Vec<RunEntry>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|db| {
            db.prepare_cached(&format!("{RUN_COLUMNS} order by seq desc limit ?"))?
                .query_map([limit], run_entry)?
                .collect()
        })
    }

    /// Records, before the first of them is written, that a run writes files to `folder` (relative to the warehouse) whose
    /// names begin with `prefix`. Inserting the version that owns them settles it. Free when a shorter prefix is noted already.
    pub fn note_staging(&self, run: &RunId, folder: &str, prefix: &str) -> Result<(), StoreError> {
        let covered = self.read(|db| {
            db.prepare_cached(
                "select 1 from staging where run = ? and folder = ? and substr(?, 1, length(prefix)) = prefix",
            )?
            .exists([&run.0, folder, prefix])
        })?;
        if covered {
            return Ok(());
        }
        self.write_soon(|db| {
            db.prepare_cached("insert or ignore into staging (run, folder, prefix) values (?, ?, ?)")?
                .execute([&run.0, folder, prefix])?;
            Ok(())
        })
    }

    /// Records that a run has nothing under way any more.
    pub fn clear_staging(&self, run: &RunId) -> Result<(), StoreError> {
        self.write_soon(|db| {
            db.prepare_cached("delete from staging where run = ?")?.execute([&run.0])?;
            Ok(())
        })
    }

    /// What runs other than `current` left under way. The lock proves that none of them runs any more.
    ///
    /// The files belong to no version and may be deleted; then [`State::clear_staging`].
    pub fn stale_staging(&self, _lock: &RunLock, current: &RunId) -> Result<Vec<StaleFiles>, StoreError> {
        self.read(|db| {
            db.prepare_cached("select run, folder, prefix from staging where run <> ? order by 1, 2, 3")?
                .query_map([&current.0], |row| {
                    Ok(StaleFiles { run: RunId(row.get(0)?), folder: row.get(1)?, prefix: row.get(2)? })
                })?
                .collect()
        })
    }
}

fn begin(db: &Connection, run: &RunRecord) -> rusqlite::Result<()> {
    db.prepare_cached("insert into runs (id, environment, command, pid, started_at_us) values (?, ?, ?, ?, ?)")?
        .execute(params![run.id.0, run.environment, run.command, run.pid, run.started_at_us])?;
    Ok(())
}

fn note(db: &Connection, run: &RunId, summary: &Value) -> rusqlite::Result<()> {
    db.prepare_cached("update runs set summary = ? where id = ?")?.execute(params![json(summary), run.0])?;
    Ok(())
}

/// Forgets what was staged for a version, in the transaction that inserts it.
pub(super) fn settle_staging(db: &Connection, version: &VersionRecord) -> rusqlite::Result<()> {
    let table = format!("tables/{}", version.node);
    let staged: Vec<(String, String)> = db
        .prepare_cached("select folder, prefix from staging where run = ?")?
        .query_map([&version.run.0], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (folder, prefix) in staged {
        let files = match folder.as_str() {
            folder if folder == table => version.files.as_slice(),
            "quarantine" => version.quarantine.as_slice(),
            _ => continue,
        };
        if files.iter().any(|file| file.path.starts_with(&prefix)) {
            db.prepare_cached("delete from staging where run = ? and folder = ? and prefix = ?")?.execute([
                &version.run.0,
                &folder,
                &prefix,
            ])?;
        }
    }
    Ok(())
}

/// Writes a run's outcome.
pub(super) fn finish(
    db: &Connection,
    run: &RunId,
    at_us: i64,
    outcome: &str,
    publication: Option<i64>,
) -> Result<(), Failure> {
    let changed = db
        .prepare_cached(
            "update runs set finished_at_us = ?, outcome = ?, publication = coalesce(?, publication) where id = ?",
        )?
        .execute(params![at_us, outcome, publication, run.0])?;
    if changed == 0 { Err(StoreError::UnknownRun { run: run.0.clone() }.into()) } else { Ok(()) }
}

const RUN_COLUMNS: &str = "select id, environment, started_at_us, command, pid, finished_at_us, outcome, publication, \
                           summary from runs";

fn run_entry(row: &Row<'_>) -> rusqlite::Result<RunEntry> {
    Ok(RunEntry {
        begun: RunRecord {
            id: RunId(row.get(0)?),
            environment: row.get(1)?,
            started_at_us: row.get(2)?,
            command: row.get(3)?,
            pid: row.get(4)?,
        },
        finished_at_us: row.get(5)?,
        outcome: row.get(6)?,
        publication: row.get(7)?,
        summary: json_at(row, 8)?,
    })
}
