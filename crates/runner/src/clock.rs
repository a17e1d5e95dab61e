//! Checks whose answer changes with the time alone, asked of every node at every run, whether anything changed or not.
//!
//! A `freshness` rule reads the newest value that was measured when the version was checked, so it costs no scan; it is about the
//! moment, not about the rows, so it never keeps a version from being recorded. Another check that reads the clock is asked of the
//! version's files again.

use crate::checks::{ask_version, on_fail_word, outcome_word};
use crate::context::reports;
use crate::run::Building;
use pelton_base::{Reports, Severity};
use pelton_project::{Body, Check, Node, Rule};
use pelton_quality::{Outcome, judge_freshness, report_freshness, rule_text};
use pelton_store::{CheckRecord, VersionHead};

/// Asks them of the version at which a node stands now. One that stops and is broken is the error: nothing of the node goes into a
/// publication of this run, and nothing that reads it is built.
pub(crate) async fn ask(building: &Building<'_>, node: &Node, head: &VersionHead) -> Result<(), Reports> {
    if matches!(node.body, Body::Model(_)) {
        return Ok(());
    }
    let reads_clock = |check: &&Check| !check.removes_rows() && pelton_quality::reads_clock(&check.rule);
    let (fresh, other): (Vec<Check>, Vec<Check>) = node
        .checks()
        .iter()
        .filter(reads_clock)
        .cloned()
        .partition(|check| matches!(check.rule, Rule::Freshness { .. }));
    if !other.is_empty() {
        let answered = building.ctx.warehouse.state().checks_of_run(&node.name, building.run).map_err(reports)?;
        let is_open = |check: &Check| !answered.iter().any(|answer| answer.name == check.name);
        let open: Vec<Check> = other.into_iter().filter(is_open).collect();
        if !open.is_empty() {
            ask_version(building, node, head, &open).await?;
        }
    }
    for check in &fresh {
        ask_freshness(building, node, head, check).await?;
    }
    Ok(())
}

async fn ask_freshness(building: &Building<'_>, node: &Node, head: &VersionHead, check: &Check) -> Result<(), Reports> {
    let Rule::Freshness { column, .. } = &check.rule else { return Ok(()) };
    let state = building.ctx.warehouse.state();
    let known = || state.profile(&head.id, "newest", Some(column)).map_err(reports);
    let newest = match known()? {
        Some(newest) => newest,
        None => {
            // The version is older than the rule.
            ask_version(building, node, head, std::slice::from_ref(check)).await?;
            known()?.flatten()
        }
    };
    let now_us = building.ctx.now_us();
    let Some(found) = judge_freshness(&check.rule, newest.map(|us| us as i64), now_us) else { return Ok(()) };
    let record = CheckRecord {
        node: node.name.clone(),
        version: Some(head.id.clone()),
        name: check.name.clone(),
        rule: rule_text(&check.rule),
        on_fail: on_fail_word(check),
        outcome: outcome_word(found.outcome),
        failed_rows: u64::from(found.outcome != Outcome::Passed),
        rows: head.rows,
        samples: serde_json::json!([]),
        fact: Some(found.fact.clone()),
        at_us: now_us,
    };
    state.record_checks(building.run, &[record]).map_err(reports)?;
    match report_freshness(node, check, &found) {
        Some(report) if report.severity == Severity::Error => Err(report.into()),
        Some(report) => {
            building.warn(report);
            Ok(())
        }
        None => Ok(()),
    }
}
