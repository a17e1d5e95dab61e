//! Rows in a test file: a list of TOML tables, a table as text, or the path of a data file.
//!
//! A table as text has its columns in the first line and a row in each other line, separated by `|` when the first line has one,
//! else by commas. Space around a cell does not count; a cell that is empty or `null` is a missing value, `""` is an empty text.

use crate::toml::{Entry, Span, content_span};
use crate::{ListedRow, ListedRows, Literal, Rows, Spanned};
use pelton_base::Report;
use toml_edit::{Item, TableLike, Value};

/// The rows of an entry; what is wrong is reported.
pub(crate) fn read(entry: &Entry) -> Option<Rows> {
    if entry.is_text() {
        let text = entry.text()?;
        if text.value.contains('\n') {
            return from_text(entry, &text).map(Rows::Listed);
        }
        let path = entry.words()?;
        return Some(Rows::File(path));
    }
    match entry.tables() {
        Some(tables) => Some(Rows::Listed(from_tables(entry, &tables))),
        None if entry.is_list() => {
            entry.refuse("has an item that is not a row");
            None
        }
        None => {
            entry.refuse("is neither a list of rows, nor a table as text, nor a file's path");
            None
        }
    }
}

fn from_tables(entry: &Entry, tables: &[(Span, &dyn TableLike)]) -> ListedRows {
    let mut listed = ListedRows::default();
    for (span, table) in tables {
        let mut cells: Vec<Option<Spanned<Literal>>> = Vec::new();
        for (name, item) in table.iter() {
            let key = table.get_key_value(name).and_then(|(key, _)| key.span());
            let column = match listed.columns.iter().position(|column| column.value == name) {
                Some(column) => column,
                None => {
                    listed.columns.push(Spanned { value: name.to_string(), span: entry.span_of(key) });
                    listed.columns.len() - 1
                }
            };
            cells.resize(cells.len().max(column + 1), None);
            let span = entry.span_of(item.span());
            cells[column] = Some(Spanned { value: Literal::Json(json_of_item(item)), span });
        }
        listed.rows.push(ListedRow { span: *span, cells });
    }
    listed
}

fn json_of_item(item: &Item) -> String {
    match item {
        Item::Value(value) => json_of(value),
        Item::Table(table) => object(table),
        Item::ArrayOfTables(tables) => {
            format!("[{}]", tables.iter().map(|table| object(table)).collect::<Vec<_>>().join(","))
        }
        Item::None => "null".to_string(),
    }
}

fn object(table: &dyn TableLike) -> String {
    let fields = table.iter().map(|(name, item)| format!("{}:{}", quoted(name), json_of_item(item)));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

/// A TOML value as JSON; what JSON has no numbers for is text.
fn json_of(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text.value()),
        Value::Integer(number) => number.value().to_string(),
        Value::Float(number) => match *number.value() {
            number if number.is_nan() => "\"NaN\"".to_string(),
            number if number.is_infinite() && number > 0.0 => "\"Infinity\"".to_string(),
            number if number.is_infinite() => "\"-Infinity\"".to_string(),
            number => serde_json::json!(number).to_string(),
        },
        Value::Boolean(flag) => flag.value().to_string(),
        Value::Datetime(time) => quoted(&time.value().to_string()),
        Value::Array(items) => format!("[{}]", items.iter().map(json_of).collect::<Vec<_>>().join(",")),
        Value::InlineTable(table) => object(table),
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Reads a table as text. `None`, and reports, when its lines do not fit together.
fn from_text(entry: &Entry, text: &Spanned<String>) -> Option<ListedRows> {
    // Without escapes the text stands in the file as it is, and every cell has a place of its own.
    let is_verbatim = text.span.1 - text.span.0 == text.value.len()
        && content_span(entry.file.text, entry.span, &text.value) == text.span;
    let place = |(start, end): Span| match is_verbatim {
        true => (text.span.0 + start, text.span.0 + end),
        false => text.span,
    };
    let mut lines = lines(&text.value).filter(|(line, _)| !line.trim().is_empty());
    let Some((head, at)) = lines.next() else {
        entry.refuse("is a table without a line");
        return None;
    };
    let separator = if head.contains('|') { '|' } else { ',' };
    let mut is_right = true;
    let mut wrong = |span: Span, why: String| {
        entry.file.report_at(place(span), Report::error("invalid-value", why));
        is_right = false;
    };
    let mut listed = ListedRows::default();
    for (cell, span) in cells(head, at, separator) {
        let name = cell.map_or(String::new(), |cell| match cell {
            Literal::Json(text) | Literal::Bare(text) | Literal::Quoted(text) => text,
        });
        if name.is_empty() {
            wrong(span, "a column of the table has no name".to_string());
        } else if listed.columns.iter().any(|column| column.value == name) {
            wrong(span, format!("the table has the column `{name}` twice"));
        }
        listed.columns.push(Spanned { value: name, span: place(span) });
    }
    for (line, at) in lines.filter(|(line, _)| !is_rule(line, separator)) {
        let cells = cells(line, at, separator);
        let span = (at + line.len() - line.trim_start().len(), at + line.trim_end().len());
        if cells.len() != listed.columns.len() {
            let (has, needs) = (cells.len(), listed.columns.len());
            let cells = if has == 1 { "1 cell".to_string() } else { format!("{has} cells") };
            wrong(span, format!("a row of {cells} in a table of {needs} columns"));
            continue;
        }
        let cell = |(cell, span): (Option<Literal>, Span)| cell.map(|value| Spanned { value, span: place(span) });
        listed.rows.push(ListedRow { span: place(span), cells: cells.into_iter().map(cell).collect() });
    }
    is_right.then_some(listed)
}

/// The lines of a text, each with the byte at which it begins.
fn lines(text: &str) -> impl Iterator<Item = (&str, usize)> {
    let mut at = 0;
    text.split_inclusive('\n').map(move |line| {
        let begin = at;
        at += line.len();
        (line.trim_end_matches(['\n', '\r']), begin)
    })
}

/// Whether a line only rules the head off from the rows, as in Markdown.
fn is_rule(line: &str, separator: char) -> bool {
    separator == '|' && line.contains('-') && line.chars().all(|c| "-+|: ".contains(c))
}

/// The cells of a line that begins at byte `at`, each with its range.
fn cells(line: &str, at: usize, separator: char) -> Vec<(Option<Literal>, Span)> {
    let mut parts: Vec<Span> = Vec::new();
    let (mut begin, mut is_quoted) = (0, false);
    for (place, c) in line.char_indices() {
        if c == '"' && (is_quoted || line[begin..place].trim().is_empty()) {
            is_quoted = !is_quoted;
        } else if c == '"' && line[begin..place].trim_start().starts_with('"') {
            // A doubled quote inside of quotes opens them again.
            is_quoted = true;
        } else if c == separator && !is_quoted {
            parts.push((begin, place));
            begin = place + c.len_utf8();
        }
    }
    parts.push((begin, line.len()));
    // A frame around the table, as Markdown has it.
    if separator == '|' && parts.len() > 1 {
        let is_blank = |part: &Span| line[part.0..part.1].trim().is_empty();
        if line.trim_start().starts_with('|') && is_blank(&parts[0]) {
            parts.remove(0);
            if line.trim_end().ends_with('|') && parts.len() > 1 && parts.last().is_some_and(is_blank) {
                parts.pop();
            }
        }
    }
    parts.into_iter().map(|part| cell(line, at, part)).collect()
}

fn cell(line: &str, at: usize, (begin, end): Span) -> (Option<Literal>, Span) {
    let whole = &line[begin..end];
    let text = whole.trim();
    let begin = begin + (whole.len() - whole.trim_start().len());
    let span = (at + begin, at + begin + text.len());
    let literal = match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => Some(Literal::Quoted(inner.replace("\"\"", "\""))),
        None if text.is_empty() || text.eq_ignore_ascii_case("null") => None,
        None => Some(Literal::Bare(text.to_string())),
    };
    (literal, span)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_line(line: &str, separator: char) -> Vec<Option<Literal>> {
        cells(line, 0, separator).into_iter().map(|(cell, _)| cell).collect()
    }

    fn bare(text: &str) -> Option<Literal> {
        Some(Literal::Bare(text.into()))
    }

    fn quoted(text: &str) -> Option<Literal> {
        Some(Literal::Quoted(text.into()))
    }

    #[test]
    fn cells_are_trimmed_and_quotes_keep_what_is_inside() {
        assert_eq!(read_line("1, ab c ,,null", ','), [bare("1"), bare("ab c"), None, None]);
        assert_eq!(read_line(r#""a, b","","x ""y""" "#, ','), [quoted("a, b"), quoted(""), quoted("x \"y\"")]);
        assert_eq!(read_line("a|  |\"|\"", '|'), [bare("a"), None, quoted("|")]);
        assert_eq!(read_line("5\" wide, b", ','), [bare("5\" wide"), bare("b")]);
    }

    #[test]
    fn a_frame_is_no_cell() {
        assert_eq!(read_line("| a | b |", '|'), [bare("a"), bare("b")]);
        assert_eq!(read_line("| a | |", '|'), [bare("a"), None]);
        assert_eq!(read_line("a |", '|'), [bare("a"), None]);
        assert!(is_rule("|---|:-:|", '|') && is_rule("--+--", '|') && !is_rule("- | 1", '|') && !is_rule("---", ','));
    }

    #[test]
    fn a_cell_knows_where_it_stands() {
        let line = " ä,  bc ";
        let spans: Vec<Span> = cells(line, 10, ',').into_iter().map(|(_, span)| span).collect();
        assert_eq!(spans, [(11, 13), (16, 18)]);
    }
}
