//! Delta Lake logs: what a version of a table consists of, in a form that Spark, Polars and DuckDB read.
//!
//! Tables are written without column mapping, deletion vectors or any other feature that asks more of a reader than version 1.
//! Data files lie in the table's folder before the commit that names them.

use arrow::datatypes::{Schema, SchemaRef};
use deltalake_core::kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TableReference};
use deltalake_core::kernel::{Action, Add, MetadataExt, StructType};
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use pelton_base::fail::{self, Point};
use pelton_query::{Commit, DataFile, QueryError, TableFiles, TableLocation};
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use url::Url;

/// Makes the table consist of exactly the commit's files; gives the version. A table that does already is left as it is.
pub(crate) async fn commit(location: &TableLocation, commit: Commit) -> Result<i64, QueryError> {
    let schema = kernel_schema(&commit.schema)?;
    let info = commit.info.into_iter().map(|(key, value)| (key, value.into()));
    let properties = CommitProperties::default().with_metadata(info).with_cleanup_expired_logs(Some(false));
    let Some(table) = open(location, None).await? else {
        at(Point::DeltaCommit)?;
        let table = DeltaTable::new(builder(location)?.build_storage().map_err(|error| translate(location, error))?);
        let created = CreateBuilder::new()
            .with_log_store(table.log_store())
            .with_columns(schema.fields().cloned())
            .with_save_mode(SaveMode::ErrorIfExists)
            .with_actions(commit.files.iter().map(|file| Action::Add(add(file))))
            .with_commit_properties(properties)
            .await
            .map_err(|error| translate(location, error))?;
        fail::after(Point::DeltaCommitted);
        return Ok(created.version().map_or(0, |version| version as i64));
    };
    let state = table.snapshot().map_err(|error| translate(location, error))?;
    let wanted: BTreeSet<&str> = commit.files.iter().map(|file| file.path.as_str()).collect();
    let mut present = BTreeSet::new();
    let mut actions = Vec::new();
    for file in state.log_data().iter() {
        let path = file.path().to_string();
        if wanted.contains(path.as_str()) {
            present.insert(path);
        } else {
            actions.push(Action::Remove(file.remove_action(true)));
        }
    }
    let added = commit.files.iter().filter(|file| !present.contains(&file.path));
    actions.extend(added.map(|file| Action::Add(add(file))));
    if state.schema() != schema {
        let metadata = state.metadata().clone().with_schema(&schema).map_err(|_| damaged(location))?;
        actions.push(Action::Metadata(metadata));
    }
    if actions.is_empty() {
        return Ok(table.version().map_or(0, |version| version as i64));
    }
    at(Point::DeltaCommit)?;
    let operation = DeltaOperation::Write { mode: SaveMode::Overwrite, partition_by: None, predicate: None };
    let done = CommitBuilder::from(properties)
        .with_actions(actions)
        .build(Some(state as &dyn TableReference), table.log_store(), operation)
        .await
        .map_err(|error| translate(location, error))?;
    fail::after(Point::DeltaCommitted);
    Ok(done.version() as i64)
}

/// Passes a failpoint before a write.
fn at(point: Point) -> Result<(), QueryError> {
    fail::before(point).map_err(|error| crate::error::io(&error))
}

/// The files of a version, or of the newest; `None` when there is no table.
pub(crate) async fn files(location: &TableLocation, version: Option<i64>) -> Result<Option<TableFiles>, QueryError> {
    // Opening makes the folder, and who asks for a table that is not there makes none.
    if folder(location).is_some_and(|folder| !folder.exists()) {
        return Ok(None);
    }
    let Some(table) = open(location, version).await? else { return Ok(None) };
    let state = table.snapshot().map_err(|error| translate(location, error))?;
    let arrow: Schema =
        state.schema().as_ref().try_into_arrow().map_err(|_: arrow::error::ArrowError| damaged(location))?;
    let files = state
        .log_data()
        .iter()
        .map(|file| DataFile {
            path: file.path().to_string(),
            bytes: file.size() as u64,
            rows: file.num_records().unwrap_or(0) as u64,
            // Statistics without a row count would make an unknown count look like none.
            stats: file.stats().filter(|_| file.num_records().is_some()),
            rows_digest: None,
            digest: None,
        })
        .collect();
    Ok(Some(TableFiles { version: state.version() as i64, schema: plain(&arrow), files }))
}

/// The schema as our tables have it: stored types, every column nullable.
fn plain(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let data_type = pelton_query::types::stored(field.data_type()).unwrap_or_else(|| field.data_type().clone());
        arrow::datatypes::Field::new(field.name(), data_type, true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn builder(location: &TableLocation) -> Result<DeltaTableBuilder, QueryError> {
    let url = Url::parse(&location.0).map_err(|error| QueryError::Internal { message: error.to_string() })?;
    if let Ok(folder) = url.to_file_path() {
        std::fs::create_dir_all(&folder).map_err(|error| crate::error::io(&error))?;
    }
    DeltaTableBuilder::from_url(url).map_err(|error| translate(location, error))
}

async fn open(location: &TableLocation, version: Option<i64>) -> Result<Option<DeltaTable>, QueryError> {
    let load = async || {
        let mut builder = builder(location)?;
        if let Some(version) = version {
            builder = builder.with_version(version as u64);
        }
        match builder.load().await {
            Ok(table) => Ok(Some(table)),
            Err(DeltaTableError::NotATable(_)) => Ok(None),
            Err(error) => Err(translate(location, error)),
        }
    };
    match load().await? {
        None if has_log(location) => {
            // What is there now may be the first commit of somebody, which was not there when it was looked for.
            load().await?.map(Some).ok_or_else(|| damaged(location))
        }
        found => Ok(found),
    }
}

/// Whether the table's folder has anything of a log: commits, checkpoints, or the note of the last one. What a process left that died
/// in its first commit is none of these.
fn has_log(location: &TableLocation) -> bool {
    let is_of_log = |name: &str| {
        name == "_last_checkpoint"
            || name.split_once('.').is_some_and(|(version, ending)| {
                version.len() == 20
                    && version.bytes().all(|byte| byte.is_ascii_digit())
                    && (ending == "json" || ending.starts_with("checkpoint.") && ending.ends_with("parquet"))
            })
    };
    folder(location)
        .and_then(|folder| std::fs::read_dir(folder.join("_delta_log")).ok())
        .is_some_and(|entries| entries.flatten().any(|entry| entry.file_name().to_str().is_some_and(is_of_log)))
}

fn kernel_schema(schema: &SchemaRef) -> Result<Arc<StructType>, QueryError> {
    let kernel: StructType = schema
        .as_ref()
        .try_into_kernel()
        .map_err(|error: arrow::error::ArrowError| QueryError::Internal { message: error.to_string() })?;
    Ok(Arc::new(kernel))
}

fn add(file: &DataFile) -> Add {
    Add {
        path: file.path.clone(),
        partition_values: HashMap::new(),
        size: file.bytes as i64,
        modification_time: chrono::Utc::now().timestamp_millis(),
        data_change: true,
        stats: file.stats.clone(),
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
        clustering_provider: None,
    }
}

/// A log that is not what was written; its reader's words about it help nobody who did not write the reader.
fn damaged(location: &TableLocation) -> QueryError {
    let folder = folder(location).map_or_else(|| location.0.clone(), |folder| folder.display().to_string());
    QueryError::Damaged {
        message: format!("the Delta log in `{}/_delta_log` cannot be read", folder.trim_end_matches('/')),
    }
}

/// The table's folder, when it is one of this machine.
fn folder(location: &TableLocation) -> Option<PathBuf> {
    Url::parse(&location.0).ok().and_then(|url| url.to_file_path().ok())
}

fn translate(location: &TableLocation, error: DeltaTableError) -> QueryError {
    match error {
        DeltaTableError::VersionAlreadyExists(_) => QueryError::Conflict,
        DeltaTableError::Transaction { .. } => QueryError::Conflict,
        DeltaTableError::ObjectStore { source } => crate::error::storage(&source),
        DeltaTableError::Io { source } => crate::error::io(&source),
        _ => damaged(location),
    }
}
