//! Finds the header of a SQL file: the TOML of its leading `/* pelton ... */` comment.

use crate::toml::{File, Span, invalid_toml, parse};
use pelton_base::Report;
use toml_edit::Document;

/// What stands before a file's SELECT.
pub(crate) enum Header<'a> {
    /// No `/* pelton` comment.
    None,
    /// The header's TOML, parsed; where its text begins; and where `/* pelton` stands.
    Found(Box<Document<&'a str>>, usize, Span),
    /// There is one, but it cannot be read; that was reported.
    Broken,
}

/// How many comment ends after the header are tried when its TOML breaks off, to tell a `*/` inside a text from other mistakes.
const LATER_ENDS_TRIED_MAX: usize = 8;

/// Reads the header, and says where the SQL after it begins.
///
/// Comments may stand before it. A `*/` ends it wherever it stands, as in SQL.
pub(crate) fn read<'a>(file: &File<'a>) -> (Header<'a>, usize) {
    let text = file.text;
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let Some((open, toml)) = find(text, start) else {
        if let Some(span) = meant(text, start) {
            let report = Report::error("invalid-toml", "this comment is no header, and looks like one");
            file.report_at(span, report.hint("begin the header with `/* pelton`"));
            return (Header::Broken, start);
        }
        return (Header::None, start);
    };
    let opening = (open, toml);
    let Some(length) = text[toml..].find("*/") else {
        file.report_at(opening, Report::error("invalid-toml", "the header is never closed").hint("end it with `*/`"));
        return (Header::Broken, text.len());
    };
    let (end, sql) = (toml + length, toml + length + 2);
    if let Ok(document) = Document::parse(&text[toml..end]) {
        return (Header::Found(Box::new(document), toml, opening), sql);
    }
    // The first end may lie inside a text of the header: then the TOML up to a later one is whole.
    let later = text[sql..].match_indices("*/").take(LATER_ENDS_TRIED_MAX).map(|(at, _)| sql + at);
    for later in later {
        if Document::parse(&text[toml..later]).is_ok() {
            let report = invalid_toml("the header breaks off inside a text")
                .note("`*/` ends a SQL comment wherever it stands, inside a text too")
                .hint("write `*\\u002F` in its place, between double quotes");
            file.report_at((end, sql), report);
            return (Header::Broken, later + 2);
        }
    }
    parse(file, (toml, end));
    (Header::Broken, sql)
}

/// Finds the `/* pelton` comment among the comments before the first word of SQL: where it opens, and where its TOML begins.
fn find(text: &str, start: usize) -> Option<(usize, usize)> {
    let mut at = start;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        let rest = &text[at..];
        if rest.starts_with("--") {
            at += rest.find('\n')?;
        } else if let Some(inner) = rest.strip_prefix("/*") {
            let inner = inner.trim_start();
            let is_header = inner
                .strip_prefix("pelton")
                .is_some_and(|after| after.starts_with(char::is_whitespace) || after.starts_with("*/"));
            if is_header {
                return Some((at, text.len() - inner.len() + "pelton".len()));
            }
            at += comment_length(rest)?;
        } else {
            return None;
        }
    }
}

/// Finds what was meant to be a header among the comments before the first word of SQL: settings after a word that is nearly right, or lines
/// of comment that begin with the right one.
fn meant(text: &str, start: usize) -> Option<Span> {
    let mut at = start;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        let rest = &text[at..];
        if rest.starts_with("--") {
            let line = rest.lines().next()?;
            if line.trim_start_matches('-').trim() == "pelton" {
                return Some((at, at + line.len()));
            }
            at += rest.find('\n')?;
        } else if let Some(inner) = rest.strip_prefix("/*") {
            let length = comment_length(rest)?;
            let inner = inner[..length - "/**/".len()].trim();
            let (word, settings) = inner.split_at(inner.find(|c: char| !c.is_alphanumeric()).unwrap_or(inner.len()));
            let is_near = pelton_base::suggest::did_you_mean(word, ["pelton"]).is_some();
            let is_toml = |text: &str| Document::parse(text).is_ok_and(|document| !document.as_table().is_empty());
            if is_near && is_toml(settings.trim_start_matches(':')) {
                let word = at + rest.find(word)?;
                return Some((at, word + "pelton".len().min(text.len() - word)));
            }
            at += length;
        } else {
            return None;
        }
    }
}

/// The length of the comment at the beginning of a text; comments nest, as in the engine's SQL.
fn comment_length(text: &str) -> Option<usize> {
    let (mut at, mut depth) = (0, 0usize);
    loop {
        let next = at + text[at..].find(['/', '*'])?;
        match text.get(next..next + 2) {
            Some("/*") => (at, depth) = (next + 2, depth + 1),
            Some("*/") => (at, depth) = (next + 2, depth - 1),
            _ => at = next + 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
}
