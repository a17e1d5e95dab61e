//! Runs one test: binds what is given, builds what is not, asks the node under test, and compares.
//!
//! Everything is in memory, and SQL runs through the port as in a run; no warehouse is looked at.

use super::compare::{How, compare};
use super::left::Left;
use super::prepare::{Prepared, answered_by};
use super::rows::Table;
use super::{BrokenCheck, MetricBound, Removed, Tested};
use crate::check::{self, Types};
use crate::context::reports;
use crate::model::{self, TrainingSet};
use crate::{catalog as names, stage, table};
use pelton_base::{NodeName, Report, Reports, RunId, Seed};
use pelton_features::FeatureTable;
use pelton_project::{Body, Check, Model, Node, Project, Rule, Table as TableNode, Tolerance};
use pelton_quality::Past;
use pelton_query::{Catalog, Engine, QueryError, Relation, collect, sql};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;

/// What tests run on.
pub(crate) struct Bench<'a> {
    pub(crate) project: &'a Project,
    pub(crate) types: &'a Types,
    pub(crate) engine: &'a dyn Engine,
    pub(crate) threads: usize,
}

/// The name of what a model is given to answer, in catalogs; no node can have it.
const ANSWERS: &str = "pelton_answers_of_";

/// Rows of a node, and what its checks say about them.
struct Rows {
    rows: RecordBatch,
    removed: Vec<Removed>,
    /// By check: how many rows break it. Only of the node under test, when the test is about checks.
    broken: Vec<(String, u64)>,
}

impl Bench<'_> {
    /// Runs a test; what goes wrong on the way is its result.
    pub(crate) async fn test(&self, prepared: &Prepared<'_>) -> Tested {
        let began = Instant::now();
        let test = prepared.test;
        let mut tested = Tested {
            name: test.name.clone(),
            file: test.file.path.clone(),
            line: test.place().line,
            node: test.node.clone(),
            passed: false,
            elapsed_ms: 0,
            rows: None,
            removed: Vec::new(),
            checks: Vec::new(),
            metrics: Vec::new(),
            errors: Reports::default(),
        };
        if let Err(errors) = self.try_run(prepared, &mut tested).await {
            tested.errors = errors;
        }
        tested.elapsed_ms = began.elapsed().as_millis() as u64;
        tested.passed = tested.rows.is_none()
            && tested.checks.is_empty()
            && tested.metrics.iter().all(|metric| metric.met)
            && tested.errors.0.is_empty();
        tested
    }

    async fn try_run(&self, prepared: &Prepared<'_>, tested: &mut Tested) -> Result<(), Reports> {
        let test = prepared.test;
        let catalog = self.catalog(prepared).await?;
        let node = &self.project.nodes[&test.node];
        let rows = match &node.body {
            Body::Table(table) => {
                self.table(node, table, &catalog, prepared.prior.as_ref(), test.checks.is_some()).await?
            }
            Body::Model(model) => self.model(node, model, &catalog, prepared, tested).await?,
            Body::Source(_) => {
                return Err(Report::error("internal", format!("`{}` is a source", node.name)).into());
            }
        };
        if let Some(expected) = &prepared.expected {
            let how = How { columns: &expected.columns, key: &expected.key, tolerance: test.tolerance };
            tested.rows = compare(&expected.rows.rows, &rows.rows, &how);
        }
        tested.removed = rows.removed;
        if let Some(checks) = &test.checks {
            let expectation = |name: &str| checks.iter().find(|check| check.name.value == name);
            for (check, rows) in rows.broken {
                let expected = expectation(&check);
                let fits = match expected {
                    None => rows == 0,
                    Some(expected) => rows > 0 && expected.rows.is_none_or(|expected| expected == rows),
                };
                if !fits {
                    let is_expected = expected.is_some();
                    let expected_rows = expected.and_then(|expected| expected.rows);
                    tested.checks.push(BrokenCheck { check, is_expected, expected_rows, rows });
                }
            }
        }
        Ok(())
    }

    /// Everything that the node under test may read.
    async fn catalog(&self, prepared: &Prepared<'_>) -> Result<Catalog, Reports> {
        // Without `now`, nothing that runs asks for the time.
        let mut catalog = Catalog { now_us: Some(prepared.test.now_us.unwrap_or(0)), ..Catalog::default() };
        for name in self.project.order.iter().filter(|name| **name != prepared.test.node) {
            if !prepared.reached.contains(name) {
                continue;
            }
            let node = &self.project.nodes[name];
            let relation = match (&node.body, prepared.given.get(name)) {
                (Body::Model(_), given) => {
                    self.bind_model(&mut catalog, name, given);
                    continue;
                }
                (_, Some(given)) => given.relation(),
                (Body::Source(_), None) => Relation::Batches(self.stored(name)?, Vec::new()),
                (Body::Table(table), None) if names::is_view(node) => Relation::View(table.select.sql.clone()),
                (Body::Table(table), None) => {
                    let rows = self.table(node, table, &catalog, None, false).await?.rows;
                    Relation::Batches(rows.schema(), vec![rows])
                }
            };
            catalog.relations.insert(name.to_string(), relation);
        }
        Ok(catalog)
    }

    fn stored(&self, name: &NodeName) -> Result<SchemaRef, Reports> {
        pelton_store::stored_schema(&self.types.schemas[name]).map_err(reports)
    }

    /// Makes `predict(model, table)` answer what is given: to every row the same, or to each what is given for it; nothing, when
    /// nothing is given.
    fn bind_model(&self, catalog: &mut Catalog, name: &NodeName, given: Option<&Table>) {
        let columns = &self.types.models[name].columns;
        let Some(given) = given else { return check::bind_typed_model(catalog, name, columns) };
        let answer = &columns.answer;
        let relation = format!("{ANSWERS}{name}");
        catalog.relations.insert(relation.clone(), given.relation());
        let outputs =
            answer.iter().map(|field| format!("g.{}", sql::ident(field.name()))).collect::<Vec<_>>().join(", ");
        let by = answered_by(answer, given);
        let join = match by.is_empty() {
            true => format!("cross join {} as g", sql::ident(&relation)),
            false => {
                let equal = |column: &String| format!("t.{0} is not distinct from g.{0}", sql::ident(column));
                let on = by.iter().map(equal).collect::<Vec<_>>().join(" and ");
                format!("left join {} as g on {on}", sql::ident(&relation))
            }
        };
        let template = Arc::new(move |table: &str| format!("select t.*, {outputs} from {table} as t {join}"));
        catalog.predicts.insert(name.to_string(), template);
    }

    /// The rows that a table's SELECT gives, without those that its checks send to quarantine.
    async fn table(
        &self,
        node: &Node,
        table: &TableNode,
        catalog: &Catalog,
        prior: Option<&Table>,
        asks_all: bool,
    ) -> Result<Rows, Reports> {
        let rows = match table.build.is_incremental() {
            false => self.select(node, catalog, &table.select.sql).await?,
            true => {
                let now_us = catalog.now_us.unwrap_or(0);
                let left = Left { engine: self.engine, node, table, now_us };
                let (catalog, text) = left.select(catalog, prior).await?;
                self.select(node, &catalog, &text).await?
            }
        };
        self.checked(node, catalog, &Relation::Batches(rows.schema(), vec![rows.clone()]), rows, asks_all).await
    }

    async fn select(&self, node: &Node, catalog: &Catalog, text: &str) -> Result<RecordBatch, Reports> {
        let failed = |error: QueryError| failed(node, &error);
        let stream = self.engine.query(catalog, text).await.map_err(failed)?;
        let schema = pelton_store::stored_schema(&stream.schema).map_err(reports)?;
        let batches = collect(stream).await.map_err(failed)?;
        let batches = batches.iter().map(pelton_store::to_stored).collect::<Result<Vec<_>, _>>().map_err(reports)?;
        concat_batches(&schema, &batches).map_err(|error| {
            Report::error("internal", format!("the rows of `{}` do not fit together: {error}", node.name)).into()
        })
    }

    /// Asks a node's checks of rows: all of them, or those that may remove some.
    async fn checked(
        &self,
        node: &Node,
        catalog: &Catalog,
        relation: &Relation,
        rows: RecordBatch,
        asks_all: bool,
    ) -> Result<Rows, Reports> {
        let is_of_rows = |check: &&Check| !matches!(check.rule, Rule::Freshness { .. } | Rule::Anomaly { .. });
        let asked = node.checks().iter().filter(|check| asks_all || check.removes_rows()).filter(is_of_rows);
        // A share of a handful of rows says nothing: here every row that breaks a rule counts.
        let checks: Vec<Check> = asked.map(|check| Check { tolerance: Tolerance::Rows(0), ..check.clone() }).collect();
        if checks.is_empty() {
            return Ok(Rows { rows, removed: Vec::new(), broken: Vec::new() });
        }
        let plan = pelton_quality::plan(node, &rows.schema(), &checks)?;
        let catalog = stage::with_staged(catalog, &node.name, relation);
        let found = pelton_quality::run(self.engine, &catalog, &plan, &Past::default()).await?;
        let broken = found.results.iter().map(|result| (result.check.name.clone(), result.failed_rows)).collect();
        if found.removed == 0 {
            return Ok(Rows { rows, removed: Vec::new(), broken });
        }
        let failed = |error: QueryError| Reports::from(error.report(&format!("table `{}`", node.name)));
        let stream = self.engine.query(&catalog, &plan.removed_select()).await.map_err(failed)?;
        let mut removed = Vec::new();
        for batch in collect(stream).await.map_err(failed)? {
            let batch = pelton_quality::quarantine_rows(&plan, &batch, &RunId("test".into()), 0)?;
            removed.extend(removed_rows(&batch));
        }
        let rows = self.select(node, &catalog, &plan.kept_select()).await?;
        Ok(Rows { rows, removed, broken })
    }

    async fn model(
        &self,
        node: &Node,
        model: &Model,
        catalog: &Catalog,
        prepared: &Prepared<'_>,
        tested: &mut Tested,
    ) -> Result<Rows, Reports> {
        let test = prepared.test;
        let (select, uses) = (self.stored(&node.name)?, self.types.models[&node.name].uses.clone());
        let (set, examples) = match &prepared.examples {
            Some(examples) => {
                let rows = self.ordered_by_key(node, model, examples).await?;
                let own = rows.project(&(0..select.fields().len()).collect::<Vec<_>>());
                let own = own.map_err(|error| Report::error("internal", error.to_string()))?;
                let set = model::with_derived(self.engine, node, model, &select, uses, &rows)?;
                (set, Relation::Batches(select, vec![own]))
            }
            None => {
                let mut tables = BTreeMap::new();
                for used in &model.features {
                    let (Some(node), Some(schema)) =
                        (self.project.nodes.get(&used.table), self.types.schemas.get(&used.table))
                    else {
                        continue;
                    };
                    tables.extend(FeatureTable::of(node, schema)?.map(|table| (used.table.clone(), table)));
                }
                let now_us = test.now_us.unwrap_or(0);
                let set = model::examples(self.engine, node, model, catalog, &select, &tables, now_us).await?;
                (set, Relation::View(model.select.sql.clone()))
            }
        };
        let rows = self.checked(node, catalog, &examples, set.rows.clone(), test.checks.is_some()).await?;
        if !test.metrics.is_empty() {
            tested.metrics = self.metrics(node, set, prepared).await?;
        }
        Ok(rows)
    }

    /// Training examples in the order in which a run has them.
    async fn ordered_by_key(&self, node: &Node, model: &Model, examples: &Table) -> Result<RecordBatch, Reports> {
        const EXAMPLES: &str = "pelton_examples";
        let key: Vec<&str> = match model.key.is_empty() {
            false => model.key.iter().map(|key| key.value.as_str()).collect(),
            true => examples.rows.schema_ref().fields().iter().map(|field| field.name().as_str()).collect(),
        };
        let catalog = Catalog::default().with(EXAMPLES, examples.relation());
        let text = format!("select * from {} order by {}", sql::ident(EXAMPLES), sql::idents(key));
        self.select(node, &catalog, &text).await
    }

    /// Trains the model and asks the bounds of its metrics on the test part.
    async fn metrics(
        &self,
        node: &Node,
        set: TrainingSet,
        prepared: &Prepared<'_>,
    ) -> Result<Vec<MetricBound>, Reports> {
        let options = pelton_train::Options { seed: Seed(self.project.settings.seed), threads: self.threads };
        let owned = node.clone();
        let training = tokio::task::spawn_blocking(move || {
            let facts = pelton_train::Facts::default();
            pelton_train::train(&set.rows, &owned, &set.columns, options, facts, None, &|_| {})
        });
        let trained =
            training.await.map_err(|_| Report::error("internal", format!("training `{}` panicked", node.name)))??;
        let bound = |gate| {
            let result = pelton_train::ask(gate, trained.metrics(), None);
            MetricBound { rule: result.text, metric: result.metric, value: result.value, met: result.met }
        };
        Ok(prepared.test.metrics.iter().map(bound).collect())
    }
}

/// The reports of a mistake in a node's SELECT.
pub(super) fn failed(node: &Node, error: &QueryError) -> Reports {
    table::select_report(node, error).into()
}

impl Table {
    pub(super) fn relation(&self) -> Relation {
        Relation::Batches(self.rows.schema(), vec![self.rows.clone()])
    }
}

fn removed_rows(batch: &RecordBatch) -> Vec<Removed> {
    let text = |name: &str, row: usize| {
        let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        column.filter(|column| column.is_valid(row)).map_or(String::new(), |column| column.value(row).to_string())
    };
    let row = |row: usize| {
        let json = text("raw", row);
        Removed {
            check: text("rule", row),
            reason: text("reason", row),
            row: serde_json::from_str(&json).unwrap_or(serde_json::Value::String(json)),
        }
    };
    (0..batch.num_rows()).map(row).collect()
}
