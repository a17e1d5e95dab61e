//! Environments on a page: what took which version, and the publications that there are.

use super::sheet::{Cell, Sheet};
use super::style::Style;
use super::words;
use pelton_base::format_time_us;
use pelton_runner::Moved;
use pelton_store::PublicationHead;
use serde_json::{Value, json};

/// How many publications a list shows; `--format json` gives all.
const LISTED_MAX: usize = 50;

/// How many names a line has.
const NAMES_MAX: usize = 12;

/// What an environment took, and from where.
pub(crate) fn moved(moved: &Moved, style: Style) -> String {
    let mut sheet = Sheet::new();
    for node in &moved.nodes {
        let versions = match (&node.before, &node.after) {
            (Some(before), Some(after)) => format!("{before} -> {after}"),
            (None, Some(after)) => format!("{after}, new here"),
            (Some(before), None) => format!("{before} left"),
            (None, None) => String::new(),
        };
        sheet.row([
            Cell::painted(node.action, style.action(node.action, node.action)),
            node.kind.as_str().into(),
            node.node.as_str().into(),
            versions.into(),
            if node.is_same { "the same rows or bytes".into() } else { "".into() },
        ]);
    }
    for held in &moved.held {
        let stays = match &held.in_service {
            Some(version) => format!("{} missed its gate; {version} stays in service", held.version),
            None => format!("{} missed its gate; nothing of it is in service", held.version),
        };
        let word = Cell::painted("held", style.action("held", "held"));
        sheet.row([word, "model".into(), held.node.as_str().into(), stays.into()]);
    }
    let mut text = sheet.text(style);
    if !moved.kept.is_empty() && moved.published {
        let from = moved.from.as_ref().map_or("", |from| from.environment.as_str());
        let kept = words::names(moved.kept.iter().map(|name| name.as_str()), NAMES_MAX);
        text.push_str(&format!("\nkept: {kept} (`{from}` never had them)\n"));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    let environment = &moved.environment;
    let of = match (&moved.from, moved.restores) {
        (Some(from), _) => format!("`{}` (publication {})", from.environment, from.publication),
        (None, Some(id)) => format!("publication {id}"),
        (None, None) => "what it has".into(),
    };
    let line = match (moved.published, moved.publication) {
        (true, Some(id)) if moved.restores.is_some() => {
            format!("{}: publication {id} of `{environment}` has the state of {of}", style.green("rolled back"))
        }
        (true, Some(id)) => {
            format!("{}: publication {id} of `{environment}` has the versions of {of}", style.green("published"))
        }
        (_, Some(id)) if moved.held.is_empty() => {
            format!("nothing to do: publication {id} of `{environment}` stands at the versions of {of}")
        }
        (_, Some(id)) => format!("nothing is published, `{environment}` stays at publication {id}"),
        (_, None) => format!("nothing is published in `{environment}`"),
    };
    let run = moved.run.as_ref().map_or(String::new(), |run| format!("   run {run}"));
    text + &format!("{line}{run}   {}\n", words::elapsed_ms(moved.elapsed_ms))
}

/// The publications of an environment, newest first.
pub(crate) fn publications(publications: &[PublicationHead], style: Style) -> String {
    let mut sheet = Sheet::with_head(["publication", "published at", "nodes", "what"]).right([0, 2]);
    for (at, head) in publications.iter().take(LISTED_MAX).enumerate() {
        let mut what = Vec::new();
        if at == 0 {
            what.push("in force".to_string());
        }
        what.extend(head.restores.map(|id| format!("a rollback to {id}")));
        what.extend(head.removed_at_us.map(|us| format!("removed by `pelton gc` at {}", format_time_us(us))));
        sheet.row([head.id.to_string(), format_time_us(head.at_us), words::count(head.nodes), what.join(", ")]);
    }
    let mut text = sheet.text(style);
    if publications.len() > LISTED_MAX {
        text.push_str(&format!("and {} earlier ones\n", words::count((publications.len() - LISTED_MAX) as u64)));
    }
    text
}

/// The publications of an environment as JSON.
pub(crate) fn publications_json(environment: &str, publications: &[PublicationHead]) -> Value {
    let list = publications.iter().map(|head| {
        json!({
            "publication": head.id,
            "published_at": format_time_us(head.at_us),
            "run": head.run,
            "nodes": head.nodes,
            "restores": head.restores,
            "removed_at": head.removed_at_us.map(format_time_us),
        })
    });
    json!({ "environment": environment, "publications": list.collect::<Vec<_>>() })
}
