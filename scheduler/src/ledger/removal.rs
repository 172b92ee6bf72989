//! Agents are given up: they were away for too long, leave, are replaced, or an operator removes them.
//!
//! Their tasks are lost, and every framework is told. An agent that was given up against its will may not
//! come back: it would run tasks that others have been started for.

use weir_protocol::{
    AgentEvent, AgentId, ErrorCode, Failure, FrameworkEvent, FrameworkId, Note, Reason,
    RescindReason, TaskKey, TaskState,
};
use weir_resources::Principal;

use super::agent::{Agent, AgentPresence};
use super::launch::Never;
use super::record::{Actor, RemovedAgent, Row, RowKey};
use super::state::Ledger;
use super::timers::Timer;

/// Who gives an agent up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// The scheduler: it was away for too long.
    TimedOut,
    /// Its node has registered as a new agent.
    Replaced,
    /// An operator.
    ByOperator(Principal),
    /// It has left, with nothing running.
    Left,
}

impl Ledger {
    /// Gives up an agent that was away for too long.
    ///
    /// If most agents are away it is the scheduler that is cut off, and to give them up would end all
    /// their tasks when they are back. Then none is, until most are back or an operator removes it.
    pub(super) fn handle_agent_gone(&mut self, id: AgentId) {
        let agents = self.agents.by_id.values();
        let away = agents.filter(|agent| agent.session().is_none()).count();
        let is_cut_off = away * 2 > self.agents.by_id.len();
        let Some(agent) = self.agents.by_id.get_mut(&id) else {
            return;
        };
        if is_cut_off {
            let later = self.now.elapsed.saturating_add(self.settings.agent_removal);
            match &mut agent.presence {
                AgentPresence::Connected(_) => return,
                AgentPresence::Disconnected { gone_at, .. }
                | AgentPresence::Recovered { gone_at } => *gone_at = later,
            }
            self.timers.set(later, Timer::AgentGone(id));
            self.agents.spared.insert(id);
            return;
        }
        let why = match agent.presence {
            AgentPresence::Connected(_) => return,
            AgentPresence::Disconnected { since, .. } => {
                let seconds = self.now.unix.0.saturating_sub(since.0) / 1000;
                Note::cut(format_args!("it was away for {seconds} s"))
            }
            AgentPresence::Recovered { .. } => {
                Note::cut("it did not come back after the scheduler had started")
            }
        };
        self.remove_agent(id, why, Removal::TimedOut);
    }

    /// Forgets an agent that has ended everything and leaves.
    pub(super) fn handle_unregister(&mut self, id: AgentId) {
        self.remove_agent(id, Note::cut("it has left"), Removal::Left);
    }

    /// Gives an agent up, with its tasks.
    pub(super) fn remove_agent(&mut self, id: AgentId, why: Note, removal: Removal) {
        let Some(agent) = self.agents.by_id.get(&id) else {
            return;
        };
        let name = agent.info.name.clone();
        let failure = Failure::new(
            ErrorCode::AgentRemoved,
            format_args!("agent {name} ({id}) was removed: {why}"),
            "use offers of other agents",
        );
        let reason = match removal {
            Removal::TimedOut | Removal::Replaced | Removal::Left => Reason::AgentRemoved,
            Removal::ByOperator(_) => Reason::AgentRemovedByOperator,
        };
        let state = TaskState::Lost;
        self.abort_errands(id, &failure, Never { state, reason });
        self.rescind_agent(id, RescindReason::AgentRemoved);
        self.end_tasks_of(id, reason, &failure.reason);
        self.allocator
            .remove_agent(id)
            .expect("the allocator has the agents of the ledger");
        let Some(agent) = self.agents.by_id.remove(&id) else {
            return;
        };
        self.agents.by_name.remove(&name);
        self.agents.awaited.remove(&id);
        self.agents.spared.remove(&id);
        if let Some(gone_at) = agent.gone_at() {
            self.timers.cancel(gone_at, Timer::AgentGone(id));
        }
        self.forget_estimate_end(id, &agent.lent);
        self.drop_row(RowKey::Agent(id));
        let removed = match &removal {
            Removal::TimedOut => &mut self.removed.timed_out,
            Removal::Replaced => &mut self.removed.replaced,
            Removal::ByOperator(_) => &mut self.removed.by_operator,
            Removal::Left => &mut self.removed.left,
        };
        *removed += 1;
        let who = match &removal {
            Removal::TimedOut => Actor::Scheduler,
            Removal::Replaced | Removal::Left => Actor::Agent(name.clone()),
            Removal::ByOperator(principal) => Actor::Operator(principal.clone()),
        };
        self.audit(who, format_args!("remove agent {name} ({id}): {why}"), None);
        match removal {
            // It may come back: it took nothing with it.
            Removal::Left => {}
            Removal::TimedOut | Removal::Replaced | Removal::ByOperator(_) => {
                self.remember_removed_agent(RemovedAgent {
                    id,
                    name: name.clone(),
                    at: self.now.unix,
                    why: why.clone(),
                });
            }
        }
        self.send_off(&agent, &removal, &why);
        let frameworks: Vec<FrameworkId> = self.frameworks.by_id.keys().copied().collect();
        for framework in frameworks {
            let event = FrameworkEvent::AgentLost {
                id,
                name: name.clone(),
                reason: why.clone(),
            };
            self.tell_framework(framework, event);
        }
    }

    fn end_tasks_of(&mut self, id: AgentId, reason: Reason, why: &Note) {
        let Some(agent) = self.agents.by_id.get(&id) else {
            return;
        };
        let tasks: Vec<TaskKey> = agent.tasks.iter().cloned().collect();
        for key in tasks {
            let Some(task) = self.tasks.get(&key) else {
                continue;
            };
            if task.is_alive() {
                self.end_task(&key, TaskState::Lost, reason, why.clone());
            } else if task.status.state.is_terminal() {
                // Its framework was told, and who asks is told again.
                self.finish_task(&key, None);
            } else {
                // It had ended, and the update that says so is lost with the agent.
                self.end_task(&key, task.latest, reason, why.clone());
            }
        }
    }

    /// Tells a removed agent that is connected to end what it runs, and closes its session.
    fn send_off(&mut self, agent: &Agent, removal: &Removal, why: &Note) {
        let Some(session) = agent.session() else {
            return;
        };
        match removal {
            Removal::Left => {}
            Removal::TimedOut | Removal::Replaced | Removal::ByOperator(_) => {
                let failure = Failure::new(
                    ErrorCode::AgentRemoved,
                    format_args!("agent {} was removed: {why}", agent.info.name),
                    "end what it runs, forget its id, and register as a new agent",
                );
                let event = AgentEvent::Shutdown(failure);
                self.send(session, super::outbox::Message::Agent(event));
            }
        }
        self.close(session);
    }

    fn remember_removed_agent(&mut self, removed: RemovedAgent) {
        self.put(Row::RemovedAgent(removed.clone()));
        let most = self.settings.bounds.removed_agents;
        if let Some(forgotten) = self.agents.remember(removed, most) {
            self.drop_row(RowKey::RemovedAgent(forgotten));
        }
    }
}
