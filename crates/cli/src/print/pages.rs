//! The readable pages of the smaller commands.

use super::checked::wrapped;
use super::outcome::side_by_side;
use super::receipt::value_text;
use super::rows;
use super::sheet::{Cell, Sheet};
use super::style::Style;
use super::words;
use crate::command::InForce;
use crate::session::quoted;
use arrow::array::RecordBatch;
use pelton_base::codes::{self, Code};
use pelton_base::{NodeName, format_time_us};
use pelton_runner::{Planned, Shown, StepAction};
use pelton_store::PastDecision;
use serde_json::{Value, json};
use std::path::Path;

/// What `init` wrote, and what to do next.
pub(crate) fn init(folder: &Path, name: &str, files: &[&str], style: Style) -> String {
    let mut text = format!("{} project `{name}`\n", style.green("wrote"));
    for file in files {
        text.push_str(&format!("  {}\n", folder.join(file).display()));
    }
    text.push_str("\ntry next\n");
    if folder != Path::new(".") {
        text.push_str(&format!("  cd {}\n", quoted(folder)));
    }
    text.push_str("  pelton test\n  pelton run\n  pelton query \"select * from spend_by_day order by day\"\n");
    text
}

/// What a run would do.
pub(crate) fn planned(planned: &Planned, style: Style) -> String {
    let mut sheet = Sheet::new();
    for step in &planned.steps {
        let action = match step.action {
            StepAction::Build => "build",
            StepAction::Skip => "skip",
            StepAction::Check => "check",
            StepAction::Reuse => "reuse",
            StepAction::Depends => "depends",
            StepAction::Remove => "remove",
            StepAction::Fail => "fail",
            StepAction::Withhold => "withhold",
        };
        let painted = style.action(action, action);
        sheet.row([
            Cell::painted(action, painted),
            step.kind.into(),
            step.node.as_str().into(),
            step.reason.as_str().into(),
        ]);
    }
    let suggestions = planned.steps.iter().filter_map(|step| {
        let suggestion = step.suggestion.as_ref()?;
        Some(format!("{} `{}`: {suggestion}\n", style.cyan("hint:"), step.node))
    });
    let suggestions: String = suggestions.collect();
    let suggestions = if suggestions.is_empty() { suggestions } else { format!("\n{suggestions}") };
    let count = |is: fn(StepAction) -> bool| planned.steps.iter().filter(|step| is(step.action)).count();
    let removing = count(|action| action == StepAction::Remove);
    let failing = count(|action| action == StepAction::Fail);
    let changing = count(|action| {
        matches!(action, StepAction::Build | StepAction::Check | StepAction::Reuse | StepAction::Depends)
    });
    let now = match planned.publication {
        Some(id) => format!("`{}` is at publication {id}", planned.environment),
        None => format!("`{}` has no publication yet", planned.environment),
    };
    let now = match planned.rolled_back {
        Some(back) => format!(
            "{now}, rolled back from {} to {}; `pelton run` changes it only with `--roll-forward`",
            back.from, back.to
        ),
        None => now,
    };
    let all = words::counted((planned.steps.len() - removing) as u64, "node");
    let parts = [
        (changing, format!("look into {changing} of {all}")),
        (removing, format!("remove {}", words::counted(removing as u64, "node"))),
        (failing, format!("fail at {}", words::counted(failing as u64, "node"))),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|(count, _)| *count > 0).map(|(_, part)| part).collect();
    let what = match parts.join(" and ") {
        _ if parts.is_empty() => format!("nothing to do for {all}"),
        would if changing + failing == 0 => format!("a run would {would}, with nothing to do for {all}"),
        would => format!("a run would {would}"),
    };
    format!("{}\n{what}; {now}\n{suggestions}", sheet.text(style))
}

/// A node on a page.
pub(crate) fn shown(node: &Shown, style: Style) -> String {
    let mut head = Sheet::new();
    head.row([node.kind, node.name.as_str()]);
    if let Some(description) = &node.description {
        head.row(["", description.trim()]);
    }
    if let Some(file) = &node.file {
        head.row(["file", file]);
    }
    let lists = [("tags", node.tags.clone()), ("reads", texts(&node.reads)), ("read by", texts(&node.read_by))];
    for (word, list) in lists.iter().filter(|(_, list)| !list.is_empty()) {
        head.row([*word, &list.join(", ")]);
    }
    match &node.version {
        Some(version) => {
            head.row(["version", version]);
            for (word, value) in [
                ("digest", node.digest.map(|digest| digest.to_string())),
                ("built at", node.built_at.clone()),
                ("run", node.run.clone()),
            ] {
                head.row([word, &value.unwrap_or_default()]);
            }
            let what = if node.kind == "model" { "examples" } else { "rows" };
            if let Some(rows) = node.rows {
                head.row([what, &words::count(rows)]);
            }
            head.row(["size", &words::bytes(node.bytes.unwrap_or(0))]);
            for (word, count) in [("quarantined", node.quarantined), ("dropped", node.dropped)] {
                if let Some(count) = count.filter(|count| *count > 0) {
                    head.row([word, &words::count(count)]);
                }
            }
        }
        None => head.row(["version", "none: it is not published"]),
    }
    let mut text = head.text(style);
    let mut columns = Sheet::new().indent(2);
    for column in &node.columns {
        let description = column.description.as_deref().unwrap_or_default().trim();
        columns.row([&column.column.name, &column.column.data_type, &words::visible(description)]);
    }
    section(&mut text, "columns", &columns, style);
    let mut checks = Sheet::new().indent(2);
    for check in &node.checks {
        let outcome = match check.outcome {
            "passed" => style.green("passed"),
            "failed" => style.red("failed"),
            "learning" => "learning".to_string(),
            other => style.yellow(other),
        };
        let rows = match check.failed_rows {
            _ if check.fact.is_some() => check.fact.clone().unwrap_or_default(),
            0 => words::counted(check.rows, "row"),
            failed => format!("{} of {}", words::count(failed), words::counted(check.rows, "row")),
        };
        checks.row([
            Cell::painted(check.outcome, outcome),
            check.name.as_str().into(),
            check.rule.as_str().into(),
            rows.into(),
        ]);
    }
    section(&mut text, "checks", &checks, style);
    match &node.card {
        Some(card) => text.push_str(&format!("\n{}\n", card.trim_end())),
        None if !node.metrics.is_empty() => {
            text.push_str(&format!("\n{}", side_by_side(&[("value", &node.metrics)], None, style)));
        }
        None => {}
    }
    if let Some(sql) = &node.sql {
        text.push_str(&format!("\n{}\n", style.bold("SQL")));
        for line in sql.trim().lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    text
}

fn texts(names: &[NodeName]) -> Vec<String> {
    names.iter().map(NodeName::to_string).collect()
}

fn section(text: &mut String, title: &str, sheet: &Sheet, style: Style) {
    if !sheet.is_empty() {
        text.push_str(&format!("\n{}\n{}", style.bold(title), sheet.text(style)));
    }
}

/// Past decisions about a node.
pub(crate) fn decisions(node: &NodeName, decisions: &[PastDecision], style: Style) -> String {
    if decisions.is_empty() {
        return format!("no run has looked at `{node}` yet\n");
    }
    let mut sheet = Sheet::new();
    for past in decisions {
        let action = past.decision.action.as_str();
        let mut reason = past.decision.reason.clone();
        // What was meant to happen did not: how it ended is the answer.
        if let Some(end) = past.decision.detail["summary"].as_str().filter(|end| *end != reason && !is_good(action)) {
            reason = format!("{reason}; {end}");
        }
        sheet.row([
            Cell::from(format_time_us(past.at_us)),
            Cell::painted(action, style.action(action, action)),
            Cell::from(reason),
            Cell::painted(format!("run {}", past.run), style.dim(&format!("run {}", past.run))),
        ]);
    }
    let mut text = sheet.text(style);
    // What differed is told of the newest decision; that of earlier ones is in the JSON.
    if let Some(newest) = decisions.first() {
        text.push_str(&differences(&newest.decision.detail, style));
    }
    text
}

/// The inputs and the lines that made a node be built.
fn differences(detail: &Value, style: Style) -> String {
    const LINES_SHOWN_MAX: usize = 40;
    let mut text = String::new();
    let list = |name: &str| detail[name].as_array().cloned().unwrap_or_default();
    let mut inputs = Sheet::new().indent(2);
    for input in list("inputs") {
        let word = |key: &str| input[key].as_str().unwrap_or("(removed)").to_string();
        let rows = |key: &str| input[key].as_u64().map_or("?".into(), words::count);
        // Nobody counted the rows of a view.
        let counted = match input["rows_now"].as_u64() {
            Some(now) => format!("{} -> {} rows", rows("rows_before"), words::count(now)),
            None => String::new(),
        };
        inputs.row([word("node"), format!("{} -> {}", word("before"), word("now")), counted]);
    }
    let inputs = inputs.text(style);
    if !inputs.is_empty() {
        text.push_str(&format!("\nwhat it reads\n{inputs}"));
    }
    let diff = list("diff");
    if !diff.is_empty() {
        text.push_str("\nits file\n");
    }
    for line in diff.iter().take(LINES_SHOWN_MAX) {
        let sign = line["sign"].as_str().unwrap_or_default();
        let told = format!("{sign} {}", words::visible(line["text"].as_str().unwrap_or_default()));
        let told = if sign == "-" { style.red(&told) } else { style.green(&told) };
        text.push_str(&format!("  {told}\n"));
    }
    if diff.len() > LINES_SHOWN_MAX {
        text.push_str(&format!("  and {} lines more\n", diff.len() - LINES_SHOWN_MAX));
    }
    text
}

fn is_good(action: &str) -> bool {
    ["built", "skipped", "checked", "reused", "published", "restored", "removed"].contains(&action)
}

/// Past decisions as JSON.
pub(crate) fn decisions_json(node: &NodeName, decisions: &[PastDecision]) -> Value {
    let decisions = decisions.iter().map(|past| {
        json!({
            "run": past.run,
            "at": format_time_us(past.at_us),
            "action": past.decision.action.as_str(),
            "reason": past.decision.reason,
            "detail": past.decision.detail,
        })
    });
    json!({ "node": node, "decisions": decisions.collect::<Vec<_>>() })
}

/// Quarantined rows: where each comes from, what it broke, and the row itself.
pub(crate) fn quarantined(total: u64, batches: &[RecordBatch], style: Style) -> String {
    let shown: usize = batches.iter().map(RecordBatch::num_rows).sum();
    if total == 0 {
        return "no rows are in quarantine\n".into();
    }
    const REASON_WIDTH_MAX: usize = 60;
    const RAW_WIDTH_MAX: usize = 80;
    let mut sheet = Sheet::with_head(["node", "rule", "origin", "reason", "row"]);
    for batch in batches {
        let text = |row: usize, name: &str| {
            let column = batch.column_by_name(name)?;
            rows::cell(column, row).map(|text| words::visible(&text))
        };
        for row in 0..batch.num_rows() {
            let origin = match (text(row, "file"), text(row, "line")) {
                (Some(file), Some(line)) => format!("{file}:{line}"),
                (Some(file), None) => file,
                _ => "-".into(),
            };
            let reason = match (text(row, "column"), text(row, "reason")) {
                (Some(column), Some(reason)) if !reason.contains(&column) => format!("{column}: {reason}"),
                (_, reason) => reason.unwrap_or_default(),
            };
            sheet.row([
                text(row, "node").unwrap_or_default(),
                text(row, "rule").unwrap_or_default(),
                origin,
                words::cut(&reason, REASON_WIDTH_MAX),
                words::cut(&text(row, "raw").unwrap_or_default(), RAW_WIDTH_MAX),
            ]);
        }
    }
    let total_text = words::counted(total, "row");
    let end = match shown as u64 == total {
        true => format!("\n{total_text} in quarantine\n"),
        false => format!("\n{} of {total_text} in quarantine; `--limit N` shows more\n", words::count(shown as u64)),
    };
    sheet.text(style) + &end
}

/// What a model predicted.
pub(crate) fn predictions(answer: &Value, style: Style) -> String {
    let rows = answer["predictions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut text = format!(
        "{} version {}, publication {}\n\n",
        style.bold(&value_text(&answer["model"])),
        value_text(&answer["version"]),
        answer["publication"]
    );
    let names: Vec<&String> =
        rows.first().and_then(Value::as_object).map(|row| row.keys().collect()).unwrap_or_default();
    let mut sheet = Sheet::with_head(names.iter().map(|name| name.as_str()));
    for row in rows {
        sheet.row(names.iter().map(|name| value_text(&row[name.as_str()])));
    }
    text.push_str(&sheet.text(style));
    text
}

/// The settings in force.
pub(crate) fn settings(root: &Path, environment: &str, settings: &[InForce], style: Style) -> String {
    let mut sheet = Sheet::with_head(["setting", "value", "from"]);
    for setting in settings {
        let value = if setting.value.is_null() { "-".into() } else { value_text(&setting.value) };
        let painted = if setting.from == "default" { style.dim(setting.from) } else { setting.from.to_string() };
        sheet.row([setting.setting.into(), Cell::from(value), Cell::painted(setting.from, painted)]);
    }
    format!("project      {}\nenvironment  {environment}\n\n{}", root.display(), sheet.text(style))
}

/// All codes.
pub(crate) fn codes(style: Style) -> String {
    let mut sheet = Sheet::new();
    for code in codes::ALL {
        sheet.row([code.code, code.what]);
    }
    sheet.text(style)
}

/// A code's page.
pub(crate) fn code(code: &Code, style: Style) -> String {
    let answer = match code.kind.exit_code() {
        1 => "the answer is no",
        _ => "it could not be done",
    };
    format!(
        "{}\n\n{}\n{}\nexit code {} ({answer}); over HTTP {}\n",
        style.bold(code.code),
        wrapped(code.what, 0),
        wrapped(code.why, 0),
        code.kind.exit_code(),
        code.kind.http_status()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use pelton_runner::PlanStep;

    fn step(node: &str, kind: &'static str, action: StepAction, reason: &str) -> PlanStep {
        PlanStep { node: node.into(), kind, action, reason: reason.into(), suggestion: None }
    }

    fn plan(steps: Vec<PlanStep>) -> Planned {
        let reports = pelton_base::Reports::default();
        Planned { environment: "main".into(), publication: Some(3), rolled_back: None, steps, reports }
    }

    fn page(steps: Vec<PlanStep>) -> String {
        planned(&plan(steps), Style::default())
    }

    #[test]
    fn a_plan_says_what_and_why() {
        let steps = vec![
            step("orders", "source", StepAction::Skip, "its files are unchanged"),
            step("spend", "table", StepAction::Build, "its SQL changed"),
            step("churn", "model", StepAction::Depends, "it reads `spend`, built before it"),
        ];
        assert_eq!(
            page(steps),
            "\
skip     source  orders  its files are unchanged
build    table   spend   its SQL changed
depends  model   churn   it reads `spend`, built before it

a run would look into 2 of 3 nodes; `main` is at publication 3
"
        );
    }

    #[test]
    fn a_plan_says_what_leaves() {
        let steps = vec![
            step("orders", "source", StepAction::Skip, "its files are unchanged"),
            step("churn", "model", StepAction::Remove, "the project does not have it any more; its endpoint goes"),
        ];
        assert!(plan(steps.clone()).changes_anything());
        assert_eq!(
            page(steps),
            "\
skip    source  orders  its files are unchanged
remove  model   churn   the project does not have it any more; its endpoint goes

a run would remove 1 node, with nothing to do for 1 node; `main` is at publication 3
"
        );
    }

    #[test]
    fn a_plan_says_where_a_run_would_fail() {
        let mut steps = vec![
            step("orders", "source", StepAction::Fail, "it could not be examined"),
            step("spend", "table", StepAction::Withhold, "it reads `orders`, which cannot be built"),
        ];
        assert!(!plan(steps.clone()).changes_anything());
        assert_eq!(
            page(steps.clone()),
            "\
fail      source  orders  it could not be examined
withhold  table   spend   it reads `orders`, which cannot be built

a run would fail at 1 node; `main` is at publication 3
"
        );
        steps.push(step("rates", "source", StepAction::Build, "it was never taken in"));
        let end = "a run would look into 1 of 3 nodes and fail at 1 node; `main` is at publication 3\n";
        assert!(page(steps).ends_with(end));
    }

    #[test]
    fn predictions_are_a_table() {
        let answer = json!({"model": "fraud", "version": "ab", "publication": 2, "predictions": [
            {"prediction": true, "score": 0.93, "receipt": "r1"}, {"prediction": false, "score": 0.1, "receipt": "r2"}]});
        assert_eq!(
            predictions(&answer, Style::default()),
            "\
fraud version ab, publication 2

prediction  score  receipt
----------  -----  -------
true        0.93   r1
false       0.1    r2
"
        );
    }

    #[test]
    fn the_folder_of_a_new_project_is_pasted_as_it_is_named() {
        let line = |folder: &str| {
            let text = init(Path::new(folder), "shop", &[], Style::default());
            text.lines().find(|line| line.starts_with("  cd ")).map(str::to_string)
        };
        assert_eq!(line("shop").as_deref(), Some("  cd shop"));
        assert_eq!(line("My Shop").as_deref(), Some("  cd 'My Shop'"));
        assert_eq!(line("."), None);
    }

    #[test]
    fn a_code_explains_itself() {
        assert_eq!(
            code(codes::find("check-failed").unwrap(), Style::default()),
            "\
check-failed

Staged rows break a check.

Checks run before the commit: nothing of the failed table was published.

exit code 1 (the answer is no); over HTTP 409
"
        );
    }
}
