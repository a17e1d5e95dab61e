//! CSV and its relatives: records with the physical line on which they begin, their raw text, and their fields in place.
//!
//! RFC 4180 with any delimiter and quote: a quoted field may hold delimiters, line ends and doubled quotes. A quote inside of an
//! unquoted field is an ordinary character. A record that is quoted badly costs one line: reading goes on at the next physical
//! line, so that a stray quote does not swallow the rest of the file. Lines end in `\n` or `\r\n`; empty lines are no records.
//!
//! A library reads CSV well; none that we found gives the line, the raw text and the bad quoting of a record, which the
//! quarantine is made of.

use crate::block::{Assembler, FileEnd, Halt, Out, Trouble, Troubles};
use crate::column::ColumnBuilder;
use crate::error::{IngestError, looks_like, unreadable};
use crate::infer::Shape;
use crate::list::{InputFile, is_tsv};
use crate::parse;
use crate::read::{self, Raw, Window};
use crate::schema::{Plan, Question, Seen, TextSettings, Want, twice};
use arrow::datatypes::DataType;
use pelton_base::Report;
use pelton_project::model::Node;
use std::io;

/// A field of a record, by its bytes in the record's text.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
    /// Whether doubled quotes stand for single ones.
    doubled: bool,
}

/// What comes next in a file.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// A record.
    Record,
    /// A line that is none, and why.
    Bad(&'static str),
    /// Nothing.
    End,
}

const UNCLOSED: &str = "a quote is never closed";
const TOO_LONG: &str = "the record is longer than 16 MiB";
const AFTER_QUOTE: &str = "text stands between a closing quote and the next delimiter";

/// Reads records.
struct Records {
    window: Window,
    delimiter: u8,
    quote: u8,
    spans: Vec<Span>,
    /// The line on which the current record begins.
    line: u64,
    /// The current record's text without its line end.
    raw_length: usize,
    /// What is consumed when the next record is asked for: bytes and lines.
    pending: (usize, u64),
    /// Whether the rest of the line is to be dropped as well.
    skip_rest: bool,
}

/// What a scan of a buffer found.
enum Scan {
    /// A record: its text's length, its length with the line end, the line ends inside of it.
    Record(usize, usize, u64),
    /// The record goes on behind the buffer.
    More,
    /// The record is quoted badly.
    Bad(&'static str),
}

impl Records {
    fn open(file: &InputFile, text: &TextSettings) -> Result<(Self, Raw), IngestError> {
        let (window, raw) = read::text(file, text.encoding)?;
        let delimiter = text.delimiter.unwrap_or(if is_tsv(file) { b'\t' } else { b',' });
        let mut records = Records {
            window,
            delimiter,
            quote: text.quote,
            spans: Vec::new(),
            line: 1,
            raw_length: 0,
            pending: (0, 0),
            skip_rest: false,
        };
        records.window.fill().map_err(|error| IngestError::read(file, error))?;
        if let Some(what) = looks_like(records.window.bytes()).filter(|what| *what != "binary data") {
            return Err(not_csv(file, what).into());
        }
        if has_returns_alone(records.window.bytes()) {
            let message = format!("`{}` ends its lines with a carriage return alone", file.path);
            let fix = format!("tr '\\r' '\\n' < {0} > {0}.new && mv {0}.new {0}", file.path);
            return Err(unreadable(file, message).hint(fix).into());
        }
        Ok((records, raw))
    }

    /// The current record's text.
    fn raw(&self) -> &[u8] {
        &self.window.bytes()[..self.raw_length]
    }

    /// Moves on to the next record.
    fn step(&mut self) -> io::Result<Step> {
        self.window.consume(self.pending.0);
        self.line += self.pending.1;
        self.pending = (0, 0);
        self.raw_length = 0;
        if std::mem::take(&mut self.skip_rest) {
            self.window.skip_line(b'\n')?;
        }
        loop {
            if self.window.bytes().is_empty() {
                if self.window.ended() {
                    return Ok(Step::End);
                }
                self.window.fill()?;
                continue;
            }
            let ended = self.window.ended();
            match scan(self.window.bytes(), ended, self.delimiter, self.quote, &mut self.spans) {
                Scan::Record(0, length, _) => {
                    self.window.consume(length);
                    self.line += 1;
                }
                Scan::Record(raw, length, line_ends) => {
                    self.raw_length = raw;
                    self.pending = (length, line_ends + 1);
                    return Ok(Step::Record);
                }
                Scan::More if self.window.is_full() => {
                    let reason = if memchr::memchr(b'\n', self.window.bytes()).is_some() { UNCLOSED } else { TOO_LONG };
                    return Ok(self.bad_line(reason));
                }
                Scan::More => self.window.fill()?,
                Scan::Bad(reason) => return Ok(self.bad_line(reason)),
            }
        }
    }

    /// Gives up the current physical line.
    fn bad_line(&mut self, reason: &'static str) -> Step {
        let bytes = self.window.bytes();
        match memchr::memchr(b'\n', bytes) {
            Some(at) => {
                self.raw_length = if at > 0 && bytes[at - 1] == b'\r' { at - 1 } else { at };
                self.pending = (at + 1, 1);
            }
            None => {
                self.raw_length = bytes.len();
                self.pending = (bytes.len(), 1);
                self.skip_rest = !self.window.ended();
            }
        }
        Step::Bad(reason)
    }
}

/// Finds the fields of the record at the start of `bytes`; `ended` says that nothing comes behind them.
fn scan(bytes: &[u8], ended: bool, delimiter: u8, quote: u8, spans: &mut Vec<Span>) -> Scan {
    spans.clear();
    let (mut at, mut line_ends) = (0, 0);
    loop {
        if at < bytes.len() && bytes[at] == quote {
            let start = at + 1;
            let mut doubled = false;
            let mut from = start;
            let close = loop {
                let Some(found) = memchr::memchr(quote, &bytes[from..]) else {
                    return if ended { Scan::Bad(UNCLOSED) } else { Scan::More };
                };
                let close = from + found;
                match bytes.get(close + 1) {
                    Some(&next) if next == quote => {
                        doubled = true;
                        from = close + 2;
                    }
                    None if !ended => return Scan::More,
                    _ => break close,
                }
            };
            line_ends += memchr::memchr_iter(b'\n', &bytes[start..close]).count() as u64;
            spans.push(Span { start, end: close, doubled });
            at = close + 1;
            match &bytes[at..] {
                [] => return Scan::Record(at, at, line_ends),
                [byte, ..] if *byte == delimiter => at += 1,
                [b'\n', ..] => return Scan::Record(at, at + 1, line_ends),
                [b'\r', b'\n', ..] => return Scan::Record(at, at + 2, line_ends),
                [b'\r'] if ended => return Scan::Record(at, at + 1, line_ends),
                [b'\r'] => return Scan::More,
                _ => return Scan::Bad(AFTER_QUOTE),
            }
        } else {
            let rest = &bytes[at..];
            let Some(length) = rest.iter().position(|&byte| byte == delimiter || byte == b'\n') else {
                if !ended {
                    return Scan::More;
                }
                let end = bytes.len() - usize::from(rest.last() == Some(&b'\r'));
                spans.push(Span { start: at, end, doubled: false });
                return Scan::Record(end, bytes.len(), line_ends);
            };
            let end = at + length;
            if bytes[end] == delimiter {
                spans.push(Span { start: at, end, doubled: false });
                at = end + 1;
            } else {
                let trimmed = end - usize::from(length > 0 && bytes[end - 1] == b'\r');
                spans.push(Span { start: at, end: trimmed, doubled: false });
                return Scan::Record(trimmed, end + 1, line_ends);
            }
        }
    }
}

/// A field's value: its text, or `scratch` with doubled quotes made single.
fn value<'a>(text: &'a str, span: Span, quote: u8, scratch: &'a mut String) -> &'a str {
    let inside = &text[span.start..span.end];
    if !span.doubled {
        return inside;
    }
    scratch.clear();
    let mut rest = inside;
    while let Some(at) = rest.find(char::from(quote)) {
        scratch.push_str(&rest[..=at]);
        // Every quote inside of a quoted field is doubled, or the field had ended.
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    scratch.push_str(rest);
    scratch
}

/// Whether a file has the line ends of an old Mac. All of a CSV file would be read as one line, the header, so as a table without rows.
pub(crate) fn has_returns_alone(head: &[u8]) -> bool {
    let followed = &head[..head.len().saturating_sub(1)];
    memchr::memchr(b'\n', head).is_none() && memchr::memchr(b'\r', followed).is_some()
}

fn not_csv(file: &InputFile, what: &str) -> Report {
    let report = unreadable(file, format!("`{}` is not a text file: it looks like {what}", file.path));
    match what {
        "UTF-16 text" => report.hint("set `encoding = \"utf-16le\"` (or `\"utf-16be\"`) under `[csv]`"),
        "a gzip archive" => report.hint("name it with `.gz` at the end"),
        "a Zstandard archive" => report.hint("name it with `.zst` at the end"),
        "a Parquet file" => report.hint("set `format = \"parquet\"`"),
        _ => report,
    }
}

/// Reads the header, or makes one from the declared columns.
fn header(
    records: &mut Records,
    file: &InputFile,
    text: &TextSettings,
    declared: &[String],
) -> Result<Vec<String>, IngestError> {
    if !text.header {
        return Ok(declared.to_vec());
    }
    let step = records.step().map_err(|error| IngestError::read(file, error))?;
    let refuse = |why: &str| unreadable(file, format!("`{}` has no header that can be read: {why}", file.path));
    match step {
        Step::End => {
            return Err(refuse("the file is empty")
                .hint("remove the file, or set `header = false` under `[csv]`")
                .into());
        }
        Step::Bad(reason) => return Err(refuse(reason).into()),
        Step::Record => {}
    }
    if records.raw().contains(&0) {
        return Err(not_csv(file, "binary data").into());
    }
    let Ok(line) = std::str::from_utf8(records.raw()) else {
        return Err(refuse(&format!("it is not {} text", text.encoding.name().to_lowercase()))
            .hint("set `encoding` under `[csv]`, for example `\"windows-1252\"`")
            .into());
    };
    let mut scratch = String::new();
    let names: Vec<String> = records
        .spans
        .iter()
        .enumerate()
        .map(|(at, span)| match parse::trim(value(line, *span, records.quote, &mut scratch)) {
            // Some programs write a column of row numbers without a name.
            "" => format!("column_{}", at + 1),
            name => name.to_string(),
        })
        .collect();
    match twice(file, names.iter().map(String::as_str)) {
        Some(report) => Err(report.into()),
        None => Ok(names),
    }
}

/// The text of a file's header; `None` when its files have none.
pub(crate) fn header_text(file: &InputFile, text: &TextSettings) -> Result<Option<String>, IngestError> {
    if !text.header {
        return Ok(None);
    }
    let (mut records, _) = Records::open(file, text)?;
    header(&mut records, file, text, &[])?;
    Ok(Some(String::from_utf8_lossy(records.raw()).into_owned()))
}

/// Whether a field's text means a missing value.
struct Nulls<'a> {
    words: &'a [String],
    /// Whether a word begins with the byte: most fields are told apart by that.
    first: [bool; 256],
    empty: bool,
}

impl<'a> Nulls<'a> {
    fn new(words: &'a [String]) -> Self {
        let mut first = [false; 256];
        for byte in words.iter().filter_map(|word| word.as_bytes().first()) {
            first[usize::from(*byte)] = true;
        }
        Nulls { words, first, empty: words.iter().any(String::is_empty) }
    }

    fn has(&self, text: &str) -> bool {
        match text.as_bytes().first() {
            None => self.empty,
            Some(byte) => self.first[usize::from(*byte)] && self.words.iter().any(|word| word == text),
        }
    }
}

/// Tells a file's columns, and the types that are wanted.
pub(crate) fn look(file: &InputFile, node: &Node, question: &Question) -> Result<Seen, IngestError> {
    if !question.text.header && question.declared.is_empty() {
        return Err(Report::error(
            "missing-key",
            format!("source `{}` needs `[columns]`: its files have no header", node.name),
        )
        .hint("list the columns under `[columns]` in the order of the files, or set `header = true`")
        .at(node.place())
        .into());
    }
    let failed = |error| IngestError::read(file, error);
    let (mut records, _) = Records::open(file, &question.text)?;
    let names = header(&mut records, file, &question.text, &question.declared)?;
    let wants: Vec<&Want> = names.iter().map(|name| question.want(name)).collect();
    let mut shapes = vec![Shape::default(); names.len()];
    if wants.iter().any(|want| **want != Want::Name) {
        let nulls = Nulls::new(&question.text.null);
        let mut testers: Vec<Option<ColumnBuilder>> = wants
            .iter()
            .map(|want| if let Want::Beyond(data_type) = want { Some(ColumnBuilder::new(data_type, 0)) } else { None })
            .collect();
        let mut scratch = String::new();
        let mut rows = 0;
        while question.sample_rows.is_none_or(|most| rows < most) {
            match records.step().map_err(failed)? {
                Step::End => break,
                Step::Bad(_) => continue,
                Step::Record => rows += 1,
            }
            // Rows that cannot be read go to quarantine and say nothing about types.
            if records.spans.len() != names.len() {
                continue;
            }
            let Ok(text) = std::str::from_utf8(records.raw()) else { continue };
            for (at, span) in records.spans.iter().enumerate() {
                if *wants[at] == Want::Name {
                    continue;
                }
                let field = value(text, *span, records.quote, &mut scratch);
                if nulls.has(field) || nulls.has(parse::trim(field)) {
                    continue;
                }
                let fits = testers[at].as_mut().is_some_and(|tester| tester.append_text(parse::trim(field)));
                if !fits {
                    shapes[at].add_text(field);
                }
            }
            if rows % 1024 == 0 {
                testers.iter_mut().flatten().for_each(|tester| drop(tester.finish()));
            }
        }
    }
    Ok(names.into_iter().zip(shapes).map(|(name, shape)| (name, shape.data_type())).collect())
}

/// Where a field of the file goes.
enum Target {
    Column(usize),
    Unknown(String),
}

/// Reads a file's rows.
pub(crate) fn read(plan: &Plan, file: &InputFile, batch_rows: usize, out: Out<'_>) -> Result<FileEnd, Halt> {
    let failed = |error| Halt::Failed(IngestError::read(file, error));
    let (mut records, raw_file) = Records::open(file, &plan.text)?;
    let names = header(&mut records, file, &plan.text, &plan.declared)?;
    let mut seen = vec![false; plan.columns.len()];
    let targets: Vec<Target> = names
        .into_iter()
        .map(|name| match plan.index.get(&name) {
            Some(&at) => {
                seen[at] = true;
                Target::Column(at)
            }
            None => Target::Unknown(name),
        })
        .collect();
    let nulls = Nulls::new(&plan.text.null);
    let mut assembler = Assembler::new(plan, file, seen.clone(), batch_rows, out);
    let mut scratch = String::new();
    loop {
        let reason = match records.step().map_err(failed)? {
            Step::End => break,
            Step::Bad(reason) => {
                let trouble = Trouble::unreadable(plan, reason.to_string(), 0);
                assembler.end_bad_row(records.line, records.raw(), trouble)?;
                continue;
            }
            Step::Record if records.spans.len() != targets.len() => {
                Some((fields(records.spans.len(), targets.len()), 0))
            }
            Step::Record => None,
        };
        let raw = records.raw();
        let text = std::str::from_utf8(raw);
        let (text, reason) = match (text, reason) {
            (Ok(text), None) => (text, None),
            (Ok(_), reason) => ("", reason),
            (Err(error), _) => ("", Some((not_text(plan, &error), error.valid_up_to()))),
        };
        if let Some((reason, at)) = reason {
            assembler.end_bad_row(records.line, raw, Trouble::unreadable(plan, reason, at))?;
            continue;
        }
        let mut troubles = Troubles::default();
        for (span, target) in records.spans.iter().zip(&targets) {
            let field = value(text, *span, records.quote, &mut scratch);
            match target {
                Target::Column(at) => {
                    let builder = &mut assembler.builders[*at];
                    let field = if builder.is_text() { field } else { parse::trim(field) };
                    if nulls.has(field) {
                        builder.append_null();
                    } else if !builder.append_text(field) {
                        let column = &plan.columns[*at];
                        troubles.add(plan.on_misfit, || {
                            let reason = explain(field, &column.data_type);
                            Trouble::new(plan.on_misfit, "data_type", reason, Some(&column.name), span.start)
                        });
                    }
                }
                Target::Unknown(name) => {
                    if !nulls.has(field) {
                        troubles.add(plan.on_unknown, || {
                            let reason = format!("the contract knows no column `{name}`, and it has a value");
                            Trouble::new(plan.on_unknown, "columns", reason, Some(name), span.start)
                        });
                    }
                }
            }
        }
        assembler.end_row(records.line, raw, troubles)?;
    }
    assembler.flush()?;
    let digest = raw_file.rest().map_err(failed)?;
    Ok(FileEnd { digest, seen })
}

/// Why a field does not read as a column's type.
fn explain(field: &str, data_type: &DataType) -> String {
    match data_type {
        // Inside of a list or a struct the reason is found by reading again: this is the rare way.
        DataType::List(_) | DataType::Struct(_) => match crate::json::value(field) {
            Ok(raw) => match ColumnBuilder::new(data_type, 1).append_json(raw) {
                Err(misfit) => misfit.reason,
                Ok(()) => parse::explain(field, data_type),
            },
            Err(_) => format!("{} is not JSON", parse::quote(field)),
        },
        _ => parse::explain(field, data_type),
    }
}

fn fields(found: usize, expected: usize) -> String {
    let plural = if found == 1 { "" } else { "s" };
    format!("the row has {found} field{plural}, not {expected}")
}

/// Why a record's bytes are not text.
pub(crate) fn not_text(plan: &Plan, error: &std::str::Utf8Error) -> String {
    format!("what stands at byte {} is not {} text", error.valid_up_to() + 1, plan.text.encoding.name().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::RECORD_BYTES_MAX;

    /// All records of a text, with their lines, read through a window.
    fn records(text: &[u8]) -> Vec<(u64, Result<Vec<String>, &'static str>)> {
        let folder = tempfile::tempdir().unwrap();
        let file = crate::tests::input(folder.path(), "a.csv", text);
        let settings =
            TextSettings { delimiter: None, quote: b'"', header: false, null: vec![], encoding: encoding_rs::UTF_8 };
        let (mut records, _) = Records::open(&file, &settings).unwrap();
        let mut found = Vec::new();
        loop {
            let step = records.step().unwrap();
            let text = String::from_utf8_lossy(records.raw()).into_owned();
            let mut scratch = String::new();
            match step {
                Step::End => return found,
                Step::Bad(reason) => found.push((records.line, Err(reason))),
                Step::Record => {
                    let fields = records.spans.iter().map(|span| value(&text, *span, b'"', &mut scratch).to_string());
                    found.push((records.line, Ok(fields.collect())));
                }
            }
        }
    }

    fn row(fields: &[&str]) -> Result<Vec<String>, &'static str> {
        Ok(fields.iter().map(|field| field.to_string()).collect())
    }

    #[test]
    fn records_know_their_physical_lines() {
        let text = b"a,b\r\n\n\"x\ny\",\"say \"\"hi\"\"\"\n1,\n\r\n,\"\"\r\nlast,\"1,2\"";
        assert_eq!(
            records(text),
            [
                (1, row(&["a", "b"])),
                (3, row(&["x\ny", "say \"hi\""])),
                (5, row(&["1", ""])),
                (7, row(&["", ""])),
                (8, row(&["last", "1,2"])),
            ]
        );
    }

    #[test]
    fn a_stray_quote_costs_one_line() {
        let text = b"1,\"a\n2,b\n3,\"c\"\n4,\"d\"x\n5,e\n6,in\"side\n7,\"open\n";
        assert_eq!(
            records(text),
            [
                (1, Err(AFTER_QUOTE)),
                (2, row(&["2", "b"])),
                (3, row(&["3", "c"])),
                (4, Err(AFTER_QUOTE)),
                (5, row(&["5", "e"])),
                (6, row(&["6", "in\"side"])),
                (7, Err(UNCLOSED)),
            ]
        );
    }

    #[test]
    fn an_endless_record_is_bounded_and_the_next_line_is_read() {
        let mut text = b"1,a\n".to_vec();
        text.resize(RECORD_BYTES_MAX * 2, b'x');
        text.extend(b"\n2,b\n\"");
        text.resize(text.len() + RECORD_BYTES_MAX + 10, b'y');
        let found = records(&text);
        assert_eq!(found[1], (2, Err(TOO_LONG)));
        assert_eq!(found[2], (3, row(&["2", "b"])));
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn sound_records_read_as_the_csv_crate_reads_them() {
        let seed = pelton_base::Seed(11);
        let mut draw = 0;
        let mut next = |below: u64| {
            draw += 1;
            seed.at(draw) % below
        };
        for _ in 0..200 {
            let mut text = String::new();
            for _ in 0..next(20) + 1 {
                for field in 0..3 {
                    let plain = ["", "a", "é€", "12.5", "x y"][next(5) as usize];
                    let quoted = ["\"\"", "\"a,b\"", "\"a\nb\"", "\"say \"\"x\"\"\"", "\"\r\n\""][next(5) as usize];
                    text.push_str(if next(2) == 0 { plain } else { quoted });
                    text.push_str(if field < 2 { "," } else { ["\n", "\r\n"][next(2) as usize] });
                }
            }
            let mut oracle = ::csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
            let expect: Vec<(u64, Result<Vec<String>, &str>)> = oracle
                .records()
                .map(|record| {
                    let record = record.unwrap();
                    let line = record.position().unwrap().line();
                    (line, Ok(record.iter().map(str::to_string).collect()))
                })
                .collect();
            let found = records(text.as_bytes());
            assert_eq!(
                found.iter().map(|r| &r.1).collect::<Vec<_>>(),
                expect.iter().map(|r| &r.1).collect::<Vec<_>>(),
                "{text:?}"
            );
        }
    }
}
