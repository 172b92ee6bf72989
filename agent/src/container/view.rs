//! What is said of a container to people and programs: in `ps`, in JSON, to telemetry.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir_executor::record::Outcome;
use weir_executor::spec::NetworkMode;
use weir_resources::{PortRange, PortSet};

use super::id::{ContainerId, ContainerName, Slot};
use super::limits::Limits;
use super::spec::TaskName;
use crate::ports::UnixMs;

/// All containers at one moment, in the order of their creation.
pub type Listing = Arc<Vec<Arc<ContainerView>>>;

/// One container at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerView {
    /// The agent's name for it.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// How far it has come.
    pub state: State,
    /// Its index in the data plane, while it lives.
    pub slot: Slot,
    /// Its own network namespace or the node's.
    pub network: NetworkMode,
    /// The ports that it owns, or owned, beside its block.
    pub ports: PortSet,
    /// Its block for outgoing connections.
    pub ephemeral: Option<PortRange>,
    /// Whom it runs as.
    pub user: String,
    /// What it runs.
    pub argv: Vec<String>,
    /// What it may use.
    pub limits: Limits,
    /// Whether its limits are not enforced.
    pub unenforced: bool,
    /// When it was asked for.
    pub created_at: UnixMs,
    /// Where its output and its sandbox are.
    pub directory: PathBuf,
    /// The task that it is of; none if it was started on this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskName>,
}

/// How far a container has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum State {
    /// It is being made.
    Starting,
    /// Its task runs.
    Running {
        /// Since when.
        started_at: UnixMs,
        /// The process that supervises it.
        executor_pid: u32,
        /// Its first process.
        init_pid: u32,
    },
    /// Its task has ended; what it owned is being taken back.
    Ending {
        /// Since when it ran.
        started_at: Option<UnixMs>,
    },
    /// It is over.
    Ended {
        /// Since when it ran.
        started_at: Option<UnixMs>,
        /// Until when.
        ended_at: UnixMs,
        /// How it ended.
        outcome: Outcome,
    },
}

impl State {
    /// The names of all states, for metrics.
    pub const NAMES: [&str; 4] = ["starting", "running", "ending", "ended"];

    /// Returns the name of the state.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running { .. } => "running",
            Self::Ending { .. } => "ending",
            Self::Ended { .. } => "ended",
        }
    }

    /// Returns whether it still owns anything.
    pub const fn is_live(&self) -> bool {
        match self {
            Self::Starting | Self::Running { .. } | Self::Ending { .. } => true,
            Self::Ended { .. } => false,
        }
    }
}
