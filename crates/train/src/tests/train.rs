//! Training sets are judged as a careful person would.

use super::*;
use crate::fixture::{examples, model, node, select, spanned};
use crate::{DataVersion, plan_columns};
use arrow::array::{Array, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use pelton_project::{Comparison, Gate, SplitBy, Task};
use std::sync::{Arc, Mutex};

const OPTIONS: Options = Options { seed: Seed(42), threads: 1 };

fn trained_on(batch: &RecordBatch, model: Model, in_service: Option<&InService<'_>>) -> Result<Trained, Reports> {
    let node = node(model);
    let columns = plan_columns(&node, batch.schema_ref(), &[], &Arc::new(Schema::empty()))?;
    let facts = Facts {
        data: vec![DataVersion { node: "payments".into(), version: "3f9a1c".into(), digest: None, rows: Some(2000) }],
    };
    train(batch, &node, &columns, OPTIONS, facts, in_service, &|_| {})
}

fn gate(text: &str, comparison: Comparison, relative: bool, number: f64) -> Gate {
    let metric = text.split(' ').next().unwrap().to_string();
    Gate { text: text.into(), metric, comparison, relative, number, span: (10, 16) }
}

/// `batch` with one more column.
fn with(batch: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let mut fields: Vec<Field> = batch.schema_ref().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new(name, column.data_type().clone(), true));
    let mut columns = batch.columns().to_vec();
    columns.push(column);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// `batch` with another column in place of one.
fn replaced(batch: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let at = batch.schema_ref().index_of(name).unwrap();
    let mut columns = batch.columns().to_vec();
    columns[at] = column;
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

#[test]
fn every_candidate_is_judged_beside_the_baseline() {
    let trained = trained_on(&examples(2000), model(), None).unwrap();
    let learners: Vec<_> = trained.candidates.iter().map(|candidate| candidate.learner).collect();
    assert_eq!(learners, [Learner::Gbdt, Learner::Logistic, Learner::Baseline]);
    assert!(trained.accepted && trained.refusals.is_empty() && trained.leaks.is_empty());
    let of = |at: usize, metric: &str| trained.candidates[at].test[metric];
    // The best possible ranking of this simulation has an AUC of about 0.8; the baseline ranks nothing.
    assert!(trained.metrics()["roc_auc"] > 0.65, "{:?}", trained.metrics());
    assert_eq!(of(2, "roc_auc"), 0.5);
    assert!(trained.metrics()["average_precision"] > of(2, "average_precision") + 0.1);
    let best = trained.candidates.iter().map(|candidate| candidate.valid["average_precision"]).fold(0.0, f64::max);
    let chosen = trained.candidates.iter().find(|candidate| candidate.learner == trained.learner).unwrap();
    assert_eq!(chosen.valid["average_precision"], best);
}

#[test]
fn the_same_inputs_give_the_same_bytes_and_card_at_any_thread_count() {
    let (batch, node) = (examples(2000), node(model()));
    let columns = plan_columns(&node, &select(), &[], &Arc::new(Schema::empty())).unwrap();
    let at = |threads: usize| {
        let options = Options { threads, ..OPTIONS };
        let trained = train(&batch, &node, &columns, options, Facts::default(), None, &|_| {}).unwrap();
        (trained.chosen.to_bytes(), trained.card)
    };
    let (one, two) = (at(1), at(2));
    assert!(one.0 == two.0);
    assert_eq!(one.1, two.1);
}

#[test]
fn a_missed_gate_holds_the_model_back() {
    let mut model = model();
    model.accept = vec![
        gate("average_precision >= 0.99", Comparison::AtLeast, false, 0.99),
        gate("roc_auc >= 0.6", Comparison::AtLeast, false, 0.6),
        gate("roc_auc >= current - 0.01", Comparison::AtLeast, true, -0.01),
    ];
    let trained = trained_on(&examples(2000), model.clone(), None).unwrap();
    assert_eq!(trained.gates.iter().map(|gate| gate.met).collect::<Vec<_>>(), [false, true, true]);
    assert!(!trained.accepted && !trained.card.accepted);
    assert_eq!(trained.refusals.len(), 1);
    assert_eq!(trained.refusals[0].code, "gate-not-met");
    assert!(
        trained.refusals[0].message.starts_with("model `fraud` does not meet `average_precision >= 0.99`: it is 0.")
    );

    let metrics = BTreeMap::from([("roc_auc".to_string(), 0.95)]);
    let current = InService { version: "3f9a1c", metrics: &metrics, model: None };
    let trained = trained_on(&examples(2000), model.clone(), Some(&current)).unwrap();
    assert_eq!(trained.gates.iter().map(|gate| gate.met).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(trained.refusals[1].notes[1], "version 3f9a1c stays in service");

    // The version in service claims 0.95, but on these examples it does as well as its successor: it is the same model.
    let current = InService { model: Some(&trained.chosen), ..current };
    let again = trained_on(&examples(2000), model, Some(&current)).unwrap();
    assert_eq!(again.gates.iter().map(|gate| gate.met).collect::<Vec<_>>(), [false, true, true]);
}

#[test]
fn a_model_of_noise_does_not_beat_the_baseline() {
    let batch = examples(2000);
    let noise: BooleanArray = (0..2000).map(|row| Some(Seed(9).unit_at(row) < 0.5)).collect();
    let mut model = model();
    model.metric = Some(spanned("log_loss".into(), "target"));
    let trained = trained_on(&replaced(&batch, "is_fraud", Arc::new(noise)), model, None).unwrap();
    assert!(!trained.accepted);
    assert_eq!(trained.refusals[0].code, "baseline-not-beaten");
}

#[test]
fn a_column_that_gives_the_answer_away_is_named() {
    let batch = examples(2000);
    let leak = batch.column_by_name("is_fraud").unwrap().clone();
    let trained = trained_on(&with(&batch, "refund_flag", leak), model(), None).unwrap();
    assert_eq!(trained.leaks.len(), 1);
    assert_eq!(
        trained.leaks[0].message,
        "feature `refund_flag` alone predicts `is_fraud` of model `fraud` (AUC 1.000 on held-out rows)"
    );
    assert!(!trained.leaks[0].is_error());
    assert_eq!(trained.card.warnings.len(), 1);
}

#[test]
fn repeated_keys_and_missing_targets_are_refused_together() {
    let batch = examples(2000);
    let ids = Int64Array::from_iter_values((0..2000).map(|row| if row % 500 == 1 { 7 } else { row }));
    let mut target: Vec<Option<bool>> =
        batch.column(4).as_any().downcast_ref::<BooleanArray>().unwrap().iter().collect();
    (target[3], target[4]) = (None, None);
    let batch = replaced(&batch, "id", Arc::new(ids));
    let batch = replaced(&batch, "is_fraud", Arc::new(BooleanArray::from(target)));
    let reports = trained_on(&batch, model(), None).unwrap_err();
    let found: Vec<_> = reports.0.iter().map(|report| (report.code, report.message.as_str())).collect();
    assert_eq!(
        found,
        [
            ("duplicate-example", "4 of 2000 examples of model `fraud` repeat the `id` of another one"),
            ("invalid-target", "the target `is_fraud` of model `fraud` is missing in 2 of 2000 rows"),
        ]
    );
    assert_eq!(reports.0[0].notes, ["among them: 7 (5 times)"]);
    assert_eq!(reports.0[1].notes, ["first rows: id 3, 4"]);
}

#[test]
fn examples_that_cannot_be_learned_from_are_refused_with_a_place() {
    let one_class = replaced(&examples(2000), "is_fraud", Arc::new(BooleanArray::from(vec![false; 2000])));
    let reports = trained_on(&one_class, model(), None).unwrap_err();
    assert_eq!(reports.0[0].code, "one-class");
    assert_eq!(reports.0[0].at.as_ref().map(|at| at.line), Some(2));
    let reports = trained_on(&examples(40), model(), None).unwrap_err();
    let found: Vec<_> = reports.0.iter().map(|report| report.message.as_str()).collect();
    assert_eq!(
        found,
        [
            "the valid part of model `fraud` has 4 rows, and needs 10",
            "the test part of model `fraud` has 8 rows, and needs 10"
        ]
    );
    let mut unknown = model();
    unknown.metric = Some(spanned("macro_f1".into(), "target"));
    let reports = trained_on(&examples(2000), unknown, None).unwrap_err();
    assert_eq!(reports.0[0].message, "model `fraud` has 2 classes, for which there is no metric `macro_f1`");
}

#[test]
fn numbers_and_several_classes_are_learned_too() {
    let mut regression = model();
    (regression.task, regression.target) = (Task::Regression, spanned("amount".into(), "is_fraud"));
    regression.split.by = SplitBy::Random;
    regression.learner = vec![spanned(LearnerKind::Linear, "target")];
    let trained = trained_on(&examples(2000), regression, None).unwrap();
    assert_eq!(trained.card.metric, "rmse");
    assert!(trained.metrics()["rmse"] < trained.candidates[1].test["rmse"]);
    assert!(trained.card.parts.iter().all(|part| part.mean.is_some_and(|mean| (40.0..60.0).contains(&mean))));

    let batch = examples(2000);
    let target = batch.column(4).as_any().downcast_ref::<BooleanArray>().unwrap();
    let grades: StringArray =
        (0..2000).map(|row| Some(["a", "b", "c"][row % 2 + usize::from(target.value(row))])).collect();
    let mut several = model();
    several.target = spanned("grade".into(), "is_fraud");
    several.split.by = SplitBy::Stratified;
    let trained = trained_on(&with(&batch, "grade", Arc::new(grades)), several, None).unwrap();
    assert_eq!(trained.card.metric, "log_loss");
    assert_eq!(trained.card.classes, ["a", "b", "c"]);
}

#[test]
fn progress_names_each_learner() {
    let (batch, node, seen) = (examples(500), node(model()), Mutex::new(Vec::new()));
    let columns = plan_columns(&node, &select(), &[], &Arc::new(Schema::empty())).unwrap();
    let tell = |progress: Progress| seen.lock().unwrap().push((progress.learner, progress.step, progress.steps));
    train(&batch, &node, &columns, OPTIONS, Facts::default(), None, &tell).unwrap();
    let mut seen = seen.into_inner().unwrap();
    seen.dedup();
    assert_eq!(seen, [(Learner::Gbdt, 1, 3), (Learner::Logistic, 2, 3), (Learner::Baseline, 3, 3)]);
}

#[test]
fn a_card_tells_people_and_survives_json() {
    let mut model = model();
    model.accept = vec![gate("average_precision >= 0.2", Comparison::AtLeast, false, 0.2)];
    let card = trained_on(&examples(2000), model, None).unwrap().card;
    let json = serde_json::to_string(&card).unwrap();
    assert_eq!(serde_json::from_str::<Card>(&json).unwrap(), card);
    let text = card.markdown();
    for part in [
        "# Model card: fraud",
        "Is it fraud?",
        "| metric | gbdt | logistic | baseline |",
        "| `average_precision >= 0.2` |",
        "| train | 1400 | 1970-01-01T00:00:00Z | 1970-01-01T23:19:00Z |",
        "| payments | 3f9a1c | 2000 |",
        "| `amount` | double | request | 0 |",
        "Seed 42.",
        "- `gbdt`: rounds = 20;",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let shares: f64 = card.importances.iter().map(|(_, share)| share).sum();
    assert!((shares - 1.0).abs() < 1e-9);
    assert_eq!(card.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["amount", "channel"]);
    assert_eq!(card.columns[1].data_type, pelton_query::types::name(&DataType::Utf8));
}
