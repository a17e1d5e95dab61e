//! The online store: the newest rows of each entity of one feature table version, in one immutable file.
//!
//! An entity has the newest row that was known when the file was made, and those that become known later: with them every later request
//! finds what an as-of join at its time finds.
//!
//! The file is a redb database with two tables. `meta` holds a header (JSON: format, columns, `ttl`). `rows` maps the entity, in
//! Arrow's row format, to a checksum, the row's times, and the features in Arrow's row format. The newest row of an entity has the entity as
//! its key, older ones have it and a number behind it: Arrow's row format is such that no entity begins with another. The format number in the header
//! stands for all of that, Arrow's row format included; a test keeps a file of each format readable. Behind the database comes a
//! trailer with the digest of all bytes before it: redb panics on some damages, so damaged bytes must never reach it.
//!
//! A file is written beside its place and renamed into it when it is whole, so that a reader never sees half of one.

mod sealed;

use crate::table::FeatureTable;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{Field, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};
use pelton_base::fail::{self, Point};
use pelton_base::{Digest, Report};
use pelton_query::types;
use redb::{Builder, Database, Durability, ReadOnlyDatabase, ReadOnlyTable, ReadableDatabase, TableDefinition};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The format that is written; the only one that is read.
const FORMAT: u32 = 1;

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");

/// The most memory that a store keeps pages in; the rest is the operating system's page cache.
const CACHE_BYTES_MAX: usize = 64 << 20;

/// The most rows of one write transaction, which bounds the pages that are held back until it commits.
const ROWS_PER_COMMIT_MAX: usize = 100_000;

/// Checksum, time and `known_at`, eight bytes each, before the features of a stored row.
const PREFIX_BYTES: usize = 24;

/// What keeps an online store from being built, opened or asked.
#[derive(Debug, thiserror::Error)]
pub enum OnlineError {
    /// The file is missing, foreign, of another format, or not what was written.
    #[error("the online store {} is damaged: {reason}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file cannot be written or read.
    #[error("the online store {} cannot be used", .path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        source: std::io::Error,
    },
    /// Rows or entities do not have the columns and types of the feature table.
    #[error("{what}")]
    Shape {
        /// What differs.
        what: String,
    },
}

impl OnlineError {
    /// The report of the error; `subject` is what needs the store, for example "model `fraud`".
    pub fn report(&self, subject: &str) -> Report {
        match self {
            OnlineError::Damaged { path, reason } => {
                let message = format!("{subject} cannot read its online features");
                Report::error("damaged-artifact", message).note(format!("{}: {reason}", path.display()))
            }
            OnlineError::Storage { path, source } => {
                let code =
                    if source.kind() == std::io::ErrorKind::StorageFull { "disk-full" } else { "storage-failed" };
                let message = format!("{subject} cannot use its online features");
                Report::error(code, message).note(format!("{}: {source}", path.display()))
            }
            OnlineError::Shape { what } => Report::error("internal", format!("{subject}: {what}")),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    table: String,
    entity: Vec<HeaderColumn>,
    features: Vec<HeaderColumn>,
    ttl_us: Option<i64>,
    rows: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct HeaderColumn {
    name: String,
    #[serde(rename = "type")]
    data_type: String,
}

fn header_columns<'a>(fields: impl IntoIterator<Item = &'a Field>) -> Vec<HeaderColumn> {
    let column = |f: &Field| HeaderColumn { name: f.name().clone(), data_type: types::name(f.data_type()) };
    fields.into_iter().map(column).collect()
}

fn fields_of(columns: &[HeaderColumn]) -> Result<Vec<Field>, String> {
    columns.iter().map(|column| Ok(Field::new(&column.name, types::parse(&column.data_type)?, true))).collect()
}

fn converter(fields: &[Field]) -> Result<RowConverter, arrow::error::ArrowError> {
    RowConverter::new(fields.iter().map(|field| SortField::new(field.data_type().clone())).collect())
}

/// The first half of the XXH3-128 of key and value: finds a value that was damaged, or stands under another key.
fn checksum(key: &[u8], rest: &[u8]) -> [u8; 8] {
    (Digest::of(rest).0 as u64 ^ (Digest::of(key).0 as u64).rotate_left(1)).to_le_bytes()
}

/// A stored row: its key and its value.
type Row = (Box<[u8]>, Box<[u8]>);

/// The stored bytes of a row that counts.
type Stored = Option<redb::AccessGuard<'static, &'static [u8]>>;

/// Writes an online store, batch by batch.
///
/// Give it the rows of [`latest_sql`](crate::latest_sql) in their order; rows with a null in entity or time are skipped.
pub struct OnlineBuilder {
    table: FeatureTable,
    entity: Vec<Field>,
    features: Vec<Field>,
    keys: RowConverter,
    values: RowConverter,
    /// `None` once the file is in its place.
    database: Option<Database>,
    waiting: Vec<Row>,
    /// The entity of the last row, and how many rows it has.
    last: (Box<[u8]>, u32),
    entities: u64,
    path: PathBuf,
    partial: PathBuf,
}

impl OnlineBuilder {
    /// Begins a file that will stand at `path`; a file that stands there already stays until [`OnlineBuilder::finish`].
    pub fn create(path: &Path, table: &FeatureTable) -> Result<Self, OnlineError> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let storage = |source| OnlineError::Storage { path: partial.clone(), source };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(storage)?;
        }
        // What a killed run left.
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(storage(error)),
            _ => {}
        }
        let entity = table.entity.iter().map(|name| field_of(table, name)).collect::<Result<Vec<_>, _>>()?;
        let features: Vec<Field> = table.features().into_iter().cloned().collect();
        let shape = |error: arrow::error::ArrowError| OnlineError::Shape { what: error.to_string() };
        let (keys, values) = (converter(&entity).map_err(shape)?, converter(&features).map_err(shape)?);
        let database = Builder::new().set_cache_size(CACHE_BYTES_MAX).create(&partial);
        let database = Some(database.map_err(|error| failed(&partial, error.into()))?);
        let table = table.clone();
        Ok(OnlineBuilder {
            table,
            entity,
            features,
            keys,
            values,
            database,
            waiting: Vec::new(),
            last: (Box::default(), 0),
            entities: 0,
            path: path.to_path_buf(),
            partial,
        })
    }

    /// Adds rows; their columns are found by name.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<(), OnlineError> {
        let shape = |error: arrow::error::ArrowError| OnlineError::Shape { what: error.to_string() };
        let entity = columns_of(batch, &self.entity)?;
        let features = columns_of(batch, &self.features)?;
        let times = times_of(batch, &self.table.time)?;
        let known = self.table.known_at.as_ref().map(|name| times_of(batch, name)).transpose()?;
        let keys = self.keys.convert_columns(&entity).map_err(shape)?;
        let values =
            if features.is_empty() { None } else { Some(self.values.convert_columns(&features).map_err(shape)?) };
        for row in 0..batch.num_rows() {
            let is_whole = entity.iter().chain([&times]).chain(&known).all(|column| column.is_valid(row));
            if !is_whole {
                continue;
            }
            let time_of = |column: &ArrayRef| column.as_primitive::<TimestampMicrosecondType>().value(row);
            let time_us = time_of(&times);
            let visible_us = known.as_ref().map_or(time_us, |known| time_of(known).max(time_us));
            let key = self.key(keys.row(row).data());
            let features = values.as_ref().map(|values| values.row(row));
            let features = features.as_ref().map_or(&[][..], |row| row.data());
            let mut value = Vec::with_capacity(PREFIX_BYTES + features.len());
            value.extend_from_slice(&[0; 8]);
            value.extend_from_slice(&time_us.to_le_bytes());
            value.extend_from_slice(&visible_us.to_le_bytes());
            value.extend_from_slice(features);
            let sum = checksum(&key, &value[8..]);
            value[..8].copy_from_slice(&sum);
            self.waiting.push((key, value.into_boxed_slice()));
            if self.waiting.len() >= ROWS_PER_COMMIT_MAX {
                self.commit(Durability::None)?;
            }
        }
        Ok(())
    }

    /// The key of the next row of an entity.
    fn key(&mut self, entity: &[u8]) -> Box<[u8]> {
        if self.last.1 > 0 && *self.last.0 == *entity {
            self.last.1 += 1;
        } else {
            self.last = (entity.into(), 1);
            self.entities += 1;
        }
        nth(entity, self.last.1 - 1).into()
    }

    /// Writes the header, syncs, and puts the file in its place; gives the number of entities.
    pub fn finish(mut self) -> Result<u64, OnlineError> {
        self.commit(Durability::None)?;
        let header = Header {
            format: FORMAT,
            table: self.table.name.to_string(),
            entity: header_columns(&self.entity),
            features: header_columns(&self.features),
            ttl_us: self.table.ttl_us,
            rows: self.entities,
        };
        let header = serde_json::to_vec(&header).expect("a header has only texts and numbers");
        self.write(Durability::Immediate, |transaction| {
            transaction.open_table(ROWS)?;
            transaction.open_table(META)?.insert("header", header.as_slice())?;
            Ok(())
        })?;
        drop(self.database.take());
        sealed::seal(&self.partial, &self.path)
            .map_err(|source| OnlineError::Storage { path: self.path.clone(), source })?;
        Ok(self.entities)
    }

    fn commit(&mut self, durability: Durability) -> Result<(), OnlineError> {
        let mut rows = std::mem::take(&mut self.waiting);
        rows.sort_unstable();
        let mut twice = false;
        self.write(durability, |transaction| {
            let mut table = transaction.open_table(ROWS)?;
            for (key, value) in &rows {
                twice |= table.insert(&**key, &**value)?.is_some();
            }
            Ok(())
        })?;
        if twice {
            return Err(OnlineError::Shape {
                what: format!("`{}` gave the rows of an entity in two places", self.table.name),
            });
        }
        Ok(())
    }

    fn write(
        &self,
        durability: Durability,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), OnlineError> {
        let database = self.database.as_ref().expect("the database is open until the store is finished");
        let storage = |source| OnlineError::Storage { path: self.partial.clone(), source };
        fail::before(Point::OnlineWrite).map_err(storage)?;
        let all = || -> Result<(), redb::Error> {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(durability)?;
            change(&transaction)?;
            transaction.commit()?;
            Ok(())
        };
        all().map_err(|error| failed(&self.partial, error))
    }
}

impl Drop for OnlineBuilder {
    fn drop(&mut self) {
        if self.database.take().is_some() {
            // A file that was given up; one that cannot be removed is removed by the next build.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// What was found for an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Found {
    /// Its newest row.
    Yes,
    /// There is no row.
    No,
    /// Its newest row is older than the table's `ttl`.
    Expired,
    /// None of its rows was known yet at the asked time; what was known before the store was made is not kept.
    Later,
}

/// The answer for some entities: a row each, all null where nothing was found.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// The features, in the table's order.
    pub features: RecordBatch,
    /// What was found, row by row.
    pub found: Vec<Found>,
}

/// An open online store. Lookups run at the same time on any thread.
pub struct OnlineStore {
    path: PathBuf,
    entity: Vec<Field>,
    features: SchemaRef,
    ttl_us: Option<i64>,
    rows: u64,
    keys: RowConverter,
    values: RowConverter,
    /// The stored bytes of a row without values.
    nulls: Box<[u8]>,
    table: ReadOnlyTable<&'static [u8], &'static [u8]>,
    _database: ReadOnlyDatabase,
}

impl std::fmt::Debug for OnlineStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnlineStore").field("path", &self.path).field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl OnlineStore {
    /// Builds the store at `path` from the newest row of each entity; gives the number of entities.
    pub fn build<'a>(
        path: &Path,
        table: &FeatureTable,
        batches: impl IntoIterator<Item = &'a RecordBatch>,
    ) -> Result<u64, OnlineError> {
        let mut builder = OnlineBuilder::create(path, table)?;
        for batch in batches {
            builder.add(batch)?;
        }
        builder.finish()
    }

    /// Opens the store at `path`, after reading all of it once to see that it is what was written.
    pub fn open(path: &Path) -> Result<Self, OnlineError> {
        let damaged = |reason: String| OnlineError::Damaged { path: path.to_path_buf(), reason };
        let file = sealed::open(path).map_err(|error| failed(path, redb::Error::Io(error)))?;
        let file = file.map_err(|reason| damaged(reason.to_string()))?;
        let read = || -> Result<_, redb::Error> {
            let database = Builder::new().set_cache_size(CACHE_BYTES_MAX).open_read_only_with_backend(file)?;
            let transaction = database.begin_read()?;
            let header = transaction.open_table(META)?.get("header")?.map(|header| header.value().to_vec());
            Ok((header, transaction.open_table(ROWS)?, database))
        };
        let (header, table, database) = read().map_err(|error| failed(path, error))?;
        let header = header.ok_or_else(|| damaged("it has no header".into()))?;
        let header: Header =
            serde_json::from_slice(&header).map_err(|_| damaged("its header cannot be read".into()))?;
        if header.format != FORMAT {
            return Err(damaged(format!("it has format {}, and this version reads {FORMAT}", header.format)));
        }
        let (entity, features) =
            (fields_of(&header.entity).map_err(damaged)?, fields_of(&header.features).map_err(damaged)?);
        let arrow = |error: arrow::error::ArrowError| damaged(error.to_string());
        let (keys, values) = (converter(&entity).map_err(arrow)?, converter(&features).map_err(arrow)?);
        let nulls: Vec<ArrayRef> = features.iter().map(|field| new_null_array(field.data_type(), 1)).collect();
        let nulls: Box<[u8]> = match nulls.is_empty() {
            true => Box::default(),
            false => values.convert_columns(&nulls).map_err(arrow)?.row(0).data().into(),
        };
        Ok(OnlineStore {
            path: path.to_path_buf(),
            entity,
            features: Arc::new(Schema::new(features)),
            ttl_us: header.ttl_us,
            rows: header.rows,
            keys,
            values,
            nulls,
            table,
            _database: database,
        })
    }

    /// The entity columns, in the order in which [`OnlineStore::lookup`] wants them.
    pub fn entity(&self) -> &[Field] {
        &self.entity
    }

    /// The features' columns.
    pub fn features(&self) -> &SchemaRef {
        &self.features
    }

    /// How many entities there are.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The newest rows of some entities as of `now_us`, microseconds since the epoch: one array an entity column, all of one length.
    ///
    /// A row counts when it was visible by `now_us` and is not older than the table's `ttl`. Fails when the types differ from
    /// [`OnlineStore::entity`], or when the file is damaged.
    pub fn lookup(&self, entities: &[ArrayRef], now_us: i64) -> Result<Lookup, OnlineError> {
        let now_us = std::iter::repeat_n(now_us, entities.first().map_or(0, |column| column.len()));
        self.lookup_at(entities, now_us)
    }

    /// As [`OnlineStore::lookup`], each row as of its own time.
    pub fn lookup_at(
        &self,
        entities: &[ArrayRef],
        times_us: impl IntoIterator<Item = i64>,
    ) -> Result<Lookup, OnlineError> {
        let shape = |what: String| OnlineError::Shape { what };
        let given = || entities.iter().map(|column| types::name(column.data_type())).collect::<Vec<_>>().join(", ");
        let fits = entities.len() == self.entity.len()
            && entities.iter().zip(&self.entity).all(|(column, field)| column.data_type() == field.data_type());
        if !fits {
            let wanted: Vec<_> = self.entity.iter().map(|field| types::name(field.data_type())).collect();
            return Err(shape(format!("an entity is ({}), not ({})", wanted.join(", "), given())));
        }
        let keys = self.keys.convert_columns(entities).map_err(|error| shape(error.to_string()))?;
        let rows = keys.num_rows();
        let mut found = Vec::with_capacity(rows);
        let mut values = Vec::with_capacity(rows);
        let mut times_us = times_us.into_iter();
        for row in 0..rows {
            let now_us = times_us.next().ok_or_else(|| shape("there are fewer times than entities".into()))?;
            let (answer, value) = self.row(keys.row(row).data(), now_us)?;
            found.push(answer);
            values.push(value);
        }
        let columns = if self.features.fields().is_empty() {
            Vec::new()
        } else {
            let parser = self.values.parser();
            let stored = values.iter().map(|value| {
                let bytes = value.as_ref().map_or(&*self.nulls, |value| &value.value()[PREFIX_BYTES..]);
                parser.parse(bytes)
            });
            self.values.convert_rows(stored).map_err(|error| self.damaged(error.to_string()))?
        };
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let features = RecordBatch::try_new_with_options(self.features.clone(), columns, &options);
        Ok(Lookup { features: features.map_err(|error| self.damaged(error.to_string()))?, found })
    }

    fn row(&self, entity: &[u8], now_us: i64) -> Result<(Found, Stored), OnlineError> {
        // Rows that are not known yet come before the one that is.
        for number in 0.. {
            let key = nth(entity, number);
            let Some(guard) = self.table.get(&*key).map_err(|error| failed(&self.path, error.into()))? else {
                return Ok((if number == 0 { Found::No } else { Found::Later }, None));
            };
            let value = guard.value();
            if value.len() < PREFIX_BYTES || checksum(&key, &value[8..]) != value[..8] {
                return Err(self.damaged("a row is not what was written".into()));
            }
            let at = |at: usize| i64::from_le_bytes(value[at..at + 8].try_into().expect("the slice has eight bytes"));
            let (time_us, visible_us) = (at(8), at(16));
            if visible_us > now_us {
                continue;
            }
            if self.ttl_us.is_some_and(|ttl_us| now_us.saturating_sub(time_us) > ttl_us) {
                return Ok((Found::Expired, None));
            }
            return Ok((Found::Yes, Some(guard)));
        }
        Ok((Found::Later, None))
    }

    fn damaged(&self, reason: String) -> OnlineError {
        OnlineError::Damaged { path: self.path.clone(), reason }
    }
}

/// The key of an entity's row: the entity itself for the newest one, with a number behind it for the others.
fn nth(entity: &[u8], number: u32) -> Cow<'_, [u8]> {
    match number {
        0 => entity.into(),
        _ => [entity, &number.to_be_bytes()].concat().into(),
    }
}

fn field_of(table: &FeatureTable, name: &str) -> Result<Field, OnlineError> {
    let missing = |_| OnlineError::Shape { what: format!("`{}` has no column `{name}`", table.name) };
    table.schema.field_with_name(name).cloned().map_err(missing)
}

fn columns_of(batch: &RecordBatch, fields: &[Field]) -> Result<Vec<ArrayRef>, OnlineError> {
    let column = |field: &Field| match batch.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => Ok(column.clone()),
        Some(column) => {
            let (found, wanted) = (column.data_type(), field.data_type());
            Err(OnlineError::Shape { what: format!("`{}` is {found}, not {wanted}", field.name()) })
        }
        None => Err(OnlineError::Shape { what: format!("there is no column `{}`", field.name()) }),
    };
    fields.iter().map(column).collect()
}

fn times_of(batch: &RecordBatch, name: &str) -> Result<ArrayRef, OnlineError> {
    Ok(columns_of(batch, &[Field::new(name, types::timestamp(), true)])?.remove(0))
}

/// What the library's error means here: the disk's fault, or the file's.
fn failed(path: &Path, error: redb::Error) -> OnlineError {
    match error {
        redb::Error::Io(source) if source.kind() == std::io::ErrorKind::NotFound => {
            OnlineError::Damaged { path: path.to_path_buf(), reason: "it is missing".into() }
        }
        redb::Error::Io(source)
            if !matches!(source.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof) =>
        {
            OnlineError::Storage { path: path.to_path_buf(), source }
        }
        // The library's words say what it found in the file ("invalid magic number"); they go to a note.
        other => OnlineError::Damaged { path: path.to_path_buf(), reason: other.to_string().to_lowercase() },
    }
}

#[cfg(test)]
#[path = "tests/online.rs"]
mod tests;
