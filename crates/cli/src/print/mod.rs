//! All printing of Pelton: data to stdout, everything else to stderr; colour and live lines only on a terminal.
//!
//! A file a noun: `report` prints mistakes, `progress` what happens while a run goes on, `rows` the rows of a query, `words`
//! writes numbers and times; the others are the readable pages of one command each.

pub(crate) mod checked;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod environments;
pub(crate) mod gc;
pub(crate) mod lineage;
pub(crate) mod outcome;
pub(crate) mod pages;
pub(crate) mod progress;
pub(crate) mod receipt;
pub(crate) mod report;
pub(crate) mod rows;
pub(crate) mod sheet;
pub(crate) mod style;
pub(crate) mod tested;
pub(crate) mod verified;
pub(crate) mod words;

use pelton_base::{Report, Reports};
use serde::Serialize;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use style::Style;

/// Where a command prints to.
///
/// When the reader of stdout goes away (`pelton query ... | head`), what is left to print is dropped quietly and
/// [`Out::is_closed`] says so; any other failure to write is kept for [`Out::failure`].
pub(crate) struct Out {
    data: Mutex<Data>,
    /// Whether stdout is a terminal.
    pub(crate) is_data_terminal: bool,
    /// Whether stderr is a terminal.
    pub(crate) is_note_terminal: bool,
    /// How to colour stdout.
    pub(crate) data_style: Style,
    /// How to colour stderr.
    pub(crate) note_style: Style,
}

struct Data {
    sink: Box<dyn Write + Send>,
    closed: bool,
    failure: Option<io::Error>,
}

impl Out {
    /// Stdout and stderr of this process.
    pub(crate) fn of_process() -> Self {
        let is_data_terminal = io::stdout().is_terminal();
        let is_note_terminal = io::stderr().is_terminal();
        let wants_colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|value| value != "dumb");
        Out {
            data: Mutex::new(Data { sink: Box::new(io::stdout()), closed: false, failure: None }),
            is_data_terminal,
            is_note_terminal,
            data_style: Style { on: wants_colour && is_data_terminal },
            note_style: Style { on: wants_colour && is_note_terminal },
        }
    }

    /// Prints text to stdout as it is.
    pub(crate) fn data(&self, text: impl AsRef<[u8]>) {
        let mut data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        if data.closed || data.failure.is_some() {
            return;
        }
        if let Err(error) = data.sink.write_all(text.as_ref()).and_then(|()| data.sink.flush()) {
            if error.kind() == ErrorKind::BrokenPipe {
                data.closed = true;
            } else {
                data.failure = Some(error);
            }
        }
    }

    /// Prints a line to stdout.
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        self.data(format!("{}\n", text.as_ref()));
    }

    /// Prints a value to stdout as JSON that a person can read too.
    pub(crate) fn json(&self, value: &impl Serialize) {
        let mut text = serde_json::to_string_pretty(value).expect("what commands answer has only text keys");
        text.push('\n');
        self.data(text);
    }

    /// Prints a line to stderr. A stderr that cannot be written to has nobody who could be told.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
    }

    /// Prints text to stderr as it is.
    pub(crate) fn aside(&self, text: impl AsRef<str>) {
        let _ = io::stderr().lock().write_all(text.as_ref().as_bytes());
    }

    /// Prints reports to stderr.
    pub(crate) fn reports(&self, reports: &Reports) {
        if !reports.0.is_empty() {
            let _ = io::stderr().lock().write_all(report::reports_text(reports, self.note_style).as_bytes());
        }
    }

    /// Whether nobody reads stdout any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.data.lock().unwrap_or_else(PoisonError::into_inner).closed
    }

    /// Why stdout could not be written to, when it is not that its reader went away.
    pub(crate) fn failure(&self) -> Option<Report> {
        let data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        let error = data.failure.as_ref()?;
        Some(match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                Report::error("disk-full", "no space left where the output goes")
            }
            _ => Report::error("unreadable-file", "cannot write the output").note(error.to_string()),
        })
    }
}

/// What an answer looks like when it is not one: the one JSON document on stdout of a command that ends in errors.
#[derive(Serialize)]
pub(crate) struct Failed<'a> {
    /// Everything that is wrong.
    pub(crate) errors: &'a Reports,
}
