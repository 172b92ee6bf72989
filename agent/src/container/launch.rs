//! Taking a container from its plan to its running task; the steps are told in the folder's
//! documentation.
//!
//! Whatever blocks runs on tokio's threads for blocking calls; the functions here that are not
//! `async` are called there.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt as _, chown};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Pid;
use weir_executor::record::Outcome;
use weir_executor::spawn::{self, Spawned, StartError};
use weir_sys::cgroup::Cgroup;
use weir_sys::{pidfd, process};

use super::cgroups::TASK;
use super::crash::crash_point;
use super::error::StepError;
use super::execute::{
    CGROUP_PATIENCE, RanAs, Tools, attachment, blocking, chain, end, make_directory, now, reap,
};
use super::facilities::ContainerNetwork;
use super::id::ContainerId;
use super::plan::executor_spec;
use crate::ports::UnixMs;
use crate::store::{ContainerRow, ExecutorIdentity};

/// How long an executor may take for its part of a launch. On an idle node it is milliseconds; on
/// one that boots or swaps with all its processors busy it was more than 15 s, and giving up too early
/// helps nobody.
const EXECUTOR_PATIENCE: Duration = Duration::from_secs(60);

/// A container whose task was told to go.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) identity: ExecutorIdentity,
    pub(crate) executor: Arc<OwnedFd>,
    pub(crate) started_at: UnixMs,
    /// Whether its program runs; if not, the executor is about to end.
    pub(crate) started: Result<(), StartError>,
}

/// A launch that came to nothing.
#[derive(Debug)]
pub(crate) enum LaunchFailure {
    /// Nothing is on record and nothing was made.
    NotRecorded(StepError),
    /// It was undone, and its end is on record.
    Undone {
        error: StepError,
        outcome: Outcome,
        ended_at: UnixMs,
    },
}

/// Takes a container from its plan to its running task, or back to nothing.
pub(crate) async fn launch<N: ContainerNetwork>(
    tools: &Arc<Tools<N>>,
    row: &ContainerRow,
) -> Result<Launched, LaunchFailure> {
    crash_point("launch-before-row");
    let recorded = tools.store.insert(row.clone()).await;
    recorded.map_err(|error| LaunchFailure::NotRecorded(error.into()))?;
    crash_point("launch-after-row");
    match make(tools, row).await {
        Ok(launched) => Ok(launched),
        Err(error) => {
            let reason = chain(&error);
            tracing::warn!(container = %row.name, id = %row.id, error = %reason, "launch failed");
            let outcome = if let StepError::Start(StartError::Failed { outcome }) = &error {
                outcome.clone()
            } else {
                Outcome::Aborted { reason }
            };
            let end = end(tools, row, RanAs::Nothing { outcome }).await;
            Err(LaunchFailure::Undone {
                error,
                outcome: end.outcome,
                ended_at: end.ended_at,
            })
        }
    }
}

async fn make<N: ContainerNetwork>(
    tools: &Arc<Tools<N>>,
    row: &ContainerRow,
) -> Result<Launched, StepError> {
    let places = {
        let (tools, row) = (Arc::clone(tools), row.clone());
        blocking(move || make_places(&tools, &row))
    };
    let network = tools
        .network
        .prepare(&row.id, row.slot, row.launch.network, row.ephemeral);
    let (cgroup_id, prepared) = tokio::join!(places, network);
    let (cgroup_id, prepared) = (cgroup_id?, prepared?);
    crash_point("launch-after-namespace");

    let attach = async {
        let attachment = attachment(row, cgroup_id);
        let attached = tools.network.attach(attachment, prepared.made).await;
        crash_point("launch-after-network");
        attached
    };
    let (attached, standing) = tokio::join!(attach, stand_by(tools, row, prepared.netns));
    let StandingBy {
        spawned,
        identity,
        started_at,
    } = standing?;
    if let Err(fault) = attached {
        give_up(tools, row, spawned).await;
        return Err(fault.into());
    }
    crash_point("launch-after-running");

    let id = row.id.clone();
    let (started, executor) = blocking(move || {
        let started = go(&spawned);
        if let Err(error) = &started {
            tracing::warn!(%id, %error, "the task did not start");
        }
        (started, spawned.into_pidfd())
    })
    .await;
    crash_point("launch-after-started");
    Ok(Launched {
        identity,
        executor: Arc::new(executor),
        started_at,
        started,
    })
}

/// An executor that waits for its *go*, and is on record.
struct StandingBy {
    spawned: Spawned,
    identity: ExecutorIdentity,
    started_at: UnixMs,
}

/// Starts the executor and records who it is.
async fn stand_by<N: ContainerNetwork>(
    tools: &Arc<Tools<N>>,
    row: &ContainerRow,
    netns: Option<OwnedFd>,
) -> Result<StandingBy, StepError> {
    let (spawned, init_pid, start_ticks) = {
        let (tools, row) = (Arc::clone(tools), row.clone());
        blocking(move || spawn_executor(&tools, &row, netns)).await?
    };
    let identity = ExecutorIdentity {
        pid: unsigned(spawned.pid),
        start_ticks,
        boot_id: tools.boot_id.clone(),
        init_pid,
    };
    let started_at = now();
    let recorded = tools
        .store
        .set_running(row.id.clone(), identity.clone(), started_at)
        .await;
    if let Err(error) = recorded {
        give_up(tools, row, spawned).await;
        return Err(error.into());
    }
    Ok(StandingBy {
        spawned,
        identity,
        started_at,
    })
}

async fn give_up<N: ContainerNetwork>(tools: &Arc<Tools<N>>, row: &ContainerRow, spawned: Spawned) {
    let (tools, id) = (Arc::clone(tools), row.id.clone());
    blocking(move || abandon(&tools, &id, spawned)).await;
}

/// Makes directories and cgroups, and returns the id of the task's cgroup.
fn make_places<N>(tools: &Tools<N>, row: &ContainerRow) -> Result<u64, StepError> {
    let directory = tools.places.directory(&row.id);
    // Entered but not listed by others: the sandbox below belongs to the task's user.
    make_directory(&directory, 0o711)?;
    let sandbox = directory.join("sandbox");
    make_directory(&sandbox, 0o700)?;
    let user = &row.launch.user;
    chown(&sandbox, Some(user.uid), Some(user.gid)).map_err(|source| StepError::File {
        what: "give to its user",
        path: sandbox,
        source,
    })?;
    let spec = executor_spec(row, &tools.places, &tools.config);
    let path = directory.join("spec.json");
    let text = serde_json::to_vec(&spec).expect("a specification is plain data");
    write_private(&path, &text).map_err(|source| StepError::File {
        what: "write",
        path,
        source,
    })?;
    crash_point("launch-after-directory");

    let container = Cgroup::create(&tools.places.cgroup(&row.id))?;
    container.create_child("executor")?;
    let task = container.create_child(TASK)?;
    tools.limit(&container, &row.launch)?;
    let cgroup_id = task.id()?;
    crash_point("launch-after-cgroup");
    Ok(cgroup_id)
}

fn spawn_executor<N>(
    tools: &Tools<N>,
    row: &ContainerRow,
    netns: Option<OwnedFd>,
) -> Result<(Spawned, u32, u64), StepError> {
    let spec = executor_spec(row, &tools.places, &tools.config);
    let network = netns.as_ref().map(|netns| netns.as_fd());
    let spawned = spawn::spawn(&tools.executor, &spec, network)?;
    crash_point("launch-after-spawn");
    // From here on the executor must be reaped, whatever else fails.
    let prepared = spawned
        .wait_ready(EXECUTOR_PATIENCE)
        .map_err(StepError::from)
        .and_then(|init| {
            let started = process::start_time(Pid::from_raw(spawned.pid)).map_err(|source| {
                StepError::Process {
                    what: "ask about",
                    pid: unsigned(spawned.pid),
                    source: io::Error::other(source),
                }
            })?;
            Ok((unsigned(init), started.ticks()))
        });
    match prepared {
        Ok((init_pid, start_ticks)) => {
            crash_point("launch-after-ready");
            Ok((spawned, init_pid, start_ticks))
        }
        Err(error) => {
            // Closing the control socket makes it abort, and its end of the story is reaped below;
            // one that does not answer is killed with its cgroup, as part of the undoing.
            abandon(tools, &row.id, spawned);
            Err(error)
        }
    }
}

/// Waits for an executor that was given up, and kills it if it does not end by itself.
fn abandon<N>(tools: &Tools<N>, id: &ContainerId, spawned: Spawned) {
    let executor = spawned.into_pidfd();
    let ended = pidfd::wait_ended(executor.as_fd(), Some(Duration::from_secs(2)));
    if !matches!(ended, Ok(true)) {
        let killed = Cgroup::open(&tools.places.cgroup(id)).and_then(|cgroup| cgroup.kill());
        if let Err(error) = killed {
            tracing::error!(%id, error = %chain(&error), "an executor that hangs cannot be killed");
            return;
        }
        drop(pidfd::wait_ended(executor.as_fd(), Some(CGROUP_PATIENCE)));
    }
    reap(id, &executor);
}

fn go(spawned: &Spawned) -> Result<(), StartError> {
    spawned.go()?;
    crash_point("launch-after-go");
    spawned.wait_started(EXECUTOR_PATIENCE).map(drop)
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?
        .write_all(bytes)
}

fn unsigned(pid: i32) -> u32 {
    u32::try_from(pid).expect("the kernel numbers processes from one")
}
