//! What a rule is called, which columns it looks at, and the SQL that is true for the rows that break it.

use crate::expression;
use crate::freshness::duration;
use pelton_project::{Check, Rule, Statistic};
use pelton_query::sql;

/// A rule as people read it, for messages: `amount > 0`, `unique(a, b)`.
pub fn rule_text(rule: &Rule) -> String {
    match rule {
        Rule::NotNull(column) => format!("{column} is not null"),
        Rule::Unique(columns) => format!("unique({})", columns.join(", ")),
        Rule::Accepted(column, values) => format!("{column} in ({})", values.join(", ")),
        Rule::Between(column, low, high) => format!("{column} between {low} and {high}"),
        Rule::Matches(column, pattern) => format!("{column} matches {}", sql::text(pattern)),
        Rule::Length(column, min, max) => format!("{column} has {min} to {max} characters"),
        Rule::References { column, table, other } => format!("{column} references {table}.{other}"),
        Rule::Row(text) | Rule::Table(text) | Rule::Custom(text) => {
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        }
        Rule::Freshness { column, warn_after_us, stop_after_us } => {
            let limit = |us: &Option<i64>, then| us.map(|us| format!("{then} after {}", duration(us)));
            let limits = [limit(warn_after_us, "warns"), limit(stop_after_us, "stops")];
            format!("freshness({column}): {}", limits.into_iter().flatten().collect::<Vec<_>>().join(", "))
        }
        Rule::Anomaly { statistic, column, sensitivity } => {
            let what = statistic_text(*statistic, column.as_deref());
            format!("{what} within {sensitivity} usual deviations")
        }
    }
}

/// A statistic as messages call it: `row_count`, `mean(amount)`.
pub(crate) fn statistic_text(statistic: Statistic, column: Option<&str>) -> String {
    match (statistic, column) {
        (Statistic::RowCount, _) => statistic.as_str().to_string(),
        (_, Some(column)) => format!("{}({column})", statistic.as_str()),
        (_, None) => format!("{}(*)", statistic.as_str()),
    }
}

/// Whether a recorded answer, by its name and rule, is of this check as it is now.
pub fn is_answer_of(check: &Check, name: &str, rule: &str) -> bool {
    match &check.rule {
        // An anomaly check of every column is asked, and answered, by column.
        Rule::Anomaly { statistic, column: None, sensitivity } if *statistic != Statistic::RowCount => {
            let column = name.strip_prefix(&check.name).and_then(|rest| rest.strip_prefix('_'));
            column.is_some_and(|column| rule_text(&of_column(*statistic, column, *sensitivity)) == rule)
        }
        _ => check.name == name && rule_text(&check.rule) == rule,
    }
}

/// An anomaly check of one column.
pub(crate) fn of_column(statistic: Statistic, column: &str, sensitivity: f64) -> Rule {
    Rule::Anomaly { statistic, column: Some(column.to_string()), sensitivity }
}

/// Whether the answer to a rule changes with the time alone, so that it is asked at every run.
pub fn reads_clock(rule: &Rule) -> bool {
    match rule {
        Rule::Freshness { .. } => true,
        Rule::Row(text) | Rule::Table(text) | Rule::Custom(text) => expression::reads_clock(text),
        _ => false,
    }
}

/// The columns that a rule looks at, in order of mention; none for custom SQL.
pub fn checked_columns(rule: &Rule) -> Vec<String> {
    match rule {
        Rule::NotNull(column)
        | Rule::Accepted(column, _)
        | Rule::Between(column, _, _)
        | Rule::Matches(column, _)
        | Rule::Length(column, _, _)
        | Rule::References { column, .. } => vec![column.clone()],
        Rule::Unique(columns) => columns.clone(),
        Rule::Row(text) | Rule::Table(text) => match expression::parse(text) {
            Ok(parsed) => expression::mentions(&parsed).columns.into_iter().map(|(_, name)| name).collect(),
            Err(_) => Vec::new(),
        },
        Rule::Freshness { column, .. } => vec![column.clone()],
        Rule::Anomaly { column, .. } => column.iter().cloned().collect(),
        Rule::Custom(_) => Vec::new(),
    }
}

/// The SQL that is true for a row that breaks a row-wise rule, never null; `None` for the other rules.
pub(crate) fn broken(rule: &Rule) -> Option<String> {
    let is_false = |holds: String| format!("({holds}) is false");
    Some(match rule {
        Rule::NotNull(column) => format!("{} is null", sql::ident(column)),
        Rule::Accepted(column, values) => is_false(format!("{} in ({})", sql::ident(column), values.join(", "))),
        Rule::Between(column, low, high) => is_false(format!("{} between {low} and {high}", sql::ident(column))),
        Rule::Matches(column, pattern) => {
            is_false(format!("regexp_like({}, {})", sql::ident(column), sql::text(pattern)))
        }
        Rule::Length(column, min, max) => {
            is_false(format!("char_length({}) between {min} and {max}", sql::ident(column)))
        }
        Rule::Row(text) => is_false(enclosed(text)),
        Rule::Unique(_)
        | Rule::References { .. }
        | Rule::Table(_)
        | Rule::Custom(_)
        | Rule::Freshness { .. }
        | Rule::Anomaly { .. } => return None,
    })
}

/// A user's text, safe to put a bracket behind: a comment at its end is ended by a new line.
pub(crate) fn enclosed(text: &str) -> String {
    let text = text.trim().trim_end_matches(';').trim_end();
    if text.contains("--") { format!("{text}\n") } else { text.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_wise_rule_has_its_sql() {
        let of = |rule: Rule| broken(&rule).unwrap();
        assert_eq!(of(Rule::NotNull("a".into())), r#""a" is null"#);
        assert_eq!(of(Rule::Accepted("a".into(), vec!["'x'".into(), "'y'".into()])), r#"("a" in ('x', 'y')) is false"#);
        assert_eq!(of(Rule::Between("a".into(), "0".into(), "9".into())), r#"("a" between 0 and 9) is false"#);
        assert_eq!(of(Rule::Matches("a".into(), "^it's".into())), r#"(regexp_like("a", '^it''s')) is false"#);
        assert_eq!(of(Rule::Length("a".into(), 1, 3)), r#"(char_length("a") between 1 and 3) is false"#);
        assert_eq!(of(Rule::Row("a > 0 -- positive".into())), "(a > 0 -- positive\n) is false");
        assert_eq!(broken(&Rule::Unique(vec!["a".into()])), None);
    }

    #[test]
    fn rules_read_as_people_say_them() {
        assert_eq!(rule_text(&Rule::Row(" amount\n  > 0 ".into())), "amount > 0");
        assert_eq!(rule_text(&Rule::Unique(vec!["a".into(), "b".into()])), "unique(a, b)");
        assert_eq!(checked_columns(&Rule::Row("a > b or a is null".into())), ["a", "b"]);
        let day_us = 86_400_000_000;
        let freshness = |warn_after_us, stop_after_us| {
            rule_text(&Rule::Freshness { column: "at".into(), warn_after_us, stop_after_us })
        };
        assert_eq!(freshness(Some(day_us), Some(2 * day_us)), "freshness(at): warns after 1 day, stops after 2 days");
        assert_eq!(freshness(None, Some(day_us)), "freshness(at): stops after 1 day");
        assert_eq!(rule_text(&of_column(Statistic::Mean, "a", 5.0)), "mean(a) within 5 usual deviations");
    }

    #[test]
    fn an_answer_by_column_is_one_of_the_check_of_every_column() {
        let check = |name: &str, column: Option<&str>, sensitivity| Check {
            name: name.into(),
            rule: Rule::Anomaly { statistic: Statistic::Mean, column: column.map(str::to_string), sensitivity },
            on_fail: pelton_project::OnFail::Warn,
            tolerance: pelton_project::Tolerance::Rows(0),
            span: (0, 0),
        };
        let rule = "mean(a) within 5 usual deviations";
        assert!(is_answer_of(&check("anomaly_mean", None, 5.0), "anomaly_mean_a", rule));
        assert!(is_answer_of(&check("anomaly_mean_a", Some("a"), 5.0), "anomaly_mean_a", rule));
        assert!(!is_answer_of(&check("anomaly_mean", None, 8.0), "anomaly_mean_a", rule));
        assert!(!is_answer_of(&check("anomaly_mean_b", Some("b"), 5.0), "anomaly_mean_a", rule));
    }

    #[test]
    fn rules_that_read_the_clock_are_told_from_others() {
        for clock in ["freshness(at) < interval '1 day'", "at <= NOW()", "at > current_timestamp", "d = current_date"] {
            assert!(reads_clock(&Rule::Row(clock.into())), "{clock}");
        }
        assert!(reads_clock(&Rule::Custom("select * from a where at < now() - interval '7 days'".into())));
        for still in ["now > 3", "\"now\"(1) = 2", "note <> 'now()'", "a > 0 -- now()"] {
            assert!(!reads_clock(&Rule::Row(still.into())), "{still}");
        }
    }
}
