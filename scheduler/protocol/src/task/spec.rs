//! The description of a task.

use weir_resources::{BitRate, Labels, Resources};

use super::command::Command;
use crate::id::TaskId;
use crate::text::Line;
use crate::time::Millis;

/// How long a command has between SIGTERM and SIGKILL unless it says otherwise: Mesos'
/// `executor_shutdown_grace_period`.
pub const KILL_GRACE_DEFAULT: Millis = Millis(5_000);

/// What a framework wants to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSpec {
    /// What the framework calls it.
    pub id: TaskId,
    /// What people call it.
    pub name: Line,
    /// What it runs.
    pub command: Command,
    /// What it holds while it runs; never nothing in what comes from a peer.
    pub resources: Resources,
    /// Whose network it sees.
    pub network: NetworkMode,
    /// How long the command has between SIGTERM and SIGKILL.
    pub kill_grace: Millis,
    /// What the framework wants to remember of it.
    pub labels: Labels,
    /// What it sends and receives at most.
    pub ceilings: Ceilings,
}

/// What a task sends and receives at most, whatever is idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ceilings {
    /// All that it sends, wherever to.
    pub egress: Option<BitRate>,
    /// All that it receives, beside what it holds of `network_ingress`.
    pub ingress: Option<BitRate>,
}

/// Whose network a task sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetworkMode {
    /// Its own network namespace, with one block of ephemeral ports.
    Isolated,
    /// The node's.
    Host,
}
