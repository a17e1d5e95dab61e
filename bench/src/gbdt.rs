//! Trains Pelton's gradient boosting on an exported training set, for a comparison with `gbdt_lightgbm.py`: the same file, rounds,
//! leaves, bins and threads, and no early stopping.

// A tool that is run by hand; its answer is its output.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::{cast, concat_batches, filter_record_batch};
use arrow::datatypes::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pelton_learn::{FitOptions, Learner, Part, TaskKind, TrainingData, fit, metrics::evaluate};
use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "usage: bench-gbdt FILE.parquet [--rounds 200] [--leaves 31] [--bins 255] [--threads 2] \
[--rate 0.1] [--repeats 3]

FILE has the columns `part` (`train` or `test`), `is_fraud`, and inputs. Prints `train_s`, the shortest of the
repeats, and `average_precision` on the test rows.";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("FILE is missing")?;
    let mut numbers: BTreeMap<String, f64> =
        [("rounds", 200.0), ("leaves", 31.0), ("bins", 255.0), ("threads", 2.0), ("rate", 0.1), ("repeats", 3.0)]
            .map(|(name, value)| (format!("--{name}"), value))
            .into();
    while let Some(name) = arguments.next() {
        let number = numbers.get_mut(&name).ok_or_else(|| format!("`{name}` is not known"))?;
        *number = arguments.next().ok_or_else(|| format!("`{name}` needs a value"))?.parse()?;
    }

    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path)?)?;
    let schema = reader.schema().clone();
    let batches = reader.build()?.collect::<Result<Vec<_>, _>>()?;
    let all = concat_batches(&schema, &batches)?;
    let part: Vec<Part> = {
        let texts = cast(all.column_by_name("part").ok_or("there is no column `part`")?, &DataType::Utf8)?;
        let is_test = |text: Option<&str>| if text == Some("test") { Part::Test } else { Part::Train };
        texts.as_string::<i32>().iter().map(is_test).collect()
    };
    let target = all.column_by_name("is_fraud").ok_or("there is no column `is_fraud`")?.clone();
    let inputs: Vec<usize> =
        (0..all.num_columns()).filter(|i| !["part", "is_fraud"].contains(&schema.field(*i).name().as_str())).collect();
    let features = all.project(&inputs)?;

    // As in the script: no limit of depth, the same least weight of a leaf and the same penalty.
    let params = [
        ("rounds", numbers["--rounds"]),
        ("leaves", numbers["--leaves"]),
        ("bins", numbers["--bins"]),
        ("learning_rate", numbers["--rate"]),
        ("depth", 0.0),
        ("min_child_weight", 1.0),
        ("l2", 1.0),
        ("early_stopping_rounds", 0.0),
    ];
    let options = FitOptions {
        task: TaskKind::Classification,
        learner: Learner::Gbdt,
        params: params.map(|(name, value)| (name.to_string(), value)).into(),
        seed: 1,
        threads: numbers["--threads"] as usize,
    };
    let data = TrainingData { features: &features, target: &target, part: &part, weights: None };
    let (mut best, mut model) = (f64::INFINITY, None);
    for _ in 0..numbers["--repeats"].max(1.0) as usize {
        let start = Instant::now();
        model = Some(fit(&data, &options, &|_| {})?);
        best = best.min(start.elapsed().as_secs_f64());
    }
    let model = model.ok_or("nothing was trained")?;
    let is_test = part.iter().map(|part| Some(*part == Part::Test)).collect();
    let test = filter_record_batch(&features, &is_test)?;
    let truth: ArrayRef = arrow::compute::filter(&target, &is_test)?;
    let metrics = evaluate(&model.predict(&test)?, &truth)?;
    println!("train_rows {}", all.num_rows() - test.num_rows());
    println!("columns {}", features.num_columns());
    println!("rounds {}", model.rounds());
    println!("train_s {best:.3}");
    println!("average_precision {:.4}", metrics["average_precision"]);
    Ok(())
}
