//! The part of the container task that is about ends: noticing them, taking back what was held,
//! forgetting what has been kept for long enough.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use weir_executor::record::Outcome;

use super::entry::{Entry, EntryState};
use super::error::StepError;
use super::execute::{self, End, RanAs, chain, now};
use super::facilities::ContainerNetwork;
use super::handle::Ended;
use super::id::ContainerId;
use super::task::{Done, Owner, answer};
use crate::ports::UnixMs;

/// After how many ends the database is rid of freed ports whose rest is over: often enough to stay
/// small, seldom enough to cost nothing.
const ENDS_PER_CLEANING: u32 = 32;

impl<N: ContainerNetwork> Owner<N> {
    /// Starts to wait for the end of a running container's executor.
    pub(super) fn start_watch(&mut self, id: &ContainerId) {
        let Some(Entry {
            state: EntryState::Running { executor, .. },
            ..
        }) = self.entries.get(id)
        else {
            return;
        };
        let (id, executor) = (id.clone(), Arc::clone(executor));
        self.jobs.spawn(async move {
            if let Err(error) = execute::wait_for_end(&id, &executor).await {
                // It cannot be watched, so it cannot be supervised: it is ended.
                tracing::error!(%id, %error, "the executor cannot be waited for");
            }
            Done::ExecutorGone { id }
        });
    }

    /// Starts to take back what a container holds.
    pub(super) fn start_end(&mut self, id: ContainerId, ran: RanAs) {
        let entry = self
            .entries
            .get_mut(&id)
            .expect("whoever ends it has found it");
        let ending = EntryState::Ending {
            started_at: None,
            failed: None,
        };
        entry.state = match std::mem::replace(&mut entry.state, ending) {
            EntryState::Running {
                started_at, failed, ..
            } => EntryState::Ending {
                started_at: Some(started_at),
                failed,
            },
            other @ (EntryState::Starting { .. }
            | EntryState::Ending { .. }
            | EntryState::Ended { .. }) => other,
        };
        let (tools, turn) = (Arc::clone(&self.tools), Arc::clone(&entry.turn));
        let mut row = entry.row.clone();
        self.publish(&id);
        self.jobs.spawn(async move {
            // An update that is under way finishes first.
            row.ports = turn.lock().await.clone();
            let has_run = ran == RanAs::Task;
            let end = execute::end(&tools, &row, ran).await;
            Done::Ended {
                id,
                end,
                ran: has_run,
            }
        });
    }

    pub(super) fn handle_ended(&mut self, id: &ContainerId, end: End, ran: bool) {
        let End { outcome, ended_at } = end;
        let entry = self
            .entries
            .get_mut(id)
            .expect("an entry stays while it has a job");
        tracing::info!(container = %entry.row.name, %id, ?outcome, "ended");
        if outcome == Outcome::OutOfMemory {
            self.out_of_memory.fetch_add(1, Ordering::Relaxed);
        }
        self.books
            .release(&entry.row.name, entry.row.slot, ran, ended_at);
        let (started_at, failed) = match &mut entry.state {
            EntryState::Ending { started_at, failed } => (*started_at, failed.take()),
            EntryState::Starting { .. } | EntryState::Running { .. } | EntryState::Ended { .. } => {
                unreachable!("only what is ending ends")
            }
        };
        entry.state = EntryState::Ended {
            started_at,
            ended_at,
            outcome: outcome.clone(),
        };
        let waiters = std::mem::take(&mut entry.waiters);
        self.publish(id);
        self.forget_oldest();
        self.ends = self.ends.wrapping_add(1);
        if self.ends.is_multiple_of(ENDS_PER_CLEANING) {
            self.start_cleaning();
        }
        // Last, so that whoever is answered finds everything as the answer says.
        if let Some((reply, error)) = failed {
            answer(reply, Err(StepError::from(error).into()));
        }
        for waiter in waiters {
            answer(
                waiter,
                Ok(Ended {
                    outcome: outcome.clone(),
                    ended_at,
                }),
            );
        }
    }

    /// Forgets those of the ended containers that are more than is kept.
    pub(super) fn forget_oldest(&mut self) {
        let mut ended: Vec<(UnixMs, ContainerId)> = self
            .entries
            .iter()
            .filter_map(|(id, entry)| match &entry.state {
                EntryState::Ended { ended_at, .. } => {
                    (!entry.is_kept).then(|| (*ended_at, id.clone()))
                }
                EntryState::Starting { .. }
                | EntryState::Running { .. }
                | EntryState::Ending { .. } => None,
            })
            .collect();
        let keep = usize::try_from(self.tools.config.ended_keep).unwrap_or(usize::MAX);
        let Some(excess) = ended.len().checked_sub(keep).filter(|excess| *excess > 0) else {
            return;
        };
        ended.sort_unstable();
        for (_, id) in ended.into_iter().take(excess) {
            self.entries.remove(&id);
            let tools = Arc::clone(&self.tools);
            self.jobs.spawn(async move {
                if let Err(error) = execute::forget(&tools, &id).await {
                    tracing::error!(%id, error = %chain(&error), "what is left of a container stays");
                }
                Done::Cleaned
            });
        }
        self.publish_all();
    }

    /// Starts to forget freed ports whose rest is over.
    pub(super) fn start_cleaning(&mut self) {
        let rest_ms = u64::try_from(self.quarantine.as_millis()).unwrap_or(u64::MAX);
        let before = UnixMs(now().0.saturating_sub(rest_ms));
        let store = self.tools.store.clone();
        self.jobs.spawn(async move {
            if let Err(error) = store.forget_freed(before).await {
                tracing::error!(error = %chain(&error), "freed ports stay in the database");
            }
            Done::Cleaned
        });
    }
}
