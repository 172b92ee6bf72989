//! The steps of a container's life after its launch, one effect each; what they are for is told in the folder's
//! documentation.
//!
//! Whatever blocks runs on tokio's threads for blocking calls; the functions here that are not
//! `async` are called there.

use std::error::Error;
use std::fs::{self, DirBuilder, Permissions};
use std::future::Future;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::spawn_blocking;
use weir_executor::record::{ExitRecord, Outcome};
use weir_resources::PortSet;
use weir_sys::cgroup::{Cgroup, CgroupError};
use weir_sys::pidfd;

use super::cgroups::CgroupTree;
use super::crash::crash_point;
use super::enforce::Importance;
use super::error::{ContainerError, Refusal, StepError};
use super::facilities::{Attachment, ContainerNetwork};
use super::id::ContainerId;
use super::limits::{Limits, ProcessCount};
use super::plan::Places;
use super::spec::Launch;
use crate::config::ContainerConfig;
use crate::ports::{Change, Freed, Grant, UnixMs};
use crate::store::{ContainerRow, StoreHandle};

/// How long a killed cgroup may take to become empty: as long as the kernel takes to tear down the
/// largest process.
pub(super) const CGROUP_PATIENCE: Duration = Duration::from_secs(10);

/// How long after a failed step of an end it is tried again; doubled each time up to the longest.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LONGEST: Duration = Duration::from_secs(30);

/// What the steps are done with.
#[derive(Debug)]
pub(crate) struct Tools<N> {
    pub(crate) network: Arc<N>,
    pub(crate) store: StoreHandle,
    pub(crate) cgroups: CgroupTree,
    pub(crate) places: Places,
    pub(crate) config: ContainerConfig,
    /// The program `weir-executor`.
    pub(crate) executor: PathBuf,
    /// The boot that this is.
    pub(crate) boot_id: String,
}

impl<N> Tools<N> {
    /// Returns what holds for a container, with what the configuration adds.
    pub(crate) fn limits_in_force(&self, launch: &Launch) -> Limits {
        self.cgroups.in_force(&launch.limits, &self.config)
    }

    /// Makes the cgroups of a container agree with what holds for it; fine if they do.
    pub(crate) fn limit(&self, container: &Cgroup, launch: &Launch) -> Result<(), CgroupError> {
        let limits = self.limits_in_force(launch);
        self.cgroups
            .limit(container, &limits, Importance::of(launch))
    }
}

/// Returns the time of the node's clock.
pub(crate) fn now() -> UnixMs {
    let since_1970 = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    UnixMs(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
}

pub(crate) fn attachment(row: &ContainerRow, cgroup_id: u64) -> Attachment {
    Attachment {
        container: row.id.clone(),
        slot: row.slot,
        mode: row.launch.network,
        ports: row.ports.clone(),
        ephemeral: row.ephemeral,
        bandwidth: row.launch.limits.bandwidth,
        cgroup_id,
    }
}

// === end ===

/// What is known of what ran when a container ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RanAs {
    /// Its executor was told to go, or may have been: the record says how it ended.
    Task,
    /// Nothing: the launch was given up.
    Nothing {
        /// What is recorded of it.
        outcome: Outcome,
    },
}

/// How a container ended.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) outcome: Outcome,
    pub(crate) ended_at: UnixMs,
}

/// Waits until an executor has ended, and reaps it if it is this agent's child.
#[expect(
    deprecated,
    reason = "its successor is unsafe, for descriptors that close early; this one is owned by what is watched"
)]
pub(crate) async fn wait_for_end(id: &ContainerId, executor: &Arc<OwnedFd>) -> io::Result<()> {
    let watched = AsyncFd::with_interest(Arc::clone(executor), Interest::READABLE)?;
    // Never cleared: a pidfd that has become readable stays so.
    drop(watched.readable().await?);
    reap(id, executor);
    Ok(())
}

pub(super) fn reap(id: &ContainerId, executor: &OwnedFd) {
    if let Err(error) = pidfd::reap(executor.as_fd()) {
        tracing::warn!(%id, error = %chain(&error), "the executor's status cannot be taken");
    }
}

/// Takes back all that a container holds, and records its end.
///
/// Every step may have been done already by an agent that did not live to record it. A step that
/// fails is tried again for as long as it takes: until the kernel has let go of the container its
/// slot and ports belong to nobody else.
pub(crate) async fn end<N: ContainerNetwork>(
    tools: &Arc<Tools<N>>,
    row: &ContainerRow,
    ran: RanAs,
) -> End {
    let id = &row.id;
    crash_point("end-before-record");
    // First of all nothing of it may run any more: only then is the record final.
    let cgroup = tools.places.cgroup(id);
    retry(id, "end what runs in its cgroup", || {
        let cgroup = cgroup.clone();
        blocking(move || empty_cgroup(&cgroup))
    })
    .await;
    if let (Some(limit), RanAs::Task) = (tools.limits_in_force(&row.launch).pids, &ran) {
        let (row, task) = (row.clone(), tools.places.task_cgroup(id));
        blocking(move || tell_of_forks(&row, &task, limit)).await;
    }
    let directory = tools.places.directory(id);
    let end = match ran {
        RanAs::Nothing { ref outcome } => End {
            outcome: outcome.clone(),
            ended_at: now(),
        },
        RanAs::Task => {
            let cgroup = cgroup.clone();
            blocking(move || recorded_end(&directory, &cgroup)).await
        }
    };
    crash_point("end-after-record");
    retry(id, "detach it from the network", || async {
        tools
            .network
            .detach(row.slot)
            .await
            .map_err(StepError::from)
    })
    .await;
    crash_point("end-after-detach");
    retry(id, "remove its cgroup", || {
        let cgroup = cgroup.clone();
        let (tools, low) = (Arc::clone(tools), row.launch.limits.memory_low);
        blocking(move || {
            remove_cgroup(&cgroup)?;
            Ok(low.map_or(Ok(()), |_| tools.cgroups.add_up_low())?)
        })
    })
    .await;
    crash_point("end-after-cgroup");
    let rests = match ran {
        RanAs::Task => Grant {
            ports: row.ports.clone(),
            ephemeral: row.ephemeral,
        }
        .all(),
        // No packet left from its ports.
        RanAs::Nothing { .. } => PortSet::new(),
    };
    retry(id, "record its end", || async {
        let freed = Freed {
            ports: rests.clone(),
            released_at: end.ended_at,
        };
        let ended = tools
            .store
            .set_ended(id.clone(), end.outcome.clone(), end.ended_at, freed);
        ended.await.map_err(StepError::from)
    })
    .await;
    crash_point("end-after-row");
    end
}

/// Reads how a container ended whose executor is gone.
fn recorded_end(directory: &Path, cgroup: &Path) -> End {
    let lost = |reason: String| End {
        outcome: Outcome::Lost { reason },
        ended_at: now(),
    };
    match ExitRecord::read(directory) {
        Ok(Some(record)) => End {
            outcome: told_of_memory(record.outcome, || has_run_out(cgroup)),
            ended_at: UnixMs(record.at_unix_ms),
        },
        Ok(None) => lost("its executor was killed, and the container with it".to_owned()),
        Err(error) => lost(format!("the record of its end is lost: {}", chain(&error))),
    }
}

/// An executor sees the signal, and not who sent it.
fn told_of_memory(outcome: Outcome, has_run_out: impl FnOnce() -> bool) -> Outcome {
    let is_killed =
        matches!(outcome, Outcome::Signaled { signal, .. } if signal == Signal::SIGKILL as i32);
    if is_killed && has_run_out() {
        Outcome::OutOfMemory
    } else {
        outcome
    }
}

/// Returns whether a container came to the end of its own memory: its cgroup has no limit, the task's below has.
fn has_run_out(cgroup: &Path) -> bool {
    match Cgroup::open(cgroup).and_then(|cgroup| cgroup.out_of_memory()) {
        Ok(times) => times.is_some_and(|times| times > 0),
        Err(error) => {
            tracing::warn!(error = %chain(&error), "whether a killed task had reached its memory limit is not known");
            false
        }
    }
}

/// Says in the log that a container wanted more processes than it may have: its program was told EAGAIN, and need not
/// have said so to anybody.
fn tell_of_forks(row: &ContainerRow, task: &Path, limit: ProcessCount) {
    match Cgroup::open(task).and_then(|cgroup| cgroup.forks_refused()) {
        Ok(None | Some(0)) => {}
        Ok(Some(times)) => {
            tracing::warn!(container = %row.name, id = %row.id, %limit, times, "the container had reached its limit of processes: forks failed");
        }
        Err(error) => {
            tracing::debug!(id = %row.id, error = %chain(&error), "whether forks failed is not known");
        }
    }
}

/// Kills what runs in a cgroup and waits until nothing does; fine if there is no such cgroup.
fn empty_cgroup(path: &Path) -> Result<(), StepError> {
    if !path.exists() {
        return Ok(());
    }
    let cgroup = Cgroup::open(path)?;
    if cgroup.is_populated()? {
        cgroup.kill()?;
        cgroup.wait_empty(CGROUP_PATIENCE)?;
    }
    Ok(())
}

/// Removes a cgroup and those below it, with whatever still runs in it; fine if there is none.
pub(crate) fn remove_cgroup(path: &Path) -> Result<(), StepError> {
    if !path.exists() {
        return Ok(());
    }
    let cgroup = Cgroup::open(path)?;
    if cgroup.is_populated()? {
        cgroup.kill()?;
    }
    Ok(cgroup.remove(CGROUP_PATIENCE)?)
}

/// Removes a container's directory; fine if there is none.
pub(crate) fn remove_directory(path: &Path) -> Result<(), StepError> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(StepError::File {
            what: "remove",
            path: path.to_owned(),
            source,
        }),
    }
}

/// Removes what is left of a container that has ended: its output, then its row.
pub(crate) async fn forget<N>(tools: &Arc<Tools<N>>, id: &ContainerId) -> Result<(), StepError> {
    let directory = tools.places.directory(id);
    blocking(move || remove_directory(&directory)).await?;
    crash_point("forget-after-directory");
    tools.store.forget(id.clone()).await?;
    crash_point("forget-after-row");
    Ok(())
}

async fn retry<F, Fut>(id: &ContainerId, what: &str, mut attempt: F)
where
    F: FnMut() -> Fut + Send,
    Fut: Future<Output = Result<(), StepError>> + Send,
{
    let mut pause = RETRY_FIRST;
    while let Err(error) = attempt().await {
        let pause_ms = pause.as_millis();
        tracing::error!(%id, what, error = %chain(&error), pause_ms, "the end of a container is held up");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_LONGEST);
    }
}

// === update and kill ===

/// Gives a container other ports: on record first, then in the kernel.
///
/// A crash between the two is healed by the next agent, which makes the kernel agree with the row.
pub(crate) async fn update_ports<N: ContainerNetwork>(
    tools: &Arc<Tools<N>>,
    row: &ContainerRow,
    change: &Change,
) -> Result<(), StepError> {
    let freed = Freed {
        ports: change.removed.clone(),
        released_at: now(),
    };
    tools
        .store
        .set_ports(row.id.clone(), change.ports.clone(), freed)
        .await?;
    crash_point("update-after-row");
    if let Err(fault) = tools.network.update_ports(row.slot, &change.ports).await {
        // Back to what it was, in the same order; what was added never worked, so it need not rest.
        let nothing = Freed {
            ports: PortSet::new(),
            released_at: now(),
        };
        tools
            .store
            .set_ports(row.id.clone(), row.ports.clone(), nothing)
            .await?;
        if let Err(error) = tools.network.update_ports(row.slot, &row.ports).await {
            tracing::error!(id = %row.id, error = %chain(&error), "the former ports cannot be restored");
        }
        return Err(fault.into());
    }
    crash_point("update-after-network");
    Ok(())
}

/// The limits that a container gets while it runs.
#[derive(Debug)]
pub(crate) struct NewLimits {
    /// The launch as it is with them.
    pub(crate) launch: Launch,
    /// Whether one of them does not hold on this node.
    pub(crate) unenforced: bool,
    /// Whether the container may be killed for holding more memory than it is left.
    pub(crate) may_kill: bool,
}

/// Gives a container other limits:
///
/// 1. If it holds more memory than it is left, the kernel takes back what it can. If it holds more still, all stays as
///    it was: at a limit below what a container holds, the kernel would kill it.
/// 2. The limits are on record.
/// 3. They are in the kernel. If it refuses them, the former are on record again, and in the kernel.
///
/// A crash after 2 is healed by the next agent, which makes the kernel agree with the row.
pub(crate) async fn update_limits<N: ContainerNetwork>(
    tools: &Arc<Tools<N>>,
    row: &ContainerRow,
    limits: &NewLimits,
) -> Result<(), ContainerError> {
    let (former, wanted) = (&row.launch, &limits.launch);
    if let Some(memory) = wanted.limits.memory
        && former.limits.memory != Some(memory)
        && !limits.may_kill
    {
        let (tools, task) = (Arc::clone(tools), tools.places.task_cgroup(&row.id));
        let held = blocking(move || tools.cgroups.make_room(&Cgroup::open(&task)?, memory)).await;
        if let Some(held) = held.map_err(StepError::from)? {
            return Err(Refusal::MemoryHeld {
                name: row.name.clone(),
                held,
                limit: memory,
            }
            .into());
        }
    }
    crash_point("limits-after-reclaim");
    record_limits(tools, row, wanted, limits.unenforced).await?;
    crash_point("limits-after-row");
    if let Err(error) = enforce_change(tools, row, former, wanted).await {
        // Back to what it was, in the same order.
        record_limits(tools, row, former, row.unenforced).await?;
        if let Err(error) = enforce_change(tools, row, wanted, former).await {
            tracing::error!(id = %row.id, error = %chain(&error), "the former limits cannot be restored");
        }
        return Err(error.into());
    }
    crash_point("limits-after-kernel");
    Ok(())
}

async fn record_limits<N>(
    tools: &Tools<N>,
    row: &ContainerRow,
    launch: &Launch,
    unenforced: bool,
) -> Result<(), StepError> {
    let store = &tools.store;
    Ok(store
        .set_limits(row.id.clone(), launch.clone(), unenforced)
        .await?)
}

/// Makes the kernel agree with the limits of a container that had others.
async fn enforce_change<N: ContainerNetwork>(
    tools: &Arc<Tools<N>>,
    row: &ContainerRow,
    former: &Launch,
    wanted: &Launch,
) -> Result<(), StepError> {
    enforce(tools, row, wanted).await?;
    let bandwidth = &wanted.limits.bandwidth;
    if *bandwidth != former.limits.bandwidth {
        tools.network.update_bandwidth(row.slot, bandwidth).await?;
    }
    Ok(())
}

/// Makes the kernel agree with the limits of a container.
pub(crate) async fn enforce<N: Send + Sync + 'static>(
    tools: &Arc<Tools<N>>,
    row: &ContainerRow,
    launch: &Launch,
) -> Result<(), CgroupError> {
    let (tools, id, launch) = (Arc::clone(tools), row.id.clone(), launch.clone());
    blocking(move || tools.limit(&Cgroup::open(&tools.places.cgroup(&id))?, &launch)).await
}

/// Asks a container to end: its executor gives it time, and kills what is left.
pub(crate) fn kill_gracefully(id: &ContainerId, executor: &OwnedFd) -> Result<(), StepError> {
    crash_point("kill-before-signal");
    match pidfd::send_signal(executor.as_fd(), Signal::SIGTERM) {
        // One that has ended needs no signal.
        Ok(_delivered) => {}
        Err(error) => {
            tracing::error!(%id, error = %chain(&error), "the executor cannot be signalled");
            return Err(StepError::Process {
                what: "signal the executor,",
                pid: 0,
                source: io::Error::other(error),
            });
        }
    }
    crash_point("kill-after-signal");
    Ok(())
}

/// Kills everything inside a container; its executor then records the end.
pub(crate) fn kill_at_once(task_cgroup: &Path) -> Result<(), StepError> {
    crash_point("kill-before-signal");
    if task_cgroup.exists() {
        Cgroup::open(task_cgroup)?.kill()?;
    }
    crash_point("kill-after-signal");
    Ok(())
}

// === small effects ===

/// Runs what blocks where it holds up nobody.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is being dropped cancels, and then nobody polls this.
            Err(_cancelled) => std::future::pending().await,
        },
    }
}

/// Makes a directory of exactly this mode; fine if it is there.
pub(crate) fn make_directory(path: &Path, mode: u32) -> Result<(), StepError> {
    let failed = |source| StepError::File {
        what: "create",
        path: path.to_owned(),
        source,
    };
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(source) => return Err(failed(source)),
    }
    // The umask of whoever started the agent has no say.
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)
}

/// Returns an error and its sources as one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line.push_str(": ");
        line.push_str(&error.to_string());
        source = error.source();
    }
    line
}
