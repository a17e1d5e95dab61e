//! Reads the settings of incremental builds: which of them a build needs, which it may have, and the checks that they imply.

use crate::checks::Checks;
use crate::toml::{File, Section};
use crate::{Build, Check, Increment, OnFail, Rule, SchemaChange, Spanned};
use pelton_base::{Report, parse_time_us};

/// The settings, and the builds that know them.
const KNOWN: &[(&str, &[Build])] = &[
    ("key", &[Build::Merge, Build::History]),
    ("delete", &[Build::Merge, Build::History]),
    ("track", &[Build::History]),
    ("interval", &[Build::Interval]),
    ("lookback", &[Build::Interval]),
    ("lateness", &[Build::Interval]),
    ("start", &[Build::Interval]),
    ("schema_change", &[Build::Append, Build::Merge, Build::Interval, Build::History]),
];

/// Reads them; what is missing or has no effect is reported.
pub(crate) fn read(
    file: &File,
    section: &Section,
    build: Build,
    time: Option<&Spanned<String>>,
    checks: &mut Checks,
) -> Increment {
    for (key, builds) in KNOWN {
        let Some(entry) = section.get(key).filter(|_| !builds.contains(&build)) else { continue };
        let words: Vec<String> = builds.iter().map(|build| format!("`build = \"{}\"`", build.word())).collect();
        let report =
            Report::error("invalid-value", format!("`{key}` has no effect on a table built `{}`", build.word()));
        file.report_at(entry.key_span, report.note(format!("it belongs to {}", words.join(", "))));
    }
    let increment = Increment {
        key: section.get("key").map_or_else(Vec::new, |entry| entry.some_texts()),
        delete: section.get("delete").and_then(|entry| entry.words()),
        track: section.get("track").map_or_else(Vec::new, |entry| entry.some_texts()),
        interval: section.get("interval").and_then(|entry| entry.grain()),
        lookback_us: section.get("lookback").and_then(|entry| entry.duration_us()),
        lateness_us: section.get("lateness").and_then(|entry| entry.duration_us()),
        start_us: section.get("start").and_then(|entry| {
            let text = entry.words()?;
            let us = parse_time_us(&text.value);
            if us.is_none() {
                entry.refuse(format_args!("is not a date or a time: `{}`", text.value));
            }
            us
        }),
        schema_change: section
            .get("schema_change")
            .and_then(|entry| entry.choice(&[("rebuild", SchemaChange::Rebuild), ("stop", SchemaChange::Stop)], &[])),
    };
    if build.is_incremental() {
        needs(file, section, build, &increment, time);
        imply(section, build, &increment, time, checks);
        // Of rows that are only ever added, each can be asked when it comes, if its answer is about it alone.
        let is_asked_once = |check: &&Check| build == Build::Append && check.is_row_wise();
        let removing = checks.list.iter().filter(|check| check.on_fail == OnFail::Quarantine);
        for check in removing.filter(|check| !is_asked_once(check)) {
            let message = format!("check `{}` cannot quarantine rows of a table built `{}`", check.name, build.word());
            let report = Report::error("invalid-check", message)
                .note("which rows it keeps would depend on the order in which they came")
                .hint("put the check on what the table reads, or use `on_fail = \"stop\"` or `on_fail = \"warn\"`");
            file.report_at(check.span, report);
        }
    }
    increment
}

fn needs(file: &File, section: &Section, build: Build, increment: &Increment, time: Option<&Spanned<String>>) {
    let missing: &[(&str, bool, &str)] = match build {
        Build::Merge | Build::History => &[("key", section.get("key").is_none(), "key = \"customer_id\"")],
        Build::Interval => &[
            ("interval", section.get("interval").is_none(), "interval = \"1 day\""),
            ("time", section.get("time").is_none(), "time = \"occurred_at\""),
        ],
        _ => &[],
    };
    let Some(entry) = section.get("build") else { return };
    for (key, is_missing, example) in missing {
        if *is_missing {
            let report = Report::error("missing-key", format!("a table built `{}` needs `{key}`", build.word()));
            file.report_at(entry.span, report.hint(format!("add a line such as `{example}`")));
        }
    }
    if let (Build::History, Some(time), true) = (build, time, !increment.track.is_empty())
        && increment.track.iter().any(|column| column.value == time.value)
        && let Some(entry) = section.get("track")
    {
        entry.refuse(format_args!("names `{}`, the time from which a row holds", time.value));
    }
}

/// What an incremental build stands on, so that a version without it never comes to be.
fn imply(section: &Section, build: Build, increment: &Increment, time: Option<&Spanned<String>>, checks: &mut Checks) {
    let span = |key: &str| section.get(key).map_or((0, 0), |entry| entry.span);
    let not_null = |column: &str| (Rule::NotNull(column.to_string()), format!("not_null_{column}"));
    if matches!(build, Build::Merge | Build::History) {
        for column in &increment.key {
            let (rule, name) = not_null(&column.value);
            checks.imply(rule, name, column.span);
        }
    }
    if let Some(time) = time.filter(|_| matches!(build, Build::Interval | Build::History | Build::Merge)) {
        let (rule, name) = not_null(&time.value);
        checks.imply(rule, name, time.span);
    }
    let keys = || increment.key.iter().map(|column| column.value.clone()).collect::<Vec<_>>();
    match (build, time) {
        // Which of two rows is the newer one cannot be told.
        (Build::Merge, None) if !increment.key.is_empty() => {
            checks.imply(Rule::Unique(keys()), format!("unique_{}", keys().join("_")), span("key"));
        }
        (Build::History, None) if !increment.key.is_empty() => {
            let columns = [keys(), vec!["valid_from".to_string()]].concat();
            checks.imply(Rule::Unique(columns), format!("unique_{}", keys().join("_")), span("key"));
        }
        _ => {}
    }
}
