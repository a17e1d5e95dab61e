//! Numbers that scikit-learn 1.9.1 gave; the scripts are under `tests/oracle`.

use super::*;
use crate::metrics::*;

/// Both sides sum the same few hundred doubles, in another order.
const ROUNDING: f64 = 1e-12;

fn close(name: &str, ours: f64, theirs: f64, tolerance: f64) {
    assert!((ours - theirs).abs() <= tolerance * theirs.abs().max(1.0), "{name}: {ours} is not {theirs}");
}

#[test]
fn metrics_equal_those_of_scikit_learn() {
    let noise = |i: usize| ((i * 7919 + 13) % 101) as f64 / 100.0;
    let target: Vec<bool> = (0..500).map(|i| (i * 7 + i * i * 3) % 11 < 3).collect();
    let codes: Vec<u32> = target.iter().map(|&positive| u32::from(positive)).collect();
    let score: Vec<f64> = (0..500)
        .map(|i| match (i % 97, i % 89) {
            (_, 1) => 0.0,
            (0, _) => 1.0,
            _ => ((0.6 * noise(i) + 0.35 * f64::from(codes[i])) * 100.0).round_ties_even() / 100.0,
        })
        .collect();
    let hard: Vec<bool> = score.iter().map(|&score| score >= 0.5).collect();
    let hard_codes: Vec<u32> = hard.iter().map(|&positive| u32::from(positive)).collect();
    close("log_loss", log_loss(&target, &score), 0.7540211990502119, ROUNDING);
    close("roc_auc", roc_auc(&target, &score), 0.8968537574894544, ROUNDING);
    close("average_precision", average_precision(&target, &score), 0.6778570486768384, ROUNDING);
    close("brier", brier(&target, &score), 0.1329284, ROUNDING);
    close("f1", f1(&target, &hard), 0.5787234042553191, ROUNDING);
    close("precision", precision(&target, &hard), 0.4722222222222222, ROUNDING);
    close("recall", recall(&target, &hard), 0.7472527472527473, ROUNDING);
    close("accuracy", accuracy(&codes, &hard_codes), 0.802, ROUNDING);

    let classes: Vec<u32> = (0..500).map(|i| ((i * i + i / 3) % 4) as u32).collect();
    let (mut probabilities, mut predicted) = (Vec::new(), Vec::new());
    for (i, class) in classes.iter().enumerate() {
        let raw: Vec<f64> = (0..4)
            .map(|k| ((i * 7919 + k * 37 + 13) % 101) as f64 / 100.0 + 0.05 + f64::from(u8::from(*class == k as u32)))
            .collect();
        let best = (1..4).fold(0, |best, k| if raw[k] > raw[best] { k } else { best });
        predicted.push(if i % 7 == 0 { 3 } else { best as u32 });
        let total: f64 = raw.iter().sum();
        probabilities.extend(raw.iter().map(|value| value / total));
    }
    close("log_loss", multiclass_log_loss(&classes, &probabilities, 4), 0.7332110150922763, ROUNDING);
    close("accuracy", accuracy(&classes, &predicted), 0.88, ROUNDING);
    close("macro_f1", macro_f1(&classes, &predicted), 0.8755621911631046, ROUNDING);

    let y: Vec<f64> = (0..500).map(|i| (i * 104729 % 1009) as f64 / 7.0 - 40.0).collect();
    let p: Vec<f64> = (0..500).map(|i| y[i] + ((i * 7919) % 211) as f64 / 10.0 - 10.0).collect();
    close("mae", mae(&y, &p), 5.294800000000001, ROUNDING);
    close("rmse", rmse(&y, &p), 6.112014397888801, ROUNDING);
    close("r2", r2(&y, &p), 0.9784518336625271, ROUNDING);
    close("mape", mape(&y, &p), 87369832770988.17, ROUNDING);
}

#[test]
fn metrics_keep_to_their_edges() {
    assert_eq!(is_higher_better("rmse"), Some(false));
    assert_eq!(is_higher_better("roc_auc"), Some(true));
    assert_eq!(is_higher_better("roc_acu"), None);
    assert!(NAMES.is_sorted());
    for task in [Task::Binary, Task::Multiclass, Task::Regression] {
        assert!(names_of(task).iter().all(|name| NAMES.contains(name)));
    }
    assert!(roc_auc(&[true, true], &[0.1, 0.2]).is_nan());
    assert_eq!(average_precision(&[false, true], &[0.5, 0.5]), 0.5);
    assert_eq!(f1(&[false], &[false]), 0.0);
    assert_eq!((r2(&[2.0, 2.0], &[2.0, 2.0]), r2(&[2.0, 2.0], &[2.0, 3.0])), (1.0, 0.0));
}

fn inputs() -> (RecordBatch, [Vec<f64>; 4]) {
    let a: Vec<f64> = (0..400).map(|i| (i * 7919 % 211) as f64 / 10.0).collect();
    let b: Vec<f64> = (0..400).map(|i| (i * 104729 % 307) as f64 / 100.0 - 1.0).collect();
    let c: Vec<f64> = (0..400).map(|i| (i * i * 31 % 97) as f64 * 1000.0).collect();
    let noise: Vec<f64> = (0..400).map(|i| (i * 7457 % 101) as f64 / 50.0 - 1.0).collect();
    let column = |values: &[f64]| -> ArrayRef { Arc::new(Float64Array::from(values.to_vec())) };
    (batch(vec![("a", column(&a)), ("b", column(&b)), ("c", column(&c))]), [a, b, c, noise])
}

#[test]
fn linear_models_equal_those_of_scikit_learn() {
    // Both solve to the optimum; what differs is where each stops, far below this.
    const TOLERANCE: f64 = 1e-6;
    let (features, [a, b, c, noise]) = inputs();
    let part = vec![Part::Train; 400];

    let binary: BooleanArray =
        (0..400).map(|i| Some(0.15 * a[i] - b[i] + c[i] / 50000.0 + 2.0 * noise[i] > 2.0)).collect();
    let model = learn(&features, &(Arc::new(binary) as _), &part, &options(Learner::Logistic, &[("l2", 2.0)])).unwrap();
    let importances: BTreeMap<_, _> = model.importances().into_iter().collect();
    let theirs = [("a", 1.178073004825896), ("b", 1.1570876464538618), ("c", 0.7050095045027713)];
    theirs.iter().for_each(|(name, coefficient)| close(name, importances[*name], *coefficient, TOLERANCE));

    let classes: Int32Array = (0..400)
        .map(|i| 0.15 * a[i] - b[i] + 2.0 * noise[i])
        .map(|margin| Some(i32::from(margin >= 0.5) + i32::from(margin >= 2.5)))
        .collect();
    let model =
        learn(&features, &(Arc::new(classes) as _), &part, &options(Learner::Logistic, &[("l2", 2.0)])).unwrap();
    let theirs = [
        [0.3531117306887861, 0.5386577377720088, 0.10823053153920506],
        [0.0838164375590096, 0.4682634855527215, 0.447920076888269],
        [0.5469398305698066, 0.416465766600026, 0.03659440283016747],
    ];
    let ours = model.predict(&features.slice(0, 3)).unwrap();
    let ours = ours.probabilities().iter().zip(theirs.as_flattened());
    ours.for_each(|(ours, theirs)| close("probability", *ours, *theirs, TOLERANCE));

    let target: Float64Array = (0..400).map(|i| Some(5.0 + a[i] - 2.0 * b[i] + noise[i])).collect();
    let model = learn(&features, &(Arc::new(target) as _), &part, &options(Learner::Linear, &[("l2", 3.0)])).unwrap();
    let importances: BTreeMap<_, _> = model.importances().into_iter().collect();
    let theirs = [("a", 6.059269439692788), ("b", 1.7727263615948994), ("c", 0.0032274279174089025)];
    theirs.iter().for_each(|(name, coefficient)| close(name, importances[*name], *coefficient, TOLERANCE));
}
