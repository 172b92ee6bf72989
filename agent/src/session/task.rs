//! One task as the state machine knows it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use weir_protocol::{AgentTask, Launch, TaskStatus};
use weir_resources::{ResourceName, Resources};

use crate::store::{Progress, TaskPhase, TaskRow};

/// One task.
#[derive(Debug)]
pub(super) struct Task {
    /// As it came.
    pub(super) launch: Arc<Launch>,
    /// How far it has come, as it is recorded.
    pub(super) progress: Progress,
    /// The updates that were not acknowledged, oldest first; recorded.
    pub(super) updates: VecDeque<TaskStatus>,
    /// The first of them is under way.
    pub(super) delivery: Option<Delivery>,
    /// Whether this agent has seen its container alive, so that there is something to kill.
    pub(super) is_seen: bool,
}

/// An update that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    /// When it is sent again.
    pub(super) again_at: Duration,
    /// How long after that.
    pub(super) pause: Duration,
}

impl Task {
    pub(super) fn new(row: TaskRow) -> Self {
        Self {
            launch: row.launch,
            progress: row.progress,
            updates: row.updates.into(),
            delivery: None,
            is_seen: false,
        }
    }

    /// Returns whether it holds what it was given.
    pub(super) const fn is_live(&self) -> bool {
        self.progress.phase.is_live()
    }

    /// Returns whether its container is still to be made.
    pub(super) const fn is_launching(&self) -> bool {
        match &self.progress.phase {
            TaskPhase::Launching { .. } => true,
            TaskPhase::Running { .. } | TaskPhase::Ended => false,
        }
    }

    /// Returns whether anything of it can be taken back at any time.
    pub(super) fn is_revocable(&self) -> bool {
        !self.launch.task.resources.revocable().is_empty()
    }

    /// Returns it as a registration names it.
    pub(super) fn describe(&self) -> AgentTask {
        let Launch {
            operation,
            owner,
            task,
        } = &*self.launch;
        AgentTask {
            owner: owner.clone(),
            id: task.id.clone(),
            name: task.name.clone(),
            resources: task.resources.clone(),
            network: task.network,
            labels: task.labels.clone(),
            status: self.progress.latest.clone(),
            acknowledged: self.progress.acknowledged,
            operation: operation.clone(),
        }
    }
}

/// Returns what a task takes of the node's own: not what is lent, and not the block of ports, which
/// the container task counts.
pub(super) fn regular_part(resources: &Resources) -> Resources {
    resources
        .regular()
        .filter(|entry| *entry.name() != ResourceName::PORT_BLOCKS)
}
