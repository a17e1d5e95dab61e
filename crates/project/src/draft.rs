//! A node as its file gives it, before the names that it reads are known to exist; and what all kinds of files share.

use crate::header::{self, Header};
use crate::settings::SettingsTable;
use crate::sql::{self, SqlMistake};
use crate::toml::{File, Section, Span};
use crate::{Body, ColumnOrder, Select, Spanned};
use pelton_base::{NodeName, Report};
use toml_edit::Document;

/// A node that is not linked yet.
pub(crate) struct Draft {
    pub description: Option<String>,
    pub tags: Vec<String>,
    pub body: Body,
    pub readings: Vec<Reading>,
}

/// A name that a file mentions as something to read.
pub(crate) struct Reading {
    pub name: String,
    /// Where it stands in the file.
    pub span: Span,
    pub how: How,
}

/// In what way a file reads a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// After FROM or JOIN, or as the table of `predict`.
    Select,
    /// As the model of `predict`.
    Predict,
    /// As a feature table.
    Feature,
    /// In `references(table.column)`.
    References,
    /// In the SELECT of a check; the node's own name means its staged rows.
    Check,
}

/// The settings that every node may have.
pub(crate) fn notes(section: &Section) -> (Option<String>, Vec<String>) {
    let description = section.get("description").and_then(|entry| entry.text()).map(|text| text.value);
    let tags = section.get("tags").map_or_else(Vec::new, |entry| entry.texts());
    (description, tags.into_iter().map(|tag| tag.value).collect())
}

/// The header of a SQL file, ready to be read as settings.
pub(crate) struct Headed<'a> {
    header: Header<'a>,
    /// Where the SQL begins.
    pub sql: usize,
}

impl<'a> Headed<'a> {
    pub fn of(file: &File<'a>) -> Self {
        let (header, sql) = header::read(file);
        Headed { header, sql }
    }

    pub fn is_absent(&self) -> bool {
        matches!(self.header, Header::None)
    }

    /// The header's settings; when there is none, all are absent.
    pub fn section<'s>(&'s self, file: &'s File<'s>, doc: &'static SettingsTable) -> Section<'s> {
        match &self.header {
            Header::Found(document, base, span) => Section::new(file, *base, doc, document.as_table(), Some(*span)),
            Header::None | Header::Broken => Section::unreadable(file, doc),
        }
    }
}

/// The settings of a TOML file; when it cannot be read, all are absent.
pub(crate) fn whole_file<'s>(
    file: &'s File<'s>,
    document: Option<&'s Document<&'s str>>,
    doc: &'static SettingsTable,
) -> Section<'s> {
    match document {
        Some(document) => Section::new(file, 0, doc, document.as_table(), None),
        None => Section::unreadable(file, doc),
    }
}

/// Reads the SELECT of a file from `offset` on, and notes what it reads.
pub(crate) fn select(file: &File, offset: usize, readings: &mut Vec<Reading>) -> Select {
    let text = &file.text[offset..];
    let unread = || Select { sql: text.to_string(), offset, normal: String::new(), order: ColumnOrder::default() };
    match sql::parse_query(text) {
        Ok(query) => {
            for mistake in query.mistakes {
                report_sql(file, mistake, |span| (offset + span.0, offset + span.1));
            }
            readings.extend(query.mentions.into_iter().map(|mention| Reading {
                name: mention.name,
                span: (offset + mention.span.0, offset + mention.span.1),
                how: if mention.is_model { How::Predict } else { How::Select },
            }));
            Select { sql: text[..query.end].to_string(), offset, normal: query.normal, order: query.order }
        }
        // A header that was never closed has swallowed the SELECT; that was reported.
        Err(_) if text.is_empty() && offset > 0 => unread(),
        Err(mistake) => {
            report_sql(file, mistake, |span| (offset + span.0, offset + span.1));
            unread()
        }
    }
}

/// Reports a mistake in SQL; `place` turns a range of the SQL into one of the file.
pub(crate) fn report_sql(file: &File, mistake: SqlMistake, place: impl FnOnce(Span) -> Span) {
    let mut report = Report::error(mistake.code, mistake.message);
    report.notes = mistake.notes;
    file.report_at(place(mistake.span), report);
}

/// The range in the file of a part of a text that stands in it; the whole text's when it is written with escapes.
pub(crate) fn within(text: &Spanned<String>, part: Span) -> Span {
    let (start, end) = text.span;
    if end - start == text.value.len() { (start + part.0, start + part.1.min(text.value.len())) } else { text.span }
}

/// What the names of Pelton's own tables begin with; a node of such a name could meet one of them in the warehouse.
const RESERVED: &str = "pelton";

/// A node's name, when a file's name gives one; else a report.
pub(crate) fn node_name(path: &str) -> Result<NodeName, Report> {
    let file = path.rsplit('/').next().unwrap_or(path);
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let place = pelton_base::Place::file(path);
    if !NodeName::is_valid(stem) {
        let mut plain: String = stem
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
            .skip_while(|c| !c.is_ascii_lowercase())
            .collect();
        plain.truncate(100);
        let report = Report::error("invalid-name", format!("`{stem}` cannot be the name of a node")).at(place);
        let report = report.note(
            "a name has lower-case letters, digits and `_`, begins with a letter, and has at most 100 characters",
        );
        return Err(if plain.is_empty() {
            report
        } else {
            report.hint(format!("rename the file to `{}`", file.replacen(stem, &plain, 1)))
        });
    }
    if stem == RESERVED || stem.starts_with(&format!("{RESERVED}_")) {
        let own = stem.trim_start_matches(RESERVED).trim_start_matches('_');
        let other =
            if NodeName::is_valid(own) && sql::is_plain_name(own) { own.to_string() } else { format!("my_{stem}") };
        return Err(Report::error("invalid-name", format!("`{stem}` begins with `{RESERVED}`, which is reserved"))
            .at(place)
            .note(format!(
                "names of that kind are of Pelton's own tables, such as `{RESERVED}_predictions`, the prediction log"
            ))
            .hint(format!("rename the file to `{}`", file.replacen(stem, &other, 1))));
    }
    if !sql::is_plain_name(stem) {
        return Err(Report::error(
            "invalid-name",
            format!("`{stem}` is a word of SQL and would need quotes everywhere"),
        )
        .at(place)
        .hint(format!("rename the file to `{}`", file.replacen(stem, &format!("{stem}_data"), 1))));
    }
    Ok(NodeName::new(stem))
}
