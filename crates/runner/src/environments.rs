//! Environments as a whole: one is published to another, one goes back to an earlier publication.
//!
//! Both are publications like any other, of versions that are there already: one transaction, nothing copied, with a run and
//! decisions of their own. What each refuses, and why, stands in `docs/adr/0007-environments.md`.

use crate::catalog::{self, Versions};
use crate::context::{Context, nothing_published, reports};
use crate::diff::ComparedSide;
use crate::fingerprint::Heads;
use crate::outcome::{HeldModel, RunOptions, StepAction};
use crate::refusal::{self, By};
use crate::{checks, fit, logs, model, plan, retry, serving, succession, verify};
use pelton_base::fail::{self, Point};
use pelton_base::{NodeName, Report, Reports, RunId, VersionId};
use pelton_project::{Body, Build};
use pelton_store::{
    Action, Decision, NodeSince, Publication, PublicationHead, Publish, RunRecord, StoreError, VersionHead,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// How many nodes a refusal names.
const NAMED_MAX: usize = 10;

/// What to publish where.
#[derive(Debug, Clone)]
pub struct PublishOptions {
    /// The environment whose versions are published.
    pub from: String,
    /// The environment that gets them.
    pub to: String,
    /// Publish although the target has newer versions.
    pub force: bool,
    /// The command as typed, for the record.
    pub command: String,
}

/// Where to go back to.
#[derive(Debug, Clone)]
pub struct RollbackOptions {
    /// The environment.
    pub environment: String,
    /// The publication whose state comes back; the one before the state in force when absent.
    pub to: Option<i64>,
    /// The command as typed, for the record.
    pub command: String,
}

/// What became of a node when an environment took other versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MovedNode {
    /// The node.
    pub node: NodeName,
    /// `source`, `table` or `model`.
    pub kind: String,
    /// `published`, `restored` or `removed`.
    pub action: &'static str,
    /// Its version before, when it had one.
    pub before: Option<VersionId>,
    /// Its version now, unless it was removed.
    pub after: Option<VersionId>,
    /// Whether both versions have the same digest.
    pub is_same: bool,
}

/// How an environment took other versions.
#[derive(Debug, Clone, Serialize)]
pub struct Moved {
    /// The run that this was.
    pub run: Option<RunId>,
    /// The environment that changed.
    pub environment: String,
    /// Its publication now, when it has one.
    pub publication: Option<i64>,
    /// Whether that publication was made by this.
    pub published: bool,
    /// The environment whose versions were published, and its publication.
    pub from: Option<ComparedSide>,
    /// The publication whose state came back.
    pub restores: Option<i64>,
    /// The nodes that changed.
    pub nodes: Vec<MovedNode>,
    /// Nodes that stay as they were because the other environment never had them.
    pub kept: Vec<NodeName>,
    /// Models that missed their gate; then nothing was published.
    pub held: Vec<HeldModel>,
    /// What there is to say.
    pub reports: Reports,
    /// How long it took.
    pub elapsed_ms: u64,
}

impl Moved {
    /// 0 when it is done, 1 when a gate held it back.
    pub fn exit_code(&self) -> u8 {
        self.reports.exit_code().max(u8::from(!self.held.is_empty()))
    }
}

/// That an environment was rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RolledBack {
    /// The publication that was taken back.
    pub from: i64,
    /// The publication whose state came back.
    pub to: i64,
}

/// An environment's newest publication, or why there is none.
pub(crate) fn current_of(ctx: &Context, environment: &str) -> Result<Publication, Report> {
    let state = ctx.warehouse.state();
    if let Some(found) = state.current(environment).map_err(|error| error.report())? {
        return Ok(found);
    }
    let others = state.environments().map_err(|error| error.report())?;
    if others.is_empty() || environment == "main" {
        return Err(nothing_published(environment));
    }
    Err(Report::error("unknown-environment", format!("no environment is called `{environment}`"))
        .note(format!("environments: {}", others.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")))
        .suggest(environment, others.iter().map(String::as_str))
        .hint(format!("pelton run --env {environment}")))
}

/// A publication of an environment that can be read, or why it cannot.
pub(crate) fn publication_of(ctx: &Context, environment: &str, id: i64) -> Result<Publication, Report> {
    let state = ctx.warehouse.state();
    let store = |error: StoreError| error.report();
    let head = state.publication_head(id).map_err(store)?.filter(|head| head.environment == environment);
    let what = format!("environment `{environment}` has no publication {id}");
    let unknown = |message: String| {
        let list = match environment {
            "main" => "pelton rollback --list".to_string(),
            _ => format!("pelton rollback --list --env {environment}"),
        };
        Report::error("unknown-publication", message).hint(list)
    };
    match head {
        None => Err(unknown(what)),
        Some(PublicationHead { removed_at_us: Some(at), .. }) => {
            let message = format!("publication {id} of `{environment}` cannot be read any more");
            Err(unknown(message).note(format!("`pelton gc` removed it at {}", pelton_base::format_time_us(at))))
        }
        Some(_) => state.publication(id).map_err(store)?.ok_or_else(|| unknown(what)),
    }
}

/// An environment's publications, newest first.
pub fn publications(ctx: &Context, environment: &str) -> Result<Vec<PublicationHead>, Report> {
    current_of(ctx, environment)?;
    ctx.warehouse.state().publications(environment).map_err(|error| error.report())
}

/// Whether an environment's publication is a rollback, and of what.
pub(crate) fn rolled_back(ctx: &Context, environment: &str) -> Result<Option<RolledBack>, Reports> {
    let state = ctx.warehouse.state();
    let Some(id) = state.current_id(environment).map_err(reports)? else { return Ok(None) };
    let Some(to) = state.publication_head(id).map_err(reports)?.and_then(|head| head.restores) else {
        return Ok(None);
    };
    let before = state.publications(environment).map_err(reports)?.into_iter().find(|head| head.id < id);
    Ok(before.map(|before| RolledBack { from: before.id, to }))
}

/// Why a run does not undo a rollback on its own.
pub(crate) fn refuse_to_undo(environment: &str, back: RolledBack, would_change: &[String]) -> Report {
    let run = match environment {
        "main" => "pelton run".to_string(),
        _ => format!("pelton run --env {environment}"),
    };
    let message = format!("environment `{environment}` was rolled back from publication {} to {}", back.from, back.to);
    Report::error("rolled-back", message)
        .note(format!("a run would publish other versions of {}", named(would_change)))
        .note("nothing was built, and nothing was published")
        .hint(run.replacen("run", "plan", 1))
        .hint(format!("{run} --roll-forward"))
}

/// Reports of versions that did not pass the checks of their nodes as they are now: they may be in an environment since before these were
/// written, and go into no further publication.
fn unpassed(ctx: &Context, moving: &[MovedNode], ours: &Heads, source: &Publication) -> Result<Vec<Report>, Reports> {
    let mut found = Vec::new();
    for moved in moving {
        let (Some(node), Some(head)) = (ctx.project.nodes.get(&moved.node), ours.get(&moved.node)) else { continue };
        // The gates of a model are asked against what the target has in service.
        if matches!(node.body, Body::Model(_)) {
            continue;
        }
        // A SELECT of a check may read whatever the node does.
        let read = heads_each(ctx, &source.nodes, &node.reads.iter().map(|(name, _)| name.clone()).collect())?;
        if let Some(why) = checks::due(ctx, node, head, &read)?.reason() {
            let message = format!("version {} of `{}` has not passed its checks", head.id, node.name);
            let report = Report::error("check-failed", message).at(node.place()).note(why);
            let run = format!("pelton run {} --env {}", node.name, source.environment);
            found.push(report.note("nothing was published").hint(run));
        }
    }
    Ok(found)
}

/// Publishes everything of one environment to another, in one transaction.
pub async fn publish(ctx: &Context, options: &PublishOptions) -> Result<Moved, Reports> {
    let began = Instant::now();
    let PublishOptions { from, to, .. } = options;
    if from == to {
        let report = Report::error("invalid-argument", format!("`{from}` cannot be published to itself"));
        return Err(report.hint(format!("pelton publish {from} --to ENVIRONMENT")).into());
    }
    let state = ctx.warehouse.state();
    let by = By { environment: to, command: &options.command };
    let _lock = refusal::lock(ctx, by)?;
    let source = current_of(ctx, from)?;
    let target = state.current(to).map_err(reports)?;
    let nothing = Versions::new();
    let before = target.as_ref().map_or(&nothing, |target| &target.nodes);
    let differing = differing(&source.nodes, before);
    let (ours, theirs) = (heads(ctx, from, &source.nodes, &differing)?, heads(ctx, to, before, &differing)?);
    whole(&ours, &format!("environment `{from}`"))?;
    let (nodes, kept) = merged(ctx, &source.nodes, &theirs);
    if !options.force {
        let publications = state.publications(to).map_err(reports)?;
        let rollbacks: BTreeSet<i64> =
            publications.iter().filter(|head| head.restores.is_some()).map(|head| head.id).collect();
        let mut newer = newer_in_target(
            &state.since(from, &differing).map_err(reports)?,
            (&state.since(to, &differing).map_err(reports)?, &rollbacks),
            || state.changed_last(from).map_err(reports),
            (&ours, &theirs),
            &kept,
        )?;
        newer.extend(unknown(ctx, (&ours, &theirs), &newer)?);
        if !newer.is_empty() {
            let run = run_that_builds_on(ctx, from, &newer).await;
            let refused = moved_meanwhile(options, &source, &newer, run);
            return Err(refusal::noted(ctx, by, refused.into(), newer));
        }
    }
    let changed = moved(&differing, &theirs, &nodes, &ours, "published");
    let mut outcome = Moved {
        run: None,
        environment: to.clone(),
        publication: target.as_ref().map(|target| target.id),
        published: false,
        from: Some(ComparedSide { environment: from.clone(), publication: source.id }),
        restores: None,
        nodes: changed,
        kept,
        held: Vec::new(),
        reports: Reports::default(),
        elapsed_ms: 0,
    };
    if outcome.nodes.is_empty() {
        // One that was killed after its publication is finished here.
        outcome.reports.extend(logs::show(ctx, &source.run, None).await?.said);
        outcome.elapsed_ms = began.elapsed().as_millis() as u64;
        return Ok(outcome);
    }
    let unpassed = unpassed(ctx, &outcome.nodes, &ours, &source)?;
    if !unpassed.is_empty() {
        return Err(Reports(unpassed));
    }
    outcome.reports = Reports(gates(ctx, &ours, &theirs, &mut outcome.held).await?);
    if outcome.held.is_empty() {
        let packages = serving::packages(ctx, &nodes)?;
        let misfits = fit::misfits(ctx, &packages, &nodes, before)?;
        if !misfits.is_empty() {
            let report = |misfit: &fit::Misfit| misfit.report().note(format!("nothing was published to `{to}`"));
            let mut refused: Vec<Report> = misfits.iter().map(report).collect();
            if let Some(last) = refused.last_mut() {
                last.hints.extend(fit::retrain(&misfits, from));
            }
            return Err(Reports(refused));
        }
        serving::build_online(ctx, &nodes, packages).await?;
    }
    let run = begin(ctx, to, &options.command).await?;
    outcome.run = Some(run.clone());
    let mut decisions: Vec<Decision> = Vec::new();
    if outcome.held.is_empty() {
        for node in &outcome.nodes {
            let (action, reason) = match &node.after {
                Some(_) => (Action::Published, format!("it stands so in `{from}` (publication {})", source.id)),
                None => (Action::Removed, format!("neither `{from}` nor the project has it")),
            };
            decisions.push(decision(node, action, reason));
        }
    } else {
        for held in &outcome.held {
            let reason = format!("it was to be published from `{from}` (publication {})", source.id);
            let stays = match &held.in_service {
                Some(version) => format!("missed its gate; version {version} stays in service"),
                None => "missed its gate; nothing of it is in service".into(),
            };
            let detail = serde_json::json!({ "summary": stays, "version": held.version });
            decisions.push(Decision { node: held.node.clone(), action: Action::Held, reason, detail });
        }
        let report =
            Report::error("no-publication", format!("nothing was published to `{to}`, because a model was held back"));
        outcome.reports.push(report.note("what reads a held model was built with it, so all of the environment waits"));
        outcome.nodes.clear();
    }
    let expect = target.as_ref().map(|target| (target.id, &target.nodes));
    finish(ctx, outcome, &run, (expect, &nodes), &decisions, began).await
}

/// Puts an environment back to the state of an earlier publication, as a new publication.
pub async fn rollback(ctx: &Context, options: &RollbackOptions) -> Result<Moved, Reports> {
    let began = Instant::now();
    let environment = &options.environment;
    let _lock = refusal::lock(ctx, By { environment, command: &options.command })?;
    let current = current_of(ctx, environment)?;
    let target = match options.to {
        Some(id) => publication_of(ctx, environment, id)?,
        None => before(ctx, &current)?,
    };
    let differing = differing(&target.nodes, &current.nodes);
    let theirs = heads(ctx, environment, &current.nodes, &differing)?;
    let ours = heads_each(ctx, &target.nodes, &differing)?;
    whole(&ours, &format!("publication {} of `{environment}`", target.id))?;
    let mut outcome = Moved {
        run: None,
        environment: environment.clone(),
        publication: Some(current.id),
        published: false,
        from: None,
        restores: Some(target.id),
        nodes: moved(&differing, &theirs, &target.nodes, &ours, "restored"),
        kept: Vec::new(),
        held: Vec::new(),
        reports: Reports::default(),
        elapsed_ms: 0,
    };
    if outcome.nodes.is_empty() {
        // One that was killed after its publication is finished here.
        outcome.reports.extend(logs::show(ctx, &current.run, None).await?.said);
        outcome.elapsed_ms = began.elapsed().as_millis() as u64;
        return Ok(outcome);
    }
    serving::build_online(ctx, &target.nodes, serving::packages(ctx, &target.nodes)?).await?;
    let run = begin(ctx, environment, &options.command).await?;
    outcome.run = Some(run.clone());
    let decisions: Vec<Decision> = outcome
        .nodes
        .iter()
        .map(|node| {
            let back = format!("publication {} was rolled back to {}", current.id, target.id);
            match &node.after {
                Some(_) => decision(node, Action::Restored, back),
                None => decision(node, Action::Removed, format!("{back}, which did not have it")),
            }
        })
        .collect();
    finish(ctx, outcome, &run, (Some((current.id, &current.nodes)), &target.nodes), &decisions, began).await
}

/// Refuses versions whose files are lost: nobody could read what is published then.
fn whole(heads: &Heads, what: &str) -> Result<(), Report> {
    let lost: Vec<String> =
        heads.values().filter(|head| verify::is_lost(head)).map(|head| head.node.to_string()).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let report =
        Report::error("damaged-table", format!("{what} cannot be read any more: files of {} are lost", named(&lost)));
    Err(report.note("nothing was published"))
}

/// The publication before the state that is in force: after a rollback, the one before the publication that came back.
fn before(ctx: &Context, current: &Publication) -> Result<Publication, Reports> {
    let environment = &current.environment;
    let all = ctx.warehouse.state().publications(environment).map_err(reports)?;
    let by_id: BTreeMap<i64, &PublicationHead> = all.iter().map(|head| (head.id, head)).collect();
    let mut state_of = current.id;
    while let Some(earlier) = by_id.get(&state_of).and_then(|head| head.restores) {
        state_of = earlier;
    }
    for head in all.iter().filter(|head| head.id < state_of && head.removed_at_us.is_none()) {
        let found = publication_of(ctx, environment, head.id)?;
        if found.nodes != current.nodes {
            return Ok(found);
        }
    }
    let removed = all.iter().filter(|head| head.id < state_of && head.removed_at_us.is_some()).count();
    let report =
        Report::error("unknown-publication", format!("environment `{environment}` has no earlier publication"))
            .note(format!("it is at publication {}", current.id));
    let report = match removed {
        0 => report,
        _ => report.note(format!("`pelton gc` removed {removed} earlier ones")),
    };
    Err(report.into())
}

/// The nodes of which two environments, or two publications, do not have the same version.
///
/// Only these are asked about: of ten thousand nodes, reading what is recorded of each version is most of the time that a publication takes.
fn differing(ours: &Versions, theirs: &Versions) -> BTreeSet<NodeName> {
    let of_ours = ours.iter().filter(|(name, id)| theirs.get(*name) != Some(id)).map(|(name, _)| name);
    let of_theirs = theirs.keys().filter(|name| !ours.contains_key(*name));
    of_ours.chain(of_theirs).cloned().collect()
}

/// The versions that an environment has of some nodes, with what a decision needs to know of them.
fn heads(ctx: &Context, environment: &str, all: &Versions, some: &BTreeSet<NodeName>) -> Result<Heads, Reports> {
    if some.len() <= all.len() / 4 {
        return heads_each(ctx, all, some);
    }
    let heads = ctx.warehouse.state().heads(environment).map_err(reports)?;
    Ok(heads.into_iter().map(|head| (head.node.clone(), head)).filter(|(name, _)| some.contains(name)).collect())
}

fn heads_each(ctx: &Context, all: &Versions, some: &BTreeSet<NodeName>) -> Result<Heads, Reports> {
    let mut heads = Heads::new();
    for (name, id) in some.iter().filter_map(|name| all.get_key_value(name)) {
        let head = ctx.warehouse.state().version_head(id).map_err(reports)?;
        let lost = || Report::error("damaged-state", format!("version `{id}` is named, but not recorded"));
        heads.insert(name.clone(), head.ok_or_else(lost)?);
    }
    Ok(heads)
}

/// All nodes of the target after a publication, and those of them that stay because the other environment never had them.
///
/// An environment that was run in part has no word about the rest: such nodes stay as long as the project has them, as in a run.
fn merged(ctx: &Context, ours: &Versions, theirs: &Heads) -> (Versions, Vec<NodeName>) {
    let mut nodes = ours.clone();
    let mut kept = Vec::new();
    for (name, head) in theirs.iter().filter(|(name, _)| !ours.contains_key(*name)) {
        if ctx.project.nodes.get(name).is_some_and(|node| node.kind() == head.kind) {
            nodes.insert(name.clone(), head.id.clone());
            kept.push(name.clone());
        }
    }
    (nodes, kept)
}

/// Nodes that the target changed after the other environment took its version of them, each with a sentence about it; `rollbacks` are
/// those of the target's publications that brought earlier ones back.
fn newer_in_target(
    ours_since: &[NodeSince],
    (theirs_since, rollbacks): (&[NodeSince], &BTreeSet<i64>),
    newest: impl FnOnce() -> Result<i64, Reports>,
    (ours, theirs): (&Heads, &Heads),
    kept: &[NodeName],
) -> Result<Vec<(NodeName, String)>, Reports> {
    let kept: BTreeSet<&NodeName> = kept.iter().collect();
    let since: BTreeMap<&NodeName, &NodeSince> = ours_since.iter().map(|node| (&node.node, node)).collect();
    // A node that the other environment never had is as old as that environment.
    let newest = match theirs_since.iter().all(|there| since.contains_key(&there.node)) {
        true => 0,
        false => newest()?,
    };
    let mut newer = Vec::new();
    for there in theirs_since {
        let here = since.get(&there.node).map_or(newest, |here| here.since);
        let (mine, other) = (ours.get(&there.node), theirs.get(&there.node));
        let is_same = match (mine, other) {
            (Some(mine), Some(other)) => mine.digest == other.digest,
            (None, None) => true,
            _ => false,
        };
        if is_same || there.since <= here || kept.contains(&there.node) {
            continue;
        }
        let sentence = match (mine, other) {
            (Some(mine), Some(other)) if rollbacks.contains(&there.since) => format!(
                "rolled back to version {} in publication {}, after {} of publication {here}",
                other.id, there.since, mine.id
            ),
            (Some(mine), Some(other)) => format!(
                "version {} since publication {}, newer than {} of publication {here}",
                other.id, there.since, mine.id
            ),
            (Some(mine), None) => {
                format!("removed in publication {}, after version {} of publication {here}", there.since, mine.id)
            }
            _ if rollbacks.contains(&there.since) => format!("brought back in publication {}", there.since),
            _ => format!("new in publication {}", there.since),
        };
        newer.push((there.node.clone(), sentence));
    }
    Ok(newer)
}

/// Nodes of which the target's version knows what the other environment's does not and nothing tells again, each with a sentence about it.
fn unknown(
    ctx: &Context,
    (ours, theirs): (&Heads, &Heads),
    told: &[(NodeName, String)],
) -> Result<Vec<(NodeName, String)>, Reports> {
    let mut found = Vec::new();
    for (name, mine) in ours.iter().filter(|(name, _)| told.iter().all(|(told, _)| told != *name)) {
        let (Some(node), Some(other)) = (ctx.project.nodes.get(name), theirs.get(name)) else { continue };
        if node.kind() != other.kind || succession::is_known(ctx, node, mine, other)? {
            continue;
        }
        let what = match &node.body {
            Body::Source(_) => "rows of files or of its quarantine",
            Body::Table(table) if table.build == Build::History => "states",
            _ => "backfilled times",
        };
        found.push((name.clone(), format!("version {} has {what} that {} was not built on", other.id, mine.id)));
    }
    Ok(found)
}

/// The run after which an environment is built on what the target has now; `None` where a run would leave these nodes as they are. So it
/// is when the target was rolled back, or was run with other files: the environment stands as the project says.
async fn run_that_builds_on(ctx: &Context, environment: &str, newer: &[(NodeName, String)]) -> Option<String> {
    let run = match environment {
        "main" => "pelton run".to_string(),
        _ => format!("pelton run --env {environment}"),
    };
    let options = RunOptions { environment: environment.to_string(), ..RunOptions::default() };
    // What keeps a plan from being made is told by the run, too.
    let Ok(planned) = plan::plan(ctx, &options).await else { return Some(run) };
    let changing = planned.steps.iter().filter(|step| !matches!(step.action, StepAction::Skip | StepAction::Check));
    let helps = changing.map(|step| &step.node).any(|node| newer.iter().any(|(name, _)| name == node));
    helps.then(|| if planned.rolled_back.is_some() { format!("{run} --roll-forward") } else { run })
}

fn moved_meanwhile(
    options: &PublishOptions,
    source: &Publication,
    newer: &[(NodeName, String)],
    run: Option<String>,
) -> Report {
    let PublishOptions { from, to, .. } = options;
    let count = newer.len();
    let nodes = if count == 1 { "1 node is".to_string() } else { format!("{count} nodes are") };
    let message = format!("{nodes} newer in `{to}` than in `{from}` (publication {})", source.id);
    let mut report = Report::error("environment-moved", message);
    for (node, sentence) in newer.iter().take(NAMED_MAX) {
        report = report.note(format!("`{node}`: {sentence}"));
    }
    if count > NAMED_MAX {
        report = report.note(format!("and {} more", count - NAMED_MAX));
    }
    let target = if to == "main" { String::new() } else { format!(" --to {to}") };
    let report = match run {
        Some(run) => report.note("nothing was published").hint(run),
        None => report.note(format!("a run of `{from}` would change none of that")).note("nothing was published"),
    };
    report.hint(format!("pelton diff {to} {from}")).hint(format!("pelton publish {from}{target} --force"))
}

/// Asks the gates of every model that would go into service against the version that is there.
async fn gates(ctx: &Context, ours: &Heads, theirs: &Heads, held: &mut Vec<HeldModel>) -> Result<Vec<Report>, Reports> {
    let mut said = Vec::new();
    for (name, head) in ours.iter().filter(|(_, head)| head.kind == "model") {
        let current = theirs.get(name).filter(|current| current.kind == "model");
        if current.is_some_and(|current| current.digest == head.digest) {
            continue;
        }
        let Some((node, Body::Model(settings))) = ctx.project.nodes.get(name).map(|node| (node, &node.body)) else {
            let report = Report::error(
                "unknown-node",
                format!("model `{name}` is not in the project, so its gates cannot be asked"),
            );
            return Err(report.note("nothing was published").into());
        };
        // Where the examples are gone, both versions are taken at what was recorded of their own training.
        let inputs = model::trained_on(ctx, node, &catalog::load(ctx, &head.id)?)?;
        let judged = model::judge_again(ctx, node, settings, head, current, inputs.as_ref()).await;
        let refusals = match (judged, inputs) {
            (Err(_), Some(_)) => model::judge_again(ctx, node, settings, head, current, None).await?,
            (judged, _) => judged?,
        };
        if !refusals.is_empty() {
            said.extend(refusals);
            let in_service = current.map(|current| current.id.clone());
            held.push(HeldModel { node: name.clone(), version: head.id.clone(), in_service });
        }
    }
    Ok(said)
}

/// What changes when an environment that stands at `theirs` takes `nodes`.
fn moved(
    differing: &BTreeSet<NodeName>,
    theirs: &Heads,
    nodes: &Versions,
    ours: &Heads,
    word: &'static str,
) -> Vec<MovedNode> {
    let mut changed = Vec::new();
    for (name, id) in differing.iter().filter_map(|name| nodes.get_key_value(name)) {
        let before = theirs.get(name);
        if before.is_some_and(|before| before.id == *id) {
            continue;
        }
        let Some(after) = ours.get(name) else { continue };
        changed.push(MovedNode {
            node: name.clone(),
            kind: after.kind.clone(),
            action: word,
            before: before.map(|before| before.id.clone()),
            after: Some(id.clone()),
            is_same: before.is_some_and(|before| before.digest == after.digest),
        });
    }
    let gone = |(name, head): (&NodeName, &VersionHead)| MovedNode {
        node: name.clone(),
        kind: head.kind.clone(),
        action: "removed",
        before: Some(head.id.clone()),
        after: None,
        is_same: false,
    };
    changed.extend(theirs.iter().filter(|(name, _)| !nodes.contains_key(*name)).map(gone));
    changed.sort_by(|a, b| a.node.cmp(&b.node));
    changed
}

fn decision(node: &MovedNode, action: Action, reason: String) -> Decision {
    let summary = match (&node.before, &node.after) {
        (Some(before), Some(after)) => format!("version {before} became {after}"),
        (None, Some(after)) => format!("version {after}"),
        (before, None) => format!("version {} left", before.as_ref().map_or("", |id| id.0.as_str())),
    };
    let detail = serde_json::json!({ "summary": summary, "before": node.before, "after": node.after });
    Decision { node: node.node.clone(), action, reason, detail }
}

async fn begin(ctx: &Context, environment: &str, command: &str) -> Result<RunId, Reports> {
    let id = RunId::fresh(ctx.now_us());
    let record = RunRecord {
        id: id.clone(),
        environment: environment.to_string(),
        started_at_us: ctx.now_us(),
        command: command.to_string(),
        pid: std::process::id(),
    };
    retry::quietly(ctx, || ctx.warehouse.state().begin_run(&record).map_err(reports)).await?;
    Ok(id)
}

/// Publishes, unless a model was held, and writes down how it ended.
async fn finish(
    ctx: &Context,
    mut outcome: Moved,
    run: &RunId,
    (expect, nodes): (Option<(i64, &Versions)>, &Versions),
    decisions: &[Decision],
    began: Instant,
) -> Result<Moved, Reports> {
    let state = ctx.warehouse.state();
    if outcome.held.is_empty() {
        let (environment, restores) = (outcome.environment.as_str(), outcome.restores);
        let publish = Publish { environment, run, at_us: ctx.now_us(), nodes, expect, restores, decisions };
        fail::after(if restores.is_some() { Point::EnvironmentRollback } else { Point::EnvironmentPublish });
        let published = || state.publish(&publish).map_err(reports);
        let id = retry::quietly(ctx, published).await?;
        outcome.publication = Some(id);
        outcome.published = true;
        let shown = logs::show(ctx, run, None).await?;
        outcome.reports.extend(shown.said);
    } else {
        retry::quietly(ctx, || state.record_decisions(run, decisions).map_err(reports)).await?;
    }
    outcome.elapsed_ms = began.elapsed().as_millis() as u64;
    let summary = serde_json::to_value(&outcome)
        .map_err(|error| Report::error("internal", format!("the outcome cannot be written: {error}")))?;
    let word = if outcome.published { "published" } else { "nothing" };
    let publication = outcome.publication.filter(|_| outcome.published);
    let ended = || state.finish_run(run, ctx.now_us(), word, publication, &summary).map_err(reports);
    retry::quietly(ctx, ended).await?;
    Ok(outcome)
}

/// Names in backticks, at most [`NAMED_MAX`] of them.
fn named(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(NAMED_MAX).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(NAMED_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
