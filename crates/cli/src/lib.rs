//! The command line: clap types, one file per command, all printing.
//!
//! `args` is the command line as it is written, [`main`] reads it and hands it to a file of `command`; `session` finds the project
//! and makes the engine when a command needs them; `print` writes. The engine comes from outside ([`MakeEngine`]), so that
//! commands without one start at once, and so that this crate does not wait for it to compile.
//!
//! One rule for programs: with `--format json`, stdout holds exactly one JSON document, the answer or `{"errors": [...]}`.
//! The exit code is 0 for done, 1 for "the answer is no", 2 for "could not do it".

mod args;
mod command;
mod files;
mod http;
mod notify;
mod print;
mod session;
mod usage;

pub use session::{EngineLimits, MakeEngine};
pub use usage::commands_markdown;

use clap::Parser;
use pelton_base::{Clock, Report, Reports};
use print::{Failed, Out};
use std::ffi::OsString;
use std::sync::Arc;

/// Runs the command that `words` say (the first is the program's name); gives the exit code.
///
/// Must be called within a multi-threaded tokio runtime.
pub async fn main(words: Vec<OsString>, make_engine: MakeEngine, clock: Arc<dyn Clock>) -> u8 {
    let out = Out::of_process();
    let arguments = match args::Arguments::try_parse_from(usage::with_texts(&words)) {
        Ok(arguments) => arguments,
        Err(error) => return end_of_usage(&out, &words, &error),
    };
    let is_json = arguments.command.is_json();
    let session = session::Session::new(arguments.common, make_engine, clock, &words);
    let code = match command::dispatch(arguments.command, &session, &out).await {
        Ok(code) => code,
        Err(reports) => fail(&out, is_json, &reports),
    };
    match out.failure() {
        Some(failure) => {
            out.reports(&failure.into());
            2
        }
        None => code,
    }
}

/// Makes a panic say what it is: a defect of Pelton. The process is then to exit with 2.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let what = panic.payload().downcast_ref::<&str>().copied().map(str::to_string);
        let what = what.or_else(|| panic.payload().downcast_ref::<String>().cloned()).unwrap_or_default();
        let mut report = Report::error("internal", "Pelton did something wrong that should not be able to happen");
        if !what.is_empty() {
            report = report.note(what);
        }
        if let Some(place) = panic.location() {
            report =
                report.note(format!("at {}:{} of Pelton {}", place.file(), place.line(), env!("CARGO_PKG_VERSION")));
        }
        Out::of_process()
            .reports(&report.hint("this is our mistake, not yours: please report it with these lines").into());
    }));
}

/// Says why the program does not even begin; gives the exit code.
pub fn refuse(report: Report) -> u8 {
    let reports = Reports::from(report);
    Out::of_process().reports(&reports);
    reports.exit_code()
}

/// Says on stderr, and with JSON on stdout, why there is no answer.
fn fail(out: &Out, is_json: bool, reports: &Reports) -> u8 {
    if is_json {
        out.json(&Failed { errors: reports });
    }
    out.reports(reports);
    reports.exit_code().max(1)
}

fn end_of_usage(out: &Out, words: &[OsString], error: &clap::Error) -> u8 {
    match usage::said(error) {
        usage::Said::Text(text) => {
            out.data(text);
            0
        }
        usage::Said::Help(text) => {
            out.note(text.trim_end());
            2
        }
        usage::Said::Mistake(report) => fail(out, usage::wants_json(words), &Reports::from(*report)),
    }
}
