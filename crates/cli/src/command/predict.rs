//! `pelton predict MODEL`: scores rows as the endpoint does, and logs them as it does.

use crate::args::Predict;
use crate::files;
use crate::print::{Out, pages};
use crate::session::Session;
use pelton_base::{Report, Reports};
use pelton_serve::json_reason;
use serde_json::value::RawValue;
use std::io::{IsTerminal, Read};
use std::path::Path;

/// The most bytes of rows that are read; the rows themselves are bounded by `server.rows_max`.
const INPUT_BYTES_MAX: u64 = 1 << 30;

pub(crate) async fn predict(args: &Predict, session: &Session, out: &Out) -> Result<u8, Reports> {
    let ctx = session.published()?;
    let rows = match (args.row.as_slice(), args.file.as_deref()) {
        ([], None) => read_stdin(out)?,
        ([], Some(path)) if path == Path::new("-") => read_stdin(out)?,
        ([], Some(path)) => read_file(path)?,
        (rows, _) => rows.join("\n"),
    };
    let rows = one_document(&rows)?;
    let answer = pelton_runner::predict_rows(&ctx, &session.environment, &args.model, &rows).await?;
    if args.answer.is_json() {
        out.json(&answer);
    } else {
        out.data(pages::predictions(&answer, out.data_style));
    }
    // Who waits for the answer has it already.
    out.reports(&Reports(pelton_runner::take_in_predictions(&ctx).await));
    Ok(0)
}

fn read_stdin(out: &Out) -> Result<String, Report> {
    let input = std::io::stdin();
    if input.is_terminal() {
        out.note("reading rows from the terminal: one JSON object a line, Ctrl-D at the end");
    }
    read(input, Path::new("-"))
}

fn read_file(path: &Path) -> Result<String, Report> {
    let file = std::fs::File::open(path).map_err(|error| files::unreadable("read", path, &error))?;
    read(file, path)
}

fn read(from: impl Read, path: &Path) -> Result<String, Report> {
    let mut text = String::new();
    from.take(INPUT_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| files::unreadable("read", path, &error))?;
    if text.len() as u64 > INPUT_BYTES_MAX {
        return Err(Report::error("too-many-rows", format!("the input has more than {INPUT_BYTES_MAX} bytes"))
            .hint("pelton query \"select * from predict(MODEL, TABLE)\""));
    }
    Ok(text)
}

/// An object or an array as it is; objects one after the other (lines, or several `--row`) as an array.
fn one_document(text: &str) -> Result<String, Report> {
    let mut values: Vec<&RawValue> = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        values.push(value.map_err(|error| {
            Report::error("invalid-request", "the rows are not valid JSON")
                .note(format!("line {}, column {}: {}", error.line(), error.column(), json_reason(&error)))
                .hint("write rows as `{\"column\": value, ...}`, one a line, or as an array of them")
        })?);
    }
    match values.as_slice() {
        [] => Err(Report::error("invalid-request", "there is no row to predict")
            .hint("pass a row with `--row '{\"column\": value}'`, or a file with `--file FILE`")),
        [one] => Ok(one.get().to_string()),
        many => Ok(format!("[{}]", many.iter().map(|value| value.get()).collect::<Vec<_>>().join(","))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_arrays_and_lines_are_rows() {
        assert_eq!(one_document(r#" {"a": 1} "#).unwrap(), r#"{"a": 1}"#);
        assert_eq!(one_document(r#"[{"a": 1}, {"a": 2}]"#).unwrap(), r#"[{"a": 1}, {"a": 2}]"#);
        assert_eq!(one_document("{\"a\": 1}\n{\"a\":\n2}\n").unwrap(), "[{\"a\": 1},{\"a\":\n2}]");
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        let report = one_document("{\"a\": 1}\n{a: 2}").unwrap_err();
        assert_eq!(
            (report.code, report.notes[0].as_str()),
            ("invalid-request", "line 2, column 2: key must be a string")
        );
        assert_eq!(one_document(" \n").unwrap_err().code, "invalid-request");
    }
}
