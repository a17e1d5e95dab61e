//! Reads `models/**/NAME.sql`.

use crate::checks::Checks;
use crate::draft::{Draft, Headed, How, Reading, notes, report_sql, select, within};
use crate::settings::{CHECKS, DERIVE, GBDT, LINEAR, LOGISTIC, MODEL, SPLIT, SPLIT_BY, SettingsTable};
use crate::sql;
use crate::toml::{Entry, File, Section};
use crate::{Body, Derived, FeatureUse, Gate, LearnerKind, MissingRule, Model, Spanned, Split, SplitBy, Task, values};
use pelton_base::{Digest, NodeName, Report};
use std::collections::BTreeMap;

/// Tasks that the design has and this version does not.
const TASKS_LATER: &[&str] = &["forecast", "recommendation", "anomaly", "clustering", "text", "image"];

/// Metrics of classification, by their names in `metric` and `accept`.
///
/// `log_loss` and `accuracy` are of any number of classes, `macro_f1` of more than two, the others of two.
pub const CLASSIFICATION_METRICS: &[&str] =
    &["average_precision", "roc_auc", "log_loss", "accuracy", "brier", "f1", "precision", "recall", "macro_f1"];

/// Metrics of regression, by their names in `metric` and `accept`.
pub const REGRESSION_METRICS: &[&str] = &["rmse", "mae", "mape", "r2"];

/// Reads a model; what is wrong is reported, and a default stands in for it.
pub(crate) fn read(file: &File) -> Draft {
    let headed = Headed::of(file);
    if headed.is_absent() {
        let report = Report::error("missing-key", "a model needs a header: it says what to learn")
            .note("the header is TOML in the file's leading comment")
            .hint("begin the file with `/* pelton`, `task = \"classification\"`, `target = \"COLUMN\"`, `key = \"COLUMN\"`, `*/`");
        file.report(report.at(pelton_base::Place::file(file.path)));
    }
    let section = headed.section(file, &MODEL);
    let (description, tags) = notes(&section);
    let (mut checks, mut readings) = (Checks::default(), Vec::new());

    let tasks = [("classification", Task::Classification), ("regression", Task::Regression)];
    let read_task = section.need("task").and_then(|entry| entry.choice(&tasks, TASKS_LATER));
    let task = read_task.unwrap_or(Task::Classification);
    let target = section.need("target").and_then(|entry| entry.words());
    let target = target.unwrap_or(Spanned { value: String::new(), span: (0, 0) });
    let key = section.need("key").map_or_else(Vec::new, |entry| entry.some_texts());
    let time = section.get("time").and_then(|entry| entry.words());
    let exclude = section.get("exclude").map_or_else(Vec::new, |entry| entry.texts());
    check_columns(file, &target, &key, time.as_ref(), &exclude);
    if let Some(entry) = section.get("checks") {
        for entry in entry.section(&CHECKS).entries() {
            checks.read_named(&entry, &mut readings);
        }
    }
    let features = section.get("features").map_or_else(Vec::new, |entry| features(&entry, &mut readings));
    if let (false, None, Some(entry)) = (features.is_empty(), &time, section.get("features")) {
        let report = Report::error("missing-key", "a model with `features` needs `time`");
        file.report_at(entry.key_span, report.note("features are joined as of each example's time"));
    }
    let taken: Vec<&str> = [&target].into_iter().chain(&key).chain(&time).map(|column| column.value.as_str()).collect();
    let derive = section.get("derive").map_or_else(Vec::new, |entry| derive(&entry, &taken));
    let learner = learners(&section, read_task);
    let mut model = Model {
        task,
        split: split(section.get("split"), task, read_task.is_some(), time.is_some()),
        params: params(&section, &learner),
        metric: section.get("metric").and_then(|entry| metric(&entry, read_task)),
        accept: section.get("accept").map_or_else(Vec::new, |entry| gates(&entry, read_task)),
        missing: section
            .get("missing")
            .and_then(|entry| entry.choice(&[("null", MissingRule::Null), ("refuse", MissingRule::Refuse)], &[]))
            .unwrap_or(MissingRule::Null),
        deterministic: section.get("deterministic").and_then(|entry| entry.flag()).unwrap_or(false),
        select: select(file, headed.sql, &mut readings),
        target,
        key,
        time,
        features,
        exclude,
        derive,
        learner,
        checks: checks.list,
        settings_digest: Digest::default(),
    };
    model.settings_digest = settings_digest(&model);
    Draft { description, tags, body: Body::Model(Box::new(model)), readings }
}

/// The roles of a model's columns exclude each other where both at once would be a mistake.
fn check_columns(
    file: &File,
    target: &Spanned<String>,
    key: &[Spanned<String>],
    time: Option<&Spanned<String>>,
    exclude: &[Spanned<String>],
) {
    let is_target = |column: &&Spanned<String>| column.value == target.value;
    for (column, role) in [
        (key.iter().find(is_target), "key"),
        (time.filter(is_target), "time"),
        (exclude.iter().find(is_target), "exclude"),
    ] {
        if let Some(column) = column {
            let report =
                Report::error("invalid-value", format!("`{}` is the target and stands in `{role}` too", column.value));
            file.report_at(column.span, report.note("the target is never an input; it need not be excluded"));
        }
    }
}

fn features(entry: &Entry, readings: &mut Vec<Reading>) -> Vec<FeatureUse> {
    let mut uses: Vec<FeatureUse> = Vec::new();
    for text in entry.texts() {
        let (table, column) = match text.value.split_once('.') {
            Some((table, column)) => (table, Some(column)),
            None => (text.value.as_str(), None),
        };
        if table.is_empty() || column.is_some_and(|column| column.is_empty() || column.contains('.')) {
            entry.file.report_at(
                text.span,
                Report::error("invalid-value", format!("`{}` is not a feature", text.value))
                    .note("accepted is a feature table, or `table.column`"),
            );
            continue;
        }
        let table_span = within(&text, (0, table.len()));
        let table = NodeName::new(table);
        let overlaps = |other: &FeatureUse| other.table == table && (other.column.is_none() || column.is_none());
        if let Some(other) = uses.iter().find(|other| overlaps(other)) {
            let whole = if other.column.is_none() { "before" } else { "after" };
            let report = Report::error(
                "invalid-value",
                format!(
                    "`features` lists all of `{table}`, and columns of it {}",
                    if whole == "before" { "again" } else { "before" }
                ),
            );
            entry.file.report_at(text.span, report.hint("list the table, or its columns"));
        }
        readings.push(Reading { name: table.to_string(), span: table_span, how: How::Feature });
        uses.push(FeatureUse { table, column: column.map(str::to_string), span: text.span });
    }
    uses
}

/// Reads derived columns; `taken` are names that the SELECT gives to its target, key and time.
fn derive(entry: &Entry, taken: &[&str]) -> Vec<Derived> {
    let mut columns: Vec<Derived> = Vec::new();
    for entry in entry.section(&DERIVE).entries() {
        let is_plain = entry.key.chars().all(|c| c.is_alphanumeric() || c == '_') && !entry.key.is_empty();
        let is_taken = taken.contains(&entry.key.as_str())
            || columns.iter().any(|other| other.name.eq_ignore_ascii_case(&entry.key));
        if !is_plain || is_taken {
            let why = if is_taken { "is the name of another column" } else { "cannot be the name of a column" };
            let report = Report::error("invalid-value", format!("derived column `{}` {why}", entry.key));
            entry.file.report_at(
                entry.key_span,
                if is_taken { report } else { report.note("a name has letters, digits and `_`") },
            );
        }
        let Some(text) = entry.words() else { continue };
        let refuse = |why: String| {
            let report = Report::error("invalid-sql", format!("derived column `{}` {why}", entry.key));
            entry.file.report_at(
                text.span,
                report.note("a derived column is computed row by row, in training and for a single request"),
            );
        };
        match sql::parse_expression(&text.value) {
            Ok(expression) if expression.has_query => refuse("holds a SELECT".to_string()),
            Ok(expression) => {
                if let Some(function) = expression.window.or(expression.aggregate) {
                    refuse(format!("calls `{function}`, which looks at many rows"));
                }
            }
            Err(mistake) => report_sql(entry.file, mistake, |span| within(&text, span)),
        }
        columns.push(Derived { name: entry.key.clone(), sql: text.value, span: text.span });
    }
    columns
}

fn learners(section: &Section, task: Option<Task>) -> Vec<Spanned<LearnerKind>> {
    let words = [
        ("gbdt", LearnerKind::Gbdt),
        ("logistic", LearnerKind::Logistic),
        ("linear", LearnerKind::Linear),
        ("baseline", LearnerKind::Baseline),
    ];
    let mut learners: Vec<Spanned<LearnerKind>> = Vec::new();
    let Some(entry) = section.get("learner") else {
        return vec![Spanned { value: LearnerKind::Gbdt, span: section.span.unwrap_or((0, 0)) }];
    };
    for item in entry.items() {
        let Some(kind) = item.choice(&words, &[]) else { continue };
        let fits = !matches!(
            (kind, task),
            (LearnerKind::Logistic, Some(Task::Regression)) | (LearnerKind::Linear, Some(Task::Classification))
        );
        if !fits {
            let (word, other) =
                if kind == LearnerKind::Logistic { ("classes", "linear") } else { ("numbers", "logistic") };
            item.refuse(format_args!("names a learner of {word}, which is not the task; `{other}` is its counterpart"));
        } else if learners.iter().any(|other| other.value == kind) {
            item.refuse("names a learner twice");
        } else {
            learners.push(Spanned { value: kind, span: item.span });
        }
    }
    if learners.is_empty() {
        if entry.items().is_empty() {
            entry.refuse("cannot be empty");
        }
        learners.push(Spanned { value: LearnerKind::Gbdt, span: entry.span });
    }
    learners
}

fn params(section: &Section, learners: &[Spanned<LearnerKind>]) -> BTreeMap<LearnerKind, BTreeMap<String, f64>> {
    let tables: [(&str, LearnerKind, &'static SettingsTable); 3] = [
        ("gbdt", LearnerKind::Gbdt, &GBDT),
        ("logistic", LearnerKind::Logistic, &LOGISTIC),
        ("linear", LearnerKind::Linear, &LINEAR),
    ];
    let mut params = BTreeMap::new();
    for (key, kind, doc) in tables {
        let Some(entry) = section.get(key) else { continue };
        if !learners.iter().any(|learner| learner.value == kind) {
            let report = Report::error("invalid-value", format!("`[{key}]` has no effect: `learner` does not name it"));
            entry.file.report_at(entry.key_span, report.hint(format!("add `{key}` to `learner`")));
        }
        let numbers = entry.section(doc).entries();
        params
            .insert(kind, numbers.into_iter().filter_map(|entry| Some((entry.key.clone(), entry.number()?))).collect());
    }
    params
}

fn metric(entry: &Entry, task: Option<Task>) -> Option<Spanned<String>> {
    let text = entry.words()?;
    if let Some(report) = metric_mistake(&text.value, task) {
        entry.file.report_at(text.span, report);
    }
    Some(text)
}

pub(crate) fn metric_mistake(name: &str, task: Option<Task>) -> Option<Report> {
    let (known, word, others): (Vec<&str>, _, _) = match task? {
        Task::Classification => (CLASSIFICATION_METRICS.to_vec(), "classification", REGRESSION_METRICS),
        Task::Regression => (REGRESSION_METRICS.to_vec(), "regression", CLASSIFICATION_METRICS),
    };
    if known.contains(&name) {
        return None;
    }
    let why = if others.contains(&name) {
        format!("`{name}` is not a metric of {word}")
    } else {
        format!("`{name}` is not a metric")
    };
    let report = Report::error("invalid-value", why).suggest(name, known.iter().copied());
    Some(report.note(format!("metrics of {word}: {}", crate::toml::listed(known.into_iter()))))
}

fn gates(entry: &Entry, task: Option<Task>) -> Vec<Gate> {
    let mut gates = Vec::new();
    for text in entry.texts() {
        let Some((metric, comparison, relative, number)) = values::parse_gate(&text.value) else {
            entry.file.report_at(
                text.span,
                Report::error("invalid-value", format!("`{}` is not a rule", text.value))
                    .note("accepted is `METRIC >= NUMBER`, or `METRIC >= current - NUMBER`; `>`, `<=` and `<` too"),
            );
            continue;
        };
        if let Some(report) = metric_mistake(metric, task) {
            let start = text.value.find(metric).unwrap_or(0);
            entry.file.report_at(within(&text, (start, start + metric.len())), report);
        }
        let metric = metric.to_string();
        gates.push(Gate { text: text.value, metric, comparison, relative, number, span: text.span });
    }
    gates
}

fn split(entry: Option<Entry>, task: Task, task_is_known: bool, has_time: bool) -> Split {
    let by = match (has_time, task) {
        (true, _) => SplitBy::Time,
        (false, Task::Classification) => SplitBy::Stratified,
        (false, Task::Regression) => SplitBy::Random,
    };
    let mut split = Split { by, test: 0.2, valid: 0.1 };
    let Some(entry) = entry else { return split };
    let section = entry.section(&SPLIT);
    if let Some(by) = section.get("by") {
        if by.is_table() {
            let group = by.section(&SPLIT_BY).need("group").and_then(|entry| entry.words());
            split.by = group.map_or(split.by, |group| SplitBy::Group(group.value));
        } else if let Some(word) = by.choice(&[("time", 0), ("random", 1), ("stratified", 2)], &[]) {
            match word {
                0 if !has_time => by.refuse("is `time`, but the model has no `time`"),
                2 if task_is_known && task == Task::Regression => {
                    by.refuse("is `stratified`, but a regression has no classes")
                }
                _ => split.by = [SplitBy::Time, SplitBy::Random, SplitBy::Stratified][word].clone(),
            }
        }
    }
    for (key, low) in [("test", 0.01), ("valid", 0.0)] {
        let Some(entry) = section.get(key) else { continue };
        let Some(share) = entry.share() else { continue };
        if !(low..=0.9).contains(&share) {
            entry.refuse(format_args!("is {share}, which is not between {low} and 0.9"));
        } else if key == "test" {
            split.test = share;
        } else {
            split.valid = share;
        }
    }
    if split.test + split.valid > 0.95 {
        entry.refuse("leaves less than 5% of the examples to train on");
    }
    split
}

/// The digest of what changes what is learned or what the endpoint does with it; not of notes, checks and gates.
///
/// The SELECT is not part of it: its normal form is compared by itself.
fn settings_digest(model: &Model) -> Digest {
    let column = |text: &Spanned<String>| text.value.clone();
    let columns = |list: &[Spanned<String>]| list.iter().map(column).collect::<Vec<_>>();
    let derive: Vec<(String, String)> = model
        .derive
        .iter()
        .map(|derived| {
            let normal = sql::parse_expression(&derived.sql)
                .map_or_else(|_| derived.sql.clone(), |expression| expression.normal);
            (derived.name.clone(), normal)
        })
        .collect();
    let features: Vec<(&str, &Option<String>)> =
        model.features.iter().map(|feature| (feature.table.as_str(), &feature.column)).collect();
    let settings = serde_json::json!({
        "task": model.task,
        "target": column(&model.target),
        "key": columns(&model.key),
        "time": model.time.as_ref().map(column),
        "features": features,
        "exclude": columns(&model.exclude),
        "derive": derive,
        "split": model.split,
        "learner": model.learner.iter().map(|learner| learner.value).collect::<Vec<_>>(),
        "params": model.params,
        "metric": model.metric.as_ref().map(column),
        "missing": model.missing,
    });
    Digest::of(settings.to_string().as_bytes())
}
