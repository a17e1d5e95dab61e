//! A run: builds what changed, in order, and publishes it in one transaction (`finish`).

mod finish;

use crate::backfill::{self, Backfill};
use crate::catalog::{self, Versions};
use crate::check::{self, Types};
use crate::context::{Context, nothing_published, reports};
use crate::fingerprint::Heads;
use crate::outcome::{Event, HeldModel, ModelReport, RunOptions, RunOutcome};
use crate::plan::{self, Verdict};
use crate::refusal::{self, By};
use crate::replay::{self, Replay, Replayed};
use crate::retry::{Attempts, Retried};
use crate::{checks, clock, environments, learned, model, resume, source, succession, table, verify};
use pelton_base::{Digest, NodeName, Report, Reports, RunId, VersionId, thousands};
use pelton_project::{Body, Node, Table};
use pelton_store::{Action, Decision, RunRecord, VersionHead, VersionRecord};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Instant;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// Builds what changed and publishes it. An error means that the run could not begin; how it ended stands in the outcome.
pub async fn run(
    ctx: &Context,
    options: &RunOptions,
    on_event: &(dyn Fn(Event) + Send + Sync),
) -> Result<RunOutcome, Reports> {
    let (sender, mut events) = unbounded_channel();
    let work = Run::begin_and_finish(ctx, options, sender);
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            Some(event) = events.recv() => on_event(event),
            outcome = &mut work => {
                while let Ok(event) = events.try_recv() {
                    on_event(event);
                }
                return outcome;
            }
        }
    }
}

/// Sends events from wherever the work happens.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) run: RunId,
    events: UnboundedSender<Event>,
}

impl Handle {
    pub(crate) fn progress(&self, node: &NodeName, doing: impl Into<String>) {
        self.send(Event::Progress { node: node.clone(), doing: doing.into() });
    }

    pub(crate) fn retrying(&self, again: &Retried) {
        self.send(Event::Retrying(again.clone()));
    }

    fn send(&self, event: Event) {
        // Nobody listens any more when the caller went away; the work goes on.
        let _ = self.events.send(event);
    }
}

/// What the builders of nodes see of the run.
pub(crate) struct Building<'a> {
    pub(crate) ctx: &'a Context,
    pub(crate) run: &'a RunId,
    pub(crate) environment: &'a str,
    heads: &'a Heads,
    versions: &'a Versions,
    handle: &'a Handle,
    said: &'a Mutex<Reports>,
}

impl Building<'_> {
    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    pub(crate) fn progress(&self, node: &NodeName, doing: impl Into<String>) {
        self.handle.progress(node, doing);
    }

    /// Adds something to say at the end that does not stop the node.
    pub(crate) fn warn(&self, report: Report) {
        self.said.lock().expect("nobody panics while holding it").push(report);
    }

    pub(crate) fn heads(&self) -> &Heads {
        self.heads
    }

    /// The versions of this moment of the run; kept beside the heads, because gathering ten thousand for each node takes minutes.
    pub(crate) fn versions(&self) -> &Versions {
        self.versions
    }

    pub(crate) fn head(&self, node: &str) -> Option<&VersionHead> {
        self.heads.get(node)
    }

    /// The versions that a node reads.
    pub(crate) fn inputs(&self, node: &Node) -> Vec<(NodeName, VersionId)> {
        node.reads
            .iter()
            .filter_map(|(name, _)| self.heads.get(name).map(|head| (name.clone(), head.id.clone())))
            .collect()
    }
}

/// How many decisions wait to be recorded: skips take microseconds each, and a transaction takes as long as many of them.
const UNRECORDED_MAX: usize = 256;

/// What became of a node.
enum Done {
    Skipped,
    Checked {
        summary: String,
    },
    Reused,
    /// A new version of a model has what an earlier one learned.
    Relearned {
        summary: String,
        learned_by: VersionId,
    },
    Built {
        summary: String,
    },
    Held {
        version: VersionId,
    },
    Failed {
        summary: String,
    },
    Withheld,
}

struct Run<'a> {
    ctx: &'a Context,
    options: &'a RunOptions,
    id: RunId,
    handle: Handle,
    /// The environment's versions, with those of this run in place.
    heads: Heads,
    /// The ids of those.
    versions: Versions,
    /// Nodes that have no version to build on in this run.
    broken: BTreeSet<NodeName>,
    /// What became of nodes, as far as it is not recorded yet.
    decisions: Vec<Decision>,
    said: Mutex<Reports>,
    outcome: RunOutcome,
}

impl<'a> Run<'a> {
    async fn begin_and_finish(
        ctx: &'a Context,
        options: &'a RunOptions,
        events: UnboundedSender<Event>,
    ) -> Result<RunOutcome, Reports> {
        let began = Instant::now();
        let state = ctx.warehouse.state();
        let by = By { environment: &options.environment, command: &options.command };
        let lock = refusal::lock(ctx, by)?;
        if !options.roll_forward {
            not_undoing_a_rollback(ctx, options, by).await?;
        }
        let current = state.current(&options.environment).map_err(reports)?;
        let heads = plan::heads_of(ctx, &options.environment)?;
        let types = check::types_of_run(&ctx.project, ctx.engine.as_ref(), &ctx.warehouse);
        let types = types.map_err(|mistakes| refusal::noted(ctx, by, mistakes, Vec::new()))?;
        let chosen = plan::chosen(ctx, options, &heads, &types)?;
        let id = RunId::fresh(ctx.now_us());
        let record = RunRecord {
            id: id.clone(),
            environment: options.environment.clone(),
            started_at_us: ctx.now_us(),
            command: options.command.clone(),
            pid: std::process::id(),
        };
        state.begin_run(&record).map_err(reports)?;
        state.note_run(&id, &resume::noted(options)).map_err(reports)?;
        let handle = Handle { run: id.clone(), events };
        handle.send(Event::Began { run: id.clone(), nodes: chosen.len() });
        let outcome = RunOutcome {
            run: id.clone(),
            environment: options.environment.clone(),
            publication: current.as_ref().map(|current| current.id),
            published: false,
            selected: options.select.clone(),
            resumed: options.resumes.clone(),
            built: Vec::new(),
            skipped: Vec::new(),
            checked: Vec::new(),
            reused: Vec::new(),
            removed: Vec::new(),
            withheld: Vec::new(),
            failed: Vec::new(),
            held: Vec::new(),
            models: Vec::new(),
            retried: Vec::new(),
            reports: Reports::default(),
            elapsed_ms: 0,
        };
        let mut run = Run {
            ctx,
            options,
            id,
            handle,
            versions: catalog::versions(&heads),
            heads,
            broken: BTreeSet::new(),
            decisions: Vec::new(),
            said: Mutex::default(),
            outcome,
        };
        for name in chosen {
            let node = &ctx.project.nodes[&name];
            run.node(node, &types).await;
        }
        run.finish(current.map(|current| (current.id, current.nodes)), &lock, began).await
    }

    /// Looks into a node, and again when what it failed of may be gone the next time.
    async fn node(&mut self, node: &Node, types: &Types) {
        let volatile = types.volatile(&node.name);
        let began = Instant::now();
        let mut attempts = Attempts::at(self.ctx, Some(&node.name));
        let mut retried = Vec::new();
        let (done, reason, mut detail) = loop {
            let said = self.said.lock().expect("nobody panics while holding it").0.len();
            let (reported, models) = (self.outcome.reports.0.len(), self.outcome.models.len());
            let (done, reason, detail) = self.attempt(node, types).await;
            let again = match done {
                Done::Failed { .. } if self.can_repeat(node, volatile) => {
                    attempts.after(&self.outcome.reports.0[reported..])
                }
                _ => None,
            };
            let Some(again) = again else { break (done, reason, detail) };
            // What this attempt said does not hold any more.
            self.said.lock().expect("nobody panics while holding it").0.truncate(said);
            self.outcome.reports.0.truncate(reported);
            self.outcome.models.truncate(models);
            self.handle.retrying(&again);
            again.wait().await;
            retried.push(again);
        };
        if !retried.is_empty() {
            detail["retried"] = serde_json::json!(retried);
        }
        let was_idle = matches!(done, Done::Skipped | Done::Withheld);
        self.note(node, done, (reason, detail), began);
        if !was_idle || self.decisions.len() >= UNRECORDED_MAX {
            self.record_decisions();
        }
        self.outcome.retried.extend(retried);
    }

    /// Records what was decided so far, so that a run that dies has said what it did. A skip waits for the next node that takes
    /// any time. What cannot be recorded now is recorded with the publication.
    fn record_decisions(&mut self) {
        if !self.decisions.is_empty() && self.ctx.warehouse.state().record_decisions(&self.id, &self.decisions).is_ok()
        {
            self.decisions.clear();
        }
    }

    /// Tells that a node is looked into that takes time.
    fn started(&mut self, node: &Node) {
        self.record_decisions();
        self.handle.send(Event::Started { node: node.name.clone(), kind: node.kind() });
    }

    /// Whether another attempt finds what the last one recorded: a replay, and SQL that is never skipped, would record it twice.
    fn can_repeat(&self, node: &Node, volatile: &[String]) -> bool {
        let is_replay = self.options.replay.as_ref().is_some_and(|replay| replay.node == node.name);
        let is_found = !is_replay && volatile.is_empty();
        is_found || self.ctx.warehouse.state().nodes_built_in(&self.id).is_ok_and(|built| !built.contains(&node.name))
    }

    /// Decides about a node, and does what was decided.
    async fn attempt(&mut self, node: &Node, types: &Types) -> (Done, String, serde_json::Value) {
        let before = self.heads.get(&node.name).cloned();
        let broken: Vec<&NodeName> =
            node.reads.iter().map(|(parent, _)| parent).filter(|parent| self.broken.contains(*parent)).collect();
        let mut detail = serde_json::Value::Object(serde_json::Map::new());
        let (done, reason) = if let Some(first) = broken.first() {
            (Done::Withheld, format!("it reads `{first}`, which was not built"))
        } else if let Some(mistakes) = types.unread.get(&node.name) {
            (self.failed(mistakes.clone()), plan::UNEXAMINED.into())
        } else if let Some(replay) = self.options.replay.as_ref().filter(|replay| replay.node == node.name) {
            self.started(node);
            self.replay(node, replay).await
        } else if let (Some(backfill), Body::Table(table)) = (&self.options.backfill, &node.body)
            && backfill.node == node.name
        {
            self.started(node);
            self.backfill(node, table, backfill).await
        } else {
            let volatile = types.volatile(&node.name);
            match plan::decide(self.ctx, node, (&self.options.environment, &self.heads), volatile) {
                Ok(Verdict::Skip(why)) => (Done::Skipped, why),
                Ok(Verdict::Check(head, why)) => {
                    self.started(node);
                    (self.check_again(node, &head).await, why)
                }
                Ok(Verdict::Reuse(head, why)) => self.reuse(node, *head, why).await,
                Ok(Verdict::Build(fingerprint, why)) => {
                    self.started(node);
                    detail = serde_json::to_value(&why).unwrap_or_default();
                    (self.build(node, fingerprint).await, why.sentence)
                }
                Err(mistakes) => (self.failed(mistakes), plan::UNEXAMINED.into()),
            }
        };
        let done = self.ask_clock(node, done, before).await;
        (done, reason, detail)
    }

    /// Asks what must hold at every run of the version at which the node stands now; when it does not, the node stays where it was.
    async fn ask_clock(&mut self, node: &Node, done: Done, before: Option<VersionHead>) -> Done {
        let Some(head) = self.heads.get(&node.name).cloned() else { return done };
        if matches!(done, Done::Held { .. } | Done::Failed { .. } | Done::Withheld) {
            return done;
        }
        let asked = clock::ask(&self.building(), node, &head).await;
        let Err(mistakes) = asked else { return done };
        match before {
            Some(before) => self.stands_at(before),
            None => {
                self.heads.remove(&node.name);
                self.versions.remove(&node.name);
            }
        }
        self.failed(mistakes)
    }

    fn building(&self) -> Building<'_> {
        Building {
            ctx: self.ctx,
            run: &self.id,
            environment: &self.options.environment,
            heads: &self.heads,
            versions: &self.versions,
            handle: &self.handle,
            said: &self.said,
        }
    }

    /// Asks the version that stays what it has not been asked yet.
    async fn check_again(&mut self, node: &Node, head: &VersionHead) -> Done {
        let again = checks::again(&self.building(), node, head, true).await;
        match again {
            Ok(again) if again.held.is_empty() => Done::Checked { summary: again.summary.unwrap_or_default() },
            Ok(again) => {
                self.outcome.reports.extend(Reports(again.held));
                Done::Held { version: head.id.clone() }
            }
            Err(mistakes) => self.failed(mistakes),
        }
    }

    /// Takes rows of a source's quarantine in.
    async fn replay(&mut self, node: &Node, replay: &Replay) -> (Done, String) {
        let why = "its quarantine was to be replayed".to_string();
        let Some(head) = self.heads.get(&node.name).cloned() else {
            return (self.failed(nothing_published(&self.options.environment).into()), why);
        };
        let replayed = replay::build(&self.building(), node, &head, replay).await;
        match replayed {
            Ok(Replayed::Nothing(why)) => (Done::Skipped, why),
            Ok(Replayed::Entered(version, why)) => {
                let summary = summary(&version, None);
                self.stands_at(version.head());
                (Done::Built { summary }, why)
            }
            Err(mistakes) => (self.failed(mistakes), why),
        }
    }

    /// Gives an interval table more times.
    async fn backfill(&mut self, node: &Node, table: &Table, wanted: &Backfill) -> (Done, String) {
        let building = self.building();
        let built = backfill::build(&building, (node, table), self.heads.get(&node.name), wanted).await;
        match built {
            Ok((None, why)) => (Done::Skipped, why),
            Ok((Some(version), why)) => {
                // What the version itself says is about its last part.
                let rows = if version.rows == 1 { "row" } else { "rows" };
                let summary = format!("{} {rows}, {why}", thousands(version.rows));
                self.stands_at(version.head());
                (Done::Built { summary }, why)
            }
            Err(mistakes) => (self.failed(mistakes), "times were to be backfilled".into()),
        }
    }

    async fn reuse(&mut self, node: &Node, head: VersionHead, why: String) -> (Done, String) {
        // It was built when the project had other checks.
        let again = checks::again(&self.building(), node, &head, false).await;
        if let Err(mistakes) = again {
            return (self.failed(mistakes), why);
        }
        if let Body::Model(model) = &node.body {
            // What is lost was compared with nothing when the version was built, and cannot be asked now.
            let in_service = self.heads.get(&node.name).filter(|current| !verify::is_lost(current));
            let inputs = Some(&self.versions);
            let judged = model::judge_again(self.ctx, node, model, &head, in_service, inputs).await;
            match judged {
                Ok(held) if held.is_empty() => {}
                Ok(held) => {
                    self.outcome.reports.extend(Reports(held));
                    return (Done::Held { version: head.id }, why);
                }
                Err(mistakes) => return (self.failed(mistakes), plan::UNEXAMINED.into()),
            }
            let noted = self.building().note_accepted(node, &head.id);
            if let Err(mistakes) = noted {
                return (self.failed(mistakes), why);
            }
        }
        self.stands_at(head);
        (Done::Reused, why)
    }

    /// From here on the node has this version.
    fn stands_at(&mut self, head: VersionHead) {
        self.versions.insert(head.node.clone(), head.id.clone());
        self.heads.insert(head.node.clone(), head);
    }

    async fn build(&mut self, node: &Node, fingerprint: Option<Digest>) -> Done {
        let building = self.building();
        let ground = match succession::ground(self.ctx, node, building.environment, self.heads.get(&node.name)) {
            Ok(ground) => ground,
            Err(mistakes) => return self.failed(mistakes),
        };
        let (previous, cover) = (ground.previous.as_ref(), &ground.cover);
        let mut learned_by = None;
        let built: Result<(VersionRecord, Option<ModelReport>, Vec<Report>), Reports> = match (&node.body, fingerprint)
        {
            (Body::Source(settings), _) => {
                source::build(&building, node, settings, previous).await.map(|version| (version, None, Vec::new()))
            }
            (Body::Table(settings), Some(fingerprint)) => {
                let version = table::build(&building, node, settings, fingerprint, previous, cover).await;
                version.map(|version| (version, None, Vec::new()))
            }
            (Body::Model(settings), Some(fingerprint)) => {
                let in_service = building.head(node.name.as_str()).filter(|head| !verify::is_lost(head));
                let trained = model::build(&building, node, settings, fingerprint, in_service).await;
                trained.map(|trained| {
                    learned_by = trained.learned_by;
                    (trained.version, Some(trained.report), trained.held)
                })
            }
            _ => Err(Report::error("node-failed", format!("`{}` reads a node that has no version", node.name)).into()),
        };
        match built {
            Ok((version, report, held)) => {
                let noted = if held.is_empty() { building.note_accepted(node, &version.id) } else { Ok(()) };
                if let Err(mistakes) = noted {
                    return self.failed(mistakes);
                }
                let summary = summary(&version, report.as_ref());
                self.outcome.models.extend(report.filter(|_| learned_by.is_none()));
                if !held.is_empty() {
                    self.outcome.reports.extend(Reports(held));
                    return Done::Held { version: version.id };
                }
                self.stands_at(version.head());
                match learned_by {
                    Some(learned_by) => Done::Relearned { summary, learned_by },
                    None => Done::Built { summary },
                }
            }
            Err(mistakes) => self.failed(mistakes),
        }
    }

    fn failed(&mut self, mistakes: Reports) -> Done {
        let why = mistakes.first_error().map(|first| first.code.to_string());
        let summary = why.unwrap_or_else(|| "it failed without a reason".into());
        self.outcome.reports.extend(mistakes);
        Done::Failed { summary }
    }

    fn note(&mut self, node: &Node, done: Done, (mut reason, mut detail): (String, serde_json::Value), began: Instant) {
        let name = node.name.clone();
        let (action, summary) = match done {
            Done::Skipped => {
                self.outcome.skipped.push(name.clone());
                (Action::Skipped, reason.clone())
            }
            Done::Checked { summary } => {
                self.outcome.checked.push(name.clone());
                (Action::Checked, summary)
            }
            Done::Reused => {
                self.outcome.reused.push(name.clone());
                (Action::Reused, reason.clone())
            }
            Done::Relearned { summary, learned_by } => {
                reason = learned::reason(&reason, &learned_by);
                self.outcome.reused.push(name.clone());
                (Action::Reused, format!("{summary}, not trained again"))
            }
            Done::Built { summary } => {
                self.outcome.built.push(name.clone());
                (Action::Built, summary)
            }
            Done::Held { version } => {
                let in_service = self.heads.get(&name).map(|head| head.id.clone());
                let stays = match &in_service {
                    Some(version) => format!("version {version} stays in service"),
                    None => "nothing of it is in service".to_string(),
                };
                if in_service.is_none() {
                    self.broken.insert(name.clone());
                }
                self.outcome.held.push(HeldModel { node: name.clone(), version, in_service });
                (Action::Held, format!("missed its gate; {stays}"))
            }
            Done::Failed { summary } => {
                self.broken.insert(name.clone());
                self.outcome.failed.push(name.clone());
                (Action::Failed, summary)
            }
            Done::Withheld => {
                self.broken.insert(name.clone());
                self.outcome.withheld.push(name.clone());
                (Action::Withheld, reason.clone())
            }
        };
        detail["summary"] = summary.as_str().into();
        self.decisions.push(Decision { node: name.clone(), action, reason, detail });
        self.handle.send(Event::Finished {
            node: name,
            kind: node.kind(),
            action: action.as_str(),
            summary,
            elapsed_ms: began.elapsed().as_millis() as u64,
        });
    }
}

/// Refuses a run that would bring back what a rollback took out, remove what it brought back, or put something new in its place.
async fn not_undoing_a_rollback(ctx: &Context, options: &RunOptions, by: By<'_>) -> Result<(), Reports> {
    let Some(back) = environments::rolled_back(ctx, &options.environment)? else { return Ok(()) };
    let planned = plan::plan(ctx, options).await;
    let planned = planned.map_err(|mistakes| refusal::noted(ctx, by, mistakes, Vec::new()))?;
    // Where a run would fail, the environment stays as it is.
    let changing = planned.steps.iter().filter(|step| step.action.changes_environment());
    let mut nodes: Vec<NodeName> = changing.map(|step| step.node.clone()).collect();
    nodes.extend(options.replay.iter().map(|replay| replay.node.clone()));
    nodes.extend(options.backfill.iter().map(|backfill| backfill.node.clone()));
    if nodes.is_empty() {
        return Ok(());
    }
    // A node of another kind than before is built and removed.
    let mut seen = BTreeSet::new();
    nodes.retain(|node| seen.insert(node.clone()));
    let names: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    let refused = environments::refuse_to_undo(&options.environment, back, &names);
    let about = nodes.into_iter().map(|node| (node, refused.message.clone())).collect();
    Err(refusal::noted(ctx, by, refused.into(), about))
}

fn summary(version: &VersionRecord, report: Option<&ModelReport>) -> String {
    if let Some(report) = report {
        let metric = report.metrics.get(&report.metric).copied().unwrap_or(f64::NAN);
        return format!("{} {} {metric:.4}", report.learner, report.metric);
    }
    if version.is_view() {
        return "view".into();
    }
    let mut text = format!("{} {}", thousands(version.rows), if version.rows == 1 { "row" } else { "rows" });
    if let Some(how) = version.detail.get("how").and_then(|how| how.as_str()) {
        text.push_str(&format!(", {how}"));
    }
    if version.quarantined > 0 {
        text.push_str(&format!(", {} quarantined", thousands(version.quarantined)));
    }
    if version.dropped > 0 {
        text.push_str(&format!(", {} dropped", thousands(version.dropped)));
    }
    text
}
