//! Columns and what they are made from: pages for a terminal, and drawings as Mermaid and Graphviz dot.

use super::sheet::{Cell, Sheet};
use super::style::Style;
use super::words;
use pelton_query::How;
use pelton_runner::{Affected, ColumnOrigin, ColumnOrigins, Impact, NodeOrigins, Part, ShownColumns, Step};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

/// How wide a list of origins may be.
const WIDTH: usize = 90;

/// How many steps of a way are told; of a longer one, half from its beginning and half from its end.
const STEPS_MAX: usize = 20;

/// What stands where a column's name would for what decides which rows there are.
const ROWS: &str = "(rows)";

/// All nodes with their columns.
pub(crate) fn columns(nodes: &[NodeOrigins], style: Style) -> String {
    let page = |node: &NodeOrigins| {
        let mut sheet = Sheet::new().indent(2);
        node.columns.iter().for_each(|column| column_row(&mut sheet, node.kind, column, style));
        if !node.rows.is_empty() {
            made_from(&mut sheet, ROWS, &node.rows, style);
        }
        format!("{} {}\n{}", node.kind, style.bold(node.node.as_str()), sheet.text(style))
    };
    nodes.iter().map(page).collect::<Vec<_>>().join("\n")
}

/// One node with its columns: what they are made from, where they begin, and where they go.
pub(crate) fn shown(node: &ShownColumns, style: Style) -> String {
    let mut text = format!("{} {}\n", node.kind, style.bold(node.node.as_str()));
    let parts = [
        (Part::Column, "columns"),
        (Part::Feature, "features"),
        (Part::Derived, "derived"),
        (Part::Answer, "answer of the endpoint"),
    ];
    for (part, title) in parts {
        let mut sheet = Sheet::new().indent(2);
        for column in node.columns.iter().filter(|column| column.column.part == part) {
            column_row(&mut sheet, node.kind, &column.column, style);
        }
        section(&mut text, title, &sheet, style);
    }
    let mut rows = Sheet::new().indent(2);
    by_way(&node.rows, |words, origins| rows.row([words, &origins]));
    section(&mut text, "which rows there are", &rows, style);
    let (mut begins, mut goes) = (Sheet::new().indent(2), Sheet::new().indent(2));
    for column in &node.columns {
        let name = column.column.name.as_str();
        for (at, line) in lines(&column.sources).iter().enumerate() {
            begins.row([if at == 0 { name } else { "" }, line]);
        }
        let used = column.used_by.iter().map(|used| format!("{} ({})", origin_text(used), way(used.how)));
        for (at, line) in lines(&used.collect::<Vec<_>>()).iter().enumerate() {
            goes.row([if at == 0 { name } else { "" }, line]);
        }
    }
    section(&mut text, "columns of sources that its values come from", &begins, style);
    section(&mut text, "used by", &goes, style);
    text
}

fn section(text: &mut String, title: &str, sheet: &Sheet, style: Style) {
    if !sheet.is_empty() {
        text.push_str(&format!("\n{}\n{}", style.bold(title), sheet.text(style)));
    }
}

/// Adds a column; of a source with its type, because what it is made from is outside.
fn column_row(sheet: &mut Sheet, kind: &str, column: &ColumnOrigins, style: Style) {
    match kind {
        "source" => sheet.row([&column.name, &column.data_type]),
        _ => made_from(sheet, &column.name, &column.from, style),
    }
}

/// Adds what something is made from, a line a way.
fn made_from(sheet: &mut Sheet, name: &str, from: &[ColumnOrigin], style: Style) {
    let mut name = name;
    if from.is_empty() {
        sheet.row([Cell::from(name), Cell::painted("-", style.dim("-"))]);
    }
    by_way(from, |words, origins| {
        sheet.row([Cell::from(name), Cell::painted(words, style.dim(words)), Cell::from(origins)]);
        name = "";
    });
}

/// The origins of each way on lines: the words, then some origins.
fn by_way(from: &[ColumnOrigin], mut line: impl FnMut(&str, String)) {
    let mut ways: BTreeMap<How, Vec<String>> = BTreeMap::new();
    for origin in from {
        ways.entry(origin.how).or_default().push(origin_text(origin));
    }
    for (how, origins) in ways {
        let mut words = how.words();
        for origins in lines(&origins) {
            line(words, origins);
            words = "";
        }
    }
}

/// A list with commas, on as many lines as it needs.
fn lines(list: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for entry in list {
        match lines.last_mut() {
            Some(line) if words::width(line) + words::width(entry) + 2 <= WIDTH => {
                line.push_str(", ");
                line.push_str(entry);
            }
            last => {
                if let Some(line) = last {
                    line.push(',');
                }
                lines.push(entry.clone());
            }
        }
    }
    lines
}

/// The way in one word: `copied`.
fn way(how: How) -> &'static str {
    how.words().strip_suffix(" from").unwrap_or(how.words())
}

fn origin_text(origin: &ColumnOrigin) -> String {
    match (&origin.column, origin.how) {
        (Some(column), _) => format!("{}.{column}", origin.node),
        (None, How::Rows) => origin.node.to_string(),
        (None, _) => format!("rows of {}", origin.node),
    }
}

/// What depends on a column.
pub(crate) fn impact(impact: &Impact, style: Style) -> String {
    let column = format!("{}.{}", impact.node, impact.column);
    if impact.nodes.is_empty() && impact.endpoints.is_empty() {
        return format!("nothing depends on {column}\n");
    }
    let of_kind = |kind: &str| {
        let others = impact.nodes.iter().filter(|node| node.kind == kind && node.node != impact.node);
        others.count() as u64
    };
    let counts =
        [("table", of_kind("table")), ("model", of_kind("model")), ("endpoint", impact.endpoints.len() as u64)];
    let counts: Vec<String> =
        counts.iter().filter(|(_, count)| *count > 0).map(|(noun, count)| words::counted(*count, noun)).collect();
    let mut text = match counts.is_empty() {
        true => format!("{} reaches nothing outside of {}\n", style.bold(&column), impact.node),
        false => format!("{} reaches {}\n", style.bold(&column), counts.join(", ")),
    };
    for node in &impact.nodes {
        let mut sheet = Sheet::new().indent(2);
        for column in &node.columns {
            affected(&mut sheet, &column.column, &column.affected, style);
        }
        if let Some(rows) = &node.rows {
            affected(&mut sheet, ROWS, rows, style);
        }
        text.push_str(&format!("\n{} {}\n{}", node.kind, style.bold(node.node.as_str()), sheet.text(style)));
    }
    for endpoint in &impact.endpoints {
        let mut sheet = Sheet::new().indent(2);
        for (word, names) in [("answers", &endpoint.answer), ("asks for", &endpoint.request)] {
            if !names.is_empty() {
                sheet.row([word, &names.join(", ")]);
            }
        }
        sheet.row([if endpoint.direct { "by way of" } else { "indirectly by" }, &path(&endpoint.path)]);
        text.push_str(&format!("\nendpoint {}\n{}", style.bold(endpoint.model.as_str()), sheet.text(style)));
    }
    text
}

fn affected(sheet: &mut Sheet, name: &str, affected: &Affected, style: Style) {
    let via = format!("{} {}", affected.via.how.words(), origin_text(&affected.via));
    let mut cells = vec![Cell::from(name), Cell::from(via)];
    if !affected.direct {
        cells.push(Cell::painted("indirect", style.dim("indirect")));
    }
    sheet.row(cells);
}

fn path(path: &[Step]) -> String {
    let step = |step: &Step| match &step.column {
        Some(column) => format!("{}.{column}", step.node),
        None => format!("rows of {}", step.node),
    };
    let steps: Vec<String> = match path.len() > STEPS_MAX {
        false => path.iter().map(step).collect(),
        true => {
            let half = STEPS_MAX / 2;
            let more = [format!("{} more", path.len() - 2 * half)];
            let (first, last) = (path[..half].iter(), path[path.len() - half..].iter());
            first.map(step).chain(more).chain(last.map(step)).collect()
        }
    };
    steps.join(" -> ")
}

/// Nodes with some of their columns, and arrows between them.
pub(crate) struct Drawing {
    nodes: Vec<(String, &'static str, Vec<String>)>,
    /// From where, to where (absent: the rows), how.
    arrows: Vec<(End, End, How)>,
}

/// A node, and a column of it or its rows.
type End = (String, Option<String>);

impl Drawing {
    /// All columns of all nodes.
    pub(crate) fn of_columns(nodes: &[NodeOrigins]) -> Self {
        let mut drawing = Drawing { nodes: Vec::new(), arrows: Vec::new() };
        for node in nodes {
            let name = node.node.to_string();
            for column in &node.columns {
                let arrows = column.from.iter().map(|from| drawn(from, (name.clone(), Some(column.name.clone()))));
                drawing.arrows.extend(arrows);
            }
            drawing.arrows.extend(node.rows.iter().map(|from| drawn(from, (name.clone(), None))));
            let columns = node.columns.iter().map(|column| column.name.clone()).collect();
            drawing.nodes.push((name, node.kind, columns));
        }
        drawing
    }

    /// A column, and the shortest way to all that depends on it.
    pub(crate) fn of_impact(impact: &Impact) -> Self {
        let mut drawing = Drawing {
            nodes: vec![(impact.node.to_string(), impact.kind, vec![impact.column.clone()])],
            arrows: Vec::new(),
        };
        for node in &impact.nodes {
            let name = node.node.to_string();
            let columns: Vec<String> = node.columns.iter().map(|column| column.column.clone()).collect();
            for column in &node.columns {
                drawing.arrows.push(drawn(&column.affected.via, (name.clone(), Some(column.column.clone()))));
            }
            drawing.arrows.extend(node.rows.iter().map(|rows| drawn(&rows.via, (name.clone(), None))));
            match name == drawing.nodes[0].0 {
                true => drawing.nodes[0].2.extend(columns),
                false => drawing.nodes.push((name, node.kind, columns)),
            }
        }
        drawing
    }

    /// A Mermaid flowchart: a box a node, dotted arrows for what is indirect.
    pub(crate) fn mermaid(&self) -> String {
        let places = self.places();
        let with_rows: BTreeSet<&str> =
            self.ends().filter(|end| end.1.is_none()).map(|(node, _)| node.as_str()).collect();
        let mut out = String::from("flowchart LR\n");
        for (name, kind, columns) in &self.nodes {
            // Prefixes that no other id can begin with, because a node may be called `a_1`.
            let _ = writeln!(out, "  subgraph n_{name}[\"{kind} {name}\"]");
            if with_rows.contains(name.as_str()) {
                let _ = writeln!(out, "    r_{name}[\"{ROWS}\"]");
            }
            for (at, column) in columns.iter().enumerate() {
                let _ = writeln!(out, "    c{at}_{name}[\"{}\"]", column.replace('"', "#quot;"));
            }
            let _ = writeln!(out, "  end");
        }
        let id = |end: &End| match places.get(end) {
            Some(at) => format!("c{at}_{}", end.0),
            None => format!("r_{}", end.0),
        };
        for (from, to, how) in &self.arrows {
            let arrow = if how.is_direct() { "-->" } else { "-.->" };
            let _ = writeln!(out, "  {} {arrow}|{}| {}", id(from), way(*how), id(to));
        }
        out
    }

    /// Graphviz' dot language: a record a node with a port a column; the first port is the rows. Dashed arrows for what is indirect.
    pub(crate) fn dot(&self) -> String {
        let places = self.places();
        let mut out = String::from("digraph columns {\n  rankdir = LR;\n  node [shape = record];\n");
        for (name, kind, columns) in &self.nodes {
            let port = |(at, column): (usize, &String)| format!(" | <c{at}> {}", record_text(column));
            let ports: String = columns.iter().enumerate().map(port).collect();
            let _ = writeln!(out, "  \"{name}\" [label = \"<rows> {kind} {name}{ports}\"];");
        }
        let id = |end: &End| match places.get(end) {
            Some(at) => format!("\"{}\":c{at}", end.0),
            None => format!("\"{}\":rows", end.0),
        };
        for (from, to, how) in &self.arrows {
            let style = if how.is_direct() { "" } else { ", style = dashed" };
            let _ = writeln!(out, "  {} -> {} [label = \"{}\"{style}];", id(from), id(to), way(*how));
        }
        out.push_str("}\n");
        out
    }

    fn ends(&self) -> impl Iterator<Item = &End> {
        self.arrows.iter().flat_map(|(from, to, _)| [from, to])
    }

    /// Where each column stands in its node; of two of one name the later.
    fn places(&self) -> HashMap<End, usize> {
        let of_node = |(name, _, columns): &(String, &'static str, Vec<String>)| {
            let name = name.clone();
            let place = move |(at, column): (usize, &String)| ((name.clone(), Some(column.clone())), at);
            columns.iter().enumerate().map(place).collect::<Vec<_>>()
        };
        self.nodes.iter().flat_map(of_node).collect()
    }
}

fn drawn(from: &ColumnOrigin, to: End) -> (End, End, How) {
    ((from.node.to_string(), from.column.clone()), to, from.how)
}

/// A text inside a record of Graphviz.
fn record_text(text: &str) -> String {
    text.chars().flat_map(|c| "\\\"{}|<>".contains(c).then_some('\\').into_iter().chain([c])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_goes_on_on_the_next_line() {
        let names = |count: usize| (0..count).map(|at| format!("table.column_{at:02}")).collect::<Vec<_>>();
        assert_eq!(lines(&names(2)), ["table.column_00, table.column_01"]);
        let long = lines(&names(12));
        assert!(long.len() == 3 && long.iter().all(|line| line.len() <= WIDTH + 1), "{long:?}");
        assert_eq!(long.join(" "), names(12).join(", "));
        assert!(lines(&[]).is_empty());
    }

    #[test]
    fn a_column_may_have_any_name() {
        let from = ColumnOrigin { node: "t".into(), column: Some("a|<b>".into()), how: How::Copied };
        let to = ("u".to_string(), Some("say \"x\"".to_string()));
        let drawing = Drawing {
            nodes: vec![
                ("t".into(), "source", vec!["a|<b>".into()]),
                ("u".into(), "table", vec![to.1.clone().unwrap()]),
            ],
            arrows: vec![drawn(&from, to)],
        };
        let dot = drawing.dot();
        assert!(dot.contains(r#"<c0> a\|\<b\>"#) && dot.contains(r#"<c0> say \"x\""#), "{dot}");
        assert!(dot.contains(r#""t":c0 -> "u":c0 [label = "copied"];"#), "{dot}");
        assert!(drawing.mermaid().contains("c0_u[\"say #quot;x#quot;\"]"), "{}", drawing.mermaid());
    }
}
