//! [`run`]: asks the engine, and judges.
//!
//! When nothing goes to quarantine, one scan answers all row-wise rules and table expressions. Rules that remove rows are each
//! asked of all staged rows, so that none hides rows from another. When rows are removed, the other checks are asked of the rows
//! that stay, because those are what would be published.

use crate::anomaly::{self, Candidate, Judged, Known};
use crate::plan::{CheckPlan, Form, Item, STAGED};
use crate::quarantine::json_lines;
use crate::report::{statistic_value, usual_range};
use crate::rule::{rule_text, statistic_text};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use pelton_base::Reports;
use pelton_project::{Check, OnFail, Rule, Statistic, Tolerance};
use pelton_query::{Catalog, Engine, QueryError, Relation, collect, sql};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

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
    /// An anomaly check that knows too few earlier versions to tell.
    Learning,
}

/// What is measured of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// For an anomaly check.
    Statistic(Statistic),
    /// The greatest time of a column, microseconds since the epoch.
    Newest,
}

impl Measure {
    /// The word that is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Measure::Statistic(statistic) => statistic.as_str(),
            Measure::Newest => "newest",
        }
    }
}

/// Something measured of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// What.
    pub measure: Measure,
    /// Of which column; none of the rows as such.
    pub column: Option<String>,
    /// The value; none when no row has one.
    pub value: Option<f64>,
}

/// What anomaly checks compare with.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// When the rows are measured, microseconds since the epoch.
    pub at_us: i64,
    /// The values of earlier versions by statistic and column, oldest first.
    pub known: BTreeMap<(Statistic, Option<String>), Vec<Known>>,
    /// What the checks that remove rows found when rows came that the version takes over from the one before.
    pub removed: Removed,
}

/// What checks that remove rows found in rows that are not asked again.
#[derive(Debug, Clone, Default)]
pub struct Removed {
    /// How many rows went to quarantine.
    pub rows: u64,
    /// By check, how many rows broke it, and how many of them went to quarantine under it.
    pub by_check: BTreeMap<String, (u64, u64)>,
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
    /// How many of those that break it go to quarantine under it. A row that breaks several rules goes there once, under one of them.
    pub moved: u64,
    /// Up to five rows that break it, in a fixed order; only when it did not pass.
    pub samples: Option<RecordBatch>,
    /// What a table expression or an anomaly check found: `row_count() is 0`.
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
    /// One result a check, in the order of the plan; none of freshness rules, which are about a moment, not about rows.
    pub results: Vec<CheckResult>,
    /// What was measured of the rows that stay.
    pub measured: Vec<Measured>,
    /// How many rows were asked.
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
/// table that checks read; `past` has the history of what anomaly checks measure.
///
/// A failed check is a result, not an error. Fails when the engine cannot answer; the report names the check where it can.
pub async fn run(engine: &dyn Engine, catalog: &Catalog, plan: &CheckPlan, past: &Past) -> Result<Checked, Reports> {
    let asked = Asked { engine, catalog, plan };
    let all_in_scan = plan.items.iter().all(|item| !item.removes() || matches!(item.form, Form::Rows { .. }));
    let mut found: Vec<Found> = vec![Found::default(); plan.items.len()];
    let rows = asked.scan(&mut found, |item| all_in_scan || item.removes()).await?;
    asked.count_removing(&mut found).await?;
    let breaks = plan.items.iter().zip(&found).any(|(item, found)| item.removes() && found.failed > 0);
    let kept = breaks.then(|| kept_catalog(catalog, plan));
    if breaks {
        asked.count_moved(&mut found).await?;
    }
    let removed: u64 = found.iter().map(|found| found.moved).sum();
    let rest = Asked { engine, catalog: kept.as_ref().unwrap_or(catalog), plan };
    let mut rows_kept = rows;
    if breaks || !all_in_scan {
        rows_kept = rest.scan(&mut found, |item| !item.removes()).await?;
    }
    let mut reports = Reports::default();
    let mut results = Vec::with_capacity(plan.items.len());
    let mut measured = Vec::new();
    for (i, item) in plan.items.iter().enumerate() {
        if let Form::Measured { measure, column, .. } = &item.form {
            let value = match measure {
                Measure::Statistic(Statistic::RowCount) => Some(rows_kept as f64),
                _ => found[i].measured,
            };
            let value = Measured { measure: *measure, column: column.clone(), value };
            results.extend(compare(item, &value, rows_kept, past));
            measured.push(value);
            continue;
        }
        if let Some((failed, moved)) = past.removed.by_check.get(&item.check.name).filter(|_| item.removes()) {
            found[i].failed += failed;
            found[i].moved += moved;
        }
        let (asked, rows) = if item.removes() { (&asked, rows + past.removed.rows) } else { (&rest, rows_kept) };
        match asked.judge(i, item, std::mem::take(&mut found[i]), rows).await {
            Ok(result) => results.push(result),
            Err(error) => reports.push(plan.refusal(item, &error)),
        }
    }
    if reports.has_errors() { Err(reports) } else { Ok(Checked { results, measured, rows, removed }) }
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
    moved: u64,
    fact: Option<String>,
    measured: Option<f64>,
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
                Form::Measured { measure, .. } => {
                    let rows = count(&answer, "rows");
                    found[i].measured = answer.column_by_name(&format!("m{i}")).and_then(|c| number(*measure, c, rows));
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
            if matches!(item.form, Form::Rows { .. } | Form::Table { .. } | Form::Measured { .. })
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

    /// Counts the rows that break each of the rules that remove rows, where the scan has no answer.
    async fn count_removing(&self, found: &mut [Found]) -> Result<(), Reports> {
        let mut reports = Reports::default();
        for (i, item) in self.plan.items.iter().enumerate().filter(|(_, item)| item.removes()) {
            let Some(query) = self.plan.count_sql(item) else { continue };
            match self.one_row(&query).await {
                Ok(answer) => found[i].failed = count(&answer, "failed"),
                Err(error) => reports.push(self.plan.refusal(item, &error)),
            }
        }
        if reports.has_errors() { Err(reports) } else { Ok(()) }
    }

    /// Counts the rows that go to quarantine, each under one check.
    async fn count_moved(&self, found: &mut [Found]) -> Result<(), Reports> {
        let answer = match self.one_row(&self.plan.removed_counts()).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.blame(&error, &|item: &Item| item.removes()).await),
        };
        for (i, _) in self.plan.items.iter().enumerate().filter(|(_, item)| item.removes()) {
            found[i].moved = count(&answer, &format!("c{i}"));
        }
        Ok(())
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
            match self.sampling(index, item, found.moved)? {
                Some(query) => self.rows_of(&query).await?,
                None => None,
            }
        };
        let (moved, fact) = (found.moved, found.fact.filter(|_| outcome != Outcome::Passed));
        Ok(CheckResult { check: item.check.clone(), outcome, failed_rows, rows, allowed, moved, samples, fact })
    }

    fn sampling(&self, index: usize, item: &Item, moved: u64) -> Result<Option<String>, QueryError> {
        // Of rows that share a key, those that move tell more than the one that stays.
        if matches!(item.form, Form::Unique { .. }) && moved > 0 {
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

/// The answer to an anomaly check; none to a freshness rule.
fn compare(item: &Item, measured: &Measured, rows: u64, past: &Past) -> Option<CheckResult> {
    let Rule::Anomaly { statistic, ref column, sensitivity } = item.check.rule else { return None };
    let key = (statistic, column.clone());
    let history = past.known.get(&key).map_or(&[][..], Vec::as_slice);
    let what = statistic_text(statistic, column.as_deref());
    let (outcome, fact) = match measured.value {
        None => (Outcome::Learning, format!("{what} is unknown: no row has a value")),
        Some(value) => {
            let measured = Known { at_us: past.at_us, value };
            let is = format!("{what} is {}", statistic_value(statistic, value));
            match anomaly::judge(history, &Candidate { statistic, measured, rows, sensitivity }) {
                Judged::Learning(known) => {
                    (Outcome::Learning, format!("{is}; {known} of {} earlier versions are known", anomaly::HISTORY_MIN))
                }
                Judged::Usual(usual) => (Outcome::Passed, format!("{is}; {}", usual_range(statistic, value, &usual))),
                Judged::Unusual(usual) => {
                    let outcome = if item.check.on_fail == OnFail::Stop { Outcome::Failed } else { Outcome::Warned };
                    (outcome, format!("{is}; {}", usual_range(statistic, value, &usual)))
                }
            }
        }
    };
    let failed_rows = u64::from(matches!(outcome, Outcome::Failed | Outcome::Warned));
    let (check, fact) = (item.check.clone(), Some(fact));
    Some(CheckResult { check, outcome, failed_rows, rows, allowed: 0, moved: 0, samples: None, fact })
}

/// What a measuring aggregate gave, as a number.
fn number(measure: Measure, column: &ArrayRef, rows: u64) -> Option<f64> {
    let column = match measure {
        Measure::Newest => cast(column, &pelton_query::types::timestamp()).ok()?,
        Measure::Statistic(_) => cast(column, &DataType::Float64).ok()?,
    };
    if column.is_empty() || column.is_null(0) {
        return None;
    }
    let value = match measure {
        Measure::Newest => column.as_primitive_opt::<TimestampMicrosecondType>()?.value(0) as f64,
        Measure::Statistic(_) => column.as_primitive_opt::<Float64Type>()?.value(0),
    };
    let value = match measure {
        Measure::Statistic(Statistic::NullShare) if rows == 0 => return None,
        Measure::Statistic(Statistic::NullShare) => value / rows as f64,
        _ => value,
    };
    value.is_finite().then_some(value)
}

fn outcome(check: &Check, form: &Form, failed_rows: u64, allowed: u64) -> Outcome {
    // A table expression holds or it does not: a tolerance has nothing to count there.
    let allowed = if matches!(form, Form::Table { .. }) { 0 } else { allowed };
    match check.on_fail {
        _ if failed_rows == 0 => Outcome::Passed,
        // Here the tolerance bounds how many rows may be removed.
        OnFail::Quarantine if failed_rows <= allowed => Outcome::Quarantined,
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
        Tolerance::Any => rows,
    }
}

/// The number in the first row of a column; 0 when it is null.
fn count(answer: &RecordBatch, column: &str) -> u64 {
    let column = answer.column_by_name(column).and_then(|column| column.as_primitive_opt::<Int64Type>());
    column.filter(|column| column.is_valid(0)).map_or(0, |column| column.value(0).max(0) as u64)
}
