//! Reads `tables/**/NAME.sql`.

use crate::build_settings;
use crate::checks::Checks;
use crate::draft::{Draft, Headed, notes, select};
use crate::settings::{CHECKS, COLUMN, COLUMNS, TABLE};
use crate::toml::File;
use crate::{Body, Build, ColumnNote, Spanned, Table};
use pelton_base::Report;

/// Reads a table; what is wrong is reported, and the default stands in for it.
pub(crate) fn read(file: &File) -> Draft {
    let headed = Headed::of(file);
    let section = headed.section(file, &TABLE);
    let (description, tags) = notes(&section);
    let (mut checks, mut readings, mut columns) = (Checks::default(), Vec::new(), Vec::new());
    if let Some(entry) = section.get("columns") {
        for entry in entry.section(&COLUMNS).entries() {
            let section = entry.section(&COLUMN);
            if let Some(list) = section.get("checks") {
                checks.read_column(&entry.key, &list, &mut readings);
            }
            let description = section.get("description").and_then(|entry| entry.text()).map(|text| text.value);
            columns.push(ColumnNote { name: Spanned { value: entry.key.clone(), span: entry.key_span }, description });
        }
    }
    if let Some(entry) = section.get("checks") {
        for entry in entry.section(&CHECKS).entries() {
            checks.read_named(&entry, &mut readings);
        }
    }
    const BUILDS: [Build; 6] = [Build::View, Build::Full, Build::Append, Build::Merge, Build::Interval, Build::History];
    let build = section.get("build").and_then(|entry| entry.choice(&BUILDS.map(|build| (build.word(), build)), &[]));
    let entity = section.get("entity").map_or_else(Vec::new, |entry| entry.some_texts());
    let time = section.get("time").and_then(|entry| entry.words());
    if let Some(entry) = section.get("freshness") {
        checks.read_freshness(&entry, time.as_ref());
    }
    if let Some(entry) = section.get("anomaly") {
        checks.read_anomaly(&entry);
    }
    for key in ["known_at", "ttl", "online"] {
        if let Some(entry) = section.get(key)
            && (entity.is_empty() || time.is_none())
        {
            let report =
                Report::error("invalid-value", format!("`{key}` has no effect: the table is not a feature table"));
            file.report_at(entry.key_span, report.note("a feature table has both `entity` and `time`"));
        }
    }
    if let (false, None, Some(entry)) = (entity.is_empty(), &time, section.get("entity")) {
        let report = Report::error("missing-key", "a table with `entity` needs `time`");
        file.report_at(entry.key_span, report.note("a feature table says whom a row is about, and as of when"));
    }
    let build = build.unwrap_or(Build::Full);
    let increment = build_settings::read(file, &section, build, time.as_ref(), &mut checks);
    let table = Table {
        build,
        increment,
        known_at: section.get("known_at").and_then(|entry| entry.words()),
        ttl_us: section.get("ttl").and_then(|entry| entry.duration_us()),
        online: section.get("online").and_then(|entry| entry.flag()).unwrap_or(true),
        deterministic: section.get("deterministic").and_then(|entry| entry.flag()).unwrap_or(false),
        entity,
        time,
        checks: checks.list,
        columns,
        select: select(file, headed.sql, &mut readings),
    };
    Draft { description, tags, body: Body::Table(Box::new(table)), readings }
}
