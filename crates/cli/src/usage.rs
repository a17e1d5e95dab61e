//! Mistakes in the command line itself, as reports; and the reference of all commands.

use crate::args::Arguments;
use clap::error::{ContextKind, ErrorKind};
use clap::{Arg, Command, CommandFactory};
use pelton_base::Report;
use std::ffi::OsString;
use std::fmt::Write;

/// What the parser has to say instead of arguments.
pub(crate) enum Said {
    /// Text that was asked for: help, or the version.
    Text(String),
    /// Help, because no command was given.
    Help(String),
    /// A mistake.
    Mistake(Box<Report>),
}

/// Reads what the parser says.
pub(crate) fn said(error: &clap::Error) -> Said {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Said::Text(text),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => Said::Help(text),
        _ => Said::Mistake(Box::new(mistake(error, &text))),
    }
}

/// The report of a mistake; `text` is the error as the parser writes it: `error: ...`, tips, usage.
fn mistake(error: &clap::Error, text: &str) -> Report {
    let mut blocks = text.split("\n\n");
    let first = blocks.next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    let (message, more) = first.split_once('\n').unwrap_or((first, ""));
    let message = quoted(message.trim_end_matches(':').trim());
    let more: Vec<String> = more.lines().map(|line| quoted(line.trim())).filter(|line| !line.is_empty()).collect();
    let message = if message.contains("arguments were not provided") {
        format!("{message}: {}", more.join(" "))
    } else {
        message
    };
    let mut report = Report::error("invalid-argument", message.clone());
    if !message.ends_with(&more.join(" ")) || more.is_empty() {
        report = more
            .iter()
            .fold(report, |report, line| report.note(line.trim_start_matches('[').trim_end_matches(']').to_string()));
    }
    for kind in [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue] {
        for word in error.get(kind).into_iter().flat_map(|value| words(&value.to_string())) {
            report = report.hint(format!("did you mean `{word}`?"));
        }
    }
    for block in blocks {
        if let Some(usage) = block.trim().strip_prefix("Usage: ") {
            report = report.note(format!("usage: {}", usage.lines().next().unwrap_or_default()));
        }
    }
    report
}

fn words(list: &str) -> Vec<String> {
    list.split(", ").map(|word| word.trim_matches('\'').to_string()).filter(|word| !word.is_empty()).collect()
}

/// `'word'` as `` `word` ``, as all of Pelton's messages write names.
fn quoted(text: &str) -> String {
    text.replace('\'', "`")
}

/// The words for the parser. One that begins with a SQL comment is text, but the parser would take it for an option; it gets a space
/// in front. No option has a space in its name, so a mistyped one is still found to be one.
pub(crate) fn with_texts(words: &[OsString]) -> impl Iterator<Item = OsString> {
    let is_text = |word: &str| {
        let name = word.split_once('=').map_or(word, |(name, _)| name);
        word.starts_with("--") && name.contains(char::is_whitespace)
    };
    words.iter().map(move |word| match word.to_str().filter(|word| is_text(word)) {
        Some(text) => format!(" {text}").into(),
        None => word.clone(),
    })
}

/// Whether the words of a command line ask for JSON; for mistakes that keep it from being read properly.
pub(crate) fn wants_json(words: &[OsString]) -> bool {
    words.iter().any(|word| word == "--format=json")
        || words.windows(2).any(|pair| pair[0] == "--format" && pair[1] == "json")
}

/// The reference of all commands as Markdown; `docs/reference/cli.md` is this text.
pub fn commands_markdown() -> String {
    let mut root = Arguments::command();
    root.build();
    let mut text = String::from(HEAD);
    for command in root.get_subcommands().filter(|command| command.get_name() != "help" && !command.is_hide_set()) {
        command_markdown(&mut text, command.get_name(), command);
        for action in command.get_subcommands().filter(|action| action.get_name() != "help") {
            command_markdown(&mut text, &format!("{} {}", command.get_name(), action.get_name()), action);
        }
    }
    let _ = writeln!(text, "\n## For every command\n");
    for argument in root.get_arguments().filter(|argument| argument.is_global_set()) {
        argument_markdown(&mut text, argument);
    }
    text
}

const HEAD: &str = "\
# Commands

<!-- Written from the definition of the command line; `PELTON_UPDATE=1 cargo test -p pelton-cli` writes it anew. -->

Data goes to stdout, everything else to stderr. With `--format json`, stdout holds exactly one JSON document: the answer, or
`{\"errors\": [{severity, code, message, at, notes, hints}]}` when there is none; the same in words stands on stderr.

A command exits with **0** when it is done, with **1** when the answer is no (a check failed, a gate was not met, something would
change under `plan --exit-code`), and with **2** when it could not do it. `pelton explain CODE` explains the code of a report.

Colour and live lines appear only on a terminal; `NO_COLOR` is obeyed.
";

fn command_markdown(text: &mut String, name: &str, command: &Command) {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut usage = format!("pelton {name}");
    for argument in command.get_positionals() {
        let name = value_name(argument);
        let many = if argument.get_action().takes_values()
            && argument.get_num_args().is_some_and(|range| range.max_values() > 1)
        {
            "..."
        } else {
            ""
        };
        let _ = match argument.is_required_set() {
            true => write!(usage, " {name}{many}"),
            false => write!(usage, " [{name}{many}]"),
        };
    }
    let options: Vec<&Arg> = command
        .get_arguments()
        .filter(|argument| !argument.is_positional() && !argument.is_global_set() && argument.get_id() != "help")
        .collect();
    if !options.is_empty() {
        usage.push_str(" [OPTIONS]");
    }
    let _ = writeln!(text, "\n## `pelton {name}`\n\n{about}.\n\n```\n{usage}\n```\n");
    for argument in command.get_positionals().chain(options) {
        argument_markdown(text, argument);
    }
}

fn argument_markdown(text: &mut String, argument: &Arg) {
    let mut name = match argument.get_long() {
        Some(long) => format!("--{long}"),
        None => value_name(argument),
    };
    if let Some(short) = argument.get_short() {
        name = format!("-{short}, {name}");
    }
    if argument.get_long().is_some() && argument.get_action().takes_values() {
        name = format!("{name} {}", value_name(argument));
    }
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let _ = write!(text, "- `{name}`: {}", help.replace('\n', " "));
    let values: Vec<_> = argument.get_possible_values().into_iter().filter(|value| !value.is_hide_set()).collect();
    if argument.get_action().takes_values() && !values.is_empty() {
        let described = |value: &clap::builder::PossibleValue| match value.get_help() {
            Some(help) => format!("`{}` ({help})", value.get_name()),
            None => format!("`{}`", value.get_name()),
        };
        let _ = write!(text, ": {}", values.iter().map(described).collect::<Vec<_>>().join(", "));
    }
    let default =
        argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(" ");
    if argument.get_action().takes_values() && !default.is_empty() {
        let _ = write!(text, " [default: {default}]");
    }
    text.push('\n');
}

fn value_name(argument: &Arg) -> String {
    argument.get_value_names().map(|names| names.join(" ")).unwrap_or_else(|| argument.get_id().as_str().to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::print::report::report_text;
    use crate::print::style::Style;
    use clap::Parser;

    fn check(line: &str, expect: &str) {
        let error = Arguments::try_parse_from(line.split(' ')).unwrap_err();
        let Said::Mistake(report) = said(&error) else { panic!("{line} is no mistake: {error}") };
        assert_eq!(report_text(&report, Style::default()), expect, "{line}");
    }

    #[test]
    fn mistakes_are_reports() {
        check(
            "pelton chek",
            "\
error[invalid-argument]: unrecognized subcommand `chek`
note: usage: pelton [OPTIONS] <COMMAND>
hint: did you mean `check`?
",
        );
        check(
            "pelton check --fromat json",
            "\
error[invalid-argument]: unexpected argument `--fromat` found
note: usage: pelton check --format <FORMAT>
hint: did you mean `--format`?
",
        );
        check(
            "pelton check --format jsn",
            "\
error[invalid-argument]: invalid value `jsn` for `--format <FORMAT>`
note: possible values: text, json
hint: did you mean `json`?
",
        );
        check(
            "pelton show",
            "\
error[invalid-argument]: the following required arguments were not provided: <NODE>
note: usage: pelton show <NODE>
",
        );
        check(
            "pelton serve --port 70000",
            "\
error[invalid-argument]: invalid value `70000` for `--port <PORT>`: 70000 is not in 0..=65535
",
        );
    }

    #[test]
    fn help_is_not_a_mistake() {
        for line in ["pelton --help", "pelton help run", "pelton --version"] {
            assert!(matches!(said(&Arguments::try_parse_from(line.split(' ')).unwrap_err()), Said::Text(_)), "{line}");
        }
        assert!(matches!(said(&Arguments::try_parse_from(["pelton"]).unwrap_err()), Said::Help(_)));
    }

    #[test]
    fn a_comment_is_text_and_a_mistyped_option_is_not() {
        let parse = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            Arguments::try_parse_from(with_texts(&words))
        };
        for sql in ["-- what was spent\nselect 1", "--a = b\nselect 1", "--\nselect 1"] {
            let arguments =
                parse(&["pelton", "query", sql, "--format", "csv"]).unwrap_or_else(|error| panic!("{error}"));
            let crate::args::Command::Query(query) = arguments.command else { panic!("no query") };
            assert_eq!(query.sql.trim_start(), sql);
        }
        let Said::Mistake(mistake) = said(&parse(&["pelton", "query", "--fromat=csv", "select 1"]).unwrap_err()) else {
            panic!("no mistake")
        };
        assert_eq!(mistake.hints, ["did you mean `--format`?"]);
    }

    #[test]
    fn json_is_recognised_in_a_command_line_that_is_wrong() {
        let words = |line: &str| line.split(' ').map(Into::into).collect::<Vec<_>>();
        assert!(wants_json(&words("pelton chek --format json")));
        assert!(wants_json(&words("pelton chek --format=json")));
        assert!(!wants_json(&words("pelton chek --format text json")));
    }

    #[test]
    fn the_reference_is_what_the_definition_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/cli.md");
        let text = commands_markdown();
        if std::env::var_os("PELTON_UPDATE").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(found, text, "write it anew with `PELTON_UPDATE=1 cargo test -p pelton-cli`");
    }
}
