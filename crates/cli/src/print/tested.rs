//! A test on a page: a line when it passed, else how what came out differs from what was expected.

use super::report::reports_text;
use super::sheet::{Cell, Sheet};
use super::style::Style;
use super::words;
use pelton_runner::{BrokenCheck, Removed, RowsDiffer, Tested};
use serde_json::{Map, Value};

/// How wide a value of a row may be.
const CELL_WIDTH_MAX: usize = 40;

/// How many rows in quarantine are listed.
const REMOVED_MAX: usize = 20;

/// What came of a test.
pub(crate) fn tested(tested: &Tested, style: Style) -> String {
    let stem = tested.file.strip_prefix("tests/").unwrap_or(&tested.file).trim_end_matches(".toml");
    let own = stem.rsplit('/').next().unwrap_or(stem);
    // A file of one test has no other name than its own.
    let name = if own == tested.name { stem.to_string() } else { format!("{stem}: {}", words::visible(&tested.name)) };
    let time = style.dim(&format!("({})", words::elapsed_ms(tested.elapsed_ms)));
    if tested.passed {
        return format!("{}  {name}  {time}\n", style.green("passed"));
    }
    let mut text = format!("{}  {}  {time}\n", style.red("failed"), style.bold(&name));
    text.push_str(&format!("  {} {}:{}\n", style.cyan("-->"), tested.file, tested.line));
    if !tested.errors.0.is_empty() {
        let reports = reports_text(&tested.errors, style);
        for line in reports.lines() {
            text.push_str(format!("  {line}").trim_end());
            text.push('\n');
        }
    }
    if let Some(rows) = &tested.rows {
        text.push_str(&differ(rows, tested.node.as_str(), style));
        text.push_str(&removed(&tested.removed, style));
    }
    text.push_str(&checks(&tested.checks));
    let mut sheet = Sheet::new().indent(2);
    for metric in tested.metrics.iter().filter(|metric| !metric.met) {
        let found = metric.value.map_or("not defined on the test part".to_string(), words::metric);
        sheet.row([format!("{} is", metric.metric), found, format!("expected {}", metric.rule)]);
    }
    text.push_str(&sheet.text(style));
    text.push('\n');
    text
}

fn differ(rows: &RowsDiffer, node: &str, style: Style) -> String {
    let counts = match rows.expected_rows == rows.actual_rows {
        true => String::new(),
        false => format!(
            "; expected {}, it has {}",
            words::counted(rows.expected_rows, "row"),
            words::count(rows.actual_rows)
        ),
    };
    let mut text = format!("  `{node}` does not have the expected rows{counts}\n");
    for (what, some, all, sign) in
        [("missing", &rows.missing, rows.missing_rows, '-'), ("not expected", &rows.surplus, rows.surplus_rows, '+')]
    {
        if all > 0 {
            text.push_str(&format!("\n  {what}: {}{}\n", words::counted(all, "row"), part(some.len(), all)));
            text.push_str(&table(rows, some, sign, style));
        }
    }
    if rows.changed_rows > 0 {
        let all = words::counted(rows.changed_rows, "row");
        let by = rows.key.join(", ");
        text.push_str(&format!("\n  changed: {all}, by {by}{}\n", part(rows.changed.len(), rows.changed_rows)));
        let head = rows.key.iter().map(|key| words::visible(key));
        let mut sheet = Sheet::with_head(head.chain(["column", "expected", "actual"].map(String::from))).indent(4);
        for row in &rows.changed {
            for value in &row.values {
                let key = rows.key.iter().map(|key| Cell::from(cell(&row.key, key)));
                let (expected, actual) = (shown(&value.expected), shown(&value.actual));
                let values = [
                    Cell::from(words::visible(&value.column)),
                    Cell::painted(expected.clone(), style.green(&expected)),
                    Cell::painted(actual.clone(), style.red(&actual)),
                ];
                sheet.row(key.chain(values));
            }
        }
        text.push_str(&sheet.text(style));
    }
    text
}

fn table(rows: &RowsDiffer, some: &[Map<String, Value>], sign: char, style: Style) -> String {
    let head = std::iter::once(String::new()).chain(rows.columns.iter().map(|name| words::visible(name)));
    let mut sheet = Sheet::with_head(head).indent(2);
    for row in some {
        let sign = sign.to_string();
        let painted = if sign == "-" { style.green(&sign) } else { style.red(&sign) };
        let cells = rows.columns.iter().map(|column| Cell::from(cell(row, column)));
        sheet.row(std::iter::once(Cell::painted(sign, painted)).chain(cells));
    }
    sheet.text(style)
}

/// Which part of all rows is shown.
fn part(shown: usize, all: u64) -> String {
    if shown as u64 == all { String::new() } else { format!(" (the first {shown})") }
}

fn removed(removed: &[Removed], style: Style) -> String {
    if removed.is_empty() {
        return String::new();
    }
    let all = words::counted(removed.len() as u64, "row");
    let mut text = format!(
        "\n  sent to quarantine by checks: {all}{}\n",
        part(removed.len().min(REMOVED_MAX), removed.len() as u64)
    );
    let mut sheet = Sheet::with_head(["check", "reason", "row"]).indent(4);
    for row in removed.iter().take(REMOVED_MAX) {
        let value = match &row.row {
            // What is missing is most of a row of a test, and says nothing.
            Value::Object(fields) => {
                let named = fields.iter().filter(|(_, value)| !value.is_null());
                named.map(|(name, value)| format!("{name} {}", shown(value))).collect::<Vec<_>>().join(", ")
            }
            other => shown(other),
        };
        sheet.row([row.check.clone(), words::visible(&row.reason), words::visible(&value)]);
    }
    text.push_str(&sheet.text(style));
    text
}

fn checks(checks: &[BrokenCheck]) -> String {
    let mut text = String::new();
    for check in checks {
        let name = &check.check;
        let found = match check.rows {
            0 => "no row breaks it".to_string(),
            1 => "1 row breaks it".to_string(),
            rows => format!("{} rows break it", words::count(rows)),
        };
        let expected = match (check.is_expected, check.expected_rows) {
            (false, _) => "none was expected to".to_string(),
            (true, None) => "some were expected to".to_string(),
            (true, Some(1)) => "1 was expected to".to_string(),
            (true, Some(rows)) => format!("{} were expected to", words::count(rows)),
        };
        text.push_str(&format!("  check `{name}`: {found}, {expected}\n"));
    }
    text
}

fn cell(row: &Map<String, Value>, column: &str) -> String {
    row.get(column).map_or_else(String::new, shown)
}

fn shown(value: &Value) -> String {
    let text = match value {
        // An empty text must not look like a missing value, nor one with space around it like one without.
        Value::String(text) if text.trim().len() < text.len() || text.is_empty() || text == "null" => {
            format!("{text:?}")
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    words::cut(&words::visible(&text), CELL_WIDTH_MAX)
}
