//! Staged files: what is written is what is read back, what is given up is gone, what fails says why.

use super::warehouse;
use crate::{StageOptions, StageWriter, TableDigest, Warehouse};
use arrow::array::*;
use arrow::compute::concat_batches;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

fn rows(start: i64, count: i64) -> RecordBatch {
    let ids = Int64Array::from_iter_values(start..start + count);
    let names = StringViewArray::from_iter_values((start..start + count).map(|i| format!("name number {}", i % 10)));
    RecordBatch::try_from_iter([("id", Arc::new(ids) as ArrayRef), ("name", Arc::new(names))]).unwrap()
}

fn writer(warehouse: &Warehouse, options: StageOptions) -> StageWriter {
    StageWriter::new(warehouse, "tables/orders", "part-abc", rows(0, 0).schema(), options).unwrap()
}

fn read(path: &Path) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let schema = reader.schema().clone();
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

#[test]
fn rows_come_back_from_files_cut_by_rows() {
    let (folder, warehouse) = warehouse();
    let options = StageOptions { rows_per_file_max: 30, row_group_rows: 7, ..StageOptions::default() };
    let mut stage = writer(&warehouse, options);
    stage.write(&rows(0, 50)).unwrap();
    stage.write(&rows(50, 25)).unwrap();
    let staged = stage.finish().unwrap();

    let found: Vec<_> = staged.files.iter().map(|file| (file.path.as_str(), file.rows)).collect();
    assert_eq!(found, [("part-abc-0.parquet", 30), ("part-abc-1.parquet", 30), ("part-abc-2.parquet", 15)]);
    assert_eq!((staged.rows, staged.bytes), (75, staged.files.iter().map(|file| file.bytes).sum()));
    let mut digest = TableDigest::new(&rows(0, 0).schema()).unwrap();
    let mut next = 0;
    for file in &staged.files {
        let path = folder.path().join("tables/orders").join(&file.path);
        assert_eq!(fs::metadata(&path).unwrap().len(), file.bytes);
        let batch = read(&path);
        let ids = batch.column(0).as_primitive::<arrow::datatypes::Int64Type>();
        assert!(ids.values().iter().copied().eq(next..next + file.rows as i64));
        let stats: serde_json::Value = serde_json::from_str(file.stats.as_deref().unwrap()).unwrap();
        assert_eq!(stats["minValues"]["id"], next);
        assert_eq!(stats["numRecords"], file.rows);
        next += file.rows as i64;
        digest.add(&batch).unwrap();
    }
    assert_eq!(digest.finish(), staged.digest);
}

#[test]
fn files_are_cut_by_size() {
    let (_folder, warehouse) = warehouse();
    let mut stage = writer(&warehouse, StageOptions { bytes_per_file_max: 64 << 10, ..StageOptions::default() });
    stage.write(&rows(0, 60_000)).unwrap();
    let staged = stage.finish().unwrap();
    assert!(staged.files.len() > 2, "{:?}", staged.files);
    assert_eq!(staged.rows, 60_000);
    assert!(staged.files.iter().all(|file| file.bytes < 256 << 10), "{:?}", staged.files);
}

#[test]
fn a_table_without_rows_has_no_files() {
    let (folder, warehouse) = warehouse();
    let mut stage = writer(&warehouse, StageOptions::default());
    stage.write(&rows(0, 0)).unwrap();
    let staged = stage.finish().unwrap();
    assert_eq!((staged.files.len(), staged.rows, staged.bytes), (0, 0, 0));
    assert_eq!(staged.digest, TableDigest::new(&rows(0, 0).schema()).unwrap().finish());
    assert!(!folder.path().join("tables/orders").exists());
}

#[test]
fn what_is_given_up_is_deleted() {
    let (folder, warehouse) = warehouse();
    let options = StageOptions { rows_per_file_max: 10, ..StageOptions::default() };
    let files = || fs::read_dir(folder.path().join("tables/orders")).unwrap().count();
    let mut stage = writer(&warehouse, options);
    stage.write(&rows(0, 25)).unwrap();
    assert_eq!(files(), 2);
    stage.abort().unwrap();
    assert_eq!(files(), 0);

    let mut dropped = writer(&warehouse, options);
    dropped.write(&rows(0, 25)).unwrap();
    drop(dropped);
    assert_eq!(files(), 0);
}

#[test]
fn rows_of_other_columns_are_refused() {
    let (_folder, warehouse) = warehouse();
    let mut stage = writer(&warehouse, StageOptions::default());
    let other = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
    assert_eq!(stage.write(&other).unwrap_err().report().code, "internal");
}

#[tokio::test]
async fn a_writer_works_on_a_blocking_thread_of_a_runtime() {
    let (_folder, warehouse) = warehouse();
    let task = tokio::task::spawn_blocking(move || {
        let mut stage = writer(&warehouse, StageOptions { rows_per_file_max: 10, ..StageOptions::default() });
        stage.write(&rows(0, 25)).unwrap();
        stage.finish().unwrap().rows
    });
    assert_eq!(task.await.unwrap(), 25);
}
