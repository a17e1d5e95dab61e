//! What is known about a node: its version in an environment, its columns, checks and metrics; and why it was built or skipped.

use crate::catalog::{self, Versions};
use crate::check::TypedColumn;
use crate::context::Context;
use pelton_base::{Digest, NodeName, Report, format_time_us};
use pelton_project::{Body, Check, Node};
use pelton_store::{CheckRecord, PastDecision, StoreError, VersionRecord};
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
    /// Its file; `None` when the project does not have it, or cannot be read.
    pub file: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its version in the environment.
    pub version: Option<String>,
    /// The version's digest.
    pub digest: Option<Digest>,
    /// The version's rows, unless it is a view; of a model, its training examples.
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
    /// `passed`, `failed`, `warned` or `learning`.
    pub outcome: &'static str,
    /// Rows that break it.
    pub failed_rows: u64,
    /// Rows that were checked.
    pub rows: u64,
    /// What was found, of checks that are not about single rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fact: Option<String>,
}

/// Everything that is known about a node: what the project says of it, and its version in the environment. A node that is published
/// and not in the project, or whose project cannot be read, is told from its version alone.
pub fn show(ctx: &Context, environment: &str, name: &NodeName) -> Result<Shown, Report> {
    let state = ctx.warehouse.state();
    let store = |error: StoreError| error.report();
    let published = state.current(environment).map_err(store)?.map(|current| current.nodes).unwrap_or_default();
    let version = match published.get(name) {
        Some(id) => state.version(id).map_err(store)?,
        None => None,
    };
    let node = ctx.project.nodes.get(name);
    if node.is_none() && version.is_none() {
        return Err(unknown(ctx, name, published.keys()));
    }
    let mut checks = match &version {
        Some(version) => state.checks_of(&version.id).map_err(store)?,
        None => Vec::new(),
    };
    // A version may have been asked more than once: the newest answer counts, of checks as they are now.
    let is_current = |record: &CheckRecord| {
        let is_same = |check: &Check| pelton_quality::is_answer_of(check, &record.name, &record.rule);
        node.is_none_or(|node| node.checks().iter().any(is_same))
    };
    checks.retain(is_current);
    let newest: BTreeMap<String, usize> =
        checks.iter().enumerate().map(|(at, check)| (check.name.clone(), at)).collect();
    let mut at = 0..;
    checks.retain(|check| newest.get(&check.name).copied() == at.next());
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
    let told = match (node, &version) {
        (Some(node), _) => of_project(ctx, node),
        (None, version) => of_version(ctx, version.as_ref(), &published)?,
    };
    let descriptions = node.map(descriptions).unwrap_or_default();
    Ok(Shown {
        name: name.clone(),
        kind: told.kind,
        description: node.and_then(|node| node.description.clone()),
        file: node.map(|node| node.file.clone()),
        tags: node.map(|node| node.tags.clone()).unwrap_or_default(),
        digest: version.as_ref().map(|version| version.digest),
        rows: version.as_ref().and_then(VersionRecord::rows_known),
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
        reads: told.reads,
        read_by: told.read_by,
        checks: checks
            .into_iter()
            .map(|check| ShownCheck {
                name: check.name,
                rule: check.rule,
                outcome: check.outcome.as_str(),
                failed_rows: check.failed_rows,
                rows: check.rows,
                fact: check.fact,
            })
            .collect(),
        metrics,
        card,
        sql: told.sql,
    })
}

/// What a node is, from its file or from its version.
struct Told {
    kind: &'static str,
    reads: Vec<NodeName>,
    read_by: Vec<NodeName>,
    sql: Option<String>,
}

fn of_project(ctx: &Context, node: &Node) -> Told {
    let reads = |other: &&Node| other.reads.iter().any(|(parent, _)| *parent == node.name);
    Told {
        kind: node.kind(),
        reads: node.reads.iter().map(|(parent, _)| parent.clone()).collect(),
        read_by: ctx.project.nodes.values().filter(reads).map(|other| other.name.clone()).collect(),
        sql: match &node.body {
            Body::Source(_) => None,
            Body::Table(table) => Some(table.select.sql.clone()),
            Body::Model(model) => Some(model.select.sql.clone()),
        },
    }
}

fn of_version(ctx: &Context, version: Option<&VersionRecord>, published: &Versions) -> Result<Told, Report> {
    let mut told = Told { kind: "table", reads: Vec::new(), read_by: Vec::new(), sql: None };
    let Some(version) = version else { return Ok(told) };
    told.kind = ["source", "model"].into_iter().find(|kind| version.kind == *kind).unwrap_or(told.kind);
    told.reads = version.inputs.iter().map(|(parent, _)| parent.clone()).collect();
    told.sql = version.detail.get("sql").and_then(|sql| sql.as_str()).map(str::to_string);
    for (name, id) in published {
        if catalog::load(ctx, id)?.inputs.iter().any(|(parent, _)| *parent == version.node) {
            told.read_by.push(name.clone());
        }
    }
    Ok(told)
}

/// The newest decisions about a node, whether it is still in the project or not.
pub fn why(ctx: &Context, name: &NodeName, limit: usize) -> Result<Vec<PastDecision>, Report> {
    let state = ctx.warehouse.state();
    let store = |error: StoreError| error.report();
    let decisions = state.last_decisions(name, limit).map_err(store)?;
    if decisions.is_empty() && !ctx.project.nodes.contains_key(name) {
        let published = state.current("main").map_err(store)?.map(|current| current.nodes).unwrap_or_default();
        return Err(unknown(ctx, name, published.keys()));
    }
    Ok(decisions)
}

fn unknown<'a>(ctx: &'a Context, name: &NodeName, published: impl Iterator<Item = &'a NodeName>) -> Report {
    let known = ctx.project.nodes.keys().chain(published).map(NodeName::as_str);
    Report::error("unknown-node", format!("there is no node `{name}`"))
        .suggest(name.as_str(), known)
        .hint("pelton graph")
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
