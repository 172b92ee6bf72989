//! What the state machine wants done.

use std::sync::Arc;

use weir_protocol::{AgentCall, Failure, Launch, Millis, OperationKey};
use weir_resources::{Role, VolumeId};

use crate::container::ContainerId;
use crate::store::SessionChange;

/// A write, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

/// What the state machine wants done, in the order given.
///
/// Whatever follows from a change comes after the write of the change is durable, so it may be done
/// at once.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Say this to the scheduler.
    Send(AgentCall),
    /// Make these changes in one transaction. There is one write at a time.
    Write {
        /// By which the answer names it.
        id: WriteId,
        /// What is to be changed, in this order.
        changes: Arc<[SessionChange]>,
    },
    /// Run a task in a container of this id. If there is such a container already, or it is being
    /// made, nothing is to be done.
    Launch {
        /// The container.
        container: ContainerId,
        /// What it is to be.
        launch: Arc<Launch>,
    },
    /// Let a container end. It is there, or was a moment ago.
    Kill {
        /// The container.
        container: ContainerId,
        /// How long its command has, or as long as the task says.
        grace: Option<Millis>,
    },
    /// A container that has ended need not be remembered for the session's sake.
    Release {
        /// The container.
        container: ContainerId,
    },
    /// Make or take away the directories of volumes, all or none; answered by
    /// [`Input::VolumesDone`](super::Input::VolumesDone). May be asked for again after a restart, with
    /// some of them done. What is taken away can be brought back until [`Output::Sweep`].
    Volumes {
        /// The operation that asks for it.
        operation: OperationKey,
        /// What to do with each.
        order: VolumeOrder,
        /// The volumes.
        volumes: Vec<VolumeName>,
    },
    /// Delete what is left of volumes that were taken away.
    Sweep,
    /// Close the connection.
    HangUp(HangUp),
}

/// What is to be done with the directory of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumeOrder {
    /// There is to be one, empty.
    Make,
    /// There is to be none.
    Remove,
}

/// A volume on this node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeName {
    /// Whose it is.
    pub role: Role,
    /// What it is called among those of its role.
    pub id: VolumeId,
}

/// Why a connection is closed from this side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HangUp {
    /// The scheduler does not want this agent, or not now.
    Refused(Failure),
    /// The agent was removed; it comes back as a new one.
    Removed(Failure),
    /// The agent was drained and has left; it comes back when it is started again.
    Left,
}
