//! [`run`]: asks the engine, and judges.
//!
//! When nothing goes to quarantine, one scan answers all row-wise rules and table expressions. When rows are removed, the
//! other checks are asked of the rows that stay, because those are what would be published.

use crate::plan::{CheckPlan, Form, Item, STAGED};
use crate::quarantine::json_lines;
use crate::rule::rule_text;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use pelton_base::Reports;
use pelton_project::{Check, OnFail, Tolerance};
use pelton_query::{Catalog, Engine, QueryError, Relation, collect, sql};
use serde::Serialize;
use serde_json::{Value, json};

/// The most sample rows that a result carries.
const SAMPLES_MAX: usize = 5;

/// The name of the staged rows while `staged` means those that stay; no node can have it.
const BEFORE: &str = "_staged";

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Not more rows than are tolerated break it.
    Passed,
    /// The node must not be published.
    Failed,
    /// More rows than are tolerated break it, and it only warns.
    Warned,
    /// The rows that break it go to quarantine.
    Quarantined,
}

/// The answer to one check.
#[derive(Debug, Clone)]
pub struct CheckResult {
    /// The check.
    pub check: Check,
    /// What came of it.
    pub outcome: Outcome,
    /// How many rows break it; 1 or 0 for a table expression.
    pub failed_rows: u64,
    /// How many rows were checked.
    pub rows: u64,
    /// How many rows may break it.
    pub allowed: u64,
    /// Up to five rows that break it, in a fixed order; only when it did not pass.
    pub samples: Option<RecordBatch>,
    /// What a table expression found: `row_count() is 0`.
    pub fact: Option<String>,
}

impl CheckResult {
    /// The result as JSON: name, rule, outcome, counts and sample rows.
    pub fn to_json(&self) -> Value {
        let samples = self.samples.as_ref().and_then(|batch| json_lines(batch).ok()).unwrap_or_default();
        let samples = samples.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok()).collect::<Vec<_>>();
        json!({
            "name": self.check.name,
            "rule": rule_text(&self.check.rule),
            "on_fail": self.check.on_fail,
            "outcome": self.outcome,
            "failed_rows": self.failed_rows,
            "rows": self.rows,
            "allowed": self.allowed,
            "fact": self.fact,
            "samples": samples,
        })
    }
}

/// The answers to all checks of a node.
#[derive(Debug, Clone)]
pub struct Checked {
    /// One result a check, in the order of the plan.
    pub results: Vec<CheckResult>,
    /// How many rows were staged.
    pub rows: u64,
    /// How many of them go to quarantine.
    pub removed: u64,
}

impl Checked {
    /// Whether the node may be published.
    pub fn passed(&self) -> bool {
        self.results.iter().all(|result| result.outcome != Outcome::Failed)
    }
}

/// Answers all checks of the plan. `catalog` has the staged rows as `staged` and under the node's own name, and every other
/// table that checks read.
///
/// A failed check is a result, not an error. Fails when the engine cannot answer; the report names the check where it can.
pub async fn run(engine: &dyn Engine, catalog: &Catalog, plan: &CheckPlan) -> Result<Checked, Reports> {
    let asked = Asked { engine, catalog, plan };
    let all_in_scan = plan.items.iter().all(|item| !item.removes() || matches!(item.form, Form::Rows { .. }));
    let mut found: Vec<Found> = vec![Found::default(); plan.items.len()];
    let mut rows = 0;
    if !plan.may_remove() || all_in_scan {
        rows = asked.scan(&mut found, |_| true).await?;
    }
    let breaks = plan.items.iter().zip(&found).any(|(item, found)| item.removes() && found.failed > 0);
    let mut removed = 0;
    let kept = if plan.may_remove() && (breaks || !all_in_scan) {
        rows = asked.removed(&mut found).await?;
        removed = plan.items.iter().zip(&found).filter(|(item, _)| item.removes()).map(|(_, found)| found.failed).sum();
        Some(kept_catalog(catalog, plan))
    } else {
        None
    };
    let rest = Asked { engine, catalog: kept.as_ref().unwrap_or(catalog), plan };
    let mut rows_kept = rows;
    if kept.is_some() {
        rows_kept = rest.scan(&mut found, |item| !item.removes()).await?;
    }
    let mut reports = Reports::default();
    let mut results = Vec::with_capacity(plan.items.len());
    for (i, item) in plan.items.iter().enumerate() {
        let (asked, rows) = if item.removes() { (&asked, rows) } else { (&rest, rows_kept) };
        match asked.judge(i, item, std::mem::take(&mut found[i]), rows).await {
            Ok(result) => results.push(result),
            Err(error) => reports.push(plan.refusal(item, &error)),
        }
    }
    if reports.has_errors() { Err(reports) } else { Ok(Checked { results, rows, removed }) }
}

/// A catalog in which `staged`, and the node's own name, mean the rows that stay.
fn kept_catalog(catalog: &Catalog, plan: &CheckPlan) -> Catalog {
    let mut kept = catalog.clone();
    if let Some(staged) = kept.relations.remove(STAGED) {
        kept.relations.insert(BEFORE.to_string(), staged);
    }
    kept.relations.insert(STAGED.to_string(), Relation::View(plan.kept_of(BEFORE)));
    if kept.relations.contains_key(plan.node.as_str()) {
        let view = format!("select * from {}", sql::ident(STAGED));
        kept.relations.insert(plan.node.to_string(), Relation::View(view));
    }
    kept
}

/// What the scan found about a check.
#[derive(Debug, Clone, Default)]
struct Found {
    failed: u64,
    fact: Option<String>,
}

struct Asked<'a> {
    engine: &'a dyn Engine,
    catalog: &'a Catalog,
    plan: &'a CheckPlan,
}

impl Asked<'_> {
    async fn rows_of(&self, query: &str) -> Result<Option<RecordBatch>, QueryError> {
        let stream = self.engine.query(self.catalog, query).await?;
        let schema = stream.schema.clone();
        let batches = collect(stream).await?;
        if batches.iter().all(|batch| batch.num_rows() == 0) {
            return Ok(None);
        }
        let internal = |error: arrow::error::ArrowError| QueryError::Internal { message: error.to_string() };
        concat_batches(&schema, &batches).map(Some).map_err(internal)
    }

    async fn one_row(&self, query: &str) -> Result<RecordBatch, QueryError> {
        let missing = || QueryError::Internal { message: "an aggregate gave no row".to_string() };
        self.rows_of(query).await?.ok_or_else(missing)
    }

    /// Answers the wanted row-wise rules and table expressions; gives the number of rows.
    async fn scan(&self, found: &mut [Found], wanted: impl Fn(&Item) -> bool) -> Result<u64, Reports> {
        let answer = match self.one_row(&self.plan.scan_of(&wanted)).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.blame(&error, &wanted).await),
        };
        for (i, item) in self.plan.items.iter().enumerate().filter(|(_, item)| wanted(item)) {
            match &item.form {
                Form::Rows { .. } => found[i].failed = count(&answer, &format!("c{i}")),
                Form::Table { shown, .. } => {
                    let holds = answer.column_by_name(&format!("t{i}")).and_then(|column| column.as_boolean_opt());
                    let holds = holds.is_some_and(|column| column.is_valid(0) && column.value(0));
                    found[i].failed = u64::from(!holds);
                    let value = answer.column_by_name(&format!("s{i}")).map(|column| crate::report::value(column, 0));
                    found[i].fact = shown.as_ref().zip(value).map(|((text, _), value)| format!("`{text}` is {value}"));
                }
                _ => {}
            }
        }
        Ok(count(&answer, "rows"))
    }

    /// Finds the checks that make the scan fail by asking them one by one.
    async fn blame(&self, error: &QueryError, wanted: &impl Fn(&Item) -> bool) -> Reports {
        let mut reports = Reports::default();
        for (i, item) in self.plan.items.iter().enumerate().filter(|(_, item)| wanted(item)) {
            let alone = CheckPlan { items: vec![self.plan.items[i].clone()], ..self.plan.clone() };
            if matches!(item.form, Form::Rows { .. } | Form::Table { .. })
                && let Err(error) = self.one_row(&alone.scan_sql()).await
            {
                reports.push(self.plan.refusal(item, &error));
            }
        }
        if reports.0.is_empty() {
            let subject = format!("the checks of {} `{}`", self.plan.kind, self.plan.node);
            reports.push(error.report(&subject).at(pelton_base::Place::file(&self.plan.file)));
        }
        reports
    }

    /// Counts the rows that go to quarantine, by check; gives the number of staged rows.
    async fn removed(&self, found: &mut [Found]) -> Result<u64, Reports> {
        let answer = match self.one_row(&self.plan.removed_counts()).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.blame(&error, &|item: &Item| item.removes()).await),
        };
        for (i, _) in self.plan.items.iter().enumerate().filter(|(_, item)| item.removes()) {
            found[i].failed = count(&answer, &format!("c{i}"));
        }
        Ok(count(&answer, "rows"))
    }

    async fn judge(&self, index: usize, item: &Item, found: Found, rows: u64) -> Result<CheckResult, QueryError> {
        let failed_rows = match self.plan.count_sql(item) {
            Some(query) if !item.removes() => count(&self.one_row(&query).await?, "failed"),
            _ => found.failed,
        };
        let allowed = allowed(item.check.tolerance, rows);
        let outcome = outcome(&item.check, &item.form, failed_rows, allowed);
        let samples = if outcome == Outcome::Passed {
            None
        } else {
            match self.sampling(index, item)? {
                Some(query) => self.rows_of(&query).await?,
                None => None,
            }
        };
        let fact = found.fact.filter(|_| outcome != Outcome::Passed);
        Ok(CheckResult { check: item.check.clone(), outcome, failed_rows, rows, allowed, samples, fact })
    }

    fn sampling(&self, index: usize, item: &Item) -> Result<Option<String>, QueryError> {
        if item.removes() {
            return Ok(Some(self.plan.removed_sample(index, SAMPLES_MAX)));
        }
        if let Form::Custom { select } = &item.form {
            let columns = self.engine.analyze(self.catalog, select)?.schema;
            let order = sql::idents(columns.fields().iter().map(|field| field.name().as_str()));
            let query = format!("select * from ({select}) as \"broken\" order by {order} limit {SAMPLES_MAX}");
            return Ok(Some(query));
        }
        Ok(self.plan.sample_sql(item, SAMPLES_MAX))
    }
}

fn outcome(check: &Check, form: &Form, failed_rows: u64, allowed: u64) -> Outcome {
    // A table expression holds or it does not: a tolerance has nothing to count there.
    let allowed = if matches!(form, Form::Table { .. }) { 0 } else { allowed };
    match check.on_fail {
        _ if failed_rows == 0 => Outcome::Passed,
        // Here the tolerance bounds how many rows may be removed; without one there is no bound.
        OnFail::Quarantine if check.tolerance == Tolerance::Rows(0) || failed_rows <= allowed => Outcome::Quarantined,
        OnFail::Quarantine => Outcome::Failed,
        _ if failed_rows <= allowed => Outcome::Passed,
        OnFail::Stop => Outcome::Failed,
        OnFail::Warn => Outcome::Warned,
    }
}

fn allowed(tolerance: Tolerance, rows: u64) -> u64 {
    match tolerance {
        Tolerance::Rows(rows) => rows,
        // The small addition keeps 0.07 of 100 rows at 7 rows, though 0.07 * 100 is a little below 7 in binary.
        Tolerance::Share(share) => (share * rows as f64 + 1e-9).floor() as u64,
    }
}

/// The number in the first row of a column; 0 when it is null.
fn count(answer: &RecordBatch, column: &str) -> u64 {
    let column = answer.column_by_name(column).and_then(|column| column.as_primitive_opt::<Int64Type>());
    column.filter(|column| column.is_valid(0)).map_or(0, |column| column.value(0).max(0) as u64)
}
