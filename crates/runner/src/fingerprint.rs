//! The fingerprint of a node: everything that its rows or bytes depend on, as one digest.
//!
//! It is made of the SELECT in its normal form, the settings that change the data, and the digests of what the node reads. Digests,
//! not version ids: a parent that was rebuilt to the same rows leaves its children as they are. Of the checks, those count that may
//! remove rows; the others change no row, and `checks` asks them again of the version that is there.

use crate::context::Context;
use crate::{catalog, serving};
use pelton_base::{Digest, Grain, NodeName, Report};
use pelton_project::{Body, Check, Node, OnFail, Source, Spanned, Table, Tolerance};
use pelton_store::{ColumnType, VersionHead};
use std::collections::{BTreeMap, BTreeSet};

/// Raised when Pelton builds other rows from the same inputs; part of every fingerprint.
pub(crate) const FORMAT: &str = "pelton 2";

/// The versions that a run or a publication has of each node.
pub(crate) type Heads = BTreeMap<NodeName, VersionHead>;

/// The fingerprint of a source that took in files with these digests.
pub(crate) fn of_source<'a>(node: &Node, source: &Source, files: impl Iterator<Item = (&'a str, Digest)>) -> Digest {
    let settings = source_settings(source);
    let mut parts = vec![FORMAT.to_string(), "source".into(), node.name.to_string(), settings];
    parts.extend(files.map(|(path, digest)| format!("{path} {digest}")));
    Digest::of_parts(parts.iter().map(String::as_str))
}

/// What of a source's settings changes how a file is read.
pub(crate) fn source_settings(source: &Source) -> String {
    let columns: Vec<String> =
        source.columns.iter().map(|column| format!("{} {}", column.name.value, column.data_type.value)).collect();
    let key: Vec<&str> = source.key.iter().map(|key| key.value.as_str()).collect();
    let checks = removing(&source.checks);
    let contract = (source.contract.columns, source.contract.data_type);
    format!("{:?} {:?} {:?} {contract:?} {columns:?} {key:?} {checks:?}", source.kind, source.format, source.csv)
}

/// The fingerprint of a table or model over the versions of what it reads; `None` when one of them has no version.
pub(crate) fn of_node(ctx: &Context, node: &Node, heads: &Heads) -> Result<Option<Digest>, Report> {
    let project = &ctx.project;
    let mut parts = vec![FORMAT.to_string(), node.kind().into(), node.name.to_string()];
    match &node.body {
        Body::Source(_) => return Ok(None),
        Body::Table(table) => {
            parts.push(table.select.normal.clone());
            parts.push(table_settings(table));
        }
        Body::Model(model) => {
            parts.push(model.select.normal.clone());
            parts.push(model.settings_digest.to_string());
            parts.push(project.settings.seed.to_string());
            parts.push(format!("package {}", pelton_serve::PACKAGE_FORMAT));
            // How a feature table is joined is part of what the model learns.
            for used in &model.features {
                if let Some(Body::Table(table)) = project.nodes.get(&used.table).map(|node| &node.body) {
                    parts.push(format!("{} {}", used.table, feature_settings(table)));
                }
            }
        }
    }
    for (parent, _) in node.reads.iter().filter(|(parent, _)| !node.checked_with.contains(parent)) {
        let Some(head) = heads.get(parent) else { return Ok(None) };
        parts.push(format!("{parent} {}", head.digest));
        if head.kind == "model" {
            parts.extend(of_scoring(ctx, head, heads)?);
        }
    }
    if project.by_column_order.contains(&node.name) {
        parts.extend(orders_below(ctx, rows_of(node), heads)?);
    }
    Ok(Some(Digest::of_parts(parts.iter().map(String::as_str))))
}

/// What the answers of a model depend on beside its bytes: how it is asked, and the features that it looks up.
fn of_scoring(ctx: &Context, model: &VersionHead, heads: &Heads) -> Result<Vec<String>, Report> {
    let scoring = serving::scoring(ctx, &model.id)?;
    let mut parts = vec![format!("scored {}", scoring.recipe)];
    for table in &scoring.features {
        let digest = heads.get(table).map(|head| head.digest.to_string());
        parts.push(format!("looked up {table} {}", digest.unwrap_or_default()));
    }
    // Of rows that tie, the join takes the greatest by its columns in their order.
    parts.extend(orders_below(ctx, scoring.features, heads)?);
    Ok(parts)
}

/// What a node's rows come from.
fn rows_of(node: &Node) -> Vec<NodeName> {
    let reads = node.reads.iter().map(|(parent, _)| parent).filter(|parent| !node.checked_with.contains(*parent));
    reads.cloned().collect()
}

/// The columns, in their order, of stored tables, or of those below a view: no digest tells the order.
fn orders_below(ctx: &Context, names: Vec<NodeName>, heads: &Heads) -> Result<Vec<String>, Report> {
    let (mut waiting, mut seen, mut orders) = (names, BTreeSet::new(), Vec::new());
    while let Some(name) = waiting.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        match ctx.project.nodes.get(&name) {
            Some(view) if catalog::is_view(view) => waiting.extend(rows_of(view)),
            _ => {
                if let Some(head) = heads.get(&name).filter(|head| head.kind != "model") {
                    let columns = ctx.warehouse.state().columns_of(&head.id).map_err(|error| error.report())?;
                    orders.push(order_of(&name, &columns.unwrap_or_default()));
                }
            }
        }
    }
    orders.sort();
    Ok(orders)
}

/// The order of a table's columns, as a part of what depends on it.
pub(crate) fn order_of(table: &NodeName, columns: &[ColumnType]) -> String {
    let names: Vec<String> = columns.iter().map(|column| format!("{:?}", column.name)).collect();
    format!("columns of {table}: {}", names.join(" "))
}

/// What of a table's settings its rows depend on.
pub(crate) fn table_settings(table: &Table) -> String {
    let checks = removing(&table.checks);
    if !table.build.is_incremental() {
        return format!("{:?} {checks:?}", table.build);
    }
    let increment = &table.increment;
    // The text of a time when there were no steps but these: what was built with them is not built again.
    let interval = match increment.interval {
        None => "None".to_string(),
        Some(Grain::Us(us)) => format!("Some({us})"),
        Some(other) => format!("Some({other})"),
    };
    let values = |list: &[Spanned<String>]| list.iter().map(|item| item.value.clone()).collect::<Vec<_>>();
    format!(
        "{:?} {checks:?} {:?} {:?} {:?} {:?} {interval} {:?} {:?} {:?}",
        table.build,
        values(&increment.key),
        table.time.as_ref().map(|time| &time.value),
        increment.delete.as_ref().map(|delete| &delete.value),
        values(&increment.track),
        increment.lookback_us,
        increment.lateness_us,
        increment.start_us,
    )
}

fn feature_settings(table: &Table) -> String {
    let entity: Vec<&str> = table.entity.iter().map(|entity| entity.value.as_str()).collect();
    let time = table.time.as_ref().map(|time| time.value.as_str());
    let known_at = table.known_at.as_ref().map(|known_at| known_at.value.as_str());
    format!("{entity:?} {time:?} {known_at:?} {:?}", table.ttl_us)
}

/// The checks that rows depend on.
fn removing(checks: &[Check]) -> Vec<String> {
    checks.iter().filter(|check| check.removes_rows()).map(check_text).collect()
}

/// Everything that a check asks, as text.
pub(crate) fn check_text(check: &Check) -> String {
    let tolerance = match (check.on_fail, check.tolerance) {
        // The text of a time when a 0 that was written was read as none: what was built without a tolerance is not built again.
        (_, Tolerance::Any) => "Rows(0)".to_string(),
        (OnFail::Quarantine, Tolerance::Rows(0)) => "no row".to_string(),
        (_, tolerance) => format!("{tolerance:?}"),
    };
    format!("{} {:?} {:?} {tolerance}", check.name, check.rule, check.on_fail)
}
