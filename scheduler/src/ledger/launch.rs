//! LAUNCH: whether a task can be launched from a pool, and what it holds then.
//!
//! A task is written down before its agent hears of it, so it is neither lost nor launched twice: the
//! agent is told again until it says something of the task.

use std::collections::BTreeSet;

use weir_protocol::bounds::{
    ID_BYTES_MAX, NOTE_BYTES_MAX, NOTES_MAX as NOTES_PER_ANSWER_MAX, TASKS_PER_LAUNCH_MAX,
};
use weir_protocol::{
    AgentEvent, AgentName, ErrorCode, Launch, Line, NetworkMode, Note, OperationId,
    OperationOutcome, Oversize, Reason, TaskId, TaskKey, TaskSpec, TaskState, check_size,
};
use weir_resources::{
    Amount, Kind, Principal, Resource, ResourceName, ResourceParts, Resources, Role, Shortfall,
    Value,
};

use super::change::note_on_sizes;
use super::errand::Errand;
use super::policy::{Act, Caller};
use super::record::{Row, Standing};
use super::refusal::{Refusal, chain};
use super::state::Ledger;
use super::task::{Revoked, Task, What};

/// How many refused tasks are named in the answer to a LAUNCH; each has an update of its own.
const NOTES_MAX: usize = 16;

/// How many tasks whose id is in use are named in one note: the longest ids fit, and so do all the tasks
/// of a LAUNCH in the notes of its answer.
const IDS_PER_NOTE: usize = 30;

const _: () = assert!(
    IDS_PER_NOTE * (ID_BYTES_MAX + 4) + 64 <= NOTE_BYTES_MAX
        && 2 + NOTES_MAX + TASKS_PER_LAUNCH_MAX.div_ceil(IDS_PER_NOTE) <= NOTES_PER_ANSWER_MAX
);

/// What an isolated task holds of the agent's blocks of ports.
const ONE_BLOCK: Amount = Amount::from_thousandths(1000);

/// Says why a task is not launched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LaunchError {
    #[error("task id `{task}` is in use")]
    IdReused { task: TaskId },
    #[error("task `{task}` holds nothing")]
    Empty { task: TaskId },
    #[error("task `{task}` holds regular and revocable `{name}`")]
    Mixed { task: TaskId, name: ResourceName },
    #[error("{caller} may not {act}")]
    Unauthorized { caller: String, act: String },
    #[error(
        "task `{task}` holds {amount} of `port_blocks`, and in a network of its own it needs 1"
    )]
    PartOfBlock { task: TaskId, amount: Amount },
    #[error(
        "task `{task}` needs one of `port_blocks` for a network of its own, and what is accepted has none left"
    )]
    NoBlock { task: TaskId },
    #[error("task `{task}` holds more than what is accepted")]
    Insufficient {
        task: TaskId,
        #[source]
        source: Shortfall,
    },
    #[error("task `{task}` leaves too many pieces of what is accepted")]
    Ragged {
        task: TaskId,
        #[source]
        source: Oversize,
    },
    #[error("agent {agent} no longer has what task `{task}` holds")]
    NotThere {
        task: TaskId,
        agent: AgentName,
        #[source]
        source: Shortfall,
    },
    #[error("agent {agent} is being drained, so task `{task}` is not launched there")]
    Draining { task: TaskId, agent: AgentName },
}

impl LaunchError {
    /// Returns what becomes of the task, or `None` if its id is another's, whose framework would take it
    /// for that one's.
    fn never(&self) -> Option<Never> {
        let (state, reason) = match self {
            Self::IdReused { .. } => return None,
            Self::Unauthorized { .. } => (TaskState::Error, Reason::TaskUnauthorized),
            Self::Empty { .. }
            | Self::Mixed { .. }
            | Self::PartOfBlock { .. }
            | Self::NoBlock { .. }
            | Self::Insufficient { .. }
            | Self::Ragged { .. } => (TaskState::Error, Reason::TaskInvalid),
            Self::NotThere { .. } => (TaskState::Lost, Reason::ResourcesUnknown),
            Self::Draining { .. } => (TaskState::Lost, Reason::AgentDraining),
        };
        Some(Never { state, reason })
    }
}

impl Refusal for LaunchError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::IdReused { .. } => ErrorCode::TaskIdReused,
            Self::Empty { .. } | Self::Mixed { .. } | Self::PartOfBlock { .. } => {
                ErrorCode::TaskInvalid
            }
            Self::Unauthorized { .. } => ErrorCode::Unauthorized,
            Self::NoBlock { .. } | Self::Insufficient { .. } | Self::NotThere { .. } => {
                ErrorCode::InsufficientResources
            }
            Self::Ragged { .. } => ErrorCode::LimitReached,
            Self::Draining { .. } => ErrorCode::AgentDraining,
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::IdReused { .. } => "give each task an id of its own",
            Self::Empty { .. } => "name what it holds, out of the offers",
            Self::Mixed { .. } => "hold each resource as regular or as revocable, not as both",
            Self::Unauthorized { .. } => "run it as another user, or have the access rules changed",
            Self::PartOfBlock { .. } => "hold one whole block, or name none: it is added",
            Self::NoBlock { .. } => {
                "accept an offer with `port_blocks`, or run the task in the network of the node"
            }
            Self::Insufficient { .. } => {
                "hold what is in the accepted offers, less what others take"
            }
            Self::Ragged { .. } => "take numbers that follow one another, and whole sets",
            Self::NotThere { .. } => "wait for new offers of that agent",
            Self::Draining { .. } => "use an offer of another agent",
        }
    }
}

/// What becomes of a task that was never launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Never {
    pub(super) state: TaskState,
    pub(super) reason: Reason,
}

/// What a framework says of all its tasks.
#[derive(Clone, Copy, Debug)]
struct Terms<'a> {
    user: Option<&'a Line>,
}

/// A task that can be launched, and what is left of the pool.
#[derive(Clone, Debug)]
struct Launchable {
    task: TaskSpec,
    rest: Resources,
}

/// Returns the task as its agent gets it, if what it leaves can be offered again.
///
/// Pure.
fn plan(task: TaskSpec, pool: &Resources, terms: Terms<'_>) -> Result<Launchable, LaunchError> {
    let launchable = divide(task, pool, terms)?;
    match check_size(&launchable.rest) {
        Ok(()) => Ok(launchable),
        Err(source) => Err(LaunchError::Ragged {
            task: launchable.task.id,
            source,
        }),
    }
}

/// Returns the task with the user, and with the block of ports that it takes.
fn divide(task: TaskSpec, pool: &Resources, terms: Terms<'_>) -> Result<Launchable, LaunchError> {
    let mut task = task;
    if task.resources.is_empty() {
        return Err(LaunchError::Empty { task: task.id });
    }
    if let Some(name) = mixed(&task.resources) {
        let name = name.clone();
        return Err(LaunchError::Mixed {
            task: task.id,
            name,
        });
    }
    let rest = match pool.checked_sub(&task.resources) {
        Ok(rest) => rest,
        Err(source) => {
            return Err(LaunchError::Insufficient {
                task: task.id,
                source,
            });
        }
    };
    if task.command.user.is_none() {
        task.command.user = terms.user.cloned();
    }
    let held = task.resources.amount(ResourceName::PORT_BLOCKS.as_str());
    match task.network {
        NetworkMode::Host => Ok(Launchable { task, rest }),
        NetworkMode::Isolated if held >= ONE_BLOCK => Ok(Launchable { task, rest }),
        NetworkMode::Isolated if !held.is_zero() => Err(LaunchError::PartOfBlock {
            task: task.id,
            amount: held,
        }),
        NetworkMode::Isolated => match one_block(&task.resources, &rest) {
            None => Err(LaunchError::NoBlock { task: task.id }),
            Some(block) => {
                let block = Resources::from(block);
                let rest = rest.checked_sub(&block).expect("the block is of the rest");
                task.resources = task
                    .resources
                    .checked_add(&block)
                    .expect("both were in the pool");
                Ok(Launchable { task, rest })
            }
        },
    }
}

/// Returns a name of which both kinds are held.
fn mixed(resources: &Resources) -> Option<&ResourceName> {
    resources
        .as_slice()
        .windows(2)
        .find(|pair| pair[0].name() == pair[1].name() && pair[0].kind() != pair[1].kind())
        .map(|pair| pair[0].name())
}

/// Returns one block of the rest of a pool: of the kind of what else the task holds, if there is one.
fn one_block(held: &Resources, rest: &Resources) -> Option<Resource> {
    let kind = if held.iter().any(|entry| entry.kind() == Kind::Revocable) {
        Kind::Revocable
    } else {
        Kind::Regular
    };
    let blocks = rest.get(ResourceName::PORT_BLOCKS.as_str()).iter();
    let whole = blocks.filter(|entry| entry.amount().is_some_and(|amount| amount >= ONE_BLOCK));
    let block = whole.min_by_key(|entry| entry.kind() != kind)?;
    Resource::from_parts(ResourceParts {
        value: Value::Scalar(ONE_BLOCK),
        ..block.clone().into_parts()
    })
    .ok()
}

impl Ledger {
    /// Launches tasks from the pool of an errand, each that can be; returns what to answer.
    ///
    /// It is FINISHED if any of them is on its way, with a note on each that is not and one on volumes
    /// whose size is not enforced, and FAILED for the reason of the first if none is.
    pub(super) fn launch(
        &mut self,
        errand: &mut Errand,
        operation: &OperationId,
        tasks: Vec<TaskSpec>,
    ) -> OperationOutcome {
        let mut launched = 0_usize;
        let mut with_volumes = false;
        let mut refused: Vec<LaunchError> = Vec::new();
        let mut seen: BTreeSet<TaskId> = BTreeSet::new();
        for task in tasks {
            let is_new = seen.insert(task.id.clone());
            match self.launch_one(errand, operation, &task, is_new) {
                Ok(()) => {
                    launched += 1;
                    with_volumes |= !task.resources.volumes().is_empty();
                }
                Err(error) => {
                    if let Some(never) = error.never() {
                        let message = Note::cut(chain(&error));
                        self.tell_never(errand, &task, never, message);
                    }
                    refused.push(error);
                }
            }
        }
        match refused.first() {
            Some(first) if launched == 0 => OperationOutcome::Failed(first.failure()),
            Some(_) | None => {
                let agent = self.agents.by_id.get(&errand.agent);
                let on_sizes = agent.filter(|_| with_volumes).and_then(note_on_sizes);
                OperationOutcome::Finished {
                    notes: on_sizes.into_iter().chain(notes(&refused)).collect(),
                }
            }
        }
    }

    fn launch_one(
        &mut self,
        errand: &mut Errand,
        operation: &OperationId,
        task: &TaskSpec,
        is_new: bool,
    ) -> Result<(), LaunchError> {
        let (Some(id), Some(agent)) = (errand.framework(), self.agents.by_id.get(&errand.agent))
        else {
            // Operators launch nothing, and the errands of an agent go when it goes.
            return Err(LaunchError::Empty {
                task: task.id.clone(),
            });
        };
        let key = TaskKey {
            framework: id,
            task: task.id.clone(),
        };
        let reused = || LaunchError::IdReused {
            task: key.task.clone(),
        };
        if !is_new || self.tasks.contains_key(&key) || self.errands.tasks.contains_key(&key) {
            return Err(reused());
        }
        let framework = self.frameworks.by_id.get(&id).ok_or_else(reused)?;
        let terms = Terms {
            user: framework.info.user.as_ref(),
        };
        let user = task.command.user.as_ref().or(terms.user);
        self.judge_launch(&framework.principal, &framework.info.role, user)?;
        let Launchable { task, rest } = plan(task.clone(), &errand.pool, terms)?;
        match agent.standing {
            Standing::Open => {}
            Standing::Draining { .. } => {
                return Err(LaunchError::Draining {
                    task: task.id,
                    agent: agent.info.name.clone(),
                });
            }
        }
        if let Err(source) = agent.total.check_contains(&task.resources) {
            return Err(LaunchError::NotThere {
                task: task.id,
                agent: agent.info.name.clone(),
                source,
            });
        }
        errand.pool = rest;
        let launch = Launch {
            operation: errand.key(operation),
            owner: framework.owner(),
            task,
        };
        self.add_launched(errand, launch);
        Ok(())
    }

    fn judge_launch(
        &self,
        principal: &Principal,
        role: &Role,
        user: Option<&Line>,
    ) -> Result<(), LaunchError> {
        let caller = Caller::Framework(principal);
        let act = Act::Launch { role, user };
        self.judge(caller, act)
            .map_err(|_refused| LaunchError::Unauthorized {
                caller: caller.to_string(),
                act: act.to_string(),
            })
    }

    /// Writes a task down, and has its agent launch it.
    fn add_launched(&mut self, errand: &Errand, launch: Launch) {
        let key = launch.key();
        let status = self.status(
            &key.task,
            TaskState::Staging,
            Some(errand.agent),
            None,
            None,
        );
        let task = Task {
            number: self.next_number(),
            owner: launch.owner.clone(),
            agent: errand.agent,
            operation: launch.operation.clone(),
            what: What::Unconfirmed(Box::new(launch.clone())),
            kill: None,
            revoked: Revoked::No,
            status,
            unacknowledged: None,
            final_update: None,
            latest: TaskState::Staging,
        };
        self.put(Row::Task(Box::new(task.row())));
        self.add_task(key, task);
        self.tell_agent(errand.agent, AgentEvent::Launch(Box::new(launch)));
    }

    /// Puts a task into the books.
    pub(super) fn add_task(&mut self, key: TaskKey, task: Task) {
        if let Some(framework) = self.frameworks.by_id.get_mut(&key.framework) {
            framework.tasks.insert(key.task.clone());
        }
        if let Some(agent) = self.agents.by_id.get_mut(&task.agent) {
            agent.tasks.insert(key.clone());
        }
        self.tasks.insert(key, task);
    }

    /// Tells a framework that tasks of its errand were never launched.
    pub(super) fn never_launched(&mut self, errand: &Errand, tasks: &[TaskSpec], never: Never) {
        for task in tasks {
            let message = Note::cut("it was never launched");
            self.tell_never(errand, task, never, message);
        }
    }

    fn tell_never(&mut self, errand: &Errand, task: &TaskSpec, never: Never, message: Note) {
        if let Some(framework) = errand.framework() {
            self.end_unlaunched(framework, Some(errand.agent), task, never, message);
        }
    }
}

/// Returns why tasks were not launched: all that have no update of their own, for nothing else tells of
/// those, and the first of the others.
fn notes(refused: &[LaunchError]) -> Vec<Note> {
    let in_use = refused.iter().filter_map(|error| match error {
        LaunchError::IdReused { task } => Some(task),
        LaunchError::Empty { .. }
        | LaunchError::Mixed { .. }
        | LaunchError::Unauthorized { .. }
        | LaunchError::PartOfBlock { .. }
        | LaunchError::NoBlock { .. }
        | LaunchError::Insufficient { .. }
        | LaunchError::Ragged { .. }
        | LaunchError::NotThere { .. }
        | LaunchError::Draining { .. } => None,
    });
    let in_use: Vec<&TaskId> = in_use.collect();
    let told: Vec<&LaunchError> = refused
        .iter()
        .filter(|error| error.never().is_some())
        .collect();
    let named = told.iter().take(NOTES_MAX).map(|error| chain(*error));
    let more = told.len().saturating_sub(NOTES_MAX);
    let more =
        (more > 0).then(|| format!("{more} more tasks were not launched; each has an update"));
    let in_use = in_use.chunks(IDS_PER_NOTE).map(|ids| {
        let ids: Vec<String> = ids.iter().map(|id| format!("`{id}`")).collect();
        format!("not launched, as the id is in use: {}", ids.join(", "))
    });
    named.chain(more).chain(in_use).map(Note::cut).collect()
}
