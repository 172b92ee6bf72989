//! Columns for people.

use std::fmt::Write as _;

/// A table: a head, and rows of as many cells.
pub(super) struct Table<const N: usize> {
    head: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(head: [&'static str; N]) -> Self {
        Self {
            head,
            rows: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, row: [String; N]) {
        // A command may hold anything; a row is a line.
        self.rows.push(row.map(|cell| {
            cell.escape_debug()
                .to_string()
                .replace("\\'", "'")
                .replace("\\\"", "\"")
        }));
    }

    /// Returns the table as text; columns are as wide as their widest cell.
    pub(super) fn render(&self) -> String {
        let mut widths = self.head.map(|title| title.chars().count());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        let head = self.head.map(str::to_owned);
        for row in std::iter::once(&head).chain(&self.rows) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                write!(line, "{cell:width$}  ").expect("a string takes everything");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["NAME", "X", "COMMAND"]);
        table.push(["web".to_owned(), "1".to_owned(), "sh -c 'a\nb'".to_owned()]);
        table.push(["longer".to_owned(), String::new(), "true".to_owned()]);
        assert_eq!(
            table.render(),
            "NAME    X  COMMAND\nweb     1  sh -c 'a\\nb'\nlonger     true\n"
        );
    }
}
