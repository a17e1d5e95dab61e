//! Draws a project's graph: for a terminal, as Mermaid, as Graphviz dot, and as JSON.

use crate::{Node, Project};
use pelton_base::NodeName;
use serde_json::json;
use std::fmt::Write;

/// The graph for a terminal: nodes by their distance from the sources, each with what it reads.
pub fn graph_text(project: &Project) -> String {
    let levels = project.levels();
    let width = project.nodes.keys().map(|name| name.as_str().len()).max().unwrap_or(0);
    let mut by_level: Vec<Vec<&Node>> = Vec::new();
    for (name, node) in &project.nodes {
        let level = levels.get(name).copied().unwrap_or(0);
        by_level.resize(by_level.len().max(level + 1), Vec::new());
        by_level[level].push(node);
    }
    let mut out = String::new();
    for (level, nodes) in by_level.iter().enumerate() {
        let _ = writeln!(out, "level {level}");
        for node in nodes {
            let reads = node.reads.iter().map(|(read, _)| read.as_str()).collect::<Vec<_>>().join(", ");
            let arrow = if reads.is_empty() { String::new() } else { format!("  <- {reads}") };
            let line = format!("  {:<6}  {:<width$}{arrow}", node.kind(), node.name.as_str());
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
    out
}

/// The graph as a Mermaid flowchart.
pub fn graph_mermaid(project: &Project) -> String {
    let mut out = String::from("flowchart LR\n");
    for node in project.nodes.values() {
        let name = &node.name;
        // A prefix, because Mermaid gives some plain words (`end`) a meaning of its own.
        let _ = match node.kind() {
            "source" => writeln!(out, "  n_{name}[(\"{name}\")]"),
            "model" => writeln!(out, "  n_{name}{{{{\"{name}\"}}}}"),
            _ => writeln!(out, "  n_{name}[\"{name}\"]"),
        };
    }
    for (from, to) in edges(project) {
        let _ = writeln!(out, "  n_{from} --> n_{to}");
    }
    out
}

/// The graph in Graphviz' dot language.
pub fn graph_dot(project: &Project) -> String {
    let mut out = String::from("digraph pelton {\n  rankdir = LR;\n");
    for node in project.nodes.values() {
        let shape = match node.kind() {
            "source" => "cylinder",
            "model" => "hexagon",
            _ => "box",
        };
        let _ = writeln!(out, "  \"{}\" [shape = {shape}];", node.name);
    }
    for (from, to) in edges(project) {
        let _ = writeln!(out, "  \"{from}\" -> \"{to}\";");
    }
    out.push_str("}\n");
    out
}

/// The graph as JSON: `{nodes: [{name, kind, file, description, tags, level, reads, read_by}]}`, in the order of building.
pub fn graph_json(project: &Project) -> String {
    let (levels, readers) = (project.levels(), project.readers());
    let nodes = project.order.iter().filter_map(|name| project.nodes.get(name));
    let nodes: Vec<serde_json::Value> = nodes
        .map(|node| {
            json!({
                "name": node.name,
                "kind": node.kind(),
                "file": node.file,
                "description": node.description,
                "tags": node.tags,
                "level": levels.get(&node.name),
                "reads": node.reads.iter().map(|(read, _)| read).collect::<Vec<_>>(),
                "read_by": readers.get(&node.name),
            })
        })
        .collect();
    let mut out =
        serde_json::to_string_pretty(&json!({ "nodes": nodes })).expect("a tree of texts and numbers is always JSON");
    out.push('\n');
    out
}

/// All edges, from what is read to what reads it, sorted.
fn edges(project: &Project) -> Vec<(&NodeName, &NodeName)> {
    let mut edges: Vec<_> =
        project.nodes.values().flat_map(|node| node.reads.iter().map(move |(read, _)| (read, &node.name))).collect();
    edges.sort();
    edges
}
