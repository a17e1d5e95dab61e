//! SQL over an environment, a past publication, and the system tables; quarantined rows; single predictions.

use crate::catalog::{self, Versions};
use crate::context::Context;
use crate::environments;
use crate::serving;
use pelton_base::{NodeName, Report, RunId, format_time_us};
use pelton_query::{BatchStream, Catalog, QueryError, collect, sql};
use pelton_serve::{Log, LogSettings};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;

/// How long a command waits while another process moves predictions into their table, which takes moments; a server comes by every few
/// seconds, and takes in what is left.
const DRAIN_WAIT_MAX: Duration = Duration::from_secs(10);

/// Which state of an environment a query reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// A publication by number.
    Publication(i64),
    /// What was published at this time, microseconds since the epoch.
    Time(i64),
}

/// The versions that a query reads.
fn versions(ctx: &Context, environment: &str, as_of: Option<AsOf>) -> Result<Versions, Report> {
    let state = ctx.warehouse.state();
    let store = |error: pelton_store::StoreError| error.report();
    let current = environments::current_of(ctx, environment)?;
    match as_of {
        None => Ok(current.nodes),
        Some(AsOf::Publication(id)) => Ok(environments::publication_of(ctx, environment, id)?.nodes),
        Some(AsOf::Time(us)) => {
            let past = state.publications(environment).map_err(store)?;
            let Some(newest) = past.iter().filter(|head| head.at_us <= us).max_by_key(|head| head.id) else {
                let message = format!("environment `{environment}` had no publication at {}", format_time_us(us));
                return Err(Report::error("unknown-publication", message).hint("pelton rollback --list"));
            };
            Ok(environments::publication_of(ctx, environment, newest.id)?.nodes)
        }
    }
}

/// Runs a SELECT over the tables of an environment, its models by `predict(model, table)`, and `pelton.*`.
pub async fn query(ctx: &Context, environment: &str, as_of: Option<AsOf>, text: &str) -> Result<BatchStream, Report> {
    let (versions, held) = match versions(ctx, environment, as_of) {
        Ok(versions) => (versions, None),
        // System tables can be read before anything was published; then the quarantine is what was recorded so far.
        Err(report) if report.code == "nothing-published" && text.contains("pelton.") => {
            (Versions::new(), Some(failed_versions(ctx, environment)?.0))
        }
        Err(report) => return Err(report),
    };
    let catalog = bind_all(ctx, &versions, held.as_ref().unwrap_or(&versions), text)?;
    let known = versions.keys().map(NodeName::as_str).chain(catalog.relations.keys().map(String::as_str));
    let is_model = |name: &str| catalog.predicts.contains_key(name);
    ctx.engine.query(&catalog, text).await.map_err(|error| {
        let report = report(known, is_model, text, &error);
        match &error {
            QueryError::UnknownTable { name } if report.code == "unknown-node" => {
                absent(ctx, environment, name, report)
            }
            _ => report,
        }
    })
}

/// Says of a name that stands for nothing here what it stands for elsewhere.
fn absent(ctx: &Context, environment: &str, name: &str, report: Report) -> Report {
    if name.starts_with("pelton.") {
        let tables = pelton_store::SYSTEM_TABLES.iter().chain(&["quarantine", "predictions"]);
        let tables: Vec<String> = tables.map(|table| format!("`pelton.{table}`")).collect();
        return report.note(format!("system tables: {}", tables.join(", ")));
    }
    // Of a model that missed its gate there is a version, which a reader of this environment cannot know.
    match ctx.warehouse.state().version_heads_of(&NodeName::new(name)) {
        Ok(heads) if !heads.is_empty() => {
            let env = if environment == "main" { String::new() } else { format!(" --env {environment}") };
            report
                .note(format!("`{name}` was built, but no version of it is published in `{environment}`"))
                .hint(format!("pelton why {name}{env}"))
        }
        _ => report,
    }
}

/// Everything that a text may name, with the quarantine of the versions in `held`. Only names that occur in it are bound: opening
/// versions costs.
fn bind_all(ctx: &Context, versions: &Versions, held: &Versions, text: &str) -> Result<Catalog, Report> {
    let lower = text.to_lowercase();
    let named = versions.keys().filter(|name| lower.contains(name.as_str())).cloned();
    let mut catalog = catalog::bind(ctx, versions, named)?;
    if lower.contains("pelton") {
        catalog::bind_system(ctx, held, &mut catalog)?;
        serving::bind_predictions(ctx, &mut catalog)?;
    }
    Ok(catalog)
}

fn report<'a>(
    known: impl Iterator<Item = &'a str> + Clone,
    is_model: impl Fn(&str) -> bool,
    text: &str,
    error: &QueryError,
) -> Report {
    let (error, asks) = lacks(text, error);
    let error = crate::column_names::of_predict(text, &error).unwrap_or(error);
    let report = error.report("the query");
    let report = match &error {
        QueryError::UnknownColumn { .. } if asks.is_some() => {
            report.note(format!("`predict` asks `{}` with it", asks.unwrap_or_default()))
        }
        // The name is there, but not as what the query asks for: a model where rows are read, or rows where a model predicts.
        QueryError::UnknownTable { name } if is_model(name) => {
            Report::error("wrong-kind", format!("`{name}` is a model, not a table"))
                .hint(format!("select * from predict({name}, TABLE)"))
        }
        QueryError::UnknownTable { name } if known.clone().any(|other| other == name) => {
            Report::error("wrong-kind", format!("`{name}` is no model, so it cannot predict"))
        }
        QueryError::UnknownTable { name } => report.suggest(name, known),
        _ => report,
    };
    match error.place_in(text) {
        Some((line, column)) => report.at(pelton_base::Place::at_line("query", text, line, column, 1)),
        None => report,
    }
}

/// Of a column that a table lacks which goes into `predict`: the mistake without the name that the table has inside of it, and the model.
fn lacks<'a>(text: &'a str, error: &QueryError) -> (QueryError, Option<&'a str>) {
    let found = || {
        let QueryError::UnknownColumn { name, known, at, .. } = error else { return None };
        let (line, column) = (*at)?;
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).nth(line - 1)?;
        let (start, _) = text[line_starts..].char_indices().nth(column - 1)?;
        let call = text[line_starts + start..].split_at_checked("predict".len())?;
        let (model, _) = call.1.trim_start().strip_prefix('(')?.split_once(',')?;
        let error = QueryError::UnknownColumn {
            name: name.clone(),
            table: None,
            known: known.clone(),
            at: Some((line, column)),
        };
        call.0.eq_ignore_ascii_case("predict").then_some((error, Some(model.trim().trim_matches('"'))))
    };
    found().unwrap_or_else(|| (error.clone(), None))
}

/// Which rows in quarantine are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct QuarantineOptions<'a> {
    /// Only rows of this node.
    pub node: Option<&'a NodeName>,
    /// Only rows that broke this rule; `contract` stands for those of a source's contract.
    pub check: Option<&'a str>,
    /// Only rows that this run recorded; without it those of the publication, or newer ones of runs that published nothing.
    pub run: Option<&'a RunId>,
}

/// The first rows in quarantine that were asked for.
#[derive(Debug)]
pub struct Quarantined {
    /// How many there are.
    pub total: u64,
    /// The first ones by node, file and line.
    pub batches: Vec<RecordBatch>,
    /// Where they are from, when that is not the publication.
    pub note: Option<String>,
}

/// Rows in quarantine: how many there are, and the first ones by node, file and line.
pub async fn quarantine(
    ctx: &Context,
    environment: &str,
    options: QuarantineOptions<'_>,
    limit: usize,
) -> Result<Quarantined, Report> {
    let (catalog, wanted, note) = quarantined(ctx, environment, options).await?;
    let run = async |text: &str| -> Result<Vec<RecordBatch>, Report> {
        let failed = |error: QueryError| error.report("quarantine");
        collect(ctx.engine.query(&catalog, text).await.map_err(failed)?).await.map_err(failed)
    };
    let counted = run(&format!("select count(*) as n from pelton.quarantine where {wanted}")).await?;
    let total = counted
        .first()
        .and_then(|batch| batch.column(0).as_any().downcast_ref::<arrow::array::Int64Array>().map(|n| n.value(0)))
        .unwrap_or(0);
    let batches = run(&format!("{} limit {limit}", quarantined_sql(&wanted))).await?;
    Ok(Quarantined { total: total as u64, batches, note })
}

/// All rows in quarantine that were asked for, in the same order, each with the id by which a repaired file names it; and where they are
/// from, when that is not the publication.
pub async fn quarantine_rows(
    ctx: &Context,
    environment: &str,
    options: QuarantineOptions<'_>,
) -> Result<(BatchStream, Option<String>), Report> {
    let (catalog, wanted, note) = quarantined(ctx, environment, options).await?;
    let rows = ctx.engine.query(&catalog, &quarantined_sql(&wanted)).await;
    Ok((crate::replay::with_ids(rows.map_err(|error| error.report("quarantine"))?), note))
}

/// The system tables with the quarantine that was asked for, the condition on its rows, and where they are from.
async fn quarantined(
    ctx: &Context,
    environment: &str,
    options: QuarantineOptions<'_>,
) -> Result<(Catalog, String, Option<String>), Report> {
    let QuarantineOptions { node, check, run } = options;
    let store = |error: pelton_store::StoreError| error.report();
    let state = ctx.warehouse.state();
    let (versions, note) = match run {
        Some(run) if state.run(run).map_err(store)?.is_none() => {
            return Err(Report::error("unknown-run", format!("there is no run `{run}`"))
                .hint("pelton query 'select run, started_at, outcome from pelton.runs'"));
        }
        Some(run) => (state.versions_built_in(run).map_err(store)?, None),
        None => newest_versions(ctx, environment, node)?,
    };
    if let Some(node) = node
        && !versions.contains_key(node)
        && !ctx.project.nodes.contains_key(node)
    {
        let known = versions.keys().chain(ctx.project.nodes.keys()).map(NodeName::as_str);
        return Err(Report::error("unknown-node", format!("there is no node `{node}`"))
            .suggest(node.as_str(), known)
            .hint("pelton graph"));
    }
    let mut catalog = Catalog::default();
    catalog::bind_system(ctx, &versions, &mut catalog)?;
    let mut wanted = vec!["true".to_string()];
    wanted.extend(node.map(|node| format!("node = {}", sql::text(node.as_str()))));
    if let Some(check) = check {
        refuse_unknown_check(ctx, &catalog, node, check).await?;
        let is_asked = format!("rule = {}", sql::text(check));
        wanted.push(match check {
            // Rows of the other checks have no file.
            CONTRACT => {
                let rules = CONTRACT_RULES.map(sql::text).join(", ");
                format!("({is_asked} or (file is not null and rule in ({rules})))")
            }
            _ => is_asked,
        });
    }
    Ok((catalog, wanted.join(" and "), note))
}

/// The name of a source's contract among the checks.
const CONTRACT: &str = "contract";

/// What breaks it, by the names that ingestion gives.
const CONTRACT_RULES: [&str; 5] = ["unreadable", "columns", "data_type", "null_key", "duplicate_key"];

/// How many names of checks a report has.
const NAMES_MAX: usize = 20;

/// Refuses the name of a check that nothing asked about has, and that no row in quarantine broke: no rows would pass for good news.
async fn refuse_unknown_check(
    ctx: &Context,
    catalog: &Catalog,
    node: Option<&NodeName>,
    check: &str,
) -> Result<(), Report> {
    let mut known: BTreeSet<String> = BTreeSet::new();
    for asked in ctx.project.nodes.values().filter(|asked| node.is_none_or(|node| *node == asked.name)) {
        known.extend(asked.checks().iter().map(|check| check.name.clone()));
        if asked.kind() == "source" {
            known.insert(CONTRACT.to_string());
            known.extend(CONTRACT_RULES.map(str::to_string));
        }
    }
    // Of a project that cannot be read nobody knows the checks.
    if known.contains(check) || ctx.project.nodes.is_empty() {
        return Ok(());
    }
    // Rows stay that broke a check which the project does not have any more.
    let of_node = node.map_or_else(String::new, |node| format!(" where node = {}", sql::text(node.as_str())));
    let failed = |error: QueryError| error.report("quarantine");
    let rules = format!("select distinct rule from pelton.quarantine{of_node}");
    let rules = collect(ctx.engine.query(catalog, &rules).await.map_err(failed)?).await.map_err(failed)?;
    for batch in rules {
        let rules = cast(batch.column(0), &DataType::Utf8);
        let rules = rules.map_err(|error| Report::error("internal", error.to_string()))?;
        known.extend(rules.as_string::<i32>().iter().flatten().map(str::to_string));
    }
    if known.contains(check) {
        return Ok(());
    }
    let message = match node {
        Some(node) => format!("`{node}` has no check `{check}`"),
        None => format!("no node has a check `{check}`"),
    };
    let mut names = known.iter().take(NAMES_MAX).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if known.len() > NAMES_MAX {
        names.push_str(&format!(" and {} more", known.len() - NAMES_MAX));
    }
    let note = if known.is_empty() { "there are no checks".to_string() } else { format!("checks: {names}") };
    Err(Report::error("invalid-argument", message).note(note).suggest(check, known.iter().map(String::as_str)))
}

/// The versions whose quarantine is shown: the published ones, and in place of them those of failed runs that are newer. Whoever asks after
/// a failed run wants the rows that it kept out.
fn newest_versions(
    ctx: &Context,
    environment: &str,
    node: Option<&NodeName>,
) -> Result<(Versions, Option<String>), Report> {
    let (mut newer, runs) = failed_versions(ctx, environment)?;
    let mut shown = match versions(ctx, environment, None) {
        Ok(published) => published,
        Err(report) if report.code == "nothing-published" && !newer.is_empty() => Versions::new(),
        Err(report) => return Err(report),
    };
    newer.retain(|name, version| node.is_none_or(|node| node == name) && shown.get(name) != Some(&*version));
    if newer.is_empty() {
        return Ok((shown, None));
    }
    let ids: BTreeSet<&RunId> = newer.values().filter_map(|version| runs.get(version)).collect();
    let ids = ids.into_iter().map(RunId::to_string).collect::<Vec<_>>().join(", ");
    let names = newer.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let note = format!("of {names}, this is what run {ids} recorded and did not publish");
    shown.extend(newer);
    Ok((shown, Some(note)))
}

/// What runs recorded since one last ended well, with the run of each version.
fn failed_versions(
    ctx: &Context,
    environment: &str,
) -> Result<(Versions, BTreeMap<pelton_base::VersionId, RunId>), Report> {
    let recorded = ctx.warehouse.state().versions_of_failed_runs(environment).map_err(|error| error.report())?;
    let recorded = recorded.into_iter().filter(|head| !crate::verify::is_lost(head));
    let (mut newest, mut runs) = (Versions::new(), BTreeMap::new());
    for head in recorded {
        runs.insert(head.id.clone(), head.run);
        newest.insert(head.node, head.id);
    }
    Ok((newest, runs))
}

fn quarantined_sql(wanted: &str) -> String {
    format!(
        "select node, rule, reason, file, line, \"column\", raw, run, at from pelton.quarantine where {wanted} \
         order by node, file, line, rule, raw"
    )
}

/// Predicts rows given as a JSON object or an array of objects, with the published model, and logs them with receipts.
pub async fn predict_rows(ctx: &Context, environment: &str, model: &str, rows: &str) -> Result<Value, Report> {
    let endpoints = Arc::new(serving::load_endpoints(ctx, environment)?);
    let endpoint = endpoints.model(model, None)?.clone();
    let columns = endpoint.pipeline.request();
    let request = if rows.trim_start().starts_with('{') {
        pelton_serve::decode_row(columns, rows)?
    } else {
        pelton_serve::decode_rows(columns, rows, usize::MAX)?
    };
    let log = Log::open(&ctx.warehouse.log_dir(), LogSettings::default())?;
    let answer = pelton_serve::predict(endpoints.clone(), endpoint.clone(), request, ctx.clock.as_ref(), &log).await?;
    drop(log);
    let output = RecordBatch::from(answer.scored.output.clone());
    let predictions = answer
        .receipts
        .iter()
        .enumerate()
        .map(|(row, receipt)| {
            let mut prediction: Value = serde_json::from_str(&pelton_serve::json_row(&output, row))
                .map_err(|error| Report::error("internal", format!("a prediction cannot be written: {error}")))?;
            prediction["receipt"] = json!(receipt);
            Ok(prediction)
        })
        .collect::<Result<Vec<Value>, Report>>()?;
    Ok(json!({
        "model": model,
        "version": endpoint.version,
        "publication": endpoints.publication,
        "predictions": predictions,
    }))
}

/// Makes rows of `pelton.predictions` of what was predicted; gives what there is to say of it, which stops nothing.
pub async fn take_in_predictions(ctx: &Context) -> Vec<Report> {
    pelton_serve::drain_in_turn(ctx.engine.as_ref(), &ctx.warehouse, DRAIN_WAIT_MAX).await
}
