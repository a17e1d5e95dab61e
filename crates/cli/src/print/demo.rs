//! The report of `pelton demo`, section by section, in the order of the road.

use super::outcome::side_by_side;
use super::receipt::{same_bits, training, value_text};
use super::sheet::{Cell, Sheet};
use super::style::Style;
use super::words;
use crate::command::Mark;
use crate::session::quoted;
use pelton_demo::Options;
use pelton_runner::Checked;
use pelton_serve::Receipt;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// How many reasons of one node are shown.
const REASONS_MAX: usize = 8;
/// How many files of each source a receipt shows.
const FILES_MAX: usize = 2;
/// How many features of a receipt are shown.
const FEATURES_MAX: usize = 8;

/// A source or table and its rows.
pub(crate) struct Source {
    /// Its name.
    pub(crate) node: String,
    /// `source` or `table`.
    pub(crate) kind: &'static str,
    /// Rows that it has.
    pub(crate) rows: u64,
    /// Rows that went to quarantine.
    pub(crate) quarantined: u64,
    /// Rows that a declared rule dropped.
    pub(crate) dropped: u64,
    /// Whether this run built it.
    pub(crate) was_built: bool,
}

/// Why rows of a node are in quarantine.
pub(crate) struct Reason {
    /// The node.
    pub(crate) node: String,
    /// The rule.
    pub(crate) rule: String,
    /// The column, when one is to blame.
    pub(crate) column: String,
    /// The reason.
    pub(crate) reason: String,
    /// How many rows.
    pub(crate) rows: u64,
}

/// What the demo is.
pub(crate) fn title(options: &Options, folder: &Path, style: Style) -> String {
    let what = format!(
        "A year of {} card payments (seed {}) in `{}`",
        words::count(options.rows),
        options.seed,
        folder.display()
    );
    format!("{}: from raw files to a prediction and its receipt", style.bold(&what))
}

fn section(title: &str, style: Style) -> String {
    format!("\n{}\n", style.bold(title))
}

/// The raw files, and that the project fits them.
pub(crate) fn files(mark: &Mark, checked: &Checked, style: Style) -> String {
    let took = match mark.took_ms {
        Some(ms) => format!("written in {}", words::elapsed_ms(ms)),
        None => "written by an earlier demo".into(),
    };
    let columns: u64 = checked.nodes.iter().map(|node| node.columns.len() as u64).sum();
    format!(
        "{}  {}, {}, {}, {took}\n  {} and {} checked without reading data\n",
        section("raw files", style),
        words::counted(mark.files, "file"),
        words::counted(mark.lines, "line"),
        words::bytes(mark.bytes),
        words::counted(checked.nodes.len() as u64, "node"),
        words::counted(columns, "column"),
    )
}

/// What became of the rows.
pub(crate) fn tables(nodes: &[Source], reasons: &[Reason], style: Style) -> String {
    let mut sheet = Sheet::with_head(["", "rows in", "kept", "quarantined", ""]).right([1, 2, 3]).indent(2);
    for node in nodes {
        let state = if node.was_built { style.green("built") } else { style.dim("unchanged") };
        // Rows in are known of sources, and of tables whose checks remove rows.
        let counts = [node.rows + node.quarantined + node.dropped, node.rows, node.quarantined].map(words::count);
        let [rows_in, kept, quarantined] = counts.map(Cell::from);
        let state = Cell::painted(if node.was_built { "built" } else { "unchanged" }, state);
        sheet.row([Cell::from(format!("{} {}", node.kind, node.node)), rows_in, kept, quarantined, state]);
    }
    let mut text = section("checked tables", style) + &sheet.text(style);
    let mut why = Sheet::new().right([0]).indent(2);
    for node in nodes {
        let of_node: Vec<&Reason> = reasons.iter().filter(|reason| reason.node == node.node).collect();
        for reason in of_node.iter().take(REASONS_MAX) {
            let told = match reason.column.is_empty() || reason.reason.contains(&reason.column) {
                true => reason.reason.clone(),
                false => format!("{}: {}", reason.column, reason.reason),
            };
            let origin = format!("{} ({})", reason.node, reason.rule);
            why.row([words::count(reason.rows), origin, words::visible(&told)]);
        }
        if of_node.len() > REASONS_MAX {
            let rest = of_node[REASONS_MAX..].iter().map(|reason| reason.rows).sum();
            why.row([words::count(rest), node.node.clone(), "for other reasons".to_string()]);
        }
    }
    if !why.is_empty() {
        text.push_str(&format!("{}{}", section("in quarantine", style), why.text(style)));
    }
    text
}

/// Model, version, examples and metrics.
pub(crate) type Judged<'a> = (&'a str, String, u64, BTreeMap<String, f64>);

/// The models beside each other.
pub(crate) fn models(models: &[Judged<'_>], baseline: &BTreeMap<String, f64>, style: Style) -> String {
    let mut text = section("models", style);
    let mut columns: Vec<(&str, &BTreeMap<String, f64>)> =
        models.iter().map(|(name, _, _, metrics)| (*name, metrics)).collect();
    columns.push(("baseline", baseline));
    text.push_str(&side_by_side(&columns, Some("average_precision"), style));
    let versions = models.iter().map(|(name, version, examples, _)| {
        format!("{name} is version {version}, from {} examples", words::count(*examples))
    });
    text.push_str(&format!("  {}\n", versions.collect::<Vec<_>>().join("; ")));
    if models.len() > 1 {
        text.push_str("  `fraud_plain` sees the payment alone: the difference is what the as-of features are worth\n");
    }
    text
}

/// A request and its answer.
pub(crate) fn asked(request: &str, rows: &[&str], answer: &Value, style: Style) -> String {
    let mut text = section("a prediction", style);
    text.push_str(&format!("  {request}\n"));
    for row in rows {
        text.push_str(&format!("    {row}\n"));
    }
    let head = format!(
        "{} version {}, publication {}",
        value_text(&answer["model"]),
        value_text(&answer["version"]),
        answer["publication"]
    );
    text.push_str(&format!("  200 OK: {head}\n"));
    for prediction in answer["predictions"].as_array().into_iter().flatten() {
        text.push_str(&format!("    {prediction}\n"));
    }
    text
}

/// A receipt, shortened.
pub(crate) fn receipt(request: &str, found: &Receipt, style: Style) -> String {
    let mut text = section("its receipt", style);
    text.push_str(&format!("  {request}\n"));
    let mut sheet = Sheet::new().indent(4);
    sheet.row([
        "model".to_string(),
        format!("{} version {} ({})", found.model, found.version, found.learner),
        String::new(),
    ]);
    let features = found.lookups.iter().flat_map(|source| source.features.iter().map(move |name| (name, source)));
    for (name, source) in features
        .clone()
        .filter(|(name, _)| found.features.get(*name).is_some_and(|value| !value.is_null()))
        .take(FEATURES_MAX)
    {
        sheet.row([name.clone(), value_text(&found.features[name]), format!("{} {}", source.table, source.version)]);
    }
    text.push_str(&sheet.text(style));
    let more = features.count().saturating_sub(FEATURES_MAX);
    if more > 0 {
        text.push_str(&format!("    and {}\n", words::counted(more as u64, "more feature")));
    }
    text.push_str("  trained on\n");
    for line in training(&found.training, FILES_MAX, style).lines() {
        text.push_str(&format!("  {line}\n"));
    }
    text
}

/// The lines that other programs look for.
pub(crate) fn stable(found: &Receipt, elapsed: &str) -> String {
    let score =
        found.output.get("score").or_else(|| found.output.get("prediction")).map(value_text).unwrap_or_default();
    format!("\nprediction  {score}  receipt {}\nre-scored: {}\ndemo finished in {elapsed}", found.id, same_bits(found))
}

/// What to do next; every line works when it is pasted.
pub(crate) fn next(program: &str, folder: &Path, found: &Receipt, style: Style) -> String {
    let folder = quoted(folder);
    let mut text = section("try next", style);
    text.push_str(&format!("  {program} run --project {folder}\n"));
    text.push_str(&format!("  {program} receipt --project {folder} {}\n", found.id));
    text.push_str(&format!(
        "  {program} query --project {folder} \"select transaction_id, amount, score from predict(fraud, payments) order by score desc limit 5\"\n"
    ));
    text
}
