//! A file of a source changed: columns and types that nobody declared, and that only its old content needed, go with it, as if it had never
//! been other than it is now.

use crate::context::Context;
use crate::source::{known_columns, rows_of};
use crate::source_files::Changes;
use pelton_base::{Report, Reports};
use pelton_ingest::Narrowed;
use pelton_project::{Node, Source};
use pelton_query::{collect, sql, types};
use pelton_store::{ColumnType, SourceFile};

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};

/// The columns that the source has less of, now that a file changed. An answer that cannot be had changes nothing: what is wrong with
/// the files is told where they are read.
pub(crate) async fn look(
    ctx: &Context,
    node: &Node,
    source: &Source,
    changes: &Changes,
    (columns, untyped): (&[ColumnType], &[String]),
) -> Result<Option<Narrowed>, Reports> {
    let held = held(ctx, node, &changes.gone(), columns).await?;
    let (node, source, files, threads) = (node.clone(), source.clone(), changes.all.clone(), ctx.threads);
    let known = known_columns(columns, untyped);
    let looked = tokio::task::spawn_blocking(move || {
        pelton_ingest::narrowed(&source, &node, &files, &known, &held, threads).ok().flatten()
    });
    Ok(looked.await.map_err(|_| Report::error("internal", "the reader of files panicked"))?)
}

/// The columns of which rows of these files have a value.
pub(crate) async fn held(
    ctx: &Context,
    node: &Node,
    files: &[SourceFile],
    columns: &[ColumnType],
) -> Result<Vec<String>, Reports> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let counts = columns.iter().map(|column| format!("count({})", sql::ident(&column.name)));
    let counts = counts.collect::<Vec<_>>().join(", ");
    let stream = rows_of(ctx, node, files, &ColumnType::schema(columns), &counts).await?;
    let counts = collect(stream).await.map_err(|error| error.report(&format!("source `{}`", node.name)))?;
    let is_held = |at: usize| {
        counts.iter().any(|batch| batch.column(at).as_primitive::<Int64Type>().iter().flatten().any(|count| count > 0))
    };
    let names = columns.iter().enumerate().filter(|(at, _)| is_held(*at)).map(|(_, column)| column.name.clone());
    Ok(names.collect())
}

/// What is told of columns that a source has less of.
pub(crate) fn report(node: &Node, less: &Narrowed) -> Report {
    let message = format!("source `{}` has columns that its files do not need any more", node.name);
    let mut report = Report::warning("changed-file", message);
    for name in &less.gone {
        report = report.note(format!("column `{name}` left: no file has it"));
    }
    for (name, before, now) in &less.narrower {
        let before = types::name(before);
        report = report.note(match now {
            DataType::Null => format!("column `{name}`, which was {before}, has no value"),
            now => format!("column `{name}`, which was {before}, is {}", types::name(now)),
        });
    }
    report.note("all files were read again")
}

/// The columns that are left, and those among them without any value.
pub(crate) fn columns(less: &Narrowed) -> (Vec<ColumnType>, Vec<String>) {
    let untyped = less.columns.iter().filter(|(_, data_type)| *data_type == DataType::Null);
    let untyped = untyped.map(|(name, _)| name.clone()).collect();
    let stored = |data_type: &DataType| match data_type {
        DataType::Null => DataType::Utf8,
        other => other.clone(),
    };
    let fields = less.columns.iter().map(|(name, data_type)| Field::new(name, stored(data_type), true));
    (ColumnType::of(&Schema::new(fields.collect::<Vec<_>>())), untyped)
}
