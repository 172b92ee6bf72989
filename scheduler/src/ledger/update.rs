//! Status updates, from the agent to the framework, and acknowledgements back.
//!
//! 1. An agent sends an update, and again until it is acknowledged. The ledger takes from it where the
//!    task is *by now*, and frees what the task held as soon as that is an end.
//! 2. It passes the update on, and remembers it: a framework that was away gets it when it is back.
//! 3. The framework acknowledges, and the ledger passes that on. With the acknowledgement of the last
//!    update the task is over: its row goes before the agent hears of it, so that a task which the agent
//!    has forgotten is never launched again.
//!
//! For a framework that leaves its tasks alone (`unattended`) the ledger acknowledges in its place while it
//! is away: else its tasks would never be over, and no agent that has them could leave.
//!
//! Updates that the ledger makes itself, and answers to RECONCILE, have no id and need no acknowledgement.

use weir_protocol::operator::TaskEntry;
use weir_protocol::{
    AgentEvent, AgentId, AgentName, ErrorCode, Failure, FrameworkEvent, FrameworkId, Note, Reason,
    Source, TaskId, TaskKey, TaskSpec, TaskState, TaskStatus, UpdateId, VolumeSizes,
};

use super::launch::Never;
use super::record::{Row, RowKey};
use super::state::Ledger;
use super::task::{EndedTask, Task, What};

impl Ledger {
    /// Returns a status that the ledger makes itself.
    pub(super) fn status(
        &self,
        task: &TaskId,
        state: TaskState,
        agent: Option<AgentId>,
        reason: Option<Reason>,
        message: Option<Note>,
    ) -> TaskStatus {
        TaskStatus {
            task: task.clone(),
            state,
            agent,
            source: Source::Scheduler,
            reason,
            message,
            timestamp: self.now.unix,
            update: None,
            exit: None,
        }
    }

    /// Takes an update of an agent, and passes it on.
    pub(super) fn handle_update(
        &mut self,
        agent: AgentId,
        framework: FrameworkId,
        status: TaskStatus,
        latest: TaskState,
    ) {
        let key = TaskKey {
            framework,
            task: status.task.clone(),
        };
        let on = self.agents.by_id.get(&agent);
        if on.is_some_and(|agent| agent.strays.contains_key(&key)) {
            if latest.is_terminal() {
                self.free_stray(agent, &key);
            }
            self.acknowledge_oneself(agent, key, status.update);
            return;
        }
        match self.tasks.get(&key) {
            Some(task) if task.agent == agent => self.take_update(key, status, latest),
            Some(_) | None => self.handle_unknown_update(agent, key, status, latest),
        }
    }

    fn take_update(&mut self, key: TaskKey, status: TaskStatus, latest: TaskState) {
        let is_new = self.tasks.get_mut(&key).is_some_and(Task::confirm);
        let status = self.noted(&key, status);
        let update = status.update;
        let is_over = status.state.is_terminal() && update.is_none();
        if latest.is_terminal() {
            let has_ended = self.stop_holding(&key, latest);
            if has_ended && !is_over {
                self.put_task(&key);
            }
        } else if is_new {
            self.put_task(&key);
        }
        let Some(task) = self.tasks.get_mut(&key) else {
            return;
        };
        if task.is_alive() {
            task.latest = latest;
        }
        let agent = task.agent;
        self.tell_framework(key.framework, FrameworkEvent::Update(status));
        if is_over {
            self.finish_task(&key, None);
        } else if let Some(update) = update
            && self.is_unattended(key.framework)
        {
            self.handle_acknowledge(key.framework, agent, key.task, update);
        }
    }

    /// Writes a status down as the last of a task, and returns it as its framework gets it.
    fn noted(&mut self, key: &TaskKey, mut status: TaskStatus) -> TaskStatus {
        if let Some(task) = self.tasks.get_mut(key) {
            status.agent = Some(task.agent);
            task.unacknowledged = status.update;
            if status.state.is_terminal() {
                task.final_update = status.update;
            }
            task.status = status.clone();
        }
        status
    }

    /// Takes an update of a task that is not in the books, or is in them elsewhere.
    fn handle_unknown_update(
        &mut self,
        agent: AgentId,
        key: TaskKey,
        mut status: TaskStatus,
        latest: TaskState,
    ) {
        let ended = self.ended_tasks.by_key.get(&key);
        let was_acknowledged =
            status.update.is_some() && ended.is_some_and(|ended| ended.update == status.update);
        let is_anyones = self.frameworks.by_id.contains_key(&key.framework);
        if was_acknowledged || (!is_anyones && latest.is_terminal()) {
            self.acknowledge_oneself(agent, key, status.update);
        } else if !latest.is_terminal() {
            // It has a task of which it has said nothing. What it has it says when it registers.
            let failure = Failure::new(
                ErrorCode::Conflict,
                format_args!("task {key} is {latest}, and was not named at registration"),
                "register again, and name all tasks",
            );
            self.send_away(agent, failure);
        } else if self.tasks.contains_key(&key) {
            // Another of its name runs elsewhere, for which its framework would take it.
            self.acknowledge_oneself(agent, key, status.update);
        } else if self.is_unattended(key.framework) {
            self.acknowledge_oneself(agent, key, status.update);
        } else {
            status.agent = Some(agent);
            self.tell_framework(key.framework, FrameworkEvent::Update(status));
        }
    }

    /// Acknowledges an update for which there is no framework to do so.
    pub(super) fn acknowledge_oneself(
        &mut self,
        agent: AgentId,
        task: TaskKey,
        update: Option<UpdateId>,
    ) {
        if let Some(update) = update {
            self.tell_agent(agent, AgentEvent::Acknowledge { task, update });
        }
    }

    /// Passes an acknowledgement on to the agent, which ignores it if it is late.
    pub(super) fn handle_acknowledge(
        &mut self,
        framework: FrameworkId,
        agent: AgentId,
        task: TaskId,
        update: UpdateId,
    ) {
        let key = TaskKey { framework, task };
        let mut is_final = false;
        if let Some(task) = self.tasks.get_mut(&key)
            && task.agent == agent
        {
            task.unacknowledged = task.unacknowledged.filter(|own| *own != update);
            is_final = task.final_update == Some(update);
        }
        if is_final {
            self.finish_task(&key, Some(update));
        }
        self.tell_agent(agent, AgentEvent::Acknowledge { task: key, update });
    }

    /// Tells a framework once more of all updates that it has not acknowledged.
    pub(super) fn repeat_updates(&mut self, framework: FrameworkId) {
        let Some(known) = self.frameworks.by_id.get(&framework) else {
            return;
        };
        let open = known.tasks.iter().filter_map(|task| {
            let key = TaskKey {
                framework,
                task: task.clone(),
            };
            let task = self.tasks.get(&key)?;
            task.unacknowledged.map(|_| task.status.clone())
        });
        let open: Vec<TaskStatus> = open.collect();
        for status in open {
            self.tell_framework(framework, FrameworkEvent::Update(status));
        }
    }

    /// Writes down what a task is by now.
    pub(super) fn put_task(&mut self, key: &TaskKey) {
        if let Some(row) = self.tasks.get(key).map(Task::row) {
            self.put(Row::Task(Box::new(row)));
        }
    }

    /// Frees what a task holds, for it has ended; returns whether it held it yet. Whoever says so writes
    /// it down.
    pub(super) fn stop_holding(&mut self, key: &TaskKey, latest: TaskState) -> bool {
        let Some(task) = self.tasks.get_mut(key) else {
            return false;
        };
        if !task.is_alive() {
            return false;
        }
        task.latest = latest;
        let agent = task.agent;
        self.allocator
            .recover(agent, key.framework, task.resources())
            .expect("what a task holds is held by its framework");
        self.settle_blocks(agent);
        true
    }

    /// Frees what a task holds that belongs to nobody: it has ended.
    fn free_stray(&mut self, agent: AgentId, key: &TaskKey) {
        let on = self.agents.by_id.get_mut(&agent);
        if let Some(stray) = on.and_then(|agent| agent.strays.remove(key)) {
            self.allocator
                .recover(agent, key.framework, &stray.resources)
                .expect("what a stray holds is held in the name of its framework");
            self.settle_blocks(agent);
        }
    }

    /// Takes a task out of the books that has ended, and of which all is said.
    pub(super) fn finish_task(&mut self, key: &TaskKey, update: Option<UpdateId>) {
        self.stop_holding(key, TaskState::Lost);
        let Some(task) = self.tasks.remove(key) else {
            return;
        };
        self.drop_row(RowKey::Task(key.clone()));
        if let Some(agent) = self.agents.by_id.get_mut(&task.agent) {
            agent.tasks.remove(key);
        }
        if let Some(framework) = self.frameworks.by_id.get_mut(&key.framework) {
            framework.tasks.remove(&key.task);
        }
        self.remember_ended_task(&task, update);
        self.hasten_end(key.framework, self.settings.framework_return);
    }

    /// Ends a task of which its agent will say nothing more, and tells its framework.
    pub(super) fn end_task(
        &mut self,
        key: &TaskKey,
        state: TaskState,
        reason: Reason,
        message: Note,
    ) {
        let Some(agent) = self.tasks.get(key).map(|task| task.agent) else {
            return;
        };
        let status = self.status(&key.task, state, Some(agent), Some(reason), Some(message));
        self.stop_holding(key, state);
        if let Some(task) = self.tasks.get_mut(key) {
            task.status = status.clone();
        }
        self.finish_task(key, None);
        self.tell_framework(key.framework, FrameworkEvent::Update(status));
    }

    /// Tells a framework of a task that was never launched and is in no book.
    pub(super) fn end_unlaunched(
        &mut self,
        framework: FrameworkId,
        agent: Option<AgentId>,
        task: &TaskSpec,
        never: Never,
        message: Note,
    ) {
        let status = self.status(
            &task.id,
            never.state,
            agent,
            Some(never.reason),
            Some(message),
        );
        let Some(known) = self.frameworks.by_id.get(&framework) else {
            return;
        };
        let entry = TaskEntry {
            owner: known.owner(),
            id: task.id.clone(),
            name: task.name.clone(),
            agent: agent.and_then(|agent| self.with_name(agent)),
            resources: task.resources.clone(),
            network: task.network,
            labels: task.labels.clone(),
            status: status.clone(),
            volume_sizes: agent.and_then(|agent| self.volume_sizes(agent)),
        };
        let key = TaskKey {
            framework,
            task: task.id.clone(),
        };
        let most = self.settings.bounds.ended_tasks;
        let update = None;
        self.ended_tasks
            .remember(key, EndedTask { entry, update }, most);
        self.tell_framework(framework, FrameworkEvent::Update(status));
    }

    /// Remembers a task that is taken out of the books, for those who ask.
    pub(super) fn remember_ended_task(&mut self, task: &Task, update: Option<UpdateId>) {
        let mut entry = self.task_entry(task);
        if !entry.status.state.is_terminal() {
            // Its framework has heard how it ended, from a ledger before this one.
            entry.status.state = task.latest;
        }
        let most = self.settings.bounds.ended_tasks;
        self.ended_tasks
            .remember(task.key(), EndedTask { entry, update }, most);
    }

    /// Returns a task as operators see it.
    pub(super) fn task_entry(&self, task: &Task) -> TaskEntry {
        let name = match &task.what {
            What::Unconfirmed(launch) => &launch.task.name,
            What::Confirmed(learned) => &learned.name,
        };
        TaskEntry {
            owner: task.owner.clone(),
            id: task.id().clone(),
            name: name.clone(),
            agent: self.with_name(task.agent),
            resources: task.resources().clone(),
            network: task.network(),
            labels: task.labels().clone(),
            status: task.status.clone(),
            volume_sizes: self.volume_sizes(task.agent),
        }
    }

    fn volume_sizes(&self, agent: AgentId) -> Option<VolumeSizes> {
        Some(self.agents.by_id.get(&agent)?.info.volume_sizes)
    }

    fn with_name(&self, agent: AgentId) -> Option<(AgentId, AgentName)> {
        let name = match self.agents.by_id.get(&agent) {
            Some(known) => &known.info.name,
            None => &self.agents.removed.get(&agent)?.name,
        };
        Some((agent, name.clone()))
    }
}
