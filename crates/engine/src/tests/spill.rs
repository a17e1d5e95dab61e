//! Sorts of more rows than there is memory for: wide rows and narrow ones, by one column and by all.

use super::*;
use arrow::array::{ArrayRef, BooleanArray, StringArray};
use futures::StreamExt;

/// Rows of about `bytes` bytes in two texts, a number and a flag, in no order.
fn scattered(rows: usize, bytes: usize) -> Vec<RecordBatch> {
    let mut state = 11u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 20
    };
    let mut batches = Vec::new();
    for from in (0..rows).step_by(8192) {
        let count = 8192.min(rows - from);
        let mut text = || -> ArrayRef {
            let values = (0..count).map(|_| Some(format!("{:>width$}", next() % 1_000_000, width = bytes / 2)));
            Arc::new(values.collect::<StringArray>())
        };
        let (a, b) = (text(), text());
        let flag: ArrayRef = Arc::new((0..count).map(|row| Some(row % 3 == 0)).collect::<BooleanArray>());
        batches.push(batch(vec![
            ("a", a),
            ("b", b),
            ("n", ints((from..from + count).map(|row| Some(row as i64 % 1000)).collect())),
            ("f", flag),
        ]));
    }
    batches
}

#[tokio::test]
async fn a_sort_of_more_rows_than_memory_spills_whatever_the_rows_and_keys_are() {
    for (rows, bytes) in [(90_000, 500), (300_000, 4)] {
        let batches = scattered(rows, bytes);
        let catalog = Catalog::default().with("t", Relation::Batches(batches[0].schema(), batches));
        for threads in [1, 2] {
            for keys in ["n", "f, n, a, b"] {
                let engine = LocalEngine::new(&Limits { memory_bytes: 64 << 20, threads, spill_dir: None }).unwrap();
                let sql = format!("select * from t order by {keys}");
                let mut stream = engine.query(&catalog, &sql).await.unwrap();
                let mut found = 0;
                while let Some(batch) = stream.batches.next().await {
                    let batch =
                        batch.unwrap_or_else(|error| panic!("{sql}, {bytes} bytes, {threads} threads: {error}"));
                    found += batch.num_rows();
                }
                assert_eq!(found, rows, "{sql}, {bytes} bytes, {threads} threads");
            }
        }
    }
}
