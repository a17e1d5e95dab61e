//! Catalogs: the names of a query bound to the versions of a publication or of a run.

use crate::context::Context;
use crate::fingerprint::Heads;
use pelton_base::{NodeName, Report, VersionId};
use pelton_project::{Body, Build, Node};
use pelton_query::{Catalog, DataFile, Relation};
use pelton_store::VersionRecord;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The versions of nodes by name.
pub(crate) type Versions = BTreeMap<NodeName, VersionId>;

pub(crate) fn versions(heads: &Heads) -> Versions {
    heads.iter().map(|(name, head)| (name.clone(), head.id.clone())).collect()
}

/// What a stored version stands for in a query: its files, or the SELECT of a view.
pub(crate) fn relation(ctx: &Context, version: &VersionRecord) -> Option<Relation> {
    match version.kind.as_str() {
        "model" => None,
        _ => Some(match version.detail.get("view").and_then(|view| view.as_str()) {
            Some(sql) => Relation::View(sql.to_string()),
            None => Relation::Files {
                schema: version.schema(),
                folder: ctx.warehouse.table(&version.node).0,
                files: version.files.clone(),
            },
        }),
    }
}

/// Binds the nodes in `names`, and what views among them read, to their versions.
pub(crate) fn bind(
    ctx: &Context,
    versions: &Versions,
    names: impl IntoIterator<Item = NodeName>,
) -> Result<Catalog, Report> {
    let mut catalog = Catalog { now_us: Some(ctx.now_us()), ..Catalog::default() };
    let mut waiting: Vec<NodeName> = names.into_iter().collect();
    let mut seen = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let Some(id) = versions.get(&name) else { continue };
        let version = load(ctx, id)?;
        if version.is_view() {
            waiting.extend(version.inputs.iter().map(|(name, _)| name.clone()));
        }
        match relation(ctx, &version) {
            Some(relation) => {
                catalog.relations.insert(name.to_string(), relation);
            }
            None => crate::serving::bind_model(ctx, versions, &version, &mut catalog)?,
        }
    }
    Ok(catalog)
}

/// Reads a version that a publication or another version names.
pub(crate) fn load(ctx: &Context, id: &VersionId) -> Result<VersionRecord, Report> {
    let version = ctx.warehouse.state().version(id).map_err(|error| error.report())?;
    version.ok_or_else(|| Report::error("damaged-state", format!("version `{id}` is named, but not recorded")))
}

/// Whether a node's table is a view.
pub(crate) fn is_view(node: &Node) -> bool {
    matches!(&node.body, Body::Table(table) if table.build == Build::View)
}

/// Adds the system tables `pelton.*`.
pub(crate) fn bind_system(ctx: &Context, versions: &Versions, catalog: &mut Catalog) -> Result<(), Report> {
    let state = ctx.warehouse.state();
    for (name, rows) in state.system_tables().map_err(|error| error.report())? {
        catalog.relations.insert(format!("pelton.{name}"), Relation::Batches(rows.schema(), vec![rows]));
    }
    let mut files = Vec::new();
    for id in versions.values() {
        files.extend(load(ctx, id)?.quarantine);
    }
    catalog.relations.insert("pelton.quarantine".into(), quarantine(ctx, files));
    Ok(())
}

/// Files of quarantined rows as a relation.
pub(crate) fn quarantine(ctx: &Context, files: Vec<DataFile>) -> Relation {
    Relation::Files {
        schema: pelton_store::quarantine_schema(),
        folder: ctx.warehouse.folder_url("quarantine"),
        files: Arc::new(files),
    }
}
