//! Features: which columns of which feature tables a model uses, the SELECT that joins them as of each row's time, and the
//! online store that answers the same question for one entity in microseconds.
//!
//! Both follow one rule: a row is visible from the later of its time and its `known_at`; of the visible rows of an entity the
//! newest by time counts, then the one that became visible last, then the greatest by its values; rows older than the table's `ttl`
//! do not count. Rows with a null in entity, time or `known_at` are never used.

mod online;
mod table;
mod training;

pub use online::{Found, Lookup, OnlineBuilder, OnlineError, OnlineStore};
pub use table::{FeatureTable, ResolvedUse, Taken, columns_of, resolve};
pub use training::{AsOf, Labels, latest_sql, training_sql};
