//! The shell of the state machine: one task that feeds it what happens and does what it wants.
//!
//! It holds no opinions. Whatever takes time is a job, so that nothing of it is in the way of anything
//! else: one write, one order for volumes, one estimate and one count of blocks at a time, and any number
//! of launches and kills, which are bounded by the containers of a node.
//!
//! What containers do is seen by their listing, a level: whatever changes between two looks, the last
//! state is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use weir_protocol::{AgentCall, Millis, OperationKey, UnixMs};
use weir_resources::Resources;
use weir_transport::CredentialWatch;
use weir_transport::scrape::LateCredentials;

use super::connection::{self, ConnectionReport, Connections, Told, Wanted};
use super::figures::Figures;
use super::input::{ContainerState, Input, LaunchFailure};
use super::machine::{AgentSession, Profile, RestoreError};
use super::order;
use super::output::{Output, WriteId};
use super::sources::{Random, now};
use crate::config::{EstimateConfig, SchedulerConfig};
use crate::container::{
    BlockCount, ContainerError, ContainerHandle, ContainerId, ContainerView, Kill, Listing, State,
    blocking, chain,
};
use crate::estimate::{Estimator, estimator};
use crate::store::{SessionStored, StoreError, StoreHandle};
use crate::volume::{VolumeError, VolumeHandle, VolumePlaces};

/// The most calls that wait for the connection: what a full registration says, and every update once.
/// More is a scheduler that does not read; after a new connection all of it is said anew.
const OUTGOING_MAX: usize = 131_072;

/// How long a stop waits for the write that is under way.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How long after a failed kill it is tried again; doubled up to the longest.
const KILL_PAUSE_FIRST: Duration = Duration::from_secs(1);
const KILL_PAUSE_LONGEST: Duration = Duration::from_secs(30);

/// What the session is built from.
#[derive(Debug)]
pub struct SessionSettings {
    /// What the agent is.
    pub profile: Profile,
    /// `[scheduler]`.
    pub scheduler: SchedulerConfig,
    /// `[estimate]`.
    pub estimate: EstimateConfig,
    /// Where volumes are.
    pub places: VolumePlaces,
    /// What the agent shows and whom it believes.
    pub credentials: LateCredentials,
}

/// Says why the session did not begin.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was kept does not fit what is configured.
    #[error("the node cannot work for a scheduler; {}", .0.remedy())]
    Restore(#[source] RestoreError),
    /// The node gives no randomness or no time.
    #[error("cannot read {what}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// How the session stands, for metrics.
#[derive(Clone, Debug, Default)]
pub struct SessionReport {
    /// What the state machine has counted.
    pub figures: Figures,
    /// Attempts to connect.
    pub attempts: u64,
    /// Those that led to a conversation.
    pub welcomes: u64,
    /// What the agent shows and whom it believes, once that could be loaded.
    pub credentials: Option<CredentialWatch>,
}

/// Asks the session to do things.
#[derive(Clone, Debug)]
pub struct SessionHandle {
    stop: mpsc::Sender<oneshot::Sender<()>>,
    report: watch::Receiver<SessionReport>,
}

/// The task, to be waited for.
#[derive(Debug)]
pub struct SessionTask(JoinHandle<()>);

impl SessionHandle {
    /// Returns how the session stands, as it changes.
    pub fn report(&self) -> watch::Receiver<SessionReport> {
        self.report.clone()
    }

    /// Ends the session: what was decided becomes durable, tasks go on, the next agent continues.
    pub async fn stop(&self) {
        let (reply, stopped) = oneshot::channel();
        if self.stop.send(reply).await.is_ok() {
            // An error means that the task is gone, which is what was asked for.
            drop(stopped.await);
        }
    }
}

impl SessionTask {
    /// Goes on from what was kept, and starts the task.
    pub async fn spawn(
        settings: SessionSettings,
        store: StoreHandle,
        containers: ContainerHandle,
        volumes: VolumeHandle,
    ) -> Result<(SessionHandle, Self), SessionError> {
        let SessionSettings {
            profile,
            scheduler,
            estimate,
            places,
            credentials,
        } = settings;
        let stored = store.load_session().await?;
        let mut random = Random::open()?;
        let mut listing = containers.watch();
        let states = states_of(&listing.borrow_and_update());
        let session = restore(profile, stored, &states, &mut random)?;
        let (publish, report) = watch::channel(SessionReport::default());
        let (stop, stops) = mpsc::channel(1);
        let connections = connection::spawn(&scheduler, credentials);
        let handle = SessionHandle { stop, report };
        let shell = Shell {
            session,
            random,
            store,
            containers,
            volumes,
            places: Arc::new(places),
            listing,
            told: states,
            launching: BTreeSet::new(),
            jobs: JoinSet::new(),
            connections,
            calls: None,
            outgoing: VecDeque::new(),
            is_closing: false,
            estimator: Arc::new(Mutex::new(estimator(&estimate))),
            is_estimating: false,
            counting: Counting::Idle,
            publish,
        };
        let every = Duration::from_millis(estimate.interval_ms);
        let task = tokio::spawn(shell.run(every, stops));
        Ok((handle, Self(task)))
    }

    /// Waits until the task has ended: after a stop, or because of a bug.
    pub async fn ended(&mut self) {
        if let Err(error) = (&mut self.0).await {
            tracing::error!(%error, "the session task panicked");
        }
    }
}

fn restore(
    profile: Profile,
    stored: SessionStored,
    states: &BTreeMap<ContainerId, ContainerState>,
    random: &mut Random,
) -> Result<AgentSession, SessionError> {
    AgentSession::restore(profile, stored, states, now()?, &mut || random.bits())
        .map_err(SessionError::Restore)
}

/// A job that is done.
enum Done {
    Written {
        id: WriteId,
        result: Result<(), StoreError>,
    },
    Launched {
        id: ContainerId,
        result: Result<(), LaunchFailure>,
    },
    Volumes {
        operation: OperationKey,
        result: Result<(), VolumeError>,
    },
    Estimated(Option<Resources>),
    Counted(Option<BlockCount>),
    /// Something that nobody waits for.
    Other,
}

/// Whether blocks of ports are being counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counting {
    Idle,
    Busy,
    /// Something has changed since it was begun.
    BusyAndStale,
}

struct Shell {
    session: AgentSession,
    random: Random,
    store: StoreHandle,
    containers: ContainerHandle,
    volumes: VolumeHandle,
    places: Arc<VolumePlaces>,
    listing: watch::Receiver<Listing>,
    /// What the machine was last told of each container of a task.
    told: BTreeMap<ContainerId, ContainerState>,
    /// Those whose launch has not been answered.
    launching: BTreeSet<ContainerId>,
    jobs: JoinSet<Done>,
    connections: Connections,
    /// Where calls go, while there is a connection.
    calls: Option<mpsc::Sender<AgentCall>>,
    outgoing: VecDeque<AgentCall>,
    /// The connection is to be closed when all of that is sent.
    is_closing: bool,
    estimator: Arc<Mutex<Box<dyn Estimator>>>,
    is_estimating: bool,
    counting: Counting,
    publish: watch::Sender<SessionReport>,
}

impl Shell {
    async fn run(mut self, every: Duration, mut stops: mpsc::Receiver<oneshot::Sender<()>>) {
        let mut asking = interval(every);
        asking.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.count_blocks();
        let mut stop: Option<(oneshot::Sender<()>, Instant)> = None;
        loop {
            self.carry_out();
            self.settle_wishes(stop.is_some());
            if let Some((reply, deadline)) = stop.take() {
                if self.session.is_durable() || Instant::now() >= deadline {
                    // Whoever asked may have gone away.
                    reply.send(()).unwrap_or_default();
                    return;
                }
                stop = Some((reply, deadline));
            }
            let due = self.until_deadline();
            let ending = stop.as_ref().map(|(_, deadline)| *deadline);
            let calls = self.calls.clone();
            tokio::select! {
                Some(done) = self.jobs.join_next() => match done {
                    Ok(done) => self.handle_done(done),
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                changed = self.listing.changed() => match changed {
                    Ok(()) => self.look_at_containers(),
                    // The container task is gone, and the daemon with it.
                    Err(_gone) => return,
                },
                told = self.connections.told.recv(), if stop.is_none() => match told {
                    Some(told) => self.handle_told(told),
                    // Only a bug ends the connection task first.
                    None => return,
                },
                permit = reserve(calls.as_ref()), if !self.outgoing.is_empty() && calls.is_some() => {
                    match (permit, self.outgoing.pop_front()) {
                        (Some(permit), Some(call)) => permit.send(call),
                        // The connection is gone; that is told as well.
                        (None, _) | (_, None) => self.calls = None,
                    }
                }
                _ = asking.tick() => {
                    self.estimate();
                    self.count_blocks();
                }
                () = sleep(due.unwrap_or_default()), if due.is_some() => self.tell(Input::Tick),
                () = sleep_until(ending.unwrap_or_else(Instant::now)), if ending.is_some() => {}
                reply = stops.recv(), if stop.is_none() => match reply {
                    Some(reply) => {
                        self.calls = None;
                        self.tell(Input::Disconnected);
                        stop = Some((reply, Instant::now() + STOP_PATIENCE));
                    }
                    // Nobody can stop it any more: the daemon is ending otherwise.
                    None => return,
                },
            }
        }
    }

    /// Tells the machine something.
    fn tell(&mut self, input: Input) {
        let Ok(now) = now() else {
            // The clock was read when the task began, and is not taken away.
            return;
        };
        let random = &mut self.random;
        self.session.handle(input, now, &mut || random.bits());
    }

    /// Does what the machine wants.
    fn carry_out(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(call) => self.outgoing.push_back(call),
                Output::Write { id, changes } => {
                    let store = self.store.clone();
                    self.jobs.spawn(async move {
                        let result = store.change_session(changes).await;
                        Done::Written { id, result }
                    });
                }
                Output::Launch { container, launch } => {
                    let ordered = order::order(container.clone(), &launch, &self.places);
                    let containers = self.containers.clone();
                    self.launching.insert(container.clone());
                    self.jobs.spawn(async move {
                        let result = match ordered {
                            Ok(task) => match containers.launch_task(task).await {
                                Ok(_view) => Ok(()),
                                Err(error) => Err(order::failure(&error)),
                            },
                            Err(failure) => Err(failure),
                        };
                        Done::Launched {
                            id: container,
                            result,
                        }
                    });
                }
                Output::Kill { container, grace } => {
                    let containers = self.containers.clone();
                    self.jobs.spawn(async move {
                        kill(&containers, &container, grace).await;
                        Done::Other
                    });
                }
                Output::Release { container } => {
                    let containers = self.containers.clone();
                    self.jobs.spawn(async move {
                        containers.release(container).await;
                        Done::Other
                    });
                }
                Output::Volumes {
                    operation,
                    order,
                    volumes,
                } => {
                    let handle = self.volumes.clone();
                    self.jobs.spawn(async move {
                        let result = handle.carry_out(order, volumes).await;
                        Done::Volumes { operation, result }
                    });
                }
                Output::Sweep => {
                    let handle = self.volumes.clone();
                    self.jobs.spawn(async move {
                        handle.sweep().await;
                        Done::Other
                    });
                }
                Output::HangUp(why) => {
                    tracing::info!(?why, "closing the connection to the scheduler");
                    self.is_closing = true;
                }
            }
        }
        if self.outgoing.len() > OUTGOING_MAX {
            tracing::error!(
                calls = self.outgoing.len(),
                "the scheduler does not read; connecting again"
            );
            self.outgoing.clear();
            self.calls = None;
        }
        if self.is_closing && self.outgoing.is_empty() {
            self.is_closing = false;
            // All that was given is sent before the connection is closed.
            self.calls = None;
        }
    }

    /// Says what is wanted of the connection, and how the session stands.
    fn settle_wishes(&mut self, is_stopping: bool) {
        let figures = self.session.figures();
        let wanted = Wanted {
            is_wanted: self.session.wants_connection() && !is_stopping,
            is_registered: figures.is_registered,
        };
        self.connections.wanted.send_if_modified(|current| {
            let is_other = *current != wanted;
            *current = wanted;
            is_other
        });
        let ConnectionReport {
            attempts,
            welcomes,
            credentials,
        } = self.connections.report.borrow().clone();
        self.publish.send_replace(SessionReport {
            figures,
            attempts,
            welcomes,
            credentials,
        });
    }

    fn until_deadline(&self) -> Option<Duration> {
        let deadline = self.session.deadline()?;
        let now = now().ok()?.since_boot;
        Some(deadline.saturating_sub(now))
    }

    fn handle_told(&mut self, told: Told) {
        match told {
            Told::Up { name, calls } => {
                self.outgoing.clear();
                self.is_closing = false;
                self.calls = Some(calls);
                self.tell(Input::Connected { name });
            }
            Told::Heard(event) => self.tell(Input::Heard(*event)),
            Told::Down => {
                self.outgoing.clear();
                self.is_closing = false;
                self.calls = None;
                self.tell(Input::Disconnected);
            }
        }
    }

    fn handle_done(&mut self, done: Done) {
        match done {
            Done::Written { id, result: Ok(()) } => self.tell(Input::Written(id)),
            Done::Written {
                id,
                result: Err(error),
            } => {
                tracing::error!(error = %chain(&error), "what was decided is not durable yet");
                self.tell(Input::WriteFailed(id));
            }
            Done::Launched { id, result } => {
                self.launching.remove(&id);
                match result {
                    Ok(()) => self.look_at_containers(),
                    Err(failure) => self.tell(Input::NotLaunched { id, failure }),
                }
            }
            Done::Volumes { operation, result } => {
                let result = result.map_err(Into::into);
                self.tell(Input::VolumesDone { operation, result });
            }
            Done::Estimated(resources) => {
                self.is_estimating = false;
                if let Some(resources) = resources {
                    self.tell(Input::Estimated(resources));
                }
            }
            Done::Counted(count) => {
                let is_stale = self.counting == Counting::BusyAndStale;
                self.counting = Counting::Idle;
                if let Some(BlockCount { free, held }) = count {
                    self.tell(Input::PortBlocksCounted { free, held });
                }
                if is_stale {
                    self.count_blocks();
                }
            }
            Done::Other => {}
        }
    }

    /// Tells the machine of every container of a task whose state is another than it was told.
    fn look_at_containers(&mut self) {
        let listing = Listing::clone(&self.listing.borrow_and_update());
        for view in listing.iter().filter(|view| view.task.is_some()) {
            let state = match self.launching.contains(&view.id) {
                // Whether its program runs, or why not, is what the launch answers.
                true => ContainerState::Changing,
                false => state_of(view),
            };
            // What ends only while it is launched was told as that.
            if self.told.get(&view.id) != Some(&state) {
                self.told.insert(view.id.clone(), state.clone());
                let id = view.id.clone();
                self.tell(Input::Container { id, state });
            }
        }
        let there: BTreeSet<&ContainerId> = listing.iter().map(|view| &view.id).collect();
        self.told.retain(|id, _| there.contains(id));
        self.count_blocks();
    }

    fn estimate(&mut self) {
        if self.is_estimating {
            return;
        }
        self.is_estimating = true;
        let node = self.session.node_use();
        let estimator = Arc::clone(&self.estimator);
        self.jobs.spawn(async move {
            let estimated = blocking(move || {
                let mut estimator = estimator.lock().unwrap_or_else(PoisonError::into_inner);
                let name = estimator.name();
                estimator.estimate(&node).map_err(|error| (name, error))
            });
            match estimated.await {
                Ok(resources) => Done::Estimated(Some(resources)),
                Err((estimator, error)) => {
                    tracing::error!(estimator, error = %chain(&*error), "no estimate; the last one holds until it expires");
                    Done::Estimated(None)
                }
            }
        });
    }

    fn count_blocks(&mut self) {
        if self.counting != Counting::Idle {
            self.counting = Counting::BusyAndStale;
            return;
        }
        self.counting = Counting::Busy;
        let containers = self.containers.clone();
        self.jobs
            .spawn(async move { Done::Counted(containers.count_blocks().await) });
    }
}

/// Waits for room in the connection's queue; nothing if there is none any more.
async fn reserve(calls: Option<&mpsc::Sender<AgentCall>>) -> Option<mpsc::Permit<'_, AgentCall>> {
    calls?.reserve().await.ok()
}

/// Kills a container, for as long as it takes.
async fn kill(containers: &ContainerHandle, container: &ContainerId, grace: Option<Millis>) {
    let kill = match grace {
        Some(Millis(grace_ms)) => Kill::Within { grace_ms },
        None => Kill::Gracefully,
    };
    let mut pause = KILL_PAUSE_FIRST;
    loop {
        match containers.kill(container.to_string(), kill).await {
            Ok(()) => return,
            // It has ended, or never began: whichever it is, the machine is told.
            Err(ContainerError::Refused(_) | ContainerError::Gone) => return,
            Err(error @ ContainerError::Failed(_)) => {
                let pause_ms = pause.as_millis();
                tracing::error!(%container, error = %chain(&error), pause_ms, "a task cannot be killed");
                sleep(pause).await;
                pause = (pause * 2).min(KILL_PAUSE_LONGEST);
            }
        }
    }
}

fn states_of(listing: &Listing) -> BTreeMap<ContainerId, ContainerState> {
    let of_tasks = listing.iter().filter(|view| view.task.is_some());
    of_tasks
        .map(|view| (view.id.clone(), state_of(view)))
        .collect()
}

fn state_of(view: &ContainerView) -> ContainerState {
    match &view.state {
        State::Starting | State::Ending { .. } => ContainerState::Changing,
        State::Running { started_at, .. } => ContainerState::Running {
            started_at: UnixMs(started_at.0),
        },
        State::Ended {
            outcome, ended_at, ..
        } => ContainerState::Ended {
            outcome: outcome.clone(),
            ended_at: UnixMs(ended_at.0),
        },
    }
}
