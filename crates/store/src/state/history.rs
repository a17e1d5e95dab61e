//! What runs decided, checked and measured.

use super::{
    Action, CheckOutcome, CheckRecord, Decision, MetricRecord, PastDecision, State, count, count_at, digest_at, json,
    json_at, parsed,
};
use crate::error::StoreError;
use pelton_base::{Digest, NodeName, RunId, VersionId};
use rusqlite::{Connection, Row, params};
use std::collections::BTreeSet;

impl State {
    /// Records what a run did with nodes, after what it recorded before.
    pub fn record_decisions(&self, run: &RunId, decisions: &[Decision]) -> Result<(), StoreError> {
        self.write_soon(|db| Ok(insert_decisions(db, run, decisions)?))
    }

    /// What a run did, in the order it was recorded.
    pub fn decisions(&self, run: &RunId) -> Result<Vec<Decision>, StoreError> {
        self.read(|db| {
            db.prepare_cached("select node, action, reason, detail from decisions where run = ? order by position")?
                .query_map([&run.0], decision)?
                .collect()
        })
    }

    /// What the newest runs did with a node, newest first.
    pub fn last_decisions(&self, node: &NodeName, limit: usize) -> Result<Vec<PastDecision>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|db| {
            db.prepare_cached(
                "select d.node, d.action, d.reason, d.detail, d.run, r.started_at_us
                 from decisions d join runs r on r.id = d.run
                 where d.node = ? order by r.seq desc, d.position desc limit ?",
            )?
            .query_map(params![node.as_str(), limit], |row| {
                Ok(PastDecision { run: RunId(row.get(4)?), at_us: row.get(5)?, decision: decision(row)? })
            })?
            .collect()
        })
    }

    /// Records results of checks.
    pub fn record_checks(&self, run: &RunId, checks: &[CheckRecord]) -> Result<(), StoreError> {
        self.write_soon(|db| {
            let mut insert = db.prepare_cached(
                "insert into checks (run, node, version, name, rule, on_fail, outcome, failed_rows, rows, samples, fact, at_us)
                 values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?;
            for check in checks {
                insert.execute(params![
                    run.0,
                    check.node.as_str(),
                    check.version.as_ref().map(|version| &version.0),
                    check.name,
                    check.rule,
                    check.on_fail,
                    check.outcome.as_str(),
                    count(check.failed_rows),
                    count(check.rows),
                    json(&check.samples),
                    check.fact,
                    check.at_us,
                ])?;
            }
            Ok(())
        })
    }

    /// The results of a version's checks, in the order they were recorded.
    pub fn checks_of(&self, version: &VersionId) -> Result<Vec<CheckRecord>, StoreError> {
        self.read(|db| {
            db.prepare_cached(&format!("{CHECK} where version = ? order by seq"))?
                .query_map([&version.0], check)?
                .collect()
        })
    }

    /// The results of a node's checks in a run, in the order they were recorded.
    pub fn checks_of_run(&self, node: &NodeName, run: &RunId) -> Result<Vec<CheckRecord>, StoreError> {
        self.read(|db| {
            db.prepare_cached(&format!("{CHECK} where node = ? and run = ? order by seq"))?
                .query_map([node.as_str(), &run.0], check)?
                .collect()
        })
    }

    /// Records checks, by their digests, that a version was asked and need not be asked again.
    pub fn record_check_passes(
        &self,
        run: &RunId,
        version: &VersionId,
        checks: &[Digest],
        at_us: i64,
    ) -> Result<(), StoreError> {
        if checks.is_empty() {
            return Ok(());
        }
        self.write_soon(|db| {
            let mut insert = db.prepare_cached(
                "insert or ignore into check_passes (version, digest, run, at_us) values (?, ?, ?, ?)",
            )?;
            for check in checks {
                insert.execute(params![version.0, check.to_string(), run.0, at_us])?;
            }
            Ok(())
        })
    }

    /// The checks that a version need not be asked again.
    pub fn check_passes(&self, version: &VersionId) -> Result<BTreeSet<Digest>, StoreError> {
        self.read(|db| {
            db.prepare_cached("select digest from check_passes where version = ?")?
                .query_map([&version.0], |row| digest_at(row, 0))?
                .collect()
        })
    }

    /// Records metrics of models.
    pub fn record_metrics(&self, metrics: &[MetricRecord]) -> Result<(), StoreError> {
        self.write_soon(|db| {
            let mut insert = db.prepare_cached(
                "insert into metrics (run, node, version, learner, part, metric, value) values (?, ?, ?, ?, ?, ?, ?)",
            )?;
            for metric in metrics {
                insert.execute(params![
                    metric.run.0,
                    metric.node.as_str(),
                    metric.version.0,
                    metric.learner,
                    metric.part,
                    metric.metric,
                    // SQLite stores what is not a number as null.
                    metric.value,
                ])?;
            }
            Ok(())
        })
    }

    /// The metrics of a model's version, in the order they were recorded.
    pub fn metrics_of(&self, version: &VersionId) -> Result<Vec<MetricRecord>, StoreError> {
        self.read(|db| {
            db.prepare_cached(
                "select run, node, version, learner, part, metric, value from metrics where version = ? order by seq",
            )?
            .query_map([&version.0], |row| {
                Ok(MetricRecord {
                    run: RunId(row.get(0)?),
                    node: NodeName::new(row.get_ref(1)?.as_str()?),
                    version: VersionId(row.get(2)?),
                    learner: row.get(3)?,
                    part: row.get(4)?,
                    metric: row.get(5)?,
                    value: row.get::<_, Option<f64>>(6)?.unwrap_or(f64::NAN),
                })
            })?
            .collect()
        })
    }
}

pub(super) fn insert_decisions(db: &Connection, run: &RunId, decisions: &[Decision]) -> rusqlite::Result<()> {
    let next: i64 = db
        .prepare_cached("select coalesce(max(position) + 1, 0) from decisions where run = ?")?
        .query_row([&run.0], |row| row.get(0))?;
    let mut insert = db.prepare_cached(
        "insert into decisions (run, position, node, action, reason, detail) values (?, ?, ?, ?, ?, ?)",
    )?;
    for (position, decision) in (next..).zip(decisions) {
        insert.execute(params![
            run.0,
            position,
            decision.node.as_str(),
            decision.action.as_str(),
            decision.reason,
            json(&decision.detail),
        ])?;
    }
    Ok(())
}

fn decision(row: &Row<'_>) -> rusqlite::Result<Decision> {
    Ok(Decision {
        node: NodeName::new(row.get_ref(0)?.as_str()?),
        action: parsed(row, 1, Action::parse)?,
        reason: row.get(2)?,
        detail: json_at(row, 3)?,
    })
}

const CHECK: &str =
    "select node, version, name, rule, on_fail, outcome, failed_rows, rows, samples, fact, at_us from checks";

fn check(row: &Row<'_>) -> rusqlite::Result<CheckRecord> {
    Ok(CheckRecord {
        node: NodeName::new(row.get_ref(0)?.as_str()?),
        version: row.get::<_, Option<String>>(1)?.map(VersionId),
        name: row.get(2)?,
        rule: row.get(3)?,
        on_fail: row.get(4)?,
        outcome: parsed(row, 5, CheckOutcome::parse)?,
        failed_rows: count_at(row, 6)?,
        rows: count_at(row, 7)?,
        samples: json_at(row, 8)?,
        fact: row.get(9)?,
        at_us: row.get(10)?,
    })
}
