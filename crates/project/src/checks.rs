//! Reads checks: the small language of `[columns.NAME] checks`, and the SQL of `[checks]`.

use crate::draft::{How, Reading, report_sql, within};
use crate::settings;
use crate::sql;
use crate::toml::{Entry, File};
use crate::{Check, OnFail, Rule, Spanned, Statistic, Tolerance};
use pelton_base::{NodeName, Report};
use std::collections::BTreeSet;

/// The rules of the small language, each with an example.
const RULES: &[(&str, &str)] = &[
    ("not_null", "not_null"),
    ("unique", "unique"),
    ("accepted", "accepted('a', 'b')"),
    ("between", "between(0, 10)"),
    ("matches", "matches('^[a-z]+$')"),
    ("length", "length(1, 20)"),
    ("references", "references(customers.customer_id)"),
];

/// The checks of a node under reading.
#[derive(Default)]
pub(crate) struct Checks {
    /// What was read so far.
    pub list: Vec<Check>,
    names: BTreeSet<String>,
}

impl Checks {
    /// Reads `checks` of a column.
    pub fn read_column(&mut self, column: &str, entry: &Entry, readings: &mut Vec<Reading>) {
        for item in entry.items() {
            let (mut on_fail, mut tolerance) = (OnFail::Stop, Tolerance::Rows(0));
            let text = if item.is_table() {
                let section = item.section(&settings::COLUMN_CHECK);
                (on_fail, tolerance) = limits(&section);
                section.need("check").and_then(|entry| entry.words())
            } else {
                item.words()
            };
            let Some(text) = text else { continue };
            match column_rule(column, &text, readings) {
                Ok((kind, rule)) => {
                    let check = Check { name: format!("{kind}_{column}"), rule, on_fail, tolerance, span: text.span };
                    self.push_numbered(check);
                }
                Err(report) => entry.file.report_at(text.span, report),
            }
        }
    }

    /// Reads an entry of `[checks]`.
    pub fn read_named(&mut self, entry: &Entry, readings: &mut Vec<Reading>) {
        let (mut on_fail, mut tolerance, mut kind) = (OnFail::Stop, Tolerance::Rows(0), None);
        let text = if entry.is_table() {
            let section = entry.section(&settings::CHECK);
            (on_fail, tolerance) = limits(&section);
            kind = section.get("kind").and_then(|entry| {
                entry.choice(&[("row", Kind::Row), ("table", Kind::Table), ("custom", Kind::Custom)], &[])
            });
            match (section.get("sql"), section.get("expression")) {
                (Some(_), Some(second)) => {
                    second.refuse("says again what `sql` says");
                    None
                }
                (Some(entry), None) | (None, Some(entry)) => entry.words(),
                (None, None) => section.need("sql").and_then(|entry| entry.words()),
            }
        } else {
            entry.words()
        };
        let is_name =
            |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !is_name(&entry.key) {
            let report = Report::error("invalid-check", format!("`{}` cannot be the name of a check", entry.key));
            entry.file.report_at(entry.key_span, report.note("a name has letters, digits, `_` and `-`"));
        }
        let Some(text) = text else { return };
        let Some(rule) = sql_rule(entry.file, &text, kind, readings) else { return };
        if on_fail == OnFail::Quarantine && matches!(rule, Rule::Table(_) | Rule::Custom(_)) {
            let what =
                if matches!(rule, Rule::Table(_)) { "is about the table as a whole" } else { "is a SELECT of its own" };
            let report =
                Report::error("invalid-check", format!("check `{}` cannot quarantine rows: it {what}", entry.key));
            entry.file.report_at(text.span, report.hint("use `on_fail = \"stop\"` or `on_fail = \"warn\"`"));
        }
        if matches!(rule, Rule::Table(_)) && !matches!(tolerance, Tolerance::Rows(0) | Tolerance::Any) {
            let report = Report::error(
                "invalid-check",
                format!("check `{}` cannot have a tolerance: it is about the table as a whole", entry.key),
            );
            entry.file.report_at(text.span, report.hint("put the tolerance into the condition"));
        }
        let check = Check { name: entry.key.clone(), rule, on_fail, tolerance, span: text.span };
        if self.names.contains(&check.name) {
            self.push_numbered(check);
        } else {
            self.names.insert(check.name.clone());
            self.list.push(check);
        }
    }

    /// Adds a rule on a column that a setting implies, when the column does not have it.
    pub fn imply(&mut self, rule: Rule, name: String, span: (usize, usize)) {
        if self.list.iter().any(|check| check.rule == rule && check.on_fail == OnFail::Stop) {
            return;
        }
        self.push_numbered(Check { name, rule, on_fail: OnFail::Stop, tolerance: Tolerance::Rows(0), span });
    }

    /// Reads `freshness`; `time` is the column that it is about when it names none.
    pub fn read_freshness(&mut self, entry: &Entry, time: Option<&Spanned<String>>) {
        let (warn_after_us, stop_after_us, column);
        if entry.is_table() {
            let section = entry.section(&settings::FRESHNESS);
            warn_after_us = section.get("warn_after").and_then(|entry| entry.duration_us());
            stop_after_us = section.get("stop_after").and_then(|entry| entry.duration_us());
            column = section.get("column").and_then(|entry| entry.words());
            if section.get("warn_after").is_none() && section.get("stop_after").is_none() {
                let report = Report::error("missing-key", "`freshness` needs `warn_after`, `stop_after` or both")
                    .hint("add `stop_after = \"2 days\"`");
                entry.file.report_at(entry.key_span, report);
            }
            if let (Some(warn), Some(stop), Some(entry)) = (warn_after_us, stop_after_us, section.get("warn_after"))
                && warn >= stop
            {
                entry.refuse("can never warn: `stop_after` is not longer");
            }
        } else {
            (warn_after_us, stop_after_us, column) = (None, entry.duration_us(), None);
        }
        let Some(column) = column.as_ref().or(time) else {
            let report = Report::error("missing-key", "`freshness` needs a column, because there is no `time`")
                .hint("add `time = \"COLUMN\"`, or `column = \"COLUMN\"` to `freshness`");
            entry.file.report_at(entry.key_span, report);
            return;
        };
        let on_fail = if stop_after_us.is_some() { OnFail::Stop } else { OnFail::Warn };
        let rule = Rule::Freshness { column: column.value.clone(), warn_after_us, stop_after_us };
        let span = if entry.is_table() { entry.key_span } else { entry.span };
        self.push_numbered(Check { name: "freshness".into(), rule, on_fail, tolerance: Tolerance::Rows(0), span });
    }

    /// Reads `[anomaly]`: a check for the number of rows, and one for each column that is named.
    pub fn read_anomaly(&mut self, entry: &Entry) {
        let section = entry.section(&settings::ANOMALY);
        let words = [("warn", OnFail::Warn), ("stop", OnFail::Stop)];
        let on_fail = section.get("on_fail").and_then(|entry| entry.choice(&words, &[])).unwrap_or(OnFail::Warn);
        let sensitivity = section.get("sensitivity").and_then(|entry| sensitivity(&entry)).unwrap_or(MEDIUM);
        let mut watch = |statistic: Statistic, column: Option<String>, span| {
            let of = column.as_ref().map_or_else(String::new, |column| format!("_{column}"));
            let name = format!("anomaly_{}{of}", statistic.as_str());
            let rule = Rule::Anomaly { statistic, column, sensitivity };
            self.push_numbered(Check { name, rule, on_fail, tolerance: Tolerance::Rows(0), span });
        };
        if section.get("row_count").and_then(|entry| entry.flag()).unwrap_or(true) {
            watch(Statistic::RowCount, None, entry.key_span);
        }
        for statistic in [Statistic::NullShare, Statistic::Mean, Statistic::DistinctCount] {
            let Some(entry) = section.get(statistic.as_str()) else { continue };
            let columns = entry.texts();
            if columns.iter().any(|column| column.value == "*") {
                if columns.len() > 1 {
                    entry.refuse("cannot name columns beside `*`, which means every column");
                }
                watch(statistic, None, entry.span);
                continue;
            }
            for column in columns {
                watch(statistic, Some(column.value), column.span);
            }
        }
    }

    /// Takes a check in; a name that is taken gets a number.
    fn push_numbered(&mut self, mut check: Check) {
        let base = check.name.clone();
        let mut number = 2;
        while !self.names.insert(check.name.clone()) {
            check.name = format!("{base}_{number}");
            number += 1;
        }
        self.list.push(check);
    }
}

/// `sensitivity = "medium"`; the rates of false alarms of the words are measured in `quality`'s tests.
const MEDIUM: f64 = 5.0;

/// Reads `sensitivity`: a word, or the number of usual deviations that are still usual.
fn sensitivity(entry: &Entry) -> Option<f64> {
    if entry.is_text() {
        return entry.choice(&[("low", 8.0), ("medium", MEDIUM), ("high", 3.5)], &[]);
    }
    let number = entry.number()?;
    if !(1.0..=100.0).contains(&number) {
        entry.refuse("is not between 1 and 100");
        return None;
    }
    Some(number)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Row,
    Table,
    Custom,
}

fn limits(section: &crate::toml::Section) -> (OnFail, Tolerance) {
    let words = [("stop", OnFail::Stop), ("quarantine", OnFail::Quarantine), ("warn", OnFail::Warn)];
    let on_fail = section.get("on_fail").and_then(|entry| entry.choice(&words, &[])).unwrap_or(OnFail::Stop);
    let tolerance = section.get("tolerance").and_then(|entry| entry.tolerance());
    // Rows that may move to quarantine are no mistake, however many, until somebody says how many are one.
    let unnamed = if on_fail == OnFail::Quarantine { Tolerance::Any } else { Tolerance::Rows(0) };
    (on_fail, tolerance.unwrap_or(unnamed))
}

/// Reads a rule of the small language.
fn column_rule(
    column: &str,
    text: &Spanned<String>,
    readings: &mut Vec<Reading>,
) -> Result<(&'static str, Rule), Report> {
    let written = text.value.as_str();
    let refused = |why: &str| Report::error("invalid-check", format!("`{written}` {why}"));
    let Some((name, arguments)) = split_call(written) else {
        return Err(refused("is not a check").note(known_rules()));
    };
    let Some((kind, example)) = RULES.iter().find(|(rule, _)| *rule == name) else {
        let report = refused("is not a check of a column").suggest(name, RULES.iter().map(|(rule, _)| *rule));
        return Err(match report.hints.is_empty() {
            true => report.note(known_rules()).hint("a condition in SQL goes into `[checks]`"),
            false => report,
        });
    };
    let wrong = |why: &str| refused(why).note(format!("for example `{example}`"));
    let column = column.to_string();
    let rule = match (*kind, arguments.as_deref()) {
        ("not_null", None) => Rule::NotNull(column),
        ("unique", None) => Rule::Unique(vec![column]),
        ("unique", Some(_)) => {
            return Err(
                wrong("names columns").hint("several columns together go into `[checks]`: `name = \"unique(a, b)\"`")
            );
        }
        ("not_null", Some(_)) => return Err(wrong("takes nothing in parentheses")),
        (_, None) => return Err(wrong("needs something in parentheses")),
        ("accepted", Some(values)) => {
            if let Some(bad) = values.iter().find(|value| !sql::is_literal(value)) {
                return Err(wrong(&format!("accepts `{bad}`, which is not a number or a text in single quotes")));
            }
            Rule::Accepted(column, values.iter().map(|value| value.to_string()).collect())
        }
        ("between", Some([low, high])) => {
            if let Some(bad) = [low, high].into_iter().find(|value| !sql::is_literal(value)) {
                return Err(wrong(&format!("has the bound `{bad}`, which is not a number or a text in single quotes")));
            }
            if let (Ok(low_number), Ok(high_number)) = (low.parse::<f64>(), high.parse::<f64>())
                && low_number > high_number
            {
                return Err(wrong("can never hold: the first bound is the greater one"));
            }
            Rule::Between(column, low.to_string(), high.to_string())
        }
        ("between", Some(_)) => return Err(wrong("needs two bounds")),
        ("matches", Some([pattern])) => {
            let pattern = unquoted(pattern).ok_or_else(|| wrong("needs a pattern in single quotes"))?;
            if let Err(error) = regex::Regex::new(&pattern) {
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_string();
                return Err(wrong("has a pattern that is not a regular expression").note(reason));
            }
            Rule::Matches(column, pattern)
        }
        ("matches", Some(_)) => return Err(wrong("needs one pattern")),
        ("length", Some([least, most])) => match (least.parse::<u64>(), most.parse::<u64>()) {
            (Ok(least), Ok(most)) if least <= most => Rule::Length(column, least, most),
            (Ok(_), Ok(_)) => return Err(wrong("can never hold: the first length is the greater one")),
            _ => return Err(wrong("needs whole numbers")),
        },
        ("length", Some(_)) => return Err(wrong("needs the least and the greatest length")),
        ("references", Some([target])) => {
            let Some((table, other)) =
                target.split_once('.').filter(|(table, other)| !table.is_empty() && !other.is_empty())
            else {
                return Err(wrong("needs a table and its column"));
            };
            let start = written.find(target).unwrap_or(0);
            let span = within(text, (start, start + table.len()));
            readings.push(Reading { name: table.to_string(), span, how: How::References });
            Rule::References { column, table: NodeName::new(table), other: other.trim_matches('"').to_string() }
        }
        _ => return Err(wrong("needs one table and its column")),
    };
    Ok((kind, rule))
}

fn known_rules() -> String {
    format!(
        "checks of a column: {}",
        RULES.iter().map(|(_, example)| format!("`{example}`")).collect::<Vec<_>>().join(", ")
    )
}

/// Reads the SQL of an entry of `[checks]`, and decides what it is about.
fn sql_rule(file: &File, text: &Spanned<String>, kind: Option<Kind>, readings: &mut Vec<Reading>) -> Option<Rule> {
    let refuse = |why: String, hint: &str| {
        let report = Report::error("invalid-check", why);
        file.report_at(text.span, if hint.is_empty() { report } else { report.hint(hint) });
    };
    let first =
        text.value.trim_start().split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
    let is_query = first.eq_ignore_ascii_case("select") || first.eq_ignore_ascii_case("with");
    if is_query != (kind == Some(Kind::Custom)) && kind.is_some() {
        let why = if is_query {
            "a SELECT is a custom check"
        } else {
            "a custom check is a SELECT of the rows that break the rule"
        };
        refuse(why.to_string(), "leave `kind` out: the SQL decides");
        return None;
    }
    if is_query {
        return custom_rule(file, text, readings);
    }
    let expression = match sql::parse_expression(&text.value) {
        Ok(expression) => expression,
        Err(mut mistake) => {
            if mistake.code == "invalid-sql" {
                mistake.code = "invalid-check";
            }
            report_sql(file, mistake, |span| within(text, span));
            return None;
        }
    };
    if let Some(call) = expression.call.as_deref() {
        if call == "unique" {
            let columns: Option<Vec<String>> =
                split_call(&text.value).and_then(|(_, columns)| columns?.into_iter().map(plain_column).collect());
            match columns {
                Some(columns) if !columns.is_empty() => return Some(Rule::Unique(columns)),
                _ => refuse("`unique` takes names of columns".to_string(), "for example `unique(customer_id, day)`"),
            }
            return None;
        }
        if let Some((rule, example)) = RULES.iter().find(|(rule, _)| *rule == call && *rule != "length") {
            refuse(
                format!("`{rule}` is a check of a column"),
                &format!("write `checks = [\"{example}\"]` under `[columns.NAME]`"),
            );
            return None;
        }
    }
    if expression.has_query {
        refuse(
            "a condition cannot hold a SELECT".to_string(),
            "write a SELECT of the rows that break the rule instead",
        );
        return None;
    }
    if let Some(window) = &expression.window {
        refuse(
            format!("a condition cannot call `{window}` over a window"),
            "write a SELECT of the rows that break the rule instead",
        );
        return None;
    }
    match (&expression.aggregate, kind) {
        (Some(aggregate), Some(Kind::Row)) => {
            refuse(
                format!("a condition on a row cannot call the aggregate `{aggregate}`"),
                "leave `kind` out: the SQL decides",
            );
            None
        }
        (Some(_), _) | (None, Some(Kind::Table)) => Some(Rule::Table(text.value.clone())),
        _ => Some(Rule::Row(text.value.clone())),
    }
}

fn custom_rule(file: &File, text: &Spanned<String>, readings: &mut Vec<Reading>) -> Option<Rule> {
    match sql::parse_query(&text.value) {
        Ok(query) => {
            for mistake in query.mistakes {
                report_sql(file, mistake, |span| within(text, span));
            }
            readings.extend(query.mentions.into_iter().map(|mention| Reading {
                span: within(text, mention.span),
                name: mention.name,
                how: if mention.is_model { How::Predict } else { How::Check },
            }));
            Some(Rule::Custom(text.value[..query.end].to_string()))
        }
        Err(mut mistake) => {
            if mistake.code == "invalid-sql" {
                mistake.code = "invalid-check";
            }
            report_sql(file, mistake, |span| within(text, span));
            None
        }
    }
}

/// Takes `name` or `name(a, b)` apart; commas inside quotes and parentheses do not separate.
fn split_call(text: &str) -> Option<(&str, Option<Vec<&str>>)> {
    let text = text.trim();
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let Some((name, rest)) = text.split_once('(') else { return is_name(text).then_some((text, None)) };
    let (name, rest) = (name.trim_end(), rest.strip_suffix(')')?);
    if !is_name(name) {
        return None;
    }
    let (mut arguments, mut start, mut depth, mut quote) = (Vec::new(), 0, 0i32, None);
    for (at, c) in rest.char_indices() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            (_, Some(_)) => {}
            ('\'' | '"', None) => quote = Some(c),
            ('(', None) => depth += 1,
            (')', None) => depth -= 1,
            (',', None) if depth == 0 => {
                arguments.push(rest[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
        if depth < 0 {
            return None;
        }
    }
    arguments.push(rest[start..].trim());
    (depth == 0 && quote.is_none()).then_some((name, Some(arguments)))
}

/// The text of a SQL literal in single quotes.
fn unquoted(literal: &str) -> Option<String> {
    let inner = literal.strip_prefix('\'')?.strip_suffix('\'')?;
    let plain = inner.replace("''", "\u{0}");
    (!plain.contains('\'')).then(|| plain.replace('\u{0}', "'"))
}

fn plain_column(text: &str) -> Option<String> {
    if let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        return (!inner.is_empty()).then(|| inner.replace("\"\"", "\""));
    }
    let is_plain = !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_');
    is_plain.then(|| text.to_ascii_lowercase())
}
