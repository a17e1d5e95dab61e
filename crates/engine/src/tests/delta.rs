//! Commits to Delta tables, and reading what they name.

use super::*;
use parquet::arrow::ArrowWriter;
use pelton_query::{Commit, DataFile, TableLocation};
use std::path::Path;

fn write(folder: &Path, name: &str, batch: &RecordBatch) -> DataFile {
    std::fs::create_dir_all(folder).unwrap();
    let file = std::fs::File::create(folder.join(name)).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    let bytes = std::fs::metadata(folder.join(name)).unwrap().len();
    let stats = Some(format!("{{\"numRecords\":{}}}", batch.num_rows()));
    DataFile { path: name.into(), bytes, rows: batch.num_rows() as u64, stats, rows_digest: None, digest: None }
}

fn location(folder: &Path) -> TableLocation {
    TableLocation(url::Url::from_directory_path(folder).unwrap().to_string())
}

fn commit(batch: &RecordBatch, files: &[&DataFile]) -> Commit {
    let files = files.iter().map(|file| (*file).clone()).collect();
    Commit { schema: batch.schema(), files, info: vec![("run".into(), "r1".into())] }
}

#[tokio::test]
async fn a_commit_states_the_whole_version_and_can_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("a table ü");
    let engine = engine();
    let place = location(&folder);
    assert!(engine.files(&place, None).await.unwrap().is_none());

    let one = batch(vec![("a", ints(vec![Some(1), None]))]);
    let two = batch(vec![("a", ints(vec![Some(3)])), ("b", texts(vec![Some("x")]))]);
    let first = write(&folder, "1.parquet", &one);
    let second = write(&folder, "2.parquet", &two);
    assert_eq!(engine.commit(&place, commit(&one, &[&first])).await.unwrap(), 0);
    assert_eq!(engine.commit(&place, commit(&one, &[&first])).await.unwrap(), 0, "repeating changes nothing");
    assert_eq!(engine.commit(&place, commit(&two, &[&first, &second])).await.unwrap(), 1);
    assert_eq!(engine.commit(&place, commit(&two, &[&second])).await.unwrap(), 2);

    let names = |files: pelton_query::TableFiles| files.files.iter().map(|file| file.path.clone()).collect::<Vec<_>>();
    assert_eq!(names(engine.files(&place, Some(0)).await.unwrap().unwrap()), ["1.parquet"]);
    let middle = engine.files(&place, Some(1)).await.unwrap().unwrap();
    assert_eq!(middle.schema.fields().len(), 2);
    assert_eq!(middle.files.len(), 2);
    let newest = engine.files(&place, None).await.unwrap().unwrap();
    assert_eq!(newest.version, 2);

    let files = Relation::Files { schema: middle.schema, folder: place.0.clone(), files: Arc::new(middle.files) };
    let catalog = Catalog::default().with("t", files);
    assert_eq!(text(&engine, &catalog, "select a, b from t order by a").await, "1|\n3|x\n|\n");
    assert_eq!(text(&engine, &catalog, "select count(*) from t").await, "3\n");
}

#[tokio::test]
async fn what_a_first_commit_left_that_was_killed_is_no_log() {
    let dir = tempfile::tempdir().unwrap();
    let place = location(dir.path());
    let engine = engine();
    let log = dir.path().join("_delta_log");
    std::fs::create_dir_all(&log).unwrap();
    // As the object store names a file before it has its name.
    std::fs::write(log.join("00000000000000000000.json#1"), "{\"protocol\":").unwrap();
    assert!(engine.files(&place, None).await.unwrap().is_none());
    let rows_in = batch(vec![("a", ints(vec![Some(1)]))]);
    let file = write(dir.path(), "1.parquet", &rows_in);
    assert_eq!(engine.commit(&place, commit(&rows_in, &[&file])).await.unwrap(), 0);
    assert_eq!(engine.files(&place, None).await.unwrap().unwrap().files.len(), 1);
    // Of a log that was there and is gone something stays: that is damage.
    std::fs::rename(log.join("00000000000000000000.json"), log.join("_last_checkpoint")).unwrap();
    let damage = |error: QueryError| assert!(matches!(error, QueryError::Damaged { .. }), "{error:?}");
    damage(engine.files(&place, None).await.unwrap_err());
    damage(engine.commit(&place, commit(&rows_in, &[&file])).await.unwrap_err());
}

#[tokio::test]
async fn a_damaged_log_and_a_missing_file_are_reported_as_damage() {
    let dir = tempfile::tempdir().unwrap();
    let place = location(dir.path());
    let engine = engine();
    let rows_in = batch(vec![("a", ints(vec![Some(1)]))]);
    let file = write(dir.path(), "1.parquet", &rows_in);
    engine.commit(&place, commit(&rows_in, &[&file])).await.unwrap();

    let catalog = Catalog::default().with(
        "t",
        Relation::Files { schema: rows_in.schema(), folder: place.0.clone(), files: Arc::new(vec![file.clone()]) },
    );
    let sound = std::fs::read(dir.path().join("1.parquet")).unwrap();
    let said = async |bytes: Option<Vec<u8>>| {
        let path = dir.path().join("1.parquet");
        match bytes {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let error = rows(&engine, &catalog, "select * from t").await.unwrap_err();
        let QueryError::Damaged { message } = &error else { panic!("{error:?}") };
        message.replace(&path.display().to_string(), "1.parquet")
    };
    let short = said(Some(b"no parquet at all".into())).await;
    assert_eq!(short, format!("file `1.parquet` of `t` has 17 bytes, and {} were written", file.bytes));
    assert_eq!(said(Some(vec![b'x'; sound.len()])).await, "file `1.parquet` of `t` is not what was written");
    let mut inside = sound.clone();
    let end = inside.len();
    inside[end - 40..end - 8].fill(0xff);
    assert_eq!(said(Some(inside)).await, "a file of `t` is not what was written");
    assert_eq!(said(None).await, "file `1.parquet` of `t` is missing");

    let log = dir.path().join("_delta_log/00000000000000000000.json");
    std::fs::write(&log, b"{\"commitInfo\": {}}\n").unwrap();
    let error = engine.files(&place, None).await.unwrap_err();
    assert!(matches!(error, QueryError::Damaged { .. }), "{error:?}");
    let error = engine.commit(&place, commit(&rows_in, &[&file])).await.unwrap_err();
    assert!(matches!(error, QueryError::Damaged { .. }), "{error:?}");
}
