//! The stored tables that a table comes from, through views, and which of their rows changed since it was built.

use super::intervals::Times;
use super::{Before, Memory, Packed, Stop, Work};
use crate::run::Building;
use crate::{catalog, fingerprint, serving, stage, verify};
use pelton_base::{Digest, NodeName, Report, VersionId};
use pelton_project::{Node, Table};
use pelton_query::{Catalog, DataFile, Relation, sql};
use pelton_store::VersionRecord;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};

/// How many versions of an input are looked at, back from the one of now, for files that were written together.
const VERSIONS_MAX: usize = 64;

/// What a table is built from.
pub(crate) struct Base {
    /// The SQL and settings of the table, and of the views and models that it reads.
    pub(crate) recipe: Digest,
    /// The versions of stored tables, with those in which models look features up.
    pub(crate) tables: BTreeMap<NodeName, VersionId>,
}

impl Base {
    pub(crate) fn of(building: &Building<'_>, node: &Node, table: &Table) -> Result<Self, Report> {
        let mut recipe = vec![
            fingerprint::FORMAT.to_string(),
            node.name.to_string(),
            table.select.normal.clone(),
            fingerprint::table_settings(table),
        ];
        let (mut tables, mut orders) = (BTreeMap::new(), Vec::new());
        let mut sees_order = building.ctx.project.by_column_order.contains(&node.name);
        let reads = node.reads.iter().map(|(name, _)| name).filter(|name| !node.checked_with.contains(*name));
        let mut waiting: Vec<NodeName> = reads.cloned().collect();
        let mut seen = BTreeSet::new();
        while let Some(name) = waiting.pop() {
            let Some(id) = building.versions().get(&name).filter(|_| seen.insert(name.clone())) else { continue };
            let head = building.ctx.warehouse.state().version_head(id).map_err(|error| error.report())?;
            if head.is_some_and(|head| head.kind == "model") {
                let scoring = serving::scoring(building.ctx, id)?;
                recipe.push(format!("{name} {}", scoring.recipe));
                waiting.extend(scoring.features);
                // Of rows that tie, the join takes the greatest by its columns in their order.
                sees_order = true;
                continue;
            }
            let version = catalog::load(building.ctx, id)?;
            match version.detail.get("view").and_then(|view| view.as_str()) {
                Some(sql) => {
                    recipe.push(format!("{name} {sql}"));
                    waiting.extend(version.inputs.iter().map(|(name, _)| name.clone()));
                }
                None => {
                    orders.push(fingerprint::order_of(&name, &version.columns));
                    tables.insert(name, id.clone());
                }
            }
        }
        if sees_order {
            recipe.append(&mut orders);
        }
        // The order in which views are met depends on what reads them.
        recipe[4..].sort();
        Ok(Base { recipe: Digest::of_parts(recipe.iter().map(String::as_str)), tables })
    }

    pub(crate) fn memory(&self, times: Times) -> Memory {
        let Times { ranges, backfilled } = times;
        let (recipe, base) = (self.recipe, self.tables.clone());
        Memory { recipe, base, ranges, backfilled, after: None, packed: Vec::new() }
    }

    /// Those of `inputs` whose rows changed since `before`.
    pub(crate) fn changed(
        &self,
        work: &Work<'_>,
        before: &Before,
        inputs: &BTreeSet<String>,
    ) -> Result<Vec<Changed>, Stop> {
        let state = work.building.ctx.warehouse.state();
        let mut changed = Vec::new();
        for name in inputs {
            let Some((name, now)) = self.tables.get_key_value(name.as_str()) else {
                if !work.catalog.relations.contains_key(name) {
                    // A name of the SELECT's own, such as a recursive `WITH`.
                    continue;
                }
                return Err(Stop::Anew(format!("which rows of `{name}` changed is not known")));
            };
            let Some(then) = before.memory.base.get(name) else {
                return Err(Stop::Anew(format!("it did not read `{name}` before")));
            };
            if then == now {
                continue;
            }
            let now = catalog::load(work.building.ctx, now)?;
            let Some(then) = state.version(then)? else {
                return Err(Stop::Anew(format!("the version of `{name}` that it was built from was removed")));
            };
            if then.digest != now.digest {
                let files = unpacked(work, &then, &now)?;
                let found = Changed::of(work, &then, &now, &files);
                if !found.removed.is_empty() && !is_whole(work, &then, &found.removed) {
                    return Err(Stop::Anew(format!("rows of `{name}` that it was built from are lost")));
                }
                if let Some(column) = found.unreadable(&then) {
                    return Err(Stop::Anew(format!("column `{column}` of `{name}` has a narrower type than it had")));
                }
                changed.push(found);
            }
        }
        Ok(changed)
    }
}

/// Whether files of an earlier version can be read, as far as can be told without doing so.
fn is_whole(work: &Work<'_>, version: &VersionRecord, files: &[DataFile]) -> bool {
    let folder = work.building.ctx.warehouse.table_dir(&version.node);
    version.fingerprint != verify::LOST && files.iter().all(|file| is_there(&folder, file))
}

fn is_there(folder: &Path, file: &DataFile) -> bool {
    std::fs::metadata(folder.join(&file.path)).is_ok_and(|found| found.len() == file.bytes)
}

/// The files of `now`, with those taken apart again that were written together since `then`: what has the same rows in other files did not change.
///
/// Goes back from version to version; where one of them is gone, files stay as they are, which gives the same rows.
fn unpacked(work: &Work<'_>, then: &VersionRecord, now: &VersionRecord) -> Result<Vec<DataFile>, Stop> {
    let mut files: BTreeMap<String, DataFile> = by_path(now);
    let past = by_path(then);
    let has_all = |files: &BTreeMap<String, DataFile>| past.keys().all(|path| files.contains_key(path));
    let folder = work.building.ctx.warehouse.table_dir(&now.node);
    let is_known = |file: &DataFile| past.contains_key(&file.path) || is_there(&folder, file);
    let (mut memory, mut steps) = (Memory::of(now), 0);
    while let Some(Memory { packed, after: Some(after), .. }) = memory.take() {
        steps += 1;
        if steps > VERSIONS_MAX || has_all(&files) {
            break;
        }
        let Some(version) = work.building.ctx.warehouse.state().version(&after)? else { break };
        let had = by_path(&version);
        for Packed { from, into } in &packed {
            let parts: Option<Vec<&DataFile>> =
                from.iter().map(|path| had.get(path).filter(|file| is_known(file))).collect();
            if let Some(parts) = parts.filter(|_| into.iter().all(|path| files.contains_key(path))) {
                files.retain(|path, _| !into.contains(path));
                files.extend(parts.into_iter().map(|file| (file.path.clone(), file.clone())));
            }
        }
        memory = Memory::of(&version).filter(|_| after != then.id);
    }
    Ok(files.into_values().collect())
}

fn by_path(version: &VersionRecord) -> BTreeMap<String, DataFile> {
    version.files.iter().map(|file| (file.path.clone(), file.clone())).collect()
}

/// Whether every value of a type is one of another type, too.
fn is_wide_enough(had: &DataType, has: &DataType) -> bool {
    use DataType::*;
    match (had, has) {
        (Int8, Int16 | Int32 | Int64 | Float64) | (Int16, Int32 | Int64 | Float64) | (Int32, Int64 | Float64) => true,
        (Float32, Float64) => true,
        (had, Utf8) => !had.is_nested(),
        (had, has) => had == has,
    }
}

/// A table whose rows changed.
pub(crate) struct Changed {
    pub(crate) name: String,
    now: VersionRecord,
    added: Vec<DataFile>,
    removed: Vec<DataFile>,
    folder: String,
}

impl Changed {
    fn of(work: &Work<'_>, then: &VersionRecord, now: &VersionRecord, files: &[DataFile]) -> Self {
        let paths = |files: &[DataFile]| files.iter().map(|file| file.path.clone()).collect::<BTreeSet<String>>();
        let (had, has) = (paths(&then.files), paths(files));
        let without = |files: &[DataFile], other: &BTreeSet<String>| {
            files.iter().filter(|file| !other.contains(&file.path)).cloned().collect::<Vec<_>>()
        };
        Changed {
            name: now.node.to_string(),
            added: without(files, &had),
            removed: without(&then.files, &has),
            folder: work.building.ctx.warehouse.table(&now.node).0,
            now: now.clone(),
        }
    }

    /// A column whose values in rows that are gone may not fit the type that it has now.
    fn unreadable(&self, then: &VersionRecord) -> Option<String> {
        if self.removed.is_empty() {
            return None;
        }
        let (had, has) = (then.schema(), self.now.schema());
        let is_narrower = |field: &&Arc<Field>| {
            had.field_with_name(field.name()).is_ok_and(|had| !is_wide_enough(had.data_type(), field.data_type()))
        };
        has.fields().iter().find(is_narrower).map(|field| field.name().clone())
    }

    /// Whether it only got rows.
    pub(crate) fn only_grew(&self) -> bool {
        self.removed.is_empty()
    }

    /// Its new files alone.
    pub(crate) fn added(&self) -> Relation {
        self.files(&self.added)
    }

    fn files(&self, files: &[DataFile]) -> Relation {
        Relation::Files { schema: self.now.schema(), folder: self.folder.clone(), files: Arc::new(files.to_vec()) }
    }

    /// Binds the rows that it has now and had not, and those that it had and has no more; gives a SELECT of `columns` of them.
    pub(crate) fn rows(&self, catalog: &mut Catalog, columns: &[&str]) -> String {
        let (added, removed) = (format!("pelton_added_{}", self.name), format!("pelton_removed_{}", self.name));
        let list = sql::idents(columns.iter().copied());
        catalog.relations.insert(added.clone(), self.added());
        if self.removed.is_empty() {
            return format!("select {list} from {added}");
        }
        catalog.relations.insert(removed.clone(), self.files(&self.removed));
        let schema = self.now.schema();
        if schema.fields().iter().any(|field| field.data_type().is_nested()) {
            // Without taking rows away that are in both, more than what changed is built, which is right too.
            return format!("select {list} from {added} union all select {list} from {removed}");
        }
        let all = sql::idents(schema.fields().iter().map(|field| field.name().as_str()));
        format!(
            "select {list} from (select *, 1 as pelton_sign from {added} union all select *, -1 as pelton_sign from {removed}) \
             as pelton_both group by {all} having sum(pelton_sign) <> 0"
        )
    }
}

/// A catalog with the inputs in `names` bound to nothing but the new files of those that changed.
pub(crate) fn grown(work: &Work<'_>, names: &BTreeSet<String>, changed: &[Changed]) -> Catalog {
    let mut catalog = work.catalog.clone();
    for name in names {
        let relation = match (changed.iter().find(|changed| changed.name == *name), catalog.relations.get(name)) {
            (Some(changed), _) => changed.added(),
            (None, Some(Relation::Files { schema, folder, .. })) => {
                Relation::Files { schema: schema.clone(), folder: folder.clone(), files: Arc::default() }
            }
            _ => continue,
        };
        catalog.relations.insert(name.clone(), relation);
    }
    catalog
}

/// The name under which a restricted input stays whole.
pub(crate) fn whole_name(input: &str) -> String {
    format!("pelton_whole_{input}")
}

/// Restricts an input to the rows of a SELECT over its [`whole_name`].
pub(crate) fn restrict(catalog: &mut Catalog, input: &str, select: String) {
    if let Some(relation) = catalog.relations.insert(input.to_string(), Relation::View(select)) {
        catalog.relations.insert(whole_name(input), relation);
    }
}

/// Deletes files that a build staged and does not need.
pub(crate) fn discard(work: &Work<'_>, files: &[DataFile]) {
    stage::discard(work.building.ctx, &work.node.name, files);
}
