//! What each learner learns, and that it always learns the same.

use super::*;

const FAST: &[(&str, f64)] = &[("rounds", 40.0), ("early_stopping_rounds", 10.0)];

#[test]
fn trees_see_what_neither_the_baseline_nor_a_line_can() {
    let (features, target) = payments(4_000);
    let part = parts(4_000);
    let judged = |learner, params: &[(&str, f64)]| {
        let model = learn(&features, &target, &part, &options(learner, params)).unwrap();
        (judge(&model, &features, &target, &part), model)
    };
    let (trees, model) = judged(Learner::Gbdt, FAST);
    let (line, _) = judged(Learner::Logistic, &[]);
    let (baseline, _) = judged(Learner::Baseline, &[]);
    // 5% of the answers are turned over, and 10% of the rows miss `a` or `b`: about 0.93 can be reached. A line sees only that
    // `shop` is never positive.
    assert!(trees["roc_auc"] > 0.9, "{trees:?}");
    assert!(line["roc_auc"] < 0.75 && line["log_loss"] < baseline["log_loss"], "{line:?} {baseline:?}");
    assert_eq!(baseline["roc_auc"], 0.5);
    assert!(trees["log_loss"] < line["log_loss"] - 0.1, "{trees:?} {line:?}");
    let first: Vec<_> = model.importances().into_iter().map(|(name, _)| name).take(3).collect();
    assert!(["a", "b", "channel"].iter().all(|name| first.contains(&name.to_string())), "{first:?}");
    let total: f64 = model.importances().iter().map(|(_, share)| share).sum();
    assert!((total - 1.0).abs() < 1e-9);
}

#[test]
fn the_bytes_do_not_depend_on_threads() {
    let (features, target) = payments(20_000);
    let part = parts(20_000);
    for (learner, params) in [
        (Learner::Gbdt, &[("rounds", 8.0), ("subsample", 0.8), ("column_sample", 0.7)][..]),
        (Learner::Gbdt, &[("rounds", 4.0), ("leaves", 31.0)][..]),
        (Learner::Logistic, &[]),
        (Learner::Baseline, &[]),
    ] {
        let with = |threads| {
            let options = FitOptions { threads, ..options(learner, params) };
            learn(&features, &target, &part, &options).unwrap().to_bytes()
        };
        let one = with(1);
        assert!(one == with(2) && one == with(4), "{learner}");
    }
    let linear = |threads| {
        let options = FitOptions { threads, ..options(Learner::Linear, &[]) };
        let target = arrow::compute::cast(&target, &arrow::datatypes::DataType::Float64).unwrap();
        learn(&features, &target, &part, &options).unwrap().to_bytes()
    };
    assert!(linear(1) == linear(2) && linear(1) == linear(4));
}

#[test]
fn a_row_alone_scores_as_in_a_batch() {
    let (features, target) = payments(9_000);
    let part = parts(9_000);
    let classes: ArrayRef = Arc::new(
        target
            .as_boolean()
            .iter()
            .enumerate()
            .map(|(row, is)| Some(if is? { "c" } else { ["a", "b"][row % 2] }))
            .collect::<StringArray>(),
    );
    let number: ArrayRef = arrow::compute::cast(&target, &arrow::datatypes::DataType::Float64).unwrap();
    let fast: &[(&str, f64)] = &[("rounds", 5.0)];
    for (target, options) in [
        (&target, options(Learner::Gbdt, fast)),
        (&classes, options(Learner::Gbdt, fast)),
        (&number, regression(Learner::Gbdt, fast)),
        (&target, options(Learner::Logistic, &[])),
        (&classes, options(Learner::Logistic, &[("iterations", 5.0)])),
        (&number, options(Learner::Linear, &[])),
        (&classes, options(Learner::Baseline, &[])),
    ] {
        let model = learn(&features, target, &part, &options).unwrap();
        let all = model.predict(&features).unwrap();
        for row in [0, 1, 77, 4_096, 8_999] {
            let one = model.predict(&features.slice(row, 1)).unwrap();
            assert_eq!(one.score()[0].to_bits(), all.score()[row].to_bits(), "{options:?}");
            assert_eq!(one.codes(), if all.codes().is_empty() { &[] } else { &all.codes()[row..=row] });
        }
        assert_eq!(model.predict(&features.slice(0, 0)).unwrap().into_struct().len(), 0);
        let few = model.predict(&features.slice(10, 50)).unwrap();
        assert_eq!(few.score(), &all.score()[10..60]);
        let output = all.into_struct();
        assert_eq!(output.data_type(), model.output_field().data_type());
        assert_eq!(output.len(), 9_000);
    }
}

#[test]
fn the_type_of_the_target_says_whether_probabilities_are_answered() {
    let (features, target) = payments(1_500);
    let part = parts(1_500);
    let word = |is: bool| if is { "yes" } else { "no" };
    let texts: ArrayRef =
        Arc::new(target.as_boolean().iter().map(|is| is.map(word)).collect::<arrow::array::StringArray>());
    let answer = |target: &ArrayRef| {
        let model = learn(&features, target, &part, &options(Learner::Gbdt, &[("rounds", 5.0)])).unwrap();
        model.predict(&features).unwrap().into_struct().as_struct().clone()
    };
    assert_eq!(answer(&target).column_names(), ["prediction", "score"]);
    let of_texts = answer(&texts);
    assert_eq!(of_texts.column_names(), ["prediction", "score", "probabilities"]);
    let score = of_texts.column(1).as_primitive::<arrow::datatypes::Float64Type>();
    let pairs = of_texts.column(2).as_list::<i32>();
    for row in [0, 7, 1_499] {
        let pair = pairs.value(row);
        let pair = pair.as_primitive::<arrow::datatypes::Float64Type>().values();
        assert_eq!(**pair, [1.0 - score.value(row), score.value(row)]);
    }
}

#[test]
fn training_stops_early_and_keeps_the_best_round() {
    let (features, target) = payments(1_500);
    let part = parts(1_500);
    let rounds = std::sync::Mutex::new(Vec::new());
    let data = TrainingData { features: &features, target: &target, part: &part, weights: None };
    let options = options(Learner::Gbdt, &[("rounds", 200.0), ("early_stopping_rounds", 5.0), ("learning_rate", 0.5)]);
    let model = fit(&data, &options, &|progress| rounds.lock().unwrap().push(progress)).unwrap();
    let rounds = rounds.into_inner().unwrap();
    let losses: Vec<f64> = rounds[..rounds.len() - 1].iter().filter_map(|progress| progress.valid_loss).collect();
    let best = (0..losses.len()).min_by(|&a, &b| losses[a].total_cmp(&losses[b])).unwrap();
    assert_eq!(model.rounds(), best + 1);
    assert_eq!(losses.len(), best + 1 + 5);
    assert_eq!(model.valid_loss(), Some(losses[best]));
    let valid: UInt32Array =
        part.iter().zip(0..).filter(|(part, _)| **part == Part::Valid).map(|(_, row)| row).collect();
    let prediction = model.predict(&arrow::compute::take_record_batch(&features, &valid).unwrap()).unwrap();
    let metrics = metrics::evaluate(&prediction, &arrow::compute::take(&target, &valid, None).unwrap()).unwrap();
    assert!((metrics["log_loss"] - losses[best]).abs() < 1e-5);
}

#[test]
fn the_test_rows_do_not_touch_the_model() {
    let (features, target) = payments(2_000);
    let part = parts(2_000);
    let turned: BooleanArray = target
        .as_boolean()
        .iter()
        .zip(&part)
        .map(|(is, part)| if *part == Part::Test { is.map(|is| !is) } else { is })
        .collect();
    for learner in [Learner::Gbdt, Learner::Logistic, Learner::Baseline] {
        let options = options(learner, if learner == Learner::Gbdt { FAST } else { &[] });
        let one = learn(&features, &target, &part, &options).unwrap().to_bytes();
        let other = learn(&features, &(Arc::new(turned.clone()) as _), &part, &options).unwrap().to_bytes();
        assert!(one == other, "{learner}");
    }
}

#[test]
fn numbers_of_any_size_are_learned() {
    let (features, _) = payments(3_000);
    let part = parts(3_000);
    let a = features.column(0).as_primitive::<arrow::datatypes::Float64Type>();
    for (scale, offset) in [(1.0, 0.0), (1e-7, 0.0), (1e9, 5e12)] {
        let target: ArrayRef =
            Arc::new((0..3_000).map(|row| Some(offset + scale * a.value(row).abs())).collect::<Float64Array>());
        let judged = |options: &FitOptions| {
            let model = learn(&features, &target, &part, options).unwrap();
            judge(&model, &features, &target, &part)
        };
        let trees = judged(&regression(Learner::Gbdt, FAST));
        let line = judged(&regression(Learner::Linear, &[]));
        let baseline = judged(&regression(Learner::Baseline, &[]));
        // The absolute value bends where a line cannot; 5% of `a` are missing.
        assert!(trees["r2"] > 0.85 && line["r2"] < 0.6, "{trees:?} {line:?}");
        assert!(baseline["r2"].abs() < 0.05 && line["rmse"] < baseline["rmse"], "{line:?} {baseline:?}");
    }
}

#[test]
fn numbers_too_large_to_add_up_are_refused() {
    let (features, _) = payments(50);
    let target: ArrayRef = Arc::new(Float64Array::from(vec![f64::MAX; 50]));
    for learner in [Learner::Gbdt, Learner::Linear, Learner::Baseline] {
        let error = learn(&features, &target, &[Part::Train; 50], &regression(learner, &[])).unwrap_err();
        assert_eq!(error, LearnError::TargetRange, "{learner}");
    }
}

#[test]
fn weights_count_as_repeated_rows() {
    let (features, target) = payments(600);
    let part = vec![Part::Train; 600];
    let weights: Vec<f32> = (0..600).map(|row| if row < 200 { 2.0 } else { 1.0 }).collect();
    let data = TrainingData { features: &features, target: &target, part: &part, weights: Some(&weights) };
    let weighted = fit(&data, &options(Learner::Baseline, &[]), &|_| {}).unwrap();
    let twice: UInt32Array = (0..200).chain(0..600).collect();
    let more = arrow::compute::take_record_batch(&features, &twice).unwrap();
    let target = arrow::compute::take(&target, &twice, None).unwrap();
    let repeated = learn(&more, &target, &[Part::Train; 800], &options(Learner::Baseline, &[])).unwrap();
    let score = |model: &Model| model.predict(&features.slice(0, 1)).unwrap().score()[0];
    assert!((score(&weighted) - score(&repeated)).abs() < 1e-12);
    let weights = vec![f32::NAN; 600];
    let refused = fit(&TrainingData { weights: Some(&weights), ..data }, &options(Learner::Baseline, &[]), &|_| {});
    assert_eq!(refused.unwrap_err(), LearnError::Weights);
}

#[test]
fn a_new_class_in_the_test_rows_counts_as_wrong() {
    let (features, _) = payments(100);
    let part: Vec<Part> = (0..100).map(|row| if row < 80 { Part::Train } else { Part::Test }).collect();
    let target: ArrayRef = Arc::new(
        (0..100).map(|row| Some(if row >= 90 { "new" } else { ["x", "y"][row % 2] })).collect::<StringArray>(),
    );
    let model = learn(&features, &target, &part, &options(Learner::Baseline, &[])).unwrap();
    assert_eq!(model.class_names().unwrap(), ["x", "y"]);
    let metrics = judge(&model, &features, &target, &part);
    assert!(metrics["accuracy"] <= 0.5 && metrics["log_loss"] > 10.0, "{metrics:?}");
}

#[test]
fn all_mistakes_are_found_before_anything_is_learned() {
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&b"x"[..]; 20]));
    let features = batch(vec![("payload", bytes)]);
    let target: ArrayRef = Arc::new(StringArray::from(vec!["x"; 20]));
    let part = vec![Part::Train; 20];
    let options = FitOptions { task: TaskKind::Regression, ..options(Learner::Logistic, &[("l3", 1.0)]) };
    let reports = learn(&features, &target, &part, &options).unwrap_err().reports("model `m`");
    let codes: Vec<_> = reports.iter().map(|report| report.code).collect();
    assert_eq!(codes, ["type-mismatch", "invalid-target", "invalid-value", "unknown-key"]);

    let (features, target) = payments(5);
    let few = learn(&features, &target, &[Part::Train; 5], &super::options(Learner::Gbdt, &[])).unwrap_err();
    assert_eq!(few, LearnError::TooFewRows { part: Part::Train, rows: 5, needed: 10 });
    let short = learn(&features, &target, &part, &super::options(Learner::Gbdt, &[])).unwrap_err();
    assert_eq!(short.report("model `m`").code, "internal");

    let (features, _) = payments(40);
    let part: Vec<Part> = (0..40).map(|row| if row < 30 { Part::Train } else { Part::Test }).collect();
    let target: ArrayRef = Arc::new((0..40).map(|row| Some(row % 2 == 0 && row < 30)).collect::<BooleanArray>());
    let report = learn(&features, &target, &part, &super::options(Learner::Gbdt, &[])).unwrap_err().report("model `m`");
    assert_eq!(report.message, "the target of model `m` has one class only in the test part, `false`");
}

#[test]
fn columns_that_say_nothing_harm_nobody() {
    let rows = 200;
    let nothing: ArrayRef = Arc::new(Float64Array::from(vec![None; rows]));
    let infinite: ArrayRef = Arc::new(Float64Array::from(vec![f64::INFINITY; rows]));
    let huge: ArrayRef = Arc::new((0..rows).map(|row| Some(f64::MAX / (row as f64 + 1.0))).collect::<Float64Array>());
    let same: ArrayRef = Arc::new(Float64Array::from(vec![0.1; rows]));
    let sometimes: ArrayRef = Arc::new((0..rows).map(|row| (row % 3 == 0).then_some(4.0)).collect::<Float64Array>());
    let no_text: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>; rows]));
    let signal: ArrayRef = Arc::new((0..rows).map(|row| Some((row * 7 % 50) as i64)).collect::<Int64Array>());
    let features = batch(vec![
        ("nothing", nothing),
        ("infinite", infinite),
        ("huge", huge),
        ("same", same),
        ("sometimes", sometimes),
        ("no_text", no_text),
        ("signal", signal),
    ]);
    let target: ArrayRef =
        Arc::new((0..rows).map(|row| Some((row * 7 % 50 >= 25) != (row % 11 == 0))).collect::<BooleanArray>());
    let part = parts(rows);
    for learner in [Learner::Gbdt, Learner::Logistic, Learner::Baseline] {
        let model = learn(&features, &target, &part, &options(learner, &[])).unwrap();
        let prediction = model.predict(&features).unwrap();
        assert!(prediction.score().iter().all(|score| (0.0..=1.0).contains(score)), "{learner}");
        let back = Model::from_bytes(&model.to_bytes()).unwrap();
        assert_eq!(back.predict(&features).unwrap().score(), prediction.score());
    }
    let number = arrow::compute::cast(&target, &arrow::datatypes::DataType::Float64).unwrap();
    let model = learn(&features, &number, &part, &options(Learner::Linear, &[("l2", 0.0)])).unwrap();
    assert!(model.predict(&features).unwrap().score().iter().all(|score| score.is_finite()));
}

#[test]
fn a_column_that_gives_the_answer_away_is_found() {
    let (features, target) = payments(5_000);
    let part = parts(5_000);
    let is = target.as_boolean();
    // Written only after the fact; and a text that says it with 2% of mistakes.
    let refunded: ArrayRef =
        Arc::new((0..5_000).map(|row| is.value(row).then_some(row as i64 % 7)).collect::<Int64Array>());
    let state: ArrayRef = Arc::new(
        (0..5_000)
            .map(|row| Some(if is.value(row) != (row % 50 == 0) { "lost" } else { "fine" }))
            .collect::<StringArray>(),
    );
    let mut columns: Vec<(&str, ArrayRef)> = vec![("refunded", refunded), ("state", state)];
    columns.extend(
        features
            .schema_ref()
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .zip(features.columns().iter().cloned()),
    );
    let found: BTreeMap<_, _> = single_feature_auc(&batch(columns), &target, &part).into_iter().collect();
    assert_eq!(found["refunded"], 1.0);
    assert!(found["state"] > 0.97, "{found:?}");
    assert!(found["a"] < 0.6 && found["known"] < 0.6 && found["at"] < 0.6 && found["channel"] > 0.55, "{found:?}");
    let number = arrow::compute::cast(&target, &arrow::datatypes::DataType::Float64).unwrap();
    let three: ArrayRef = Arc::new((0..5_000).map(|row| Some(row % 3)).collect::<Int32Array>());
    assert!(single_feature_auc(&features, &three, &part).is_empty());
    assert_eq!(single_feature_auc(&features, &number, &part).len(), features.num_columns());
}
