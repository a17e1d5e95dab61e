//! Parquet files: columns by name, cast to the source's types where that loses nothing.

use crate::block::{Block, FileEnd, Halt, Out, RAW_BYTES_MAX, Raws, Rejected, Trouble, Troubles, keys, shorten};
use crate::column::ColumnBuilder;
use crate::error::{IngestError, looks_like, unreadable};
use crate::list::{Compression, InputFile};
use crate::parse;
use crate::read;
use crate::schema::{Plan, Question, Seen, Verdict, twice};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, RecordBatch, StructArray, new_null_array};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{CastOptions, can_cast_types, cast_with_options, filter_record_batch, nullif};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use arrow::util::display::array_value_to_string;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type as Physical;
use parquet::errors::ParquetError;
use pelton_base::Digest;
use pelton_query::types;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Tells a file's columns and types.
pub(crate) fn look(file: &InputFile, _: &Question) -> Result<Seen, IngestError> {
    let (opened, _) = open(file, false)?;
    let schema = Arc::clone(builder(file, opened)?.schema());
    if let Some(report) = twice(file, schema.fields().iter().map(|field| field.name().as_str())) {
        return Err(report.into());
    }
    let (mut seen, mut strange) = (Seen::new(), Vec::new());
    for field in schema.fields() {
        match types::stored(field.data_type()) {
            // Without values as long as the type is that of nothing.
            Some(_) if field.data_type() == &DataType::Null => seen.push((field.name().clone(), DataType::Null)),
            Some(data_type) => seen.push((field.name().clone(), data_type)),
            None if can_cast_types(field.data_type(), &DataType::Utf8) => {
                seen.push((field.name().clone(), DataType::Utf8))
            }
            None => strange.push(format!("`{}` ({})", field.name(), types::name(field.data_type()))),
        }
    }
    match strange.is_empty() {
        true => Ok(seen),
        false => Err(unreadable(file, format!("`{}` has columns of types that a table cannot hold", file.path))
            .note(strange.join(", "))
            .into()),
    }
}

/// Opens a file; one that is compressed as a whole is unpacked to a temporary file first, as Parquet is read from its end.
/// The digest is taken only when wanted: it needs a pass of its own.
fn open(file: &InputFile, want_digest: bool) -> Result<(File, Digest), IngestError> {
    let failed = |error| IngestError::read(file, error);
    if file.compression == Compression::None {
        let digest = if want_digest { read::digest_file(file)? } else { Digest::default() };
        return Ok((File::open(&file.absolute).map_err(failed)?, digest));
    }
    let (mut bytes, raw) = read::decompressed(file)?;
    let mut unpacked = tempfile::tempfile().map_err(failed)?;
    std::io::copy(&mut bytes, &mut unpacked).map_err(failed)?;
    unpacked.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok((unpacked, raw.rest().map_err(failed)?))
}

fn builder(file: &InputFile, mut opened: File) -> Result<ParquetRecordBatchReaderBuilder<File>, IngestError> {
    let mut head = Vec::new();
    let failed = |error| IngestError::read(file, error);
    Read::by_ref(&mut opened).take(512).read_to_end(&mut head).map_err(failed)?;
    opened.seek(SeekFrom::Start(0)).map_err(failed)?;
    if !head.starts_with(b"PAR1") {
        let report = unreadable(file, format!("`{}` is not a Parquet file", file.path));
        return Err(match looks_like(&head) {
            _ if head.is_empty() => report.note("it is empty"),
            Some(what) => report.note(format!("it looks like {what}")),
            None => report.note("it looks like text"),
        }
        .into());
    }
    guarded(file, || {
        let metadata = metadata(&opened).map_err(|error| damaged(file, &error.to_string()))?;
        Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(opened, metadata))
    })
}

/// What a file says of itself. Its 96-bit times are read as microseconds: the reader makes nanoseconds of them, which wrap around before
/// 1677 and after 2262.
fn metadata(opened: &File) -> Result<ArrowReaderMetadata, ParquetError> {
    let found = ArrowReaderMetadata::load(opened, ArrowReaderOptions::default())?;
    let leaves = found.parquet_schema();
    let is_int96 = |leaf: usize| leaves.column(leaf).physical_type() == Physical::INT96;
    if !(0..leaves.num_columns()).any(is_int96) {
        return Ok(found);
    }
    let mut leaf = 0;
    let fields = found.schema().fields().iter().map(|field| in_microseconds(field, &mut leaf, &is_int96));
    let fields: Vec<FieldRef> = fields.collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, found.schema().metadata().clone()));
    ArrowReaderMetadata::try_new(Arc::clone(found.metadata()), ArrowReaderOptions::default().with_schema(schema))
}

/// A field whose leaves that `is_int96` names, counted over the whole file in order, are microseconds.
fn in_microseconds(field: &FieldRef, leaf: &mut usize, is_int96: &dyn Fn(usize) -> bool) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::List(item) => DataType::List(in_microseconds(item, leaf, is_int96)),
        DataType::LargeList(item) => DataType::LargeList(in_microseconds(item, leaf, is_int96)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(in_microseconds(item, leaf, is_int96), *size),
        DataType::Map(entries, sorted) => DataType::Map(in_microseconds(entries, leaf, is_int96), *sorted),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| in_microseconds(field, leaf, is_int96)).collect())
        }
        other => {
            *leaf += 1;
            match other {
                DataType::Timestamp(TimeUnit::Nanosecond, zone) if is_int96(*leaf - 1) => {
                    DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
                }
                _ => other.clone(),
            }
        }
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

fn damaged(file: &InputFile, reason: &str) -> IngestError {
    let report = unreadable(file, format!("`{}` is a Parquet file that cannot be read", file.path));
    // The library's words stay out; what a person can act on is whether the file is broken or packed in an unknown way.
    let packed =
        ["brotli", "lz4", "gzip", "flate2", "lzo"].into_iter().find(|word| reason.to_lowercase().contains(word));
    match packed {
        Some(packed) => report
            .note(format!("its columns are compressed with {packed}"))
            .hint("write it with `snappy` or `zstd` compression, or without"),
        None => report
            .note("its contents contradict each other, or a part is missing")
            .hint("copy or download the file again"),
    }
    .into()
}

/// Runs the library on bytes from outside. Damaged files make some of its decoders panic; that must not end a run.
fn guarded<T>(file: &InputFile, work: impl FnOnce() -> Result<T, IngestError>) -> Result<T, IngestError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(damaged(file, "")))
}

/// Reads a file's rows.
pub(crate) fn read(plan: &Plan, file: &InputFile, batch_rows: usize, out: Out<'_>) -> Result<FileEnd, Halt> {
    let (opened, digest) = open(file, true)?;
    let builder = builder(file, opened)?.with_batch_size(batch_rows.max(1));
    let mut reader: ParquetRecordBatchReader =
        guarded(file, || builder.build().map_err(|error| damaged(file, &error.to_string())))?;
    let schema = arrow::array::RecordBatchReader::schema(&reader);
    let seen: Vec<bool> = plan.columns.iter().map(|column| schema.index_of(&column.name).is_ok()).collect();
    let mut row = 1;
    loop {
        let next = guarded(file, || reader.next().transpose().map_err(|error| damaged(file, &error.to_string())))?;
        let Some(batch) = next.filter(|batch| batch.num_rows() > 0) else { break };
        let rows = batch.num_rows() as u64;
        let block = guarded(file, || fit(plan, file, &schema, batch, row))?;
        row += rows;
        out(block)?;
    }
    Ok(FileEnd { digest, seen })
}

/// Turns rows as they are in the file into rows of the source.
fn fit(
    plan: &Plan,
    file: &InputFile,
    schema: &SchemaRef,
    batch: RecordBatch,
    first: u64,
) -> Result<Block, IngestError> {
    let rows = batch.num_rows();
    let mut troubles: Vec<Troubles> = Vec::new();
    let trouble_of = |troubles: &mut Vec<Troubles>, row: usize, verdict: Verdict, make: &dyn Fn() -> Trouble| {
        if troubles.is_empty() {
            troubles.resize_with(rows, Troubles::default);
        }
        troubles[row].add(verdict, make);
    };
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(plan.columns.len());
    for column in &plan.columns {
        let Ok(at) = schema.index_of(&column.name) else {
            columns.push(new_null_array(&column.data_type, rows));
            continue;
        };
        let given = batch.column(at);
        let mut bad = vec![false; rows];
        let exact = !plan.declared.contains(&column.name);
        let fitted = convert(given, &column.data_type, exact, &mut bad).ok_or_else(|| {
            let message = format!(
                "column `{}` of `{}` is {}, which does not become {}",
                column.name,
                file.path,
                parse::a_type(given.data_type()),
                parse::a_type(&column.data_type)
            );
            IngestError::from(unreadable(file, message))
        })?;
        for row in (0..rows).filter(|&row| bad[row]) {
            trouble_of(&mut troubles, row, plan.on_misfit, &|| {
                let shown = array_value_to_string(given, row).unwrap_or_default();
                let reason = parse::explain(&shown, &column.data_type);
                Trouble::new(plan.on_misfit, "data_type", reason, Some(&column.name), 0)
            });
        }
        columns.push(fitted);
    }
    let is_unknown = |field: &Field| !plan.index.contains_key(field.name()) && field.data_type() != &DataType::Null;
    for (at, field) in schema.fields().iter().enumerate().filter(|(_, field)| is_unknown(field)) {
        let given = batch.column(at);
        for row in (0..rows).filter(|&row| given.is_valid(row)) {
            trouble_of(&mut troubles, row, plan.on_unknown, &|| {
                let reason = format!("the contract knows no column `{}`, and it has a value", field.name());
                Trouble::new(plan.on_unknown, "columns", reason, Some(field.name()), 0)
            });
        }
    }
    let fitted = RecordBatch::try_new(Arc::clone(&plan.schema), columns).expect("every column was made for the schema");
    let (mut rejected, mut dropped, mut values_dropped) = (Vec::new(), 0, 0);
    let mut lines: Vec<u64> = (first..first + rows as u64).collect();
    let (mut fitted, mut given) = (fitted, batch);
    if !troubles.is_empty() {
        let mut keep = Vec::with_capacity(rows);
        for (row, troubles) in troubles.into_iter().enumerate() {
            values_dropped += troubles.values_dropped;
            let Some(trouble) = troubles.into_gravest() else {
                keep.push(true);
                continue;
            };
            keep.push(false);
            let line = first + row as u64;
            match trouble.verdict {
                Verdict::Stop => return Err(trouble.stop(plan, file, line, "").into()),
                Verdict::DropRow => dropped += 1,
                _ => rejected.push(trouble.reject(file, line, row_as_json(&given, row))),
            }
        }
        let mut kept = keep.iter();
        lines.retain(|_| *kept.next().expect("one mark a row"));
        let keep = BooleanArray::from(keep);
        fitted = filter_record_batch(&fitted, &keep).expect("one mark a row");
        given = filter_record_batch(&given, &keep).expect("one mark a row");
    }
    let keys = keys(plan, &fitted);
    let raws = if keys.is_empty() { Raws::None } else { Raws::Rows(given) };
    let rejected: Vec<Rejected> = rejected;
    Ok(Block { batch: fitted, lines, raws, keys, rejected, rows_in: rows as u64, dropped, values_dropped })
}

/// Casts a column, marking the rows whose value the type does not hold exactly, which become nulls; `None` when the types have nothing in
/// common. Doubles are the nearest ones where they were declared, and have the same digits under `exact`.
fn convert(given: &ArrayRef, to: &DataType, exact: bool, bad: &mut [bool]) -> Option<ArrayRef> {
    let from = given.data_type();
    if from == to {
        return Some(Arc::clone(given));
    }
    match (from, to) {
        // A column of no type has no values; Arrow calls none of its rows missing.
        (DataType::Null, _) => Some(new_null_array(to, given.len())),
        (DataType::Dictionary(_, value), _) => convert(&cast(given, value)?, to, exact, bad),
        (DataType::List(_), DataType::List(field)) => {
            let list: &ListArray = given.as_list();
            let mut inner = vec![false; list.values().len()];
            let values = convert(list.values(), field.data_type(), exact, &mut inner)?;
            for (row, ends) in list.offsets().windows(2).enumerate() {
                bad[row] |= list.is_valid(row) && inner[ends[0] as usize..ends[1] as usize].contains(&true);
            }
            let list = ListArray::try_new(Arc::clone(field), list.offsets().clone(), values, list.nulls().cloned());
            Some(Arc::new(list.ok()?))
        }
        (DataType::LargeList(item) | DataType::FixedSizeList(item, _), DataType::List(_)) => {
            convert(&cast(given, &DataType::List(Arc::clone(item)))?, to, exact, bad)
        }
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let rows: &StructArray = given.as_struct();
            let columns = fields
                .iter()
                .map(|field| match rows.column_by_name(field.name()) {
                    Some(column) => convert(column, field.data_type(), exact, bad),
                    None => Some(new_null_array(field.data_type(), rows.len())),
                })
                .collect::<Option<Vec<_>>>()?;
            for (name, column) in rows.column_names().into_iter().zip(rows.columns()) {
                if fields.iter().all(|field| field.name() != name) && column.data_type() != &DataType::Null {
                    (0..rows.len()).for_each(|row| bad[row] |= rows.is_valid(row) && column.is_valid(row));
                }
            }
            let made = StructArray::try_new_with_length(fields.clone(), columns, rows.nulls().cloned(), rows.len());
            Some(Arc::new(made.ok()?))
        }
        (DataType::List(_) | DataType::Struct(_), DataType::Utf8) => {
            let mut column = ColumnBuilder::new(to, given.len());
            for row in 0..given.len() {
                match given.is_valid(row) {
                    true => drop(column.append_text(&value_as_json(given, row))),
                    false => column.append_null(),
                }
            }
            Some(column.finish())
        }
        (DataType::List(_) | DataType::Struct(_), _) | (_, DataType::List(_) | DataType::Struct(_)) => None,
        (DataType::LargeUtf8 | DataType::Utf8View, _) => convert(&cast(given, &DataType::Utf8)?, to, exact, bad),
        (DataType::Utf8, DataType::Binary) => cast(given, to),
        (DataType::Utf8, _) => {
            let texts = given.as_string::<i32>();
            let mut column = ColumnBuilder::new(to, given.len());
            if exact {
                column.be_exact();
            }
            for (row, text) in texts.iter().enumerate() {
                match text.map(parse::trim) {
                    None => column.append_null(),
                    Some(text) => bad[row] |= !column.append_text(text),
                }
            }
            Some(column.finish())
        }
        (
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale),
            DataType::Float64,
        ) if exact => {
            let texts = cast(given, &DataType::Utf8)?;
            let mut column = ColumnBuilder::new(to, given.len());
            for (row, text) in texts.as_string::<i32>().iter().enumerate() {
                let decimal = |text: &str| parse::decimal(text, *precision, *scale).ok();
                let is_same =
                    |text: &&str| parse::double(text).and_then(|it| decimal(&it.to_string())) == decimal(text);
                match text.filter(is_same) {
                    Some(text) => bad[row] |= !column.append_text(text),
                    None => {
                        column.append_null();
                        bad[row] |= given.is_valid(row);
                    }
                }
            }
            Some(column.finish())
        }
        // A number of days or seconds is no time: nothing says since when.
        _ if (is_number(from) && to.is_temporal()) || (from.is_temporal() && is_number(to)) => None,
        _ => {
            let made = cast(given, to)?;
            let back = if loses(from, to, exact) { cast(&made, from) } else { None };
            // Not a number differs from itself nowhere: the comparison is total.
            let differs = back.and_then(|back| distinct(&back, given).ok());
            let made = match differs {
                Some(differs) => nullif(&made, &differs).ok()?,
                None => made,
            };
            for (row, bad) in bad.iter_mut().enumerate().filter(|(row, _)| given.is_valid(*row)) {
                *bad |= made.is_null(row);
            }
            Some(made)
        }
    }
}

/// A cast that gives a null where the value does not fit.
fn cast(given: &ArrayRef, to: &DataType) -> Option<ArrayRef> {
    let options = CastOptions { safe: true, ..CastOptions::default() };
    can_cast_types(given.data_type(), to).then(|| cast_with_options(given, to, &options).ok()).flatten()
}

/// Whether a cast cuts something off that casting back would show: fractions, digits, times of day. Declared doubles are the nearest
/// ones, as everywhere, and times are cut to the microsecond.
fn loses(from: &DataType, to: &DataType, exact: bool) -> bool {
    match to {
        DataType::Decimal128(_, _) | DataType::Boolean => is_number(from),
        DataType::Date32 => matches!(from, DataType::Timestamp(_, _) | DataType::Date64),
        DataType::Float32 | DataType::Float64 if exact => is_number(from) && !from.is_floating(),
        _ => to.is_integer() && is_number(from),
    }
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric() || matches!(data_type, DataType::Decimal32(_, _) | DataType::Decimal64(_, _))
}

/// A row as JSON, for the quarantine.
pub(crate) fn row_as_json(batch: &RecordBatch, row: usize) -> String {
    shorten(json_of(&batch.slice(row, 1)).unwrap_or_else(|| shown(batch, row)).as_bytes())
}

fn json_of(row: &RecordBatch) -> Option<String> {
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    writer.write(row).ok()?;
    writer.finish().ok()?;
    Some(String::from_utf8(writer.into_inner()).ok()?.trim_end().to_string())
}

/// A row whose types JSON does not have, as JSON with a text for every value.
fn shown(batch: &RecordBatch, row: usize) -> String {
    let schema = batch.schema();
    let fields = schema.fields().iter().zip(batch.columns()).filter(|(_, column)| column.is_valid(row));
    let fields = fields.map(|(field, column)| {
        let mut text = array_value_to_string(column, row).unwrap_or_default();
        text.truncate(text.floor_char_boundary(RAW_BYTES_MAX));
        (field.name().clone(), serde_json::Value::String(text))
    });
    serde_json::Value::Object(fields.collect()).to_string()
}

fn value_as_json(column: &ArrayRef, row: usize) -> String {
    let single = RecordBatch::try_from_iter([("v", column.slice(row, 1))]).ok();
    let text = single.and_then(|batch| json_of(&batch));
    // Of `{"v":...}` the part behind the name.
    match text.as_deref().and_then(|text| text.strip_prefix("{\"v\":")?.strip_suffix('}')) {
        Some(value) => value.to_string(),
        None => array_value_to_string(column, row).unwrap_or_default(),
    }
}
