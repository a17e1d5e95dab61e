//! The state database, artifacts and staged Parquet of a warehouse
