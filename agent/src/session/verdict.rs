//! What the end of a container means for its task.
//!
//! | the container | and somebody wanted it to end | otherwise |
//! |---|---|---|
//! | exited with 0 | KILLED | FINISHED |
//! | exited with another code, or by a signal | KILLED | FAILED, `COMMAND_FAILED` |
//! | could not execute its program, or not be set up | KILLED | FAILED, `CONTAINER_LAUNCH_FAILED` |
//! | lost its executor | KILLED | FAILED, `COMMAND_EXECUTOR_FAILED` |
//! | lost its executor with the whole node | KILLED | LOST, `AGENT_RESTARTED` |
//!
//! A task that was told to end is KILLED however it then ended, as in Mesos: between the word and the
//! end nobody can tell whose doing it was.

use weir_executor::record::Outcome;
use weir_protocol::{Exit, Note, Reason, Source, TaskState};

use crate::store::Ending;

/// What is said of a task; the rest of a status is who and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) state: TaskState,
    pub(super) source: Source,
    pub(super) reason: Option<Reason>,
    pub(super) message: Option<Note>,
    pub(super) exit: Option<Exit>,
}

/// Which boot a container was lost in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Boot {
    /// The one that it was started in.
    Same,
    /// A later one: the node has ended since.
    Later,
}

impl Verdict {
    /// Returns what an agent says of a task by itself.
    pub(super) fn of_agent(
        state: TaskState,
        reason: Option<Reason>,
        message: impl std::fmt::Display,
    ) -> Self {
        let message = Note::cut(message);
        Self {
            state,
            source: Source::Agent,
            reason,
            message: (!message.is_empty()).then_some(message),
            exit: None,
        }
    }

    /// Returns what becomes of a task whose container's program has, or may have, run.
    pub(super) fn of_end(outcome: &Outcome, boot: Boot, ending: Option<&Ending>) -> Self {
        let natural = Self::of_outcome(outcome, boot);
        match ending {
            None => natural,
            Some(Ending {
                reason, message, ..
            }) => Self {
                state: TaskState::Killed,
                reason: *reason,
                message: message.clone().or(natural.message),
                ..natural
            },
        }
    }

    /// Returns what becomes of a task that was told to end before it had begun.
    pub(super) fn of_unborn(ending: &Ending) -> Self {
        Self {
            state: TaskState::Killed,
            source: Source::Agent,
            reason: Some(ending.reason.unwrap_or(Reason::TaskKilledDuringLaunch)),
            message: ending.message.clone(),
            exit: None,
        }
    }

    fn of_outcome(outcome: &Outcome, boot: Boot) -> Self {
        let by_executor = |state, reason, message: String, exit| Self {
            state,
            source: Source::Executor,
            reason,
            message: Some(Note::cut(message)),
            exit,
        };
        match outcome {
            Outcome::Exited { code: 0 } => Self {
                state: TaskState::Finished,
                source: Source::Executor,
                reason: None,
                message: None,
                exit: Some(Exit::Code(0)),
            },
            Outcome::Exited { code } => by_executor(
                TaskState::Failed,
                Some(Reason::CommandFailed),
                format!("the command exited with {code}"),
                u8::try_from(*code).ok().map(Exit::Code),
            ),
            Outcome::Signaled {
                signal,
                core_dumped,
            } => by_executor(
                TaskState::Failed,
                Some(Reason::CommandFailed),
                format!(
                    "the command was ended by signal {signal}{}",
                    if *core_dumped { ", core dumped" } else { "" }
                ),
                u8::try_from(*signal).ok().map(Exit::Signal),
            ),
            Outcome::KilledAfterGrace { grace_ms } => by_executor(
                TaskState::Failed,
                Some(Reason::CommandFailed),
                format!("the command did not end within {grace_ms} ms and was killed"),
                Some(Exit::Signal(9)),
            ),
            Outcome::OutOfMemory => by_executor(
                TaskState::Failed,
                Some(Reason::ContainerLimitationMemory),
                "the task reached its memory limit and was killed".to_owned(),
                Some(Exit::Signal(9)),
            ),
            Outcome::ExecFailed { path, what, .. } => by_executor(
                TaskState::Failed,
                Some(Reason::ContainerLaunchFailed),
                format!("{path} cannot be executed: {what}"),
                None,
            ),
            Outcome::SetupFailed { reason } => by_executor(
                TaskState::Failed,
                Some(Reason::ContainerLaunchFailed),
                reason.clone(),
                None,
            ),
            // An aborted one is launched again, and never comes here unless somebody wanted its end.
            Outcome::Aborted { reason } | Outcome::Lost { reason } => match boot {
                Boot::Same => Self::of_agent(
                    TaskState::Failed,
                    Some(Reason::CommandExecutorFailed),
                    reason,
                ),
                Boot::Later => Self::of_agent(
                    TaskState::Lost,
                    Some(Reason::AgentRestarted),
                    "the node was restarted while the task ran",
                ),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(outcome: Outcome, ending: Option<&Ending>) -> (TaskState, Option<Reason>, Option<Exit>) {
        let verdict = Verdict::of_end(&outcome, Boot::Same, ending);
        (verdict.state, verdict.reason, verdict.exit)
    }

    #[test]
    fn a_command_ends_by_its_own_code() {
        assert_eq!(
            of(Outcome::Exited { code: 0 }, None),
            (TaskState::Finished, None, Some(Exit::Code(0)))
        );
        assert_eq!(
            of(Outcome::Exited { code: 3 }, None),
            (
                TaskState::Failed,
                Some(Reason::CommandFailed),
                Some(Exit::Code(3))
            )
        );
    }

    #[test]
    fn a_task_that_was_told_to_end_is_killed_however_it_ended() {
        let ending = Ending {
            reason: Some(Reason::Revoked),
            message: Some(Note::cut("the estimate shrank")),
            grace: None,
        };
        for outcome in [
            Outcome::Exited { code: 0 },
            Outcome::Signaled {
                signal: 15,
                core_dumped: false,
            },
            Outcome::KilledAfterGrace { grace_ms: 5 },
            Outcome::Lost {
                reason: "lost".to_owned(),
            },
        ] {
            let verdict = Verdict::of_end(&outcome, Boot::Same, Some(&ending));
            assert_eq!(verdict.state, TaskState::Killed, "{outcome:?}");
            assert_eq!(verdict.reason, Some(Reason::Revoked), "{outcome:?}");
            assert_eq!(verdict.message, ending.message, "{outcome:?}");
        }
    }

    #[test]
    fn a_task_that_went_down_with_its_node_is_lost_and_one_without_executor_has_failed() {
        let lost = Outcome::Lost {
            reason: "its executor was killed, and the container with it".to_owned(),
        };
        let verdict = Verdict::of_end(&lost, Boot::Later, None);
        assert_eq!(
            (verdict.state, verdict.reason),
            (TaskState::Lost, Some(Reason::AgentRestarted))
        );
        assert_eq!(
            of(lost, None),
            (TaskState::Failed, Some(Reason::CommandExecutorFailed), None)
        );
    }
}
