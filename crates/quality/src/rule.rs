//! What a rule is called, which columns it looks at, and the SQL that is true for the rows that break it.

use crate::expression;
use pelton_project::Rule;
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
        Rule::Unique(_) | Rule::References { .. } | Rule::Table(_) | Rule::Custom(_) => return None,
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
    }
}
