//! What the state machine is told.

use std::time::Duration;

use weir_executor::record::Outcome;
use weir_protocol::{AgentEvent, AgentName, Note, OperationKey, Reason, TaskState, UnixMs};
use weir_resources::Resources;

use super::output::WriteId;
use crate::container::ContainerId;

/// A moment, by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since the node was started: never goes back, and goes on while the agent is restarted.
    pub since_boot: Duration,
    /// The node's idea of the time of day, for people.
    pub unix: UnixMs,
}

/// What the state machine is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// The scheduler can be spoken to: hello and welcome are over.
    Connected {
        /// The name in the agent's certificate.
        name: AgentName,
    },
    /// It cannot any more.
    Disconnected,
    /// It said something.
    Heard(AgentEvent),
    /// A write is durable.
    Written(WriteId),
    /// A write was refused as a whole. It is asked for again after a while.
    WriteFailed(WriteId),
    /// A container of a task is in this state now. May be told again, and states may be left out.
    Container {
        /// The container.
        id: ContainerId,
        /// Its state.
        state: ContainerState,
    },
    /// A launch came to nothing, or not yet to anything.
    NotLaunched {
        /// The container that was to be.
        id: ContainerId,
        /// Why.
        failure: LaunchFailure,
    },
    /// Directories of volumes were made or taken away, or could not be.
    VolumesDone {
        /// The operation that asked for it.
        operation: OperationKey,
        /// What came of it.
        result: Result<(), VolumeFailure>,
    },
    /// What may be lent, all of it revocable.
    Estimated(Resources),
    /// How many blocks of ephemeral ports there are.
    PortBlocksCounted {
        /// Those that a task could have.
        free: u32,
        /// Those that tasks have.
        held: u32,
    },
    /// Time has passed.
    Tick,
}

/// Where a container is.
#[derive(Clone, Debug, PartialEq)]
pub enum ContainerState {
    /// No such container is on record. Told only to a machine that begins.
    Absent,
    /// It is being made, or taken away.
    Changing,
    /// Its program runs.
    Running {
        /// Since when.
        started_at: UnixMs,
    },
    /// It is over.
    Ended {
        /// How it ended.
        outcome: Outcome,
        /// When.
        ended_at: UnixMs,
    },
}

/// Why a launch came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaunchFailure {
    /// The agent is about to stop: the next one makes it.
    Stopping,
    /// It cannot be, or it was tried and undone.
    Final {
        /// What becomes of the task: `Error` for a task that cannot be launched as it is described,
        /// `Failed` for one that could not be launched here and now.
        state: TaskState,
        /// Why.
        reason: Reason,
        /// The same for people.
        message: Note,
    },
}

/// Says why directories of volumes are not as they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct VolumeFailure {
    /// What failed, on what.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
}
