//! How a command ends.

use std::process::ExitCode;

use weir_executor::record::Outcome;

use crate::config::ConfigError;
use crate::container::chain;
use crate::local::{ClientError, FaultKind};

/// How a command ends, as its caller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// It did what was asked.
    Done,
    /// It tried.
    Failed,
    /// It was not allowed to, or cannot as things are; nothing was changed.
    Refused,
    /// What was typed, or the configuration, makes no sense. `EX_USAGE` of sysexits.h.
    Usage,
    /// What the task of an attached `exec` says.
    Task(u8),
}

impl Exit {
    const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Refused => 2,
            Self::Usage => 64,
            Self::Task(code) => code,
        }
    }

    /// Returns what a shell would say of a task that ended so; nothing where no task ended.
    pub(super) fn of_task(outcome: &Outcome) -> Option<Self> {
        /// A shell's code for a command that a signal ended.
        const SIGNALED: i32 = 128;
        const SIGKILL: i32 = 9;
        let code = match outcome {
            Outcome::Exited { code } => *code,
            // Wrapping: the number came from a file, and only its lowest byte counts.
            Outcome::Signaled { signal, .. } => SIGNALED.wrapping_add(*signal),
            Outcome::KilledAfterGrace { .. } | Outcome::OutOfMemory => SIGNALED + SIGKILL,
            Outcome::ExecFailed { .. }
            | Outcome::SetupFailed { .. }
            | Outcome::Aborted { .. }
            | Outcome::Lost { .. } => return None,
        };
        // Only the lowest byte reaches a parent.
        Some(Self::Task(code.to_le_bytes()[0]))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command ends early, and what is said of it.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    /// For stderr; empty where all is said.
    pub(super) message: String,
}

impl Failure {
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Failed,
            message: message.into(),
        }
    }

    pub(super) fn refused(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Refused,
            message: message.into(),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Fault(fault) => match fault.kind {
                FaultKind::Refused => Exit::Refused,
                FaultKind::Failed => Exit::Failed,
            },
            ClientError::Unreachable { .. }
            | ClientError::Lost { .. }
            | ClientError::Mismatch { .. } => Exit::Failed,
        };
        Self {
            exit,
            message: chain(&error),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self {
            exit: Exit::Usage,
            message: chain(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_ends_as_a_shell_would_say() {
        let code = |outcome| Exit::of_task(&outcome).map(Exit::code);
        assert_eq!(code(Outcome::Exited { code: 0 }), Some(0));
        assert_eq!(code(Outcome::Exited { code: 3 }), Some(3));
        assert_eq!(
            code(Outcome::Signaled {
                signal: 15,
                core_dumped: false
            }),
            Some(143)
        );
        assert_eq!(code(Outcome::KilledAfterGrace { grace_ms: 1 }), Some(137));
        assert_eq!(code(Outcome::OutOfMemory), Some(137));
        assert_eq!(
            code(Outcome::Aborted {
                reason: String::new()
            }),
            None
        );
    }

    #[test]
    fn any_number_that_a_record_may_hold_is_an_exit_code() {
        bolero::check!()
            .with_type::<(i32, bool)>()
            .with_iterations(1000)
            .for_each(|(number, is_high)| {
                // Half of them are within a byte of the highest.
                let number = if *is_high {
                    i32::MAX - (number & 0xff)
                } else {
                    *number
                };
                let code = |outcome| Exit::of_task(&outcome).map(Exit::code);
                let byte = number.to_le_bytes()[0];
                assert_eq!(code(Outcome::Exited { code: number }), Some(byte));
                let signaled = Outcome::Signaled {
                    signal: number,
                    core_dumped: true,
                };
                assert_eq!(code(signaled), Some(byte.wrapping_add(128)));
            });
    }
}
