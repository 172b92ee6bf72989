//! The task that owns what containers hold, and starts what takes time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use weir_executor::spawn::StartError;
use weir_resources::PortSet;

use super::adopt;
use super::cgroups::{CgroupTree, Enforcement};
use super::entry::{Entry, EntryState};
use super::error::{ContainerError, RecoveryError, Refusal, StepError};
use super::execute::{End, NewLimits, RanAs, Tools, blocking, chain, now};
use super::facilities::ContainerNetwork;
use super::handle::{ContainerHandle, Kill, QUEUE_MAX, Reply, Request};
use super::id::ContainerId;
use super::launch::{self, LaunchFailure, Launched};
use super::plan::{Books, Circumstances};
use super::spec::{Launch, PortsWanted};
use super::view::{ContainerView, Listing};
use crate::config::ContainerConfig;
use crate::ports::{Change, Pools};
use crate::store::{ContainerRow, Phase, StoreHandle};

/// How long a stop waits for launches and ends that are under way. What is not finished then is
/// finished by the next agent.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// What the container task is built from.
#[derive(Debug)]
pub struct Settings {
    /// `[container]`.
    pub config: ContainerConfig,
    /// Where cgroups are.
    pub cgroups: CgroupTree,
    /// `[agent] state_directory`.
    pub state_directory: PathBuf,
    /// The program `weir-executor`.
    pub executor: PathBuf,
    /// The ports that containers may own.
    pub pools: Pools,
    /// How long a freed port rests.
    pub quarantine: Duration,
}

/// The task, to be waited for.
#[derive(Debug)]
pub struct ContainerTask(JoinHandle<()>);

impl ContainerTask {
    /// Takes over what a former agent left, and starts the task.
    pub async fn spawn<N: ContainerNetwork>(
        settings: Settings,
        store: StoreHandle,
        network: Arc<N>,
    ) -> Result<(ContainerHandle, Self), RecoveryError> {
        let (requests, received) = mpsc::channel(QUEUE_MAX);
        let (published, listing) = watch::channel(Listing::default());
        let config = settings.config.clone();
        let owner = adopt::recover(settings, store, network, received, published).await?;
        let handle = ContainerHandle {
            requests,
            listing,
            config,
            out_of_memory: Arc::clone(&owner.out_of_memory),
        };
        Ok((handle, Self(tokio::spawn(owner.run()))))
    }

    /// Waits until the task has ended: after a stop, or because of a bug.
    pub async fn ended(&mut self) {
        if let Err(error) = (&mut self.0).await {
            tracing::error!(%error, "the container task panicked");
        }
    }
}

/// A job that is done.
pub(super) enum Done {
    Launched {
        id: ContainerId,
        result: Result<Launched, LaunchFailure>,
    },
    Updated {
        id: ContainerId,
        change: Change,
        result: Result<(), StepError>,
        reply: Reply<ContainerView>,
    },
    Limited {
        id: ContainerId,
        limits: Box<NewLimits>,
        result: Result<(), ContainerError>,
        reply: Reply<ContainerView>,
    },
    ExecutorGone {
        id: ContainerId,
    },
    Ended {
        id: ContainerId,
        end: End,
        ran: bool,
    },
    /// Something that nobody waits for.
    Cleaned,
}

/// The state of the task.
pub(super) struct Owner<N> {
    pub(super) tools: Arc<Tools<N>>,
    pub(super) books: Books,
    pub(super) quarantine: Duration,
    pub(super) entries: BTreeMap<ContainerId, Entry>,
    pub(super) jobs: JoinSet<Done>,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) published: watch::Sender<Listing>,
    pub(super) ends: u32,
    pub(super) out_of_memory: Arc<AtomicU64>,
}

impl<N: ContainerNetwork> Owner<N> {
    async fn run(mut self) {
        let mut stop: Option<(Vec<oneshot::Sender<()>>, Instant)> = None;
        loop {
            let deadline = stop.as_ref().map(|(_, deadline)| *deadline);
            let mut overdue = false;
            tokio::select! {
                request = self.requests.recv() => match request {
                    Some(Request::Stop { reply }) => {
                        let begun = || (Vec::new(), Instant::now() + STOP_PATIENCE);
                        stop.get_or_insert_with(begun).0.push(reply);
                    }
                    Some(request) => self.handle_request(request, stop.is_some()),
                    // Nobody can ask for anything any more.
                    None => return,
                },
                Some(done) = self.jobs.join_next() => match done {
                    Ok(done) => self.handle_done(done),
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    overdue = true;
                }
            }
            if let Some((replies, _)) = stop.take_if(|_| overdue || !self.is_busy()) {
                if overdue {
                    tracing::warn!("stopping with containers half-way; the next agent goes on");
                }
                self.leave().await;
                for reply in replies {
                    // Whoever asked may have gone away.
                    reply.send(()).unwrap_or_default();
                }
                return;
            }
        }
    }

    /// Gives the network back if nobody uses it any more.
    async fn leave(&self) {
        let live = self
            .entries
            .values()
            .filter(|entry| entry.view.state.is_live())
            .count();
        if live > 0 {
            tracing::info!(containers = live, "containers go on without the agent");
            return;
        }
        if let Err(fault) = self.tools.network.stop_if_unused().await {
            tracing::error!(error = %chain(&fault), "the node's network is not as it was before");
        }
        let tools = Arc::clone(&self.tools);
        if let Err(error) = blocking(move || tools.cgroups.give_back()).await {
            tracing::error!(error = %chain(&error), "the node's cgroups are not as they were before");
        }
    }

    fn is_busy(&self) -> bool {
        self.entries.values().any(|entry| match &entry.state {
            EntryState::Starting { .. } | EntryState::Ending { .. } => true,
            EntryState::Running { updating, .. } => *updating,
            EntryState::Ended { .. } => false,
        })
    }

    fn handle_request(&mut self, request: Request, stopping: bool) {
        match request {
            Request::Launch { reply, .. }
            | Request::UpdatePorts { reply, .. }
            | Request::UpdateLimits { reply, .. }
                if stopping =>
            {
                answer(reply, Err(Refusal::Stopping.into()));
            }
            Request::Launch {
                id,
                launch,
                wanted,
                ports_in_use,
                reply,
            } => {
                // Only ids that were given come again: it is there, or on its way.
                if let Some(entry) = self.entries.get(&id) {
                    return answer(reply, Ok(ContainerView::clone(&entry.view)));
                }
                match self.plan_launch(id, *launch, &wanted, &ports_in_use) {
                    Ok(row) => self.start_launch(row, reply),
                    Err(refusal) => answer(reply, Err(refusal.into())),
                }
            }
            Request::UpdatePorts {
                name,
                wanted,
                ports_in_use,
                reply,
            } => match self.plan_update(&name, &wanted, &ports_in_use) {
                Ok((id, change)) => self.start_update(id, change, reply),
                Err(refusal) => answer(reply, Err(refusal.into())),
            },
            Request::UpdateLimits {
                name,
                adjustment,
                may_kill,
                reply,
            } => self.handle_update_limits(&name, &adjustment, may_kill, reply),
            Request::Kill { name, kill, reply } => self.handle_kill(&name, kill, reply),
            Request::Wait { name, reply } => self.handle_wait(&name, reply),
            Request::Release { id } => {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.is_kept = false;
                    self.forget_oldest();
                }
            }
            Request::CountBlocks {
                ports_in_use,
                reply,
            } => {
                // Whoever asked may have gone away.
                reply
                    .send(self.count_blocks(&ports_in_use))
                    .unwrap_or_default();
            }
            Request::Turn { reply } => reply.send(()).unwrap_or_default(),
            Request::Stop { .. } => unreachable!("the loop takes these"),
        }
    }

    // === launch ===

    fn plan_launch(
        &mut self,
        id: ContainerId,
        launch: Launch,
        wanted: &PortsWanted,
        ports_in_use: &PortSet,
    ) -> Result<ContainerRow, Refusal> {
        let of_cgroups = self.tools.cgroups.check(&launch.limits)?;
        let of_network = self.check_bandwidth(launch.limits.bandwidth, None)?;
        let circumstances = Circumstances {
            ports_in_use,
            now: now(),
        };
        let placement = self.books.plan(id, &launch, wanted, &circumstances)?;
        self.books.take(&placement);
        let minimum = launch.limits.bandwidth.egress_min;
        self.books.promise(&placement.name, minimum);
        Ok(ContainerRow {
            id: placement.id,
            name: placement.name,
            phase: Phase::Starting,
            launch,
            slot: placement.slot,
            ports: placement.grant.ports,
            ephemeral: placement.grant.ephemeral,
            unenforced: of_cgroups.and(of_network) == Enforcement::Lacking,
            created_at: circumstances.now,
        })
    }

    fn start_launch(&mut self, row: ContainerRow, reply: Reply<ContainerView>) {
        let id = row.id.clone();
        tracing::info!(container = %row.name, %id, ports = %row.ports, slot = %row.slot, "launching");
        let state = EntryState::Starting {
            reply,
            kills: Vec::new(),
        };
        self.insert(row.clone(), state);
        let tools = Arc::clone(&self.tools);
        self.jobs.spawn(async move {
            let result = launch::launch(&tools, &row).await;
            Done::Launched { id, result }
        });
    }

    fn handle_launched(&mut self, id: &ContainerId, result: Result<Launched, LaunchFailure>) {
        let entry = self
            .entries
            .get_mut(id)
            .expect("an entry stays while it has a job");
        let starting = EntryState::Ending {
            started_at: None,
            failed: None,
        };
        let EntryState::Starting { reply, kills } = std::mem::replace(&mut entry.state, starting)
        else {
            unreachable!("only a container that starts has been launched");
        };
        match result {
            Ok(Launched {
                identity,
                executor,
                started_at,
                started,
            }) => {
                let (reply, failed) = match started {
                    Ok(()) => (Some(reply), None),
                    Err(error) => (None, Some((reply, error))),
                };
                let hangs = failed.as_ref().is_some_and(|(_, error)| is_hanging(error));
                if failed.is_none() {
                    let (container, pid) = (&entry.row.name, identity.pid);
                    tracing::info!(%container, %id, executor = pid, "running");
                }
                entry.state = EntryState::Running {
                    executor,
                    identity,
                    started_at,
                    updating: false,
                    failed,
                };
                self.publish(id);
                if let (Some(reply), Some(entry)) = (reply, self.entries.get(id)) {
                    answer(reply, Ok(ContainerView::clone(&entry.view)));
                }
                self.start_watch(id);
                for (kill, reply) in kills {
                    answer(reply, self.kill(id, kill).map_err(ContainerError::from));
                }
                if hangs && let Err(error) = self.kill(id, Kill::AtOnce) {
                    tracing::error!(%id, error = %chain(&error), "a container that hangs cannot be killed");
                }
            }
            Err(LaunchFailure::NotRecorded(error)) => {
                let entry = self.entries.remove(id).expect("it was there a moment ago");
                self.books
                    .release(&entry.row.name, entry.row.slot, false, now());
                self.publish_all();
                answer(reply, Err(error.into()));
                refuse_kills(kills, &entry.row);
            }
            Err(LaunchFailure::Undone {
                error,
                outcome,
                ended_at,
            }) => {
                refuse_kills(kills, &entry.row);
                self.handle_ended(id, End { outcome, ended_at }, false);
                answer(reply, Err(error.into()));
            }
        }
    }

    fn handle_done(&mut self, done: Done) {
        match done {
            Done::Launched { id, result } => self.handle_launched(&id, result),
            Done::Updated {
                id,
                change,
                result,
                reply,
            } => {
                self.handle_updated(&id, &change, result, reply);
            }
            Done::Limited {
                id,
                limits,
                result,
                reply,
            } => self.handle_limited(&id, *limits, result, reply),
            Done::ExecutorGone { id } => self.start_end(id, RanAs::Task),
            Done::Ended { id, end, ran } => self.handle_ended(&id, end, ran),
            Done::Cleaned => {}
        }
    }

    // === entries ===

    /// Adds a container.
    pub(super) fn insert(&mut self, row: ContainerRow, state: EntryState) {
        let id = row.id.clone();
        self.entries.insert(id, Entry::new(row, state, &self.tools));
        self.publish_all();
    }

    /// Returns the container that is meant: the one that lives, else the last that ended.
    pub(super) fn find(&self, name: &str) -> Result<ContainerId, Refusal> {
        self.entries
            .values()
            .filter(|entry| entry.row.name.as_str() == name || entry.row.id.as_str() == name)
            .max_by_key(|entry| (entry.view.state.is_live(), entry.row.created_at))
            .map(|entry| entry.row.id.clone())
            .ok_or_else(|| Refusal::NoSuchContainer {
                name: name.to_owned(),
            })
    }

    /// Tells those who watch that a container has changed.
    pub(super) fn publish(&mut self, id: &ContainerId) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.refresh(&self.tools);
        }
        self.publish_all();
    }

    pub(super) fn publish_all(&self) {
        let mut views: Vec<_> = self
            .entries
            .values()
            .map(|entry| Arc::clone(&entry.view))
            .collect();
        views.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        self.published.send_replace(Arc::new(views));
    }
}

/// Returns whether an executor may sit there for ever.
fn is_hanging(error: &StartError) -> bool {
    match error {
        // It said so, and ends by itself; or it is gone.
        StartError::Failed { .. } | StartError::Lost { .. } => false,
        StartError::TimedOut { .. }
        | StartError::Unexpected { .. }
        | StartError::Control { .. } => true,
    }
}

fn refuse_kills(kills: Vec<(Kill, Reply<()>)>, row: &ContainerRow) {
    for (_, reply) in kills {
        let refusal = Refusal::NotRunning {
            name: row.name.to_string(),
            state: "did not start",
        };
        answer(reply, Err(refusal.into()));
    }
}

pub(super) fn answer<T>(reply: Reply<T>, result: Result<T, ContainerError>) {
    // Whoever asked may have gone away; what was done is done.
    drop(reply.send(result));
}
