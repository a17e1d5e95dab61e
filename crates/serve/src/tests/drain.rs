//! From segments into the table, and back by receipt.

use super::log::{NOW_US, ask};
use super::*;
use arrow::array::StringArray;
use pelton_base::{FixedClock, ReceiptId, RunId};
use pelton_store::{ColumnType, RunRecord, SourceFile, VersionRecord, Warehouse};
use serde_json::json;

fn receipts_in_table(engine: &FakeEngine) -> u64 {
    engine.tables.lock().unwrap().values().flat_map(|table| &table.files).map(|file| file.rows).sum()
}

struct House {
    _folder: tempfile::TempDir,
    warehouse: Warehouse,
    engine: Arc<FakeEngine>,
    log: Log,
}

fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = Warehouse::open(folder.path()).unwrap();
    let log = Log::open(&warehouse.log_dir(), LogSettings::default()).unwrap();
    House { _folder: folder, warehouse, engine: Arc::default(), log }
}

#[tokio::test]
async fn complete_segments_move_into_the_table_once() {
    let House { warehouse, engine, log, .. } = &house();
    let answer = ask(log, 5).await;
    assert_eq!(drain(engine.as_ref(), warehouse).await.unwrap(), Drained::default(), "it is being written");
    log.rotate().await.unwrap();
    let before = log.segments().unwrap();
    let copy = std::fs::read(&before[0].path).unwrap();
    let drained = drain(engine.as_ref(), warehouse).await.unwrap();
    assert_eq!((drained.segments, drained.rows, drained.version), (1, 5, Some(0)));
    assert!(log.segments().unwrap().is_empty());

    // Killed after the commit and before the deletion: the segment is still there.
    std::fs::write(&before[0].path, copy).unwrap();
    let drained = drain(engine.as_ref(), warehouse).await.unwrap();
    assert_eq!((drained.segments, drained.rows, drained.version), (1, 0, None));
    assert_eq!(receipts_in_table(engine), 5);

    ask(log, 2).await;
    log.rotate().await.unwrap();
    assert_eq!(drain(engine.as_ref(), warehouse).await.unwrap().version, Some(1));
    assert_eq!(receipts_in_table(engine), 7);
    let receipts = Receipts::new(engine.clone(), warehouse.clone());
    let record = receipts.find(&answer.receipts[3]).await.unwrap();
    assert_eq!((record.row, record.at_us), (3, NOW_US));
    assert!(record.rescore(&pipeline()).unwrap().same_bits);
}

#[tokio::test]
async fn a_command_takes_in_everything_when_it_is_its_turn() {
    let House { warehouse, engine, log, .. } = &house();
    for _ in 0..65 {
        ask(log, 1).await;
        log.rotate().await.unwrap();
    }
    // Another process drains, and ends.
    let hold = hold_drain(warehouse).unwrap().unwrap();
    let (said, ()) = tokio::join!(drain_in_turn(engine.as_ref(), warehouse, LONG), async {
        tokio::task::yield_now().await;
        assert_eq!(receipts_in_table(engine), 0);
        drop(hold);
    });
    assert_eq!(said, []);
    assert!(log.segments().unwrap().is_empty(), "more than one drain takes in");
    assert_eq!(receipts_in_table(engine), 65);
}

#[tokio::test]
async fn a_command_does_not_wait_for_ever() {
    let House { warehouse, engine, log, .. } = &house();
    ask(log, 1).await;
    log.rotate().await.unwrap();
    let _hold = hold_drain(warehouse).unwrap().unwrap();
    assert_eq!(drain_in_turn(engine.as_ref(), warehouse, EVERY).await, []);
    assert_eq!(log.segments().unwrap().len(), 1, "it stays for the next one");
}

#[tokio::test]
async fn what_a_killed_process_left_is_taken_in_and_damage_is_kept_aside() {
    let House { warehouse, engine, log, .. } = &house();
    ask(log, 3).await;
    log.rotate().await.unwrap();
    let segment = log.segments().unwrap().remove(0);
    let bytes = std::fs::read(&segment.path).unwrap();
    std::fs::write(&segment.path, &bytes[..bytes.len() - 7]).unwrap();
    let mut damaged = bytes;
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    std::fs::write(segment.path.with_file_name("0190.segment"), &damaged).unwrap();
    let drained = drain(engine.as_ref(), warehouse).await.unwrap();
    assert_eq!((drained.segments, drained.rows, drained.damaged.len()), (2, 4, 1));
    assert_eq!(std::fs::read(&drained.damaged[0]).unwrap(), damaged);
    assert!(log.segments().unwrap().is_empty());
}

#[tokio::test]
async fn small_files_are_merged_and_every_prediction_stays_found() {
    let House { warehouse, engine, log, .. } = &house();
    let mut answers = Vec::new();
    for _ in 0..64 {
        answers.push(ask(log, 1).await.receipts.remove(0));
        log.rotate().await.unwrap();
    }
    let drained = drain(engine.as_ref(), warehouse).await.unwrap();
    assert_eq!((drained.segments, drained.rows, drained.version), (64, 64, Some(1)));
    let files = engine.files(&predictions_table(warehouse), None).await.unwrap().unwrap().files;
    assert_eq!((files.len(), files[0].rows), (1, 64));
    let receipts = Receipts::new(engine.clone(), warehouse.clone());
    for id in answers {
        assert_eq!(receipts.find(&id).await.unwrap().receipt, id);
    }
    ask(log, 1).await;
    log.rotate().await.unwrap();
    drain(engine.as_ref(), warehouse).await.unwrap();
    assert_eq!(receipts_in_table(engine), 65);
}

#[tokio::test]
async fn a_record_that_is_not_one_holds_up_no_other() {
    let House { warehouse, engine, log, .. } = &house();
    ask(log, 2).await;
    log.rotate().await.unwrap();
    let path = log.segments().unwrap().remove(0).path;
    let mut frames = crate::log::Frames::default();
    frames.push(|out| out.extend_from_slice(b"{\"receipt\":1}"));
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&bytes[..8], frames.bytes(), &bytes[8..]].concat()).unwrap();
    let drained = drain(engine.as_ref(), warehouse).await.unwrap();
    assert_eq!((drained.rows, drained.damaged.len()), (2, 1));
}

const EVERY: std::time::Duration = std::time::Duration::from_millis(1);
const LONG: std::time::Duration = std::time::Duration::from_secs(600);

#[tokio::test]
async fn a_log_keeps_moving_into_the_table() {
    let House { warehouse, engine, log, _folder } = house();
    let answer = ask(&log, 1).await;
    let is_there = async {
        while receipts_in_table(&engine) == 0 {
            tokio::task::yield_now().await;
        }
    };
    let told = |told| panic!("{told:?}");
    keep_draining(Arc::new(log), engine.clone(), warehouse.clone(), EVERY, is_there, told).await;
    let receipts = Receipts::new(engine, warehouse);
    assert_eq!(receipts.find(&answer.receipts[0]).await.unwrap().row, 0);
}

#[tokio::test]
async fn a_drain_holds_up_nothing_and_runs_to_its_end() {
    let House { warehouse, log, _folder, engine: _ } = house();
    let log = Arc::new(log);
    let engine = Arc::new(FakeEngine { gate: Some(tokio::sync::Semaphore::new(0)), ..FakeEngine::default() });
    ask(&log, 3).await;
    let (stop, is_stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async {
        let _ = is_stopped.await;
    };
    let draining =
        keep_draining(log.clone(), engine.clone(), warehouse.clone(), EVERY, stopped, |told| panic!("{told:?}"));
    let beside = async {
        // The drain waits for the engine; this goes on, and asks it to stop.
        while !warehouse.log_dir().join("drain.lock").exists() {
            tokio::task::yield_now().await;
        }
        drop(stop);
        tokio::task::yield_now().await;
        assert_eq!(receipts_in_table(&engine), 0);
        engine.gate.as_ref().unwrap().add_permits(10);
    };
    tokio::join!(draining, beside);
    assert_eq!(receipts_in_table(&engine), 3);
}

#[tokio::test]
async fn damage_is_told() {
    let House { warehouse, engine, log, _folder } = house();
    ask(&log, 1).await;
    log.rotate().await.unwrap();
    let path = log.segments().unwrap().remove(0).path;
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut told = Vec::new();
    keep_draining(Arc::new(log), engine, warehouse, EVERY, async {}, |report| told.push(report)).await;
    assert_eq!(
        told.iter().map(|report| (report.code, report.is_error())).collect::<Vec<_>>(),
        [("damaged-artifact", false)]
    );
}

#[tokio::test]
async fn two_processes_do_not_drain_at_once() {
    let House { warehouse, engine, log, .. } = &house();
    ask(log, 1).await;
    log.rotate().await.unwrap();
    let lock = std::fs::File::create(warehouse.log_dir().join("drain.lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(drain(engine.as_ref(), warehouse).await.unwrap(), Drained::default());
    lock.unlock().unwrap();
    assert_eq!(drain(engine.as_ref(), warehouse).await.unwrap().rows, 1);
}

#[tokio::test]
async fn an_unknown_receipt_is_missing() {
    let House { warehouse, engine, .. } = &house();
    let receipts = Receipts::new(engine.clone(), warehouse.clone());
    for id in [ReceiptId::fresh(NOW_US), ReceiptId("' or 1 = 1".into())] {
        assert_eq!(receipts.receipt(&id).await.unwrap_err().code, "unknown-receipt");
    }
}

fn version(id: &str, node: &str, kind: &str, inputs: &[(&str, &str)], detail: serde_json::Value) -> VersionRecord {
    VersionRecord {
        id: VersionId(id.into()),
        node: NodeName::new(node),
        kind: kind.into(),
        run: RunId("r1".into()),
        fingerprint: Digest::of(id.as_bytes()),
        digest: Digest::of(node.as_bytes()),
        built_at_us: NOW_US,
        columns: vec![ColumnType { name: "a".into(), data_type: "bigint".into() }],
        rows: 10,
        bytes: 100,
        delta_version: None,
        files: Arc::default(),
        inputs: inputs.iter().map(|(node, version)| (NodeName::new(node), VersionId((*version).into()))).collect(),
        quarantine: Vec::new(),
        quarantined: 0,
        dropped: 0,
        detail,
    }
}

#[tokio::test]
async fn training_versions_lead_to_the_source_files() {
    let House { warehouse, engine, .. } = &house();
    let state = warehouse.state();
    let run = RunRecord {
        id: RunId("r1".into()),
        environment: "main".into(),
        started_at_us: 0,
        command: "run".into(),
        pid: 1,
    };
    state.begin_run(&run).unwrap();
    let file = SourceFile {
        path: "data/a.csv".into(),
        bytes: 3,
        modified_us: 0,
        digest: Digest::of(b"a,b"),
        rows_digest: Digest::default(),
        rows: 10,
        quarantined: 0,
        dropped: 0,
        data: Vec::new(),
        quarantine: Vec::new(),
        columns: Vec::new(),
        is_recent: false,
        is_outdated: false,
        repairs: Vec::new(),
    };
    state.insert_source_version(&version("s1", "payments", "source", &[], json!({})), &[file]).unwrap();
    let table = version("t1", "activity", "table", &[("payments", "s1")], json!({"sql": "select 1"}));
    state.insert_version(&table).unwrap();
    let package = warehouse.artifacts().put(&fraud_package().to_bytes()).unwrap();
    let detail = json!({"sql": "select 2", "package": package.to_string()});
    let model = version("feed", "fraud", "model", &[("payments", "s1"), ("activity", "t1")], detail);
    state.insert_version(&model).unwrap();

    assert_eq!(package_of(warehouse, &model).unwrap(), fraud_package());
    assert_eq!(package_of(warehouse, &table).unwrap_err().code, "damaged-state");
    let training = Receipts::new(engine.clone(), warehouse.clone()).training(model).unwrap();
    let nodes: Vec<_> = training.iter().map(|version| version.node.as_str()).collect();
    assert_eq!(nodes, ["fraud", "payments", "activity"]);
    assert_eq!(training[0].sql.as_deref(), Some("select 2"));
    assert_eq!(training[1].files[0].path, "data/a.csv");
    assert_eq!(training[2].inputs[0].1.0, "s1");
}

/// Fits a model of the fraud package's inputs.
fn trained() -> Vec<u8> {
    use pelton_learn::{FitOptions, Learner, Part, TaskKind, TrainingData, fit};
    let rows = 400;
    let number = |seed| (0..rows).map(move |row| pelton_base::Seed(seed).unit_at(row) * 50.0);
    let product: Vec<f64> = number(1).zip(number(2)).map(|(amount, spend)| amount * spend).collect();
    let channels = (0..rows).map(|row| Some(if row % 3 == 0 { "web" } else { "shop" }));
    let features = RecordBatch::try_from_iter([
        ("amount", Arc::new(Float64Array::from_iter_values(number(1))) as ArrayRef),
        ("channel", Arc::new(StringArray::from_iter(channels))),
        ("spend_30d", Arc::new(Float64Array::from_iter_values(number(2)))),
        ("activity_payments", Arc::new(Int64Array::from_iter_values((0..rows).map(|row| row as i64 % 11)))),
        ("amount_times_spend", Arc::new(Float64Array::from(product.clone()))),
    ]);
    let target: ArrayRef = Arc::new(BooleanArray::from_iter(product.iter().map(|product| Some(*product > 700.0))));
    let part: Vec<Part> = (0..rows).map(|row| if row % 4 == 0 { Part::Valid } else { Part::Train }).collect();
    let data = TrainingData { features: &features.unwrap(), target: &target, part: &part, weights: None };
    let params = BTreeMap::from([("rounds".to_string(), 20.0)]);
    let options = FitOptions { task: TaskKind::Classification, learner: Learner::Gbdt, params, seed: 1, threads: 1 };
    fit(&data, &options, &|_| {}).unwrap().to_bytes()
}

#[tokio::test]
async fn a_receipt_of_a_trained_model_scores_to_the_same_bits() {
    let House { warehouse, engine, log, .. } = &house();
    let bytes = trained();
    let package = Package { artifact: warehouse.artifacts().put(&bytes).unwrap(), ..fraud_package() };
    let stored = warehouse.artifacts().put(&package.to_bytes()).unwrap();
    let run = RunRecord {
        id: RunId("r1".into()),
        environment: "main".into(),
        started_at_us: 0,
        command: "run".into(),
        pid: 1,
    };
    warehouse.state().begin_run(&run).unwrap();
    let record = version("feed", "fraud", "model", &[], json!({"package": stored.to_string()}));
    warehouse.state().insert_version(&record).unwrap();

    let pipeline = Pipeline::compile(engine.as_ref(), package, &bytes).unwrap();
    let endpoint = Arc::new(Endpoint { version: VersionId("feed".into()), pipeline: Arc::new(pipeline) });
    let rows =
        r#"[{"customer_id":"c1","amount":0.1,"channel":"web"},{"customer_id":"c9","amount":null,"channel":"new"}]"#;
    let request = decode_rows(endpoint.pipeline.request(), rows, 2).unwrap();
    let answer = predict(Arc::new(endpoints(3)), endpoint, request, &FixedClock(NOW_US), log).await.unwrap();
    let receipts = Receipts::new(engine.clone(), warehouse.clone());
    for at_rest in [false, true] {
        if at_rest {
            log.rotate().await.unwrap();
            drain(engine.as_ref(), warehouse).await.unwrap();
        }
        for (row, id) in answer.receipts.iter().enumerate() {
            let receipt = receipts.receipt(id).await.unwrap();
            assert!(receipt.rescored.same_bits, "{receipt:?}");
            let answered = crate::values::json_struct(&answer.scored.output, row);
            assert_eq!(serde_json::to_string(&receipt.output).unwrap(), answered);
            assert_eq!(serde_json::from_value::<Receipt>(serde_json::to_value(&receipt).unwrap()).unwrap(), receipt);
        }
    }
}
