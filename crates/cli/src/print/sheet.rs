//! [`Sheet`]: columns of text that line up.

use super::style::Style;
use super::words;

/// Between two columns.
const GAP: &str = "  ";

/// A cell: its text, and how it is painted.
pub(crate) struct Cell {
    text: String,
    painted: Option<String>,
}

impl Cell {
    /// A cell in colour; `painted` is `text` with colour around it.
    pub(crate) fn painted(text: impl Into<String>, painted: String) -> Self {
        Cell { text: text.into(), painted: Some(painted) }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Cell { text: text.into(), painted: None }
    }
}

/// Rows of cells, printed with every column as wide as its widest cell.
#[derive(Default)]
pub(crate) struct Sheet {
    head: Vec<String>,
    right: Vec<usize>,
    rows: Vec<Vec<Cell>>,
    indent: usize,
}

impl Sheet {
    /// A sheet without a head.
    pub(crate) fn new() -> Self {
        Sheet::default()
    }

    /// A sheet with the columns' names above them.
    pub(crate) fn with_head<T: Into<String>>(head: impl IntoIterator<Item = T>) -> Self {
        Sheet { head: head.into_iter().map(Into::into).collect(), ..Sheet::default() }
    }

    /// Puts these columns to the right, as numbers are.
    pub(crate) fn right(mut self, columns: impl IntoIterator<Item = usize>) -> Self {
        self.right.extend(columns);
        self
    }

    /// Puts everything so many columns in.
    pub(crate) fn indent(mut self, indent: usize) -> Self {
        self.indent = indent;
        self
    }

    /// Adds a row.
    pub(crate) fn row<T: Into<Cell>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Whether it has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines.
    pub(crate) fn text(&self, style: Style) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0).max(self.head.len());
        let mut widths = vec![0; columns];
        for (at, name) in self.head.iter().enumerate() {
            widths[at] = words::width(name);
        }
        for row in &self.rows {
            for (at, cell) in row.iter().enumerate() {
                widths[at] = widths[at].max(words::width(&cell.text));
            }
        }
        let mut text = String::new();
        if !self.head.is_empty() {
            let names = self.head.iter().map(|name| (name.as_str(), None)).collect::<Vec<_>>();
            text.push_str(&style.bold(self.line(&names, &widths).trim_end()));
            text.push('\n');
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            let rules = rules.iter().map(|rule| (rule.as_str(), None)).collect::<Vec<_>>();
            text.push_str(&style.dim(self.line(&rules, &widths).trim_end()));
            text.push('\n');
        }
        for row in &self.rows {
            let cells = row.iter().map(|cell| (cell.text.as_str(), cell.painted.as_deref())).collect::<Vec<_>>();
            text.push_str(self.line(&cells, &widths).trim_end());
            text.push('\n');
        }
        text
    }

    fn line(&self, cells: &[(&str, Option<&str>)], widths: &[usize]) -> String {
        let mut line = " ".repeat(self.indent);
        for (at, (text, painted)) in cells.iter().enumerate() {
            if at > 0 {
                line.push_str(GAP);
            }
            let space = " ".repeat(widths[at].saturating_sub(words::width(text)));
            let shown = painted.unwrap_or(text);
            if self.right.contains(&at) {
                line.push_str(&space);
                line.push_str(shown);
            } else {
                line.push_str(shown);
                line.push_str(&space);
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_their_colour() {
        let style = Style { on: true };
        let mut plain = Sheet::with_head(["name", "rows"]).right([1]);
        plain.row(["日本", "7"]);
        plain.row(["orders", "12,345"]);
        assert_eq!(
            plain.text(Style::default()),
            "\
name      rows
------  ------
日本         7
orders  12,345
"
        );
        let mut painted = Sheet::new().indent(2);
        painted.row([Cell::painted("ok", style.green("ok")), Cell::from("x")]);
        painted.row([Cell::from("failed"), Cell::from("y")]);
        assert_eq!(painted.text(style), "  \x1b[32mok\x1b[0m      x\n  failed  y\n");
    }
}
