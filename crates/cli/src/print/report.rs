//! Reports for a person: what is wrong, where, the line itself, what else is known, what to do.

use super::style::Style;
use super::words;
use pelton_base::{Place, Report, Reports, Severity};
use std::fmt::Write;

/// How many columns of a source line are shown; longer ones are cut around the mistake.
const LINE_WIDTH_MAX: usize = 120;
/// How many characters before the mistake a cut line keeps.
const CONTEXT: usize = 40;

/// How many reports are printed: a thousand mistakes have few causes, and nobody reads them all.
const REPORTS_MAX: usize = 100;

/// Reports, errors and warnings in the order given, an empty line between two; the first of them, when there are very many.
pub(crate) fn reports_text(reports: &Reports, style: Style) -> String {
    let shown = reports.0.iter().take(REPORTS_MAX).map(|report| report_text(report, style));
    let mut text = shown.collect::<Vec<_>>().join("\n");
    if let Some(more) = reports.0.len().checked_sub(REPORTS_MAX).filter(|more| *more > 0) {
        let more = words::count(more as u64);
        let _ = writeln!(text, "\n{more} more are not shown; `--format json` has them all");
    }
    text
}

/// One report, several lines.
pub(crate) fn report_text(report: &Report, style: Style) -> String {
    let head = match report.severity {
        Severity::Error => style.red(&format!("error[{}]", report.code)),
        Severity::Warning => style.yellow(&format!("warning[{}]", report.code)),
    };
    let mut text = format!("{head}: {}\n", style.bold(&words::visible(&report.message)));
    if let Some(place) = &report.at {
        text.push_str(&place_text(place, report.severity, style));
    }
    for note in &report.notes {
        let _ = writeln!(text, "{}", indented("note", note, style.bold("note")));
    }
    for hint in &report.hints {
        let _ = writeln!(text, "{}", indented("hint", hint, style.cyan("hint")));
    }
    text
}

/// `note: ...`, with further lines under the first.
fn indented(word: &str, body: &str, painted: String) -> String {
    let indent = " ".repeat(word.len() + 2);
    let lines = body.lines().map(words::visible).collect::<Vec<_>>();
    format!("{painted}: {}", lines.join(&format!("\n{indent}")))
}

fn place_text(place: &Place, severity: Severity, style: Style) -> String {
    let number = if place.line > 0 { place.line.to_string() } else { String::new() };
    let gutter = " ".repeat(number.len().max(1));
    let mut text = format!("{gutter} {} {place}\n", style.cyan("-->"));
    let Some(line) = place.text.as_deref().filter(|_| place.line > 0) else { return text };
    let (line, column) = window(line, place.column);
    let bar = style.cyan("|");
    let _ = writeln!(text, "{} {bar} {}", style.cyan(&number), shown(&line).trim_end());
    if column > 0 {
        let before: String = line.chars().take(column - 1).collect();
        let marked: String = line.chars().skip(column - 1).take(place.length).collect();
        let offset = " ".repeat(words::width(&shown(&before)));
        let carets = "^".repeat(words::width(&shown(&marked)).max(1));
        let carets = if severity == Severity::Error { style.red(&carets) } else { style.yellow(&carets) };
        let _ = writeln!(text, "{gutter} {bar} {offset}{carets}");
    }
    text
}

/// The part of a long line around the mistake, and the mistake's column in it.
fn window(line: &str, column: usize) -> (String, usize) {
    let length = line.chars().count();
    if length <= LINE_WIDTH_MAX {
        return (line.to_string(), column);
    }
    let start = column.saturating_sub(CONTEXT + 1).min(length - LINE_WIDTH_MAX);
    let part: String = line.chars().skip(start).take(LINE_WIDTH_MAX).collect();
    let end = if start + LINE_WIDTH_MAX < length { "…" } else { "" };
    match start {
        0 => (format!("{part}{end}"), column),
        _ => (format!("…{part}{end}"), if column == 0 { 0 } else { column - start + 1 }),
    }
}

/// A line with tabs as spaces and other control characters visible.
fn shown(line: &str) -> String {
    words::visible(&line.replace('\t', "    "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(report: &Report) -> String {
        report_text(report, Style::default())
    }

    #[test]
    fn a_report_shows_the_line_and_what_to_do() {
        let source = "select 1,\n\n\nselect custmer_id, sum(amount) as total";
        let start = source.find("custmer_id").unwrap();
        let report = Report::error("unknown-column", "table `orders` has no column `custmer_id`")
            .at(Place::in_text("tables/spend.sql", source, start, start + 10))
            .suggest("custmer_id", ["customer_id"]);
        assert_eq!(
            plain(&report),
            "\
error[unknown-column]: table `orders` has no column `custmer_id`
  --> tables/spend.sql:4:8
4 | select custmer_id, sum(amount) as total
  |        ^^^^^^^^^^
hint: did you mean `customer_id`?
"
        );
    }

    #[test]
    fn a_report_without_a_line_has_the_file_alone() {
        let report = Report::warning("label-leak", "feature `refund_flag` alone predicts `churned`")
            .at(Place::file("models/churn.sql"))
            .note("98% of its values are written after `label_at`\nand the others are null");
        assert_eq!(
            plain(&report),
            "\
warning[label-leak]: feature `refund_flag` alone predicts `churned`
  --> models/churn.sql
note: 98% of its values are written after `label_at`
      and the others are null
"
        );
    }

    #[test]
    fn carets_stand_under_the_mistake_whatever_is_before_it() {
        let source = "\tselect '日本', bad from t";
        let start = source.find("bad").unwrap();
        let text = plain(&Report::error("unknown-column", "x").at(Place::in_text("t.sql", source, start, start + 3)));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[2], "1 |     select '日本', bad from t");
        assert_eq!(lines[3], "  |                    ^^^");
    }

    #[test]
    fn a_long_line_is_cut_around_the_mistake() {
        let source = format!("select {} bad {} from t", "a,".repeat(200), "b,".repeat(200));
        let start = source.find("bad").unwrap();
        let text = plain(&Report::error("unknown-column", "x").at(Place::in_text("t.sql", &source, start, start + 3)));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[2].chars().count() < 140, "{}", lines[2]);
        let caret = lines[3].find('^').unwrap();
        assert_eq!(lines[2].chars().skip(caret).take(3).collect::<String>(), "bad");
    }

    #[test]
    fn gutters_fit_the_line_number_and_an_empty_line_parts_two_reports() {
        let source = "\n".repeat(99) + "key = 1";
        let report = Report::error("unknown-key", "no `key`").at(Place::at_line("pelton.toml", &source, 100, 1, 3));
        let text = reports_text(&Reports(vec![report.clone(), report]), Style::default());
        let one = "\
error[unknown-key]: no `key`
    --> pelton.toml:100:1
100 | key = 1
    | ^^^
";
        assert_eq!(text, format!("{one}\n{one}"));
    }

    #[test]
    fn of_very_many_reports_the_first_are_shown_and_the_rest_is_counted() {
        let report = Report::error("cycle", "3 tables read each other");
        let text = |count| reports_text(&Reports(vec![report.clone(); count]), Style::default());
        assert_eq!(text(REPORTS_MAX).matches("error[cycle]").count(), REPORTS_MAX);
        assert!(!text(REPORTS_MAX).contains("more are"));
        let many = text(10_000);
        assert_eq!(many.matches("error[cycle]").count(), REPORTS_MAX);
        assert!(many.ends_with("\n\n9,900 more are not shown; `--format json` has them all\n"), "{many}");
    }

    #[test]
    fn colour_adds_nothing_but_colour() {
        let report = Report::error("cycle", "3 tables read each other").note("a -> b").hint("break it");
        let coloured = report_text(&report, Style { on: true });
        assert!(coloured.contains("\x1b[1;31merror[cycle]\x1b[0m"), "{coloured:?}");
        let mut bare = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once('\x1b') {
            bare.push_str(before);
            rest = after.split_once('m').unwrap().1;
        }
        assert_eq!(bare + rest, plain(&report));
    }

    #[test]
    fn data_in_a_message_cannot_steer_the_terminal() {
        assert!(!plain(&Report::error("unknown-key", "no `\x1b[2J`")).contains('\x1b'));
    }
}
