//! Why a configuration was not taken: file, place, what, and what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::validate::Invalid;

/// Says why a configuration was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {}; create it or name another with --config", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file cannot be a configuration.
    #[error("{} is {bytes} bytes long; a configuration has at most {bytes_max}, so this is another file", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// Its size.
        bytes: u64,
        /// The most that is read.
        bytes_max: u64,
    },
    /// The text is not TOML, or has a key or a type that is not known.
    #[error("{}{position}: {what}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Where it was noticed.
        position: Position,
        /// What is wrong, and what is expected.
        what: String,
    },
    /// A value that cannot be.
    #[error("{}{position}: [{table}] {key} {what}; {remedy}", file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// Where the value stands; nowhere if it is the default.
        position: Position,
        /// The table of the key.
        table: &'static str,
        /// The key.
        key: &'static str,
        /// What is wrong with its value.
        what: String,
        /// What to do.
        remedy: String,
    },
}

/// A place in a text: line and column, counted from one, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position(Option<(usize, usize)>);

impl ConfigError {
    pub(super) fn from_toml(file: &Path, text: &str, error: &toml::de::Error) -> Self {
        Self::Syntax {
            file: file.to_owned(),
            position: Position::of_byte(text, error.span().map(|span| span.start)),
            // The message may have several lines; a log entry has one.
            what: error.message().trim_end().replace('\n', "; "),
        }
    }

    pub(super) fn from_invalid(file: &Path, text: &str, invalid: Invalid) -> Self {
        let Invalid {
            table,
            key,
            what,
            remedy,
        } = invalid;
        Self::Invalid {
            file: file.to_owned(),
            position: Position::of_byte(text, byte_of(text, table, key)),
            table,
            key,
            what,
            remedy,
        }
    }
}

impl Position {
    fn of_byte(text: &str, byte: Option<usize>) -> Self {
        Self(byte.and_then(|byte| text.get(..byte)).map(|before| {
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            let line = before.matches('\n').count() + 1;
            let column = before[line_start..].chars().count() + 1;
            (line, column)
        }))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((line, column)) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}

/// Returns where the value of `key` begins; nothing if it is not in the text.
fn byte_of(text: &str, table: &str, key: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let DeValue::Table(keys) = document.get_ref().get(table)?.get_ref() else {
        return None;
    };
    Some(keys.get(key)?.span().start)
}
