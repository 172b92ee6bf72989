//! Failures, and the calls that they answer.

use std::fmt;

use super::code::ErrorCode;
use crate::id::CallId;
use crate::text::Note;

/// Says why something was refused or has failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// What kind of failure it is.
    pub code: ErrorCode,
    /// What is wrong, with what, and the numbers that disagree.
    pub reason: Note,
    /// What to do about it.
    pub remedy: Note,
}

impl Failure {
    /// Returns the failure; texts beyond the bound of a [`Note`] are cut.
    pub fn new(code: ErrorCode, reason: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self {
            code,
            reason: Note::cut(reason),
            remedy: Note::cut(remedy),
        }
    }
}

/// An answer to a call that was refused, or the reason why the conversation ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CallError {
    /// The call, or `None` when it is about no call.
    pub call: Option<CallId>,
    /// Why.
    pub failure: Failure,
}
