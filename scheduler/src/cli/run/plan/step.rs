//! What the plan is given, and what it gives.

use std::time::Duration;

use weir_client::ConversationError;
use weir_protocol::{AgentId, Failure, FrameworkCall, TaskId, TaskKey, TaskSpec, TaskStatus};

use super::super::fit::Wanted;

/// What is to run, and how.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// The task, complete but for its id and what it holds.
    pub(crate) task: TaskSpec,
    pub(crate) wanted: Wanted,
    /// Whether to end as soon as the task runs.
    pub(crate) detach: bool,
    /// When to give up asking.
    pub(crate) deadline: Option<Duration>,
}

/// What to do.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Makes a call.
    Call(FrameworkCall),
    /// Says something to whoever watches.
    Say(String),
    /// It is over. No step follows.
    End(End),
}

/// How it ends.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// The task has ended.
    Ended(TaskStatus),
    /// The task runs, and is left alone.
    Detached {
        task: TaskKey,
        agent: Option<AgentId>,
    },
    /// It was interrupted before anything was launched.
    Interrupted,
    /// It was interrupted twice while the scheduler was away.
    Abandoned { task: TaskId },
    /// Nothing that fits was offered in time; with what an agent lacked.
    NoOffer { lacking: Option<String> },
    /// The task is not taken.
    Refused(Failure),
    /// The scheduler was never reached.
    Unreachable(ConversationError),
    /// The scheduler took no framework.
    NotTaken(Failure),
}
