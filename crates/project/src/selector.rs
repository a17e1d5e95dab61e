//! Selectors: `name`, `+name` (with all that it reads), `name+` (with all that read it), `tag:x`, `path:y`, `kind:model`.

use crate::Project;
use pelton_base::{NodeName, Report, Reports};
use std::collections::{BTreeMap, BTreeSet};

const KINDS: [&str; 3] = ["source", "table", "model"];
const FORMS: &str = "selectors are `name`, `+name`, `name+`, `tag:x`, `path:y` and `kind:model`";
const METHODS: [&str; 3] = ["tag", "path", "kind"];

/// The nodes that any of the selectors selects; all nodes when there is no selector.
///
/// `+` may stand before and after each form. `path:` takes a file, a folder, or a pattern with `*`. A selector that selects
/// nothing is a mistake.
pub fn select(project: &Project, selectors: &[String]) -> Result<BTreeSet<NodeName>, Reports> {
    if selectors.is_empty() {
        return Ok(project.nodes.keys().cloned().collect());
    }
    let readers = project.readers();
    let (mut selected, mut reports) = (BTreeSet::new(), Reports::default());
    for selector in selectors {
        let inner = selector.strip_prefix('+').unwrap_or(selector);
        let inner = inner.strip_suffix('+').unwrap_or(inner);
        match matching(project, inner) {
            Ok(names) => {
                if selector.starts_with('+') {
                    selected.extend(reach(&names, |name| {
                        project.nodes.get(name).into_iter().flat_map(|node| node.reads.iter().map(|(read, _)| read))
                    }));
                }
                if selector.ends_with('+') {
                    selected.extend(reach(&names, |name| readers.get(name).into_iter().flatten()));
                }
                selected.extend(names);
            }
            Err(report) => reports.push(report),
        }
    }
    if reports.has_errors() { Err(reports) } else { Ok(selected) }
}

/// All nodes that can be reached, the beginnings included.
fn reach<'a, I: Iterator<Item = &'a NodeName>>(
    from: &BTreeSet<NodeName>,
    next: impl Fn(&NodeName) -> I,
) -> BTreeSet<NodeName> {
    let mut reached = from.clone();
    let mut open: Vec<NodeName> = from.iter().cloned().collect();
    while let Some(name) = open.pop() {
        for other in next(&name) {
            if reached.insert(other.clone()) {
                open.push(other.clone());
            }
        }
    }
    reached
}

fn matching(project: &Project, selector: &str) -> Result<BTreeSet<NodeName>, Report> {
    if selector.is_empty() {
        return Err(Report::error("invalid-argument", "a selector is empty").note(FORMS));
    }
    let Some((method, word)) = selector.split_once(':') else {
        return Ok(BTreeSet::from([project.known(selector)?.name.clone()]));
    };
    let names = |is_meant: &dyn Fn(&crate::Node) -> bool| -> BTreeSet<NodeName> {
        project.nodes.values().filter(|node| is_meant(node)).map(|node| node.name.clone()).collect()
    };
    match method {
        "tag" => {
            let found = names(&|node| node.tags.iter().any(|tag| tag == word));
            let mut tags: BTreeMap<&str, ()> = BTreeMap::new();
            tags.extend(project.nodes.values().flat_map(|node| node.tags.iter().map(|tag| (tag.as_str(), ()))));
            let none = || Report::error("unknown-node", format!("no node has the tag `{word}`"));
            if found.is_empty() { Err(none().suggest(word, tags.into_keys())) } else { Ok(found) }
        }
        "path" => {
            let word = word.trim_start_matches("./").trim_end_matches('/');
            let pattern = glob::Pattern::new(word).map_err(|error| {
                Report::error("invalid-argument", format!("`{word}` is not a path pattern: {}", error.msg))
            })?;
            let found = names(&|node| {
                let below = node.file.strip_prefix(word).is_some_and(|rest| rest.starts_with('/'));
                node.file == word || below || pattern.matches(&node.file)
            });
            let none = || Report::error("unknown-node", format!("no node has its file at `{word}`"));
            if found.is_empty() {
                Err(none().suggest(word, project.nodes.values().map(|node| node.file.as_str())))
            } else {
                Ok(found)
            }
        }
        "kind" if KINDS.contains(&word) => Ok(names(&|node| node.kind() == word)),
        "kind" => Err(Report::error("invalid-argument", format!("`{word}` is not a kind of node"))
            .note("kinds are `source`, `table` and `model`")
            .suggest(word, KINDS)),
        _ => Err(Report::error("invalid-argument", format!("`{method}:` is not a way to select nodes"))
            .note(FORMS)
            .suggest(method, METHODS)),
    }
}
