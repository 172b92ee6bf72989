//! The part of the container task that kills and waits, and counts blocks of ports.

use weir_executor::grace;
use weir_resources::PortSet;

use super::entry::EntryState;
use super::error::{ContainerError, StepError};
use super::execute;
use super::facilities::ContainerNetwork;
use super::handle::{BlockCount, Ended, Kill, Reply};
use super::id::ContainerId;
use super::task::{Owner, answer};

impl<N: ContainerNetwork> Owner<N> {
    pub(super) fn handle_kill(&mut self, name: &str, kill: Kill, reply: Reply<()>) {
        let id = match self.find(name) {
            Ok(id) => id,
            Err(refusal) => return answer(reply, Err(refusal.into())),
        };
        let entry = self.entries.get_mut(&id).expect("find names entries only");
        match &mut entry.state {
            EntryState::Starting { kills, .. } => kills.push((kill, reply)),
            EntryState::Running { .. } => {
                tracing::info!(container = %entry.row.name, %id, ?kill, "killing");
                answer(reply, self.kill(&id, kill).map_err(ContainerError::from));
            }
            // It is on its way already.
            EntryState::Ending { .. } => answer(reply, Ok(())),
            EntryState::Ended { .. } => {
                answer(reply, Err(entry.not_running().into()));
            }
        }
    }

    pub(super) fn count_blocks(&self, ports_in_use: &PortSet) -> BlockCount {
        let held = self.entries.values().filter(|entry| {
            entry.row.launch.task.is_some()
                && entry.row.ephemeral.is_some()
                && entry.view.state.is_live()
        });
        BlockCount {
            free: self.books.blocks_free(ports_in_use),
            held: u32::try_from(held.count()).unwrap_or(u32::MAX),
        }
    }

    pub(super) fn kill(&self, id: &ContainerId, kill: Kill) -> Result<(), StepError> {
        match (kill, self.entries.get(id).map(|entry| &entry.state)) {
            (Kill::Gracefully, Some(EntryState::Running { executor, .. })) => {
                execute::kill_gracefully(id, executor)
            }
            (Kill::Within { grace_ms }, Some(EntryState::Running { executor, .. })) => {
                grace::write(&self.tools.places.directory(id), grace_ms)?;
                execute::kill_gracefully(id, executor)
            }
            (Kill::AtOnce, Some(EntryState::Running { .. })) => {
                execute::kill_at_once(&self.tools.places.task_cgroup(id))
            }
            (
                Kill::Gracefully | Kill::Within { .. } | Kill::AtOnce,
                None
                | Some(
                    EntryState::Starting { .. }
                    | EntryState::Ending { .. }
                    | EntryState::Ended { .. },
                ),
            ) => Ok(()),
        }
    }

    pub(super) fn handle_wait(&mut self, name: &str, reply: Reply<Ended>) {
        let id = match self.find(name) {
            Ok(id) => id,
            Err(refusal) => return answer(reply, Err(refusal.into())),
        };
        let entry = self.entries.get_mut(&id).expect("find names entries only");
        if let EntryState::Ended {
            outcome, ended_at, ..
        } = &entry.state
        {
            let ended = Ended {
                outcome: outcome.clone(),
                ended_at: *ended_at,
            };
            return answer(reply, Ok(ended));
        }
        // Those who went away make room; each of the others holds a connection, which are bounded.
        entry.waiters.retain(|waiter| !waiter.is_closed());
        entry.waiters.push(reply);
    }
}
