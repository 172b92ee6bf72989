//! Status updates: one of a task under way at a time, in order, until each is acknowledged.
//!
//! While the scheduler is away nothing is sent; with the next registration the oldest of each task
//! goes first again.

use std::time::Duration;

use weir_protocol::{
    AgentCall, Note, Reason, Source, TaskKey, TaskState, TaskStatus, UnixMs, UpdateId,
};

use super::machine::{AgentSession, Circumstances, Link};
use super::task::Delivery;
use super::verdict::Verdict;
use crate::store::SessionChange;

/// How long an update waits for its acknowledgement before it is sent again; doubled each time up to
/// the longest. Mesos' `STATUS_UPDATE_RETRY_INTERVAL_MIN` and `_MAX`.
const REPEAT_FIRST: Duration = Duration::from_secs(10);
const REPEAT_LONGEST: Duration = Duration::from_secs(600);

impl AgentSession {
    /// Takes a task to another state: recorded, then sent until it is acknowledged.
    pub(super) fn update(
        &mut self,
        key: &TaskKey,
        verdict: Verdict,
        timestamp: UnixMs,
        circumstances: &mut Circumstances<'_>,
    ) {
        let mut status = self.status(key, verdict, timestamp);
        status.update = Some(UpdateId::from_bits(circumstances.random()));
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        tracing::info!(task = %key, state = %status.state, reason = ?status.reason, "task");
        task.progress.latest = status.clone();
        task.updates.push_back(status.clone());
        self.journal.record(SessionChange::AddUpdate {
            task: key.clone(),
            status: Box::new(status),
        });
        self.record_progress(key);
        self.deliver(key, circumstances);
    }

    /// Sends the oldest update of a task unless one is under way.
    pub(super) fn deliver(&mut self, key: &TaskKey, circumstances: &Circumstances<'_>) {
        if self.link != Link::Registered {
            return;
        }
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        if task.delivery.is_some() || task.updates.is_empty() {
            return;
        }
        let again_at = circumstances.now.since_boot.saturating_add(REPEAT_FIRST);
        task.delivery = Some(Delivery {
            again_at,
            pause: REPEAT_FIRST * 2,
        });
        self.deliveries.insert((again_at, key.clone()));
        self.figures.updates_sent += 1;
        self.say_oldest(key);
    }

    /// Sends again what was not acknowledged in time.
    pub(super) fn repeat_updates(&mut self, circumstances: &Circumstances<'_>) {
        let now = circumstances.now.since_boot;
        while let Some((at, _)) = self.deliveries.first()
            && *at <= now
        {
            let Some((_, key)) = self.deliveries.pop_first() else {
                return;
            };
            let Some(task) = self.tasks.get_mut(&key) else {
                continue;
            };
            if let Some(delivery) = &mut task.delivery {
                let again_at = now.saturating_add(delivery.pause);
                *delivery = Delivery {
                    again_at,
                    pause: (delivery.pause * 2).min(REPEAT_LONGEST),
                };
                self.deliveries.insert((again_at, key.clone()));
                self.figures.updates_repeated += 1;
                self.say_oldest(&key);
            }
        }
    }

    fn say_oldest(&mut self, key: &TaskKey) {
        let Some(task) = self.tasks.get(key) else {
            return;
        };
        if let Some(status) = task.updates.front() {
            let call = AgentCall::StatusUpdate {
                framework: key.framework,
                status: status.clone(),
                latest: task.progress.latest.state,
            };
            self.say(call);
        }
    }

    pub(super) fn handle_acknowledge(
        &mut self,
        key: &TaskKey,
        update: UpdateId,
        circumstances: &Circumstances<'_>,
    ) {
        let Some(task) = self.tasks.get_mut(key) else {
            self.figures.acknowledgements_ignored += 1;
            return;
        };
        // Also one that was sent on an earlier connection: whoever acknowledges it has it.
        let is_oldest = task
            .updates
            .front()
            .is_some_and(|status| status.update == Some(update));
        let Some(status) = task.updates.pop_front_if(|_| is_oldest) else {
            self.figures.acknowledgements_ignored += 1;
            return;
        };
        self.figures.acknowledgements += 1;
        if let Some(delivery) = task.delivery.take() {
            self.deliveries.remove(&(delivery.again_at, key.clone()));
        }
        if status.state.is_terminal() {
            self.tasks.remove(key);
            self.finished.insert(key.clone(), status.clone());
            return self.journal.record(SessionChange::FinishTask {
                task: key.clone(),
                status: Box::new(status),
            });
        }
        task.progress.acknowledged = Some(status.state);
        self.journal.record(SessionChange::RemoveUpdate {
            task: key.clone(),
            update,
        });
        self.record_progress(key);
        self.deliver(key, circumstances);
    }

    /// Says where a task is, in an update that needs no acknowledgement.
    ///
    /// Of a task with updates under way it says what the oldest of them says, and not more: nobody
    /// learns of an end by the way before it is told of the beginning.
    pub(super) fn answer_where(&mut self, key: &TaskKey, circumstances: &Circumstances<'_>) {
        let (status, latest) = match self.tasks.get(key) {
            Some(task) => {
                let latest = &task.progress.latest;
                let status = task.updates.front().unwrap_or(latest).clone();
                (status, latest.state)
            }
            // It is not written down, so nothing may be built on its being here; what becomes of it
            // is told soon.
            None if self.is_waiting(key) => return,
            None => match self.finished.get(key) {
                Some(status) => (status.clone(), status.state),
                None => {
                    let verdict = Verdict::of_agent(
                        TaskState::Lost,
                        Some(Reason::Reconciliation),
                        "the agent has no such task",
                    );
                    let status = self.status(key, verdict, circumstances.now.unix);
                    (status, TaskState::Lost)
                }
            },
        };
        let status = TaskStatus {
            reason: Some(Reason::Reconciliation),
            update: None,
            ..status
        };
        self.say(AgentCall::StatusUpdate {
            framework: key.framework,
            status,
            latest,
        });
    }

    /// Returns what a verdict says of a task at a time.
    pub(super) fn status(&self, key: &TaskKey, verdict: Verdict, timestamp: UnixMs) -> TaskStatus {
        let Verdict {
            state,
            source,
            reason,
            message,
            exit,
        } = verdict;
        TaskStatus {
            task: key.task.clone(),
            state,
            agent: self.agent,
            source,
            reason,
            message,
            timestamp,
            update: None,
            exit,
        }
    }

    /// Records how far a task has come.
    pub(super) fn record_progress(&mut self, key: &TaskKey) {
        if let Some(task) = self.tasks.get(key) {
            self.journal.record(SessionChange::SetProgress {
                task: key.clone(),
                progress: Box::new(task.progress.clone()),
            });
        }
    }

    /// Returns what the agent says of a task that it has just taken.
    pub(super) fn first_status(&self, key: &TaskKey, now: UnixMs) -> TaskStatus {
        let verdict = Verdict {
            state: TaskState::Starting,
            source: Source::Agent,
            reason: None,
            message: None::<Note>,
            exit: None,
        };
        self.status(key, verdict, now)
    }
}
