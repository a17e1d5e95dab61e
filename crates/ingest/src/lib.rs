//! Sources become batches of rows, and quarantined rows with their reasons.
//!
//! [`list`] finds a source's files, [`resolve_schema`] tells its columns, [`take_in`] reads files into a [`Sink`], [`read_again`]
//! reads rejected rows once more. Every row of a file is handed on, rejected with its place and reason, or dropped by a declared
//! rule and counted. The crate reads files and nothing else: where rows and rejected rows are kept, and which files are new, is the
//! caller's business. All of it is plain blocking code; the caller runs it off the threads that serve.

mod error;
mod list;
mod read;

mod infer;
mod json;
mod keys;
mod parse;

mod block;
mod column;
mod csv;
mod ndjson;
mod parquet;

mod pipeline;
mod schema;

mod again;

#[cfg(test)]
mod tests;

pub use again::{Again, Origin, is_whole, read_again};
pub use block::{FileCounts, Rejected};
pub use error::IngestError;
pub use keys::KeySet;
pub use list::{Compression, InputFile, is_named, list};
pub use pipeline::{BATCH_ROWS, BLOCKS_WAITING_MAX, Intake, Sink, TakeIn, take_in};
pub use read::digest_file;
pub use schema::{Known, Look, Narrowed, narrowed, resolve_schema};
