//! What is known about a node: its version in an environment, its columns, checks and metrics; and why it was built or skipped.

use crate::check::TypedColumn;
use crate::context::Context;
use pelton_base::{Digest, NodeName, Report, format_time_us};
use pelton_project::{Body, Node};
use pelton_store::{PastDecision, StoreError};
use serde::Serialize;
use std::collections::BTreeMap;

/// A node as `pelton show` tells it.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    /// Its name.
    pub name: NodeName,
    /// `source`, `table` or `model`.
    pub kind: &'static str,
    /// Its description.
    pub description: Option<String>,
    /// Its file.
    pub file: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its version in the environment.
    pub version: Option<String>,
    /// The version's digest.
    pub digest: Option<Digest>,
    /// The version's rows; of a model, its training examples.
    pub rows: Option<u64>,
    /// The version's size.
    pub bytes: Option<u64>,
    /// When the version was built, RFC 3339.
    pub built_at: Option<String>,
    /// The run that built it.
    pub run: Option<String>,
    /// Rows that are in quarantine.
    pub quarantined: Option<u64>,
    /// Rows that a declared rule dropped.
    pub dropped: Option<u64>,
    /// The version's columns.
    pub columns: Vec<ShownColumn>,
    /// What it reads.
    pub reads: Vec<NodeName>,
    /// What reads it.
    pub read_by: Vec<NodeName>,
    /// The version's checks.
    pub checks: Vec<ShownCheck>,
    /// A model's metrics on the test part.
    pub metrics: BTreeMap<String, f64>,
    /// A model's card, Markdown.
    pub card: Option<String>,
    /// The SELECT.
    pub sql: Option<String>,
}

/// A column.
#[derive(Debug, Clone, Serialize)]
pub struct ShownColumn {
    /// Name and type.
    #[serde(flatten)]
    pub column: TypedColumn,
    /// Its description.
    pub description: Option<String>,
}

/// A check and how it ended.
#[derive(Debug, Clone, Serialize)]
pub struct ShownCheck {
    /// Its name.
    pub name: String,
    /// The rule.
    pub rule: String,
    /// `passed`, `failed` or `warned`.
    pub outcome: &'static str,
    /// Rows that break it.
    pub failed_rows: u64,
    /// Rows that were checked.
    pub rows: u64,
}

/// Everything that is known about a node of the project.
pub fn show(ctx: &Context, environment: &str, name: &NodeName) -> Result<Shown, Report> {
    let node = node_of(ctx, name)?;
    let state = ctx.warehouse.state();
    let store = |error: StoreError| error.report();
    let current = state.current(environment).map_err(store)?;
    let version = match current.as_ref().and_then(|current| current.nodes.get(name)) {
        Some(id) => state.version(id).map_err(store)?,
        None => None,
    };
    let checks = match &version {
        Some(version) => state.checks_of(&version.id).map_err(store)?,
        None => Vec::new(),
    };
    let card = version.as_ref().and_then(|version| version.detail.get("card_markdown")).and_then(|card| card.as_str());
    let card = match card.and_then(Digest::parse) {
        Some(digest) => {
            let bytes = ctx.warehouse.artifacts().get(digest).map_err(store)?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        }
        None => None,
    };
    let metrics = match &version {
        Some(version) => {
            let learner = version.detail.get("learner").and_then(|learner| learner.as_str()).unwrap_or_default();
            let all = state.metrics_of(&version.id).map_err(store)?;
            let judged = all.into_iter().filter(|metric| metric.part == "test" && metric.learner == learner);
            judged.map(|metric| (metric.metric, metric.value)).collect()
        }
        None => BTreeMap::new(),
    };
    let descriptions = descriptions(node);
    Ok(Shown {
        name: name.clone(),
        kind: node.kind(),
        description: node.description.clone(),
        file: node.file.clone(),
        tags: node.tags.clone(),
        digest: version.as_ref().map(|version| version.digest),
        rows: version.as_ref().map(|version| version.rows),
        bytes: version.as_ref().map(|version| version.bytes),
        built_at: version.as_ref().map(|version| format_time_us(version.built_at_us)),
        run: version.as_ref().map(|version| version.run.0.clone()),
        quarantined: version.as_ref().map(|version| version.quarantined),
        dropped: version.as_ref().map(|version| version.dropped),
        columns: version
            .iter()
            .flat_map(|version| &version.columns)
            .map(|column| ShownColumn {
                description: descriptions.get(column.name.as_str()).cloned(),
                column: TypedColumn { name: column.name.clone(), data_type: column.data_type.clone() },
            })
            .collect(),
        version: version.map(|version| version.id.0),
        reads: node.reads.iter().map(|(parent, _)| parent.clone()).collect(),
        read_by: ctx
            .project
            .nodes
            .values()
            .filter(|other| other.reads.iter().any(|(parent, _)| parent == name))
            .map(|other| other.name.clone())
            .collect(),
        checks: checks
            .into_iter()
            .map(|check| ShownCheck {
                name: check.name,
                rule: check.rule,
                outcome: check.outcome.as_str(),
                failed_rows: check.failed_rows,
                rows: check.rows,
            })
            .collect(),
        metrics,
        card,
        sql: match &node.body {
            Body::Source(_) => None,
            Body::Table(table) => Some(table.select.sql.clone()),
            Body::Model(model) => Some(model.select.sql.clone()),
        },
    })
}

/// The newest decisions about a node.
pub fn why(ctx: &Context, name: &NodeName, limit: usize) -> Result<Vec<PastDecision>, Report> {
    node_of(ctx, name)?;
    ctx.warehouse.state().last_decisions(name, limit).map_err(|error| error.report())
}

fn node_of<'a>(ctx: &'a Context, name: &NodeName) -> Result<&'a Node, Report> {
    ctx.project.nodes.get(name).ok_or_else(|| {
        let known = ctx.project.nodes.keys().map(NodeName::as_str);
        Report::error("unknown-node", format!("no node is called `{name}`")).suggest(name.as_str(), known)
    })
}

fn descriptions(node: &Node) -> BTreeMap<&str, String> {
    let noted = |name, description: &Option<String>| description.clone().map(|text| (name, text));
    match &node.body {
        Body::Source(source) => {
            source.columns.iter().filter_map(|column| noted(column.name.value.as_str(), &column.description)).collect()
        }
        Body::Table(table) => {
            table.columns.iter().filter_map(|column| noted(column.name.value.as_str(), &column.description)).collect()
        }
        Body::Model(_) => BTreeMap::new(),
    }
}
