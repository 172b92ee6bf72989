//! The life of the daemon, from its first log line to its last.
//!
//! 1. Take the state directory: one agent per directory.
//! 2. Open the database, make the parent cgroup, divide the node's ports.
//! 3. Load the data plane, or take over the one that is in force.
//! 4. Take over the containers that a former agent left.
//! 5. Go on with what the scheduler wants of the node, if there is one.
//! 6. Serve: the socket for the commands, HTTP for monitoring.
//! 7. On SIGHUP: read the certificates again.
//! 8. On SIGTERM or SIGINT: finish what is under way, for 20 s at most, and go. Containers stay. Where
//!    there are none, the node gets its network back.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use weir_service::http::{HttpError, HttpServer, Way};
use weir_service::notice::{Notice, attend, tell};
use weir_sys::cgroup::CgroupError;
use weir_transport::scrape::{Gate, ScrapeLimits};

use crate::config::Config;
use crate::container::{
    CgroupTree, ContainerHandle, ContainerTask, HierarchyError, Listing, Place, RecoveryError,
    Settings, chain, read_ports_in_use,
};
use crate::credentials::AgentCredentials;
use crate::doctor;
use crate::local::{LocalServer, ServeError, Served};
use crate::network::{self, NetworkSettings, StartError};
use crate::ports::{
    NODE_PORTS_MIN, NodePlan, NodePlanError, ReservedPorts, parse_local_port_range,
};
use crate::session::{
    Profile, ProfileError, SessionError, SessionHandle, SessionReport, SessionSettings, SessionTask,
};
use crate::store::{self, StoreError, StoreHandle};
use crate::telemetry::Telemetry;
use crate::volume::{VolumeHandle, VolumePlaces};

/// The file that the running agent holds a lock on.
const LOCK_FILE: &str = "agent.lock";

/// How long the lock is waited for: an agent that was killed while it started an executor leaves a process that
/// holds it as well, until that has executed its program.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// How long the agent finishes what is under way before it goes: less than the 30 s of `TimeoutStopSec=`,
/// and more than an executor has to become ready. What is not finished is the next agent's, as after a crash.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// The database, in the state directory.
pub(crate) const DATABASE_FILE: &str = "agent.db";

/// Says why the daemon did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Not root.
    #[error(
        "the agent makes namespaces and loads programs, and must run as root (this is uid {uid})"
    )]
    NotRoot {
        /// Who it is.
        uid: u32,
    },
    /// A file or directory.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was to be done, as a verb.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another agent has the state directory.
    #[error(
        "another agent uses {}; stop it, or set [agent] state_directory",
        state_directory.display()
    )]
    Running {
        /// The directory.
        state_directory: PathBuf,
    },
    /// No executor to start.
    #[error("there is no executor at {}; install weir-executor there, or set [agent] executor", path.display())]
    NoExecutor {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The parent cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// What was changed in the cgroups.
    #[error(transparent)]
    Hierarchy(#[from] HierarchyError),
    /// The node's ports.
    #[error(transparent)]
    Ports(#[from] NodePlanError),
    /// What the kernel says of the node's ports.
    #[error("cannot make sense of {path}: {what}")]
    PortSettings {
        /// The file.
        path: &'static str,
        /// What is wrong.
        what: String,
    },
    /// The pools overlap the node's own range.
    #[error(
        "the pools overlap the node's own ephemeral ports in {overlap}; set [network] reserve_ports, or move the pools"
    )]
    Overlap {
        /// The ports.
        overlap: String,
    },
    /// The data plane.
    #[error("cannot start the data plane")]
    Network(#[source] StartError),
    /// What a former agent left.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The socket.
    #[error(transparent)]
    Local(#[from] ServeError),
    /// HTTP.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// What the scheduler would be told of the node.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// What was kept for the scheduler.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// Signals.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    /// A bug.
    #[error(
        "the container task ended by itself; containers go on, and a new agent takes them over"
    )]
    ContainerTask,
    /// A bug.
    #[error("the session task ended by itself; tasks go on, and a new agent tells of them")]
    SessionTask,
}

/// Runs the daemon until it is told to stop.
pub async fn run(config: Config) -> Result<(), DaemonError> {
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "starting");
    let mut signals = Signals::new().map_err(DaemonError::Signals)?;
    let uid = geteuid().as_raw();
    if uid != 0 {
        return Err(DaemonError::NotRoot { uid });
    }
    let executor = executor_path(&config)?;
    let _lock = StateLock::take(&config.agent.state_directory)?;
    let (store, store_thread) = store::open(&config.agent.state_directory.join(DATABASE_FILE))?;
    let plan = plan_ports(&config)?;
    tracing::info!(containers = plan.containers(), "ports are planned");
    for check in doctor::of_shared_ports(&config) {
        tracing::warn!(found = %check.detail, "{}: {}", check.name, check.lost);
    }

    let profile = match config.scheduler.addresses.is_empty() {
        true => None,
        false => Some(Profile::of_node(&config)?),
    };

    // From here on the node is changed: what refuses a configuration comes before.
    let cgroups = CgroupTree::prepare(&config.cgroup, &config.agent.state_directory)?;
    let settings = network_settings(&config, cgroups.parent().path(), &plan)?;
    let network = match network::start(settings) {
        Ok(network) => Arc::new(network),
        Err(error) => {
            if let Err(left) = cgroups.give_back_if_unused() {
                tracing::warn!(error = %left, "the containers' cgroup stays");
            }
            return Err(DaemonError::Network(error));
        }
    };
    let cgroup_parent = cgroups.parent().path().to_owned();
    let cgroup_name = cgroups.parent().name()?;
    let settings = Settings {
        config: config.container.clone(),
        cgroups,
        state_directory: config.agent.state_directory.clone(),
        executor,
        pools: config.network.checked_pools(),
        quarantine: Duration::from_millis(config.network.quarantine_ms),
    };
    let (containers, mut task) =
        ContainerTask::spawn(settings, store.clone(), Arc::clone(&network)).await?;

    let telemetry = Telemetry::new(containers.clone(), network, cgroup_parent);
    let is_scraped = config.http.needs_tls();
    let credentials = (profile.is_some() || is_scraped)
        .then(|| AgentCredentials::spawn(&config.scheduler, is_scraped));
    let mut session = match profile.zip(credentials.as_ref()) {
        Some((profile, credentials)) => {
            match join(&config, profile, credentials, store, &containers).await {
                Ok(session) => Some(session),
                Err(error) => {
                    containers.stop().await;
                    return Err(error.into());
                }
            }
        }
        None => None,
    };
    if let Some((session, _)) = &session {
        telemetry.watch_session(session.report());
    }
    let served = Served {
        containers: containers.clone(),
        telemetry,
    };
    let (http, local) = match serve(&config, &cgroup_name, credentials.as_ref(), served).await {
        Ok(serving) => serving,
        Err(error) => {
            // Where no container needs it, the node gets back what it was asked for in vain.
            if let Some((session, _)) = &session {
                session.stop().await;
            }
            containers.stop().await;
            return Err(error);
        }
    };
    let http_address = http.as_ref().map(|http| http.address().to_string());
    tracing::info!(socket = %config.agent.socket.display(), http = http_address, "ready");
    tell(Notice::Ready).await;

    let (asked, listed) = (containers.clone(), containers.clone());
    let report = session.as_ref().map(|(session, _)| session.report());
    let attending = tokio::spawn(attend(
        "the container task",
        move || {
            let asked = asked.clone();
            async move { asked.turns().await }
        },
        move || status(&listed.list(), report.as_ref().map(is_registered)),
    ));
    let result = tokio::select! {
        name = signals.until_stop(credentials.as_ref()) => {
            tracing::info!(signal = name, "stopping");
            Ok(())
        }
        () = task.ended() => Err(DaemonError::ContainerTask),
        () = session_ended(session.as_mut()) => Err(DaemonError::SessionTask),
    };
    attending.abort();
    tell(Notice::Stopping).await;
    local.stop();
    stop(
        session.as_ref().map(|(session, _)| session),
        &containers,
        STOP_PATIENCE,
    )
    .await;
    if let Some(http) = http {
        http.stop();
    }
    drop(containers);
    // Connections that are being served hold handles; they end with the runtime, and what they were
    // answered is durable already. So the thread is left to the process' end if one of them lingers.
    drop(store_thread);
    tracing::info!("stopped");
    result
}

/// Finishes what is under way, as long as that is worth waiting for; returns whether all of it was.
async fn stop(
    session: Option<&SessionHandle>,
    containers: &ContainerHandle,
    patience: Duration,
) -> bool {
    let finished = tokio::time::timeout(patience, async {
        // Before the containers: what becomes of them from here on is seen by the next agent.
        if let Some(session) = session {
            session.stop().await;
        }
        containers.stop().await;
    });
    let is_finished = finished.await.is_ok();
    if !is_finished {
        tracing::warn!(
            waited_ms = patience.as_millis(),
            "what is under way is not finished; the next agent goes on with it"
        );
    }
    is_finished
}

/// Goes on with what the scheduler wants of the node.
async fn join(
    config: &Config,
    profile: Profile,
    credentials: &AgentCredentials,
    store: StoreHandle,
    containers: &ContainerHandle,
) -> Result<(SessionHandle, SessionTask), SessionError> {
    let places = VolumePlaces::new(&config.agent.state_directory);
    // It ends when the session lets go of it; what it does is on the disk, or asked for again.
    let volumes = VolumeHandle::spawn(places.clone());
    let settings = SessionSettings {
        profile,
        scheduler: config.scheduler.clone(),
        estimate: config.estimate.clone(),
        places,
        credentials: credentials.late(),
    };
    SessionTask::spawn(settings, store, containers.clone(), volumes).await
}

/// Waits until the session has ended; for ever if there is none.
async fn session_ended(session: Option<&mut (SessionHandle, SessionTask)>) {
    match session {
        Some((_, task)) => task.ended().await,
        None => std::future::pending().await,
    }
}

/// Starts to serve people and monitoring.
async fn serve(
    config: &Config,
    cgroup_name: &Path,
    credentials: Option<&AgentCredentials>,
    served: Served,
) -> Result<(Option<HttpServer>, LocalServer), DaemonError> {
    let way = match credentials {
        Some(credentials) if config.http.needs_tls() => {
            let gate = Gate::new(credentials.late(), ScrapeLimits::default());
            served.telemetry.watch_gate(gate.counts());
            Way::Tls(gate)
        }
        // Where TLS is needed there are credentials, see `run`.
        Some(_) | None => Way::Plain,
    };
    let http = match config.http.listen {
        Some(address) => Some(HttpServer::spawn(address, way, served.telemetry.clone()).await?),
        None => None,
    };
    let local = LocalServer::spawn(&config.agent.socket, cgroup_name, served)?;
    Ok((http, local))
}

/// Returns how the node's ports are divided.
///
/// The port of the agent's own HTTP server counts as the node's, whether the agent runs or not.
pub(crate) fn plan_ports(config: &Config) -> Result<NodePlan, DaemonError> {
    const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
    const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";
    let read = |path: &'static str| {
        fs::read_to_string(path).map_err(|source| DaemonError::File {
            what: "read",
            path: path.into(),
            source,
        })
    };
    let range =
        parse_local_port_range(&read(RANGE)?).map_err(|error| DaemonError::PortSettings {
            path: RANGE,
            what: error.to_string(),
        })?;
    let reserved =
        ReservedPorts::parse(&read(RESERVED)?).map_err(|error| DaemonError::PortSettings {
            path: RESERVED,
            what: error.to_string(),
        })?;
    let network = &config.network;
    let plan = NodePlan::new(network.checked_pools(), range, &reserved, NODE_PORTS_MIN)?;
    if !network.reserve_ports && !plan.to_reserve().is_empty() {
        return Err(DaemonError::Overlap {
            overlap: plan.to_reserve().to_string(),
        });
    }
    // What cannot be read is reported by itself, and looked at again at every launch.
    let in_use = read_ports_in_use().unwrap_or_default();
    Ok(plan.without(&in_use.union(&config.http.ports())))
}

/// Returns what the data plane is built from.
fn network_settings(
    config: &Config,
    cgroup_parent: &Path,
    plan: &NodePlan,
) -> Result<NetworkSettings, DaemonError> {
    let reserve = !plan.to_reserve().is_empty();
    Ok(NetworkSettings {
        attach: config.network.attach,
        pins: config.network.pin_directory.clone(),
        uplinks: config.network.uplinks.clone(),
        cgroup_root: Place::find(&config.cgroup)?.root,
        cgroup_parent: cgroup_parent.to_owned(),
        state_directory: config.agent.state_directory.clone(),
        reserved_ports: reserve.then(|| plan.reserved_after().to_string()),
        bandwidth: config.bandwidth.clone(),
        program_statistics: config.network.program_statistics,
    })
}

/// Returns the executor that is configured, or the one beside this program.
pub(crate) fn executor_path(config: &Config) -> Result<PathBuf, DaemonError> {
    let path = match &config.agent.executor {
        Some(path) => path.clone(),
        None => {
            let own = std::env::current_exe().map_err(|source| DaemonError::File {
                what: "find",
                path: "/proc/self/exe".into(),
                source,
            })?;
            beside(&own)
        }
    };
    let runs = fs::metadata(&path)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    if runs {
        Ok(path)
    } else {
        Err(DaemonError::NoExecutor { path })
    }
}

/// Returns where the executor of an agent is: beside it, or where packages put it.
fn beside(agent: &Path) -> PathBuf {
    const NAME: &str = "weir-executor";
    let beside = agent.with_file_name(NAME);
    let packaged = agent
        .parent()
        .and_then(Path::parent)
        .map(|prefix| prefix.join("lib/weir").join(NAME));
    match packaged {
        Some(packaged) if !beside.exists() && packaged.exists() => packaged,
        Some(_) | None => beside,
    }
}

/// Holds the state directory for one agent.
#[derive(Debug)]
pub(crate) struct StateLock(
    #[expect(dead_code, reason = "the lock is held by holding the file")] Flock<fs::File>,
);

impl StateLock {
    /// Makes the state directory if it is not there, and takes it.
    pub(crate) fn take(state_directory: &Path) -> Result<Self, DaemonError> {
        let failed = |what: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source| DaemonError::File { what, path, source }
        };
        // Entered by others, whose sandboxes are below, but not listed.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(state_directory)
            .map_err(failed("create", state_directory))?;
        let path = state_directory.join(LOCK_FILE);
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed("open", &path))?;
        let begun = Instant::now();
        let mut file = file;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Self(lock)),
                Err((again, nix::errno::Errno::EWOULDBLOCK)) if begun.elapsed() < LOCK_PATIENCE => {
                    file = again;
                    thread::sleep(LOCK_PAUSE);
                }
                Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                    return Err(DaemonError::Running {
                        state_directory: state_directory.to_owned(),
                    });
                }
                Err((_, errno)) => return Err(failed("lock", &path)(errno.into())),
            }
        }
    }
}

/// The signals that stop the daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Reloads as often as it is asked to, until it is asked to stop; returns by what.
    async fn until_stop(&mut self, credentials: Option<&AgentCredentials>) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => match credentials {
                    Some(credentials) => credentials.reload(),
                    None => tracing::info!("there are no certificates to read again: no scheduler is configured, and [http] is for this machine only"),
                },
            }
        }
    }
}

/// Whether the scheduler knows the agent.
fn is_registered(report: &watch::Receiver<SessionReport>) -> bool {
    report.borrow().figures.is_registered
}

/// Returns what `systemctl status` shows; whether the scheduler knows the agent, where there is to be one.
fn status(listing: &Listing, is_registered: Option<bool>) -> String {
    let live = listing.iter().filter(|view| view.state.is_live()).count();
    let scheduler = match is_registered {
        Some(true) => "registered with the scheduler",
        Some(false) => "the scheduler is away",
        None => "no scheduler is configured",
    };
    format!("containers: {live}; {scheduler}")
}

/// Logs an error that ends the process, with its sources.
pub fn report(error: &DaemonError) {
    tracing::error!(error = %chain(error), "the agent cannot go on");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_has_a_bound_also_where_something_never_ends() {
        let (containers, task) = ContainerHandle::without_task();
        assert!(!stop(None, &containers, Duration::from_millis(10)).await);
        drop(task);
        assert!(stop(None, &containers, STOP_PATIENCE).await);
    }
}
