//! The command line as it is written: one definition of each argument feeds parser, help, completions and
//! `docs/reference/cli.md`.

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

/// One binary from raw data to served models.
///
/// A project is a folder of SQL files. Pelton checks it, runs what changed, publishes tables and models together, and serves the
/// models.
#[derive(Debug, Parser)]
#[command(name = "pelton", version, max_term_width = 100)]
pub(crate) struct Arguments {
    /// What applies to every command.
    #[command(flatten)]
    pub(crate) common: Common,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What applies to every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// The project's folder, or one inside it [default: the current folder]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "Global options")]
    pub(crate) project: Option<PathBuf>,

    /// The environment that is read and published to
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        default_value = "main",
        value_parser = environment,
        help_heading = "Global options"
    )]
    pub(crate) env: String,
}

/// An environment's name, as it can stand in a path, a URL and a shell without quotes.
fn environment(name: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    match name.starts_with(|c: char| c.is_ascii_lowercase()) && name.len() <= 100 && name.chars().all(fits) {
        true => Ok(name.to_string()),
        false => Err("a name has lower-case letters, digits, `_` and `-`, and begins with a letter".into()),
    }
}

/// The commands, in the order in which a newcomer meets them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write the fraud example, run it from raw files to a published endpoint, ask it, and show the receipt
    Demo(Demo),
    /// Write a small new project that runs as it is
    Init(Init),
    /// Check every file and type every column, without reading data
    Check(Check),
    /// Say what a run would do, and why
    Plan(Plan),
    /// Build what changed, check it, and publish everything in one step
    Run(Run),
    /// Run the unit tests in `tests`, in memory, without touching the warehouse
    Test(Test),
    /// Build times of an interval table that lie before its `start`, and publish them
    Backfill(Backfill),
    /// Show a node: its version, columns, checks, metrics, and who reads it
    Show(Show),
    /// Run a SELECT over what is published
    Query(Query),
    /// Draw which node reads which, which column is made from which, or what depends on a column
    Graph(Graph),
    /// Say why a node was built or skipped, the newest decision first
    Why(Why),
    /// Compare two environments: nodes, columns, rows and metrics
    Diff(Diff),
    /// Publish everything of an environment to another one, in one step
    Publish(Publish),
    /// Go back to an earlier publication, in one step
    Rollback(Rollback),
    /// Name what no environment, receipt or retention rule needs; with `--yes`, remove it
    Gc(Gc),
    /// Say whether everything in the warehouse is as it was written; with `--repair`, mend it
    Verify(Verify),
    /// Show the rows that broke a rule, each with its reason and its origin
    Quarantine(Quarantine),
    /// Score rows with a published model; every prediction gets a receipt
    Predict(Predict),
    /// Answer prediction requests over HTTP until stopped
    Serve(Serve),
    /// Show what a prediction came from, and score it again
    Receipt(Receipt),
    /// Show the settings in force and where each comes from
    Config(Config),
    /// Explain a report's code
    Explain(Explain),
    /// Print a completion script for a shell
    Completions(Completions),
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    // For people.
    #[default]
    Text,
    // For programs: one JSON document on stdout, also when the answer is an error.
    Json,
}

/// `--format`, for commands that answer in text or JSON.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Answer {
    /// How to write the answer
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Selectors of nodes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Selection {
    /// Which nodes: `name`, `+name` (with all it reads), `name+` (with all that reads it), `tag:x`, `path:y`, `kind:model`
    /// [default: all]
    #[arg(value_name = "NODE", allow_hyphen_values = false)]
    pub(crate) nodes: Vec<String>,
}

/// `pelton demo`
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// The folder to write the example to; one with an earlier demo of the same rows and seed is gone on with
    #[arg(long, value_name = "DIR", default_value = "pelton-demo", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// How many payments to simulate
    #[arg(long, value_name = "N", default_value_t = 500_000)]
    pub(crate) rows: u64,
    /// The seed of the simulation
    #[arg(long, value_name = "S", default_value_t = 42)]
    pub(crate) seed: u64,
    /// Go on answering requests at the end, until stopped
    #[arg(long)]
    pub(crate) serve: bool,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// `pelton init`
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The folder, which must be empty or not exist; the project gets its name
    #[arg(value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// `pelton check`
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// `pelton plan`
#[derive(Debug, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Exit with 1 when something would change
    #[arg(long)]
    pub(crate) exit_code: bool,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// `pelton run`
#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Go on after a rollback: build and publish although the environment was put back
    #[arg(long)]
    pub(crate) roll_forward: bool,
    /// Go on with the environment's last run, which failed or died: the same nodes, with what it has built
    #[arg(long, conflicts_with = "nodes")]
    pub(crate) resume: bool,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// `pelton test`
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The tests of which nodes: `name`, `+name`, `name+`, `tag:x`, `path:y`, `kind:model`; `path:` also takes a test's file or folder
    /// [default: all tests]
    #[arg(value_name = "SELECTOR", allow_hyphen_values = false)]
    pub(crate) nodes: Vec<String>,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// `pelton backfill`
#[derive(Debug, Args)]
pub(crate) struct Backfill {
    /// The table, built `interval`
    #[arg(value_name = "NODE")]
    pub(crate) node: String,
    /// The first time to build, rounded down to an interval
    #[arg(long, value_name = "TIME")]
    pub(crate) from: String,
    /// The time before which to end, rounded up to an interval
    #[arg(long, value_name = "TIME")]
    pub(crate) to: String,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// `pelton show`
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The source, table or model
    #[arg(value_name = "NODE")]
    pub(crate) node: String,
    /// Show what each of its columns is made from instead, as the project's files say
    #[arg(long)]
    pub(crate) columns: bool,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RowFormat {
    /// An aligned table for people, at most 1,000 rows
    #[value(alias = "text")]
    Table,
    /// Comma separated values with a header
    Csv,
    /// A JSON array of objects
    Json,
    /// One JSON object a line
    Ndjson,
    /// Parquet, to a file or a pipe
    Parquet,
}

/// `pelton query`
#[derive(Debug, Args)]
pub(crate) struct Query {
    /// One SELECT; `-` reads it from stdin
    #[arg(value_name = "SQL")]
    pub(crate) sql: String,
    /// Read what was published then: a publication's number, or a time such as `2026-03-01T12:00:00Z`
    #[arg(long, allow_negative_numbers = true, value_name = "PUBLICATION|TIME")]
    pub(crate) as_of: Option<String>,
    /// How to write the rows [default: by the ending of --output, else table]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<RowFormat>,
    /// Write the rows to a file instead of stdout; the file appears when all rows are written
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
}

/// How the graph is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// For a terminal
    Text,
    /// A Mermaid flowchart
    Mermaid,
    /// Graphviz
    Dot,
    /// JSON
    Json,
}

/// `pelton graph`
#[derive(Debug, Args)]
pub(crate) struct Graph {
    /// Draw columns: which is made from which, and how
    #[arg(long, conflicts_with = "impact")]
    pub(crate) columns: bool,
    /// Draw what depends on a column: every table, model and endpoint, and the way to each
    #[arg(long, value_name = "NODE.COLUMN")]
    pub(crate) impact: Option<String>,
    /// How to draw it
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = GraphFormat::Text)]
    pub(crate) format: GraphFormat,
}

/// `pelton why`
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// The source, table or model
    #[arg(value_name = "NODE")]
    pub(crate) node: String,
    /// How many decisions to show
    #[arg(long, allow_negative_numbers = true, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// `pelton diff`
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// An environment, or a publication's number
    #[arg(value_name = "ENV")]
    pub(crate) left: String,
    /// The one to compare it with
    #[arg(value_name = "ENV")]
    pub(crate) right: String,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// How many rows of each sort to show of a node; 0 compares no rows
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub(crate) rows: u32,
    /// Exit with 1 when something differs
    #[arg(long)]
    pub(crate) exit_code: bool,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// `pelton publish`
#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// The environment whose versions are published
    #[arg(value_name = "ENV")]
    pub(crate) from: String,
    /// The environment that gets them [default: that of --env]
    #[arg(long, value_name = "ENV")]
    pub(crate) to: Option<String>,
    /// Publish although the target has newer versions, which it then loses
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// `pelton rollback`
#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The publication whose state comes back [default: the one before]
    #[arg(long, allow_negative_numbers = true, value_name = "PUBLICATION")]
    pub(crate) to: Option<i64>,
    /// List the publications, newest first, and change nothing
    #[arg(long, conflicts_with = "to")]
    pub(crate) list: bool,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// `pelton gc`
#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// Remove what is named; without it nothing is removed
    #[arg(long)]
    pub(crate) yes: bool,
    /// Only name what would be removed, as without `--yes`
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// How long what was replaced is kept, such as `30 days`; less than a query takes can break it [default: `retention.keep`]
    #[arg(long, value_name = "DURATION", value_parser = duration_us)]
    pub(crate) keep: Option<i64>,
    /// How many publications of each environment are kept whatever their age [default: `retention.publications`]
    #[arg(long, allow_negative_numbers = true, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) keep_publications: Option<u64>,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// `pelton verify`
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Repair what can be made anew from what is recorded beside it, and have the next run build the rest again
    #[arg(long)]
    pub(crate) repair: bool,
    /// Read all rows of all tables, and compare their digests
    #[arg(long)]
    pub(crate) rows: bool,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// `30 days` in microseconds.
fn duration_us(text: &str) -> Result<i64, String> {
    pelton_project::parse_duration_us(text)
        .filter(|us| *us >= 0)
        .ok_or_else(|| "a duration is written as `30 days` or `12 hours`".to_string())
}

/// `pelton quarantine`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(crate) struct Quarantine {
    /// What to do with the rows, when not to show them.
    #[command(subcommand)]
    pub(crate) action: Option<QuarantineAction>,
    /// Only rows of this source or table
    #[arg(value_name = "NODE")]
    pub(crate) node: Option<String>,
    /// Only rows that broke this check; `contract` means a source's contract
    #[arg(long, value_name = "CHECK")]
    pub(crate) check: Option<String>,
    /// Only rows that this run kept out, published or not [default: what is published, and what failed runs recorded since]
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// How many rows to show
    #[arg(long, allow_negative_numbers = true, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
    /// Write all of the rows to a file, in the format of its ending: `.csv`, `.ndjson`, `.json` or `.parquet`
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["limit", "format"])]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// What can be done with quarantined rows.
#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineAction {
    /// Take rows of a source's quarantine in that can be read now, and run what reads it
    Replay(Replay),
}

/// `pelton quarantine replay`
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The source; of a table, what its rules removed is computed again when they changed
    #[arg(value_name = "NODE")]
    pub(crate) node: String,
    /// Only rows that broke this rule, such as `data_type` or `duplicate_key`
    #[arg(long, value_name = "CHECK")]
    pub(crate) check: Option<String>,
    /// An export of the quarantine whose `raw` was repaired: CSV, NDJSON or Parquet
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// `pelton predict`
#[derive(Debug, Args)]
pub(crate) struct Predict {
    /// The model
    #[arg(value_name = "MODEL")]
    pub(crate) model: String,
    /// A row as a JSON object; may be given several times
    #[arg(long, value_name = "JSON", conflicts_with = "file")]
    pub(crate) row: Vec<String>,
    /// A file with rows: a JSON object, an array of objects, or an object a line; `-` reads stdin [default: -]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// `pelton serve`
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The address to listen on [default: `server.host`, else 127.0.0.1]
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// The port; 0 takes any free one and says which [default: `server.port`, else 8470]
    #[arg(long, value_name = "PORT", allow_negative_numbers = true)]
    pub(crate) port: Option<u16>,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// `pelton receipt`
#[derive(Debug, Args)]
pub(crate) struct Receipt {
    /// The id, as it stands in the prediction's answer
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// `pelton config`
#[derive(Debug, Args)]
pub(crate) struct Config {
    /// Print the reference of all settings of all files instead, as Markdown
    #[arg(long)]
    pub(crate) reference: bool,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// `pelton explain`
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The code, as it stands in the brackets of a report [default: list all codes]
    #[arg(value_name = "CODE")]
    pub(crate) code: Option<String>,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// `pelton completions`
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

impl Command {
    /// Whether the answer is one JSON document, also when it is an error.
    pub(crate) fn is_json(&self) -> bool {
        let answer = match self {
            Command::Query(query) => return query.format == Some(RowFormat::Json) && query.output.is_none(),
            Command::Graph(graph) => return graph.format == GraphFormat::Json,
            Command::Completions(_) => return false,
            Command::Demo(command) => command.answer,
            Command::Serve(command) => command.answer,
            Command::Init(command) => command.answer,
            Command::Check(command) => command.answer,
            Command::Plan(command) => command.answer,
            Command::Run(command) => command.answer,
            Command::Test(command) => command.answer,
            Command::Backfill(command) => command.answer,
            Command::Show(command) => command.answer,
            Command::Why(command) => command.answer,
            Command::Diff(command) => command.answer,
            Command::Publish(command) => command.answer,
            Command::Rollback(command) => command.answer,
            Command::Gc(command) => command.answer,
            Command::Verify(command) => command.answer,
            Command::Quarantine(command) => match &command.action {
                Some(QuarantineAction::Replay(replay)) => replay.answer,
                None => command.answer,
            },
            Command::Predict(command) => command.answer,
            Command::Receipt(command) => command.answer,
            Command::Config(command) => command.answer,
            Command::Explain(command) => command.answer,
        };
        answer.format == Format::Json
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_sentence_and_every_argument_help() {
        for command in Arguments::command().get_subcommands() {
            assert!(
                command.get_about().is_some_and(|about| !about.to_string().ends_with('.')),
                "{}",
                command.get_name()
            );
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
        }
    }

    #[test]
    fn global_options_stand_before_and_after_the_command() {
        for line in ["pelton --env test --project x check", "pelton check --env test --project x"] {
            let arguments = parse(line).unwrap();
            assert_eq!((arguments.common.env.as_str(), arguments.common.project), ("test", Some("x".into())));
        }
        assert_eq!(parse("pelton check").unwrap().common.env, "main");
    }

    #[test]
    fn selectors_are_words_as_they_are() {
        let Command::Run(run) = parse("pelton run +orders tag:daily fraud+ --format json").unwrap().command else {
            panic!("not a run");
        };
        assert_eq!(run.selection.nodes, ["+orders", "tag:daily", "fraud+"]);
        assert_eq!(run.answer.format, Format::Json);
    }

    #[test]
    fn json_is_known_before_the_command_runs() {
        for (line, is_json) in [
            ("pelton check --format json", true),
            ("pelton check", false),
            ("pelton query x --format json", true),
            ("pelton query x --format json --output f", false),
            ("pelton query x --format csv", false),
            ("pelton graph --format json", true),
            ("pelton demo", false),
            ("pelton demo --format json", true),
            ("pelton serve --port 0 --format json", true),
        ] {
            assert_eq!(parse(line).unwrap().command.is_json(), is_json, "{line}");
        }
    }

    #[test]
    fn text_is_another_word_for_a_table() {
        let Command::Query(query) = parse("pelton query x --format text").unwrap().command else { panic!("no query") };
        assert_eq!(query.format, Some(RowFormat::Table));
    }
}
