//! Two publications side by side on a page.

use super::outcome::side_by_side;
use super::sheet::{Cell, Sheet};
use super::style::Style;
use super::words;
use pelton_runner::{Compared, ComparedNode, RowChanges};
use serde_json::{Map, Value};

/// How wide a value of a row may be.
const CELL_WIDTH_MAX: usize = 40;

/// How two publications differ.
pub(crate) fn compared(compared: &Compared, style: Style) -> String {
    let (left, right) = (&compared.left, &compared.right);
    // Two publications of one environment are told apart by their numbers.
    let (left_name, right_name) = match left.environment == right.environment {
        true => (left.publication.to_string(), right.publication.to_string()),
        false => (left.environment.clone(), right.environment.clone()),
    };
    let names = (left_name.as_str(), right_name.as_str());
    let mut text = String::new();
    for node in &compared.nodes {
        text.push_str(&one(node, names, style));
        text.push('\n');
    }
    let side = |environment: &str, publication: i64| format!("`{environment}` (publication {publication})");
    let sides =
        format!("{} and {}", side(&left.environment, left.publication), side(&right.environment, right.publication));
    let same = words::counted(compared.same as u64, "node");
    match compared.nodes.len() as u64 {
        0 => format!("{}: {same} in {sides} have equal digests\n", style.green("the same")),
        differ => {
            let verb = if differ == 1 { "differs" } else { "differ" };
            format!("{text}{} {verb} between {sides}, {same} the same\n", words::counted(differ, "node"))
        }
    }
}

fn one(node: &ComparedNode, (left, right): (&str, &str), style: Style) -> String {
    let name = style.bold(node.node.as_str());
    let version =
        |of: &Option<pelton_runner::ComparedVersion>| of.as_ref().map_or(String::new(), |v| v.version.0.clone());
    let mut text = match node.change {
        "left_only" => return format!("{} {name}: only in {left}, version {}\n", node.kind, version(&node.left)),
        "right_only" => return format!("{} {name}: only in {right}, version {}\n", node.kind, version(&node.right)),
        _ => format!("{} {name}: {} -> {}\n", node.kind, version(&node.left), version(&node.right)),
    };
    let mut facts = Sheet::new().indent(2);
    if node.sql_differs {
        facts.row(["SQL", "differs"]);
    }
    for column in &node.columns.removed {
        let line = format!("- {} {}", column.name, column.data_type);
        facts.row([Cell::from("column"), Cell::painted(line.as_str(), style.red(&line))]);
    }
    for column in &node.columns.added {
        let line = format!("+ {} {}", column.name, column.data_type);
        facts.row([Cell::from("column"), Cell::painted(line.as_str(), style.green(&line))]);
    }
    for column in &node.columns.retyped {
        facts.row(["column", &format!("{}: {} -> {}", column.name, column.left, column.right)]);
    }
    let (Some(before), Some(after)) = (&node.left, &node.right) else { return text };
    if let (Some(rows_before), Some(rows_after)) = (before.rows, after.rows)
        && rows_before != rows_after
    {
        let what = if node.kind == "model" { "examples" } else { "rows" };
        facts.row([what, &format!("{} -> {}", words::count(rows_before), words::count(rows_after))]);
    }
    if let Some(reason) = &node.rows_skipped {
        facts.row(["compared", &format!("not row by row: {reason}")]);
    }
    if let Some(rows) = &node.rows {
        let mut parts = vec![
            format!("{} only in {left}", words::count(rows.left_only)),
            format!("{} only in {right}", words::count(rows.right_only)),
        ];
        if !rows.key.is_empty() {
            parts.push(format!("{} changed (by {})", words::count(rows.changed), rows.key.join(", ")));
        }
        let is_equal = rows.left_only + rows.right_only + rows.changed == 0;
        let said = match is_equal {
            true => "the rows are equal in the columns that both have".to_string(),
            false => parts.join(", "),
        };
        facts.row(["compared", &said]);
    }
    text.push_str(&facts.text(style));
    if let Some(rows) = &node.rows {
        text.push_str(&samples(rows, (left, right), style));
    }
    if node.kind == "model" {
        let title = |name: &str, version: &pelton_runner::ComparedVersion| match &version.learner {
            Some(learner) => format!("{name} ({learner})"),
            None => name.to_string(),
        };
        let (one, other) = (title(left, before), title(right, after));
        text.push_str(&side_by_side(&[(&one, &before.metrics), (&other, &after.metrics)], None, style));
    }
    text
}

fn samples(rows: &RowChanges, (left, right): (&str, &str), style: Style) -> String {
    let mut text = String::new();
    for (name, some, all) in [(left, &rows.left_rows, rows.left_only), (right, &rows.right_rows, rows.right_only)] {
        if some.is_empty() {
            continue;
        }
        text.push_str(&format!("\n  only in {name}{}\n", part(some.len(), all)));
        let mut sheet = Sheet::with_head(rows.columns.iter().map(|name| words::visible(name))).indent(4);
        for row in some {
            sheet.row(rows.columns.iter().map(|column| cell(row, column)));
        }
        text.push_str(&sheet.text(style));
    }
    if !rows.changed_rows.is_empty() {
        text.push_str(&format!("\n  changed{}\n", part(rows.changed_rows.len(), rows.changed)));
        let head = rows.key.iter().map(|key| words::visible(key)).chain(["column", left, right].map(String::from));
        let mut sheet = Sheet::with_head(head).indent(4);
        for row in &rows.changed_rows {
            for (column, changed) in &row.columns {
                let key = rows.key.iter().map(|key| cell(&row.key, key));
                sheet.row(key.chain([words::visible(column), value(&changed.left), value(&changed.right)]));
            }
        }
        text.push_str(&sheet.text(style));
    }
    text
}

/// Which part of all rows is shown.
fn part(shown: usize, all: u64) -> String {
    if shown as u64 == all { String::new() } else { format!(" (the first {shown} of {})", words::count(all)) }
}

fn cell(row: &Map<String, Value>, column: &str) -> String {
    row.get(column).map_or_else(String::new, value)
}

fn value(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    words::cut(&words::visible(&text), CELL_WIDTH_MAX)
}
