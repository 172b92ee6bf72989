//! Ending tasks: because somebody wants it, because what was lent is wanted back, because the agent is
//! drained or was removed.
//!
//! Why a task is to end is recorded before it is killed, so that its last status says so whatever
//! happens in between; and whoever finds it alive later kills it.

use weir_protocol::{AgentCall, Failure, Millis, Note, Reason, TaskKey, TaskState};

use super::machine::{AgentSession, Circumstances, Duty, Waiting};
use super::output::{HangUp, Output};
use super::verdict::Verdict;
use crate::store::Ending;

impl AgentSession {
    pub(super) fn handle_kill(
        &mut self,
        key: &TaskKey,
        grace: Option<Millis>,
        reason: Option<Reason>,
        circumstances: &mut Circumstances<'_>,
    ) {
        let ending = Ending {
            reason,
            message: None,
            grace,
        };
        self.end_by_will(key, ending, circumstances);
    }

    pub(super) fn handle_revoke(
        &mut self,
        key: &TaskKey,
        why: Note,
        circumstances: &mut Circumstances<'_>,
    ) {
        // Only what was lent can be wanted back: in Mesos any task could be hit.
        if self.tasks.get(key).is_some_and(|task| !task.is_revocable()) {
            self.figures.revocations_refused += 1;
            tracing::error!(task = %key, "refused to revoke a task that holds nothing revocable");
            return self.answer_where(key, circumstances);
        }
        self.figures.revocations += 1;
        let ending = Ending {
            reason: Some(Reason::Revoked),
            message: (!why.is_empty()).then_some(why),
            grace: None,
        };
        self.end_by_will(key, ending, circumstances);
    }

    /// Ends a task, whatever it is at.
    fn end_by_will(
        &mut self,
        key: &TaskKey,
        ending: Ending,
        circumstances: &mut Circumstances<'_>,
    ) {
        match self.tasks.get(key) {
            Some(task) if task.is_live() => self.begin_end(key, ending),
            // How it ended is on its way, or comes again.
            Some(_) => {}
            None if self.is_waiting(key) => {
                self.refuse_waiting(Some(key), &ending, circumstances);
            }
            None if self.finished.get(key).is_some() => self.answer_where(key, circumstances),
            None => {
                let verdict = Verdict::of_agent(
                    TaskState::Lost,
                    Some(Reason::TaskUnknown),
                    "the agent has no such task",
                );
                let status = self.status(key, verdict, circumstances.now.unix);
                self.say(AgentCall::StatusUpdate {
                    framework: key.framework,
                    latest: status.state,
                    status,
                });
            }
        }
    }

    /// Writes down that a live task is to end, and kills it as soon as there is something to kill.
    ///
    /// The first reason stays; a shorter grace than before counts.
    fn begin_end(&mut self, key: &TaskKey, ending: Ending) {
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        let own = task.launch.task.kill_grace;
        match &mut task.progress.ending {
            None => {
                task.progress.ending = Some(ending);
                task.progress.latest.state = TaskState::Killing;
            }
            Some(begun) => {
                if ending.grace.unwrap_or(own) >= begun.grace.unwrap_or(own) {
                    return;
                }
                begun.grace = ending.grace;
            }
        }
        self.record_progress(key);
        if self.tasks.get(key).is_some_and(|task| task.is_seen) {
            self.kill(key);
        }
    }

    /// Asks for the end of a task's container.
    pub(super) fn kill(&mut self, key: &TaskKey) {
        let Some(task) = self.tasks.get(key) else {
            return;
        };
        if let (Some(container), Some(ending)) =
            (task.progress.phase.container(), &task.progress.ending)
        {
            let output = Output::Kill {
                container: container.clone(),
                grace: ending.grace,
            };
            self.journal.effect(output);
        }
    }

    pub(super) fn handle_drain(
        &mut self,
        grace_max: Option<Millis>,
        circumstances: &mut Circumstances<'_>,
    ) {
        match &self.duty {
            Duty::Serving | Duty::Draining => {}
            Duty::Left | Duty::Removed(_) => return,
        }
        tracing::warn!(?grace_max, tasks = self.tasks.len(), "draining");
        self.duty = Duty::Draining;
        self.end_all(Reason::AgentDraining, grace_max, circumstances);
    }

    /// Ends everything because the agent is none of the scheduler's any more.
    pub(super) fn handle_removed(
        &mut self,
        failure: Failure,
        circumstances: &mut Circumstances<'_>,
    ) {
        tracing::error!(reason = %failure.reason, remedy = %failure.remedy, "removed by the scheduler");
        self.duty = Duty::Removed(failure.clone());
        // Nobody asks what becomes of those that wait.
        self.waiting.retain(|waiting| match waiting {
            Waiting::Apply { .. } => true,
            Waiting::Launch(_) => false,
        });
        self.end_all(Reason::AgentRemoved, None, circumstances);
        self.journal
            .effect(Output::HangUp(HangUp::Removed(failure)));
    }

    fn end_all(
        &mut self,
        reason: Reason,
        grace_max: Option<Millis>,
        circumstances: &mut Circumstances<'_>,
    ) {
        for key in self.live_keys() {
            let Some(task) = self.tasks.get(&key) else {
                continue;
            };
            let own = task.launch.task.kill_grace;
            let ending = Ending {
                reason: Some(reason),
                message: None,
                grace: grace_max.filter(|max| *max < own),
            };
            self.begin_end(&key, ending);
        }
        let ending = Ending {
            reason: Some(reason),
            message: None,
            grace: None,
        };
        self.refuse_waiting(None, &ending, circumstances);
    }

    /// Refuses launches that wait: one, or all.
    fn refuse_waiting(
        &mut self,
        only: Option<&TaskKey>,
        ending: &Ending,
        circumstances: &mut Circumstances<'_>,
    ) {
        let mut refused = Vec::new();
        let waiting = std::mem::take(&mut self.waiting);
        for waiting in waiting {
            match waiting {
                Waiting::Launch(launch) if only.is_none_or(|only| launch.key() == *only) => {
                    refused.push(*launch);
                }
                waiting @ (Waiting::Launch(_) | Waiting::Apply { .. }) => {
                    self.waiting.push_back(waiting);
                }
            }
        }
        for launch in refused {
            self.refuse(launch, Verdict::of_unborn(ending), circumstances);
        }
    }
}
