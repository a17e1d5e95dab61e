//! Views on views: the engine plans a view in the place of its name, so what a SELECT reads grows with every view below it.
//!
//! A SELECT that mentions a view twice plans it twice, and thirty views that each do so would be a thousand million. Both the depth
//! and the number of views that one SELECT brings are bounded here, before the engine is asked.

use crate::{Body, Build, Node};
use pelton_base::{NodeName, Report};
use std::collections::BTreeMap;

/// The most views that stand one on another: the engine walks what they stand for by recursion, and its rules need time in
/// proportion to the square of it.
pub const VIEWS_DEEP_MAX: usize = 50;

/// The most views that one SELECT may bring, each counted as often as it is mentioned: planning takes about a millisecond each.
pub const VIEWS_READ_MAX: usize = 1_000;

/// How often each node's SELECT and checks mention each name.
pub(crate) type Mentions = BTreeMap<NodeName, BTreeMap<NodeName, usize>>;

/// What a reader plans when it mentions a node.
#[derive(Clone, Copy, Default)]
struct Planned {
    deep: usize,
    views: usize,
}

/// Reports views that stand on too many others. What stands on a reported one counts from there on, as if that one were built.
pub(crate) fn mistakes(nodes: &BTreeMap<NodeName, Node>, order: &[NodeName], mentions: &Mentions) -> Vec<Report> {
    let mut planned: BTreeMap<&NodeName, Planned> = BTreeMap::new();
    let mut reports = Vec::new();
    for name in order {
        let node = &nodes[name];
        let Body::Table(table) = &node.body else { continue };
        let mut below = Planned::default();
        for (read, count) in mentions.get(name).into_iter().flatten() {
            let read = planned.get(read).copied().unwrap_or_default();
            below.deep = below.deep.max(read.deep);
            below.views = below.views.saturating_add(read.views.saturating_mul(*count));
        }
        let is_view = table.build == Build::View;
        let is_too_deep = is_view && below.deep >= VIEWS_DEEP_MAX;
        if is_too_deep || below.views > VIEWS_READ_MAX {
            let what = if is_too_deep {
                format!("more than {VIEWS_DEEP_MAX} views stand one on another up to `{name}`")
            } else {
                format!("`{name}` brings more than {VIEWS_READ_MAX} views, each as often as it is mentioned")
            };
            let fix = if is_view { format!("`{name}`") } else { "one of the views that it reads".to_string() };
            reports.push(
                Report::error("unsupported-sql", what)
                    .at(node.place())
                    .note("a view is planned in the place of its name, by everything that reads it")
                    .hint(format!("set `build = \"full\"` in {fix}")),
            );
        } else if is_view {
            planned.insert(name, Planned { deep: below.deep + 1, views: below.views + 1 });
        }
    }
    reports
}
