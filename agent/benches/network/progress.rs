//! What is being measured, for whoever waits.

use std::io::{IsTerminal as _, stderr};

/// Says on standard error how far something has come: over and over on one line of a terminal, once
/// anywhere else.
#[derive(Debug)]
pub(crate) struct Progress {
    what: String,
    of: u32,
    is_terminal: bool,
}

impl Progress {
    pub(crate) fn new(what: &str, of: u32) -> Self {
        let is_terminal = stderr().is_terminal();
        if !is_terminal {
            eprintln!("{what}: {of}");
        }
        Self {
            what: what.to_owned(),
            of,
            is_terminal,
        }
    }

    /// Says that so many are done.
    pub(crate) fn show(&self, done: u32) {
        if self.is_terminal {
            eprint!("\r{}: {done} of {}", self.what, self.of);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_terminal {
            eprintln!();
        }
    }
}
