//! What a task runs.

use std::collections::BTreeSet;
use std::fmt;

use crate::bounds::{PATH_BYTES_MAX, WORD_BYTES_MAX, WORDS_MAX};
use crate::text::Line;

/// What a task runs, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program or the script.
    pub run: Run,
    /// Variables beside those that every container has.
    pub environment: Environment,
    /// Whom it runs as on the agent's node, or `None` for the framework's user.
    pub user: Option<Line>,
    /// Where it runs, or `None` for its sandbox.
    pub working_directory: Option<WorkingDirectory>,
}

/// The program or the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// A program with its arguments, as they are.
    Argv(Argv),
    /// A script for `/bin/sh -c`.
    Shell(Shell),
}

/// Says why a command cannot be run anywhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No program at all.
    #[error("there is no program")]
    NoProgram,
    /// More arguments or variables than the bound.
    #[error("{count} are too many; at most {WORDS_MAX}")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// A word that the kernel does not take.
    #[error("word {index} has {length} bytes; the kernel takes {WORD_BYTES_MAX}")]
    WordTooLong {
        /// Which, counted from 0.
        index: usize,
        /// How long it is.
        length: usize,
    },
    /// A word that the kernel would cut.
    #[error("word {index} holds a NUL byte, where the kernel would end it")]
    Nul {
        /// Which, counted from 0.
        index: usize,
    },
    /// A variable that cannot be named.
    #[error("{name:?} cannot name a variable: it is empty or holds `=`")]
    VariableName {
        /// The name.
        name: String,
    },
    /// A variable with two values.
    #[error("variable {name:?} is there twice")]
    VariableTwice {
        /// The name.
        name: String,
    },
    /// A directory that means one thing here and another there.
    #[error("directory {path:?} is not an absolute path without `..`")]
    Directory {
        /// The path.
        path: String,
    },
    /// A path that the kernel does not take.
    #[error("a path of {length} bytes is too long; at most {PATH_BYTES_MAX}")]
    PathTooLong {
        /// How long it is.
        length: usize,
    },
}

/// A program, by path or looked up in PATH, and its arguments.
///
/// At least one word, the first not empty; none holds a NUL byte.
#[derive(Clone, PartialEq, Eq)]
pub struct Argv(Vec<String>);

impl Argv {
    /// Returns the words as a command.
    pub fn new(words: Vec<String>) -> Result<Self, CommandError> {
        if words.first().is_none_or(String::is_empty) {
            return Err(CommandError::NoProgram);
        }
        check_count(words.len())?;
        check_words(words.iter())?;
        Ok(Self(words))
    }

    /// Returns the words.
    pub fn words(&self) -> &[String] {
        &self.0
    }

    /// Returns the words.
    pub fn into_words(self) -> Vec<String> {
        self.0
    }
}

impl fmt::Debug for Argv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A script for `/bin/sh -c`: one word that is not empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Shell(String);

impl Shell {
    /// Returns `script` as a command.
    pub fn new(script: impl Into<String>) -> Result<Self, CommandError> {
        let script = script.into();
        if script.is_empty() {
            return Err(CommandError::NoProgram);
        }
        check_words([&script])?;
        Ok(Self(script))
    }

    /// Returns the script.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Variables in the order in which they were given, each name once.
///
/// Its `Debug` leaves the values out, for they may be secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(Vec<(String, String)>);

impl Environment {
    /// Returns the variables as an environment.
    pub fn new(variables: Vec<(String, String)>) -> Result<Self, CommandError> {
        check_count(variables.len())?;
        let mut names = BTreeSet::new();
        for (name, _) in &variables {
            if name.is_empty() || name.contains('=') {
                return Err(CommandError::VariableName { name: name.clone() });
            }
            if !names.insert(name) {
                return Err(CommandError::VariableTwice { name: name.clone() });
            }
        }
        for (index, (name, value)) in variables.iter().enumerate() {
            if name.contains('\0') || value.contains('\0') {
                return Err(CommandError::Nul { index });
            }
            // The kernel sees one string, `name=value`.
            let length = name.len() + 1 + value.len();
            if length > WORD_BYTES_MAX {
                return Err(CommandError::WordTooLong { index, length });
            }
        }
        Ok(Self(variables))
    }

    /// Returns the variables.
    pub fn variables(&self) -> &[(String, String)] {
        &self.0
    }

    /// Returns the variables.
    pub fn into_variables(self) -> Vec<(String, String)> {
        self.0
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

/// An absolute path that does not climb.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct WorkingDirectory(String);

impl WorkingDirectory {
    /// Returns `path` as a directory to run in.
    pub fn new(path: impl Into<String>) -> Result<Self, CommandError> {
        let path = path.into();
        if path.len() > PATH_BYTES_MAX {
            return Err(CommandError::PathTooLong { length: path.len() });
        }
        let climbs = path.split('/').any(|component| component == "..");
        if !path.starts_with('/') || climbs || path.contains('\0') {
            return Err(CommandError::Directory { path });
        }
        Ok(Self(path))
    }

    /// Returns the path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for WorkingDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn check_count(count: usize) -> Result<(), CommandError> {
    if count > WORDS_MAX {
        return Err(CommandError::TooMany { count });
    }
    Ok(())
}

fn check_words<'a>(words: impl IntoIterator<Item = &'a String>) -> Result<(), CommandError> {
    for (index, word) in words.into_iter().enumerate() {
        if word.contains('\0') {
            return Err(CommandError::Nul { index });
        }
        if word.len() > WORD_BYTES_MAX {
            return Err(CommandError::WordTooLong {
                index,
                length: word.len(),
            });
        }
    }
    Ok(())
}
