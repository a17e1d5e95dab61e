//! The port to the query engine: what the rest of Pelton may ask of it, in terms of Arrow and SQL alone.
//!
//! The engine crate implements [`Engine`]; nothing else in the workspace names the library behind it. Pelton's own operators
//! are part of the SQL dialect that every implementation offers: `ASOF JOIN`, and scoring functions from the [`Catalog`].

mod catalog;
mod engine;
mod lineage;
mod locality;
pub mod sql;
pub mod types;

pub use catalog::{Catalog, DataFile, Predict, Relation, Scorer};
pub use engine::{
    BatchStream, Commit, Engine, QueryError, RowProgram, TableFiles, TableLocation, Typed, collect, stream_of,
};
pub use lineage::{ColumnLineage, How, Lineage, LineageOrigin};
pub use locality::{LocalColumn, Locality, Origin};
