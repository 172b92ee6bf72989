//! An agent that does what an agent must, in memory: what the ledger is tested against.

use std::collections::{BTreeMap, VecDeque};

use weir_protocol::{
    AgentCall, AgentEvent, AgentId, AgentInfo, AgentTask, ApplyOutcome, ErrorCode, Estimate,
    Failure, Launch, OperationKey, PortBlocks, Reason, Registration, ResourceSet, SetVersion,
    Source, TaskKey, TaskState, TaskStatus, UnixMs, UpdateId,
};
use weir_resources::{ResourceName, ResourceOperation, Resources};

use super::make;

/// A task as the node has it.
#[derive(Clone, Debug)]
pub(crate) struct NodeTask {
    launch: Launch,
    latest: TaskStatus,
    acknowledged: Option<TaskState>,
    /// Updates that are not acknowledged, the eldest first.
    updates: VecDeque<TaskStatus>,
}

/// An agent with all that survives it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) info: AgentInfo,
    pub(crate) id: Option<AgentId>,
    pub(crate) set: ResourceSet,
    pub(crate) blocks: PortBlocks,
    pub(crate) estimate: Option<Estimate>,
    pub(crate) tasks: BTreeMap<TaskKey, NodeTask>,
    answered: BTreeMap<OperationKey, ApplyOutcome>,
    /// How often each task was started.
    pub(crate) starts: BTreeMap<TaskKey, u32>,
    next_update: u128,
    pub(crate) draining: bool,
    /// Whether the next change is to fail, as on a full disk.
    pub(crate) fails_next: bool,
}

impl Node {
    pub(crate) fn new(name: &str, has: &Resources, number: u128) -> Self {
        Self {
            info: make::agent_info(name, has),
            id: None,
            set: ResourceSet::default(),
            blocks: make::blocks(0),
            estimate: None,
            tasks: BTreeMap::new(),
            answered: BTreeMap::new(),
            starts: BTreeMap::new(),
            next_update: number << 64,
            draining: false,
            fails_next: false,
        }
    }

    pub(crate) fn with_blocks(mut self, count: u32) -> Self {
        self.blocks = make::blocks(count);
        self
    }

    /// Returns all that it has.
    pub(crate) fn total(&self) -> Resources {
        let total = self.info.resources.with_checkpoint(self.set.resources());
        total.expect("its set fits what it is configured to have")
    }

    pub(crate) fn registration(&self) -> (Registration, Vec<AgentTask>) {
        let tasks: Vec<AgentTask> = self.tasks.values().map(NodeTask::named).collect();
        let registration = Registration {
            agent: self.info.clone(),
            boot: make::boot("b1"),
            id: self.id,
            checkpointed: self.set.clone(),
            port_blocks: self.blocks,
            estimate: self.estimate.clone(),
            tasks_total: u32::try_from(tasks.len()).expect("few tasks"),
        };
        (registration, tasks)
    }

    /// Does what it is told; returns what it says.
    pub(crate) fn handle(&mut self, event: AgentEvent) -> Vec<AgentCall> {
        match event {
            AgentEvent::Registered { id, .. } => {
                self.id = Some(id);
                self.open_updates()
            }
            AgentEvent::RegistrationRefused(failure) | AgentEvent::Shutdown(failure) => {
                if failure.code == ErrorCode::AgentRemoved {
                    self.begin_anew();
                }
                Vec::new()
            }
            AgentEvent::Apply {
                operation,
                base,
                change,
            } => {
                let outcome = self.apply(&operation, base, &change);
                vec![AgentCall::OperationStatus { operation, outcome }]
            }
            AgentEvent::Launch(launch) => self.launch(*launch),
            AgentEvent::Kill { task, reason, .. } => self
                .end(&task, TaskState::Killed, reason)
                .into_iter()
                .collect(),
            AgentEvent::Acknowledge { task, update } => {
                self.acknowledge(&task, update);
                let next = self.tasks.get(&task).and_then(NodeTask::eldest);
                next.into_iter().chain(self.leave_if_drained()).collect()
            }
            AgentEvent::Reconcile(_) | AgentEvent::Error(_) => Vec::new(),
            AgentEvent::Revoke { task, .. } => {
                let reason = Some(Reason::Revoked);
                self.end(&task, TaskState::Killed, reason)
                    .into_iter()
                    .collect()
            }
            AgentEvent::Drain { .. } => {
                self.draining = true;
                let reason = Some(Reason::AgentDraining);
                let keys: Vec<TaskKey> = self.tasks.keys().cloned().collect();
                let ends = keys.iter();
                let mut calls: Vec<AgentCall> = ends
                    .filter_map(|key| self.end(key, TaskState::Killed, reason))
                    .collect();
                calls.extend(self.leave_if_drained());
                calls
            }
        }
    }

    fn leave_if_drained(&self) -> Vec<AgentCall> {
        if self.draining && self.tasks.is_empty() {
            vec![AgentCall::Unregister]
        } else {
            Vec::new()
        }
    }

    /// Ends everything and forgets who it was; its volumes and reservations stay.
    pub(crate) fn begin_anew(&mut self) {
        self.tasks.clear();
        self.id = None;
        self.draining = false;
    }

    /// Returns the eldest update of every task.
    pub(crate) fn open_updates(&self) -> Vec<AgentCall> {
        let open = self.tasks.values();
        open.filter_map(NodeTask::eldest).collect()
    }

    fn apply(
        &mut self,
        operation: &OperationKey,
        base: SetVersion,
        change: &ResourceOperation,
    ) -> ApplyOutcome {
        if let Some(outcome) = self.answered.get(operation) {
            return outcome.clone();
        }
        let refused = |code, why: &str| ApplyOutcome::Failed(Failure::new(code, why, "try again"));
        let outcome = if std::mem::take(&mut self.fails_next) {
            refused(ErrorCode::AgentFailed, "the disk is full")
        } else if base != self.set.version() {
            refused(ErrorCode::StaleVersion, "another version")
        } else {
            match self.total().apply(change) {
                Err(error) => refused(ErrorCode::InvalidOperation, &error.to_string()),
                Ok(total) => {
                    let version = base.next();
                    self.set = ResourceSet::new(version, total.checkpointed()).expect("a set");
                    ApplyOutcome::Applied { version }
                }
            }
        };
        self.answered.insert(operation.clone(), outcome.clone());
        outcome
    }

    fn launch(&mut self, launch: Launch) -> Vec<AgentCall> {
        let key = launch.key();
        if self.tasks.contains_key(&key) {
            return Vec::new();
        }
        let regular = launch.task.resources.regular();
        let regular = regular.filter(|entry| *entry.name() != ResourceName::PORT_BLOCKS);
        let is_there = self.total().contains(&regular);
        let (state, reason) = if is_there {
            *self.starts.entry(key.clone()).or_default() += 1;
            (TaskState::Running, None)
        } else {
            (TaskState::Lost, Some(Reason::ResourcesUnknown))
        };
        let status = self.status(&key, state, reason);
        let task = NodeTask {
            launch,
            latest: status.clone(),
            acknowledged: None,
            updates: VecDeque::from([status]),
        };
        let call = task.eldest();
        self.tasks.insert(key, task);
        call.into_iter().collect()
    }

    fn status(&mut self, key: &TaskKey, state: TaskState, reason: Option<Reason>) -> TaskStatus {
        self.next_update += 1;
        TaskStatus {
            task: key.task.clone(),
            state,
            agent: self.id,
            source: Source::Executor,
            reason,
            message: None,
            timestamp: UnixMs(0),
            update: Some(UpdateId::from_bits(self.next_update)),
            exit: None,
        }
    }

    /// Brings a task to its end; returns what is to be said now.
    pub(crate) fn end(
        &mut self,
        key: &TaskKey,
        state: TaskState,
        reason: Option<Reason>,
    ) -> Option<AgentCall> {
        let task = self.tasks.get(key)?;
        if task.latest.state.is_terminal() {
            return None;
        }
        let status = self.status(key, state, reason);
        let task = self.tasks.get_mut(key)?;
        task.latest = status.clone();
        task.updates.push_back(status);
        // An update before it may wait; where the task is by now goes with that.
        task.eldest()
    }

    fn acknowledge(&mut self, key: &TaskKey, update: UpdateId) {
        let Some(task) = self.tasks.get_mut(key) else {
            return;
        };
        let is_eldest = task
            .updates
            .front()
            .is_some_and(|own| own.update == Some(update));
        if !is_eldest {
            return;
        }
        task.acknowledged = task.updates.pop_front().map(|status| status.state);
        if task.updates.is_empty() && task.latest.state.is_terminal() {
            self.tasks.remove(key);
        }
    }

    pub(crate) fn alive(&self) -> impl Iterator<Item = &TaskKey> {
        let alive = |task: &NodeTask| !task.latest.state.is_terminal();
        self.tasks
            .iter()
            .filter(move |(_, task)| alive(task))
            .map(|(key, _)| key)
    }
}

impl NodeTask {
    fn named(&self) -> AgentTask {
        AgentTask {
            owner: self.launch.owner.clone(),
            id: self.launch.task.id.clone(),
            name: self.launch.task.name.clone(),
            resources: self.launch.task.resources.clone(),
            network: self.launch.task.network,
            labels: self.launch.task.labels.clone(),
            status: self.latest.clone(),
            acknowledged: self.acknowledged,
            operation: self.launch.operation.clone(),
        }
    }

    fn eldest(&self) -> Option<AgentCall> {
        self.updates.front().map(|status| AgentCall::StatusUpdate {
            framework: self.launch.owner.framework,
            status: status.clone(),
            latest: self.latest.state,
        })
    }
}
