//! Models as bytes: what was kept reads back to the same bits, in every version to come, and damage is told.

use super::*;

fn trained() -> (RecordBatch, Vec<(&'static str, Model)>) {
    let (features, target) = payments(1_200);
    let part = parts(1_200);
    let classes: ArrayRef = Arc::new(
        (0..1_200)
            .map(|row| Some(i16::from(target.as_boolean().value(row)) + (row % 5 == 0) as i16))
            .collect::<Int16Array>(),
    );
    let number = arrow::compute::cast(&target, &arrow::datatypes::DataType::Float64).unwrap();
    let small: &[(&str, f64)] = &[("rounds", 3.0), ("depth", 3.0)];
    let model = |target: &ArrayRef, options: FitOptions| learn(&features, target, &part, &options).unwrap();
    let models = vec![
        ("gbdt-binary", model(&target, options(Learner::Gbdt, small))),
        ("gbdt-multiclass", model(&classes, options(Learner::Gbdt, small))),
        ("gbdt-regression", model(&number, regression(Learner::Gbdt, small))),
        ("logistic", model(&target, options(Learner::Logistic, &[]))),
        ("linear", model(&number, options(Learner::Linear, &[]))),
        ("baseline", model(&classes, options(Learner::Baseline, &[]))),
    ];
    (features, models)
}

#[test]
fn a_model_reads_back_to_the_same_bits() {
    let (features, models) = trained();
    for (name, model) in models {
        let bytes = model.to_bytes();
        let back = Model::from_bytes(&bytes).unwrap();
        assert!(back.to_bytes() == bytes, "{name}");
        let (ours, theirs) = (model.predict(&features).unwrap(), back.predict(&features).unwrap());
        assert_eq!(ours.score(), theirs.score(), "{name}");
        assert_eq!(&ours.into_struct(), &theirs.into_struct(), "{name}");
        assert_eq!(back.inputs(), model.inputs());
        assert_eq!(back.importances(), model.importances());
        assert_eq!((back.task(), back.learner(), back.rows()), (model.task(), model.learner(), 720));
        assert_eq!(back.class_names(), model.class_names());
    }
}

#[test]
fn damage_is_told_and_never_a_panic() {
    let (_, models) = trained();
    let bytes = models[0].1.to_bytes();
    for length in [0, 5, 8, 11, 19, 30, bytes.len() - 1] {
        assert!(matches!(Model::from_bytes(&bytes[..length]), Err(LearnError::Damaged { .. })), "{length}");
    }
    for at in (0..bytes.len()).step_by(41) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 4;
        assert!(Model::from_bytes(&damaged).is_err(), "{at}");
    }
    let mut newer = bytes.clone();
    newer[8] = 9;
    assert_eq!(Model::from_bytes(&newer).unwrap_err(), LearnError::NewerFormat { found: 9, known: 1 });
}

#[test]
fn a_missing_column_is_named() {
    let (features, models) = trained();
    for (name, model) in models {
        let error = model.predict(&features.project(&[0, 1, 2, 4, 5, 6, 7]).unwrap()).unwrap_err();
        assert!(matches!(&error, LearnError::MissingColumn { column, .. } if column == "known"), "{name}: {error:?}");
    }
}

/// The samples of format 1, and what their scores of the rows of [`payments`] added up to when they were written.
const SAMPLES: &[(&str, &[u8], f64)] = &[
    ("gbdt-binary", include_bytes!("samples/gbdt-binary-1.model"), 476.30326979462893),
    ("gbdt-multiclass", include_bytes!("samples/gbdt-multiclass-1.model"), 591.7526013447753),
    ("gbdt-regression", include_bytes!("samples/gbdt-regression-1.model"), 475.32300822964066),
    ("logistic", include_bytes!("samples/logistic-1.model"), 468.84116251510824),
    ("linear", include_bytes!("samples/linear-1.model"), 468.8998274559261),
    ("baseline", include_bytes!("samples/baseline-1.model"), 583.3333333333178),
];

#[test]
fn samples_of_earlier_formats_score_as_they_did() {
    let (features, _) = payments(1_200);
    for (name, bytes, score) in SAMPLES {
        let model = Model::from_bytes(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let total: f64 = model.predict(&features).unwrap().score().iter().sum();
        assert_eq!(total, *score, "{name}");
    }
}

#[test]
#[ignore = "writes the samples of a new format; run by hand when the format changes"]
fn write_samples() {
    let (features, models) = trained();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/samples");
    std::fs::create_dir_all(&folder).unwrap();
    let mut scores = String::new();
    for (name, model) in models {
        std::fs::write(folder.join(format!("{name}-1.model")), model.to_bytes()).unwrap();
        let score: f64 = model.predict(&features).unwrap().score().iter().sum();
        scores += &format!("    (\"{name}\", include_bytes!(\"samples/{name}-1.model\"), {score:?}),\n");
    }
    std::fs::write(folder.join("scores.txt"), scores).unwrap();
}
