//! The state machine: its state, what it is built from, and the way in and out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use weir_protocol::{
    AgentEvent, AgentId, AgentName, ApplyOutcome, BootId, Estimate, Failure, Launch, Line, Millis,
    OperationKey, PortBlocks, ResourceSet, SetVersion, TaskKey, TaskStatus,
};
use weir_resources::{
    AddError, Attributes, CheckpointError, ResourceOperation, Resources, Shortfall,
};

use super::figures::Figures;
use super::input::{ContainerState, Input, Now};
use super::journal::{Connection, Journal};
use super::output::Output;
use super::remembered::Remembered;
use super::task::{Task, regular_part};
use crate::container::ContainerId;
use crate::estimate::NodeUse;
use crate::store::{ANSWERS_MAX, BegunChange, FINISHED_MAX, SessionStored};

/// How long a registration waits for the first estimate: estimators look at the node and no further, and one
/// that hangs must not keep the agent away.
const ESTIMATE_PATIENCE: Duration = Duration::from_secs(5);

/// What the agent is, as it was configured and found when it started.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The node's name in the network.
    pub hostname: Line,
    /// The node's addresses.
    pub addresses: Arc<[IpAddr]>,
    /// What else there is to know about the node.
    pub attributes: Attributes,
    /// All that the node has before any operation: unreserved and statically reserved.
    pub resources: Resources,
    /// What the kernel calls this boot.
    pub boot: BootId,
    /// How long an estimate holds.
    pub estimate_ttl: Millis,
}

/// Says why what was kept does not fit what the agent is configured to have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Reservations or volumes that have no place any more.
    #[error("the node's reservations and volumes do not fit what [resources] lends")]
    Set(#[source] CheckpointError),
    /// Tasks that run and hold what the agent no longer has.
    #[error("what tasks on this node hold does not fit what [resources] lends")]
    Tasks(#[source] Shortfall),
    /// Tasks that cannot all hold what they hold.
    #[error("two tasks on this node hold the same")]
    TasksTwice(#[source] AddError),
}

impl RestoreError {
    /// Returns what the operator can do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Set(error) => error.remedy().to_owned(),
            Self::Tasks(_) => {
                "let [resources] lend at least that much until `weir drain` has ended \
                               the tasks"
                    .to_owned()
            }
            Self::TasksTwice(_) => {
                "the database is not what this agent writes: restore it".to_owned()
            }
        }
    }
}

/// The agent's side of the conversation, without I/O.
#[derive(Debug)]
pub struct AgentSession {
    pub(super) profile: Profile,
    /// What the scheduler calls the agent.
    pub(super) agent: Option<AgentId>,
    pub(super) link: Link,
    pub(super) connection: Connection,
    pub(super) duty: Duty,
    /// All that the node has, with its reservations and volumes.
    pub(super) total: Resources,
    /// Of the reservations and volumes.
    pub(super) version: SetVersion,
    /// A change whose directories are being made or taken away.
    pub(super) begun: Option<BegunChange>,
    /// A connection on which to register as this, once nothing is left that a registration waits for.
    pub(super) arrived: Option<AgentName>,
    /// Until when the first estimate is waited for, if it has not come.
    pub(super) unestimated_until: Option<Duration>,
    /// What came while that was so, and builds on it.
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) answers: Remembered<OperationKey, ApplyOutcome>,
    pub(super) tasks: BTreeMap<TaskKey, Task>,
    pub(super) containers: BTreeMap<ContainerId, TaskKey>,
    pub(super) finished: Remembered<TaskKey, TaskStatus>,
    /// When updates are sent again.
    pub(super) deliveries: BTreeSet<(Duration, TaskKey)>,
    pub(super) estimate: Option<Lent>,
    pub(super) port_blocks: PortBlocks,
    pub(super) journal: Journal,
    pub(super) figures: Figures,
}

/// How the scheduler can be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Not at all.
    Down,
    /// A registration is on its way.
    Registering,
    /// It knows the agent: updates are sent.
    Registered,
}

/// What the agent is there for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// It takes tasks.
    Serving,
    /// It takes none, and leaves when it has none.
    Draining,
    /// It has left.
    Left,
    /// It was removed: when nothing of its tasks is left it begins as a new agent.
    Removed(Failure),
}

/// Something that waits for a change to be finished.
#[derive(Debug)]
pub(super) enum Waiting {
    Apply {
        operation: OperationKey,
        base: SetVersion,
        change: ResourceOperation,
    },
    Launch(Box<Launch>),
}

/// What was said to be lent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lent {
    pub(super) estimate: Estimate,
    /// When it was said.
    pub(super) at: Duration,
}

impl Lent {
    /// Returns what is left of it: what was lent for so long is lent no longer for being said again.
    pub(super) fn rest(&self, now: Duration) -> Option<Estimate> {
        let ttl = Duration::from(self.estimate.ttl());
        let rest = self.at.saturating_add(ttl).checked_sub(now)?;
        let rest = Millis(u64::try_from(rest.as_millis()).unwrap_or(u64::MAX));
        // None if nothing is left.
        let resources = self.estimate.resources().clone();
        Estimate::new(self.estimate.version(), rest, resources).ok()
    }
}

/// What every step is taken with.
pub(super) struct Circumstances<'a> {
    pub(super) now: Now,
    pub(super) random: &'a mut dyn FnMut() -> u128,
}

impl Circumstances<'_> {
    pub(super) fn random(&mut self) -> u128 {
        (self.random)()
    }
}

impl AgentSession {
    /// Goes on from what was kept.
    ///
    /// `containers` are all that were made for tasks; one that is not among them is not there.
    pub fn restore(
        profile: Profile,
        stored: SessionStored,
        containers: &BTreeMap<ContainerId, ContainerState>,
        now: Now,
        random: &mut dyn FnMut() -> u128,
    ) -> Result<Self, RestoreError> {
        let SessionStored {
            agent,
            set,
            begun,
            answers,
            tasks,
            finished,
        } = stored;
        let total = profile
            .resources
            .with_checkpoint(set.resources())
            .map_err(RestoreError::Set)?;
        let tasks: BTreeMap<_, _> = tasks
            .into_iter()
            .map(|row| (row.key(), Task::new(row)))
            .collect();
        let by_container = tasks.iter().filter_map(|(key, task)| {
            let container = task.progress.phase.container()?;
            Some((container.clone(), key.clone()))
        });
        let mut session = Self {
            profile,
            agent,
            link: Link::Down,
            connection: Connection::default(),
            duty: Duty::Serving,
            total,
            version: set.version(),
            begun,
            arrived: None,
            unestimated_until: Some(now.since_boot.saturating_add(ESTIMATE_PATIENCE)),
            waiting: VecDeque::new(),
            answers: Remembered::new(ANSWERS_MAX, answers),
            containers: by_container.collect(),
            tasks,
            finished: Remembered::new(FINISHED_MAX, finished),
            deliveries: BTreeSet::new(),
            estimate: None,
            port_blocks: PortBlocks::default(),
            journal: Journal::default(),
            figures: Figures::default(),
        };
        let mut circumstances = Circumstances { now, random };
        match &session.begun {
            Some(_) => session.order_begun(),
            // A crash may have come between the last answer and the deletion.
            None => session.journal.effect(Output::Sweep),
        }
        for container in session.containers.keys().cloned().collect::<Vec<_>>() {
            let state = containers
                .get(&container)
                .cloned()
                .unwrap_or(ContainerState::Absent);
            session.handle_container(&container, state, &mut circumstances);
        }
        for (container, state) in containers {
            if !session.containers.contains_key(container) {
                session.handle_stray(container, state);
            }
        }
        // Only now: what has ended in the meantime holds nothing.
        let used = session.used().map_err(RestoreError::TasksTwice)?;
        session
            .total
            .check_contains(&used)
            .map_err(RestoreError::Tasks)?;
        session.journal.flush();
        Ok(session)
    }

    /// Does away with a container that no task has.
    fn handle_stray(&mut self, container: &ContainerId, state: &ContainerState) {
        let container = container.clone();
        self.journal.effect(match state {
            // It was seen to end, and to be released by an agent that did not live to do it.
            ContainerState::Ended { .. } | ContainerState::Absent => Output::Release { container },
            // Every container is on record before it is made: somebody has lost that record.
            ContainerState::Changing | ContainerState::Running { .. } => Output::Kill {
                container,
                grace: None,
            },
        });
    }

    /// Takes note of something that has happened.
    ///
    /// `random` gives bits for new ids; none may come twice.
    pub fn handle(&mut self, input: Input, now: Now, random: &mut dyn FnMut() -> u128) {
        let mut circumstances = Circumstances { now, random };
        match input {
            Input::Connected { name } => self.handle_connected(name, &circumstances),
            Input::Disconnected => self.handle_disconnected(),
            Input::Heard(event) => self.handle_event(event, &mut circumstances),
            Input::Written(id) => self.journal.handle_written(id),
            Input::WriteFailed(id) => {
                self.figures.writes_refused += 1;
                self.journal.handle_refused(id, now.since_boot);
            }
            Input::Container { id, state } => {
                self.handle_container(&id, state, &mut circumstances);
            }
            Input::NotLaunched { id, failure } => {
                self.handle_not_launched(&id, failure, &mut circumstances);
            }
            Input::VolumesDone { operation, result } => {
                self.handle_volumes_done(&operation, result, &mut circumstances);
            }
            Input::Estimated(resources) => self.handle_estimated(resources, &circumstances),
            Input::PortBlocksCounted { free, held } => {
                self.handle_port_blocks(free, held, &circumstances);
            }
            Input::Tick => {}
        }
        self.journal.handle_time(now.since_boot);
        self.register_arrived(&circumstances);
        self.repeat_updates(&circumstances);
        self.settle_duty();
        self.journal.flush();
    }

    fn handle_event(&mut self, event: AgentEvent, circumstances: &mut Circumstances<'_>) {
        if self.link == Link::Down {
            // From a connection that is over: the scheduler says it again on the next.
            return;
        }
        match event {
            AgentEvent::Registered { id, scheduler } => {
                self.handle_registered(id, &scheduler, circumstances);
            }
            AgentEvent::RegistrationRefused(failure) => self.handle_refused(failure, circumstances),
            AgentEvent::Apply {
                operation,
                base,
                change,
            } => self.handle_apply(operation, base, change),
            AgentEvent::Launch(launch) => self.handle_launch(launch, circumstances),
            AgentEvent::Kill {
                task,
                grace,
                reason,
            } => self.handle_kill(&task, grace, reason, circumstances),
            AgentEvent::Acknowledge { task, update } => {
                self.handle_acknowledge(&task, update, circumstances);
            }
            AgentEvent::Reconcile(tasks) => {
                for task in tasks {
                    self.answer_where(&task, circumstances);
                }
            }
            AgentEvent::Revoke { task, why } => self.handle_revoke(&task, why, circumstances),
            AgentEvent::Drain { grace_max } => self.handle_drain(grace_max, circumstances),
            AgentEvent::Shutdown(failure) => self.handle_removed(failure, circumstances),
            AgentEvent::Error(error) => {
                self.figures.calls_refused += 1;
                tracing::warn!(reason = %error.failure.reason, remedy = %error.failure.remedy,
                    "the scheduler refused a call");
            }
        }
    }

    /// Returns the next thing to be done, or `None` until something happens.
    pub fn poll_output(&mut self) -> Option<Output> {
        let connection = (self.link != Link::Down).then_some(self.connection);
        self.journal.poll(connection)
    }

    /// Returns when [`Input::Tick`] is due if nothing else happens, on the clock since boot.
    pub fn deadline(&self) -> Option<Duration> {
        let repeat = self.deliveries.first().map(|(at, _)| *at);
        let arrived = self.arrived.as_ref();
        let estimate = arrived.and(self.unestimated_until);
        [repeat, estimate, self.journal.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Returns whether the scheduler is to be connected to.
    ///
    /// An agent that has left stays away until it is started again; one that was removed comes back
    /// when nothing of its tasks is left.
    pub fn wants_connection(&self) -> bool {
        match &self.duty {
            Duty::Serving | Duty::Draining => true,
            Duty::Left | Duty::Removed(_) => false,
        }
    }

    /// Returns whether all that was decided is durable.
    pub fn is_durable(&self) -> bool {
        self.journal.is_durable()
    }

    /// Returns the reservations and volumes, with their version.
    pub fn set(&self) -> ResourceSet {
        ResourceSet::new(self.version, self.total.checkpointed())
            .expect("what is checkpointed is what a set may hold")
    }

    /// Returns what the session has counted.
    pub fn figures(&self) -> Figures {
        let thousandths = |name| {
            let lent = self.estimate.as_ref();
            lent.map_or(0, |lent| {
                lent.estimate.resources().amount(name).thousandths()
            })
        };
        Figures {
            is_connected: self.link != Link::Down,
            is_registered: self.link == Link::Registered,
            tasks_live: count(self.tasks.values().filter(|task| task.is_live()).count()),
            updates_unacknowledged: count(self.tasks.values().map(|task| task.updates.len()).sum()),
            set_version: self.version.0,
            estimate_cpus_thousandths: thousandths("cpus"),
            estimate_mem_thousandths: thousandths("mem"),
            ..self.figures
        }
    }

    /// Returns what an estimator may want to know.
    pub fn node_use(&self) -> NodeUse {
        let live = self.tasks.values().filter(|task| task.is_live());
        let parts: Vec<Resources> = live
            .map(|task| task.launch.task.resources.clone())
            .collect();
        NodeUse {
            total: self.total.clone(),
            // Two tasks that hold the same were refused when they came.
            held: Resources::sum(&parts).unwrap_or_default(),
        }
    }

    /// Returns what the live tasks hold of the node's own, or which two hold the same.
    pub(super) fn used(&self) -> Result<Resources, AddError> {
        let parts: Vec<Resources> = self
            .tasks
            .values()
            .filter(|task| task.is_live())
            .map(|task| regular_part(&task.launch.task.resources))
            .collect();
        Resources::sum(&parts)
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
