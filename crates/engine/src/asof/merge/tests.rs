//! The merge over batches of any size: what it holds, and that its matches do not depend on where batches end.

use super::*;
use arrow::array::{AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Int64Type, Schema};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, TrackConsumersPool, UnboundedMemoryPool};
use datafusion::physical_expr::expressions::col;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use pelton_base::Seed;
use std::num::NonZeroUsize;
use std::sync::Weak;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Key, time, value.
type Row = (i64, i64, i64);

fn schema(value: &str) -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, true),
        Field::new("at", DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None), true),
        Field::new(value, DataType::Int64, true),
    ]))
}

fn batch_of(value: &str, rows: &[Row]) -> RecordBatch {
    let column = |of: fn(&Row) -> i64| rows.iter().map(of).collect::<Vec<_>>();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(column(|row| row.0))),
        Arc::new(TimestampMicrosecondArray::from(column(|row| row.1))),
        Arc::new(Int64Array::from(column(|row| row.2))),
    ];
    RecordBatch::try_new(schema(value), columns).unwrap()
}

fn pool() -> Arc<TrackConsumersPool<UnboundedMemoryPool>> {
    Arc::new(TrackConsumersPool::new(UnboundedMemoryPool::default(), NonZeroUsize::MIN))
}

fn merge(
    left: impl Iterator<Item = RecordBatch> + Send + 'static,
    right: impl Iterator<Item = RecordBatch> + Send + 'static,
    pool: &Arc<TrackConsumersPool<UnboundedMemoryPool>>,
) -> Merge {
    let stream = |batches: Box<dyn Iterator<Item = RecordBatch> + Send>, schema| -> SendableRecordBatchStream {
        Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(batches.map(Ok))))
    };
    let of = |name: &str, value: &str| col(name, &schema(value)).unwrap();
    let on = Match {
        keys: vec![(of("key", "id"), of("key", "value"))],
        left_time: of("at", "id"),
        right_time: of("at", "value"),
        visible_at: of("at", "value"),
        ttl: None,
    };
    let fields = [schema("id"), schema("value")].iter().flat_map(|schema| schema.fields().to_vec()).collect::<Vec<_>>();
    let pool: Arc<dyn MemoryPool> = pool.clone();
    let reservation = MemoryConsumer::new("merge").register(&pool);
    Merge::new(
        stream(Box::new(left), schema("id")),
        stream(Box::new(right), schema("value")),
        on,
        Arc::new(Schema::new(fields)),
        reservation,
    )
    .unwrap()
}

/// The ids of the left rows with the values that they matched.
async fn all(mut merge: Merge) -> Vec<(i64, Option<i64>)> {
    let mut found = Vec::new();
    while let Some(batch) = merge.next_batch().await.unwrap() {
        let values = batch.column(5).as_primitive::<Int64Type>().iter();
        found.extend(batch.column(2).as_primitive::<Int64Type>().values().iter().copied().zip(values));
    }
    found
}

#[tokio::test]
async fn what_is_held_is_bounded_by_the_left_batch_however_long_the_right_side_is() {
    const LABELS: i64 = 5_000;
    const FEATURES: i64 = 2_000_000;
    const IN_BATCH: i64 = 1_000;
    // The labels lie all over the right side.
    let labels: Vec<Row> = (0..LABELS).map(|id| (0, id * (FEATURES / LABELS), id)).collect();
    let (made, held_max) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let right = (0..FEATURES / IN_BATCH).map({
        let (made, held_max) = (made.clone(), held_max.clone());
        let mut given: Vec<Weak<dyn Array>> = Vec::new();
        move |number| {
            given.retain(|column| column.strong_count() > 0);
            held_max.fetch_max(given.len(), Relaxed);
            made.fetch_add(1, Relaxed);
            let rows: Vec<Row> = (number * IN_BATCH..(number + 1) * IN_BATCH).map(|at| (0, at, at * 2)).collect();
            let batch = batch_of("value", &rows);
            given.push(Arc::downgrade(batch.column(2)));
            batch
        }
    });
    let pool = pool();
    let mut merge = merge([batch_of("id", &labels)].into_iter(), right, &pool);
    let joined = merge.next_batch().await.unwrap().unwrap();
    let values = joined.column(5).as_primitive::<Int64Type>();
    for (label, value) in labels.iter().zip(values.iter()) {
        assert_eq!(value, Some(label.1 * 2));
    }
    assert!(made.load(Relaxed) > 1_900, "most of the right side was read");
    assert_eq!(held_max.load(Relaxed), 0, "a batch that was read is gone when the next one is made");
    // Three columns of eight bytes a matched row, and less than that for what a batch costs beside its rows.
    let (peak, matched) = (pool.metrics()[0].peak, LABELS as usize * 3 * 8);
    assert!(peak >= matched / 2 && peak < 2 * matched, "{peak} bytes for {matched}");
    assert!(merge.next_batch().await.unwrap().is_none());
    assert!(pool.metrics()[0].reserved < 2_000, "between batches only the best match is kept");
}

#[tokio::test]
async fn where_batches_end_makes_no_difference() {
    for round in 0..40 {
        let seed = Seed(round);
        let rows = |count: u64, from: u64| -> Vec<Row> {
            let draw = |at: u64, below: u64| (seed.at(from + at) % below) as i64;
            let mut rows: Vec<Row> = (0..count).map(|row| (draw(3 * row, 6), draw(3 * row + 1, 90), 0)).collect();
            rows.sort_unstable();
            rows.iter_mut().enumerate().for_each(|(at, row)| row.2 = at as i64 % 7 + 10 * at as i64);
            rows
        };
        let (labels, features) = (rows(300, 0), rows(round * 17, 1_000_000));
        // Of features with equal times the one with the greatest value, which is the last.
        let newest = |label: &Row| features.iter().rfind(|row| row.0 == label.0 && row.1 <= label.1).map(|row| row.2);
        let wanted: Vec<_> = labels.iter().map(|label| (label.2, newest(label))).collect();
        for (left_rows, right_rows) in [(1000, 1000), (300, 1), (150, 2), (7, 3), (1, 1), (64, 65)] {
            let parts = |rows: &[Row], value: &str, size: usize| {
                rows.chunks(size).map(|rows| batch_of(value, rows)).collect::<Vec<_>>().into_iter()
            };
            let merge = merge(parts(&labels, "id", left_rows), parts(&features, "value", right_rows), &pool());
            assert_eq!(all(merge).await, wanted, "round {round}, batches of {left_rows} and {right_rows}");
        }
    }
}
