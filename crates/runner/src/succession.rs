//! Which version a new one of a node is built on, and which earlier one may take its place instead.
//!
//! Most versions are a function of what they read, so any that was built from exactly the same is as good. Two sorts of tables know more than
//! their inputs tell: a history without `time` knows what was seen when, an interval table which times were backfilled, and a source which
//! rows of its quarantine were replayed. For these a version may take the place of another only when it knows all that the other knows, and
//! an environment goes on from what `main` has as soon as that knows more.

use crate::context::{Context, reports};
use crate::{increment, replay, verify};
use pelton_base::{Digest, NodeName, Reports, VersionId};
use pelton_project::{Body, Build, Node, Table};
use pelton_store::{SourceFile, VersionHead};
use std::collections::HashMap;

/// The environment that others begin with.
pub(crate) const MAIN: &str = pelton_store::SHOWN_ENVIRONMENT;

/// The version that a new one of a source or table is built on: the environment's own, unless `main` has one that knows more.
pub(crate) fn base(
    ctx: &Context,
    node: &Node,
    environment: &str,
    current: Option<&VersionHead>,
) -> Result<Option<VersionHead>, Reports> {
    let Some(current) = current else { return in_main(ctx, node) };
    Ok(Some(ahead(ctx, node, environment, current)?.unwrap_or_else(|| current.clone())))
}

/// What `main` has of a node, when it knows something that the version of another environment does not.
pub(crate) fn ahead(
    ctx: &Context,
    node: &Node,
    environment: &str,
    current: &VersionHead,
) -> Result<Option<VersionHead>, Reports> {
    // What is the same whoever builds it, is not looked for.
    let knows_more = match &node.body {
        Body::Source(_) => true,
        Body::Table(table) => table.build == Build::Interval || (table.build == Build::History && table.time.is_none()),
        Body::Model(_) => false,
    };
    if environment == MAIN || !knows_more {
        return Ok(None);
    }
    let Some(main) = in_main(ctx, node)?.filter(|main| !verify::is_lost(main)) else { return Ok(None) };
    Ok(if is_known(ctx, node, current, &main)? { None } else { Some(main) })
}

fn in_main(ctx: &Context, node: &Node) -> Result<Option<VersionHead>, Reports> {
    let head = ctx.warehouse.state().head_in(MAIN, &node.name).map_err(reports)?;
    Ok(head.filter(|head| head.kind == node.kind()))
}

/// Whether a version of a node knows all that another knows beside what is there to be read.
pub(crate) fn is_known(ctx: &Context, node: &Node, head: &VersionHead, other: &VersionHead) -> Result<bool, Reports> {
    match &node.body {
        // Which content of a file was there last is told by when the versions were published.
        Body::Source(_) => has_files(ctx, head, other, |_| true),
        Body::Table(table) => knows(ctx, table, head, other),
        Body::Model(_) => Ok(true),
    }
}

/// The newest version of a table or model that was built from what has this fingerprint and may take the place of `base`.
pub(crate) fn found(
    ctx: &Context,
    node: &Node,
    fingerprint: Digest,
    base: Option<&VersionHead>,
) -> Result<Option<VersionHead>, Reports> {
    let found = ctx.warehouse.state().heads_by_fingerprint(&node.name, fingerprint).map_err(reports)?;
    let (Body::Table(table), Some(base)) = (&node.body, base) else { return Ok(found.into_iter().next()) };
    for head in found {
        if knows(ctx, table, &head, base)? {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// Whether a version of a table knows all that another knows beside what they read.
fn knows(ctx: &Context, table: &Table, head: &VersionHead, base: &VersionHead) -> Result<bool, Reports> {
    if head.id == base.id {
        return Ok(true);
    }
    match table.build {
        Build::History if table.time.is_none() => follows(ctx, &head.id, &base.id),
        Build::Interval => {
            let asked = increment::backfilled(ctx, base)?;
            Ok(asked.is_empty()
                || increment::missing_times(ctx, head, table, &asked).map_err(Reports::from)?.is_empty())
        }
        _ => Ok(true),
    }
}

/// Whether a version was built on another one, directly or not.
fn follows(ctx: &Context, version: &VersionId, earlier: &VersionId) -> Result<bool, Reports> {
    let mut version = version.clone();
    loop {
        // gc may have removed what lies between.
        let Some(record) = ctx.warehouse.state().version(&version).map_err(reports)? else { return Ok(false) };
        match increment::built_on(&record) {
            None => return Ok(false),
            Some(before) if before == *earlier => return Ok(true),
            Some(before) => version = before,
        }
    }
}

/// What a build goes on from: a version, and ranges of time that a lost version had and the new one has to have.
pub(crate) struct Ground {
    pub(crate) previous: Option<VersionHead>,
    pub(crate) cover: Vec<(i64, i64)>,
}

/// What a new version goes on from. The rows of a lost version are gone; what it was asked for is not.
pub(crate) fn ground(
    ctx: &Context,
    node: &Node,
    environment: &str,
    current: Option<&VersionHead>,
) -> Result<Ground, Reports> {
    let previous = base(ctx, node, environment, current)?;
    match previous {
        Some(head) if verify::is_lost(&head) && head.kind != "source" => {
            Ok(Ground { previous: None, cover: increment::backfilled(ctx, &head)? })
        }
        previous => Ok(Ground { previous, cover: Vec::new() }),
    }
}

/// The newest version of a source that may be taken over, when it is not `head` itself. The run that changes nothing asks this of every
/// source, and mostly `head` is the newest there is, which costs no look into its files.
pub(crate) fn newer_source(
    ctx: &Context,
    head: &VersionHead,
    environment: &str,
) -> Result<Option<VersionHead>, Reports> {
    let newest = ctx.warehouse.state().version_heads_of(&head.node).map_err(reports)?.into_iter().next();
    if newest.is_none_or(|newest| newest.id == head.id) {
        return Ok(None);
    }
    let newest = of_source(ctx, &head.node, environment)?.into_iter().next();
    Ok(newest.filter(|newest| newest.id != head.id))
}

/// The versions of a source that may be taken over, newest first: those without repairs that another environment tried.
pub(crate) fn of_source(ctx: &Context, name: &NodeName, environment: &str) -> Result<Vec<VersionHead>, Reports> {
    let state = ctx.warehouse.state();
    let in_main = state.head_in(MAIN, name).map_err(reports)?.map(|head| head.id);
    let mut taken = Vec::new();
    for head in state.version_heads_of(name).map_err(reports)? {
        let is_known = in_main.as_ref() == Some(&head.id) || replay::repairs_of(ctx, &head.id)? == 0;
        if is_known || state.run(&head.run).map_err(reports)?.is_some_and(|run| run.begun.environment == environment) {
            taken.push(head);
        }
        if taken.len() == SOURCES_MAX {
            break;
        }
    }
    Ok(taken)
}

/// Whether a version of a source has the rows of each file that `base` has, those of files that are gone and replayed ones included. A file
/// with other content than in `base` is one that is there: which of the two contents it has, was asked before.
pub(crate) fn keeps(ctx: &Context, head: &VersionHead, base: Option<&VersionHead>) -> Result<bool, Reports> {
    let Some(base) = base else { return Ok(true) };
    has_files(ctx, head, base, |changed| ctx.project.root.join(&changed.path).exists())
}

/// Whether a version of a source has every file of another, with as many of its rows replayed; of a file with other content in it, `is_as_good`
/// says whether that counts.
fn has_files(
    ctx: &Context,
    head: &VersionHead,
    other: &VersionHead,
    is_as_good: impl Fn(&SourceFile) -> bool,
) -> Result<bool, Reports> {
    if head.id == other.id {
        return Ok(true);
    }
    let files_of = |version: &VersionId| ctx.warehouse.state().source_files(version).map_err(reports);
    let files = files_of(&head.id)?;
    let files: HashMap<&str, &SourceFile> = files.iter().map(|file| (file.path.as_str(), file)).collect();
    Ok(files_of(&other.id)?.iter().all(|had| {
        let has = files.get(had.path.as_str());
        has.is_some_and(|has| match has.digest == had.digest {
            true => has.repairs.len() >= had.repairs.len(),
            false => is_as_good(had),
        })
    }))
}

/// How many versions of a source are looked at: each costs a comparison with its files.
const SOURCES_MAX: usize = 3;
