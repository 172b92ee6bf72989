//! Tasks, as the ledger knows them.

use std::collections::{BTreeMap, VecDeque};

use weir_protocol::operator::TaskEntry;
use weir_protocol::{
    AgentId, Launch, NetworkMode, OperationKey, TaskId, TaskKey, TaskOwner, TaskState, TaskStatus,
    UpdateId,
};
use weir_resources::{Labels, Resources};

use super::record::{KillOrder, LearnedTask, TaskRow, TaskWhat};

/// A task of a framework that has not ended, from its LAUNCH until its end is acknowledged.
#[derive(Clone, Debug)]
pub(super) struct Task {
    /// Tasks of later launches have higher numbers.
    pub(super) number: u64,
    pub(super) owner: TaskOwner,
    pub(super) agent: AgentId,
    pub(super) operation: OperationKey,
    pub(super) what: What,
    pub(super) kill: Option<KillOrder>,
    /// Whether the agent was told that what the task holds is taken back.
    pub(super) revoked: Revoked,
    /// The last that was made of it, and said to its framework if that was there.
    pub(super) status: TaskStatus,
    /// The update that its framework is to acknowledge.
    pub(super) unacknowledged: Option<UpdateId>,
    /// The update that says how it ended, once it has come.
    pub(super) final_update: Option<UpdateId>,
    /// Where it is by now; updates before that may be on their way.
    pub(super) latest: TaskState,
}

/// What a task is, and whether its agent knows.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// The agent has not said anything of it yet, and may never have got it.
    Unconfirmed(Box<Launch>),
    /// The agent has it, with its description.
    Confirmed(Box<LearnedTask>),
}

/// Whether what a task holds is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Revoked {
    No,
    Yes,
}

/// A task that has ended, and whose end was acknowledged or needed no acknowledgement.
#[derive(Clone, Debug)]
pub(super) struct EndedTask {
    pub(super) entry: TaskEntry,
    /// The update with which it ended, if there was one.
    pub(super) update: Option<UpdateId>,
}

/// The last tasks that have ended, for those who ask.
#[derive(Clone, Debug, Default)]
pub(super) struct EndedTasks {
    pub(super) by_key: BTreeMap<TaskKey, EndedTask>,
    order: VecDeque<TaskKey>,
}

impl Task {
    pub(super) fn id(&self) -> &TaskId {
        match &self.what {
            What::Unconfirmed(launch) => &launch.task.id,
            What::Confirmed(learned) => &learned.id,
        }
    }

    pub(super) fn key(&self) -> TaskKey {
        TaskKey {
            framework: self.owner.framework,
            task: self.id().clone(),
        }
    }

    /// Returns what it holds, or held.
    pub(super) fn resources(&self) -> &Resources {
        match &self.what {
            What::Unconfirmed(launch) => &launch.task.resources,
            What::Confirmed(learned) => &learned.resources,
        }
    }

    pub(super) fn labels(&self) -> &Labels {
        match &self.what {
            What::Unconfirmed(launch) => &launch.task.labels,
            What::Confirmed(learned) => &learned.labels,
        }
    }

    pub(super) fn network(&self) -> NetworkMode {
        match &self.what {
            What::Unconfirmed(launch) => launch.task.network,
            What::Confirmed(learned) => learned.network,
        }
    }

    /// Returns whether it holds its resources.
    pub(super) const fn is_alive(&self) -> bool {
        !self.latest.is_terminal()
    }

    /// Notes that the agent has it: its description is no longer needed, and may be long.
    ///
    /// Returns whether that is new. Then it is to be written down: a ledger that has forgotten it would
    /// launch the task again, should the agent come back without it.
    #[must_use]
    pub(super) fn confirm(&mut self) -> bool {
        let is_new = matches!(self.what, What::Unconfirmed(_));
        if let What::Unconfirmed(launch) = &self.what {
            self.what = What::Confirmed(Box::new(LearnedTask {
                id: launch.task.id.clone(),
                name: launch.task.name.clone(),
                resources: launch.task.resources.clone(),
                network: launch.task.network,
                labels: launch.task.labels.clone(),
            }));
        }
        is_new
    }

    /// Returns the task as it is written down.
    ///
    /// Of one that is confirmed, the description is left out: nobody will need it again.
    pub(super) fn row(&self) -> TaskRow {
        TaskRow {
            number: self.number,
            owner: self.owner.clone(),
            agent: self.agent,
            operation: self.operation.clone(),
            what: match &self.what {
                What::Unconfirmed(launch) => TaskWhat::Launched(launch.task.clone()),
                What::Confirmed(learned) => TaskWhat::Learned((**learned).clone()),
            },
            kill: self.kill,
            ended: (!self.is_alive()).then_some(self.latest),
        }
    }
}

impl EndedTasks {
    /// Remembers a task, and forgets the earliest beyond so many.
    pub(super) fn remember(&mut self, key: TaskKey, ended: EndedTask, most: usize) {
        if self.by_key.insert(key.clone(), ended).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > most {
            let Some(earliest) = self.order.pop_front() else {
                return;
            };
            self.by_key.remove(&earliest);
        }
    }
}
