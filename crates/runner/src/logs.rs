//! Delta logs: what other programs read of a table is what `main` has published, and nothing else.
//!
//! A build only stages files and records a version. Its log is written when `main` has published that version: not before, so that
//! nobody reads what a later check of the run, a gate or an environment of its own keeps from `main`; and again after a rollback.
//! Why, and what a kill in between leaves, stands in `docs/adr/0024-logs-show-main.md`.

use crate::catalog;
use crate::context::{Context, reports};
use crate::retry::{Attempts, Retried};
use crate::run::Handle;
use crate::verify;
use pelton_base::{NodeName, Report, Reports, RunId, VersionId};
use pelton_query::Commit;
use pelton_store::{SHOWN_ENVIRONMENT, VersionHead};
use std::collections::{BTreeMap, BTreeSet};

/// What became of the logs.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// What was tried again.
    pub(crate) retried: Vec<Retried>,
    /// Why a log still shows the version before.
    pub(crate) said: Reports,
}

/// Has every log show what `main` has published, also what an earlier command published and did not come to show. A log that does
/// already is not opened. `tell` hears of what is tried again.
pub(crate) async fn show(ctx: &Context, run: &RunId, tell: Option<&Handle>) -> Result<Shown, Reports> {
    let mut shown = Shown::default();
    // What is lost cannot be shown to anybody.
    let mut heads = ctx.warehouse.state().unshown().map_err(reports)?;
    heads.retain(|head| !verify::is_lost(head));
    for head in &heads {
        let mut attempts = Attempts::at(ctx, Some(&head.node));
        loop {
            let Err(mut mistake) = commit(ctx, run, &head.node, &head.id).await else { break };
            let Some(again) = attempts.after(std::slice::from_ref(&mistake)) else {
                let kept = format!(
                    "the publication stands; other programs still read the version of `{}` before it",
                    head.node
                );
                mistake.notes.retain(|note| note != "nothing was changed");
                let mistake = mistake.note(kept);
                // A log that cannot be read cannot be added to either; what mends it, the report says already.
                shown.said.push(match mistake.code {
                    "damaged-table" => mistake,
                    _ => mistake.note("the next run writes its Delta log"),
                });
                break;
            };
            if let Some(tell) = tell {
                tell.retrying(&again);
            }
            again.wait().await;
            shown.retried.push(again);
        }
    }
    Ok(shown)
}

/// Has the log of a node show a version, and records that it does. A commit states all files, so it may be repeated.
pub(crate) async fn commit(ctx: &Context, run: &RunId, node: &NodeName, id: &VersionId) -> Result<(), Report> {
    let version = catalog::load(ctx, id)?;
    let info = vec![("run".to_string(), run.0.clone()), ("version".to_string(), id.0.clone())];
    let commit = Commit { schema: version.schema(), files: version.files.to_vec(), info };
    let committed = ctx.engine.commit(&ctx.warehouse.table(node), commit).await;
    let delta_version = committed.map_err(|error| error.report(&format!("the Delta log of `{node}`")))?;
    ctx.warehouse.state().set_delta_version(id, delta_version).map_err(|error| error.report())
}

/// The versions that logs are to show, by node.
pub(crate) fn wanted(ctx: &Context) -> Result<BTreeMap<NodeName, VersionHead>, Reports> {
    let state = ctx.warehouse.state();
    let unshown = state.unshown().map_err(reports)?;
    let unshown: BTreeSet<&VersionId> = unshown.iter().map(|head| &head.id).collect();
    let heads = state.heads(SHOWN_ENVIRONMENT).map_err(reports)?.into_iter();
    // Views and models have no rows of their own, and no log.
    let has_log = |head: &VersionHead| head.delta_version.is_some() || unshown.contains(&head.id);
    Ok(heads.filter(has_log).map(|head| (head.node.clone(), head)).collect())
}
