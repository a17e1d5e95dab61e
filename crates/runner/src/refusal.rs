//! A refusal goes on record as what was done does: as a run that did nothing, with a decision for each node that it is about.
//!
//! Who was refused is told in any case. The record is written without the run lock, in one short transaction, and given up where
//! the state database cannot be written at once: somebody is just publishing, and a refusal is to hold up nobody.

use crate::context::Context;
use pelton_base::{NodeName, Report, Reports, RunId};
use pelton_store::{Action, Decision, RunLock, RunRecord};
use std::time::Duration;

/// For how long a refusal waits for the state database: other transactions take milliseconds, and one that takes longer may never end.
const PATIENCE: Duration = Duration::from_millis(200);

/// How many nodes of a refusal are written down: a project of ten thousand tables can have a mistake in each.
const NODES_MAX: usize = 1000;

/// Whose command it was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct By<'a> {
    /// The environment that it would have changed.
    pub(crate) environment: &'a str,
    /// As it was typed.
    pub(crate) command: &'a str,
}

/// Takes the run lock; where another run has it, that goes on record.
pub(crate) fn lock(ctx: &Context, by: By<'_>) -> Result<RunLock, Reports> {
    ctx.warehouse.state().lock_run().map_err(|error| match error.report() {
        report if report.code == "run-locked" => noted(ctx, by, report.into(), Vec::new()),
        report => report.into(),
    })
}

/// Puts a refusal on record and gives it back. `about` has the nodes that it is about, each with the reason; without any, the nodes are
/// those in whose files the mistakes are, and what is in none of them is about the run as a whole.
pub(crate) fn noted(ctx: &Context, by: By<'_>, refused: Reports, about: Vec<(NodeName, String)>) -> Reports {
    let Some(first) = refused.0.iter().find(|report| report.is_error()) else { return refused };
    let code = first.code;
    let decision = |node, reason, code: &str| {
        let detail = serde_json::json!({ "summary": code });
        Decision { node, action: Action::Refused, reason, detail }
    };
    let mut decisions: Vec<Decision> = about.into_iter().map(|(node, reason)| decision(node, reason, code)).collect();
    if decisions.is_empty() {
        let mistakes = refused.0.iter().filter(|report| report.is_error());
        decisions = mistakes.map(|said| decision(node_of(ctx, said), said.message.clone(), said.code)).collect();
    }
    decisions.truncate(NODES_MAX);
    let record = RunRecord {
        id: RunId::fresh(ctx.now_us()),
        environment: by.environment.to_string(),
        started_at_us: ctx.now_us(),
        command: by.command.to_string(),
        pid: std::process::id(),
    };
    let summary = serde_json::json!({ "refused": code, "reports": refused });
    // Nobody is helped by a second report about the record of the first.
    let _ = ctx.warehouse.state().record_refusal(&record, &decisions, &summary, PATIENCE);
    refused
}

/// The node in whose file a mistake is; of no name when it is in none.
fn node_of(ctx: &Context, said: &Report) -> NodeName {
    let file = said.at.as_ref().map(|at| at.file.as_str());
    let node = ctx.project.nodes.values().find(|node| Some(node.file.as_str()) == file);
    node.map_or_else(|| NodeName::new(""), |node| node.name.clone())
}
