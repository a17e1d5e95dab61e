//! [`Report`]: what is wrong, where, what else is known, and what to do. Its [`Kind`] maps once to an exit code and an HTTP
//! status; its code is a row of [`crate::codes`].

use crate::codes;
use serde::Serialize;
use std::fmt;

/// What sort of answer a report is; the one table that gives exit codes and HTTP statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The answer is no: a check failed, a gate was not met.
    No,
    /// What the caller wrote is wrong: files, settings, arguments, a request.
    Invalid,
    /// What was asked for does not exist.
    Missing,
    /// Somebody else holds or has changed what is needed.
    Conflict,
    /// The caller may not do this.
    Denied,
    /// More was sent or asked than a named limit allows.
    TooMuch,
    /// The machine, the disk, the network or a peer did not do its part.
    Unavailable,
    /// Stored bytes are not what was written.
    Damaged,
    /// Pelton does not do this; nothing else is wrong.
    Unsupported,
    /// A defect of Pelton.
    Defect,
}

impl Kind {
    /// The process exit code: 1 for "the answer is no", 2 for "could not do it".
    pub fn exit_code(self) -> u8 {
        if self == Kind::No { 1 } else { 2 }
    }

    /// The HTTP status of a response that carries such a report.
    pub fn http_status(self) -> u16 {
        match self {
            Kind::No => 409,
            Kind::Invalid => 400,
            Kind::Missing => 404,
            Kind::Conflict => 409,
            Kind::Denied => 403,
            Kind::TooMuch => 413,
            Kind::Unavailable => 503,
            Kind::Unsupported => 501,
            Kind::Damaged | Kind::Defect => 500,
        }
    }
}

/// Whether a report stops what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It stops.
    Error,
    /// It does not stop.
    Warning,
}

/// A place in a file: 1-based line and column (in characters), with the line's text where it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file, relative to the project where possible.
    pub file: String,
    /// The line, from 1; 0 when only the file is known.
    pub line: usize,
    /// The column, from 1; 0 when only the line is known.
    pub column: usize,
    /// How many characters the mistake spans; at least 1.
    pub length: usize,
    /// The text of the line.
    pub text: Option<String>,
}

impl Place {
    /// A whole file.
    pub fn file(file: impl Into<String>) -> Self {
        Place { file: file.into(), line: 0, column: 0, length: 1, text: None }
    }

    /// The place of the byte range `start..end` of `source`, the contents of `file`.
    pub fn in_text(file: impl Into<String>, source: &str, start: usize, end: usize) -> Self {
        let floor = |mut at: usize| {
            at = at.min(source.len());
            while !source.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (start, end) = (floor(start), floor(end));
        let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
        let text = source[line_start..].lines().next().unwrap_or_default();
        let line_end = line_start + text.len();
        Place {
            file: file.into(),
            line: source.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1,
            column: source[line_start..start].chars().count() + 1,
            length: source[start..end.clamp(start, line_end.max(start))].chars().count().max(1),
            text: Some(text.to_string()),
        }
    }

    /// The place at 1-based `line` and `column` of `source`, spanning `length` characters.
    pub fn at_line(file: impl Into<String>, source: &str, line: usize, column: usize, length: usize) -> Self {
        let text = source.lines().nth(line.saturating_sub(1)).map(str::to_string);
        Place { file: file.into(), line, column, length: length.max(1), text }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.line > 0 && self.column > 0 {
            write!(f, ":{}", self.column)?;
        }
        Ok(())
    }
}

/// One thing a person should know: a mistake, a refusal, a failed check, a warning.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Whether it stops what was asked.
    pub severity: Severity,
    /// The code, a row of [`crate::codes::ALL`]; `pelton explain CODE` tells more.
    pub code: &'static str,
    /// What is wrong, in the user's nouns, lower case, no full stop, names in backticks.
    pub message: String,
    /// Where.
    pub at: Option<Box<Place>>,
    /// Facts.
    pub notes: Vec<String>,
    /// Commands or edits that help.
    pub hints: Vec<String>,
}

impl Report {
    /// An error with a code of [`crate::codes::ALL`].
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        debug_assert!(codes::find(code).is_some(), "code `{code}` is not in the table of codes");
        Report {
            severity: Severity::Error,
            code,
            message: message.into(),
            at: None,
            notes: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// A warning with a code of [`crate::codes::ALL`].
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Report { severity: Severity::Warning, ..Report::error(code, message) }
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.at = Some(Box::new(place));
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds something to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds "did you mean" when a candidate is near to `word`.
    #[must_use]
    pub fn suggest<'a>(self, word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Self {
        match crate::suggest::did_you_mean(word, candidates) {
            Some(candidate) => self.hint(format!("did you mean `{candidate}`?")),
            None => self,
        }
    }

    /// What sort of answer it is.
    pub fn kind(&self) -> Kind {
        codes::find(self.code).map_or(Kind::Defect, |code| code.kind)
    }

    /// Whether it stops what was asked.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]: {}", if self.is_error() { "error" } else { "warning" }, self.code, self.message)?;
        if let Some(at) = &self.at {
            write!(f, " ({at})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

/// Several reports: all mistakes in one go, not the first.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(transparent)]
pub struct Reports(pub Vec<Report>);

impl Reports {
    /// Whether one of them stops what was asked.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(Report::is_error)
    }

    /// The first that stops what was asked: warnings may come before it.
    pub fn first_error(&self) -> Option<&Report> {
        self.0.iter().find(|report| report.is_error())
    }

    /// The exit code of a command that ends with these: 2 if something could not be done, else 1 if the answer is no, else 0.
    pub fn exit_code(&self) -> u8 {
        self.0.iter().filter(|report| report.is_error()).map(|report| report.kind().exit_code()).max().unwrap_or(0)
    }

    /// Adds one.
    pub fn push(&mut self, report: Report) {
        self.0.push(report);
    }

    /// Adds all of another list.
    pub fn extend(&mut self, other: Reports) {
        self.0.extend(other.0);
    }
}

impl From<Report> for Reports {
    fn from(report: Report) -> Self {
        Reports(vec![report])
    }
}

impl fmt::Display for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, report) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{report}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Reports {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_lines_and_characters() {
        let source = "select a,\n  é, custmer_id\nfrom t";
        let start = source.find("custmer_id").unwrap();
        let place = Place::in_text("t.sql", source, start, start + 10);
        assert_eq!((place.line, place.column, place.length), (2, 6, 10));
        assert_eq!(place.text.as_deref(), Some("  é, custmer_id"));
    }

    #[test]
    fn a_warning_is_not_what_stopped_it() {
        let mut reports = Reports::from(Report::warning("check-warned", "x"));
        assert_eq!(reports.first_error(), None);
        reports.push(Report::error("check-failed", "x"));
        reports.push(Report::error("unknown-column", "x"));
        assert_eq!(reports.first_error().map(|report| report.code), Some("check-failed"));
    }

    #[test]
    fn the_exit_code_is_the_worst_of_the_errors() {
        let mut reports = Reports::default();
        assert_eq!(reports.exit_code(), 0);
        reports.push(Report::warning("unknown-column", "x"));
        assert_eq!(reports.exit_code(), 0);
        reports.push(Report::error("check-failed", "x"));
        assert_eq!(reports.exit_code(), 1);
        reports.push(Report::error("unknown-column", "x"));
        assert_eq!(reports.exit_code(), 2);
    }
}
