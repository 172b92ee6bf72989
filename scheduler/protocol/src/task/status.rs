//! What became of a task.

use super::state::{Reason, Source, TaskState};
use crate::id::{AgentId, TaskId, UpdateId};
use crate::text::Note;
use crate::time::UnixMs;

/// Where a task is, who says so and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskStatus {
    /// The task, as its framework calls it.
    pub task: TaskId,
    /// Where it is.
    pub state: TaskState,
    /// The agent that has or had it, if one is known.
    pub agent: Option<AgentId>,
    /// Who says so.
    pub source: Source,
    /// Why, where there is more to say than the state says.
    pub reason: Option<Reason>,
    /// For people.
    pub message: Option<Note>,
    /// When it came about, by the clock of whoever made the status.
    pub timestamp: UnixMs,
    /// Present: must be acknowledged, and comes again until it is.
    pub update: Option<UpdateId>,
    /// How the command ended, where it did.
    pub exit: Option<Exit>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// It exited with this code.
    Code(u8),
    /// This signal ended it.
    Signal(u8),
}
