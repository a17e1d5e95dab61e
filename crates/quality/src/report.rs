//! What people read about checks that did not pass.

use crate::CheckPlan;
use crate::rule::{checked_columns, rule_text};
use crate::run::{CheckResult, Checked, Outcome};
use arrow::array::{Array, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use pelton_base::{Report, Reports, thousands};
use pelton_project::{Rule, Tolerance};

/// The most characters of a value in a note.
const VALUE_MAX: usize = 60;

/// The reports of checks that did not pass: `check-failed` for those that stop, `check-warned` for those that warn or remove rows.
pub fn report(plan: &CheckPlan, checked: &Checked) -> Reports {
    let unfinished = checked.results.iter().filter(|result| result.outcome != Outcome::Passed);
    Reports(unfinished.map(|result| report_one(plan, result)).collect())
}

fn report_one(plan: &CheckPlan, result: &CheckResult) -> Report {
    let name = &result.check.name;
    let (rule, node) = (rule_text(&result.check.rule), &plan.node);
    let rows = match &result.check.rule {
        Rule::Custom(_) => format!("{} rows", thousands(result.failed_rows)),
        _ => format!("{} of {} rows of `{node}`", thousands(result.failed_rows), thousands(result.rows)),
    };
    let allowed = match result.check.tolerance {
        Tolerance::Share(share) => format!("allowed: {} ({}%)", thousands(result.allowed), share * 100.0),
        Tolerance::Rows(_) => format!("allowed: {}", thousands(result.allowed)),
    };
    let message = match (&result.check.rule, result.outcome) {
        (Rule::Table(_), _) => format!("check `{name}`: `{rule}` does not hold for `{node}`"),
        (_, Outcome::Quarantined) => format!("check `{name}`: {rows} break `{rule}` and go to quarantine"),
        (Rule::Custom(_), _) => format!("check `{name}` of `{node}`: its SELECT gives {rows} ({allowed})"),
        _ => format!("check `{name}`: {rows} break `{rule}` ({allowed})"),
    };
    let mut report = match result.outcome {
        Outcome::Failed => Report::error("check-failed", message),
        _ => Report::warning("check-warned", message),
    };
    report = report.at(plan.place(&result.check));
    if let Some(fact) = &result.fact {
        report = report.note(fact.clone());
    }
    if let Some(samples) = &result.samples {
        report = report.note(format!("first rows: {}", first_rows(plan, result, samples)));
    }
    match result.outcome {
        Outcome::Quarantined => report.hint(format!("pelton quarantine {node} --check {name}")),
        _ => report,
    }
}

/// `order_id 90121 (-14.00), 90388 (-2.50)`: the key's values, and in brackets the checked ones.
fn first_rows(plan: &CheckPlan, result: &CheckResult, samples: &RecordBatch) -> String {
    let has = |name: &String| samples.schema().field_with_name(name).is_ok();
    let mut key: Vec<String> = plan.key.iter().filter(|name| has(name)).cloned().collect();
    let checked: Vec<String> =
        checked_columns(&result.check.rule).into_iter().filter(|name| has(name) && !key.contains(name)).collect();
    if key.is_empty() {
        // Nothing identifies a row: the first columns that are not in the brackets must do.
        let columns = samples.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        key = columns.into_iter().filter(|name| !checked.contains(name)).take(3).collect();
    }
    let cell = |name: &String, row: usize| samples.column_by_name(name).map_or_else(String::new, |c| value(c, row));
    let rows = (0..samples.num_rows()).map(|row| {
        let labelled = |name: &String| format!("{name} {}", cell(name, row));
        let id = match key.as_slice() {
            [one] if row > 0 => cell(one, row),
            several => several.iter().map(labelled).collect::<Vec<_>>().join(", "),
        };
        let values = match checked.as_slice() {
            [one] => cell(one, row),
            several => several.iter().map(labelled).collect::<Vec<_>>().join(", "),
        };
        match (id.is_empty(), values.is_empty()) {
            (_, true) => id,
            (true, false) => values,
            _ => format!("{id} ({values})"),
        }
    });
    rows.collect::<Vec<_>>().join(if key.len() > 1 { "; " } else { ", " })
}

/// A value as text, shortened.
pub(crate) fn value(column: &dyn Array, row: usize) -> String {
    let options = FormatOptions::default().with_null("null").with_display_error(true);
    let text = match ArrayFormatter::try_new(column, &options) {
        Ok(formatter) => formatter.value(row).to_string(),
        Err(_) => "?".to_string(),
    };
    let text = text.replace(['\n', '\r'], " ");
    match text.char_indices().nth(VALUE_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
