//! KILL, SUPPRESS and REVIVE.

use weir_protocol::{
    Action, AgentEvent, AgentId, FrameworkEvent, FrameworkId, Millis, Note, Reason, TaskId,
    TaskKey, TaskQuery, TaskState,
};

use super::framework::{FrameworkPresence, Wants};
use super::launch::Never;
use super::record::KillOrder;
use super::state::Ledger;

/// What becomes of a task that is killed before it was launched.
pub(super) const KILLED_BEFORE: Never = Never {
    state: TaskState::Killed,
    reason: Reason::TaskKilledDuringLaunch,
};

impl Ledger {
    /// Has a task end, whatever has become of it; of one that is not known its framework is told what
    /// RECONCILE would say.
    pub(super) fn handle_kill(
        &mut self,
        framework: FrameworkId,
        task: TaskId,
        agent: Option<AgentId>,
        grace: Option<Millis>,
    ) {
        let key = TaskKey {
            framework,
            task: task.clone(),
        };
        let order = KillOrder {
            grace,
            reason: None,
        };
        if !self.kill(&key, order) {
            let query = TaskQuery { task, agent };
            if let Some(status) = self.reconciled(framework, &query) {
                self.tell_framework(framework, FrameworkEvent::Update(status));
            }
        }
    }

    /// Has a task end. Returns whether there is one that has not.
    ///
    /// It is written down: an agent that is away is told when it is back, also after a restart of the
    /// scheduler.
    pub(super) fn kill(&mut self, key: &TaskKey, order: KillOrder) -> bool {
        if self.kill_waiting(key) {
            return true;
        }
        let Some(task) = self.tasks.get_mut(key).filter(|task| task.is_alive()) else {
            return false;
        };
        let agent = task.agent;
        if task.kill != Some(order) {
            task.kill = Some(order);
            self.put_task(key);
        }
        self.tell_kill(agent, key.clone(), order);
        true
    }

    pub(super) fn tell_kill(&mut self, agent: AgentId, task: TaskKey, order: KillOrder) {
        let KillOrder { grace, reason } = order;
        self.tell_agent(
            agent,
            AgentEvent::Kill {
                task,
                grace,
                reason,
            },
        );
    }

    /// Takes a task out of the errand that was to launch it.
    fn kill_waiting(&mut self, key: &TaskKey) -> bool {
        let Some(number) = self.errands.tasks.remove(key) else {
            return false;
        };
        let Some(errand) = self.errands.by_number.get_mut(&number) else {
            return false;
        };
        let agent = errand.agent;
        let mut killed = None;
        for step in &mut errand.steps {
            match &mut step.operation.action {
                Action::Change(_) => {}
                Action::Launch(tasks) => {
                    if let Some(index) = tasks.iter().position(|task| task.id == key.task) {
                        killed = Some(tasks.remove(index));
                        break;
                    }
                }
            }
        }
        self.put_errand(number);
        if let Some(task) = killed {
            let message = Note::cut("it was killed before it was launched");
            self.end_unlaunched(key.framework, Some(agent), &task, KILLED_BEFORE, message);
        }
        true
    }

    /// Offers a framework nothing until it wants something.
    pub(super) fn handle_suppress(&mut self, framework: FrameworkId) {
        self.set_wants(framework, Wants::Nothing);
        self.allocator
            .suppress(framework)
            .expect("the allocator has the frameworks of the ledger");
    }

    /// Offers a framework everything again, whatever it has refused.
    pub(super) fn handle_revive(&mut self, framework: FrameworkId) {
        self.set_wants(framework, Wants::Offers);
        self.allocator
            .revive(framework)
            .expect("the allocator has the frameworks of the ledger");
    }

    fn set_wants(&mut self, framework: FrameworkId, to: Wants) {
        if let Some(framework) = self.frameworks.by_id.get_mut(&framework)
            && let FrameworkPresence::Connected { wants, .. } = &mut framework.presence
        {
            *wants = to;
        }
    }
}
