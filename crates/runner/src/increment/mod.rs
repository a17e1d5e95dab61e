//! Incremental builds: a new version takes over what the version before it has, and builds only what its inputs changed.
//!
//! What a table's rows are is said by one SELECT over all of its input (`shape`). An incremental build gives the rows of that SELECT, or it
//! builds everything anew and says why: `base` finds which rows of the inputs changed, the engine's proof ([`Locality`]) which rows
//! of the result depend on them, and `append`, `keys` and `intervals` build those. A history without a time is the one exception: it
//! notes what it saw when, which no input tells.

mod append;
mod base;
mod intervals;
mod keys;
mod pack;
mod proof;
mod prune;
mod ranges;
mod replace;

use crate::run::Building;
use crate::{catalog, shape, stage};
use base::Base;
use pelton_base::{Digest, NodeName, Report, Reports, VersionId};
use pelton_project::{Build, Node, SchemaChange, Table};
use pelton_query::{Catalog, DataFile, Locality, QueryError, Relation};
use pelton_store::{ColumnType, StoreError, VersionHead, VersionRecord};
use ranges::Range;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::SchemaRef;

pub(crate) use append::added;
pub(crate) use pack::SMALL_BYTES_MAX;
pub(crate) use proof::{check, suggestion};

/// What a version of an incremental table remembers for the next one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// The SQL and settings that made it, with those of the views that it reads.
    recipe: Digest,
    /// The versions of the stored tables that it was built from.
    base: BTreeMap<NodeName, VersionId>,
    /// Of an interval build, the times that were built, microseconds since the epoch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ranges: Vec<Range>,
    /// The times before `start` that were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    backfilled: Vec<Range>,
    /// The version that it was built on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<VersionId>,
    /// Files of that version that were written together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    packed: Vec<Packed>,
}

/// Files whose rows are now in others, all of them and no other row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Packed {
    from: Vec<String>,
    into: Vec<String>,
}

impl Memory {
    fn of(version: &VersionRecord) -> Option<Self> {
        version.detail.get("increment").and_then(|noted| serde_json::from_value(noted.clone()).ok())
    }
}

/// The rows of a new version.
pub(crate) struct Rows {
    pub(crate) schema: SchemaRef,
    /// All files of the version.
    pub(crate) files: Vec<DataFile>,
    /// Those among them that this build staged.
    pub(crate) staged: Vec<DataFile>,
    /// What was done, for people, when it was not everything.
    pub(crate) how: Option<String>,
    pub(crate) memory: Option<Memory>,
}

impl Rows {
    /// The version that they were built on, when not everything was built.
    pub(crate) fn built_on(&self) -> Option<&VersionId> {
        self.memory.as_ref()?.after.as_ref()
    }

    /// The staged files whose rows are not just those of other files, written together.
    pub(crate) fn new_files(&self) -> Vec<DataFile> {
        let packed: BTreeSet<&String> =
            self.memory.iter().flat_map(|memory| &memory.packed).flat_map(|packed| &packed.into).collect();
        self.staged.iter().filter(|file| !packed.contains(&file.path)).cloned().collect()
    }
}

/// Why an increment ends early.
pub(crate) enum Stop {
    /// It cannot be proven to give the right rows, for this reason: everything is built anew.
    Anew(String),
    /// The node fails.
    Failed(Reports),
}

impl From<Reports> for Stop {
    fn from(reports: Reports) -> Self {
        Stop::Failed(reports)
    }
}

impl From<Report> for Stop {
    fn from(report: Report) -> Self {
        Stop::Failed(report.into())
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Stop::Failed(error.report().into())
    }
}

/// What a build has before it.
struct Work<'a> {
    building: &'a Building<'a>,
    node: &'a Node,
    table: &'a Table,
    /// The new version.
    id: &'a VersionId,
    /// The inputs, as a whole.
    catalog: &'a Catalog,
    /// The columns of the SELECT in the file.
    selected: SchemaRef,
    /// The SELECT of all rows, and its columns.
    sql: String,
    schema: SchemaRef,
}

/// The version before, and what it remembers.
struct Before {
    version: VersionRecord,
    memory: Memory,
}

impl Work<'_> {
    fn subject(&self) -> String {
        format!("table `{}`", self.node.name)
    }

    fn failed(&self, error: &QueryError) -> Stop {
        error.report(&self.subject()).into()
    }

    /// Stages the rows of a SELECT under a part of the version's name.
    async fn stage(&self, catalog: &Catalog, sql: &str, part: &str) -> Result<Vec<DataFile>, Stop> {
        let ctx = self.building.ctx;
        let stream = ctx.engine.query(catalog, sql).await.map_err(|error| self.failed(&error))?;
        let (_, staged) = stage::stage(ctx, self.building.run, &self.node.name, self.id, part, stream).await?;
        Ok(staged.files)
    }

    /// Files of the table as a relation.
    fn relation(&self, files: &[DataFile]) -> Relation {
        stage::relation(self.building.ctx, &self.node.name, self.schema.clone(), files)
    }

    /// One of so many parts of `engine.memory`. What an increment holds itself is bounded by such shares, beside what the engine holds.
    fn share_of_memory(&self, parts: u64) -> u64 {
        self.building.ctx.project.settings.engine.memory_bytes / parts
    }

    /// What part of the inputs a part of the rows depends on.
    fn locality(&self, sql: &str) -> Result<Locality, Stop> {
        self.building.ctx.engine.locality(self.catalog, sql).map_err(|error| self.failed(&error))
    }
}

/// Stages the rows of a new version; `cover` adds ranges of time to those that an interval build has.
pub(crate) async fn stage_rows(
    building: &Building<'_>,
    node: &Node,
    table: &Table,
    previous: Option<&VersionHead>,
    catalog: &Catalog,
    (id, cover): (&VersionId, &[Range]),
) -> Result<Rows, Reports> {
    let ctx = building.ctx;
    let report = |error: QueryError| Reports::from(crate::table::select_report(node, &error));
    let selected = ctx.engine.analyze(catalog, &table.select.sql).map_err(report)?.schema;
    let sql = shape::of_table(table, &selected, ctx.now_us());
    let schema = match table.build {
        Build::Merge | Build::History => ctx.engine.analyze(catalog, &sql).map_err(report)?.schema,
        _ => selected.clone(),
    };
    let schema = pelton_store::stored_schema(&schema).map_err(crate::context::reports)?;
    let work = Work { building, node, table, id, catalog, selected, sql, schema };
    if !table.build.is_incremental() {
        return match whole(&work, None, None).await {
            Ok(rows) => Ok(rows),
            Err(Stop::Failed(reports)) => Err(reports),
            Err(Stop::Anew(why)) => Err(Report::error("internal", why).into()),
        };
    }
    let base = Base::of(building, node, table)?;
    let before = match previous {
        Some(head) => before(building, head)?,
        None => None,
    };
    match increment(&work, &base, before.as_ref(), cover).await {
        Ok(rows) => Ok(rows),
        Err(Stop::Failed(reports)) => Err(reports),
        Err(Stop::Anew(why)) => {
            if let Some(before) = &before {
                refuse_other_columns(&work, &before.version)?;
            }
            let why = before.is_some().then(|| format!("built anew: {why}"));
            match whole(&work, Some((&base, before.as_ref(), cover)), why).await {
                Ok(rows) => Ok(rows),
                Err(Stop::Failed(reports)) => Err(reports),
                Err(Stop::Anew(why)) => Err(Report::error("internal", why).into()),
            }
        }
    }
}

/// The ranges whose times a version of an interval table does not have, or not all of them.
pub(crate) fn missing_times(
    ctx: &crate::Context,
    head: &VersionHead,
    table: &Table,
    wanted: &[Range],
) -> Result<Vec<Range>, Report> {
    let version = catalog::load(ctx, &head.id)?;
    let Some(memory) = Memory::of(&version) else { return Ok(wanted.to_vec()) };
    let mut asked = memory.backfilled;
    asked.push((table.increment.start_us.unwrap_or(i64::MIN), i64::MAX));
    let asked = ranges::normal(asked);
    Ok(wanted.iter().filter(|range| !ranges::minus(&[**range], &asked).is_empty()).copied().collect())
}

/// The times that a version has because they were asked for, not because its settings say so.
pub(crate) fn backfilled(ctx: &crate::Context, head: &VersionHead) -> Result<Vec<Range>, Reports> {
    Ok(Memory::of(&catalog::load(ctx, &head.id)?).map(|memory| memory.backfilled).unwrap_or_default())
}

/// The version that a version was built on, where it remembers what its inputs do not tell.
pub(crate) fn built_on(version: &VersionRecord) -> Option<VersionId> {
    Memory::of(version)?.after
}

/// The version before, when it was built incrementally and can be built on.
fn before(building: &Building<'_>, head: &VersionHead) -> Result<Option<Before>, Report> {
    let version = catalog::load(building.ctx, &head.id)?;
    Ok(Memory::of(&version).map(|memory| Before { version, memory }))
}

async fn increment(work: &Work<'_>, base: &Base, before: Option<&Before>, cover: &[Range]) -> Result<Rows, Stop> {
    let Some(before) = before else { return Err(Stop::Anew("it was never built".into())) };
    let has_columns = before.version.columns == ColumnType::of(&work.schema);
    if work.table.build == Build::History && work.table.time.is_none() {
        return match has_columns {
            true => seen(work, base, before).await,
            false => Err(Stop::Anew("its columns changed".into())),
        };
    }
    if before.memory.recipe != base.recipe {
        return Err(Stop::Anew("its SQL, its settings or a view that it reads changed".into()));
    }
    if !has_columns {
        return Err(Stop::Anew("its columns changed".into()));
    }
    if before.version.files.iter().any(|file| file.rows_digest.is_none()) {
        return Err(Stop::Anew("its files do not say what is in them".into()));
    }
    let rows = match work.table.build {
        Build::Append => append::build(work, base, before).await,
        Build::Interval => intervals::build(work, base, before, cover).await,
        _ => keys::build(work, base, before).await,
    };
    let mut rows = pack::small_files(work, rows?).await?;
    if let Some(memory) = &mut rows.memory {
        memory.after = Some(before.version.id.clone());
    }
    Ok(rows)
}

/// All rows, from all input.
async fn whole(
    work: &Work<'_>,
    base: Option<(&Base, Option<&Before>, &[Range])>,
    how: Option<String>,
) -> Result<Rows, Stop> {
    work.building.progress(&work.node.name, "running its SELECT");
    let mut times = intervals::Times::default();
    let mut sql = work.sql.clone();
    if let (Build::Interval, Some((_, before, cover))) = (work.table.build, base) {
        (sql, times) = intervals::whole(work, before, cover).await?;
    }
    let stream = work.building.ctx.engine.query(work.catalog, &sql).await;
    let stream = stream.map_err(|error| crate::table::select_report(work.node, &error))?;
    let (ctx, run) = (work.building.ctx, work.building.run);
    let (schema, staged) = stage::stage(ctx, run, &work.node.name, work.id, "", stream).await?;
    let memory = base.map(|(base, ..)| base.memory(times));
    Ok(Rows { schema, files: staged.files.clone(), staged: staged.files, how, memory })
}

/// A history of what was seen when goes on.
async fn seen(work: &Work<'_>, base: &Base, before: &Before) -> Result<Rows, Stop> {
    const BEFORE: &str = "pelton_before";
    let ctx = work.building.ctx;
    work.building.progress(&work.node.name, "comparing with what was seen before");
    let catalog = work.catalog.clone().with(BEFORE, work.relation(&before.version.files));
    let sql = shape::history_seen(work.table, &work.selected, BEFORE, ctx.now_us());
    let files = work.stage(&catalog, &sql, "").await?;
    let mut memory = base.memory(intervals::Times::default());
    memory.after = Some(before.version.id.clone());
    Ok(Rows { schema: work.schema.clone(), files: files.clone(), staged: files, how: None, memory: Some(memory) })
}

/// Refuses to build a table anew whose owner said that it is not to be, or whose past cannot be built again.
fn refuse_other_columns(work: &Work<'_>, before: &VersionRecord) -> Result<(), Reports> {
    let (table, node) = (work.table, work.node);
    let is_seen = table.build == Build::History && table.time.is_none();
    let rule =
        table.increment.schema_change.unwrap_or(if is_seen { SchemaChange::Stop } else { SchemaChange::Rebuild });
    let now = ColumnType::of(&work.schema);
    if rule == SchemaChange::Rebuild || before.columns == now {
        return Ok(());
    }
    let text = |columns: &[ColumnType], than: &[ColumnType]| {
        let other = columns.iter().filter(|column| !than.contains(column));
        other.map(|column| format!("`{} {}`", column.name, column.data_type)).collect::<Vec<_>>().join(", ")
    };
    let (new, gone) = (text(&now, &before.columns), text(&before.columns, &now));
    let mut report =
        Report::error("schema-changed", format!("the columns of table `{}` changed", node.name)).at(node.place());
    if !new.is_empty() {
        report = report.note(format!("new: {new}"));
    }
    if !gone.is_empty() {
        report = report.note(format!("gone: {gone}"));
    }
    if new.is_empty() && gone.is_empty() {
        report = report.note("they have another order");
    }
    report = report.note(format!("version {} stays as it is", before.id));
    report = match is_seen {
        true => report
            .note("what a history without `time` saw cannot be built again")
            .hint("give the table a new name, or set `schema_change = \"rebuild\"` to begin the history anew"),
        false => report.hint("set `schema_change = \"rebuild\"` to build it anew"),
    };
    Err(report.into())
}
