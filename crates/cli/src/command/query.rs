//! `pelton query SQL`: rows of what is published, now or then, in five formats.

use crate::args::{Query, RowFormat};
use crate::files::{Pending, unreadable};
use crate::print::rows::{self, Csv, Json, Parquet, RowSink, TABLE_ROWS_MAX};
use crate::print::style::Style;
use crate::print::{Out, words};
use crate::session::Session;
use arrow::array::RecordBatch;
use futures::StreamExt;
use pelton_base::{Report, Reports, parse_time_us};
use pelton_query::{BatchStream, QueryError};
use pelton_runner::AsOf;
use std::collections::BTreeSet;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::Path;

/// The table of predictions, as a query names it.
const PREDICTIONS: &str = "pelton.predictions";

/// JSON for stdout waits here until it is complete, so that a query that fails halfway never leaves half a document.
const SPOOL_MEMORY_BYTES: usize = 8 << 20;

pub(crate) async fn query(args: &Query, session: &Session, out: &Out) -> Result<u8, Reports> {
    let format = match (args.format, &args.output) {
        (Some(format), _) => format,
        (None, None) => RowFormat::Table,
        (None, Some(path)) => by_ending(path).ok_or_else(|| {
            Report::error("invalid-argument", format!("the ending of `{}` does not say a format", path.display()))
                .note("`.csv`, `.json`, `.ndjson`, `.jsonl` and `.parquet` do")
                .hint("pass `--format`, or another name")
        })?,
    };
    if format == RowFormat::Parquet && args.output.is_none() && out.is_data_terminal {
        return Err(Report::error("invalid-argument", "Parquet is not written to a terminal")
            .hint("pass `--output FILE`")
            .into());
    }
    let as_of = args.as_of.as_deref().map(as_of).transpose()?;
    let sql = text(&args.sql)?;
    let ctx = session.published()?;
    if sql.to_lowercase().contains(PREDICTIONS) {
        // What a server that was killed has left in its log; where nothing can be written, the table is as far as it is.
        pelton_runner::take_in_predictions(&ctx).await;
    }
    let stream = pelton_runner::query(&ctx, &session.environment, as_of, &sql).await?;
    if format != RowFormat::Table {
        told_apart(&stream)?;
    }
    match &args.output {
        Some(path) => to_file(stream, format, path, out).await?,
        None if format == RowFormat::Table => {
            let (text, rows, rest) = as_table(stream, out.data_style, !out.is_data_terminal).await?;
            out.data(text);
            out.note(format!("{rows}{rest}"));
        }
        None if format == RowFormat::Json => {
            let mut spool = tempfile::SpooledTempFile::new(SPOOL_MEMORY_BYTES);
            copy(stream, format, &mut spool, &|| false).await?;
            spool.rewind().and_then(|()| io::copy(&mut spool, &mut Stdout(out))).map_err(unwritten)?;
        }
        None => {
            copy(stream, format, BufWriter::new(Stdout(out)), &|| out.is_closed()).await?;
        }
    }
    Ok(0)
}

/// Refuses columns of one name: readers of a file would find one of them.
fn told_apart(stream: &BatchStream) -> Result<(), Report> {
    let mut names = BTreeSet::new();
    match stream.schema.fields().iter().find(|field| !names.insert(field.name())) {
        None => Ok(()),
        Some(field) => {
            let message = format!("two columns are called `{}`, which no file tells apart", field.name());
            Err(Report::error("type-mismatch", message).hint("name one of them with AS"))
        }
    }
}

/// The format that a file's ending names.
pub(crate) fn by_ending(output: &Path) -> Option<RowFormat> {
    match output.extension()?.to_str()? {
        "csv" => Some(RowFormat::Csv),
        "json" => Some(RowFormat::Json),
        "ndjson" | "jsonl" => Some(RowFormat::Ndjson),
        "parquet" => Some(RowFormat::Parquet),
        _ => None,
    }
}

fn as_of(word: &str) -> Result<AsOf, Report> {
    if let Ok(publication) = word.parse() {
        return Ok(AsOf::Publication(publication));
    }
    parse_time_us(word).map(AsOf::Time).ok_or_else(|| {
        Report::error("invalid-argument", format!("`{word}` is neither a publication's number nor a time"))
            .note("times are written as `2026-03-01T12:00:00Z`, `2026-03-01 12:00` or `2026-03-01`, in UTC when no zone is given")
            .hint("pelton query \"select * from pelton.publications\"")
    })
}

/// The SQL itself, or what stdin has for `-`.
fn text(word: &str) -> Result<String, Report> {
    if word != "-" {
        // The space that the command line's parser was given before a comment; places count from the text as it was typed.
        return Ok(word.strip_prefix(' ').filter(|text| text.starts_with("--")).unwrap_or(word).to_string());
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map_err(|error| unreadable("read", Path::new("-"), &error))?;
    Ok(text)
}

/// The rows as a table, how many they are, and what to say of the rest. A table that `is_kept` says itself that it is not whole: who reads
/// it later does not see what was said beside it.
async fn as_table(
    mut stream: BatchStream,
    style: Style,
    is_kept: bool,
) -> Result<(String, String, &'static str), Report> {
    let mut batches: Vec<RecordBatch> = Vec::new();
    let mut rows = 0;
    while let Some(batch) = stream.batches.next().await {
        let batch = batch.map_err(failed)?;
        let room = TABLE_ROWS_MAX - rows;
        if batch.num_rows() > room {
            batches.push(batch.slice(0, room));
            let first = format!("the first {} rows", words::count(TABLE_ROWS_MAX as u64));
            let rest = "; `--format csv` gives all";
            let mut text = rows::table(&stream.schema, &batches, style);
            if is_kept {
                text.push_str(&format!("\n{first}{rest}\n"));
            }
            return Ok((text, first, rest));
        }
        rows += batch.num_rows();
        batches.push(batch);
    }
    Ok((rows::table(&stream.schema, &batches, style), words::counted(rows as u64, "row"), ""))
}

/// Writes rows to a file, which appears when all of them are written.
pub(crate) async fn to_file(stream: BatchStream, format: RowFormat, path: &Path, out: &Out) -> Result<(), Report> {
    let mut file = Pending::begin(path)?;
    let (rows, rest) = if format == RowFormat::Table {
        let (text, rows, rest) = as_table(stream, Style::default(), true).await?;
        file.sink().write_all(text.as_bytes()).map_err(|error| unreadable("write", path, &error))?;
        (rows, rest)
    } else {
        let rows = copy(stream, format, BufWriter::new(file.sink()), &|| false).await?;
        (words::counted(rows, "row"), "")
    };
    file.finish()?;
    out.note(format!("wrote {rows} to `{}`{rest}", path.display()));
    Ok(())
}

/// Writes all rows, or until nobody reads them any more; gives how many.
async fn copy(
    mut stream: BatchStream,
    format: RowFormat,
    to: impl Write + Send,
    is_closed: &dyn Fn() -> bool,
) -> Result<u64, Report> {
    let mut sink: Box<dyn RowSink + '_> = match format {
        RowFormat::Csv => Box::new(Csv::begin(to, &stream.schema).map_err(unwritten)?),
        RowFormat::Json => Box::new(Json::array(to).map_err(unwritten)?),
        RowFormat::Table | RowFormat::Ndjson => Box::new(Json::lines(to)),
        RowFormat::Parquet => {
            let schema = pelton_store::stored_schema(&stream.schema).map_err(|error| error.report())?;
            Box::new(Parquet::begin(to, &schema).map_err(unwritten)?)
        }
    };
    let mut rows = 0;
    while let Some(batch) = stream.batches.next().await {
        let batch = batch.map_err(failed)?;
        rows += batch.num_rows() as u64;
        sink.batch(&batch).map_err(unwritten)?;
        if is_closed() {
            return Ok(rows);
        }
    }
    sink.finish().map_err(unwritten)?;
    Ok(rows)
}

fn failed(error: QueryError) -> Report {
    error.report("the query")
}

fn unwritten(error: io::Error) -> Report {
    unreadable("write", Path::new("the rows"), &error)
}

/// Stdout as a sink; its failures are kept by [`Out`].
struct Stdout<'a>(&'a Out);

impl Write for Stdout<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.data(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_or_a_number_says_which_state() {
        assert_eq!(as_of("3").unwrap(), AsOf::Publication(3));
        assert_eq!(as_of("1970-01-01T00:00:01Z").unwrap(), AsOf::Time(1_000_000));
        assert_eq!(as_of("yesterday").unwrap_err().code, "invalid-argument");
    }

    #[test]
    fn the_ending_of_the_file_says_the_format() {
        let of = |path: &str| by_ending(Path::new(path));
        assert_eq!(
            (of("a.parquet"), of("a.jsonl"), of("a.txt"), of("a")),
            (Some(RowFormat::Parquet), Some(RowFormat::Ndjson), None, None)
        );
    }
}
