//! Checks around a run: asked of staged rows before they are committed, and of a version that stays when it was not asked them yet.
//!
//! A check that may remove rows is part of its node's fingerprint. Every other check changes no row, so a new one builds nothing:
//! what a version was asked, and need not be asked again, is noted by the check's digest, and what is not noted is asked of the
//! version's files. The same holds for the `accept` rules of a model in service, which are asked of the metrics of its training.
//!
//! A check whose answer changes with the time alone is asked at every run; see `clock`.

use crate::catalog;
use crate::context::{Context, reports};
use crate::fingerprint::{self, Heads};
use crate::model;
use crate::run::Building;
use crate::stage;
use pelton_base::{Digest, NodeName, Report, Reports, VersionId};
use pelton_project::{Body, Check, Model, Node, Rule};
use pelton_quality::{CheckPlan, HISTORY_MAX, Known, Outcome, Past, Removed};
use pelton_query::{Catalog, QueryError, Relation, collect};
use pelton_store::{CheckOutcome, CheckRecord, ProfileRecord, VersionHead, VersionRecord};

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, SchemaRef};

/// The checks of staged rows, where some of the rows are to be removed.
pub(crate) struct CheckedRows {
    pub(crate) plan: CheckPlan,
    pub(crate) removed: u64,
}

impl Building<'_> {
    /// Answers a node's checks on its staged rows and records the answers. Failed ones are the error; `None` without checks.
    ///
    /// `staged` is all that the new version will hold: of an incremental build, the merged rows.
    pub(crate) async fn check_staged(
        &self,
        node: &Node,
        schema: &SchemaRef,
        checks: &[Check],
        staged: &Relation,
        catalog: &Catalog,
        version: &VersionId,
    ) -> Result<Option<CheckedRows>, Reports> {
        self.check_grown(node, schema, checks, (staged, Removed::default()), catalog, version).await
    }

    /// As [`Building::check_staged`], where `removed` is what checks took away from rows that the version takes over.
    pub(crate) async fn check_grown(
        &self,
        node: &Node,
        schema: &SchemaRef,
        checks: &[Check],
        (staged, removed): (&Relation, Removed),
        catalog: &Catalog,
        version: &VersionId,
    ) -> Result<Option<CheckedRows>, Reports> {
        if checks.is_empty() {
            return Ok(None);
        }
        let rows = self.ask(node, schema, checks, (staged, removed), catalog, version).await?;
        self.note_asked(node, version, checks)?;
        Ok(Some(rows))
    }

    /// Asks checks of rows, and records the answers for a version that holds them, or will.
    async fn ask(
        &self,
        node: &Node,
        schema: &SchemaRef,
        checks: &[Check],
        (rows, removed): (&Relation, Removed),
        catalog: &Catalog,
        version: &VersionId,
    ) -> Result<CheckedRows, Reports> {
        self.progress(&node.name, "checking");
        let plan = pelton_quality::plan(node, schema, checks)?;
        let catalog = stage::with_staged(&self.with_reads(node, catalog)?, &node.name, rows);
        let now_us = self.ctx.now_us();
        let past = Past { removed, ..self.past(node, &plan, version, now_us)? };
        let checked = pelton_quality::run(self.ctx.engine.as_ref(), &catalog, &plan, &past).await?;
        let records: Vec<CheckRecord> = checked
            .results
            .iter()
            .map(|result| CheckRecord {
                node: node.name.clone(),
                version: Some(version.clone()),
                name: result.check.name.clone(),
                rule: pelton_quality::rule_text(&result.check.rule),
                on_fail: on_fail_word(&result.check),
                outcome: outcome_word(result.outcome),
                failed_rows: result.failed_rows,
                rows: result.rows,
                samples: result.to_json()["samples"].clone(),
                fact: result.fact.clone(),
                at_us: now_us,
            })
            .collect();
        let measured: Vec<ProfileRecord> = checked
            .measured
            .iter()
            .map(|measured| ProfileRecord {
                statistic: measured.measure.as_str(),
                column: measured.column.clone(),
                value: measured.value,
            })
            .collect();
        let state = self.ctx.warehouse.state();
        state.record_profiles(self.run, &node.name, version, now_us, &measured).map_err(reports)?;
        state.record_checks(self.run, &records).map_err(reports)?;
        let said = pelton_quality::report(&plan, &checked, self.environment);
        if !checked.passed() {
            return Err(said);
        }
        for report in said.0 {
            self.warn(report);
        }
        Ok(CheckedRows { plan, removed: checked.removed })
    }

    /// What anomaly checks compare a version with.
    fn past(&self, node: &Node, plan: &CheckPlan, version: &VersionId, now_us: i64) -> Result<Past, Reports> {
        let state = self.ctx.warehouse.state();
        let mut past = Past { at_us: now_us, ..Past::default() };
        for (statistic, column) in plan.statistics() {
            let wanted = (statistic.as_str(), column.as_deref());
            let history = state.profile_history(&node.name, wanted, self.environment, version, HISTORY_MAX);
            let known = history.map_err(reports)?.into_iter().map(|(at_us, value)| Known { at_us, value });
            past.known.insert((statistic, column), known.collect());
        }
        Ok(past)
    }

    /// What a version's checks took away, by the answers that were recorded and by the rows in its quarantine.
    pub(crate) async fn removed_from(&self, version: &VersionRecord) -> Result<Removed, Reports> {
        const ROWS: &str = "pelton_removed";
        let mut removed = Removed { rows: version.quarantined, ..Removed::default() };
        if version.quarantined == 0 {
            return Ok(removed);
        }
        let asked = self.ctx.warehouse.state().checks_of(&version.id).map_err(reports)?;
        for record in asked.into_iter().filter(|record| record.on_fail == "quarantine") {
            removed.by_check.insert(record.name, (record.failed_rows, 0));
        }
        let catalog = Catalog::default().with(ROWS, catalog::quarantine(self.ctx, version.quarantine.clone()));
        let failed = |error: QueryError| Reports::from(error.report(&format!("the quarantine of `{}`", version.node)));
        let counts = format!("select rule, count(*) as n from {ROWS} group by rule");
        let counts = collect(self.ctx.engine.query(&catalog, &counts).await.map_err(failed)?).await.map_err(failed)?;
        for batch in counts {
            let rules = cast(batch.column(0), &DataType::Utf8);
            let rules = rules.map_err(|error| Report::error("internal", error.to_string()))?;
            let (rules, counts) = (rules.as_string::<i32>(), batch.column(1).as_primitive::<Int64Type>());
            for row in 0..batch.num_rows() {
                if let Some((_, moved)) = removed.by_check.get_mut(rules.value(row)) {
                    *moved = counts.value(row).max(0) as u64;
                }
            }
        }
        Ok(removed)
    }

    /// The catalog with everything that the node's checks may look at.
    fn with_reads(&self, node: &Node, catalog: &Catalog) -> Result<Catalog, Report> {
        let mut catalog = catalog.clone();
        catalog.now_us = catalog.now_us.or(Some(self.ctx.now_us()));
        let missing = |name: &&NodeName| !catalog.relations.contains_key(name.as_str());
        let missing: Vec<NodeName> = node.reads.iter().map(|(name, _)| name).filter(missing).cloned().collect();
        if !missing.is_empty() {
            let more = catalog::bind(self.ctx, self.versions(), missing)?;
            catalog.relations.extend(more.relations);
            catalog.predicts.extend(more.predicts);
            catalog.scorers.extend(more.scorers);
        }
        Ok(catalog)
    }

    /// Notes that a version was asked these checks and may stay.
    fn note_asked(&self, node: &Node, version: &VersionId, checks: &[Check]) -> Result<(), Reports> {
        let asked: Vec<Digest> = kept_apart(checks).map(|check| self.digest_of(node, check)).collect();
        let state = self.ctx.warehouse.state();
        state.record_check_passes(self.run, version, &asked, self.ctx.now_us()).map_err(reports)
    }

    fn digest_of(&self, node: &Node, check: &Check) -> Digest {
        digest(node, check, |name| self.head(name.as_str()).map(|head| head.digest))
    }

    /// Notes that a model's version met the gates that the project has now.
    pub(crate) fn note_accepted(&self, node: &Node, version: &VersionId) -> Result<(), Reports> {
        let Body::Model(model) = &node.body else { return Ok(()) };
        let state = self.ctx.warehouse.state();
        state.record_check_passes(self.run, version, &[gates_digest(model)], self.ctx.now_us()).map_err(reports)
    }
}

/// The checks that are no part of the fingerprint, and are asked of a version once.
fn kept_apart(checks: &[Check]) -> impl Iterator<Item = &Check> {
    checks.iter().filter(|check| !check.removes_rows() && !matches!(check.rule, Rule::Freshness { .. }))
}

/// What the state database calls what came of a check.
pub(crate) fn outcome_word(outcome: Outcome) -> CheckOutcome {
    match outcome {
        Outcome::Passed => CheckOutcome::Passed,
        Outcome::Failed => CheckOutcome::Failed,
        Outcome::Warned | Outcome::Quarantined => CheckOutcome::Warned,
        Outcome::Learning => CheckOutcome::Learning,
    }
}

/// What the state database calls a check's `on_fail`.
pub(crate) fn on_fail_word(check: &Check) -> String {
    format!("{:?}", check.on_fail).to_lowercase()
}

/// All that the answer to a check depends on, beside the rows that are asked.
fn digest(node: &Node, check: &Check, digest_of: impl Fn(&NodeName) -> Option<Digest>) -> Digest {
    let mut parts = vec![fingerprint::check_text(check)];
    let mut read = |name: &NodeName| parts.push(format!("{name} {:?}", digest_of(name)));
    match &check.rule {
        Rule::References { table, .. } => read(table),
        // Which of the node's inputs the SELECT reads is not told; all of them are at least what it reads.
        Rule::Custom(_) => node.reads.iter().for_each(|(name, _)| read(name)),
        _ => {}
    }
    Digest::of_parts(parts.iter().map(String::as_str))
}

fn gates_digest(model: &Model) -> Digest {
    Digest::of_parts(["accept"].into_iter().chain(model.accept.iter().map(|gate| gate.text.as_str())))
}

/// What a version has not been asked yet.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// Checks that changed, or whose other tables did.
    pub(crate) checks: Vec<Check>,
    /// Whether the `accept` rules changed.
    pub(crate) gates: bool,
    why: Vec<&'static str>,
}

impl Due {
    /// Why the version is asked again; `None` when it is not.
    pub(crate) fn reason(&self) -> Option<String> {
        (!self.why.is_empty()).then(|| self.why.join(" and "))
    }

    /// What is asked, for people.
    fn summary(&self) -> String {
        let names = self.checks.iter().map(|check| format!("`{}`", check.name));
        let gates = self.gates.then(|| "its `accept` rules".to_string());
        format!("asked {}; nothing was built", names.chain(gates).collect::<Vec<_>>().join(", "))
    }
}

/// What a version has not been asked yet, over the versions of what its checks read.
pub(crate) fn due(ctx: &Context, node: &Node, head: &VersionHead, heads: &Heads) -> Result<Due, Reports> {
    let mut due = Due::default();
    let gates = match &node.body {
        Body::Model(model) if !model.accept.is_empty() => Some(gates_digest(model)),
        _ => None,
    };
    if gates.is_none() && kept_apart(node.checks()).next().is_none() {
        return Ok(due);
    }
    let state = ctx.warehouse.state();
    let passed = state.check_passes(&head.id).map_err(reports)?;
    let digest_of = |name: &NodeName| heads.get(name).map(|head| head.digest);
    due.checks =
        kept_apart(node.checks()).filter(|check| !passed.contains(&digest(node, check, digest_of))).cloned().collect();
    due.gates = gates.is_some_and(|gates| !passed.contains(&gates));
    if !due.checks.is_empty() {
        let asked = state.checks_of(&head.id).map_err(reports)?;
        let is_known = |check: &&Check| {
            let rule = pelton_quality::rule_text(&check.rule);
            let reads = matches!(check.rule, Rule::References { .. } | Rule::Custom(_));
            reads
                && asked.iter().any(|record| {
                    record.name == check.name && record.rule == rule && record.on_fail == on_fail_word(check)
                })
        };
        let known = due.checks.iter().filter(is_known).count();
        if known < due.checks.len() {
            due.why.push("its checks changed");
        }
        if known > 0 {
            due.why.push("what its checks read changed");
        }
    }
    if due.gates {
        due.why.push("its `accept` rules changed");
    }
    Ok(due)
}

/// What came of asking a version again.
#[derive(Debug, Default)]
pub(crate) struct Again {
    /// What was asked, for people; `None` when there was nothing to ask.
    pub(crate) summary: Option<String>,
    /// Gates that the version does not meet any more.
    pub(crate) held: Vec<Report>,
}

/// Asks a version what it has not been asked yet. A check that stops and is broken is the error: the version stays what it is, but
/// nothing of it is published further.
///
/// `judge` says whether the `accept` rules are asked too.
pub(crate) async fn again(
    building: &Building<'_>,
    node: &Node,
    head: &VersionHead,
    judge: bool,
) -> Result<Again, Reports> {
    let ctx = building.ctx;
    let due = due(ctx, node, head, building.heads())?;
    let mut again = Again::default();
    if due.reason().is_none() {
        return Ok(again);
    }
    again.summary = Some(due.summary());
    if !due.checks.is_empty() {
        ask_version(building, node, head, &due.checks).await?;
        building.note_asked(node, &head.id, &due.checks)?;
    }
    if let (true, true, Body::Model(model)) = (judge, due.gates, &node.body) {
        again.held = model::judge_in_service(ctx, node, model, head)?;
        if again.held.is_empty() {
            building.note_accepted(node, &head.id)?;
        }
    }
    Ok(again)
}

/// Asks checks of a version's rows as they lie in its files.
pub(crate) async fn ask_version(
    building: &Building<'_>,
    node: &Node,
    head: &VersionHead,
    checks: &[Check],
) -> Result<(), Reports> {
    let ctx = building.ctx;
    let version = catalog::load(ctx, &head.id)?;
    let reads = node.reads.iter().map(|(name, _)| name.clone());
    let catalog = catalog::bind(ctx, building.versions(), reads)?;
    let (schema, rows) = match (&node.body, catalog::relation(ctx, &version)) {
        (Body::Model(model), _) => {
            let schema = model::select_schema(ctx, node, model, &catalog)?;
            (schema, Relation::View(model.select.sql.clone()))
        }
        (_, Some(rows)) => (version.schema(), rows),
        (_, None) => {
            let message = format!("version `{}` of `{}` is recorded as a model", head.id, node.name);
            return Err(Report::error("damaged-state", message).into());
        }
    };
    building.ask(node, &schema, checks, (&rows, Removed::default()), &catalog, &head.id).await.map(|_| ())
}
