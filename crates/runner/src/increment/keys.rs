//! `merge` and `history`: the keys that changed rows of the input touch are built anew, the rows of other keys stay.
//!
//! A merge without `delete` over a SELECT that is a sum over its inputs needs only the new rows: of the row that a key has and those that
//! came, the newest is the newest of all. Otherwise the touched keys are built from all input rows with these keys.

use super::base::{Base, Changed, grown, restrict, whole_name};
use super::intervals::Times;
use super::prune::Keys;
use super::replace::{self, Left, Mask, internal};
use super::{Before, Rows, Stop, Work};
use crate::shape;
use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};
use futures::StreamExt;
use pelton_base::{Digest, thousands};
use pelton_project::Build;
use pelton_query::{Catalog, DataFile, Locality, QueryError, Relation, sql};
use pelton_store::TableDigest;
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// Up to so many keys a table is not built anew, however small it is.
const TOUCHED_MIN: u64 = 100_000;

/// The share of a table's rows from which on building it anew is less work than finding the rows that stay.
const TOUCHED_SHARE: u64 = 3;

const TOUCHED: &str = "pelton_touched";
const BEFORE: &str = "pelton_before";

/// The touched keys are held in this part of `engine.memory`; with more, the table is built anew.
const KEYS_PARTS: u64 = 4;

/// The rows that a table has of them are held in this part of it; where they are larger, they are read a second time.
const ROWS_PARTS: u64 = 8;

/// What a touched key takes beside its values: its hash in a table that is half full.
const KEY_BYTES: u64 = 48;

pub(crate) async fn build(work: &Work<'_>, base: &Base, before: &Before) -> Result<Rows, Stop> {
    let locality = work.locality(&work.sql)?;
    let changed = base.changed(work, before, &locality.inputs)?;
    let keys: Vec<&str> = work.table.increment.key.iter().map(|key| key.value.as_str()).collect();
    let most = TOUCHED_MIN.max(before.version.rows / TOUCHED_SHARE);
    let (touched, (files, staged), is_read_twice) = match newest_of(work, &changed)? {
        Some(new_rows) => {
            let mut touched = Touched::new(work, &keys, most);
            let rows = shape::nested(&work.table.select.sql);
            touched.take(work, &new_rows, &format!("select {} from {rows} as pelton_rows", idents(&keys))).await?;
            let (files, is_read_twice) = from_new_rows(work, before, &touched, new_rows).await?;
            (touched, files, is_read_twice)
        }
        None => {
            let keys = bound_keys(&keys, &locality, &changed)?;
            let touched = touched_by(work, &keys, &locality, &changed, most).await?;
            let files = from_inputs(work, before, &touched, &locality).await?;
            (touched, files, false)
        }
    };
    let mut how = format!("{} {} built", thousands(touched.rows), if touched.rows == 1 { "key" } else { "keys" });
    if is_read_twice {
        how.push_str(", their rows read twice");
    }
    let memory = Some(base.memory(Times::default()));
    Ok(Rows { schema: work.schema.clone(), files, staged, how: Some(how), memory })
}

/// The version's files, and those of them that were staged.
type Files = (Vec<DataFile>, Vec<DataFile>);

/// Builds the touched keys of a merge from the rows that the table has of them, and the new ones. Tells whether those that the table has were
/// read twice, because they were not held.
async fn from_new_rows(
    work: &Work<'_>,
    before: &Before,
    touched: &Touched,
    new_rows: Catalog,
) -> Result<(Files, bool), Stop> {
    if touched.rows == 0 {
        return Ok(((before.version.files.to_vec(), Vec::new()), false));
    }
    let keys: Vec<&str> = work.table.increment.key.iter().map(|key| key.value.as_str()).collect();
    let all = idents(&work.selected.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>());
    let merged = |before_rows: &str| {
        let new = shape::nested(&work.table.select.sql);
        let rows = format!("(select {all} from {new} as pelton_new union all {before_rows})");
        shape::merge(work.table, &work.selected, &rows)
    };
    // Files are smaller than the rows in them: what is too large by their size is not even begun to be held.
    let least = before.version.bytes / before.version.rows.max(1) * touched.rows;
    let hold = Some(work.share_of_memory(ROWS_PARTS)).filter(|most| least <= *most);
    let again = |files: &[DataFile]| {
        let catalog = new_rows.clone().with(BEFORE, work.relation(files)).with(TOUCHED, touched.relation());
        (catalog, merged(&touched.rows_of(BEFORE, &keys, &all)))
    };
    if hold.is_some() {
        let mut left = untouched(work, before, touched, hold).await?;
        let replaced = left.replaced.take();
        let is_read_twice = replaced.is_none();
        let (catalog, sql) = match replaced {
            Some(rows) => {
                let catalog = new_rows.clone().with(BEFORE, Relation::Batches(work.schema.clone(), rows));
                (catalog, merged(&format!("select {all} from {BEFORE}")))
            }
            None => again(&left.touched),
        };
        let new = work.stage(&catalog, &sql, "").await;
        return Ok((replace::together(work, new, Ok(left))?, is_read_twice));
    }
    let (catalog, sql) = again(&touched.files(work, before)?);
    // Neither needs the other.
    let (new, left) = tokio::join!(work.stage(&catalog, &sql, ""), untouched(work, before, touched, None));
    let is_read_twice = left.as_ref().is_ok_and(|left| !left.touched.is_empty());
    Ok((replace::together(work, new, left)?, is_read_twice))
}

/// Builds the touched keys from all rows of the inputs that have them.
async fn from_inputs(work: &Work<'_>, before: &Before, touched: &Touched, locality: &Locality) -> Result<Files, Stop> {
    if touched.rows == 0 {
        return Ok((before.version.files.to_vec(), Vec::new()));
    }
    work.building.progress(&work.node.name, format!("building {} keys", thousands(touched.rows)));
    let keys: Vec<&str> = touched.schema.fields().iter().map(|field| field.name().as_str()).collect();
    let mut catalog = work.catalog.clone().with(TOUCHED, touched.relation());
    for input in &locality.inputs {
        if let Some(columns) = columns_in(locality, &keys, input) {
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            restrict(&mut catalog, input, touched.rows_of(&whole_name(input), &columns, "pelton_all.*"));
        }
    }
    let sql = touched.rows_of(&shape::nested(&work.sql), &keys, "pelton_all.*");
    let (new, left) = tokio::join!(work.stage(&catalog, &sql, ""), untouched(work, before, touched, None));
    replace::together(work, new, left)
}

/// The inputs' new rows, when the newest of them and of the table's own rows is the newest of all.
fn newest_of(work: &Work<'_>, changed: &[Changed]) -> Result<Option<Catalog>, Stop> {
    let table = work.table;
    if table.build != Build::Merge || table.time.is_none() || table.increment.delete.is_some() {
        return Ok(None);
    }
    // What the table keeps of a row has to say as much as the row did. Of nanoseconds it keeps microseconds.
    if work.selected.fields().iter().any(|field| has_nanoseconds(field.data_type())) {
        return Ok(None);
    }
    let Ok(additive) = work.locality(&table.select.sql)?.additive else { return Ok(None) };
    let is_growth = changed.iter().all(|input| additive.contains(&input.name) && input.only_grew());
    Ok(is_growth.then(|| grown(work, &additive, changed)))
}

fn has_nanoseconds(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(unit, _) => *unit == TimeUnit::Nanosecond,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            has_nanoseconds(item.data_type())
        }
        DataType::Struct(fields) => fields.iter().any(|field| has_nanoseconds(field.data_type())),
        _ => false,
    }
}

/// The key columns that every changed input has.
fn bound_keys<'a>(keys: &[&'a str], locality: &Locality, changed: &[Changed]) -> Result<Vec<&'a str>, Stop> {
    let mut bound = keys.to_vec();
    for input in changed {
        bound.retain(|key| column_in(locality, key, &input.name).is_some());
        if bound.is_empty() {
            return Err(Stop::Anew(format!("`{}` changed, and the SQL does not tie its rows to a key", input.name)));
        }
    }
    Ok(bound)
}

/// The one column of an input that has the value of a column of the result.
fn column_in<'a>(locality: &'a Locality, key: &str, input: &str) -> Option<&'a str> {
    let mut origins = locality.column(key)?.origins.iter().filter(|origin| origin.input == input);
    match (origins.next(), origins.next()) {
        (Some(origin), None) if origin.is_equal() => Some(&origin.column),
        _ => None,
    }
}

fn columns_in(locality: &Locality, keys: &[&str], input: &str) -> Option<Vec<String>> {
    keys.iter().map(|key| column_in(locality, key, input).map(str::to_string)).collect()
}

/// The keys of all rows that changed.
async fn touched_by(
    work: &Work<'_>,
    keys: &[&str],
    locality: &Locality,
    changed: &[Changed],
    most: u64,
) -> Result<Touched, Stop> {
    let mut touched = Touched::new(work, keys, most);
    for input in changed {
        let Some(columns) = columns_in(locality, keys, &input.name) else { continue };
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let mut catalog = Catalog::default();
        let select = input.rows(&mut catalog, &columns);
        touched.take(work, &catalog, &select).await?;
    }
    Ok(touched)
}

/// The files of the version before without the rows of touched keys; `hold` keeps so many bytes of those rows.
async fn untouched(work: &Work<'_>, before: &Before, touched: &Touched, hold: Option<u64>) -> Result<Left, Stop> {
    work.building.progress(&work.node.name, "finding the rows that are replaced");
    let columns: Vec<String> = touched.schema.fields().iter().map(|field| field.name().clone()).collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let keys = touched.ranges(work)?;
    let may_hold = |file: &DataFile| keys.may_be_in(file);
    replace::without(work, (&before.version.files, hold), &columns, may_hold, touched.mask()).await
}

fn idents(names: &[&str]) -> String {
    sql::idents(names.iter().copied())
}

/// The hasher of what is a hash already: a part of it.
#[derive(Default)]
struct Uniform(u64);

impl Hasher for Uniform {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not how a digest hashes itself; right nevertheless.
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }
}

/// Distinct keys.
struct Touched {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    hashes: Arc<HashSet<Digest, BuildHasherDefault<Uniform>>>,
    rows: u64,
    most: u64,
    bytes: u64,
    bytes_most: u64,
}

impl Touched {
    fn new(work: &Work<'_>, keys: &[&str], most: u64) -> Self {
        let fields: Vec<_> = keys.iter().filter_map(|key| work.schema.field_with_name(key).ok().cloned()).collect();
        let schema = Arc::new(Schema::new(fields));
        let bytes_most = work.share_of_memory(KEYS_PARTS);
        Touched { schema, batches: Vec::new(), hashes: Arc::default(), rows: 0, most, bytes: 0, bytes_most }
    }

    /// Adds the keys that a SELECT gives, in the order of the key's columns.
    async fn take(&mut self, work: &Work<'_>, catalog: &Catalog, select: &str) -> Result<(), Stop> {
        let stream = work.building.ctx.engine.query(catalog, select).await.map_err(|error| work.failed(&error))?;
        let mut batches = stream.batches;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(|error| work.failed(&error))?;
            self.add(work, &batch)?;
            if self.rows > self.most {
                return Err(Stop::Anew(format!("more than {} keys are touched", thousands(self.most))));
            }
            if self.bytes > self.bytes_most {
                let most = thousands(self.bytes_most / 1_000_000);
                let why = format!("the touched keys take more than {most} MB, a quarter of `engine.memory`");
                return Err(Stop::Anew(why));
            }
        }
        Ok(())
    }

    fn add(&mut self, work: &Work<'_>, batch: &RecordBatch) -> Result<(), Stop> {
        if batch.columns().iter().any(|column| column.null_count() > 0) {
            return Err(Stop::Anew("a changed row has no key".into()));
        }
        let failed = |error: arrow::error::ArrowError| work.failed(&internal(&error));
        let columns = batch.columns().iter().zip(self.schema.fields());
        let columns = columns.map(|(column, field)| cast(column, field.data_type())).collect::<Result<Vec<_>, _>>();
        let batch = RecordBatch::try_new(self.schema.clone(), columns.map_err(failed)?).map_err(failed)?;
        let hashes = TableDigest::new(&self.schema)?.row_hashes(&batch)?;
        let known = Arc::make_mut(&mut self.hashes);
        let is_new: BooleanArray = hashes.into_iter().map(|hash| Some(known.insert(hash))).collect();
        let batch = filter_record_batch(&batch, &is_new).map_err(failed)?;
        self.rows += batch.num_rows() as u64;
        // Once as they came, and once in order.
        self.bytes += 2 * batch.get_array_memory_size() as u64 + KEY_BYTES * batch.num_rows() as u64;
        if batch.num_rows() > 0 {
            self.batches.push(batch);
        }
        Ok(())
    }

    fn relation(&self) -> Relation {
        Relation::Batches(self.schema.clone(), self.batches.clone())
    }

    /// The keys in order, to be looked for in the ranges of files.
    fn ranges(&self, work: &Work<'_>) -> Result<Keys, Stop> {
        Keys::of(&self.schema, &self.batches).map_err(|error| work.failed(&internal(&error)))
    }

    /// The files of the version before that may have a row with one of the keys.
    fn files(&self, work: &Work<'_>, before: &Before) -> Result<Vec<DataFile>, Stop> {
        let keys = self.ranges(work)?;
        Ok(before.version.files.iter().filter(|file| keys.may_be_in(file)).cloned().collect())
    }

    /// A SELECT of `what` of those rows of a relation, there called `pelton_all`, whose `columns` are a touched key.
    fn rows_of(&self, relation: &str, columns: &[&str], what: &str) -> String {
        let pairs = self.schema.fields().iter().zip(columns);
        let on: Vec<String> = pairs
            .map(|(key, column)| {
                format!(
                    "pelton_touched.{} = pelton_all.{}",
                    sql::ident(&format!("pelton_key_{}", key.name())),
                    sql::ident(column)
                )
            })
            .collect();
        let renamed =
            self.schema.fields().iter().map(|key| {
                format!("{} as {}", sql::ident(key.name()), sql::ident(&format!("pelton_key_{}", key.name())))
            });
        // The keys come first: they are what a hash table is made of.
        format!(
            "select {what} from (select {} from {TOUCHED}) as pelton_touched join {relation} as pelton_all on {}",
            renamed.collect::<Vec<_>>().join(", "),
            on.join(" and ")
        )
    }

    /// Marks the rows that have one of the keys.
    fn mask(&self) -> Mask {
        let (schema, hashes) = (self.schema.clone(), self.hashes.clone());
        Arc::new(move |batch| {
            let columns = schema.fields().iter().map(|field| batch.column_by_name(field.name()).cloned());
            let columns: Vec<_> = columns.collect::<Option<_>>().ok_or_else(|| internal(&"a key column is missing"))?;
            let keys = RecordBatch::try_new(schema.clone(), columns).map_err(|error| internal(&error))?;
            let digest = TableDigest::new(&schema).and_then(|mut digest| digest.row_hashes(&keys));
            let rows = digest.map_err(|error| QueryError::Internal { message: error.to_string() })?;
            Ok(rows.iter().map(|hash| Some(hashes.contains(hash))).collect())
        })
    }
}
