//! What people read about checks that did not pass.

use crate::CheckPlan;
use crate::anomaly::Usual;
use crate::rule::{checked_columns, rule_text};
use crate::run::{CheckResult, Checked, Outcome};
use arrow::array::{Array, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use pelton_base::{Report, Reports, thousands};
use pelton_project::{Rule, Statistic, Tolerance};

/// The most characters of a value in a note.
const VALUE_MAX: usize = 60;

/// The reports of checks that did not pass: `check-failed` for those that stop, `check-warned` for those that warn or remove rows.
/// `environment` is where the run publishes; hints look for removed rows there.
pub fn report(plan: &CheckPlan, checked: &Checked, environment: &str) -> Reports {
    let unfinished =
        checked.results.iter().filter(|result| !matches!(result.outcome, Outcome::Passed | Outcome::Learning));
    // What fails is not recorded, and neither is what it would have removed.
    let listed_in = checked.passed().then_some(environment);
    Reports(unfinished.map(|result| report_one(plan, result, listed_in)).collect())
}

fn report_one(plan: &CheckPlan, result: &CheckResult, listed_in: Option<&str>) -> Report {
    let name = &result.check.name;
    let (rule, node) = (rule_text(&result.check.rule), &plan.node);
    let rows = match &result.check.rule {
        Rule::Custom(_) => format!("{} rows", thousands(result.failed_rows)),
        _ => format!("{} of {} rows of `{node}`", thousands(result.failed_rows), thousands(result.rows)),
    };
    let allowed = match result.check.tolerance {
        Tolerance::Share(share) => format!("allowed: {} ({}%)", thousands(result.allowed), share * 100.0),
        Tolerance::Rows(_) | Tolerance::Any => format!("allowed: {}", thousands(result.allowed)),
    };
    let message = match (&result.check.rule, result.outcome) {
        (Rule::Anomaly { statistic, column, .. }, _) => {
            let what = crate::rule::statistic_text(*statistic, column.as_deref());
            format!("check `{name}`: {what} of `{node}` is not what it usually is")
        }
        (Rule::Table(_), _) => format!("check `{name}`: `{rule}` does not hold for `{node}`"),
        (_, Outcome::Quarantined) if listed_in.is_none() => format!("check `{name}`: {rows} break `{rule}`"),
        (Rule::Unique(_), Outcome::Quarantined) if result.moved < result.failed_rows => {
            let moved = match result.moved {
                0 => "none goes".to_string(),
                1 => "1 goes".to_string(),
                several => format!("{} go", thousands(several)),
            };
            format!("check `{name}`: {rows} break `{rule}`, and {moved} to quarantine under it")
        }
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
    match (result.outcome, listed_in) {
        (Outcome::Quarantined, Some(environment)) => listing(plan, result, environment, report),
        (Outcome::Quarantined, None) => {
            report.note(format!("no row went to quarantine, because `{node}` was not built"))
        }
        _ => report,
    }
}

/// Adds where the rows that a check removed are listed.
fn listing(plan: &CheckPlan, result: &CheckResult, environment: &str, mut report: Report) -> Report {
    let elsewhere = result.failed_rows.saturating_sub(result.moved);
    if elsewhere > 0 {
        report = report.note(match result.check.rule {
            Rule::Unique(_) => {
                "the others break another check as well, or stay because the first row of their key does not"
                    .to_string()
            }
            _ => format!("listed under another check, which they break as well: {}", thousands(elsewhere)),
        });
    }
    let mut list = format!("pelton quarantine {}", plan.node);
    if result.moved > 0 {
        list.push_str(&format!(" --check {}", result.check.name));
    }
    if environment != "main" {
        list.push_str(&format!(" --env {environment}"));
    }
    report.hint(list)
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

/// `usual is 92 to 131, learnt from 14 earlier versions, compared with the versions before it`.
pub(crate) fn usual_range(statistic: Statistic, value: f64, usual: &Usual) -> String {
    let (low, high) = match statistic {
        // Of counts, the whole numbers inside.
        Statistic::RowCount | Statistic::DistinctCount if usual.low.ceil() <= usual.high.floor() => {
            (usual.low.ceil(), usual.high.floor())
        }
        _ => (usual.low, usual.high),
    };
    let printed = statistic_value(statistic, value);
    let shown = |limit: f64| match statistic_value(statistic, limit) {
        // A limit that prints like the value would say nothing about it.
        same if same == printed && limit != value => format!("{limit:.3}"),
        limit => limit,
    };
    let (low, high) = (shown(low), shown(high));
    let range = if low == high { low } else { format!("{low} to {high}") };
    let Usual { learnt_from, compared, .. } = usual;
    format!("usual is {range}, learnt from {learnt_from} earlier versions, compared with {compared}")
}

/// A statistic as people read it: `51,204`, `2.5%`, `14.27`.
pub(crate) fn statistic_value(statistic: Statistic, value: f64) -> String {
    match statistic {
        Statistic::NullShare => percent(value),
        Statistic::RowCount | Statistic::DistinctCount if (0.0..1e15).contains(&value) => {
            thousands(value.round() as u64)
        }
        _ => short(value),
    }
}

fn percent(share: f64) -> String {
    let digits = if share >= 0.1 || share == 0.0 { 0 } else { 2 };
    let text = format!("{:.digits$}", share * 100.0);
    let text = if digits > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}%")
}

/// About four digits; large numbers with commas.
fn short(value: f64) -> String {
    let size = value.abs();
    if size >= 1e15 || (size > 0.0 && size < 1e-3) {
        return format!("{value:.3e}");
    }
    let digits = match size {
        size if size >= 1_000.0 => 0,
        size if size >= 100.0 => 1,
        size if size >= 10.0 => 2,
        _ => 3,
    };
    let text = format!("{size:.digits$}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let whole = whole.parse().map_or_else(|_| whole.to_string(), thousands);
    let rest = rest.trim_end_matches('0');
    let sign = if value < 0.0 { "-" } else { "" };
    if rest.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{rest}") }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_read_as_people_write_them() {
        let of = |statistic, value| statistic_value(statistic, value);
        assert_eq!(of(Statistic::RowCount, 51_204.4), "51,204");
        assert_eq!(
            [0.0, 0.025, 0.0004, 0.37, 1.0].map(|v| of(Statistic::NullShare, v)),
            ["0%", "2.5%", "0.04%", "37%", "100%"]
        );
        let means = [0.0, -12_345.6, 14.268, 0.25, 1e-7].map(|value| of(Statistic::Mean, value));
        assert_eq!(means, ["0", "-12,346", "14.27", "0.25", "1.000e-7"]);
    }
}
