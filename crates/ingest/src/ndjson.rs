//! NDJSON: one JSON object a line.
//!
//! Lines end in `\n` or `\r\n`, or all in `\r` alone: inside of a JSON text a return is white space, never a part of a value.

use crate::block::{Assembler, FileEnd, Halt, Out, Trouble, Troubles, broken};
use crate::column::{ColumnBuilder, offset};
use crate::csv::{has_returns_alone, not_text};
use crate::error::{IngestError, looks_like, unreadable};
use crate::infer::{Named, Shape};
use crate::json::{self, Broken};
use crate::list::InputFile;
use crate::read::{self, Raw, Window};
use crate::schema::{Plan, Question, Seen, TextSettings, Want};
use pelton_base::Place;
use std::collections::HashMap;
use std::io;

/// What comes next in a file.
enum Step {
    /// A line with text.
    Line,
    /// A line that is longer than a record may be.
    TooLong,
    /// Nothing.
    End,
}

/// Reads lines, without blank ones.
struct Lines {
    window: Window,
    /// The byte in which lines end.
    line_end: u8,
    line: u64,
    length: usize,
    pending: (usize, u64),
    skip_rest: bool,
}

impl Lines {
    fn open(file: &InputFile, text: &TextSettings) -> Result<(Self, Raw), IngestError> {
        let (window, raw) = read::text(file, text.encoding)?;
        let mut lines = Lines { window, line_end: b'\n', line: 1, length: 0, pending: (0, 0), skip_rest: false };
        lines.window.fill().map_err(|error| IngestError::read(file, error))?;
        let head = lines.window.bytes();
        let first = head.iter().find(|byte| !byte.is_ascii_whitespace());
        match looks_like(head) {
            Some(what) if first != Some(&b'{') || what == "UTF-16 text" => {
                let report = unreadable(file, format!("`{}` is not NDJSON: it looks like {what}", file.path));
                return Err(match what {
                    "UTF-16 text" => report.hint("set `encoding = \"utf-16le\"` (or `\"utf-16be\"`) under `[csv]`"),
                    _ => report,
                }
                .into());
            }
            _ => {}
        }
        if first == Some(&b'[') {
            let report = unreadable(file, format!("`{}` is one JSON array, not one object a line", file.path));
            return Err(report.hint(format!("jq -c '.[]' {0} > {0}.new && mv {0}.new {0}", file.path)).into());
        }
        if is_one_object(head) {
            let report = unreadable(file, format!("`{}` has objects over several lines, not one a line", file.path));
            return Err(report.hint(format!("jq -c . {0} > {0}.new && mv {0}.new {0}", file.path)).into());
        }
        if has_returns_alone(head) {
            lines.line_end = b'\r';
        }
        Ok((lines, raw))
    }

    fn raw(&self) -> &[u8] {
        &self.window.bytes()[..self.length]
    }

    fn step(&mut self) -> io::Result<Step> {
        self.window.consume(self.pending.0);
        self.line += self.pending.1;
        self.pending = (0, 0);
        if std::mem::take(&mut self.skip_rest) {
            self.window.skip_line(self.line_end)?;
        }
        // Where the search for a line end goes on after the window grew.
        let mut from = 0;
        loop {
            let bytes = self.window.bytes();
            let (length, whole) = match memchr::memchr(self.line_end, &bytes[from..]) {
                Some(at) => (from + at, from + at + 1),
                None if self.window.ended() && bytes.is_empty() => return Ok(Step::End),
                None if self.window.ended() => (bytes.len(), bytes.len()),
                None if self.window.is_full() => {
                    self.length = bytes.len();
                    self.pending = (bytes.len(), 1);
                    self.skip_rest = true;
                    return Ok(Step::TooLong);
                }
                None => {
                    from = bytes.len();
                    self.window.fill()?;
                    continue;
                }
            };
            if bytes[..length].iter().all(u8::is_ascii_whitespace) {
                self.window.consume(whole);
                self.line += 1;
                from = 0;
                continue;
            }
            self.length = if bytes[length - 1] == b'\r' { length - 1 } else { length };
            self.pending = (whole, 1);
            return Ok(Step::Line);
        }
    }
}

/// Tells the keys of a file's objects, and the types that are wanted.
pub(crate) fn look(file: &InputFile, question: &Question) -> Result<Seen, IngestError> {
    if !question.all_names && !question.wants_types() {
        // What is wrong with the file as a whole is found now, with all others of its kind.
        return Lines::open(file, &question.text).map(|_| Seen::new());
    }
    let failed = |error| IngestError::read(file, error);
    let (mut lines, _) = Lines::open(file, &question.text)?;
    let mut named = Named::default();
    let mut wants: Vec<&Want> = Vec::new();
    let mut testers: HashMap<usize, ColumnBuilder> = HashMap::new();
    let mut rows = 0;
    while question.sample_rows.is_none_or(|most| rows < most) {
        match lines.step().map_err(failed)? {
            Step::End => break,
            Step::TooLong => continue,
            Step::Line => rows += 1,
        }
        let Ok(text) = std::str::from_utf8(lines.raw()) else { continue };
        // A line is taken as a whole or not at all: values in front of a mistake say nothing about types.
        let mut values = Vec::with_capacity(named.list.len());
        if json::fields(text, |name, raw| values.push((name, raw))).is_err() {
            continue;
        }
        let mut guess = 0;
        for (name, raw) in values {
            let at = named.position(&name, guess);
            guess = at + 1;
            if at == wants.len() {
                wants.push(question.want(&name));
            }
            match wants[at] {
                Want::Name => {}
                Want::Type => named.list[at].1.add_json(raw),
                Want::Beyond(data_type) => {
                    let tester = testers.entry(at).or_insert_with(|| ColumnBuilder::new(data_type, 0));
                    if tester.append_json(raw).is_err() {
                        named.list[at].1.add_json(raw);
                    }
                }
            }
        }
        if rows % 1024 == 0 {
            testers.values_mut().for_each(|tester| drop(tester.finish()));
        }
    }
    Ok(named.list.into_iter().map(|(name, shape): (String, Shape)| (name, shape.data_type())).collect())
}

/// Reads a file's rows.
pub(crate) fn read(plan: &Plan, file: &InputFile, batch_rows: usize, out: Out<'_>) -> Result<FileEnd, Halt> {
    let failed = |error| Halt::Failed(IngestError::read(file, error));
    let (mut lines, raw_file) = Lines::open(file, &plan.text)?;
    let columns = plan.columns.len();
    let mut seen = vec![false; columns];
    let mut assembler = Assembler::new(plan, file, vec![true; columns], batch_rows, out);
    let mut given = vec![false; columns];
    // Objects of a file mostly have their keys in the same order: where each key led the last time.
    let mut order: Vec<usize> = Vec::new();
    loop {
        match lines.step().map_err(failed)? {
            Step::End => break,
            Step::Line => {}
            Step::TooLong => {
                let trouble = Trouble::unreadable(plan, "the line is longer than 16 MiB".into(), 0);
                assembler.end_bad_row(lines.line, lines.raw(), trouble)?;
                continue;
            }
        }
        let raw = lines.raw();
        let text = match std::str::from_utf8(raw) {
            Ok(text) => text,
            Err(error) => {
                let trouble = Trouble::unreadable(plan, not_text(plan, &error), error.valid_up_to());
                assembler.end_bad_row(lines.line, raw, trouble)?;
                continue;
            }
        };
        if !text.trim_ascii_start().starts_with('{') {
            let trouble = Trouble::unreadable(plan, not_an_object(text), 0);
            assembler.end_bad_row(lines.line, raw, trouble)?;
            continue;
        }
        given.fill(false);
        let mut troubles = Troubles::default();
        let mut unreadable: Option<Trouble> = None;
        let mut place = 0;
        let builders = &mut assembler.builders;
        let result = json::fields(text, |name, raw| {
            let guess = order.get(place).copied().filter(|&at| plan.columns[at].name == name);
            let Some(at) = guess.or_else(|| plan.index.get(name.as_ref()).copied()) else {
                if raw != "null" {
                    troubles.add(plan.on_unknown, || {
                        let reason = format!("the contract knows no column `{name}`, and it has a value");
                        Trouble::new(plan.on_unknown, "columns", reason, Some(&name), offset(text, raw))
                    });
                }
                return;
            };
            if place < order.len() {
                order[place] = at;
            } else if place < columns {
                order.push(at);
            }
            place += 1;
            if std::mem::replace(&mut given[at], true) {
                unreadable.get_or_insert_with(|| {
                    Trouble::unreadable(plan, format!("key `{name}` stands twice in the object"), offset(text, raw))
                });
                return;
            }
            if let Err(misfit) = builders[at].append_json(raw) {
                let column = &plan.columns[at];
                troubles.add(plan.on_misfit, || {
                    let place = offset(text, raw) + misfit.at;
                    Trouble::new(plan.on_misfit, "data_type", misfit.reason, Some(&column.name), place)
                });
            }
        });
        for (at, given) in given.iter().enumerate() {
            seen[at] |= given;
            if !given {
                builders[at].append_null();
            }
        }
        if let Err(Broken { at, ended }) = result {
            unreadable = Some(Trouble::unreadable(plan, broken_json(text, at, ended), at));
        }
        match unreadable {
            Some(trouble) => assembler.end_filled_bad_row(lines.line, raw, trouble)?,
            None => assembler.end_row(lines.line, raw, troubles)?,
        }
    }
    assembler.flush()?;
    let digest = raw_file.rest().map_err(failed)?;
    let gone = plan.columns.iter().zip(&seen).find(|(column, seen)| column.known && !**seen);
    if let Some((column, _)) = gone.filter(|_| plan.columns_frozen) {
        let reason = format!("column `{}` is missing", column.name);
        let place = Place { line: 1, ..Place::file(&file.path) };
        return Err(broken(&plan.source, "columns", &reason, None).at(place).into());
    }
    Ok(FileEnd { digest, seen })
}

fn not_an_object(text: &str) -> String {
    let what = match text.trim_ascii_start().as_bytes().first() {
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b'0'..=b'9' | b'-') => "a number",
        _ => return "the line is not a JSON object".to_string(),
    };
    format!("the line is {what}, not a JSON object")
}

fn broken_json(text: &str, at: usize, ended: bool) -> String {
    if ended {
        return "the line ends in the middle of its JSON".to_string();
    }
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    format!("the line is not JSON from character {} on", text[..at].chars().count() + 1)
}

/// Whether a file begins as a program prints an object for people: a brace alone, and its first member on the next line. A single line that
/// is cut off is followed by the next object.
fn is_one_object(head: &[u8]) -> bool {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    lines.next() == Some(b"{".as_slice()) && lines.next().is_some_and(|line| line.starts_with(b"\""))
}
