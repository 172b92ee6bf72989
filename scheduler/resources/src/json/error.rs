//! What can be wrong with JSON.

use crate::ports::Found;
use crate::text::Refusal;

/// Says what is wrong with JSON, where, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {fault}")]
pub struct JsonError {
    /// The line, from 1.
    pub line: usize,
    /// The character of the line, from 1, and one more than there are if the text ends too early.
    pub column: usize,
    /// What is wrong there.
    pub fault: JsonFault,
}

/// What can be wrong with JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// Something stands where something else must.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What must stand there.
        expected: &'static str,
        /// What stands there.
        found: Found,
    },
    /// An escape that JSON has not.
    #[error("`\\` and what follows are no character; write `\\n`, `\\u00e9` or the like")]
    Escape,
    /// A key that is not known there.
    #[error("unknown key `{key}`; known are {known}")]
    UnknownKey {
        /// The key, its control characters escaped, shortened if it is very long.
        key: String,
        /// The keys that may stand there.
        known: &'static str,
    },
    /// A key that is there already.
    #[error("key `{key}` is there twice")]
    KeyTwice {
        /// The key.
        key: &'static str,
    },
    /// A key that must be there.
    #[error("key `{key}` is missing from what begins here")]
    KeyMissing {
        /// The key.
        key: &'static str,
    },
    /// A key that contradicts another.
    #[error("key `{key}` cannot stand beside {beside}")]
    KeyBeside {
        /// The key.
        key: &'static str,
        /// What it contradicts.
        beside: &'static str,
    },
    /// A text that is none of those that it can be.
    #[error("`{found}` is not known here; write {known}")]
    UnknownText {
        /// The text, its control characters escaped, shortened if it is very long.
        found: String,
        /// The texts that may stand there.
        known: &'static str,
    },
    /// More than one reservation: Mesos refines reservations by stacking them.
    #[error("{count} reservations of one resource; a resource has at most one")]
    Refined {
        /// How many there are.
        count: usize,
    },
    /// The text can be read, but what it says cannot be.
    #[error(transparent)]
    Refused(#[from] Refusal),
}
