//! Tests of the engine through its port.

mod asof;
mod delta;
mod exact;
mod far_times;
mod lineage;
mod locality;
mod overflow;
mod spans;
mod spill;
mod sql;

use crate::{Limits, LocalEngine};
use arrow::array::RecordBatch;
use pelton_query::{Catalog, Engine, QueryError, Relation, collect};
use std::sync::Arc;

fn engine() -> LocalEngine {
    LocalEngine::new(&Limits::default()).expect("default limits make an engine")
}

/// Binds a batch to a name.
fn table(name: &str, batch: &RecordBatch) -> Catalog {
    with(Catalog::default(), name, batch)
}

fn with(catalog: Catalog, name: &str, batch: &RecordBatch) -> Catalog {
    catalog.with(name, Relation::Batches(batch.schema(), vec![batch.clone()]))
}

async fn rows(engine: &LocalEngine, catalog: &Catalog, sql: &str) -> Result<Vec<RecordBatch>, QueryError> {
    collect(engine.query(catalog, sql).await?).await
}

/// The result as text, a row a line, values separated by `|`.
async fn text(engine: &LocalEngine, catalog: &Catalog, sql: &str) -> String {
    let batches = rows(engine, catalog, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let mut out = String::new();
    for batch in &batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| arrow::util::display::ArrayFormatter::try_new(column, &Default::default()).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let values: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
            out.push_str(&values.join("|"));
            out.push('\n');
        }
    }
    out
}

fn batch(columns: Vec<(&str, arrow::array::ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn times(values: Vec<Option<i64>>) -> arrow::array::ArrayRef {
    Arc::new(arrow::array::TimestampMicrosecondArray::from(values).with_timezone("UTC"))
}

fn ints(values: Vec<Option<i64>>) -> arrow::array::ArrayRef {
    Arc::new(arrow::array::Int64Array::from(values))
}

fn texts(values: Vec<Option<&str>>) -> arrow::array::ArrayRef {
    Arc::new(arrow::array::StringArray::from(values))
}
