//! What was measured of versions' rows, and the history that anomaly checks compare with.

use super::{ProfileRecord, State};
use crate::error::StoreError;
use pelton_base::{NodeName, RunId, VersionId};
use rusqlite::{OptionalExtension, params};

impl State {
    /// Records what a run measured of a version that it is about to insert, or that is there; an earlier answer is replaced.
    pub fn record_profiles(
        &self,
        run: &RunId,
        node: &NodeName,
        version: &VersionId,
        at_us: i64,
        profiles: &[ProfileRecord],
    ) -> Result<(), StoreError> {
        if profiles.is_empty() {
            return Ok(());
        }
        self.write_soon(|db| {
            let mut delete =
                db.prepare_cached("delete from profiles where version = ? and statistic = ? and column_name = ?")?;
            let mut insert = db.prepare_cached(
                "insert into profiles (version, node, run, statistic, column_name, value, at_us)
                 values (?, ?, ?, ?, ?, ?, ?)",
            )?;
            for profile in profiles {
                let column = profile.column.as_deref().unwrap_or_default();
                delete.execute(params![version.0, profile.statistic, column])?;
                insert.execute(params![
                    version.0,
                    node.as_str(),
                    run.0,
                    profile.statistic,
                    column,
                    profile.value,
                    at_us
                ])?;
            }
            Ok(())
        })
    }

    /// What was measured of a version, when it was; the value is none when no row has one.
    pub fn profile(
        &self,
        version: &VersionId,
        statistic: &str,
        column: Option<&str>,
    ) -> Result<Option<Option<f64>>, StoreError> {
        self.read(|db| {
            db.prepare_cached("select value from profiles where version = ? and statistic = ? and column_name = ?")?
                .query_row([&version.0, statistic, column.unwrap_or_default()], |row| row.get(0))
                .optional()
        })
    }

    /// A statistic of a node's newest versions beside `current`, oldest first, as `(measured at, value)`.
    ///
    /// Versions of runs to `environment` and to `main` count, except those that a check stopped when they were measured. How many rows
    /// a version has is known of those too that were built before anybody asked.
    pub fn profile_history(
        &self,
        node: &NodeName,
        (statistic, column): (&str, Option<&str>),
        environment: &str,
        current: &VersionId,
        limit: usize,
    ) -> Result<Vec<(i64, f64)>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut history: Vec<(i64, f64)> = self.read(|db| {
            db.prepare_cached(
                "select at_us, value from (
                     select p.at_us, p.value from profiles p join runs r on r.id = p.run
                     where p.node = ?1 and p.statistic = ?2 and p.column_name = ?3 and p.value is not null
                       and p.version <> ?5 and r.environment in (?4, 'main')
                       and not exists (select 1 from checks c
                                       where c.version = p.version and c.run = p.run and c.outcome = 'failed')
                     union all
                     select v.built_at_us, cast(v.rows as real) from versions v join runs r on r.id = v.run
                     where ?2 = 'row_count' and v.node = ?1 and v.kind <> 'model'
                       and v.is_view = 0 and v.id <> ?5 and r.environment in (?4, 'main')
                       and not exists (select 1 from profiles p where p.version = v.id and p.statistic = 'row_count')
                 ) order by at_us desc limit ?6",
            )?
            .query_map(
                params![node.as_str(), statistic, column.unwrap_or_default(), environment, current.0, limit],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?
            .collect()
        })?;
        history.reverse();
        Ok(history)
    }
}
