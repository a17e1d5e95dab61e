//! An endpoint: a request becomes a prediction, the prediction is logged before it is answered, and its receipt leads back to
//! everything it came from.
//!
//! A [`Package`] is what training leaves for serving; [`Pipeline`] is the package compiled: online features by entity, derived
//! columns, model. [`Endpoints`] are the pipelines of one publication, [`Switch`] changes them between two requests without
//! dropping either. [`Log`] keeps every prediction through a kill and moves it into a Delta table in micro-batches;
//! [`Receipts`] finds it again and scores it once more.
//!
//! Nothing here speaks HTTP: that is the api crate. Online features come through the trait [`Features`].

mod column;
mod drain;
mod endpoints;
mod follow;
mod learned;
mod log;
mod logged;
mod package;
mod pipeline;
mod receipt;
mod record;
mod rows;
mod scorer;
mod values;

#[cfg(test)]
mod tests;

pub use column::{ColumnBuilder, Dialect, Wrong};
pub use drain::{
    DrainHold, Drained, abandoned_segments, drain, drain_in_turn, hold_drain, keep_draining, predictions_schema,
    predictions_table,
};
pub use endpoints::{Answer, Endpoint, Endpoints, Loader, Switch, predict};
pub use follow::{Followed, follow};
pub use log::{Log, LogSettings, SegmentInfo};
pub use logged::{Logged, logged_versions};
pub use package::{FeatureColumn, Lookup, PACKAGE_FORMAT, Package, RequestField, TrainedOn, Training};
pub use pipeline::{Features, Found, Looked, Pipeline, Predictor, Scored};
pub use receipt::{FeatureSource, OriginFile, Receipt, ReceiptSource, Receipts, Rescored, TrainingVersion, package_of};
pub use record::{Again, FeatureRecord, Record};
pub use rows::{Column, Mistakes, batch_of, decode_row, decode_rows, invalid_json, json_reason, too_many_rows};
pub use scorer::PipelineScorer;
pub use values::{json_row, write_row, write_value};
