//! What a model learned before is taken over when it would learn the same again: its newest version was trained on the same examples,
//! with the same settings and seed.
//!
//! A model's fingerprint changes with every row of what it reads. Whether that changes what it learns is known once the training set is
//! there: a SELECT of the past year is not changed by the orders of today. Then only the fitting is spared; the gates are asked as of
//! any version, because what is in service may be another one.

use crate::catalog;
use crate::context::{Context, reports};
use crate::fingerprint;
use crate::model::{self, Built, TrainingSet};
use crate::outcome::ModelReport;
use crate::run::Building;
use crate::verify;
use pelton_base::{Digest, Reports, VersionId};
use pelton_project::{Model, Node};
use pelton_serve::package_of;
use pelton_store::{MetricRecord, TableDigest, VersionHead, VersionRecord};
use std::collections::BTreeMap;

/// Where a version's detail has the digest of what it was trained on.
pub(crate) const TRAINING: &str = "training";

/// The digest of everything that fitting depends on: the examples, the order of their columns, settings and seed.
pub(crate) fn digest(ctx: &Context, model: &Model, set: &TrainingSet) -> Result<Digest, Reports> {
    let mut rows = TableDigest::new(&set.rows.schema()).map_err(reports)?;
    rows.add(&set.rows).map_err(reports)?;
    let mut parts = vec![
        fingerprint::FORMAT.to_string(),
        format!("package {}", pelton_serve::PACKAGE_FORMAT),
        model.settings_digest.to_string(),
        ctx.project.settings.seed.to_string(),
        rows.finish().to_string(),
    ];
    // Rows are ordered by key, or by all columns in their order.
    parts.extend(set.rows.schema().fields().iter().map(|field| field.name().clone()));
    Ok(Digest::of_parts(parts.iter().map(String::as_str)))
}

/// The newest version of a model, when it was trained on just this, and what it learned is there.
pub(crate) fn before(ctx: &Context, node: &Node, training: Digest) -> Result<Option<VersionRecord>, Reports> {
    let newest = ctx.warehouse.state().version_heads_of(&node.name).map_err(reports)?.into_iter().next();
    let Some(head) = newest.filter(|head| head.kind == "model" && !verify::is_lost(head)) else { return Ok(None) };
    let version = catalog::load(ctx, &head.id)?;
    let noted = version.detail.get(TRAINING).and_then(|digest| digest.as_str()).and_then(Digest::parse);
    let is_there = || {
        let package = package_of(&ctx.warehouse, &version).ok();
        package.is_some_and(|package| ctx.warehouse.artifacts().get(package.artifact).is_ok())
    };
    Ok((noted == Some(training) && is_there()).then_some(version))
}

/// Records a version with what an earlier one learned.
pub(crate) async fn again(
    building: &Building<'_>,
    (node, model): (&Node, &Model),
    set: &TrainingSet,
    before: &VersionRecord,
    (id, fingerprint): (VersionId, Digest),
    in_service: Option<&VersionHead>,
) -> Result<Built, Reports> {
    let ctx = building.ctx;
    let word = |key: &str| before.detail.get(key).and_then(|word| word.as_str()).unwrap_or_default().to_string();
    let (learner, metrics) = (word("learner"), model::metrics_of(before));
    let package = model::package(building, node, model, set, (learner.clone(), &metrics), before.digest);
    package.validate()?;
    let package = ctx.warehouse.artifacts().put(&package.to_bytes()).map_err(reports)?;
    let inputs = Some(building.versions());
    let held = model::judge_again(ctx, node, model, &before.head(), in_service, inputs).await?;
    let mut version = before.clone();
    version.id = id;
    version.run = building.run.clone();
    version.fingerprint = fingerprint;
    version.built_at_us = ctx.now_us();
    version.inputs = building.inputs(node);
    version.detail["sql"] = model.select.sql.as_str().into();
    version.detail["package"] = serde_json::json!(package);
    version.detail["accepted"] = held.is_empty().into();
    let mut measured: Vec<MetricRecord> = ctx.warehouse.state().metrics_of(&before.id).map_err(reports)?;
    for metric in &mut measured {
        metric.run = version.run.clone();
        metric.version = version.id.clone();
    }
    ctx.warehouse.state().insert_version(&version).map_err(reports)?;
    ctx.warehouse.state().record_metrics(&measured).map_err(reports)?;
    let report = ModelReport {
        node: node.name.clone(),
        version: version.id.clone(),
        learner,
        metric: word("metric"),
        metrics,
        baseline: of_baseline(&measured),
        accepted: held.is_empty(),
    };
    Ok(Built { version, report, held, learned_by: Some(before.id.clone()) })
}

fn of_baseline(measured: &[MetricRecord]) -> BTreeMap<String, f64> {
    let of_test = measured.iter().filter(|metric| metric.learner == "baseline" && metric.part == "test");
    of_test.map(|metric| (metric.metric.clone(), metric.value)).collect()
}

/// What is said of a model that was not fitted.
pub(crate) fn reason(why: &str, learned_by: &VersionId) -> String {
    format!("{why}, but what it learns from is the same: version {learned_by} is taken over, without training")
}
