//! One container as the container task knows it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::Mutex;
use weir_executor::record::Outcome;
use weir_executor::spawn::StartError;
use weir_resources::PortSet;

use super::error::Refusal;
use super::execute::Tools;
use super::handle::{Ended, Kill, Reply};
use super::view::{ContainerView, State};
use crate::ports::UnixMs;
use crate::store::{ContainerRow, ExecutorIdentity};

/// One container, as the task knows it.
pub(super) struct Entry {
    /// As it was recorded at first; ports and limits follow updates.
    pub(super) row: ContainerRow,
    pub(super) state: EntryState,
    pub(super) view: Arc<ContainerView>,
    /// Held by whoever changes the container; in it, the ports that are recorded.
    pub(super) turn: Arc<Mutex<PortSet>>,
    pub(super) waiters: Vec<Reply<Ended>>,
    /// Whether somebody has yet to see how it ended.
    pub(super) is_kept: bool,
}

pub(super) enum EntryState {
    Starting {
        reply: Reply<ContainerView>,
        /// Kills that came before there was anything to kill.
        kills: Vec<(Kill, Reply<()>)>,
    },
    Running {
        executor: Arc<OwnedFd>,
        identity: ExecutorIdentity,
        started_at: UnixMs,
        updating: bool,
        /// Whoever asked for a task that then did not start: answered when all is taken back.
        failed: Option<(Reply<ContainerView>, StartError)>,
    },
    Ending {
        started_at: Option<UnixMs>,
        failed: Option<(Reply<ContainerView>, StartError)>,
    },
    Ended {
        started_at: Option<UnixMs>,
        ended_at: UnixMs,
        outcome: Outcome,
    },
}

impl Entry {
    pub(super) fn new<N>(row: ContainerRow, state: EntryState, tools: &Tools<N>) -> Self {
        let turn = Arc::new(Mutex::new(row.ports.clone()));
        let view = Arc::new(view(&row, &state, tools));
        Self {
            // Also after a restart: whoever was to see it may have been restarted as well.
            is_kept: row.launch.task.is_some(),
            row,
            state,
            view,
            turn,
            waiters: Vec::new(),
        }
    }

    /// Makes the view agree with the state.
    pub(super) fn refresh<N>(&mut self, tools: &Tools<N>) {
        self.view = Arc::new(view(&self.row, &self.state, tools));
    }

    /// Returns what is said to whoever wants something of it that takes a running container.
    pub(super) fn not_running(&self) -> Refusal {
        let state = match self.state {
            EntryState::Starting { .. } => "is still starting",
            EntryState::Running { .. } => "is running",
            EntryState::Ending { .. } => "is ending",
            EntryState::Ended { .. } => "has ended",
        };
        Refusal::NotRunning {
            name: self.row.name.to_string(),
            state,
        }
    }
}

fn view<N>(row: &ContainerRow, state: &EntryState, tools: &Tools<N>) -> ContainerView {
    let limits = match state {
        EntryState::Starting { .. } | EntryState::Running { .. } | EntryState::Ending { .. } => {
            tools.limits_in_force(&row.launch)
        }
        // What the configuration said at its time is not known any more.
        EntryState::Ended { .. } => row.launch.limits.clone(),
    };
    let state = match state {
        EntryState::Starting { .. } => State::Starting,
        EntryState::Running {
            identity,
            started_at,
            ..
        } => State::Running {
            started_at: *started_at,
            executor_pid: identity.pid,
            init_pid: identity.init_pid,
        },
        EntryState::Ending { started_at, .. } => State::Ending {
            started_at: *started_at,
        },
        EntryState::Ended {
            started_at,
            ended_at,
            outcome,
        } => State::Ended {
            started_at: *started_at,
            ended_at: *ended_at,
            outcome: outcome.clone(),
        },
    };
    ContainerView {
        id: row.id.clone(),
        name: row.name.clone(),
        state,
        slot: row.slot,
        network: row.launch.network,
        ports: row.ports.clone(),
        ephemeral: row.ephemeral,
        user: row.launch.user.name.clone(),
        argv: row.launch.argv.clone(),
        limits,
        unenforced: row.unenforced,
        created_at: row.created_at,
        directory: tools.places.directory(&row.id),
        task: row.launch.task.as_ref().map(|task| task.name.clone()),
    }
}
