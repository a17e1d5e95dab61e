//! What a plan and a run say, as values; the command line prints them, and `--format json` is their serialization.

use crate::backfill::Backfill;
use crate::environments::RolledBack;
use crate::replay::Replay;
use crate::resume::Resumed;
use crate::retry::Retried;
use pelton_base::{NodeName, Reports, RunId, VersionId};
use serde::Serialize;
use std::collections::BTreeMap;

/// What to run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The environment that is read and published to.
    pub environment: String,
    /// Selectors; empty means every node.
    pub select: Vec<String>,
    /// The command as typed, for the record.
    pub command: String,
    /// Whether the run may bring back what a rollback took out.
    pub roll_forward: bool,
    /// Rows of a source's quarantine to be taken in.
    pub replay: Option<Replay>,
    /// The run that is gone on with, see [`crate::resume`].
    pub resumes: Option<Resumed>,
    /// Times that an interval table is to get.
    pub backfill: Option<Backfill>,
}

impl Default for RunOptions {
    fn default() -> Self {
        RunOptions {
            environment: "main".into(),
            select: Vec::new(),
            command: "run".into(),
            roll_forward: false,
            replay: None,
            resumes: None,
            backfill: None,
        }
    }
}

/// What a plan means to do with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepAction {
    /// Build a new version.
    Build,
    /// The version in the environment is current.
    Skip,
    /// The version in the environment is current, and is asked checks that it was not asked before.
    Check,
    /// A version that an earlier run built, and that is not in the environment, is current.
    Reuse,
    /// It depends on a node that is built first; whether it changes is known then.
    Depends,
    /// The environment has it and the project does not any more: it leaves with the run's publication, whatever is selected.
    Remove,
    /// It cannot be examined, so a run would fail at it: the plan's reports say why.
    Fail,
    /// It reads a node at which a run would fail, and stays as it is.
    Withhold,
}

impl StepAction {
    /// Whether the environment may have another version of the node after it, or none.
    pub(crate) fn changes_environment(self) -> bool {
        match self {
            StepAction::Build | StepAction::Reuse | StepAction::Depends | StepAction::Remove => true,
            StepAction::Skip | StepAction::Check | StepAction::Fail | StepAction::Withhold => false,
        }
    }
}

/// A node's part of a plan.
#[derive(Debug, Clone, Serialize)]
pub struct PlanStep {
    /// The node.
    pub node: NodeName,
    /// `source`, `table` or `model`.
    pub kind: &'static str,
    /// What is meant to happen.
    pub action: StepAction,
    /// Why, in a sentence.
    pub reason: String,
    /// A build that would do less work for a table that is built anew each time, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
}

/// What a run would do.
#[derive(Debug, Clone, Serialize)]
pub struct Planned {
    /// The environment.
    pub environment: String,
    /// Its publication now, when it has one.
    pub publication: Option<i64>,
    /// That this publication is a rollback: a run that would change something is refused then, unless it is told to roll forward.
    pub rolled_back: Option<RolledBack>,
    /// Every selected node, in the order in which it would run; then the nodes that would leave the environment.
    pub steps: Vec<PlanStep>,
    /// What is wrong with the nodes at which it would fail.
    pub reports: Reports,
}

impl Planned {
    /// Whether a run would build, reuse, re-examine or remove anything.
    pub fn changes_anything(&self) -> bool {
        let does = |action: StepAction| !matches!(action, StepAction::Skip | StepAction::Fail | StepAction::Withhold);
        self.steps.iter().any(|step| does(step.action))
    }
}

/// What happens while a run goes on.
#[derive(Debug, Clone)]
pub enum Event {
    /// The run began; so many nodes are selected.
    Began {
        /// The run.
        run: RunId,
        /// How many nodes it looks at.
        nodes: usize,
    },
    /// A node is being built.
    Started {
        /// The node.
        node: NodeName,
        /// `source`, `table` or `model`.
        kind: &'static str,
    },
    /// A node's build got further.
    Progress {
        /// The node.
        node: NodeName,
        /// What it does now, in a few words.
        doing: String,
    },
    /// An attempt at a node, or at the publication, failed, and is followed by another one.
    Retrying(Retried),
    /// A node is done.
    Finished {
        /// The node.
        node: NodeName,
        /// `source`, `table` or `model`.
        kind: &'static str,
        /// `built`, `skipped`, `checked`, `reused`, `withheld`, `failed` or `held`.
        action: &'static str,
        /// A few words: rows, quarantined rows, a metric, or the reason.
        summary: String,
        /// How long it took.
        elapsed_ms: u64,
    },
    /// Everything is built; the environment is being switched.
    Publishing,
}

/// How a trained model compares.
#[derive(Debug, Clone, Serialize)]
pub struct ModelReport {
    /// The model.
    pub node: NodeName,
    /// Its new version.
    pub version: VersionId,
    /// The learner that was chosen.
    pub learner: String,
    /// The metric by which candidates are compared.
    pub metric: String,
    /// The chosen learner's metrics on the test part.
    pub metrics: BTreeMap<String, f64>,
    /// The baseline's metrics on the test part.
    pub baseline: BTreeMap<String, f64>,
    /// Whether it met its gate.
    pub accepted: bool,
}

/// A model that missed its gate.
#[derive(Debug, Clone, Serialize)]
pub struct HeldModel {
    /// The model.
    pub node: NodeName,
    /// The version that was held back.
    pub version: VersionId,
    /// The version that stays in service, when there is one.
    pub in_service: Option<VersionId>,
}

/// How a run ended.
#[derive(Debug, Clone, Serialize)]
pub struct RunOutcome {
    /// The run.
    pub run: RunId,
    /// The environment.
    pub environment: String,
    /// The environment's publication after the run, when it has one.
    pub publication: Option<i64>,
    /// Whether this run made that publication.
    pub published: bool,
    /// The selectors; none selects every node.
    pub selected: Vec<String>,
    /// The run that this one went on with.
    pub resumed: Option<Resumed>,
    /// Nodes of which a new version was built.
    pub built: Vec<NodeName>,
    /// Nodes whose version was current.
    pub skipped: Vec<NodeName>,
    /// Nodes whose version was current, and was asked checks that it had not been asked before.
    pub checked: Vec<NodeName>,
    /// Nodes for which a version of an earlier run was taken, and models of which a new version took over what an earlier one learned.
    pub reused: Vec<NodeName>,
    /// Nodes that left the environment with the publication, because the project does not have them any more.
    pub removed: Vec<NodeName>,
    /// Nodes that were not built because something that they read failed, or not published because a model that stays in service could
    /// not look them up.
    pub withheld: Vec<NodeName>,
    /// Nodes that failed.
    pub failed: Vec<NodeName>,
    /// Models that missed their gate.
    pub held: Vec<HeldModel>,
    /// Models that were trained.
    pub models: Vec<ModelReport>,
    /// Attempts that failed and were followed by another one.
    pub retried: Vec<Retried>,
    /// What there is to say: failures, held models, warnings.
    pub reports: Reports,
    /// How long the run took.
    pub elapsed_ms: u64,
}

impl RunOutcome {
    /// 0 when everything selected is published, else what the reports say, at least 1.
    pub fn exit_code(&self) -> u8 {
        let incomplete = !self.failed.is_empty() || !self.withheld.is_empty() || !self.held.is_empty();
        self.reports.exit_code().max(u8::from(incomplete))
    }
}
