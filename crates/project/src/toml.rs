//! Reads settings from TOML and collects every mistake with its place: keys are checked against [`crate::settings`], and
//! what is accepted is quoted from there.

use crate::Spanned;
use crate::settings::{SettingDoc, SettingsTable};
use crate::values;
use pelton_base::{Grain, Place, Report};
use std::cell::RefCell;
use toml_edit::{Document, Item, TableLike, Value};

/// A byte range in a file's text.
pub(crate) type Span = (usize, usize);

/// A file under reading, and the mistakes found in it so far.
pub(crate) struct File<'a> {
    /// Its path, relative to the project.
    pub path: &'a str,
    /// Its whole text.
    pub text: &'a str,
    reports: RefCell<Vec<Report>>,
}

impl<'a> File<'a> {
    pub fn new(path: &'a str, text: &'a str) -> Self {
        File { path, text, reports: RefCell::default() }
    }

    pub fn place(&self, span: Span) -> Place {
        Place::in_text(self.path, self.text, span.0, span.1)
    }

    /// Takes a mistake in.
    pub fn report(&self, report: Report) {
        self.reports.borrow_mut().push(report);
    }

    /// Takes in a mistake at a byte range of the file.
    pub fn report_at(&self, span: Span, report: Report) {
        self.report(report.at(self.place(span)));
    }

    pub fn finish(self) -> Vec<Report> {
        self.reports.into_inner()
    }
}

/// Parses the TOML that stands at `span` of the file; a syntax error becomes a report and `None`.
pub(crate) fn parse<'a>(file: &File<'a>, span: Span) -> Option<Document<&'a str>> {
    let text = &file.text[span.0..span.1];
    match Document::parse(text) {
        Ok(document) => Some(document),
        Err(error) => {
            let at = error.span().unwrap_or(text.len()..text.len());
            file.report_at((span.0 + at.start, span.0 + at.end), syntax_error(text, at.start, error.message()));
            None
        }
    }
}

/// The report of a TOML syntax error at a byte of a text. The two mistakes that people make are said in our words.
fn syntax_error(text: &str, at: usize, message: &str) -> Report {
    let rest = &text[at..];
    let word = &rest[..rest.find(|c: char| !c.is_alphanumeric() && !"_-./*".contains(c)).unwrap_or(rest.len())];
    let is_value = text[..at].trim_end().ends_with(['=', '[', ',']) && word.starts_with(char::is_alphabetic);
    if is_value && !word.is_empty() {
        return invalid_toml("a text needs quotes").hint(format!("write `\"{word}\"`"));
    }
    if message.contains("basic string") || message.contains("literal string") {
        return invalid_toml("a text is not closed, or holds what a text cannot hold")
            .note(message.replace('\n', ", "));
    }
    invalid_toml(&message.lines().map(str::trim).collect::<Vec<_>>().join(", "))
}

/// The report of TOML that is none.
pub(crate) fn invalid_toml(why: &str) -> Report {
    Report::error("invalid-toml", format!("this is not valid TOML: {why}"))
}

/// A table of settings under reading.
pub(crate) struct Section<'a> {
    pub file: &'a File<'a>,
    /// Where the TOML begins in the file; the parser's spans count from there.
    base: usize,
    pub doc: &'static SettingsTable,
    table: Option<&'a dyn TableLike>,
    /// What a missing key is missing in.
    pub span: Option<Span>,
    /// Whether a missing key is a mistake: not when the whole table could not be read.
    demands: bool,
}

impl<'a> Section<'a> {
    /// A table whose keys are checked at once: unknown ones, and ones that are not built yet, are reported.
    pub fn new(
        file: &'a File<'a>,
        base: usize,
        doc: &'static SettingsTable,
        table: &'a dyn TableLike,
        span: Option<Span>,
    ) -> Self {
        let section = Section { file, base, doc, table: Some(table), span, demands: true };
        for (key, _) in table.iter() {
            section.check_key(key);
        }
        section
    }

    /// A table that could not be read; every setting is absent, and that is no further mistake.
    pub fn unreadable(file: &'a File<'a>, doc: &'static SettingsTable) -> Self {
        Section { file, base: 0, doc, table: None, span: None, demands: false }
    }

    fn check_key(&self, key: &str) {
        match self.doc.find(key) {
            Some(setting) if setting.built => {}
            Some(setting) => self.file.report_at(
                self.key_span(key),
                Report::error("not-built-yet", format!("`{key}` is not built yet"))
                    .note(format!("it is meant for: {}", setting.doc)),
            ),
            None => {
                let report = Report::error("unknown-key", format!("`{key}` is not a setting of {}", self.doc.title));
                let plain = report.hints.len();
                let report = report.suggest(key, self.doc.keys());
                let report = match report.hints.len() == plain {
                    true => report.note(format!("settings here: {}", listed(self.doc.keys()))),
                    false => report,
                };
                self.file.report_at(self.key_span(key), report);
            }
        }
    }

    fn key_span(&self, key: &str) -> Span {
        let found = self.table.and_then(|table| table.get_key_value(key));
        let span = found.and_then(|(key, item)| key.span().or_else(|| item.span()));
        span.map_or((self.base, self.base), |span| (self.base + span.start, self.base + span.end))
    }

    /// The entry of a key, when it is there.
    pub fn get(&self, key: &str) -> Option<Entry<'a>> {
        let setting = self.doc.find(key).expect("the reader asks for keys that the settings define");
        let (_, item) = self.table?.get_key_value(key)?;
        let key_span = self.key_span(key);
        let at = item.span().map(|span| (self.base + span.start, self.base + span.end));
        Some(Entry {
            file: self.file,
            base: self.base,
            key: key.to_string(),
            doc: setting,
            item: Slot::Item(item),
            span: at.unwrap_or(key_span),
            key_span,
        })
    }

    /// All entries that are settings, in the order of the file.
    pub fn entries(&self) -> Vec<Entry<'a>> {
        let keys: Vec<&str> = self.table.map_or_else(Vec::new, |table| table.iter().map(|(key, _)| key).collect());
        keys.into_iter().filter(|key| self.doc.find(key).is_some()).filter_map(|key| self.get(key)).collect()
    }

    /// The entry of a key that is needed; its absence is reported, once.
    pub fn need(&self, key: &str) -> Option<Entry<'a>> {
        let entry = self.get(key);
        if entry.is_none() && self.demands {
            let setting = self.doc.find(key).expect("the reader asks for keys that the settings define");
            let report = Report::error("missing-key", format!("{} needs `{key}`", self.doc.title))
                .note(format!("{} Accepted is {}.", setting.doc, setting.accepts))
                .hint(format!("add `{}`", setting.example));
            match self.span {
                Some(span) => self.file.report_at(span, report),
                None => self.file.report(report.at(Place::file(self.file.path))),
            }
        }
        entry
    }
}

/// A key with its value.
pub(crate) struct Entry<'a> {
    pub file: &'a File<'a>,
    base: usize,
    pub key: String,
    pub doc: &'static SettingDoc,
    item: Slot<'a>,
    /// Where the value is written.
    pub span: Span,
    /// Where the key is written.
    pub key_span: Span,
}

#[derive(Clone, Copy)]
enum Slot<'a> {
    Item(&'a Item),
    Value(&'a Value),
}

impl<'a> Entry<'a> {
    fn value(&self) -> Option<&'a Value> {
        match self.item {
            Slot::Item(item) => item.as_value(),
            Slot::Value(value) => Some(value),
        }
    }

    /// Reports that the value is not accepted, and why.
    pub fn refuse(&self, why: impl std::fmt::Display) {
        self.refuse_at(self.span, why, &[]);
    }

    fn refuse_at(&self, span: Span, why: impl std::fmt::Display, words: &[&str]) {
        let report = Report::error("invalid-value", format!("`{}` {why}", self.key))
            .note(format!("accepted is {}", self.doc.accepts));
        let written = &self.file.text[span.0..span.1];
        let report = if words.is_empty() { report } else { report.suggest(written, words.iter().copied()) };
        self.file.report_at(span, report);
    }

    fn refuse_type(&self) {
        self.refuse(format_args!("cannot be {}", type_name(self.item)));
    }

    /// A text.
    pub fn text(&self) -> Option<Spanned<String>> {
        match self.value() {
            Some(Value::String(text)) => Some(Spanned {
                value: text.value().clone(),
                span: content_span(self.file.text, self.span, text.value()),
            }),
            _ => {
                self.refuse_type();
                None
            }
        }
    }

    /// A text with at least one character that is not a space.
    pub fn words(&self) -> Option<Spanned<String>> {
        let text = self.text()?;
        if text.value.trim().is_empty() {
            self.refuse("cannot be empty");
            return None;
        }
        Some(text)
    }

    /// A text, or a list of texts, none empty, none twice.
    pub fn texts(&self) -> Vec<Spanned<String>> {
        let mut texts: Vec<Spanned<String>> = Vec::new();
        for entry in self.items() {
            let Some(text) = entry.words() else { continue };
            if texts.iter().any(|other| other.value == text.value) {
                self.refuse_at(text.span, format_args!("lists `{}` twice", text.value), &[]);
                continue;
            }
            texts.push(text);
        }
        texts
    }

    /// As [`Entry::texts`], but an empty list is reported.
    pub fn some_texts(&self) -> Vec<Spanned<String>> {
        if matches!(self.value(), Some(Value::Array(array)) if array.is_empty()) {
            self.refuse("cannot be empty");
        }
        self.texts()
    }

    /// The items of a list, or the value itself when it is not a list.
    pub fn items(&self) -> Vec<Entry<'a>> {
        match self.value() {
            Some(Value::Array(array)) => array.iter().map(|value| self.child(value)).collect(),
            _ => vec![Entry { key: self.key.clone(), ..*self }],
        }
    }

    fn child(&self, value: &'a Value) -> Entry<'a> {
        let span = value.span().map_or(self.span, |span| (self.base + span.start, self.base + span.end));
        Entry { item: Slot::Value(value), span, key: self.key.clone(), ..*self }
    }

    /// `true` or `false`.
    pub fn flag(&self) -> Option<bool> {
        match self.value() {
            Some(Value::Boolean(flag)) => Some(*flag.value()),
            _ => {
                self.refuse_type();
                None
            }
        }
    }

    /// A whole number within bounds.
    pub fn integer(&self, low: i64, high: i64) -> Option<i64> {
        match self.value() {
            Some(Value::Integer(number)) if (low..=high).contains(number.value()) => Some(*number.value()),
            Some(Value::Integer(number)) => {
                self.refuse(format_args!("cannot be {}", number.value()));
                None
            }
            _ => {
                self.refuse_type();
                None
            }
        }
    }

    /// A finite number.
    pub fn number(&self) -> Option<f64> {
        match self.value() {
            Some(Value::Integer(number)) => Some(*number.value() as f64),
            Some(Value::Float(number)) if number.value().is_finite() => Some(*number.value()),
            _ => {
                self.refuse_type();
                None
            }
        }
    }

    /// A size in bytes: a number, or a text such as `512MB`.
    pub fn size(&self, low: u64) -> Option<u64> {
        let size = match self.value() {
            Some(Value::Integer(number)) => u64::try_from(*number.value()).ok(),
            Some(Value::String(text)) => values::parse_size(text.value()),
            _ => {
                self.refuse_type();
                return None;
            }
        };
        match size {
            Some(size) if size >= low => Some(size),
            Some(_) => {
                self.refuse("is too small");
                None
            }
            None => {
                self.refuse("is not a size");
                None
            }
        }
    }

    /// A duration longer than nothing, in microseconds.
    pub fn duration_us(&self) -> Option<i64> {
        let text = self.text()?;
        let us = values::parse_duration_us(&text.value).filter(|us| *us > 0);
        if us.is_none() {
            let is_of_calendar =
                values::parse_grain(&text.value).is_some_and(|grain| matches!(grain, Grain::Months(_)));
            let why = if is_of_calendar { ", because months differ in length" } else { "" };
            self.refuse_at(text.span, format_args!("is not a duration: `{}`{why}", text.value), &[]);
        }
        us
    }

    /// Steps of time: a duration, or a number of weeks, months, quarters or years.
    pub fn grain(&self) -> Option<Grain> {
        let text = self.text()?;
        let grain = values::parse_grain(&text.value);
        if grain.is_none() {
            self.refuse_at(text.span, format_args!("is no length of time: `{}`", text.value), &[]);
        }
        grain
    }

    /// A share: a number from 0 to 1, or a text such as `20%`.
    pub fn share(&self) -> Option<f64> {
        let share = match self.value() {
            Some(Value::String(text)) => values::parse_share(text.value()),
            Some(Value::Integer(_) | Value::Float(_)) => self.number().filter(|share| (0.0..=1.0).contains(share)),
            _ => {
                self.refuse_type();
                return None;
            }
        };
        if share.is_none() {
            self.refuse("is not a share between 0 and 1");
        }
        share
    }

    /// A tolerance: a number of rows, or a share such as `1%`.
    pub fn tolerance(&self) -> Option<crate::Tolerance> {
        let tolerance = match self.value() {
            Some(Value::String(text)) => values::parse_tolerance(text.value()),
            Some(Value::Integer(rows)) => u64::try_from(*rows.value()).ok().map(crate::Tolerance::Rows),
            _ => {
                self.refuse_type();
                return None;
            }
        };
        if tolerance.is_none() {
            self.refuse("is not a tolerance");
        }
        tolerance
    }

    /// One of several words. Words of `later` are refused by name as not built yet.
    pub fn choice<T: Copy>(&self, words: &[(&str, T)], later: &[&str]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(*meaning);
        }
        if later.contains(&text.value.as_str()) {
            self.not_built(&text);
            return None;
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).chain(later.iter().copied()).collect();
        self.refuse_at(text.span, format_args!("cannot be `{}`", text.value), &known);
        None
    }

    /// Reports a value that a later version will know.
    pub fn not_built(&self, text: &Spanned<String>) {
        let report = Report::error("not-built-yet", format!("`{} = \"{}\"` is not built yet", self.key, text.value))
            .note(format!("this version accepts {}", self.doc.accepts));
        self.file.report_at(text.span, report);
    }

    /// The tables of a list: inline ones, or `[[key]]`s. `None` when the value is no list of tables; an empty list has none.
    pub fn tables(&self) -> Option<Vec<(Span, &'a dyn TableLike)>> {
        let at = |span: Option<std::ops::Range<usize>>| {
            span.map_or(self.key_span, |span| (self.base + span.start, self.base + span.end))
        };
        match self.item {
            Slot::Item(Item::ArrayOfTables(tables)) => {
                Some(tables.iter().map(|table| (at(table.span()), table as &dyn TableLike)).collect())
            }
            _ => match self.value() {
                Some(Value::Array(array)) => {
                    let table = |value: &'a Value| Some((at(value.span()), value.as_inline_table()? as &dyn TableLike));
                    array.iter().map(table).collect()
                }
                _ => None,
            },
        }
    }

    /// The sections of a list of tables of settings; anything else is reported.
    pub fn sections(&self, doc: &'static SettingsTable) -> Vec<Section<'a>> {
        let Some(tables) = self.tables() else {
            self.refuse_type();
            return Vec::new();
        };
        let section = |(span, table)| Section::new(self.file, self.base, doc, table, Some(first_line(self.file, span)));
        tables.into_iter().map(section).collect()
    }

    /// Where a part of the value stands in the file.
    pub fn span_of(&self, span: Option<std::ops::Range<usize>>) -> Span {
        span.map_or(self.span, |span| (self.base + span.start, self.base + span.end))
    }

    /// Whether the value is a list.
    pub fn is_list(&self) -> bool {
        matches!(self.item, Slot::Item(Item::ArrayOfTables(_))) || self.value().is_some_and(Value::is_array)
    }

    /// A date or a time, as text.
    pub fn date_time(&self) -> Option<String> {
        match self.value() {
            Some(Value::Datetime(time)) => Some(time.value().to_string()),
            _ => None,
        }
    }

    /// Whether the value is a table, inline or not.
    pub fn is_table(&self) -> bool {
        match self.item {
            Slot::Item(item) => item.as_table_like().is_some(),
            Slot::Value(value) => value.is_inline_table(),
        }
    }

    /// Whether the value is a table with another key than this one.
    pub fn has_other_than(&self, key: &str) -> bool {
        let table = match self.item {
            Slot::Item(item) => item.as_table_like(),
            Slot::Value(value) => value.as_inline_table().map(|table| table as &dyn TableLike),
        };
        table.is_some_and(|table| table.iter().any(|(found, _)| found != key))
    }

    /// Whether the value is a text.
    pub fn is_text(&self) -> bool {
        self.value().is_some_and(Value::is_str)
    }

    /// A table of settings; anything else is reported.
    pub fn section(&self, doc: &'static SettingsTable) -> Section<'a> {
        let table = match self.item {
            Slot::Item(item) => item.as_table_like(),
            Slot::Value(value) => value.as_inline_table().map(|table| table as &dyn TableLike),
        };
        match table {
            Some(table) => Section::new(self.file, self.base, doc, table, Some(self.key_span)),
            None => {
                self.refuse_type();
                Section::unreadable(self.file, doc)
            }
        }
    }
}

/// The first line of a range: enough to point at a table that goes over many.
fn first_line(file: &File, (start, end): Span) -> Span {
    let line_end = file.text[start..end].find('\n').map_or(end, |at| start + at);
    (start, line_end.max(start))
}

/// The range of a text's characters inside its quotes, when they stand there as they are; else the whole value.
///
/// With it, a place inside the text (of a mistake in SQL) is a place in the file.
pub(crate) fn content_span(file: &str, span: Span, value: &str) -> Span {
    let written = &file[span.0..span.1];
    for quotes in ["\"\"\"", "'''", "\"", "'"] {
        let Some(inner) = written.strip_prefix(quotes).and_then(|rest| rest.strip_suffix(quotes)) else { continue };
        let skipped = if quotes.len() == 3 { inner.len() - inner.trim_start_matches(['\r', '\n']).len() } else { 0 };
        // A line break right after three quotes is not part of the text.
        for skip in [0, 1, 2].into_iter().filter(|skip| *skip <= skipped) {
            if &inner[skip..] == value {
                let start = span.0 + quotes.len() + skip;
                return (start, start + value.len());
            }
        }
    }
    span
}

fn type_name(item: Slot) -> &'static str {
    let value = match item {
        Slot::Item(Item::Value(value)) => value,
        Slot::Item(Item::ArrayOfTables(_)) => return "a list of tables",
        Slot::Item(_) => return "a table",
        Slot::Value(value) => value,
    };
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "a truth value",
        Value::Datetime(_) => "a date or time",
        Value::Array(_) => "a list",
        Value::InlineTable(_) => "a table",
    }
}

/// Words in backticks, separated by commas.
pub(crate) fn listed<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
