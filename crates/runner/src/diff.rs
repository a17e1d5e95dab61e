//! Compares two publications: nodes, columns, row counts, digests, rows where digests differ, and the metrics of models.
//!
//! Equal digests end the comparison of a node: nothing of it is read. Where they differ, files that both versions own cancel each
//! other out and are not read either; of the rest, one aggregation counts every row on both sides, so that the comparison is exact
//! for rows that occur several times and spills under the memory limit as any query does.

use crate::catalog::{self, Versions};
use crate::check::TypedColumn;
use crate::context::{Context, reports};
use crate::environments::{current_of, publication_of};
use crate::shape::VALID_FROM;
use pelton_base::{Digest, NodeName, Report, Reports, VersionId, format_time_us};
use pelton_project::{Body, Build, Node, Spanned, select};
use pelton_query::{Catalog, Relation, collect, sql, types};
use pelton_serve::write_value;
use pelton_store::{ColumnType, Publication, VersionRecord};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};

/// What to compare.
#[derive(Debug, Clone)]
pub struct DiffOptions {
    /// An environment, or a publication's number.
    pub left: String,
    /// An environment, or a publication's number.
    pub right: String,
    /// Selectors, or names of nodes that only a publication has; empty means every node.
    pub select: Vec<String>,
    /// How many rows of each sort are shown of a node; 0 compares no rows.
    pub rows_max: usize,
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComparedSide {
    /// The environment.
    pub environment: String,
    /// Its publication.
    pub publication: i64,
}

/// A node's version on one side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComparedVersion {
    /// The version.
    pub version: VersionId,
    /// Its digest.
    pub digest: Digest,
    /// Its rows; of a model, the examples.
    pub rows: Option<u64>,
    /// When it was built, RFC 3339.
    pub built_at: String,
    /// Of a model: what learned it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learner: Option<String>,
    /// Of a model: its metrics on the test part.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
}

/// A column with another type on each side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Retyped {
    /// The column.
    pub name: String,
    /// Its type on the left.
    pub left: String,
    /// Its type on the right.
    pub right: String,
}

/// How the columns differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ColumnChanges {
    /// Only on the right.
    pub added: Vec<TypedColumn>,
    /// Only on the left.
    pub removed: Vec<TypedColumn>,
    /// With another type.
    pub retyped: Vec<Retyped>,
}

impl ColumnChanges {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.retyped.is_empty()
    }
}

/// A row that both sides have under its key, with other values.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangedRow {
    /// The key.
    pub key: Map<String, Value>,
    /// The columns that differ.
    pub columns: BTreeMap<String, ChangedValue>,
}

/// A value on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangedValue {
    /// On the left.
    pub left: Value,
    /// On the right.
    pub right: Value,
}

/// How the rows differ, over the columns that both sides have with one type.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RowChanges {
    /// The columns that were compared, in order.
    pub columns: Vec<String>,
    /// The columns that say which rows belong together; empty when there is no key.
    pub key: Vec<String>,
    /// Rows that only the left has; with a key, rows whose key the right does not have.
    pub left_only: u64,
    /// Rows that only the right has; with a key, rows whose key the left does not have.
    pub right_only: u64,
    /// Keys that both have with other values; 0 without a key.
    pub changed: u64,
    /// Some rows that only the left has.
    pub left_rows: Vec<Map<String, Value>>,
    /// Some rows that only the right has.
    pub right_rows: Vec<Map<String, Value>>,
    /// Some rows that changed.
    pub changed_rows: Vec<ChangedRow>,
}

/// A node that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComparedNode {
    /// The node.
    pub node: NodeName,
    /// `source`, `table` or `model`.
    pub kind: String,
    /// `left_only`, `right_only` or `changed`.
    pub change: &'static str,
    /// Its version on the left.
    pub left: Option<ComparedVersion>,
    /// Its version on the right.
    pub right: Option<ComparedVersion>,
    /// Whether its SELECT differs.
    pub sql_differs: bool,
    /// How its columns differ.
    pub columns: ColumnChanges,
    /// How its rows differ; absent when they were not compared.
    pub rows: Option<RowChanges>,
    /// Why its rows were not compared, when there was something to compare.
    pub rows_skipped: Option<String>,
}

/// How two publications differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// One side.
    pub left: ComparedSide,
    /// The other.
    pub right: ComparedSide,
    /// How many nodes have equal digests.
    pub same: usize,
    /// The nodes that differ, by name.
    pub nodes: Vec<ComparedNode>,
}

/// Compares two publications; `on_node` hears of each node whose rows are compared.
pub async fn diff(
    ctx: &Context,
    options: &DiffOptions,
    on_node: &(dyn Fn(&NodeName) + Send + Sync),
) -> Result<Compared, Reports> {
    let (left, right) = (side(ctx, &options.left)?, side(ctx, &options.right)?);
    let names = chosen(ctx, &options.select, &left, &right)?;
    let mut compared = Compared { left: named(&left), right: named(&right), same: 0, nodes: Vec::new() };
    for name in names {
        let (ours, theirs) = (left.nodes.get(&name), right.nodes.get(&name));
        if ours == theirs {
            compared.same += usize::from(ours.is_some());
            continue;
        }
        let state = ctx.warehouse.state();
        let digest = |id: Option<&VersionId>| match id {
            Some(id) => Ok::<_, Reports>(state.version_head(id).map_err(reports)?.map(|head| (head.kind, head.digest))),
            None => Ok(None),
        };
        if digest(ours)? == digest(theirs)? {
            compared.same += 1;
            continue;
        }
        let load = |id: Option<&VersionId>| id.map(|id| catalog::load(ctx, id)).transpose();
        let pair = (load(ours)?, load(theirs)?);
        compared.nodes.push(node(ctx, &name, &pair, (&left.nodes, &right.nodes), options.rows_max, on_node).await?);
    }
    Ok(compared)
}

/// The publication that a word names: an environment's newest one, or one by its number.
fn side(ctx: &Context, word: &str) -> Result<Publication, Report> {
    let state = ctx.warehouse.state();
    let is_environment = state.current_id(word).map_err(|error| error.report())?.is_some();
    match word.parse::<i64>() {
        Ok(id) if !is_environment => {
            let Some(head) = state.publication_head(id).map_err(|error| error.report())? else {
                return Err(Report::error("unknown-publication", format!("there is no publication {id}"))
                    .hint("pelton query \"select publication, environment from pelton.publications\""));
            };
            publication_of(ctx, &head.environment, id)
        }
        _ => current_of(ctx, word),
    }
}

fn named(publication: &Publication) -> ComparedSide {
    ComparedSide { environment: publication.environment.clone(), publication: publication.id }
}

/// The nodes to look at: all of both sides, or those that the words select.
fn chosen(ctx: &Context, words: &[String], left: &Publication, right: &Publication) -> Result<Vec<NodeName>, Reports> {
    let all: BTreeSet<&NodeName> = left.nodes.keys().chain(right.nodes.keys()).collect();
    if words.is_empty() {
        return Ok(all.into_iter().cloned().collect());
    }
    // A node that left the project can still be named, as long as a publication has it.
    let (plain, selectors): (Vec<&String>, Vec<&String>) = words
        .iter()
        .partition(|word| all.contains(&NodeName::new(word)) && !ctx.project.nodes.contains_key(word.as_str()));
    let mut wanted: BTreeSet<NodeName> = plain.into_iter().map(NodeName::new).collect();
    if !selectors.is_empty() {
        wanted.extend(select(&ctx.project, &selectors.into_iter().cloned().collect::<Vec<_>>())?);
    }
    Ok(wanted.into_iter().filter(|name| all.contains(name)).collect())
}

async fn node(
    ctx: &Context,
    name: &NodeName,
    (left, right): &(Option<VersionRecord>, Option<VersionRecord>),
    versions: (&Versions, &Versions),
    rows_max: usize,
    on_node: &(dyn Fn(&NodeName) + Send + Sync),
) -> Result<ComparedNode, Report> {
    let kind = right.as_ref().or(left.as_ref()).map_or(String::new(), |version| version.kind.clone());
    let mut compared = ComparedNode {
        node: name.clone(),
        kind,
        change: match (left, right) {
            (Some(_), None) => "left_only",
            (None, _) => "right_only",
            _ => "changed",
        },
        left: left.as_ref().map(version),
        right: right.as_ref().map(version),
        sql_differs: false,
        columns: ColumnChanges::default(),
        rows: None,
        rows_skipped: None,
    };
    let (Some(left), Some(right)) = (left, right) else { return Ok(compared) };
    compared.sql_differs = left.detail.get("sql") != right.detail.get("sql");
    compared.columns = columns(&left.columns, &right.columns);
    if left.kind == "model" || right.kind == "model" || rows_max == 0 {
        return Ok(compared);
    }
    let shared = shared_columns(&left.columns, &right.columns);
    if shared.is_empty() {
        compared.rows_skipped = Some("no column has the same name and type on both sides".into());
        return Ok(compared);
    }
    let mut catalog = Catalog { now_us: Some(ctx.now_us()), ..Catalog::default() };
    let bound = bind(ctx, versions.0, left, "left", Some(right), &mut catalog)
        .and_then(|()| bind(ctx, versions.1, right, "right", Some(left), &mut catalog));
    match bound {
        Ok(()) => {}
        Err(Unbound::Model(model)) => {
            compared.rows_skipped = Some(format!("it is a view that asks model `{model}`"));
            return Ok(compared);
        }
        Err(Unbound::Failed(report)) => return Err(*report),
    }
    on_node(name);
    let key = ctx.project.nodes.get(name).map(key_of).unwrap_or_default();
    let key = if key.iter().all(|key| shared.iter().any(|(name, _)| name == key)) { key } else { Vec::new() };
    let comparison = Comparison { ctx, name, catalog, columns: shared, key, rows_max };
    compared.rows = Some(comparison.run().await?);
    Ok(compared)
}

fn version(version: &VersionRecord) -> ComparedVersion {
    let detail = |key: &str| version.detail.get(key).cloned();
    let metrics = detail("metrics").and_then(|metrics| serde_json::from_value(metrics).ok());
    ComparedVersion {
        version: version.id.clone(),
        digest: version.digest,
        rows: version.rows_known(),
        built_at: format_time_us(version.built_at_us),
        learner: detail("learner").and_then(|learner| learner.as_str().map(str::to_string)),
        metrics: metrics.unwrap_or_default(),
    }
}

fn columns(left: &[ColumnType], right: &[ColumnType]) -> ColumnChanges {
    let typed = |column: &ColumnType| TypedColumn { name: column.name.clone(), data_type: column.data_type.clone() };
    let only = |here: &[ColumnType], there: &[ColumnType]| {
        here.iter().filter(|column| there.iter().all(|other| other.name != column.name)).map(typed).collect()
    };
    let retyped = left.iter().filter_map(|column| {
        let other = right.iter().find(|other| other.name == column.name && other.data_type != column.data_type)?;
        let (left, right) = (column.data_type.clone(), other.data_type.clone());
        Some(Retyped { name: column.name.clone(), left, right })
    });
    ColumnChanges { added: only(right, left), removed: only(left, right), retyped: retyped.collect() }
}

/// Columns that both sides have with one type, in the order of the left.
fn shared_columns(left: &[ColumnType], right: &[ColumnType]) -> Vec<(String, DataType)> {
    let shared = left.iter().filter(|column| right.contains(column));
    shared.filter_map(|column| Some((column.name.clone(), types::parse(&column.data_type).ok()?))).collect()
}

/// The columns that say which rows of a node belong together.
fn key_of(node: &Node) -> Vec<String> {
    match &node.body {
        Body::Source(source) => source.key.iter().map(|key| key.value.clone()).collect(),
        Body::Table(table) => {
            let names = |columns: &[Spanned<String>]| columns.iter().map(|column| column.value.clone()).collect();
            // What a build is said to keep apart by is unique, which entity and time need not be.
            match (table.build, &table.time) {
                (Build::Merge, _) => names(&table.increment.key),
                (Build::History, _) => [names(&table.increment.key), vec![VALID_FROM.to_string()]].concat(),
                (_, Some(time)) if !table.entity.is_empty() => {
                    table.entity.iter().chain([time]).map(|column| column.value.clone()).collect()
                }
                _ => Vec::new(),
            }
        }
        Body::Model(_) => Vec::new(),
    }
}

enum Unbound {
    /// A view reads a model, whose features would have to be bound on both sides.
    Model(NodeName),
    Failed(Box<Report>),
}

impl From<Report> for Unbound {
    fn from(report: Report) -> Self {
        Unbound::Failed(Box::new(report))
    }
}

/// Binds a version, and what it reads when it is a view, under `side.NAME`. Files that `other` owns too are left out.
fn bind(
    ctx: &Context,
    versions: &Versions,
    version: &VersionRecord,
    side: &str,
    other: Option<&VersionRecord>,
    catalog: &mut Catalog,
) -> Result<(), Unbound> {
    let name = format!("{side}.{}", version.node);
    if catalog.relations.contains_key(&name) {
        return Ok(());
    }
    let relation = match catalog::relation(ctx, version) {
        None => return Err(Unbound::Model(version.node.clone())),
        Some(Relation::View(text)) => {
            let mut parts = Vec::new();
            for (input, _) in &version.inputs {
                // A view reads what its publication has now, not what it was checked with.
                let Some(id) = versions.get(input) else { continue };
                bind(ctx, versions, &catalog::load(ctx, id)?, side, None, catalog)?;
                let from = sql::dotted(&format!("{side}.{input}"));
                parts.push(format!("{} as (select * from {from})", sql::ident(input.as_str())));
            }
            let with = if parts.is_empty() { String::new() } else { format!("with {} ", parts.join(", ")) };
            Relation::View(format!("{with}select * from (\n{text}\n) as the_view"))
        }
        Some(Relation::Files { schema, folder, files }) => match other {
            Some(other) => {
                let there: BTreeSet<&str> = other.files.iter().map(|file| file.path.as_str()).collect();
                let own = files.iter().filter(|file| !there.contains(file.path.as_str())).cloned().collect();
                Relation::Files { schema, folder, files: Arc::new(own) }
            }
            None => Relation::Files { schema, folder, files },
        },
        Some(other) => other,
    };
    catalog.relations.insert(name, relation);
    Ok(())
}

/// The comparison of a node's rows.
struct Comparison<'a> {
    ctx: &'a Context,
    name: &'a NodeName,
    catalog: Catalog,
    columns: Vec<(String, DataType)>,
    key: Vec<String>,
    rows_max: usize,
}

impl Comparison<'_> {
    async fn run(&self) -> Result<RowChanges, Report> {
        let totals = self.query(&self.totals()).await?;
        let total = |column: usize| {
            let batch = totals.iter().find(|batch| batch.num_rows() > 0);
            batch.map_or(0, |batch| {
                let column = batch.column(column).as_primitive::<Int64Type>();
                if column.is_null(0) { 0 } else { column.value(0).max(0) as u64 }
            })
        };
        let mut changes = RowChanges {
            columns: self.columns.iter().map(|(name, _)| name.clone()).collect(),
            key: self.key.clone(),
            left_only: total(0),
            right_only: total(1),
            changed: total(2),
            left_rows: Vec::new(),
            right_rows: Vec::new(),
            changed_rows: Vec::new(),
        };
        if changes.left_only > 0 {
            changes.left_rows = self.rows(&self.sample("here > 0 and there = 0", "here > 0", self.rows_max)).await?;
        }
        if changes.right_only > 0 {
            changes.right_rows = self.rows(&self.sample("there > 0 and here = 0", "there > 0", self.rows_max)).await?;
        }
        if changes.changed > 0 {
            changes.changed_rows = self.changed().await?;
        }
        Ok(changes)
    }

    /// Every row that one side has more often than the other: `here` times more on the left, `there` times more on the right.
    fn difference(&self) -> String {
        let columns = self.list("");
        let name = self.name.as_str();
        let (left, right) = (sql::dotted(&format!("left.{name}")), sql::dotted(&format!("right.{name}")));
        let more = |one: &str, other: &str| {
            format!("greatest(sum({one}) - sum({other}), 0)", one = sql::ident(one), other = sql::ident(other))
        };
        format!(
            "(select {columns}, {} as here, {} as there from (\
             select {columns}, 1 as pelton_left, 0 as pelton_right from {left} union all \
             select {columns}, 0 as pelton_left, 1 as pelton_right from {right}) as sides \
             group by {columns} having sum(pelton_left) <> sum(pelton_right))",
            more("pelton_left", "pelton_right"),
            more("pelton_right", "pelton_left"),
        )
    }

    /// How often each key is on one side more than on the other.
    fn by_key(&self) -> String {
        let key = sql::idents(self.key.iter().map(String::as_str));
        format!(
            "(select {key}, sum(here) as here, sum(there) as there from {} as difference group by {key})",
            self.difference()
        )
    }

    fn totals(&self) -> String {
        let number = |expression: &str| format!("cast({expression} as bigint)");
        match self.key.is_empty() {
            true => format!(
                "select {} as a, {} as b, {} as c from {} as difference",
                number("sum(here)"),
                number("sum(there)"),
                number("0"),
                self.difference()
            ),
            false => format!(
                "select {} as a, {} as b, {} as c from {} as by_key",
                number("sum(case when there = 0 then here else 0 end)"),
                number("sum(case when here = 0 then there else 0 end)"),
                number("sum(case when here > 0 and there > 0 then 1 else 0 end)"),
                self.by_key()
            ),
        }
    }

    /// Rows of the difference: without a key those of `side`, with one those whose key is of `class`.
    fn sample(&self, class: &str, side: &str, limit: usize) -> String {
        let order = self.order("d.");
        if self.key.is_empty() {
            return format!(
                "select {} from {} as d where {side}{order} limit {limit}",
                self.list("d."),
                self.difference()
            );
        }
        let key = sql::idents(self.key.iter().map(String::as_str));
        let on: Vec<String> = self
            .key
            .iter()
            .map(|key| format!("(k.{key} is not distinct from d.{key})", key = sql::ident(key)))
            .collect();
        // The few keys stand first, because a join holds its first side in memory.
        format!(
            "select {}, d.here > 0 as is_left from (select {key} from {} as by_key where {class} order by {key} limit {}) as k \
             join {} as d on {}{order}, is_left desc limit {limit}",
            self.list("d."),
            self.by_key(),
            self.rows_max,
            self.difference(),
            on.join(" and "),
        )
    }

    /// ` order by` all columns that have an order, the key first.
    fn order(&self, prefix: &str) -> String {
        let has_order = |data_type: &DataType| !data_type.is_nested();
        let rest = self.columns.iter().filter(|(name, data_type)| has_order(data_type) && !self.key.contains(name));
        let names: Vec<String> = self
            .key
            .iter()
            .chain(rest.map(|(name, _)| name).filter(|_| self.key.is_empty()))
            .map(|name| format!("{prefix}{}", sql::ident(name)))
            .collect();
        match names.is_empty() {
            true => String::new(),
            false => format!(" order by {}", names.join(", ")),
        }
    }

    fn list(&self, prefix: &str) -> String {
        let names = self.columns.iter().map(|(name, _)| format!("{prefix}{}", sql::ident(name)));
        names.collect::<Vec<_>>().join(", ")
    }

    /// Rows that both sides have under their key: before and after, column by column.
    async fn changed(&self) -> Result<Vec<ChangedRow>, Report> {
        // A key that is not unique has more than two rows; the first of each side stand for it.
        const ROWS_PER_KEY_MAX: usize = 16;
        let text = self.sample("here > 0 and there > 0", "true", self.rows_max.saturating_mul(ROWS_PER_KEY_MAX));
        let mut changed: Vec<ChangedRow> = Vec::new();
        let mut left: Option<(Map<String, Value>, Map<String, Value>)> = None;
        for (row, is_left) in self.sided(&text).await? {
            let key: Map<String, Value> =
                self.key.iter().map(|key| (key.clone(), row.get(key).cloned().unwrap_or(Value::Null))).collect();
            if is_left {
                if left.as_ref().is_none_or(|(of, _)| *of != key) {
                    left = Some((key, row));
                }
                continue;
            }
            let Some((_, before)) = left.take_if(|(of, _)| *of == key) else { continue };
            let columns = before
                .into_iter()
                .filter_map(|(name, left)| {
                    let right = row.get(&name).cloned().unwrap_or(Value::Null);
                    (left != right).then_some((name, ChangedValue { left, right }))
                })
                .collect();
            changed.push(ChangedRow { key, columns });
        }
        changed.truncate(self.rows_max);
        Ok(changed)
    }

    async fn rows(&self, text: &str) -> Result<Vec<Map<String, Value>>, Report> {
        Ok(self.sided(text).await?.into_iter().map(|(row, _)| row).collect())
    }

    /// Rows as objects, each with whether it is of the left, where the query says so.
    async fn sided(&self, text: &str) -> Result<Vec<(Map<String, Value>, bool)>, Report> {
        let mut rows = Vec::new();
        for batch in self.query(text).await? {
            for row in 0..batch.num_rows() {
                let cells = self.columns.iter().enumerate();
                let object = cells.map(|(at, (name, _))| (name.clone(), json(batch.column(at), row))).collect();
                let is_left = batch
                    .columns()
                    .get(self.columns.len())
                    .and_then(|column| column.as_boolean_opt().map(|flags| flags.value(row)))
                    .unwrap_or(false);
                rows.push((object, is_left));
            }
        }
        Ok(rows)
    }

    async fn query(&self, text: &str) -> Result<Vec<RecordBatch>, Report> {
        let subject = format!("the comparison of `{}`", self.name);
        let failed = |error: pelton_query::QueryError| error.report(&subject);
        collect(self.ctx.engine.query(&self.catalog, text).await.map_err(failed)?).await.map_err(failed)
    }
}

fn json(column: &dyn Array, row: usize) -> Value {
    let mut text = Vec::new();
    write_value(&mut text, column, row);
    serde_json::from_slice(&text).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_compared_by_name_and_type() {
        let column = |name: &str, data_type: &str| ColumnType { name: name.into(), data_type: data_type.into() };
        let left = [column("id", "bigint"), column("note", "text"), column("amount", "double")];
        let right = [column("id", "bigint"), column("amount", "decimal(12,2)"), column("coupon", "text")];
        let found = columns(&left, &right);
        assert_eq!(found.added, [TypedColumn { name: "coupon".into(), data_type: "text".into() }]);
        assert_eq!(found.removed, [TypedColumn { name: "note".into(), data_type: "text".into() }]);
        let retyped = Retyped { name: "amount".into(), left: "double".into(), right: "decimal(12,2)".into() };
        assert_eq!(found.retyped, [retyped]);
        assert_eq!(shared_columns(&left, &right), [("id".to_string(), DataType::Int64)]);
        assert!(columns(&left, &left).is_empty());
    }
}
