//! What a run would do, and why. [`decide`] is the one place that lets a node be skipped.

use crate::check::{self, Types};
use crate::checks;
use crate::context::{Context, reports};
use crate::environments;
use crate::fingerprint::{self, Heads};
use crate::outcome::{PlanStep, Planned, RunOptions, StepAction};
use crate::{increment, replay, source, source_files, succession, verify};
use pelton_base::{ChangedLine, Digest, NodeName, Reports, VersionId, line_diff};
use pelton_project::{Body, Node, select};
use pelton_store::VersionHead;
use serde::Serialize;
use std::collections::BTreeSet;

/// What is to be done with a node, now that everything it reads has its version.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The version in the environment is current.
    Skip(String),
    /// The version in the environment is current, but was not asked all checks.
    Check(Box<VersionHead>, String),
    /// A version that is not in the environment is current.
    Reuse(Box<VersionHead>, String),
    /// A new version is to be built.
    Build(Option<Digest>, Box<Why>),
}

/// Why a node is built.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Why {
    /// In a sentence.
    #[serde(skip)]
    pub(crate) sentence: String,
    /// The inputs that differ from those of the version before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<ChangedInput>,
    /// The lines of its file that differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    diff: Vec<ChangedLine>,
}

/// An input that differs.
#[derive(Debug, Serialize)]
struct ChangedInput {
    node: NodeName,
    before: Option<VersionId>,
    now: VersionId,
    rows_before: Option<u64>,
    rows_now: Option<u64>,
}

impl From<String> for Why {
    fn from(sentence: String) -> Self {
        Why { sentence, ..Why::default() }
    }
}

impl From<&str> for Why {
    fn from(sentence: &str) -> Self {
        sentence.to_string().into()
    }
}

impl Verdict {
    fn build(fingerprint: Option<Digest>, why: impl Into<Why>) -> Self {
        Verdict::Build(fingerprint, Box::new(why.into()))
    }

    /// Of a version of a source that another run made.
    fn taken(head: VersionHead) -> Self {
        let why = format!("version {} of run {} took in exactly these files", head.id, head.run);
        Verdict::Reuse(Box::new(head), why)
    }
}

/// Decides about a node over the versions of what it reads, which the environment has.
pub(crate) fn decide(
    ctx: &Context,
    node: &Node,
    (environment, heads): (&str, &Heads),
    volatile: &[String],
) -> Result<Verdict, Reports> {
    let current = heads.get(&node.name);
    let verdict = match &node.body {
        Body::Source(settings) => decide_source(ctx, node, settings, current, environment)?,
        _ => decide_on_rows(ctx, node, (environment, heads), volatile)?,
    };
    if let (Verdict::Skip(_), Some(head)) = (&verdict, current)
        && let Some(why) = checks::due(ctx, node, head, heads)?.reason()
    {
        return Ok(Verdict::Check(Box::new(head.clone()), why));
    }
    Ok(verdict)
}

/// Decides by what rows depend on; checks that remove none are left to [`decide`].
fn decide_on_rows(
    ctx: &Context,
    node: &Node,
    (environment, heads): (&str, &Heads),
    volatile: &[String],
) -> Result<Verdict, Reports> {
    let current = heads.get(&node.name);
    let fingerprint = fingerprint::of_node(ctx, node, heads)?;
    if !volatile.is_empty() && !is_declared_deterministic(node) {
        let why = format!("its SQL depends on more than its inputs ({})", volatile.join(", "));
        return Ok(Verdict::build(fingerprint, why));
    }
    let Some(wanted) = fingerprint else {
        return Ok(Verdict::build(None, "something that it reads has no version yet"));
    };
    let base = succession::base(ctx, node, environment, current)?;
    let is_behind = current.is_some_and(|head| base.as_ref().is_some_and(|base| base.id != head.id));
    if current.is_some_and(|head| head.fingerprint == wanted) && !is_behind {
        return Ok(Verdict::Skip("its SQL, its settings and everything that it reads are unchanged".into()));
    }
    if let Some(head) = succession::found(ctx, node, wanted, base.as_ref())? {
        let why = format!("version {} of run {} was built from exactly this", head.id, head.run);
        return Ok(Verdict::Reuse(Box::new(head), why));
    }
    if is_behind {
        return Ok(Verdict::build(Some(wanted), BEHIND));
    }
    Ok(Verdict::build(Some(wanted), reason(ctx, node, current, heads)?))
}

/// Why a node is built in an environment whose version was not built on that of `main`.
const BEHIND: &str = "`main` knows more of it than its version here";

fn is_declared_deterministic(node: &Node) -> bool {
    match &node.body {
        Body::Source(_) => true,
        Body::Table(table) => table.deterministic,
        Body::Model(model) => model.deterministic,
    }
}

fn decide_source(
    ctx: &Context,
    node: &Node,
    settings: &pelton_project::Source,
    current: Option<&VersionHead>,
    environment: &str,
) -> Result<Verdict, Reports> {
    let Some(head) = current else {
        let base = succession::base(ctx, node, environment, None)?;
        if let Some(head) = taken_in(ctx, node, settings, (environment, base.as_ref()))? {
            return Ok(Verdict::taken(head));
        }
        if base.is_none() {
            pelton_ingest::list(settings, node, &ctx.project.root)?;
            return Ok(Verdict::build(None, "it was never taken in"));
        }
        return Ok(Verdict::build(None, format!("`{}` has other files or settings of it", succession::MAIN)));
    };
    if verify::is_lost(head) {
        return Ok(Verdict::build(None, verify::lost_reason(head)));
    }
    if let Some(main) = succession::ahead(ctx, node, environment, head)? {
        return Ok(match taken_in(ctx, node, settings, (environment, Some(&main)))? {
            Some(taken) => Verdict::taken(taken),
            None => Verdict::build(None, BEHIND),
        });
    }
    if !source::has_settings(ctx, head, settings)? {
        return Ok(Verdict::build(None, "its settings changed"));
    }
    let changes = source_files::changes(ctx, node, settings, Some(&head.id))?;
    if changes.is_empty() {
        // A run that took rows of the quarantine in may have failed to publish them.
        if let Some(newer) = succession::newer_source(ctx, head, environment)?
            && newer.digest != head.digest
            && is_current(ctx, node, settings, &newer)?
            && replay::repairs_of(ctx, &newer.id)? > replay::repairs_of(ctx, &head.id)?
        {
            let why = format!("rows of its quarantine were replayed in run {}", newer.run);
            return Ok(Verdict::Reuse(Box::new(newer), why));
        }
        return Ok(Verdict::Skip(changes.no_reason()));
    }
    match taken_in(ctx, node, settings, (environment, Some(head)))? {
        Some(other) if other.id != head.id => Ok(Verdict::taken(other)),
        _ => Ok(Verdict::build(None, changes.reason())),
    }
}

/// A version of a source that took in the files that are there, and keeps what `base` keeps.
fn taken_in(
    ctx: &Context,
    node: &Node,
    settings: &pelton_project::Source,
    (environment, base): (&str, Option<&VersionHead>),
) -> Result<Option<VersionHead>, Reports> {
    for head in succession::of_source(ctx, &node.name, environment)? {
        if !verify::is_lost(&head) && is_current(ctx, node, settings, &head)? && succession::keeps(ctx, &head, base)? {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

fn is_current(
    ctx: &Context,
    node: &Node,
    settings: &pelton_project::Source,
    head: &VersionHead,
) -> Result<bool, Reports> {
    Ok(source::has_settings(ctx, head, settings)?
        && source_files::changes(ctx, node, settings, Some(&head.id))?.is_empty())
}

/// Why a node is built, from what its last version was built from.
fn reason(ctx: &Context, node: &Node, current: Option<&VersionHead>, heads: &Heads) -> Result<Why, Reports> {
    let Some(head) = current else { return Ok("it was never built".into()) };
    if verify::is_lost(head) {
        return Ok(verify::lost_reason(head).into());
    }
    let version = crate::catalog::load(ctx, &head.id)?;
    let (mut inputs, mut reordered) = (Vec::new(), Vec::new());
    for (name, before) in &version.inputs {
        let Some(now) = heads.get(name) else { continue };
        if now.id == *before || node.checked_with.contains(name) {
            continue;
        }
        let head_before = ctx.warehouse.state().version_head(before).map_err(reports)?;
        if head_before.as_ref().is_none_or(|before| before.digest != now.digest) {
            inputs.push(ChangedInput {
                node: name.clone(),
                rows_before: head_before.as_ref().and_then(VersionHead::rows_known),
                before: head_before.map(|before| before.id),
                now: now.id.clone(),
                rows_now: now.rows_known(),
            });
        } else if ctx.project.by_column_order.contains(&node.name) && has_other_order(ctx, before, now)? {
            reordered.push(format!("`{name}`"));
        }
    }
    let sql = match &node.body {
        Body::Table(table) => Some(&table.select.sql),
        Body::Model(model) => Some(&model.select.sql),
        Body::Source(_) => None,
    };
    let sql_before = version.detail.get("sql").and_then(|sql| sql.as_str());
    let mut why = Vec::new();
    if !inputs.is_empty() {
        let names: Vec<String> = inputs.iter().map(|input| format!("`{}`", input.node)).collect();
        why.push(format!("{} changed", names.join(", ")));
    }
    if sql.is_some() && sql.map(String::as_str) != sql_before {
        why.push("its SQL changed".into());
    }
    if !reordered.is_empty() {
        why.push(format!("the columns of {} have another order", reordered.join(", ")));
    }
    let is_told = !why.is_empty();
    if !is_told {
        why.push("its settings or what it reads changed".into());
    }
    // Versions of earlier formats kept the SELECT alone.
    let text_before = version.detail.get("text").and_then(|text| text.as_str());
    let diff = text_before.map(|before| line_diff(before, &node.text)).unwrap_or_default();
    if !is_told && !diff.is_empty() {
        why = vec!["its settings changed".into()];
    } else if !is_told && let Some(model) = scored_by(ctx, node) {
        why = vec![format!("what model `{model}` looks up, or how, changed")];
    }
    Ok(Why { sentence: why.join(" and "), inputs, diff })
}

/// Whether a version has the columns of an earlier one in another order.
fn has_other_order(ctx: &Context, before: &VersionId, now: &VersionHead) -> Result<bool, Reports> {
    let columns = |id| ctx.warehouse.state().columns_of(id).map_err(reports);
    Ok(columns(before)? != columns(&now.id)?)
}

/// A model with which a table scores rows.
fn scored_by<'a>(ctx: &Context, node: &'a Node) -> Option<&'a NodeName> {
    let is_model =
        |name: &&NodeName| matches!(ctx.project.nodes.get(*name).map(|node| &node.body), Some(Body::Model(_)));
    node.reads.iter().map(|(name, _)| name).find(is_model)
}

/// The nodes of a run in order: the selected ones, and ancestors of them that have no version yet, or of which nobody can say what they are.
pub(crate) fn chosen(
    ctx: &Context,
    options: &RunOptions,
    heads: &Heads,
    types: &Types,
) -> Result<Vec<NodeName>, Reports> {
    let is_there = |name: &NodeName| heads.contains_key(name) && types.schemas.contains_key(name);
    let mut wanted: BTreeSet<NodeName> = match options.select.is_empty() {
        true => ctx.project.order.iter().cloned().collect(),
        false => select(&ctx.project, &options.select)?,
    };
    for name in ctx.project.order.iter().rev() {
        if wanted.contains(name)
            && let Some(node) = ctx.project.nodes.get(name)
        {
            wanted.extend(node.reads.iter().map(|(parent, _)| parent).filter(|parent| !is_there(parent)).cloned());
        }
    }
    Ok(ctx.project.order.iter().filter(|name| wanted.contains(*name)).cloned().collect())
}

/// The versions of an environment's publication that belong to nodes of the project.
pub(crate) fn heads_of(ctx: &Context, environment: &str) -> Result<Heads, Reports> {
    Ok(heads_and_gone(ctx, environment)?.0)
}

/// Those versions, and the ones that leave with the next publication, whatever is selected, each with the reason.
pub(crate) fn heads_and_gone(ctx: &Context, environment: &str) -> Result<(Heads, Vec<(VersionHead, String)>), Reports> {
    let (mut kept, mut gone) = (Heads::new(), Vec::new());
    for head in ctx.warehouse.state().heads(environment).map_err(reports)? {
        match ctx.project.nodes.get(&head.node) {
            None => gone.push((head, "the project does not have it any more".to_string())),
            Some(node) if node.kind() != head.kind => gone.push((head, format!("it is a {} now", node.kind()))),
            Some(_) => drop(kept.insert(head.node.clone(), head)),
        }
    }
    Ok((kept, gone))
}

/// The step that takes a version out of the environment.
fn removal((head, why): (VersionHead, String)) -> PlanStep {
    let (kind, reason) = match head.kind.as_str() {
        "model" => ("model", format!("{why}; its endpoint goes")),
        "source" => ("source", why),
        _ => ("table", why),
    };
    PlanStep { node: head.node, kind, action: StepAction::Remove, reason, suggestion: None }
}

/// For how many tables a plan looks for a better build: each costs the planning of its SELECT.
const SUGGESTIONS_MAX: usize = 100;

/// Why a node fails before anything of it is built.
pub(crate) const UNEXAMINED: &str = "it could not be examined";

/// Says what a run would do, without doing it.
pub async fn plan(ctx: &Context, options: &RunOptions) -> Result<Planned, Reports> {
    let (mut heads, gone) = heads_and_gone(ctx, &options.environment)?;
    let types = check::types_of_run(&ctx.project, ctx.engine.as_ref(), &ctx.warehouse)?;
    let mut steps = Vec::new();
    let mut open: BTreeSet<NodeName> = BTreeSet::new();
    let mut stopped: BTreeSet<NodeName> = BTreeSet::new();
    let mut mistakes = Reports::default();
    let mut suggested = 0;
    for name in chosen(ctx, options, &heads, &types)? {
        let node = &ctx.project.nodes[&name];
        let reads = || node.reads.iter().map(|(parent, _)| parent);
        let waits: Vec<String> =
            reads().filter(|parent| open.contains(*parent)).map(|parent| format!("`{parent}`")).collect();
        let mut fail = |found: Reports| {
            mistakes.extend(found);
            (StepAction::Fail, UNEXAMINED.to_string())
        };
        let (action, reason) = if let Some(parent) = reads().find(|parent| stopped.contains(*parent)) {
            (StepAction::Withhold, format!("it reads `{parent}`, which cannot be built"))
        } else if let Some(found) = types.unread.get(&name) {
            fail(found.clone())
        } else if waits.is_empty() {
            match decide(ctx, node, (&options.environment, &heads), types.volatile(&name)) {
                Ok(Verdict::Skip(why)) => (StepAction::Skip, why),
                Ok(Verdict::Check(_, why)) => (StepAction::Check, why),
                Ok(Verdict::Build(_, why)) => (StepAction::Build, why.sentence),
                Ok(Verdict::Reuse(head, why)) => {
                    heads.insert(name.clone(), *head);
                    (StepAction::Reuse, why)
                }
                // Its files may be missing or not readable; what is wrong with the state is wrong with all nodes.
                Err(found) if matches!(node.body, Body::Source(_)) => fail(found),
                Err(found) => return Err(found),
            }
        } else {
            let action = if heads.contains_key(&name) { StepAction::Depends } else { StepAction::Build };
            (action, format!("it reads {}, built before it", waits.join(", ")))
        };
        if matches!(action, StepAction::Fail | StepAction::Withhold) {
            stopped.insert(name.clone());
        }
        if matches!(action, StepAction::Build | StepAction::Depends) {
            open.insert(name.clone());
        }
        let suggestion = match &node.body {
            Body::Table(table)
                if matches!(action, StepAction::Build | StepAction::Depends) && suggested < SUGGESTIONS_MAX =>
            {
                suggested += 1;
                let catalog = types.catalog_through_views(&ctx.project, node);
                let volatile = types.volatile(&node.name);
                increment::suggestion(ctx.engine.as_ref(), &ctx.project, &catalog, table, volatile)
            }
            _ => None,
        };
        steps.push(PlanStep { node: name, kind: node.kind(), action, reason, suggestion });
    }
    // Without any version there is nothing to publish, and the environment stays as it is.
    if !heads.is_empty() || !open.is_empty() {
        steps.extend(gone.into_iter().map(removal));
    }
    let publication = ctx.warehouse.state().current_id(&options.environment).map_err(reports)?;
    let rolled_back = environments::rolled_back(ctx, &options.environment)?;
    let environment = options.environment.clone();
    Ok(Planned { environment, publication, rolled_back, steps, reports: mistakes })
}
