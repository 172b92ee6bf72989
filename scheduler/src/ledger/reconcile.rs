//! RECONCILE: what has become of tasks and operations, as far as it is known.
//!
//! | asked | answer |
//! | --- | --- |
//! | nothing by name | every task that is not over |
//! | a task that is not launched yet | TASK_STAGING |
//! | a task that is known | the state of the last update |
//! | a task that was over not long ago | how it ended |
//! | a task that its agent does not have | TASK_LOST |
//! | a task of an agent that is removed or was never there | TASK_LOST |
//! | a task that an agent may have which has not come back since the scheduler started | nothing, yet |
//!
//! Answers have no update id. There is silence only while agents come back: whoever asks again is answered
//! when they are there or given up.

use weir_protocol::{
    AgentId, ErrorCode, Failure, FrameworkEvent, FrameworkId, Note, OperationId, OperationKey,
    OperationOrigin, OperationOutcome, Reason, TaskKey, TaskQuery, TaskState, TaskStatus,
};

use super::agent::AgentPresence;
use super::record::Past;
use super::state::Ledger;
use super::task::Task;

impl Ledger {
    pub(super) fn handle_reconcile(
        &mut self,
        framework: FrameworkId,
        tasks: &[TaskQuery],
        operations: &[OperationId],
    ) {
        let statuses: Vec<TaskStatus> = if tasks.is_empty() && operations.is_empty() {
            self.all_reconciled(framework)
        } else {
            tasks
                .iter()
                .filter_map(|query| self.reconciled(framework, query))
                .collect()
        };
        for status in statuses {
            self.tell_framework(framework, FrameworkEvent::Update(status));
        }
        for operation in operations {
            self.reconcile_operation(framework, operation.clone());
        }
    }

    /// Returns where every task of a framework is that is not over.
    fn all_reconciled(&self, framework: FrameworkId) -> Vec<TaskStatus> {
        let Some(known) = self.frameworks.by_id.get(&framework) else {
            return Vec::new();
        };
        let waiting = known.errands.iter().flat_map(|number| {
            let errand = self.errands.by_number.get(number);
            errand.into_iter().flat_map(|errand| errand.tasks())
        });
        let waiting = waiting.map(|task| TaskQuery {
            task: task.id.clone(),
            agent: None,
        });
        let launched = known.tasks.iter().map(|task| TaskQuery {
            task: task.clone(),
            agent: None,
        });
        waiting
            .chain(launched)
            .filter_map(|query| self.reconciled(framework, &query))
            .collect()
    }

    /// Returns where a task is, unless that may be known later only.
    pub(super) fn reconciled(
        &self,
        framework: FrameworkId,
        query: &TaskQuery,
    ) -> Option<TaskStatus> {
        let key = TaskKey {
            framework,
            task: query.task.clone(),
        };
        let reconciliation = Some(Reason::Reconciliation);
        if let Some(errand) = self.errands.tasks.get(&key) {
            let errand = self.errands.by_number.get(errand);
            let agent = errand.map(|errand| errand.agent);
            let state = TaskState::Staging;
            return Some(self.status(&key.task, state, agent, reconciliation, None));
        }
        if let Some(task) = self.tasks.get(&key) {
            return self.reconciled_known(task);
        }
        if let Some(ended) = self.ended_tasks.by_key.get(&key) {
            return Some(TaskStatus {
                reason: reconciliation,
                update: None,
                ..ended.entry.status.clone()
            });
        }
        if self.may_come(framework, query.agent) {
            return None;
        }
        let message = match query.agent {
            Some(agent) => match self.agents.why_removed(agent) {
                Some(why) => Note::cut(format_args!("agent {agent} was removed: {why}")),
                None if self.agents.by_id.contains_key(&agent) => {
                    Note::cut(format_args!("agent {agent} has no such task"))
                }
                None => Note::cut(format_args!("there is no agent {agent}")),
            },
            None => Note::cut("no agent has such a task"),
        };
        let state = TaskState::Lost;
        Some(self.status(&key.task, state, query.agent, reconciliation, Some(message)))
    }

    fn reconciled_known(&self, task: &Task) -> Option<TaskStatus> {
        let agent = self.agents.by_id.get(&task.agent)?;
        let message = match agent.presence {
            AgentPresence::Connected(_) => None,
            AgentPresence::Disconnected { since, .. } => {
                let away_ms = self.now.unix.0.saturating_sub(since.0);
                let seconds = away_ms / 1000;
                Some(Note::cut(format_args!(
                    "agent {} has been away for {seconds} s; this is the last it said",
                    agent.info.name
                )))
            }
            AgentPresence::Recovered { .. } => return None,
        };
        Some(TaskStatus {
            reason: Some(Reason::Reconciliation),
            message: message.or_else(|| task.status.message.clone()),
            update: None,
            ..task.status.clone()
        })
    }

    /// Returns whether a task that is not known may come with an agent that has not come back yet.
    fn may_come(&self, framework: FrameworkId, agent: Option<AgentId>) -> bool {
        let known = agent.and_then(|agent| self.agents.by_id.get(&agent));
        if let Some(known) = known {
            return match known.presence {
                AgentPresence::Connected(_) | AgentPresence::Disconnected { .. } => false,
                AgentPresence::Recovered { .. } => true,
            };
        }
        if agent.is_some_and(|agent| self.agents.why_removed(agent).is_some()) {
            return false;
        }
        // Of a framework of which something was lost, agents may come that were lost as well.
        let past = self
            .frameworks
            .by_id
            .get(&framework)
            .map(|known| known.past);
        let is_complete = match past {
            Some(Past::Known) | None => true,
            Some(Past::Unknown | Past::FromTasks) => {
                self.now.elapsed >= self.began.saturating_add(self.settings.agent_return)
            }
        };
        if agent.is_some() {
            return !is_complete;
        }
        !is_complete || !self.agents.awaited.is_empty()
    }

    fn reconcile_operation(&mut self, framework: FrameworkId, id: OperationId) {
        let key = OperationKey {
            origin: OperationOrigin::Framework(framework),
            id,
        };
        let outcome = match self.answers.get(&key) {
            Some(row) => row.outcome.clone(),
            None if self.errands.operations.contains_key(&key) => OperationOutcome::Accepted,
            None => OperationOutcome::Failed(Failure::new(
                ErrorCode::OperationUnknown,
                format_args!("nothing is known of operation {}", key.id),
                "it never came, or was answered long ago: look at the reservations and volumes that are offered",
            )),
        };
        let id = key.id;
        self.tell_framework(framework, FrameworkEvent::Operation { id, outcome });
    }
}
