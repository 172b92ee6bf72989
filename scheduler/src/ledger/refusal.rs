//! How whoever asked is told that something was refused.

use std::error::Error;
use std::fmt::Write as _;

use weir_protocol::{ErrorCode, Failure};

/// An error that is told to a peer.
pub(super) trait Refusal: Error {
    /// Returns what kind of refusal it is, for programs.
    fn code(&self) -> ErrorCode;

    /// Returns what to do about it, for people.
    fn remedy(&self) -> &'static str;

    /// Returns what the peer is told: the error with its causes, and the remedy.
    fn failure(&self) -> Failure
    where
        Self: Sized,
    {
        Failure::new(self.code(), chain(self), self.remedy())
    }
}

/// Returns an error with its causes, in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // To write to a string cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
