//! Which versions the prediction log counts on: a receipt must resolve as long as its prediction is in the log.

use crate::drain::{catalog_of, predictions_table};
use crate::log;
use crate::record::{FeatureRecord, Record};
use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use pelton_base::{NodeName, Report, VersionId};
use pelton_query::{Engine, collect, sql};
use pelton_store::Warehouse;
use std::collections::BTreeSet;

const SUBJECT: &str = "the table of predictions";

/// A model or feature table version that answered logged predictions.
pub type Logged = BTreeSet<(NodeName, VersionId)>;

/// The models' and feature tables' versions that the log's predictions name.
///
/// Segments are read before the table: a segment goes only after the table has its records, so none is missed.
pub async fn logged_versions(engine: &dyn Engine, warehouse: &Warehouse) -> Result<Logged, Report> {
    let folder = warehouse.log_dir();
    let waiting = tokio::task::spawn_blocking(move || in_segments(&folder)).await;
    let mut logged = waiting.map_err(|_| Report::error("internal", "reading the prediction log failed"))??;
    let failed = |error: pelton_query::QueryError| error.report(SUBJECT);
    let table = predictions_table(warehouse);
    let Some(present) = engine.files(&table, None).await.map_err(failed)? else { return Ok(logged) };
    // All predictions of a model in a publication looked their features up in the same versions, so one of them stands for all.
    let text = format!(
        "select model, version, min(features) as features from {} group by model, version, publication, environment",
        sql::ident(crate::drain::TABLE)
    );
    let rows = engine.query(&catalog_of(&table, present.files), &text).await.map_err(failed)?;
    for batch in collect(rows).await.map_err(failed)? {
        let column = |at: usize| {
            cast(batch.column(at), &DataType::Utf8).map_err(|error| {
                Report::error("damaged-table", "the table of predictions has another type").note(error.to_string())
            })
        };
        let (model, version, features) = (column(0)?, column(1)?, column(2)?);
        let text = |column: &arrow::array::ArrayRef, row: usize| match column.is_null(row) {
            true => String::new(),
            false => column.as_string::<i32>().value(row).to_string(),
        };
        for row in 0..batch.num_rows() {
            logged.insert((NodeName::new(text(&model, row)), VersionId(text(&version, row))));
            let looked: Vec<FeatureRecord> = serde_json::from_str(&text(&features, row)).unwrap_or_default();
            logged.extend(looked.into_iter().map(|looked| (looked.table, looked.version)));
        }
    }
    Ok(logged)
}

fn in_segments(folder: &std::path::Path) -> Result<Logged, Report> {
    let mut logged = Logged::new();
    for segment in log::segments(folder)? {
        let read = log::read(&segment.path, |bytes| {
            // What cannot be read is no receipt either.
            if let Ok(record) = Record::from_bytes(bytes) {
                logged.insert((record.model, record.version));
                logged.extend(record.features.into_iter().map(|looked| (looked.table, looked.version)));
            }
            true
        });
        match read {
            Ok(_) => {}
            // Taken in meanwhile: the table has its records.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(log::unwritable(&segment.path, &error)),
        }
    }
    Ok(logged)
}
