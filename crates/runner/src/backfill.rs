//! `backfill`: an interval table gets times that lie before its `start`, some of them at a time. What is built at a time is a version of its
//! own, so a backfill that is stopped goes on where it was; only the last one is published.

use crate::context::Context;
use crate::outcome::RunOptions;
use crate::run::Building;
use crate::{fingerprint, increment, succession, table};
use pelton_base::{Grain, NodeName, Report, Reports, format_time_us};
use pelton_project::{Body, Build, Node, Table};
use pelton_store::{VersionHead, VersionRecord};

/// How many parts a backfill has at most.
const PARTS_MAX: i64 = 12;

/// How many parts are built at the same time, at most: what is lost when a backfill is stopped is as many of them.
const AT_ONCE_MAX: usize = 4;

/// Which times an interval table is to get.
#[derive(Debug, Clone)]
pub struct Backfill {
    /// The table.
    pub node: NodeName,
    /// The first microsecond, since the epoch.
    pub from_us: i64,
    /// The microsecond after the last.
    pub to_us: i64,
}

/// What to run to backfill a table: the table, and all that reads it.
pub fn backfill(ctx: &Context, options: RunOptions, backfill: Backfill) -> Result<RunOptions, Reports> {
    let name = &backfill.node;
    let node = ctx.project.known(name.as_str())?;
    match &node.body {
        Body::Table(table) if table.build == Build::Interval => {}
        _ => {
            let report = Report::error("wrong-kind", format!("`{name}` has no intervals that could be backfilled"));
            return Err(report.at(node.place()).note("a table built `interval` has some").into());
        }
    }
    if backfill.from_us >= backfill.to_us {
        let (from, to) = (format_time_us(backfill.from_us), format_time_us(backfill.to_us));
        return Err(Report::error("invalid-argument", format!("`--from {from}` is not before `--to {to}`")).into());
    }
    Ok(RunOptions { select: vec![format!("{name}+")], backfill: Some(backfill), ..options })
}

/// Builds the parts that are not there yet; gives the last version, and what was done, or why nothing was.
pub(crate) async fn build(
    building: &Building<'_>,
    (node, table): (&Node, &Table),
    published: Option<&VersionHead>,
    backfill: &Backfill,
) -> Result<(Option<VersionRecord>, String), Reports> {
    let ctx = building.ctx;
    let base = succession::base(ctx, node, building.environment, published)?;
    let current = base.as_ref();
    let Some(wanted) = fingerprint::of_node(ctx, node, building.heads())? else {
        return Err(Report::error("node-failed", format!("`{}` reads a node that has no version", node.name)).into());
    };
    // The newest of what was built from exactly this: a backfill that was stopped left it.
    let begun = succession::found(ctx, node, wanted, current)?;
    let mut before = begun.or_else(|| current.cloned());
    let parts = parts(table, backfill);
    let all = parts.len();
    let (mut last, mut built) = (None, 0);
    while built < all {
        // A version of other inputs is built on, and has none of the parts as they are to be.
        let missing = match before.as_ref().filter(|head| head.fingerprint == wanted) {
            Some(head) => increment::missing_times(ctx, head, table, &parts)?,
            None => parts.clone(),
        };
        let at_once = &missing[..missing.len().min(ctx.threads.clamp(1, AT_ONCE_MAX))];
        if at_once.is_empty() {
            break;
        }
        let done = all - missing.len();
        building.progress(&node.name, format!("backfilling parts {} to {} of {all}", done + 1, done + at_once.len()));
        let version = table::build(building, node, table, wanted, before.as_ref(), at_once).await?;
        before = Some(version.head());
        last = Some(version);
        built += at_once.len();
    }
    let current = published.map(|head| &head.id);
    match (last, before) {
        (Some(version), _) if all == built => Ok((
            Some(version),
            match built {
                1 => "1 part was backfilled".into(),
                _ => format!("{built} parts were backfilled"),
            },
        )),
        (Some(version), _) => {
            Ok((Some(version), format!("{built} of {all} parts were backfilled, the others were there")))
        }
        (None, Some(head)) if current != Some(&head.id) => {
            let version = crate::catalog::load(ctx, &head.id)?;
            Ok((Some(version), "an earlier backfill built these times".into()))
        }
        _ => Ok((None, "it has these times".into())),
    }
}

/// The range in parts of whole intervals.
fn parts(table: &Table, backfill: &Backfill) -> Vec<(i64, i64)> {
    table.increment.interval.unwrap_or(Grain::FINEST).parts((backfill.from_us, backfill.to_us), PARTS_MAX)
}
