//! Column lineage of a project: what each column of each node is made from, up to what endpoints answer; no data is read.
//!
//! The engine says it of one SELECT over the columns of the nodes that it reads; here the SELECTs are put together (`build`), with what
//! stands beside them: features joined as of a time, derived columns, what a model learns from and answers, checks that remove rows.
//! `impact` follows the links forward, [`ColumnGraph::shown`] backward. Every link is kept once and walked at most once an answer, so an
//! answer takes time in proportion to the graph.

mod build;
mod impact;

pub use build::lineage;
pub use impact::{Affected, AffectedColumn, AffectedEndpoint, AffectedNode, Impact, Step};

use pelton_base::{NodeName, Report};
use pelton_project::Project;
use pelton_query::How;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What takes part in a column, or in the rows of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Link {
    /// The node's number in [`ColumnGraph::nodes`].
    pub(crate) node: usize,
    /// The column's index; absent for the rows as a whole.
    pub(crate) column: Option<usize>,
    pub(crate) how: How,
}

#[derive(Debug)]
pub(crate) struct GraphColumn {
    pub(crate) name: String,
    pub(crate) data_type: String,
    pub(crate) part: Part,
    pub(crate) from: Vec<Link>,
}

/// What a column is to its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// A column of a source or of a SELECT.
    Column,
    /// What a model takes from a feature table.
    Feature,
    /// What a model computes row by row.
    Derived,
    /// What a model's endpoint answers.
    Answer,
}

#[derive(Debug)]
pub(crate) struct GraphNode {
    pub(crate) name: NodeName,
    pub(crate) kind: &'static str,
    pub(crate) columns: Vec<GraphColumn>,
    /// What decides which rows there are.
    pub(crate) rows: Vec<Link>,
    /// Of a model: the columns that a request carries, by index.
    pub(crate) request: Vec<usize>,
}

/// What each column of a project is made from. Nodes stand after what they read.
#[derive(Debug)]
pub struct ColumnGraph {
    pub(crate) nodes: Vec<GraphNode>,
    pub(crate) numbers: BTreeMap<NodeName, usize>,
}

/// A column, or the rows of a node as a whole, that takes part in another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnOrigin {
    /// The node.
    pub node: NodeName,
    /// The column; `None` for the rows as a whole.
    pub column: Option<String>,
    /// How.
    pub how: How,
}

/// A column and what it is made from.
#[derive(Debug, Clone, Serialize)]
pub struct ColumnOrigins {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub data_type: String,
    /// What it is to its node.
    pub part: Part,
    /// What it is made from, one step back; nothing of a literal and of a source's column.
    pub from: Vec<ColumnOrigin>,
}

/// The columns of a node and what they are made from.
#[derive(Debug, Clone, Serialize)]
pub struct NodeOrigins {
    /// The node.
    pub node: NodeName,
    /// `source`, `table` or `model`.
    pub kind: &'static str,
    /// Its columns; of a model also its features, derived columns, and what its endpoint answers.
    pub columns: Vec<ColumnOrigins>,
    /// What decides which rows there are; it concerns every column.
    pub rows: Vec<ColumnOrigin>,
}

/// A column of a node, with where it begins and where it goes.
#[derive(Debug, Clone, Serialize)]
pub struct ShownOrigins {
    /// The column, and what it is made from.
    #[serde(flatten)]
    pub column: ColumnOrigins,
    /// The columns of sources whose values go into it, over any number of steps.
    pub sources: Vec<String>,
    /// The columns that its value goes into, one step on.
    pub used_by: Vec<ColumnOrigin>,
}

/// A node's columns as `pelton show NODE --columns` tells them.
#[derive(Debug, Clone, Serialize)]
pub struct ShownColumns {
    /// The node.
    pub node: NodeName,
    /// `source`, `table` or `model`.
    pub kind: &'static str,
    /// Its columns.
    pub columns: Vec<ShownOrigins>,
    /// What decides which rows there are; it concerns every column.
    pub rows: Vec<ColumnOrigin>,
}

impl ColumnGraph {
    /// Every node and its columns, each node after what it reads.
    pub fn origins(&self) -> Vec<NodeOrigins> {
        let origins = |node: &GraphNode| NodeOrigins {
            node: node.name.clone(),
            kind: node.kind,
            columns: node.columns.iter().map(|column| self.column_origins(column)).collect(),
            rows: self.links(&node.rows),
        };
        self.nodes.iter().map(origins).collect()
    }

    /// The columns of one node.
    pub fn shown(&self, name: &NodeName) -> Result<ShownColumns, Report> {
        let number = self.number(name)?;
        let node = &self.nodes[number];
        let mut used_by: Vec<Vec<ColumnOrigin>> = vec![Vec::new(); node.columns.len()];
        for reader in &self.nodes[number..] {
            for column in &reader.columns {
                for link in column.from.iter().filter(|link| link.node == number && link.how.is_direct()) {
                    if let Some(used) = link.column {
                        let (node, column) = (reader.name.clone(), Some(column.name.clone()));
                        used_by[used].push(ColumnOrigin { node, column, how: link.how });
                    }
                }
            }
        }
        let columns = node.columns.iter().zip(used_by).map(|(column, used_by)| ShownOrigins {
            column: self.column_origins(column),
            sources: self.sources(&column.from),
            used_by,
        });
        Ok(ShownColumns {
            node: node.name.clone(),
            kind: node.kind,
            columns: columns.collect(),
            rows: self.links(&node.rows),
        })
    }

    /// The columns of sources at the beginning of these links, by name.
    fn sources(&self, from: &[Link]) -> Vec<String> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        let mut open: Vec<Link> = from.to_vec();
        while let Some(link) = open.pop() {
            let Some(column) = link.column.filter(|_| link.how.is_direct()) else { continue };
            if !seen.insert((link.node, column)) {
                continue;
            }
            let node = &self.nodes[link.node];
            if node.kind == "source" {
                found.push(format!("{}.{}", node.name, node.columns[column].name));
            }
            open.extend(&node.columns[column].from);
        }
        found.sort();
        found
    }

    fn column_origins(&self, column: &GraphColumn) -> ColumnOrigins {
        ColumnOrigins {
            name: column.name.clone(),
            data_type: column.data_type.clone(),
            part: column.part,
            from: self.links(&column.from),
        }
    }

    fn links(&self, links: &[Link]) -> Vec<ColumnOrigin> {
        links.iter().map(|link| self.origin(*link)).collect()
    }

    fn origin(&self, link: Link) -> ColumnOrigin {
        let node = &self.nodes[link.node];
        let column = link.column.map(|column| node.columns[column].name.clone());
        ColumnOrigin { node: node.name.clone(), column, how: link.how }
    }

    fn number(&self, name: &NodeName) -> Result<usize, Report> {
        self.numbers.get(name).copied().ok_or_else(|| {
            Report::error("unknown-node", format!("there is no node `{name}`"))
                .suggest(name.as_str(), self.numbers.keys().map(NodeName::as_str))
                .hint("pelton graph")
        })
    }
}

/// What a mistake in `name` stops beside it, as a note for its report; `None` when that is nothing.
///
/// Told from the names that files mention alone, because the columns of what reads a mistake are not known.
pub(crate) fn stops(project: &Project, readers: &BTreeMap<NodeName, Vec<NodeName>>, name: &NodeName) -> Option<String> {
    let mut seen = BTreeSet::from([name]);
    let mut open = vec![name];
    while let Some(node) = open.pop() {
        open.extend(readers.get(node).into_iter().flatten().filter(|reader| seen.insert(reader)));
    }
    let of_kind = |kind: &str| {
        let nodes = seen.iter().filter(|node| project.nodes[**node].kind() == kind);
        nodes.map(|node| node.as_str()).collect::<Vec<_>>()
    };
    let mut tables = of_kind("table");
    tables.retain(|table| *table != name.as_str());
    // A model and its endpoint have one name, so the endpoint stands for both.
    let told = [listed("table", &tables), listed("endpoint", &of_kind("model"))];
    let told: Vec<String> = told.into_iter().flatten().collect();
    (!told.is_empty()).then(|| format!("this also stops {}", told.join(" and ")))
}

/// ``tables `a`, `b` and 3 more``; `None` without names.
fn listed(noun: &str, names: &[&str]) -> Option<String> {
    const SHOWN_MAX: usize = 10;
    let shown: Vec<String> = names.iter().take(SHOWN_MAX).map(|name| format!("`{name}`")).collect();
    let shown = shown.join(", ");
    match (names.len(), names.len().saturating_sub(SHOWN_MAX)) {
        (0, _) => None,
        (1, _) => Some(format!("{noun} {shown}")),
        (_, 0) => Some(format!("{noun}s {shown}")),
        (_, more) => Some(format!("{noun}s {shown}, {more} more")),
    }
}
