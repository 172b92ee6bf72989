//! How the demonstration looks: on a terminal, and in a file.

use std::io::{self, IsTerminal as _, Write as _};

/// Prints what comes next, to be found again when one scrolls back.
pub(super) fn heading(text: &str) {
    if is_terminal() {
        println!("\n\x1b[1m{text}\x1b[0m");
    } else {
        println!("\n{text}");
    }
}

/// Prints a long line in several, each after `margin`.
pub(super) fn wrapped(margin: &str, text: &str) {
    /// What fits on every terminal.
    const COLUMNS: usize = 79;

    let mut line = String::from(margin);
    for word in text.split_whitespace() {
        let is_empty = line.len() == margin.len();
        if !is_empty && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            println!("{line}");
            line.truncate(margin.len());
            // What continues a line stands further in.
            line.push(' ');
        } else if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
    }
    println!("{line}");
}

/// Returns whether what is printed can be printed over.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Lines that are replaced by the next ones, as long as nothing else is printed in between.
#[derive(Debug, Default)]
pub(super) struct Frame {
    lines: usize,
}

impl Frame {
    /// Prints `text` over what was printed last.
    pub(super) fn draw(&mut self, text: &str) {
        if self.lines > 0 {
            // Up to the first line, and everything from there on away.
            print!("\x1b[{}A\x1b[J", self.lines);
        }
        print!("{text}");
        // Whether it can be written is seen at the next line; a frame that comes late is no harm.
        io::stdout().flush().ok();
        self.lines = text.lines().count();
    }
}
