//! stdout is data, stderr is talk.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use super::exit::{Exit, Failure};

/// Whether colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    /// On a terminal.
    On,
    /// In a file, in a pipe, or where nobody wants them.
    Off,
}

impl Colour {
    /// Returns what suits this process' stdout: see <https://no-color.org>.
    pub(crate) fn of_stdout() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        if io::stdout().is_terminal() && !unwanted && !dumb {
            Self::On
        } else {
            Self::Off
        }
    }
}

/// Writes data.
pub(crate) fn print(text: &str) -> Result<Exit, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => Ok(Exit::Done),
        // `weir tasks | head` has what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(error) => Err(Failure::failed(
            format!("cannot write to stdout: {error}"),
            "check where the output goes to",
        )),
    }
}

/// Writes data for machines.
pub(crate) fn print_json(value: &impl Serialize) -> Result<Exit, Failure> {
    let mut text = serde_json::to_string_pretty(value).expect("what is printed is plain data");
    text.push('\n');
    print(&text)
}

/// Says something to whoever watches.
pub(crate) fn say(text: &str) {
    // That nobody listens is no error.
    writeln!(io::stderr().lock(), "{text}").ok();
}
