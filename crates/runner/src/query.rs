//! SQL over an environment, a past publication, and the system tables; quarantined rows; single predictions.

use crate::catalog::{self, Versions};
use crate::context::Context;
use crate::environments;
use crate::serving;
use pelton_base::{NodeName, Report, format_time_us};
use pelton_query::{BatchStream, Catalog, QueryError, collect, sql};
use pelton_serve::{Log, LogSettings};
use serde_json::{Value, json};
use std::sync::Arc;

use arrow::array::RecordBatch;

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
    let versions = match versions(ctx, environment, as_of) {
        Ok(versions) => versions,
        // System tables can be read before anything was published.
        Err(report) if report.code == "nothing-published" && text.contains("pelton.") => Versions::new(),
        Err(report) => return Err(report),
    };
    let catalog = bind_all(ctx, &versions, text)?;
    let known = versions.keys().map(NodeName::as_str).chain(catalog.relations.keys().map(String::as_str));
    ctx.engine.query(&catalog, text).await.map_err(|error| report(known, text, &error))
}

/// Everything that a text may name. Only names that occur in it are bound: opening versions costs.
fn bind_all(ctx: &Context, versions: &Versions, text: &str) -> Result<Catalog, Report> {
    let lower = text.to_lowercase();
    let named = versions.keys().filter(|name| lower.contains(name.as_str())).cloned();
    let mut catalog = catalog::bind(ctx, versions, named)?;
    if lower.contains("pelton") {
        catalog::bind_system(ctx, versions, &mut catalog)?;
        serving::bind_predictions(ctx, &mut catalog)?;
    }
    Ok(catalog)
}

fn report<'a>(known: impl Iterator<Item = &'a str> + Clone, text: &str, error: &QueryError) -> Report {
    let report = error.report("the query");
    let report = match error {
        // The name is there, but not as what `predict(model, table)` asks for.
        QueryError::UnknownTable { name } if known.clone().any(|other| other == name) => {
            Report::error("wrong-kind", format!("`{name}` is no model, so it cannot predict"))
        }
        QueryError::UnknownTable { name } => report.suggest(name, known),
        _ => report,
    };
    match error.at() {
        Some((line, column)) => report.at(pelton_base::Place::at_line("query", text, line, column, 1)),
        None => report,
    }
}

/// Quarantined rows of an environment: how many there are, and the first ones by node, file and line.
pub async fn quarantine(
    ctx: &Context,
    environment: &str,
    node: Option<&NodeName>,
    check: Option<&str>,
    limit: usize,
) -> Result<(u64, Vec<RecordBatch>), Report> {
    let (catalog, wanted) = quarantined(ctx, environment, node, check)?;
    let run = async |text: &str| -> Result<Vec<RecordBatch>, Report> {
        let failed = |error: QueryError| error.report("quarantine");
        collect(ctx.engine.query(&catalog, text).await.map_err(failed)?).await.map_err(failed)
    };
    let counted = run(&format!("select count(*) as n from pelton.quarantine where {wanted}")).await?;
    let total = counted
        .first()
        .and_then(|batch| batch.column(0).as_any().downcast_ref::<arrow::array::Int64Array>().map(|n| n.value(0)))
        .unwrap_or(0);
    Ok((total as u64, run(&format!("{} limit {limit}", quarantined_sql(&wanted))).await?))
}

/// All quarantined rows of an environment, in the same order, each with the id by which a repaired file names it.
pub async fn quarantine_rows(
    ctx: &Context,
    environment: &str,
    node: Option<&NodeName>,
    check: Option<&str>,
) -> Result<BatchStream, Report> {
    let (catalog, wanted) = quarantined(ctx, environment, node, check)?;
    let rows = ctx.engine.query(&catalog, &quarantined_sql(&wanted)).await;
    Ok(crate::replay::with_ids(rows.map_err(|error| error.report("quarantine"))?))
}

/// The system tables of an environment, and the condition on rows in quarantine.
fn quarantined(
    ctx: &Context,
    environment: &str,
    node: Option<&NodeName>,
    check: Option<&str>,
) -> Result<(Catalog, String), Report> {
    let versions = versions(ctx, environment, None)?;
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
    wanted.extend(check.map(|check| format!("rule = {}", sql::text(check))));
    Ok((catalog, wanted.join(" and ")))
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
    let rows_max = ctx.project.settings.server.rows_max;
    let request = if rows.trim_start().starts_with('{') {
        pelton_serve::decode_row(columns, rows)?
    } else {
        pelton_serve::decode_rows(columns, rows, rows_max)?
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
