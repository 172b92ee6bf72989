//! How a command ends.

use std::error::Error;
use std::process::ExitCode;

use weir_client::{FrameworkError, OperatorError};
use weir_protocol::{Exit as TaskExit, Failure as Refusal};
use weir_transport::authority::AuthorityError;
use weir_transport::credentials::CredentialError;

/// How a command ends, as its caller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what was asked.
    Done,
    /// It tried.
    Failed,
    /// It was not allowed to, or cannot as things are; nothing was changed.
    Refused,
    /// What was typed, or the configuration, makes no sense. `EX_USAGE` of sysexits.h.
    Usage,
    /// What the task of `run` says.
    Task(u8),
}

impl Exit {
    /// Returns the code for the parent process.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Refused => 2,
            Self::Usage => 64,
            Self::Task(code) => code,
        }
    }

    /// Returns what a shell would say of a command that ended so.
    pub(crate) const fn of_task(exit: TaskExit) -> Self {
        /// A shell's code for a command that a signal ended.
        const SIGNALED: u8 = 128;
        match exit {
            TaskExit::Code(code) => Self::Task(code),
            // Wrapping: the number came from elsewhere, and there are no signals above 64.
            TaskExit::Signal(signal) => Self::Task(SIGNALED.wrapping_add(signal)),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command ends early, and what its user can try.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// What failed, on what.
    pub(crate) message: String,
    /// What to try; never empty.
    pub(crate) remedy: String,
}

impl Failure {
    pub(crate) fn failed(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message, remedy)
    }

    pub(crate) fn refused(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Refused, message, remedy)
    }

    pub(crate) fn usage(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message, remedy)
    }

    fn new(exit: Exit, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    /// Returns the lines for stderr.
    pub(crate) fn lines(&self) -> String {
        format!("weir: {}\ntry: {}", self.message, self.remedy)
    }
}

/// Returns an error with all that caused it.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Transparent layers say what the next one says.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

impl From<OperatorError> for Failure {
    fn from(error: OperatorError) -> Self {
        let exit = match &error {
            OperatorError::Failed { .. } => Exit::Refused,
            OperatorError::NotSent { .. }
            | OperatorError::Unanswered { .. }
            | OperatorError::Slow { .. }
            | OperatorError::Mismatch { .. } => Exit::Failed,
        };
        Self::new(exit, chain(&error), error.remedy())
    }
}

impl From<FrameworkError> for Failure {
    fn from(error: FrameworkError) -> Self {
        let exit = match &error {
            FrameworkError::Refused(_) => Exit::Refused,
            FrameworkError::Conversation(_) | FrameworkError::Ended(_) | FrameworkError::Closed => {
                Exit::Failed
            }
        };
        Self::new(exit, chain(&error), error.remedy())
    }
}

impl From<&Refusal> for Failure {
    fn from(refusal: &Refusal) -> Self {
        Self::refused(refusal.reason.as_str(), refusal.remedy.as_str())
    }
}

impl From<CredentialError> for Failure {
    fn from(error: CredentialError) -> Self {
        Self::usage(chain(&error), error.remedy())
    }
}

impl From<AuthorityError> for Failure {
    fn from(error: AuthorityError) -> Self {
        let (exit, remedy) = match &error {
            AuthorityError::Exists { .. } => (
                Exit::Refused,
                "use the authority that is there (`weir certs issue`), or another --directory",
            ),
            AuthorityError::WouldOverwrite { .. } => (
                Exit::Refused,
                "add --replace to put a new certificate in its place, or choose another --output-directory",
            ),
            AuthorityError::Missing { .. } => (
                Exit::Refused,
                "make an authority with `weir certs init`, or name its directory with --directory",
            ),
            AuthorityError::UnknownSerial { .. } | AuthorityError::UnknownIdentity { .. } => {
                (Exit::Refused, "`weir certs show` lists what was issued")
            }
            AuthorityError::AlreadyRevoked { .. } => (
                Exit::Refused,
                "nothing; copy crl.pem to every host if it is not there yet",
            ),
            AuthorityError::NoNames => (
                Exit::Usage,
                "add --host with a name or address of the scheduler, once for each",
            ),
            AuthorityError::NamesForClient { .. } => (Exit::Usage, "leave --host out"),
            AuthorityError::OutlivesAuthority { .. }
            | AuthorityError::Calendar { .. }
            | AuthorityError::TooShort { .. } => (Exit::Usage, "choose another --days"),
            AuthorityError::System { .. } => (
                Exit::Failed,
                "check the directory, its owner and the space on its disk",
            ),
            AuthorityError::Damaged { .. }
            | AuthorityError::NoTrustDomain { .. }
            | AuthorityError::Index { .. } => (
                Exit::Failed,
                "restore the authority's directory from a copy, or make a new authority",
            ),
            AuthorityError::Unreadable(_)
            | AuthorityError::Crypto { .. }
            | AuthorityError::NoRandomness => (Exit::Failed, "please report this"),
        };
        Self::new(exit, chain(&error), remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_that_the_help_promises() {
        let codes = [Exit::Done, Exit::Failed, Exit::Refused, Exit::Usage].map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 64]);
    }

    #[test]
    fn a_task_ends_as_a_shell_would_say() {
        assert_eq!(Exit::of_task(TaskExit::Code(3)).code(), 3);
        assert_eq!(Exit::of_task(TaskExit::Signal(15)).code(), 143);
        assert_eq!(Exit::of_task(TaskExit::Signal(255)).code(), 127);
    }

    #[test]
    fn a_failure_says_what_to_try() {
        let failure = Failure::failed("it broke", "mend it");
        assert_eq!(failure.lines(), "weir: it broke\ntry: mend it");
    }
}
