//! Going on with a run that failed or died: which one it is, what it was about, and what it has built already.
//!
//! A run writes down what was selected when it begins, so that one that died can be told from its record alone. Nothing else is needed:
//! every version that it recorded is found by its fingerprint ([`crate::plan`]), with or without `--resume`. What resuming adds is that
//! the same nodes are selected, and that somebody who expects to go on is told when there is nothing to go on with.

use crate::context::{Context, reports};
use crate::outcome::RunOptions;
use crate::refusal::{self, By};
use pelton_base::{NodeName, Report, Reports, RunId, format_time_us};
use pelton_store::RunEntry;
use serde::Serialize;
use serde_json::{Value, json};

/// How many of the newest runs are looked through.
const RUNS_MAX: usize = 1000;

/// A run that is gone on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resumed {
    /// The run.
    pub run: RunId,
    /// `failed`, or `died`: killed, interrupted, or cut off with its machine.
    pub ended: &'static str,
    /// When it began, RFC 3339.
    pub started_at: String,
    /// What it recorded before its end, in order; these versions are taken where they still fit.
    pub built: Vec<NodeName>,
}

/// What is written down of a run when it begins.
pub(crate) fn noted(options: &RunOptions) -> Value {
    json!({ "selected": options.select, "roll_forward": options.roll_forward, "replay": options.replay.is_some(), "backfill": options.backfill.is_some() })
}

/// The options of the environment's last run, when it failed or died.
pub fn resume(ctx: &Context, options: RunOptions) -> Result<RunOptions, Reports> {
    let state = ctx.warehouse.state();
    // A run that is under way is refused here by its lock; what is not locked and has no end is dead.
    let by = By { environment: &options.environment, command: &options.command };
    drop(refusal::lock(ctx, by)?);
    let environment = &options.environment;
    let nothing = |message: String| {
        let run = match environment.as_str() {
            "main" => "pelton run".to_string(),
            _ => format!("pelton run --env {environment}"),
        };
        Report::error("nothing-to-resume", message).hint(run)
    };
    let runs = state.runs(RUNS_MAX).map_err(reports)?;
    let is_run = |entry: &&RunEntry| entry.begun.environment == *environment && entry.summary.get("selected").is_some();
    let Some(last) = runs.iter().find(is_run) else {
        return Err(nothing(format!("environment `{environment}` has no run to resume")).into());
    };
    let ended = match last.outcome.as_deref() {
        None => "died",
        Some("failed") => "failed",
        Some(_) if has_some(last, "failed") || has_some(last, "withheld") => "failed",
        Some(_) => {
            let message = format!("the last run of environment `{environment}` did all that it was to do");
            let mut report = nothing(message).note(format!("it was run {}", last.begun.id));
            if let Some(publication) = last.publication {
                report = report.note(format!("it made publication {publication}"));
            }
            return Err(report.into());
        }
    };
    let flag = |name: &str| last.summary.get(name).and_then(Value::as_bool).unwrap_or(false);
    if flag("backfill") {
        let message = format!("the last run of environment `{environment}` was a backfill, which goes on by itself");
        let report = Report::error("nothing-to-resume", message).note(format!("it was run {}", last.begun.id));
        return Err(report.note("given again, it makes what is missing").hint(&last.begun.command).into());
    }
    if flag("replay") {
        let message =
            format!("the last run of environment `{environment}` replayed a quarantine, which is not resumed");
        let report = Report::error("nothing-to-resume", message).note(format!("it was run {}", last.begun.id));
        return Err(report
            .note("replaying again takes in what is missing, and nothing twice")
            .hint(&last.begun.command)
            .into());
    }
    let select: Vec<String> = last
        .summary
        .get("selected")
        .and_then(|selected| serde_json::from_value(selected.clone()).ok())
        .unwrap_or_default();
    let resumed = Resumed {
        run: last.begun.id.clone(),
        ended,
        started_at: format_time_us(last.begun.started_at_us),
        built: state.nodes_built_in(&last.begun.id).map_err(reports)?,
    };
    let roll_forward = options.roll_forward || flag("roll_forward");
    Ok(RunOptions { select, roll_forward, resumes: Some(resumed), ..options })
}

fn has_some(entry: &RunEntry, what: &str) -> bool {
    entry.summary.get(what).and_then(Value::as_array).is_some_and(|names| !names.is_empty())
}
