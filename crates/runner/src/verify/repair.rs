//! Repairs: each makes something anew from what is recorded beside it, or leaves it to the next run; none of them guesses.

use super::{Became, LOST, Remedy, Verified, VerifyOptions};
use crate::context::{Context, reports};
use crate::{logs, serving};
use pelton_base::fail::{self, Point};
use pelton_base::{NodeName, Report, Reports, RunId, VersionId};
use pelton_query::QueryError;
use pelton_store::{RunLock, RunRecord, VersionHead, VersionLinks};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// How many logs that could not be read a table's folder may hold beside each other.
const ASIDE_MAX: u32 = 100;

/// Repairs findings in an order in which a later one can count on those before it, and records that as a run.
pub(super) async fn repair(
    ctx: &Context,
    options: &VerifyOptions,
    lock: &RunLock,
    links: &[VersionLinks],
    verified: &mut Verified,
) -> Result<(), Reports> {
    let state = ctx.warehouse.state();
    // What the state database says is what everything else is repaired by.
    if verified.findings.iter().any(|finding| finding.remedy == Remedy::Reindex) {
        state.reindex(lock).map_err(reports)?;
        let is_sound = state.problems().map_err(reports)?.is_empty();
        settle(verified, Remedy::Reindex, |_, _| if is_sound { Became::Repaired } else { Became::Left });
    }
    let is_damaged = |finding: &super::Finding| finding.what == "state" && finding.became != Became::Repaired;
    if verified.findings.iter().any(is_damaged) {
        for finding in &mut verified.findings {
            finding.became = if finding.became == Became::Repaired { Became::Repaired } else { Became::Left };
        }
        return Ok(());
    }
    let run = begin(ctx, options)?;
    let lost: BTreeSet<VersionId> = verified
        .findings
        .iter()
        .filter(|finding| finding.remedy == Remedy::Rebuild)
        .filter_map(|finding| finding.version.clone())
        .collect();
    state.mark(lock, &lost.iter().cloned().collect::<Vec<_>>(), LOST).map_err(reports)?;
    settle(verified, Remedy::Rebuild, |_, _| Became::Marked);

    let wanted = logs::wanted(ctx)?;
    for at in 0..verified.findings.len() {
        let finding = &verified.findings[at];
        let (Remedy::Commit, Some(node)) = (finding.remedy, finding.node.clone()) else { continue };
        verified.findings[at].became = match commit(ctx, &run, &node, links, (&wanted, &lost)).await {
            Ok(became) => became,
            Err(report) => {
                verified.reports.push(report);
                Became::Left
            }
        };
    }
    online(ctx, verified, &lost).await?;
    settle(verified, Remedy::Restore, |_, _| Became::Left);
    verified.run = Some(run.clone());
    let summary = serde_json::to_value(&*verified)
        .map_err(|error| Report::error("internal", format!("the outcome cannot be written: {error}")))?;
    state.finish_run(&run, ctx.now_us(), "nothing", None, &summary).map_err(reports)?;
    Ok(())
}

fn begin(ctx: &Context, options: &VerifyOptions) -> Result<RunId, Reports> {
    let id = RunId::fresh(ctx.now_us());
    let record = RunRecord {
        id: id.clone(),
        environment: options.environment.clone(),
        started_at_us: ctx.now_us(),
        command: options.command.clone(),
        pid: std::process::id(),
    };
    ctx.warehouse.state().begin_run(&record).map_err(reports)?;
    Ok(id)
}

/// Says what became of the findings with a remedy.
fn settle(verified: &mut Verified, remedy: Remedy, became: impl Fn(Option<&NodeName>, Option<&VersionId>) -> Became) {
    for finding in verified.findings.iter_mut().filter(|finding| finding.remedy == remedy) {
        finding.became = became(finding.node.as_ref(), finding.version.as_ref());
    }
}

/// Has the log of a table show the version that `main` has published, else the newest that is whole. Where none is, the run that builds
/// again what `main` has lost writes the log.
async fn commit(
    ctx: &Context,
    run: &RunId,
    node: &NodeName,
    links: &[VersionLinks],
    (wanted, lost): (&BTreeMap<NodeName, VersionHead>, &BTreeSet<VersionId>),
) -> Result<Became, Report> {
    let whole = |id: &&VersionId| !lost.contains(*id);
    let newest = links.iter().rev().filter(|link| link.head.node == *node && link.head.delta_version.is_some());
    let chosen =
        wanted.get(node).map(|head| &head.id).filter(whole).or_else(|| newest.map(|link| &link.head.id).find(whole));
    if chosen.is_none() && !wanted.contains_key(node) {
        return Ok(Became::Left);
    }
    if let Err(QueryError::Damaged { .. }) = ctx.engine.files(&ctx.warehouse.table(node), None).await {
        put_aside(ctx.warehouse.table_dir(node).join("_delta_log"))?;
    }
    let Some(id) = chosen else { return Ok(Became::Marked) };
    logs::commit(ctx, run, node, id).await?;
    Ok(Became::Repaired)
}

/// Renames a log that cannot be read, for somebody who may want to look at it.
fn put_aside(log: PathBuf) -> Result<(), Report> {
    let name = |number: u32| log.with_file_name(format!("_delta_log.damaged-{number}"));
    let free = (1..=ASIDE_MAX).map(name).find(|path| !path.exists());
    let unreadable = |reason: String| {
        let message = format!("cannot put `{}` aside", log.display());
        Report::error("unreadable-file", message).note(format!("the reason: {reason}"))
    };
    let Some(aside) = free else { return Err(unreadable(format!("{ASIDE_MAX} others lie beside it"))) };
    fail::before(Point::RepairAside)
        .and_then(|()| std::fs::rename(&log, aside))
        .map_err(|error| unreadable(error.to_string()))
}

/// Makes online stores anew whose tables are whole; the others are made by the run that builds these again.
async fn online(ctx: &Context, verified: &mut Verified, lost: &BTreeSet<VersionId>) -> Result<(), Reports> {
    let mut is_open = false;
    for finding in verified.findings.iter_mut().filter(|finding| finding.remedy == Remedy::Build) {
        let is_lost = finding.version.as_ref().is_some_and(|version| lost.contains(version));
        finding.became = if is_lost { Became::Marked } else { Became::Left };
        if !is_lost {
            is_open = true;
            let path = ctx.warehouse.root().join(&finding.path);
            match fail::before(Point::RepairDelete).and_then(|()| std::fs::remove_file(path)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    let message = format!("cannot delete `{}`", finding.path);
                    verified
                        .reports
                        .push(Report::error("unreadable-file", message).note(format!("the reason: {error}")));
                }
                _ => {}
            }
        }
    }
    if !is_open {
        return Ok(());
    }
    let state = ctx.warehouse.state();
    for environment in state.environments().map_err(reports)? {
        let Some(current) = state.current(&environment).map_err(reports)? else { continue };
        let built = match serving::packages(ctx, &current.nodes) {
            Ok(packages) => serving::build_online(ctx, &current.nodes, packages).await,
            Err(said) => Err(said),
        };
        if let Err(said) = built {
            verified.reports.extend(said);
        }
    }
    for finding in verified.findings.iter_mut().filter(|finding| finding.remedy == Remedy::Build) {
        if finding.became == Became::Left && ctx.warehouse.root().join(&finding.path).exists() {
            finding.became = Became::Repaired;
        }
    }
    Ok(())
}
