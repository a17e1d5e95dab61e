//! [`Card`]: everything that is worth knowing about a trained model, as data and as Markdown.

use crate::columns::Columns;
use crate::gate::GateResult;
use crate::judge::Candidate;
use crate::split::{rows_of, times_of};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::util::display::array_value_to_string;
use pelton_base::{Report, Seed, format_time_us};
use pelton_learn::{Learner, Part};
use pelton_project::{Model, Node, SplitBy, Task};
use pelton_query::types;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

/// The format of stored cards.
const FORMAT: u32 = 1;

/// The most classes that a card counts; the rarest are left out.
const CLASSES_MAX: usize = 20;

/// The most importances that the Markdown lists; the data has them all.
const IMPORTANCES_SHOWN_MAX: usize = 20;

/// What only the caller knows.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The versions that the training set was read from.
    pub data: Vec<DataVersion>,
}

/// A version that a training set was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataVersion {
    /// The node.
    pub node: String,
    /// Its version.
    pub version: String,
    /// The version's digest.
    pub digest: Option<String>,
    /// Its rows.
    pub rows: Option<u64>,
}

/// A model card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// The format of the card.
    pub format: u32,
    /// The model's name.
    pub model: String,
    /// Its description.
    pub description: Option<String>,
    /// `classification` or `regression`.
    pub task: String,
    /// The target column.
    pub target: String,
    /// The classes in order; empty for regression.
    pub classes: Vec<String>,
    /// The chosen learner.
    pub learner: Learner,
    /// The metric by which it was chosen on the valid part.
    pub metric: String,
    /// Whether it may go into service.
    pub accepted: bool,
    /// The project's seed.
    pub seed: u64,
    /// How the examples were divided, in words.
    pub split: String,
    /// The parts: train, valid, test.
    pub parts: Vec<PartFacts>,
    /// The versions that the training set was read from.
    pub data: Vec<DataVersion>,
    /// What the model sees.
    pub columns: Vec<CardColumn>,
    /// The expressions of derived columns.
    pub derived: BTreeMap<String, String>,
    /// All candidates, the baseline last.
    pub candidates: Vec<Candidate>,
    /// How much each input matters, most first, as shares of the whole.
    pub importances: Vec<(String, f64)>,
    /// The gates.
    pub gates: Vec<GateResult>,
    /// Warnings about columns that give the answer away.
    pub warnings: Vec<String>,
}

/// What one part of the examples holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartFacts {
    /// `train`, `valid` or `test`.
    pub part: String,
    /// Its rows.
    pub rows: u64,
    /// Its earliest time.
    pub from: Option<String>,
    /// Its latest time.
    pub to: Option<String>,
    /// Rows by class, the most frequent first; empty for regression.
    pub classes: Vec<(String, u64)>,
    /// The target's mean; missing for classification.
    pub mean: Option<f64>,
}

/// A column that the model sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub data_type: String,
    /// `request`, `derived`, or the feature table that it is looked up in.
    pub from: String,
    /// How many examples have no value.
    pub missing: u64,
}

/// What training found out, for the card.
pub(crate) struct Told<'a> {
    pub(crate) batch: &'a RecordBatch,
    pub(crate) parts: &'a [Part],
    pub(crate) columns: &'a Columns,
    pub(crate) metric: &'a str,
    pub(crate) gates: &'a [GateResult],
    pub(crate) accepted: bool,
    pub(crate) leaks: &'a [Report],
}

/// Writes the card of a model.
pub(crate) fn write(
    node: &Node,
    model: &Model,
    learned: &pelton_learn::Model,
    candidates: &[Candidate],
    seed: Seed,
    facts: Facts,
    told: &Told<'_>,
) -> Result<Card, Report> {
    let importances = learned.importances();
    let whole: f64 = importances.iter().map(|(_, weight)| weight).sum();
    let share = |(name, weight): (String, f64)| (name, if whole > 0.0 { weight / whole } else { 0.0 });
    Ok(Card {
        format: FORMAT,
        model: node.name.to_string(),
        description: node.description.clone(),
        task: match model.task {
            Task::Classification => "classification".to_string(),
            Task::Regression => "regression".to_string(),
        },
        target: told.columns.target.name().clone(),
        classes: learned.class_names().unwrap_or_default(),
        learner: learned.learner(),
        metric: told.metric.to_string(),
        accepted: told.accepted,
        seed: seed.0,
        split: split_words(model),
        parts: parts(told, model.task)?,
        data: facts.data,
        columns: columns(told),
        derived: model.derive.iter().map(|derived| (derived.name.clone(), derived.sql.clone())).collect(),
        candidates: candidates.to_vec(),
        importances: importances.into_iter().map(share).collect(),
        gates: told.gates.to_vec(),
        warnings: told.leaks.iter().map(|report| report.message.clone()).collect(),
    })
}

fn split_words(model: &Model) -> String {
    let percent = |share: f64| (share * 1000.0).round() / 10.0;
    let by = match &model.split.by {
        SplitBy::Time => "by time, the latest examples judge".to_string(),
        SplitBy::Random => "by a hash of the key".to_string(),
        SplitBy::Stratified => "by a hash of the key, each class by itself".to_string(),
        SplitBy::Group(name) => format!("by a hash of `{name}`, equal values stay together"),
    };
    format!("{by}; {}% test, {}% valid", percent(model.split.test), percent(model.split.valid))
}

fn columns(told: &Told<'_>) -> Vec<CardColumn> {
    let columns = told.columns;
    let from = |name: &str| {
        let is_in = |fields: &[arrow::datatypes::Field]| fields.iter().any(|field| field.name() == name);
        match columns.lookups.iter().find(|lookup| is_in(&lookup.fields)) {
            Some(lookup) => lookup.table.to_string(),
            None if is_in(&columns.derived) => "derived".to_string(),
            None => "request".to_string(),
        }
    };
    let column = |field: &arrow::datatypes::Field| CardColumn {
        name: field.name().clone(),
        data_type: types::name(field.data_type()),
        from: from(field.name()),
        missing: told.batch.column_by_name(field.name()).map_or(0, |column| column.null_count() as u64),
    };
    columns.inputs.iter().map(column).collect()
}

fn parts(told: &Told<'_>, task: Task) -> Result<Vec<PartFacts>, Report> {
    let missing = || Report::error("internal", "the training set lost its target");
    let target = told.batch.column_by_name(told.columns.target.name()).ok_or_else(missing)?;
    let time = told.columns.time.as_ref().and_then(|time| told.batch.column_by_name(time.name()));
    let times = time.map(times_of).transpose()?;
    [Part::Train, Part::Valid, Part::Test]
        .into_iter()
        .map(|part| {
            let rows: Vec<usize> = (0..told.parts.len()).filter(|row| told.parts[*row] == part).collect();
            let of_times = || times.iter().flat_map(|times| rows.iter().filter_map(|row| times[*row]));
            Ok(PartFacts {
                part: part.to_string(),
                rows: rows.len() as u64,
                from: of_times().min().map(format_time_us),
                to: of_times().max().map(format_time_us),
                classes: if task == Task::Classification { classes(target, &rows)? } else { Vec::new() },
                mean: if task == Task::Regression { mean(target, &rows) } else { None },
            })
        })
        .collect()
}

fn classes(target: &ArrayRef, rows: &[usize]) -> Result<Vec<(String, u64)>, Report> {
    let keys = rows_of(std::slice::from_ref(target))?;
    let mut counts: HashMap<&[u8], (usize, u64)> = HashMap::new();
    for row in rows {
        counts.entry(keys.row(*row).data()).or_insert((*row, 0)).1 += 1;
    }
    let label = |row: usize| array_value_to_string(target, row).unwrap_or_default();
    let mut classes: Vec<(String, u64)> = counts.into_values().map(|(row, count)| (label(row), count)).collect();
    classes.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    classes.truncate(CLASSES_MAX);
    Ok(classes)
}

fn mean(target: &ArrayRef, rows: &[usize]) -> Option<f64> {
    let numbers = cast(target, &DataType::Float64).ok()?;
    let numbers = numbers.as_primitive::<Float64Type>();
    let sum: f64 = rows.iter().map(|row| numbers.value(*row)).sum();
    (!rows.is_empty()).then(|| sum / rows.len() as f64)
}

impl Card {
    /// The card for people.
    pub fn markdown(&self) -> String {
        let mut text = format!("# Model card: {}\n\n", self.model);
        if let Some(description) = &self.description {
            let _ = writeln!(text, "{description}\n");
        }
        // Later runs may judge it anew; the card tells what was found when it was trained.
        let verdict = match self.accepted {
            true => "When it was trained, it met every gate.",
            false => "When it was trained, it missed a gate and was held back.",
        };
        let _ = writeln!(text, "`{}` learned `{}` ({}). {verdict}\n", self.learner, self.target, self.task);
        for warning in &self.warnings {
            let _ = writeln!(text, "Warning: {warning}\n");
        }
        self.metrics(&mut text);
        self.gates(&mut text);
        self.examples(&mut text);
        self.inputs(&mut text);
        self.settings(&mut text);
        text
    }

    fn metrics(&self, text: &mut String) {
        text.push_str("## Metrics\n\nOn the test part, which neither fitting nor choosing sees.\n\n");
        let header = self.candidates.iter().map(|candidate| candidate.learner.to_string());
        let names: std::collections::BTreeSet<&String> =
            self.candidates.iter().flat_map(|candidate| candidate.test.keys()).collect();
        let number = |value: Option<&f64>| value.map_or_else(String::new, |value| format!("{value:.4}"));
        let rows = names.into_iter().map(|name| {
            let values = self.candidates.iter().map(|candidate| number(candidate.test.get(name)));
            std::iter::once(name.clone()).chain(values).collect()
        });
        table(text, std::iter::once("metric".to_string()).chain(header).collect(), rows);
        let on_valid = self.candidates.iter().filter_map(|candidate| {
            candidate.valid.get(&self.metric).map(|value| format!("{} {value:.4}", candidate.learner))
        });
        let on_valid = on_valid.collect::<Vec<_>>().join(", ");
        if !on_valid.is_empty() {
            let _ =
                writeln!(text, "`{}` was chosen by `{}` on the valid part: {on_valid}.\n", self.learner, self.metric);
        }
    }

    fn gates(&self, text: &mut String) {
        if self.gates.is_empty() {
            return;
        }
        text.push_str("## Gates\n\n");
        let number =
            |value: Option<f64>, missing: &str| value.map_or(missing.to_string(), |value| format!("{value:.4}"));
        let rows = self.gates.iter().map(|gate| {
            let asked = number(gate.threshold, "no version in service");
            let met = if gate.met { "yes" } else { "no" };
            vec![format!("`{}`", gate.text), number(gate.value, "not defined"), asked, met.to_string()]
        });
        table(text, words(&["gate", "value", "asked", "met"]), rows);
    }

    fn examples(&self, text: &mut String) {
        let _ = writeln!(text, "## Examples\n\nDivided {}.\n", self.split);
        let mut header = words(&["part", "rows", "from", "to"]);
        let is_classification = !self.classes.is_empty();
        header.push(if is_classification { "rows by class" } else { "mean of the target" }.to_string());
        let rows = self.parts.iter().map(|part| {
            let share = |count: u64| 100.0 * count as f64 / part.rows.max(1) as f64;
            let classes = part.classes.iter().map(|(label, count)| format!("{label}: {count} ({:.2}%)", share(*count)));
            let target = match part.mean {
                Some(mean) => format!("{mean:.4}"),
                None => classes.collect::<Vec<_>>().join(", "),
            };
            let (from, to) = (part.from.clone().unwrap_or_default(), part.to.clone().unwrap_or_default());
            vec![part.part.clone(), part.rows.to_string(), from, to, target]
        });
        table(text, header, rows);
        if self.data.is_empty() {
            return;
        }
        text.push_str("Read from:\n\n");
        let rows = self.data.iter().map(|data| {
            let rows = data.rows.map_or_else(String::new, |rows| rows.to_string());
            vec![data.node.clone(), data.version.clone(), rows, data.digest.clone().unwrap_or_default()]
        });
        table(text, words(&["node", "version", "rows", "digest"]), rows);
    }

    fn inputs(&self, text: &mut String) {
        text.push_str("## Inputs\n\n");
        let rows = self.columns.iter().map(|column| {
            let share = self.importances.iter().find(|(name, _)| *name == column.name);
            let share = share.map_or_else(String::new, |(_, share)| format!("{:.1}%", share * 100.0));
            let missing = column.missing.to_string();
            vec![format!("`{}`", column.name), column.data_type.clone(), column.from.clone(), missing, share]
        });
        table(text, words(&["column", "type", "from", "missing", "importance"]), rows);
        if !self.importances.is_empty() {
            text.push_str("Most important first:\n\n");
            for (name, share) in self.importances.iter().take(IMPORTANCES_SHOWN_MAX) {
                let _ = writeln!(text, "1. `{name}` {:.1}%", share * 100.0);
            }
            text.push('\n');
        }
    }

    fn settings(&self, text: &mut String) {
        let _ = writeln!(text, "## Settings\n\nSeed {}.\n", self.seed);
        for candidate in &self.candidates {
            let params = candidate.params.iter().map(|(name, value)| format!("{name} = {value}"));
            let params = params.collect::<Vec<_>>().join(", ");
            let params = if params.is_empty() { "defaults".to_string() } else { params };
            let _ = writeln!(text, "- `{}`: {params}; {} rounds", candidate.learner, candidate.rounds);
        }
        for (name, sql) in &self.derived {
            let _ = writeln!(text, "- `{name}` = `{sql}`");
        }
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// A Markdown table; bars in cells are escaped.
fn table(text: &mut String, header: Vec<String>, rows: impl Iterator<Item = Vec<String>>) {
    let line = |cells: &[String]| {
        let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    text.push_str(&line(&header));
    text.push_str(&line(&vec!["---".to_string(); header.len()]));
    for row in rows {
        text.push_str(&line(&row));
    }
    text.push('\n');
}
