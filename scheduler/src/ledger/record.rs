//! What the ledger writes down, so that it survives the scheduler.
//!
//! Rows with keys: to put a row replaces the one of its key, and to do so twice changes nothing. What
//! is written is what no agent could give back: frameworks, agents and what is removed, tasks from
//! before their agent has them, operations and what came of them, weights, and who did what. Offers are
//! soft state: they end with the process.
//!
//! Whoever has the rows has everything: [`Ledger::recover`](super::Ledger::recover) takes them in any
//! order. [`Image`] is what a database does with records, in memory.

use std::collections::{BTreeMap, VecDeque};

use weir_protocol::{
    AgentId, AgentInfo, AgentName, BootId, Filters, FrameworkId, FrameworkInfo, Line, Millis,
    NetworkMode, Note, Operation, OperationKey, OperationOrigin, OperationOutcome, Reason,
    ResourceSet, TaskId, TaskKey, TaskOwner, TaskSpec, TaskState, UnixMs,
};
use weir_resources::{Labels, Principal, Resources, Role};

use crate::allocator::Weight;

/// A change of what is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// This row is there, instead of any other of its key.
    Put(Row),
    /// No row of this key is there, if one ever was.
    Drop(RowKey),
    /// Somebody did something. Nobody needs it to recover, and it is never changed.
    Audit(AuditEntry),
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// An agent.
    Agent(AgentRow),
    /// An agent that was removed and may not come back.
    RemovedAgent(RemovedAgent),
    /// A framework.
    Framework(FrameworkRow),
    /// A framework that has ended and may not come back.
    EndedFramework(EndedFramework),
    /// A task.
    Task(Box<TaskRow>),
    /// What is left to do of an ACCEPT or of an operator's change.
    Errand(ErrandRow),
    /// What came of an operation.
    Answer(AnswerRow),
    /// How much a role is due, as an operator has set it.
    Weight {
        /// The role.
        role: Role,
        /// Its weight.
        weight: Weight,
    },
}

/// What a row is found by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKey {
    /// Of an [`AgentRow`].
    Agent(AgentId),
    /// Of a [`RemovedAgent`].
    RemovedAgent(AgentId),
    /// Of a [`FrameworkRow`].
    Framework(FrameworkId),
    /// Of an [`EndedFramework`].
    EndedFramework(FrameworkId),
    /// Of a [`TaskRow`].
    Task(TaskKey),
    /// Of an [`ErrandRow`].
    Errand(ErrandNumber),
    /// Of an [`AnswerRow`].
    Answer(OperationKey),
    /// Of a weight.
    Weight(Role),
}

/// An agent as it last registered, with all that was applied to its set since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentRow {
    /// Its id.
    pub id: AgentId,
    /// What it said of its node.
    pub info: AgentInfo,
    /// Which boot of the node it was.
    pub boot: BootId,
    /// What it ran.
    pub software: Line,
    /// When it registered.
    pub registered: UnixMs,
    /// Its reservations and volumes.
    pub checkpointed: ResourceSet,
    /// How many blocks of ports it had in all when it registered.
    pub port_blocks: u32,
    /// Whether it takes anything new.
    pub standing: Standing,
}

/// Whether an agent takes anything new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Open,
    /// It does not: its tasks are to end, and then it leaves.
    Draining {
        /// The longest that a task has, or `None` for what each says.
        grace_max: Option<Millis>,
    },
}

/// An agent that was removed and may not come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedAgent {
    /// Its id.
    pub id: AgentId,
    /// Its name.
    pub name: AgentName,
    /// When it was removed.
    pub at: UnixMs,
    /// Why.
    pub why: Note,
}

/// A framework.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameworkRow {
    /// Its id.
    pub id: FrameworkId,
    /// What it said of itself.
    pub info: FrameworkInfo,
    /// The name in its certificate.
    pub principal: Principal,
    /// When it last subscribed.
    pub subscribed: UnixMs,
    /// What is known of its past.
    pub past: Past,
}

/// What is known of a framework's past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// All: it began with this ledger.
    Known,
    /// It came with an id that the ledger had not given or had lost. There may be tasks of it on agents
    /// that have not come yet.
    Unknown,
    /// It is known from its tasks only, since the ledger was lost.
    FromTasks,
}

/// A framework that has ended and may not come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedFramework {
    /// Its id.
    pub id: FrameworkId,
    /// What it said of itself.
    pub info: FrameworkInfo,
    /// The name in its certificate.
    pub principal: Principal,
    /// When it last subscribed.
    pub subscribed: UnixMs,
    /// When it ended.
    pub at: UnixMs,
    /// Why.
    pub why: Note,
}

/// A task, from before its agent has it until its framework has acknowledged its end.
///
/// Of its states only the last is in it, for what it held is given to others then; the rest is with the
/// agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRow {
    /// Tasks of later launches have higher numbers.
    pub number: u64,
    /// Whose it is.
    pub owner: TaskOwner,
    /// Where it is.
    pub agent: AgentId,
    /// The LAUNCH that it came by.
    pub operation: OperationKey,
    /// What it is.
    pub what: TaskWhat,
    /// Who wants it to end, if anybody does.
    pub kill: Option<KillOrder>,
    /// How it has ended, or `None` while it holds its resources.
    pub ended: Option<TaskState>,
}

/// What a task is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskWhat {
    /// Launched by this ledger: the whole description, for an agent that has never got it.
    Launched(TaskSpec),
    /// Learned from its agent, which has the description.
    Learned(LearnedTask),
}

/// What an agent tells of a task that the ledger did not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LearnedTask {
    /// What its framework calls it.
    pub id: TaskId,
    /// What people call it.
    pub name: Line,
    /// What it holds.
    pub resources: Resources,
    /// Whose network it sees.
    pub network: NetworkMode,
    /// What the framework wants to remember of it.
    pub labels: Labels,
}

/// Who wants a task to end, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KillOrder {
    /// How long it has, or `None` for what the task says.
    pub grace: Option<Millis>,
    /// What its last status is to say, or `None` when its framework asked for it.
    pub reason: Option<Reason>,
}

/// The number of an errand; later ones have higher numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrandNumber(pub u64);

/// What is left to do of an ACCEPT or of an operator's change, with what it is done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrandRow {
    /// Its number.
    pub number: ErrandNumber,
    /// When it last began to wait: on one agent, the one with the lowest is first.
    pub turn: u64,
    /// Who asked.
    pub origin: OperationOrigin,
    /// Where.
    pub agent: AgentId,
    /// What is taken out of offers, or out of what was free, and not used yet.
    pub pool: Resources,
    /// What is left to do, in order.
    pub steps: Vec<Step>,
    /// For what is left in the end.
    pub filters: Filters,
}

/// An operation of an errand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is to be done, without the tasks that were killed since it was asked for.
    pub operation: Operation,
    /// What it was when it was asked for.
    pub fingerprint: Fingerprint,
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerRow {
    /// The operation.
    pub key: OperationKey,
    /// Answers that came later have higher numbers.
    pub number: u64,
    /// What it was, for nobody to use its id for something else.
    pub fingerprint: Fingerprint,
    /// The answer; final.
    pub outcome: OperationOutcome,
}

/// What an operation was, in few bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u64);

/// Somebody did something, or was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at: UnixMs,
    /// Who.
    pub who: Actor,
    /// What, for people.
    pub what: Note,
    /// Why not, if it was refused or failed.
    pub refused: Option<Note>,
}

/// Who does something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A framework.
    Framework {
        /// Its id, if it has one or says so.
        id: Option<FrameworkId>,
        /// Its principal.
        principal: Principal,
    },
    /// An operator.
    Operator(Principal),
    /// An agent, by itself.
    Agent(AgentName),
    /// The scheduler, because a time was over.
    Scheduler,
}

impl Row {
    /// Returns what the row is found by.
    pub fn key(&self) -> RowKey {
        match self {
            Self::Agent(row) => RowKey::Agent(row.id),
            Self::RemovedAgent(row) => RowKey::RemovedAgent(row.id),
            Self::Framework(row) => RowKey::Framework(row.id),
            Self::EndedFramework(row) => RowKey::EndedFramework(row.id),
            Self::Task(row) => RowKey::Task(row.key()),
            Self::Errand(row) => RowKey::Errand(row.number),
            Self::Answer(row) => RowKey::Answer(row.key.clone()),
            Self::Weight { role, .. } => RowKey::Weight(role.clone()),
        }
    }
}

impl TaskRow {
    /// Returns the task's name in the whole cluster.
    pub fn key(&self) -> TaskKey {
        let task = match &self.what {
            TaskWhat::Launched(spec) => &spec.id,
            TaskWhat::Learned(learned) => &learned.id,
        };
        TaskKey {
            framework: self.owner.framework,
            task: task.clone(),
        }
    }
}

/// What is written down after so many records: what a database holds, in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    rows: BTreeMap<RowKey, Row>,
    audit: VecDeque<AuditEntry>,
}

impl Image {
    /// Does what a record says.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Put(row) => {
                self.rows.insert(row.key(), row.clone());
            }
            Record::Drop(key) => {
                self.rows.remove(key);
            }
            Record::Audit(entry) => self.audit.push_back(entry.clone()),
        }
    }

    /// Goes through the rows.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    /// Goes through who did what, in the order in which it was done.
    pub fn audit(&self) -> impl Iterator<Item = &AuditEntry> {
        self.audit.iter()
    }
}
