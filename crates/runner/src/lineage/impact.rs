//! What depends on a column: every table, model and endpoint, with the way from the column to each.

use super::{ColumnGraph, ColumnOrigin, GraphNode, Link, Part};
use pelton_base::{NodeName, Report};
use pelton_query::How;
use serde::Serialize;
use std::collections::VecDeque;

/// How a column or the rows of a node depend on the column that was asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Affected {
    /// Whether its value goes into it; otherwise it only decides which rows there are, or which of them count.
    pub direct: bool,
    /// The last step of the shortest way: the column that it is made from.
    pub via: ColumnOrigin,
}

/// A column that depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AffectedColumn {
    /// The column.
    pub column: String,
    /// How.
    #[serde(flatten)]
    pub affected: Affected,
}

/// A table or model that depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AffectedNode {
    /// The node.
    pub node: NodeName,
    /// `source`, `table` or `model`.
    pub kind: &'static str,
    /// The columns that depend on it in a way of their own.
    pub columns: Vec<AffectedColumn>,
    /// How it decides which rows there are, which concerns every column; `None` when it does not.
    pub rows: Option<Affected>,
}

/// A step of a way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The node.
    pub node: NodeName,
    /// The column; `None` for the rows as a whole.
    pub column: Option<String>,
    /// How it is made from the step before; `None` of the first.
    pub how: Option<How>,
}

/// An endpoint that depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AffectedEndpoint {
    /// The model.
    pub model: NodeName,
    /// What is answered otherwise.
    pub answer: Vec<String>,
    /// What a request carries under this name and type because of it.
    pub request: Vec<String>,
    /// Whether its value goes into the answer.
    pub direct: bool,
    /// The way from the column to the answer, or to what a request carries.
    pub path: Vec<Step>,
}

/// What depends on a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Impact {
    /// The node of the column.
    pub node: NodeName,
    /// Its kind.
    pub kind: &'static str,
    /// The column.
    pub column: String,
    /// Sources, tables and models, every one after what it reads; first of all the node itself, when its other columns depend on it.
    pub nodes: Vec<AffectedNode>,
    /// Endpoints.
    pub endpoints: Vec<AffectedEndpoint>,
}

/// How something was reached: from where, and whether by direct links alone.
#[derive(Debug, Clone, Copy)]
struct Reached {
    direct: bool,
    /// Absent of the beginning.
    via: Option<(usize, How)>,
}

impl ColumnGraph {
    /// What depends on `NODE.COLUMN`; fails with a suggestion when there is no such column.
    pub fn impact(&self, written: &str) -> Result<Impact, Report> {
        let (name, column) = self.find(written)?;
        let vertices = Vertices::of(self);
        let begin = vertices.number(Link { node: name, column: Some(column), how: How::Rows });
        let reached = self.reach(&vertices, begin);
        let affected = |vertex: usize| {
            let found: Reached = reached[vertex]?;
            let (from, how) = found.via?;
            let link = Link { how, ..vertices.link(from) };
            Some(Affected { direct: found.direct, via: self.origin(link) })
        };
        let mut impact = Impact {
            node: self.nodes[name].name.clone(),
            kind: self.nodes[name].kind,
            column: self.nodes[name].columns[column].name.clone(),
            nodes: Vec::new(),
            endpoints: Vec::new(),
        };
        for (number, node) in self.nodes.iter().enumerate().skip(name) {
            let rows = vertices.begin[number];
            let columns = node.columns.iter().enumerate().filter_map(|(at, column)| {
                let affected = affected(rows + 1 + at)?;
                Some(AffectedColumn { column: column.name.clone(), affected })
            });
            let columns: Vec<AffectedColumn> = columns.collect();
            let affected_rows = affected(rows);
            if let Some(endpoint) = self.endpoint(&vertices, &reached, number) {
                impact.endpoints.push(endpoint);
            }
            if affected_rows.is_some() || !columns.is_empty() {
                let (node, kind) = (node.name.clone(), node.kind);
                impact.nodes.push(AffectedNode { node, kind, columns, rows: affected_rows });
            }
        }
        Ok(impact)
    }

    /// The node and the column that `NODE.COLUMN` names.
    fn find(&self, written: &str) -> Result<(usize, usize), Report> {
        let parts = written.split_once('.').filter(|(node, column)| !node.is_empty() && !column.is_empty());
        let Some((node, column)) = parts else {
            let report = Report::error("invalid-argument", format!("`{written}` names no column"));
            let known = self.numbers.get(&NodeName::new(written)).and_then(|node| self.nodes[*node].columns.first());
            return Err(match known {
                Some(column) => report.hint(format!("pelton graph --impact {written}.{}", column.name)),
                None => report.note("a column is written as NODE.COLUMN").hint("pelton graph --columns"),
            });
        };
        let number = self.number(&NodeName::new(node))?;
        let node = &self.nodes[number];
        // A model may answer under the name that a column of its SELECT has: the answer is meant.
        match node.columns.iter().rposition(|known| known.name == column) {
            Some(column) => Ok((number, column)),
            None => Err(self.unknown_column(node, column)),
        }
    }

    fn unknown_column(&self, node: &GraphNode, column: &str) -> Report {
        const SHOWN_MAX: usize = 20;
        let known = || node.columns.iter().map(|known| known.name.as_str());
        let mut columns = known().take(SHOWN_MAX).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        if node.columns.len() > SHOWN_MAX {
            columns.push_str(&format!(" and {} more", node.columns.len() - SHOWN_MAX));
        }
        let message = format!("{} `{}` has no column `{column}`", node.kind, node.name);
        Report::error("unknown-column", message).note(format!("columns: {columns}")).suggest(column, known())
    }

    /// Everything that can be reached from a vertex: by direct links alone as far as they lead, then by any, then by a check, which leads
    /// no further: it stops a node, and changes no row. All ways are the shortest. Every link is looked at three times at most.
    fn reach(&self, vertices: &Vertices, begin: usize) -> Vec<Option<Reached>> {
        let readers = self.readers(vertices);
        let mut reached = vec![None; vertices.count];
        reached[begin] = Some(Reached { direct: true, via: None });
        let mut order = vec![begin];
        for only_direct in [true, false] {
            let mut open: VecDeque<usize> = order.iter().copied().collect();
            while let Some(vertex) = open.pop_front() {
                for (reader, how) in readers.of(vertex) {
                    let is_followed = if only_direct { how.is_direct() } else { *how != How::Check };
                    if is_followed && reached[*reader].is_none() {
                        reached[*reader] = Some(Reached { direct: only_direct, via: Some((vertex, *how)) });
                        order.push(*reader);
                        open.push_back(*reader);
                    }
                }
            }
        }
        for vertex in order {
            for (reader, how) in readers.of(vertex) {
                if *how == How::Check && reached[*reader].is_none() {
                    reached[*reader] = Some(Reached { direct: false, via: Some((vertex, *how)) });
                }
            }
        }
        reached
    }

    /// The links, by what they come from.
    fn readers(&self, vertices: &Vertices) -> Readers {
        let mut links: Vec<(usize, (usize, How))> = Vec::new();
        for (number, node) in self.nodes.iter().enumerate() {
            let rows = vertices.begin[number];
            links.extend(node.rows.iter().map(|link| (vertices.number(*link), (rows, link.how))));
            for (at, column) in node.columns.iter().enumerate() {
                links.extend(column.from.iter().map(|link| (vertices.number(*link), (rows + 1 + at, link.how))));
            }
        }
        // Stable, so that of two ways of one length the one by the node that is built first is told.
        links.sort_by_key(|(from, _)| *from);
        let mut begin = vec![0; vertices.count + 1];
        for (from, _) in &links {
            begin[from + 1] += 1;
        }
        for at in 1..begin.len() {
            begin[at] += begin[at - 1];
        }
        Readers { begin, links: links.into_iter().map(|(_, link)| link).collect() }
    }

    fn endpoint(&self, vertices: &Vertices, reached: &[Option<Reached>], number: usize) -> Option<AffectedEndpoint> {
        let node = &self.nodes[number];
        let vertex = |column: usize| vertices.begin[number] + 1 + column;
        let is_reached = |column: &usize| reached[vertex(*column)].is_some();
        let is_answer = |column: &usize| node.columns[*column].part == Part::Answer;
        let answer: Vec<usize> = (0..node.columns.len()).filter(is_answer).filter(is_reached).collect();
        let request: Vec<usize> = node.request.iter().copied().filter(is_reached).collect();
        let last = *answer.first().or(request.first())?;
        let names = |columns: &[usize]| columns.iter().map(|column| node.columns[*column].name.clone()).collect();
        Some(AffectedEndpoint {
            model: node.name.clone(),
            answer: names(&answer),
            request: names(&request),
            direct: reached[vertex(last)].is_some_and(|reached| reached.direct),
            path: self.path(vertices, reached, vertex(last)),
        })
    }

    fn path(&self, vertices: &Vertices, reached: &[Option<Reached>], last: usize) -> Vec<Step> {
        let mut path = Vec::new();
        let mut next = Some(last);
        while let Some(at) = next {
            let via = reached[at].and_then(|reached| reached.via);
            let ColumnOrigin { node, column, .. } = self.origin(vertices.link(at));
            path.push(Step { node, column, how: via.map(|(_, how)| how) });
            next = via.map(|(from, _)| from);
        }
        path.reverse();
        path
    }
}

/// Numbers for the columns of all nodes: of each node its rows, then its columns.
struct Vertices {
    begin: Vec<usize>,
    /// The node of each vertex.
    nodes: Vec<usize>,
    count: usize,
}

impl Vertices {
    fn of(graph: &ColumnGraph) -> Self {
        let (mut begin, mut nodes) = (Vec::new(), Vec::new());
        for (number, node) in graph.nodes.iter().enumerate() {
            begin.push(nodes.len());
            nodes.resize(nodes.len() + 1 + node.columns.len(), number);
        }
        Vertices { begin, count: nodes.len(), nodes }
    }

    fn number(&self, link: Link) -> usize {
        self.begin[link.node] + link.column.map_or(0, |column| column + 1)
    }

    fn link(&self, vertex: usize) -> Link {
        let node = self.nodes[vertex];
        Link { node, column: (vertex - self.begin[node]).checked_sub(1), how: How::Rows }
    }
}

/// The links from each vertex, one list after another.
struct Readers {
    begin: Vec<usize>,
    links: Vec<(usize, How)>,
}

impl Readers {
    fn of(&self, vertex: usize) -> &[(usize, How)] {
        &self.links[self.begin[vertex]..self.begin[vertex + 1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lineage::GraphColumn;

    /// A node whose columns `c0`, `c1` and so on are made from these links: node, column, how.
    fn node(name: &str, columns: &[&[(usize, usize, How)]], rows: &[(usize, Option<usize>, How)]) -> GraphNode {
        let link = |(node, column, how): &(usize, usize, How)| Link { node: *node, column: Some(*column), how: *how };
        let column = |(at, from): (usize, &&[(usize, usize, How)])| GraphColumn {
            name: format!("c{at}"),
            data_type: "int".into(),
            part: Part::Column,
            from: from.iter().map(link).collect(),
        };
        GraphNode {
            name: NodeName::new(name),
            kind: if name.starts_with('s') { "source" } else { "table" },
            columns: columns.iter().enumerate().map(column).collect(),
            rows: rows.iter().map(|(node, column, how)| Link { node: *node, column: *column, how: *how }).collect(),
            request: Vec::new(),
        }
    }

    fn graph(nodes: Vec<GraphNode>) -> ColumnGraph {
        let numbers = nodes.iter().enumerate().map(|(number, node)| (node.name.clone(), number)).collect();
        ColumnGraph { nodes, numbers }
    }

    /// What is affected, a line a column: `t.c0 direct via s.c0`.
    fn told(impact: &Impact) -> Vec<String> {
        let end = |origin: &ColumnOrigin| match &origin.column {
            Some(column) => format!("{}.{column}", origin.node),
            None => origin.node.to_string(),
        };
        let mut told = Vec::new();
        for node in &impact.nodes {
            let columns = node.columns.iter().map(|column| (format!(".{}", column.column), &column.affected));
            for (name, affected) in columns.chain(node.rows.iter().map(|rows| (String::new(), rows))) {
                let how = if affected.direct { "direct" } else { "indirect" };
                told.push(format!("{}{name} {how} via {}", node.node, end(&affected.via)));
            }
        }
        told
    }

    #[test]
    fn values_are_followed_before_rows_and_both_by_the_shortest_way() {
        use How::{Computed, Copied, Filter, Order, Rows};
        let graph = graph(vec![
            node("s", &[&[], &[]], &[]),
            // c1 of `a` is decided by c0 of `s`; `b` has its value by way of `a`, and is filtered by it at once.
            node("a", &[&[(0, 0, Copied)], &[(0, 1, Copied), (0, 0, Order)]], &[(0, None, Rows)]),
            node("b", &[&[(1, 0, Computed)], &[(1, 1, Copied)]], &[(0, Some(0), Filter), (1, None, Rows)]),
            node("c", &[&[(0, 1, Copied)]], &[(2, None, Rows)]),
            node("d", &[&[(0, 1, Copied)]], &[(0, None, Rows)]),
        ]);
        assert_eq!(
            told(&graph.impact("s.c0").unwrap()),
            [
                "a.c0 direct via s.c0",
                "a.c1 indirect via s.c0",
                "b.c0 direct via a.c0",
                "b.c1 indirect via a.c1",
                "b indirect via s.c0",
                "c indirect via b",
            ]
        );
        assert_eq!(told(&graph.impact("c.c0").unwrap()), [""; 0]);
        let mistake = graph.impact("s.c9").unwrap_err();
        assert_eq!(
            (mistake.code, mistake.hints.as_slice()),
            ("unknown-column", &["did you mean `c0`?".to_string()][..])
        );
        for no_column in ["s", "s.", ".c0", ".", ""] {
            assert_eq!(graph.impact(no_column).unwrap_err().code, "invalid-argument", "{no_column}");
        }
        assert_eq!(graph.impact("x.c0").unwrap_err().code, "unknown-node");
    }

    #[test]
    fn a_check_leads_no_further_and_hides_no_other_way() {
        use How::{Check, Copied, Filter, Rows};
        let graph = graph(vec![
            node("s", &[&[], &[]], &[]),
            node("a", &[&[(0, 1, Copied)]], &[(0, Some(0), Check), (0, None, Rows)]),
            node("b", &[&[(1, 0, Copied)]], &[(1, None, Rows)]),
            node("c", &[&[(0, 1, Copied)]], &[(0, Some(0), Check), (0, Some(0), Filter)]),
            node("d", &[&[(3, 0, Copied)]], &[(3, None, Rows)]),
        ]);
        assert_eq!(
            told(&graph.impact("s.c0").unwrap()),
            ["a indirect via s.c0", "c indirect via s.c0", "d indirect via c"]
        );
    }

    #[test]
    fn every_link_is_looked_at_a_few_times_however_many_ways_lead_through_it() {
        // 2 to the power of 20,000 ways, and an answer of 40,000 columns.
        const DEEP: usize = 20_000;
        let mut nodes = vec![node("s", &[&[], &[]], &[])];
        for at in 1..=DEEP {
            let both = [(at - 1, 0, How::Copied), (at - 1, 1, How::Computed)];
            nodes.push(node(&format!("t{at}"), &[&both, &both], &[(at - 1, None, How::Rows)]));
        }
        let graph = graph(nodes);
        let impact = graph.impact("s.c0").unwrap();
        assert_eq!(impact.nodes.len(), DEEP);
        assert!(impact.nodes.iter().all(|node| node.columns.iter().all(|column| column.affected.direct)));
        let last = graph.shown(&NodeName::new(format!("t{DEEP}"))).unwrap();
        assert_eq!(last.columns[1].sources, ["s.c0", "s.c1"]);
    }
}
