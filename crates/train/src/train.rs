//! [`train`]: from the training set to a judged model.

use crate::card::{self, Card, Facts};
use crate::columns::{Columns, learner_of, task_of};
use crate::examples::{check_examples, check_parts};
use crate::gate::{self, GateResult, InService};
use crate::judge::{self, Candidate, PartRows};
use crate::split::split;
use arrow::array::{ArrayRef, RecordBatch};
use pelton_base::{Place, Report, Reports, Seed};
use pelton_learn::{FitOptions, LearnError, Learner, Part, TrainingData, fit, metrics, single_feature_auc};
use pelton_project::{Body, LearnerKind, Model, Node};
use std::collections::BTreeMap;

/// The area under the ROC curve from which on one column alone is taken for a leak of the answer.
const LEAK_AUC_MIN: f64 = 0.99;

/// How to train.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The project's seed.
    pub seed: Seed,
    /// Threads to fit on; 0 is one a core. The model does not depend on it.
    pub threads: usize,
}

/// How far training is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// The learner that is being fitted.
    pub learner: Learner,
    /// Which of the learners it is, from 1.
    pub step: usize,
    /// How many learners there are.
    pub steps: usize,
    /// How far the learner is.
    pub fit: pelton_learn::Progress,
}

/// A model that was trained and judged.
#[derive(Debug)]
pub struct Trained {
    /// The chosen model.
    pub chosen: pelton_learn::Model,
    /// Its learner.
    pub learner: Learner,
    /// All candidates in the order of the header, the baseline last.
    pub candidates: Vec<Candidate>,
    /// What came of each gate.
    pub gates: Vec<GateResult>,
    /// Whether it may go into service: every gate is met, and the baseline beaten.
    pub accepted: bool,
    /// Columns that give the answer away; warnings.
    pub leaks: Vec<Report>,
    /// Why it may not go into service; empty when it may.
    pub refusals: Vec<Report>,
    /// The metrics of the version in service that the gates compared with.
    pub marks: Option<BTreeMap<String, f64>>,
    /// Everything that is worth knowing about it.
    pub card: Card,
}

impl Trained {
    /// The chosen candidate's metrics on the test part.
    pub fn metrics(&self) -> &BTreeMap<String, f64> {
        let chosen = self.candidates.iter().find(|candidate| candidate.learner == self.learner);
        &chosen.expect("the chosen model is one of the candidates").test
    }
}

/// Trains the model `node` on `batch`, the full training set: the columns of the SELECT, the features and the derived columns,
/// ordered by key.
///
/// The same batch, settings and seed give the same model bytes at any number of threads. Takes long, and a whole pool of threads:
/// call it where waiting is allowed. A model that misses a gate or does not beat the baseline is a result, not an error. Fails
/// with `duplicate-example`, `invalid-target`, `one-class`, `too-few-rows` and what `learn` refuses.
pub fn train(
    batch: &RecordBatch,
    node: &Node,
    columns: &Columns,
    options: Options,
    facts: Facts,
    in_service: Option<&InService<'_>>,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Trained, Reports> {
    let Body::Model(model) = &node.body else {
        return Err(Report::error("internal", format!("`{}` is no model", node.name)).into());
    };
    check_examples(batch, node, model, columns)?;
    let parts = split(batch, &model.split, columns, options.seed)?;
    check_parts(&parts, node, model)?;
    let (features, target) = inputs_and_target(batch, columns)?;
    let training = Training { node, model, options, features: &features, target: &target, parts: &parts };

    let learners = learners_of(model);
    let mut fitted = Vec::with_capacity(learners.len());
    for (at, learner) in learners.iter().enumerate() {
        let tell = |fit: pelton_learn::Progress| {
            progress(Progress { learner: *learner, step: at + 1, steps: learners.len(), fit });
        };
        fitted.push(training.fit(*learner, &tell)?);
        if at == 0 {
            // How many classes there are is known from the first on.
            training.check_metrics(&fitted[0])?;
        }
    }
    let metric = training.metric(&fitted[0]);
    let candidates = training.judge(&fitted)?;

    // The baseline is the last; it is chosen when the project names no other learner.
    let others = if candidates.len() > 1 { candidates.len() - 1 } else { 1 };
    let chosen = judge::best(&candidates[..others], &metric);
    let test = &candidates[chosen].test;
    let current = training.metrics_in_service(in_service)?;
    let gates: Vec<GateResult> = model.accept.iter().map(|gate| gate::ask(gate, test, current.as_ref())).collect();
    let mut refusals: Vec<Report> = model
        .accept
        .iter()
        .zip(&gates)
        .filter(|(_, result)| !result.met)
        .map(|(gate, result)| gate::report(node, gate, (result, test), in_service))
        .collect();
    refusals.extend(training.not_beaten(&candidates, chosen, &metric));
    let leaks = training.leaks(columns);

    let accepted = refusals.is_empty();
    let learned = fitted.swap_remove(chosen);
    let told = card::Told { batch, parts: &parts, columns, metric: &metric, gates: &gates, accepted, leaks: &leaks };
    let card = card::write(node, model, &learned, &candidates, options.seed, facts, &told)?;
    let learner = learned.learner();
    Ok(Trained { learner, chosen: learned, candidates, gates, accepted, leaks, refusals, marks: current, card })
}

/// The metrics of a model on the test part of a training set that it was not trained on, as [`train`] finds those of the version in
/// service; `None` when it reads other columns, or has other classes, and cannot be asked.
pub fn marks(
    batch: &RecordBatch,
    node: &Node,
    columns: &Columns,
    seed: Seed,
    model: &pelton_learn::Model,
) -> Result<Option<BTreeMap<String, f64>>, Reports> {
    let Body::Model(settings) = &node.body else {
        return Err(Report::error("internal", format!("`{}` is no model", node.name)).into());
    };
    let parts = split(batch, &settings.split, columns, seed)?;
    let (features, target) = inputs_and_target(batch, columns)?;
    Ok(test_metrics(&features, &target, &parts, model)?)
}

fn test_metrics(
    features: &RecordBatch,
    target: &ArrayRef,
    parts: &[Part],
    model: &pelton_learn::Model,
) -> Result<Option<BTreeMap<String, f64>>, Report> {
    let rows = PartRows::of(features, target, parts, Part::Test)?;
    Ok(rows.and_then(|rows| rows.metrics(model).ok()))
}

/// The learners to fit, each once, the baseline last.
fn learners_of(model: &Model) -> Vec<Learner> {
    let mut learners = Vec::new();
    for kind in model.learner.iter().map(|learner| learner.value).filter(|kind| *kind != LearnerKind::Baseline) {
        let learner = learner_of(kind);
        if !learners.contains(&learner) {
            learners.push(learner);
        }
    }
    learners.push(Learner::Baseline);
    learners
}

fn inputs_and_target(batch: &RecordBatch, columns: &Columns) -> Result<(RecordBatch, ArrayRef), Report> {
    let missing = |name: &str| Report::error("internal", format!("the training set has no column `{name}`"));
    let at = |name: &str| batch.schema_ref().index_of(name).map_err(|_| missing(name));
    let inputs = columns.inputs.iter().map(|field| at(field.name())).collect::<Result<Vec<_>, _>>()?;
    let features = batch.project(&inputs).map_err(|error| Report::error("internal", error.to_string()))?;
    Ok((features, batch.column(at(columns.target.name())?).clone()))
}

struct Training<'a> {
    node: &'a Node,
    model: &'a Model,
    options: Options,
    features: &'a RecordBatch,
    target: &'a ArrayRef,
    parts: &'a [Part],
}

impl Training<'_> {
    fn subject(&self) -> String {
        format!("model `{}`", self.node.name)
    }

    fn params(&self, learner: Learner) -> BTreeMap<String, f64> {
        let named = self.model.params.iter().find(|(kind, _)| learner_of(**kind) == learner);
        named.map(|(_, params)| params.clone()).unwrap_or_default()
    }

    fn fit(
        &self,
        learner: Learner,
        progress: &(dyn Fn(pelton_learn::Progress) + Sync),
    ) -> Result<pelton_learn::Model, Reports> {
        let data = TrainingData { features: self.features, target: self.target, part: self.parts, weights: None };
        let options = FitOptions {
            task: task_of(self.model.task),
            learner,
            params: self.params(learner),
            seed: self.options.seed.derive("train").derive(self.node.name.as_str()).0,
            threads: self.options.threads,
        };
        fit(&data, &options, progress).map_err(|error| self.refused(&error))
    }

    /// The reports of what `learn` refuses, with the place of the target where it is about the target.
    fn refused(&self, error: &LearnError) -> Reports {
        let place = |report: &Report| match report.code {
            "one-class" | "invalid-target" => {
                let span = self.model.target.span;
                Place::in_text(&self.node.file, &self.node.text, span.0, span.1)
            }
            _ => self.node.place(),
        };
        let placed = |report: Report| {
            let place = place(&report);
            report.at(place)
        };
        Reports(error.reports(&self.subject()).into_iter().map(placed).collect())
    }

    /// The metric by which candidates are compared.
    fn metric(&self, fitted: &pelton_learn::Model) -> String {
        match &self.model.metric {
            Some(metric) => metric.value.clone(),
            None => metrics::names_of(fitted.task())[0].to_string(),
        }
    }

    /// Refuses metrics, under `metric` and in `accept`, that are not defined for the classes there are.
    fn check_metrics(&self, fitted: &pelton_learn::Model) -> Result<(), Reports> {
        let classes = fitted.classes().map_or(0, |classes| classes.len());
        let of_gates = self.model.accept.iter().map(|gate| (gate.metric.as_str(), gate.span));
        let of_metric = self.model.metric.iter().map(|metric| (metric.value.as_str(), metric.span));
        let unknown = |(name, span): (&str, (usize, usize))| {
            let why = gate::no_metric(name, fitted.task())?;
            let message = format!("{} has {classes} classes, for which there is no metric `{name}`", self.subject());
            let place = Place::in_text(&self.node.file, &self.node.text, span.0, span.1);
            Some(Report::error("invalid-value", message).at(place).note(why))
        };
        let mistakes = Reports(of_metric.chain(of_gates).filter_map(unknown).collect());
        if mistakes.has_errors() { Err(mistakes) } else { Ok(()) }
    }

    fn judge(&self, fitted: &[pelton_learn::Model]) -> Result<Vec<Candidate>, Reports> {
        let rows_of = |part: Part| PartRows::of(self.features, self.target, self.parts, part);
        let (valid, test) = (rows_of(Part::Valid)?, rows_of(Part::Test)?);
        let on = |rows: &Option<PartRows>, model: &pelton_learn::Model| match rows {
            Some(rows) => rows.metrics(model).map_err(|error| self.refused(&error)),
            None => Ok(BTreeMap::new()),
        };
        let candidate = |model: &pelton_learn::Model| {
            Ok(Candidate {
                learner: model.learner(),
                params: self.params(model.learner()),
                rounds: model.rounds(),
                valid: on(&valid, model)?,
                test: on(&test, model)?,
            })
        };
        fitted.iter().map(candidate).collect()
    }

    /// The metrics of the version in service: on these examples where it can score them, else those of its own training.
    fn metrics_in_service(&self, in_service: Option<&InService<'_>>) -> Result<Option<BTreeMap<String, f64>>, Report> {
        let Some(current) = in_service else { return Ok(None) };
        let anew = match current.model {
            Some(model) => test_metrics(self.features, self.target, self.parts, model)?,
            None => None,
        };
        Ok(Some(anew.unwrap_or_else(|| current.metrics.clone())))
    }

    fn not_beaten(&self, candidates: &[Candidate], chosen: usize, metric: &str) -> Option<Report> {
        let baseline = candidates.len() - 1;
        let of = |at: usize| candidates[at].test.get(metric).copied();
        if chosen == baseline || judge::is_better(metric, of(chosen), of(baseline)) {
            return None;
        }
        let shown = |value: Option<f64>| value.map_or("not defined".to_string(), |value| format!("{value:.4}"));
        let message = format!(
            "{} is no better than the baseline: {metric} {} against {}",
            self.subject(),
            shown(of(chosen)),
            shown(of(baseline))
        );
        let report = Report::error("baseline-not-beaten", message).at(self.node.place());
        Some(report.note("both are judged on the test part; the baseline knows the target's distribution alone"))
    }

    fn leaks(&self, columns: &Columns) -> Vec<Report> {
        let told = single_feature_auc(self.features, self.target, self.parts);
        let leak = |(name, auc): (String, f64)| {
            let message = format!(
                "feature `{name}` alone predicts `{}` of {} (AUC {auc:.3} on held-out rows)",
                columns.target.name(),
                self.subject()
            );
            let looked_up =
                columns.lookups.iter().find(|lookup| lookup.fields.iter().any(|field| *field.name() == name));
            let report = Report::warning("label-leak", message).at(self.node.place());
            match looked_up {
                Some(lookup) => report.hint(format!(
                    "compute it in `{}` as of the row's time, or list `{name}` under `exclude`",
                    lookup.table
                )),
                None => report.hint(format!("compute it as of the row's time, or list `{name}` under `exclude`")),
            }
        };
        told.into_iter().filter(|(_, auc)| *auc >= LEAK_AUC_MIN).map(leak).collect()
    }
}

#[cfg(test)]
#[path = "tests/train.rs"]
mod tests;
