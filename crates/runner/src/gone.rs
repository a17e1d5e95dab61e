//! Files of a source are gone while its settings change: they cannot be read anew, so their rows stay as they were read.
//!
//! What the new settings say of a column's type holds for these rows too, where every value is the same in it. Where one is not, or rows
//! break the source's key, the run is refused by name: the file may be somewhere still, and then nothing need be lost. So it is where the rows
//! are lost with the warehouse's own copy.

use crate::context::Context;
use crate::source::rows_of;
use crate::source_files::Changes;
use crate::{catalog, narrow, verify};
use futures::StreamExt;
use pelton_base::{Report, Reports, thousands};
use pelton_ingest::KeySet;
use pelton_project::{Node, Source};
use pelton_query::{sql, types};
use pelton_store::{ColumnType, SourceFile, TableDigest, VersionHead, to_stored};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field};
use arrow::util::display::array_value_to_string;

/// How many files a report names.
const NAMED_MAX: usize = 5;

/// The columns that rows of files bring along which are gone, in the types that the settings give them, and what is to be told; fails when
/// the rows do not fit the settings. Of a version whose files are damaged, only those files are kept whose rows are as they were.
pub(crate) async fn carry(
    ctx: &Context,
    node: &Node,
    source: &Source,
    head: &VersionHead,
    changes: &mut Changes,
) -> Result<(Vec<ColumnType>, Vec<Report>), Reports> {
    let (gone, is_alone) = (&mut changes.kept, changes.all.is_empty());
    let mut said = Vec::new();
    if gone.is_empty() {
        return Ok((Vec::new(), said));
    }
    let version = catalog::load(ctx, &head.id)?;
    if verify::is_lost(head) {
        let all = std::mem::take(gone);
        let mut lost = Vec::new();
        for file in all {
            let is_sound = is_sound(ctx, node, &file, &version.columns).await;
            if is_sound { gone.push(file) } else { lost.push(file) }
        }
        if !lost.is_empty() {
            return Err(lost_report(node, &lost).into());
        }
    }
    let held = narrow::held(ctx, node, gone, &version.columns).await?;
    // A column without any value is known by other files, if there are any.
    let stays = |column: &ColumnType| is_alone || held.contains(&column.name);
    let before: Vec<ColumnType> = version.columns.into_iter().filter(stays).collect();
    let now: Vec<ColumnType> = before.iter().map(|column| declared(source, column)).collect();
    let mut broken = Vec::new();
    for file in gone.iter() {
        broken.extend(misfit_of(ctx, node, file, (&before, &now)).await?.map(|what| (file.path.clone(), what)));
    }
    // Keys are read in the types that the rows are going to have.
    if broken.is_empty() {
        broken.extend(broken_key(ctx, node, source, gone, &now).await?);
    }
    if !broken.is_empty() {
        return Err(refused(node, &broken).into());
    }
    gone.iter_mut().for_each(|file| file.is_outdated = true);
    said.push(kept_report(node, gone));
    Ok((now, said))
}

/// The column in the type that the settings declare, if they do.
fn declared(source: &Source, column: &ColumnType) -> ColumnType {
    let said = source.columns.iter().find(|said| said.name.value == column.name);
    // A type that is none is told where the settings are read.
    match said.and_then(|said| types::parse(&said.data_type.value).ok()) {
        Some(data_type) => ColumnType { name: column.name.clone(), data_type: types::name(&data_type) },
        None => column.clone(),
    }
}

/// Whether a file's rows can be read and are those that were taken in.
async fn is_sound(ctx: &Context, node: &Node, file: &SourceFile, columns: &[ColumnType]) -> bool {
    let schema = ColumnType::schema(columns);
    let (Ok(mut stream), Ok(mut digest)) =
        (rows_of(ctx, node, std::slice::from_ref(file), &schema, "*").await, TableDigest::new(&schema))
    else {
        return false;
    };
    while let Some(batch) = stream.batches.next().await {
        if !batch.is_ok_and(|batch| digest.add(&batch).is_ok()) {
            return false;
        }
    }
    digest.finish() == file.rows_digest
}

/// What of a file's rows has another type now and is not the same in it.
async fn misfit_of(
    ctx: &Context,
    node: &Node,
    file: &SourceFile,
    (before, now): (&[ColumnType], &[ColumnType]),
) -> Result<Option<String>, Reports> {
    let schema = ColumnType::schema(now);
    let differing: Vec<&Field> = schema
        .fields()
        .iter()
        .zip(before)
        .filter(|(field, before)| types::name(field.data_type()) != before.data_type)
        .map(|(field, _)| field.as_ref())
        .collect();
    if differing.is_empty() {
        return Ok(None);
    }
    let names = sql::idents(differing.iter().map(|field| field.name().as_str()));
    let files = std::slice::from_ref(file);
    let mut stream = rows_of(ctx, node, files, &ColumnType::schema(before), &names).await?;
    while let Some(batch) = stream.batches.next().await {
        let batch = batch.map_err(|error| error.report(&format!("source `{}`", node.name)))?;
        let batch = to_stored(&batch).map_err(|error| error.report())?;
        for (field, values) in differing.iter().zip(batch.columns()) {
            if let Some(value) = misfit(values, field.data_type()) {
                let wanted = types::name(field.data_type());
                return Ok(Some(format!("`{}` has the value `{value}`, which {wanted} cannot keep", field.name())));
            }
        }
    }
    Ok(None)
}

/// The first value that another type cannot hold as it is.
///
/// Text is held when it reads as the type, as it would in the file; a decimal must not be rounded for it. Of other types, a value is held
/// that comes back as it was.
fn misfit(values: &ArrayRef, wanted: &DataType) -> Option<String> {
    let cast = |values: &ArrayRef, wanted: &DataType| {
        cast_with_options(values, wanted, &CastOptions { safe: true, ..CastOptions::default() }).ok()
    };
    let is_text = *values.data_type() == DataType::Utf8;
    let there = cast(values, wanted);
    let (given, back) = match wanted {
        DataType::Decimal128(precision, scale) if is_text => {
            // As many digits behind the point as there can be beside those before it.
            let finest = DataType::Decimal128(38, 38 - (*precision as i8 - scale));
            (cast(values, &finest), there.as_ref().and_then(|there| cast(there, &finest)))
        }
        DataType::Boolean if is_text => {
            let lower = values.as_string::<i32>().iter().map(|text| text.map(str::to_lowercase));
            let lower: ArrayRef = std::sync::Arc::new(lower.collect::<arrow::array::StringArray>());
            (Some(lower), there.as_ref().and_then(|there| cast(there, values.data_type())))
        }
        _ if is_text => (there.clone(), there.clone()),
        _ => (Some(values.clone()), there.as_ref().and_then(|there| cast(there, values.data_type()))),
    };
    let is_held = |row: usize| match (&there, &given, &back) {
        (Some(there), Some(given), Some(back)) => {
            there.is_valid(row) && given.is_valid(row) && given.slice(row, 1) == back.slice(row, 1)
        }
        _ => false,
    };
    let row = (0..values.len()).find(|row| values.is_valid(*row) && !is_held(*row))?;
    Some(array_value_to_string(values, row).unwrap_or_default())
}

/// The first file with a row that breaks the source's key, and how.
async fn broken_key(
    ctx: &Context,
    node: &Node,
    source: &Source,
    gone: &[SourceFile],
    columns: &[ColumnType],
) -> Result<Option<(String, String)>, Reports> {
    if source.key.is_empty() {
        return Ok(None);
    }
    let names: Vec<String> = source.key.iter().map(|key| key.value.clone()).collect();
    let mut keys = KeySet::default();
    for file in gone.iter().filter(|file| file.rows > 0) {
        if let Some(missing) = names.iter().find(|name| columns.iter().all(|column| column.name != **name)) {
            return Ok(Some((
                file.path.clone(),
                format!("no row has a value of `{missing}`, which is part of the key"),
            )));
        }
        let what = sql::idents(names.iter().map(String::as_str));
        let mut stream = rows_of(ctx, node, std::slice::from_ref(file), &ColumnType::schema(columns), &what).await?;
        while let Some(batch) = stream.batches.next().await {
            let batch = batch.map_err(|error| error.report(&format!("source `{}`", node.name)))?;
            let batch = to_stored(&batch).map_err(|error| error.report())?;
            let hashes = KeySet::hash_rows(&batch, &names).expect("the key's columns were selected");
            for hash in hashes {
                let named = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                match hash {
                    None => return Ok(Some((file.path.clone(), format!("a row has no value of the key ({named})")))),
                    Some(hash) if !keys.insert(hash) => {
                        let what = format!("a row has the same key ({named}) as an earlier one");
                        return Ok(Some((file.path.clone(), what)));
                    }
                    Some(_) => {}
                }
            }
        }
    }
    Ok(None)
}

fn refused(node: &Node, broken: &[(String, String)]) -> Report {
    let message = format!("rows of files that are gone do not fit the settings that `{}` has now", node.name);
    let mut report = Report::error("gone-file", message).at(node.place());
    for (path, what) in broken.iter().take(NAMED_MAX) {
        report = report.note(format!("`{path}`: {what}"));
    }
    if broken.len() > NAMED_MAX {
        report = report.note(format!("and {} more files", thousands((broken.len() - NAMED_MAX) as u64)));
    }
    report
        .note("nothing of it was changed")
        .hint("put the file back to have it read anew, or one without rows in its place to let its rows go")
}

fn kept_report(node: &Node, gone: &[SourceFile]) -> Report {
    let message =
        format!("rows of {} of `{}` stay as they were read before its settings changed", files(gone), node.name);
    named(Report::warning("gone-file", message), gone)
        .hint("put the file back to have it read anew, or one without rows in its place to let its rows go")
}

fn lost_report(node: &Node, lost: &[SourceFile]) -> Report {
    let message =
        format!("rows of {} of `{}` are lost: their copy in the warehouse is damaged", files(lost), node.name);
    named(Report::error("gone-file", message), lost)
        .note("nothing was published")
        .hint("put the file back to have it read anew, or one without rows in its place to go on without them")
        .hint("restore the warehouse's copy of it")
}

fn files(gone: &[SourceFile]) -> String {
    match gone {
        [_] => "a file that is gone".to_string(),
        _ => format!("{} files that are gone", thousands(gone.len() as u64)),
    }
}

fn named(mut report: Report, gone: &[SourceFile]) -> Report {
    for file in gone.iter().take(NAMED_MAX) {
        let rows = if file.rows == 1 { "row" } else { "rows" };
        report = report.note(format!("`{}`: {} {rows}", file.path, thousands(file.rows)));
    }
    if gone.len() > NAMED_MAX {
        report = report.note(format!("and {} more", thousands((gone.len() - NAMED_MAX) as u64)));
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
    use std::sync::Arc;

    fn text(values: &[&str], wanted: &str) -> Option<String> {
        let values: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
        misfit(&values, &types::parse(wanted).unwrap())
    }

    #[test]
    fn text_fits_where_it_reads_as_the_type() {
        assert_eq!(text(&["1", "007", "-5"], "bigint"), None);
        assert_eq!(text(&["1", "n/a"], "bigint"), Some("n/a".into()));
        assert_eq!(text(&["1", "1.5"], "bigint"), Some("1.5".into()));
        assert_eq!(text(&["1", "12.5", "12.50", "-0.01"], "decimal(12,2)"), None);
        assert_eq!(text(&["12.50", "12.505"], "decimal(12,2)"), Some("12.505".into()));
        assert_eq!(text(&["true", "False"], "boolean"), None);
        assert_eq!(text(&["true", "yes"], "boolean"), Some("yes".into()));
        assert_eq!(text(&["2026-01-02T03:04:05Z"], "timestamp"), None);
        assert_eq!(text(&["2026-01-02", "soon"], "date"), Some("soon".into()));
    }

    #[test]
    fn other_values_fit_where_they_come_back_as_they_were() {
        let misfit = |values: ArrayRef, wanted: &str| misfit(&values, &types::parse(wanted).unwrap());
        let whole: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(1 << 53)]));
        for fits in ["decimal(20,2)", "double", "text"] {
            assert_eq!(misfit(whole.clone(), fits), None, "{fits}");
        }
        assert_eq!(misfit(whole, "int"), Some((1i64 << 53).to_string()));
        assert_eq!(
            misfit(Arc::new(Int64Array::from(vec![(1i64 << 53) + 1])), "double"),
            Some("9007199254740993".into())
        );
        assert_eq!(misfit(Arc::new(Float64Array::from(vec![1.0, 1.5])), "bigint"), Some("1.5".into()));
        let at = Arc::new(TimestampMicrosecondArray::from(vec![0, 3_600_000_000]).with_timezone("UTC"));
        assert!(misfit(Arc::new(at.slice(0, 1)), "date").is_none());
        assert!(misfit(at, "date").is_some());
    }
}
