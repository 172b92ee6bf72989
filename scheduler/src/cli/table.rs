//! Columns for people.

use std::fmt::Write as _;

use super::output::Colour;

/// A table: a head, and rows of as many cells.
pub(crate) struct Table<const N: usize> {
    head: [&'static str; N],
    rows: Vec<[Cell; N]>,
}

/// What stands in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

/// How something is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As everything.
    Plain,
    /// As it should be.
    Good,
    /// Worth a look.
    Notable,
    /// Not as it should be.
    Bad,
    /// Over.
    Faint,
}

impl Tone {
    /// Returns the sequence of ECMA-48 that begins it.
    const fn begin(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\x1b[32m",
            Self::Notable => "\x1b[33m",
            Self::Bad => "\x1b[31m",
            Self::Faint => "\x1b[2m",
        }
    }
}

/// What begins the head, and what ends any tone.
const BOLD: &str = "\x1b[1m";
const RESET: &str = "\x1b[0m";

impl Cell {
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(head: [&'static str; N]) -> Self {
        Self {
            head,
            rows: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, row: [Cell; N]) {
        // Names may hold anything; a row is a line, and colours are ours alone.
        self.rows.push(row.map(|Cell { text, tone }| Cell {
            text: plain(&text),
            tone,
        }));
    }

    /// Returns the table as text; columns are as wide as their widest cell.
    pub(crate) fn render(&self, colour: Colour) -> String {
        let mut widths = self.head.map(|title| title.chars().count());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let mut text = String::new();
        let head = self
            .head
            .iter()
            .map(|title| (*title, if colour == Colour::On { BOLD } else { "" }));
        write_line(&mut text, head, &widths);
        for row in &self.rows {
            let cells = row.iter().map(|cell| {
                let begin = match colour {
                    Colour::On => cell.tone.begin(),
                    Colour::Off => "",
                };
                (cell.text.as_str(), begin)
            });
            write_line(&mut text, cells, &widths);
        }
        text
    }
}

/// Writes one line, without blanks at its end.
fn write_line<'a>(
    text: &mut String,
    cells: impl Iterator<Item = (&'a str, &'static str)>,
    widths: &[usize],
) {
    let mut blanks = 0;
    for ((cell, begin), width) in cells.zip(widths) {
        if !cell.is_empty() {
            let end = if begin.is_empty() { "" } else { RESET };
            write!(text, "{:blanks$}{begin}{cell}{end}", "").expect("a string takes everything");
            blanks = 0;
        }
        blanks += width.saturating_sub(cell.chars().count()) + 2;
    }
    text.push('\n');
}

/// Returns the text with everything that is not seen made visible.
fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table<3> {
        let mut table = Table::new(["NAME", "X", "STATE"]);
        table.push([
            "web".into(),
            "1".into(),
            Cell::toned("running\n", Tone::Good),
        ]);
        table.push(["longer".into(), "".into(), "é".into()]);
        table
    }

    #[test]
    fn columns_line_up_and_a_row_is_a_line() {
        assert_eq!(
            table().render(Colour::Off),
            "NAME    X  STATE\nweb     1  running\\n\nlonger     é\n"
        );
    }

    #[test]
    fn colours_do_not_move_columns() {
        let coloured = table().render(Colour::On);
        assert!(coloured.contains("\x1b[32mrunning\\n\x1b[0m"));
        let bare = coloured
            .replace(BOLD, "")
            .replace(RESET, "")
            .replace("\x1b[32m", "");
        assert_eq!(bare, table().render(Colour::Off));
    }

    #[test]
    fn nobody_elses_colours_reach_the_terminal() {
        assert_eq!(plain("a\x1b[31mb"), "a\\u{1b}[31mb");
    }
}
