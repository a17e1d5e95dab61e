//! The graph of a project: the order to build in, circles, who reads whom.

use crate::{Node, Project};
use pelton_base::{NodeName, Place, Report};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};

/// The most cycles that are reported at once.
const CYCLES_MAX: usize = 20;

/// The most nodes of a cycle that its report names; of a longer one, half from its beginning and half from its end.
const NAMED_MAX: usize = 20;

impl Project {
    /// A node by name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// A node that somebody named, or a report that there is none.
    pub fn known(&self, name: &str) -> Result<&Node, Report> {
        self.nodes.get(name).ok_or_else(|| {
            Report::error("unknown-node", format!("there is no node `{name}`"))
                .suggest(name, self.nodes.keys().map(NodeName::as_str))
                .hint("pelton graph")
        })
    }

    /// The nodes that read each node, sorted by name; every node has an entry.
    pub fn readers(&self) -> BTreeMap<NodeName, Vec<NodeName>> {
        let mut readers: BTreeMap<NodeName, Vec<NodeName>> =
            self.nodes.keys().map(|name| (name.clone(), Vec::new())).collect();
        for (name, node) in &self.nodes {
            for (read, _) in &node.reads {
                readers.entry(read.clone()).or_default().push(name.clone());
            }
        }
        readers
    }

    /// How far each node is from the sources: 0 when it reads nothing, else one more than the farthest that it reads.
    pub fn levels(&self) -> BTreeMap<NodeName, usize> {
        let mut levels: BTreeMap<NodeName, usize> = BTreeMap::new();
        for name in &self.order {
            let reads = self.nodes.get(name).map_or(&[][..], |node| &node.reads);
            let level = reads.iter().filter_map(|(read, _)| levels.get(read)).max().map_or(0, |level| level + 1);
            levels.insert(name.clone(), level);
        }
        levels
    }
}

/// All nodes, each after what it reads, ties by name; or a report for each circle.
pub(crate) fn order(nodes: &BTreeMap<NodeName, Node>) -> Result<Vec<NodeName>, Vec<Report>> {
    let graph = Graph::of(nodes);
    let mut open: Vec<usize> = graph.reads.iter().map(Vec::len).collect();
    let mut ready: BinaryHeap<Reverse<usize>> =
        open.iter().enumerate().filter(|(_, count)| **count == 0).map(|(node, _)| Reverse(node)).collect();
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); open.len()];
    for (node, reads) in graph.reads.iter().enumerate() {
        for read in reads {
            readers[*read].push(node);
        }
    }
    let mut order = Vec::with_capacity(open.len());
    while let Some(Reverse(node)) = ready.pop() {
        order.push(graph.nodes[node].name.clone());
        for reader in &readers[node] {
            open[*reader] -= 1;
            if open[*reader] == 0 {
                ready.push(Reverse(*reader));
            }
        }
    }
    if order.len() == open.len() { Ok(order) } else { Err(graph.cycles(&open)) }
}

/// The nodes by number, in the order of their names.
struct Graph<'a> {
    nodes: Vec<&'a Node>,
    reads: Vec<Vec<usize>>,
}

impl<'a> Graph<'a> {
    fn of(nodes: &'a BTreeMap<NodeName, Node>) -> Self {
        let numbers: BTreeMap<&NodeName, usize> =
            nodes.keys().enumerate().map(|(number, name)| (name, number)).collect();
        let reads = |node: &Node| node.reads.iter().filter_map(|(read, _)| numbers.get(read).copied()).collect();
        Graph { reads: nodes.values().map(reads).collect(), nodes: nodes.values().collect() }
    }

    /// Reports a circle among the nodes that could not be put in order, takes its steps out, and goes on until there is none
    /// left. A circle that shares a step with a reported one shows when that one is broken.
    fn cycles(&self, open: &[usize]) -> Vec<Report> {
        let mut reads: Vec<Vec<usize>> = self.reads.clone();
        for (node, count) in open.iter().enumerate() {
            reads[node].retain(|read| *count > 0 && open[*read] > 0);
        }
        let mut reports = Vec::new();
        while reports.len() < CYCLES_MAX {
            // What stays within a component lies on a circle.
            let components = components(&reads);
            for (node, list) in reads.iter_mut().enumerate() {
                list.retain(|read| components[*read] == components[node]);
            }
            let Some(start) = reads.iter().position(|list| !list.is_empty()) else { break };
            let Some(cycle) = shortest_cycle(&reads, start) else { break };
            for (at, node) in cycle.iter().enumerate() {
                let next = cycle[(at + 1) % cycle.len()];
                reads[*node].retain(|read| *read != next);
            }
            reports.push(self.report(&cycle));
        }
        reports
    }

    fn report(&self, cycle: &[usize]) -> Report {
        let nodes: Vec<&Node> = cycle.iter().map(|node| self.nodes[*node]).collect();
        let place = |at: usize| {
            let next = &nodes[(at + 1) % nodes.len()].name;
            nodes[at].reads.iter().find(|(read, _)| read == next).map(|(_, place)| place)
        };
        if let [node] = nodes.as_slice() {
            let report =
                Report::error("cycle", format!("{} `{}` reads itself, so it cannot be built", node.kind(), node.name));
            return match place(0) {
                Some(place) => report.at(place.clone()),
                None => report.at(node.place()),
            };
        }
        let kind = if nodes.iter().all(|node| node.kind() == "table") { "tables" } else { "nodes" };
        let folder = |file: &str| file.rsplit_once('/').map_or("", |(folder, _)| folder).to_string();
        let mut note = String::new();
        let left_out = match nodes.len() > NAMED_MAX {
            true => NAMED_MAX / 2..nodes.len() - NAMED_MAX / 2,
            false => 0..0,
        };
        for (at, node) in nodes.iter().enumerate() {
            if left_out.contains(&at) {
                if at == left_out.start {
                    note.push_str(&format!("{} more -> ", left_out.len()));
                }
                continue;
            }
            let line = place(at).map_or(0, |place: &Place| place.line);
            // The first names its file; another one in the same folder is found by its name.
            let short = at > 0 && folder(&node.file) == folder(&nodes[0].file);
            let file = if short { "" } else { node.file.as_str() };
            note.push_str(&format!("`{}` ({file}:{line}) -> ", node.name));
        }
        note.push_str(&format!("`{}`", nodes[0].name));
        Report::error("cycle", format!("{} {kind} read each other, so none can be built first", nodes.len())).note(note)
    }
}

/// The strongly connected component of each node (Tarjan 1972, with a stack of its own instead of recursion).
fn components(reads: &[Vec<usize>]) -> Vec<usize> {
    const UNSEEN: usize = usize::MAX;
    let (mut index, mut low) = (vec![UNSEEN; reads.len()], vec![0; reads.len()]);
    let (mut component, mut stack, mut next_index) = (vec![UNSEEN; reads.len()], Vec::new(), 0);
    for root in 0..reads.len() {
        let mut path = if index[root] == UNSEEN { vec![(root, 0)] } else { Vec::new() };
        while let Some((node, edge)) = path.last_mut() {
            let node = *node;
            if *edge == 0 {
                (index[node], low[node]) = (next_index, next_index);
                next_index += 1;
                stack.push(node);
            }
            if let Some(read) = reads[node].get(*edge) {
                *edge += 1;
                if index[*read] == UNSEEN {
                    path.push((*read, 0));
                } else if component[*read] == UNSEEN {
                    low[node] = low[node].min(index[*read]);
                }
                continue;
            }
            if low[node] == index[node] {
                while let Some(member) = stack.pop() {
                    component[member] = node;
                    if member == node {
                        break;
                    }
                }
            }
            path.pop();
            if let Some((parent, _)) = path.last() {
                low[*parent] = low[*parent].min(low[node]);
            }
        }
    }
    component
}

/// The shortest way from a node back to itself, as the nodes on it.
fn shortest_cycle(reads: &[Vec<usize>], start: usize) -> Option<Vec<usize>> {
    if reads[start].is_empty() {
        return None;
    }
    let mut came_from: HashMap<usize, usize> = HashMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for read in &reads[node] {
            if *read == start {
                let (mut cycle, mut at) = (vec![node], node);
                while at != start {
                    at = came_from[&at];
                    cycle.push(at);
                }
                cycle.reverse();
                return Some(cycle);
            }
            came_from.entry(*read).or_insert_with(|| {
                queue.push_back(*read);
                node
            });
        }
    }
    None
}
