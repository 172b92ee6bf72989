//! Reads everything there is to say, when it is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use weir_abi::{Counters, DropReason, NodeCounters, RttHistogram, bucket_of};
use weir_executor::spec::NetworkMode;
use weir_sys::cgroup::{self, Cgroup, Files, PressureFiles};
use weir_sys::directory::Directory;
use weir_transport::scrape::ScrapeCounts;

use super::facilities::{
    FollowStatistics, NetworkStatistics, ProgramStatistics, Queues, WireQueue, WireShare,
};
use super::metrics::render;
use super::offered::Offered;
use super::procfs::{read_anonymous_bytes, read_tcp_sockets};
use super::rtt::{RttWindow, percentiles};
use super::statistics::{ContainerStatistics, MemorySource, NetworkUse, RttPercentiles, Traffic};
use crate::container::{
    ContainerHandle, ContainerId, ContainerView, State, TcpUse, blocking, chain, now, task_cgroup,
    tcp_use,
};
use crate::session::SessionReport;

/// A thread that reads costs as much as some containers.
const READER_MIN: usize = 64;

/// More would take more processors from the containers at once, if not for longer.
const READERS_MAX: usize = 4;

/// Measures containers and node, from anywhere in the agent.
#[derive(Clone)]
pub struct Telemetry(Arc<Sources>);

struct Sources {
    containers: ContainerHandle,
    network: Arc<dyn NetworkStatistics>,
    cgroup_parent: PathBuf,
    /// Held while measuring: a second scrape at the same time waits, and does not double the work.
    kept: Mutex<BTreeMap<ContainerId, Kept>>,
    /// Of how many containers files may stay open.
    open_max: usize,
    /// How often something could not be read.
    failures: AtomicU64,
    /// Of the session with the scheduler, if there is one.
    session: OnceLock<watch::Receiver<SessionReport>>,
    /// Of who scrapes over TLS, if anybody can.
    gate: OnceLock<ScrapeCounts>,
}

/// What is kept of a container from one measurement to the next.
#[derive(Debug, Default)]
struct Kept {
    rtt: RttWindow,
    /// Open since the first measurement, unless too many are; `None` where the kernel does not measure it.
    pressure: OnceLock<Option<PressureFiles>>,
    may_stay_open: bool,
}

/// One container to be measured, with its first process.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    view: &'a ContainerView,
    init_pid: u32,
    kept: &'a Kept,
}

/// One running container, measured.
#[derive(Clone, Debug)]
pub(crate) struct Measurement {
    pub(crate) statistics: ContainerStatistics,
    /// What the statistics' percentiles come from, and the metrics' histogram.
    pub(crate) rtt: Option<RttHistogram>,
    /// What passed through the queues that hold it to its rates.
    pub(crate) queues: Queues,
    /// What it has of the wire, where that is divided and everything is measured.
    pub(crate) wire: Option<WireShare>,
}

/// Everything, measured at about one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) containers: Vec<Measurement>,
    /// How many containers are in each state, in the order of [`State::NAMES`].
    pub(crate) states: [u64; 4],
    /// How many were killed at their memory limit, since the agent was started.
    pub(crate) out_of_memory: u64,
    pub(crate) node: Option<NodeCounters>,
    /// What of the wire is not containers': the classes of the agent's session and of the node, where it is divided.
    pub(crate) node_wire: Vec<(&'static str, WireQueue)>,
    pub(crate) programs: Vec<ProgramStatistics>,
    pub(crate) follow: FollowStatistics,
    /// How often something could not be read, ever.
    pub(crate) failures: u64,
    /// How the session with the scheduler stands, if there is one.
    pub(crate) session: Option<SessionReport>,
    /// Who would scrape over TLS and was refused, if anybody can.
    pub(crate) gate: Option<ScrapeCounts>,
}

impl Telemetry {
    /// Measures what `containers` lists, below the cgroup `cgroup_parent`.
    pub fn new(
        containers: ContainerHandle,
        network: Arc<dyn NetworkStatistics>,
        cgroup_parent: PathBuf,
    ) -> Self {
        Self(Arc::new(Sources {
            containers,
            network,
            cgroup_parent,
            kept: Mutex::default(),
            open_max: open_max(),
            failures: AtomicU64::new(0),
            session: OnceLock::new(),
            gate: OnceLock::new(),
        }))
    }

    /// Measures a session with the scheduler as well.
    pub fn watch_session(&self, report: watch::Receiver<SessionReport>) {
        // There is one in the life of an agent.
        self.0.session.set(report).unwrap_or_default();
    }

    /// Measures who scrapes over TLS as well.
    pub fn watch_gate(&self, counts: ScrapeCounts) {
        // There is one in the life of an agent.
        self.0.gate.set(counts).unwrap_or_default();
    }

    /// Measures the running containers, or one of them.
    pub async fn statistics(&self, only: Option<ContainerId>) -> Vec<ContainerStatistics> {
        let sources = Arc::clone(&self.0);
        let measured = blocking(move || sources.measure_containers(only.as_ref())).await;
        measured
            .into_iter()
            .map(|measurement| measurement.statistics)
            .collect()
    }

    /// Measures everything, and returns it as Prometheus reads it.
    pub(crate) async fn metrics(&self) -> String {
        let sources = Arc::clone(&self.0);
        blocking(move || render(&sources.snapshot())).await
    }

    /// Returns whether the agent can do what it is there for.
    pub(crate) fn is_healthy(&self) -> bool {
        self.0.containers.is_alive()
    }
}

impl Sources {
    fn snapshot(&self) -> Snapshot {
        let mut containers = self.measure_containers(None);
        let wire = self.counted("the queues of the wire", self.network.wire());
        let wire = wire.unwrap_or_default();
        let listing = self.containers.list();
        let slots: BTreeMap<&ContainerId, u32> = listing
            .iter()
            .map(|view| (&view.id, view.slot.index()))
            .collect();
        for measurement in &mut containers {
            let slot = slots.get(&measurement.statistics.id);
            measurement.wire = slot.and_then(|slot| wire.containers.get(slot).copied());
        }
        let of_node = [("session", wire.session), ("node", wire.node)];
        let mut states = [0; 4];
        for view in listing.iter() {
            let index = State::NAMES
                .iter()
                .position(|name| *name == view.state.name());
            states[index.expect("every state has its name in the list")] += 1;
        }
        let node = self.counted("the node's counters", self.network.node_counters());
        let programs = self.counted("the programs' run time", self.network.programs());
        Snapshot {
            containers,
            states,
            out_of_memory: self.containers.out_of_memory(),
            node,
            node_wire: of_node
                .into_iter()
                .filter_map(|(class, queue)| Some((class, queue?)))
                .collect(),
            programs: programs.unwrap_or_default(),
            follow: self.network.follow(),
            failures: self.failures.load(Ordering::Relaxed),
            session: self.session.get().map(|report| report.borrow().clone()),
            gate: self.gate.get().cloned(),
        }
    }

    fn measure_containers(&self, only: Option<&ContainerId>) -> Vec<Measurement> {
        let listing = self.containers.list();
        let mut kept = self.kept.blocking_lock();
        let live: BTreeSet<&ContainerId> = listing
            .iter()
            .filter(|view| view.state.is_live())
            .map(|view| &view.id)
            .collect();
        kept.retain(|id, _| live.contains(id));
        let running: Vec<(&ContainerView, u32)> = listing
            .iter()
            .filter(|view| only.is_none_or(|id| *id == view.id))
            .filter_map(|view| match view.state {
                State::Running { init_pid, .. } => Some((view.as_ref(), init_pid)),
                State::Starting | State::Ending { .. } | State::Ended { .. } => None,
            })
            .collect();
        for (view, _) in &running {
            let may_stay_open = kept.len() < self.open_max;
            kept.entry(view.id.clone()).or_insert_with(|| Kept {
                may_stay_open,
                ..Kept::default()
            });
        }
        let wanted: Vec<Wanted<'_>> = running
            .iter()
            .filter_map(|(view, init_pid)| {
                Some(Wanted {
                    view,
                    init_pid: *init_pid,
                    kept: kept.get(&view.id)?,
                })
            })
            .collect();
        let on_node = self.tcp_on_node(wanted.iter().map(|wanted| wanted.view));
        let mut measured = in_parallel(&wanted, |share| self.measure_share(share, &on_node));
        for measurement in &mut measured {
            let statistics = &mut measurement.statistics;
            if let (Some(rtt), Some(network), Some(kept)) = (
                measurement.rtt,
                &mut statistics.network,
                kept.get_mut(&statistics.id),
            ) {
                network.tcp_rtt = kept.rtt.percentiles(rtt, Instant::now());
            }
        }
        measured
    }

    fn measure_share(
        &self,
        share: &[Wanted<'_>],
        on_node: &BTreeMap<ContainerId, Tcp>,
    ) -> Vec<Measurement> {
        let Some(mut readers) =
            self.counted("cgroups or /proc", Readers::open(&self.cgroup_parent))
        else {
            return vec![];
        };
        let offered = Offered::find(&self.cgroup_parent, &readers.cgroups);
        let offered = self
            .counted("what containers' cgroups have", offered)
            .unwrap_or_default();
        let measured = share.iter().filter_map(|wanted| {
            let view = wanted.view;
            let tcp = match view.network {
                NetworkMode::Isolated => {
                    self.tcp_of_namespace(view, wanted.init_pid, &mut readers.processes)
                }
                NetworkMode::Host => on_node.get(&view.id).copied().unwrap_or_default(),
            };
            self.measure(*wanted, tcp, offered, &mut readers)
        });
        measured.collect()
    }

    /// Returns what is known of the TCP of a container with a network of its own.
    fn tcp_of_namespace(&self, view: &ContainerView, init_pid: u32, proc: &mut Directory) -> Tcp {
        let sockets = self.counted("sockstat", read_tcp_sockets(proc, init_pid));
        Tcp {
            active: sockets.map(|sockets| sockets.active),
            time_wait: sockets.map(|sockets| sockets.time_wait),
            // That is what the histogram is for.
            of_open_connections: None,
            histogram: self.counted(
                "a container's round-trip times",
                self.network.rtt(view.slot),
            ),
        }
    }

    /// Returns what is known of the TCP of those containers that are on the node's own network.
    ///
    /// The programs know a TCP socket by its namespace, and the node's is nobody's. But the kernel
    /// knows which cgroup made it for as long as it is open.
    fn tcp_on_node<'a>(
        &self,
        views: impl Iterator<Item = &'a ContainerView>,
    ) -> BTreeMap<ContainerId, Tcp> {
        let cgroups: BTreeMap<u64, &ContainerId> = views
            .filter(|view| view.network == NetworkMode::Host)
            .filter_map(|view| {
                let path = task_cgroup(&self.cgroup_parent, &view.id);
                // One that ends at this moment has none.
                Some((Cgroup::open(&path).ok()?.id().ok()?, &view.id))
            })
            .collect();
        let ids: Vec<u64> = cgroups.keys().copied().collect();
        let found = self.counted("the node's TCP sockets", tcp_use(&ids));
        found
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(cgroup, sockets)| {
                let tcp = Tcp {
                    active: Some(sockets.active),
                    of_open_connections: of_open_connections(&sockets),
                    ..Tcp::default()
                };
                Some(((*cgroups.get(&cgroup)?).clone(), tcp))
            })
            .collect()
    }

    /// Returns nothing for a container that ends at this moment.
    fn measure(
        &self,
        Wanted { view, kept, .. }: Wanted<'_>,
        tcp: Tcp,
        offered: Offered,
        readers: &mut Readers,
    ) -> Option<Measurement> {
        let path = task_cgroup(Path::new(""), &view.id);
        let pressure = offered
            .pressure
            .then(|| self.pressure(kept, &readers.cgroups, &path))
            .flatten();
        let mut files = Files::new(&mut readers.cgroups, &path);
        let cpu = files.cpu_statistics();
        if cpu.is_err() && !task_cgroup(&self.cgroup_parent, &view.id).exists() {
            return None;
        }
        let cpu = self.counted("cpu.stat", cpu).unwrap_or_default();
        let processes = self
            .counted("cgroup.procs", files.processes())
            .unwrap_or_default();
        // It says the same, and costs less than to list them.
        let threads = offered
            .pids
            .then(|| {
                self.counted("pids.current", files.charged_threads())
                    .flatten()
            })
            .flatten()
            .or_else(|| {
                self.counted("cgroup.threads", files.threads())
                    .map(|threads| threads as u64)
            })
            .unwrap_or(processes.len() as u64);
        // Without a limit there is none to reach.
        let forks_refused = (offered.pids && view.limits.pids.is_some())
            .then(|| self.counted("pids.events", files.forks_refused()).flatten())
            .flatten();
        let charged = offered
            .memory
            .then(|| {
                self.counted("memory.current", files.memory_bytes())
                    .flatten()
            })
            .flatten();
        let memory_events = charged.and_then(|_bytes| {
            self.counted("memory.events", files.memory_events())
                .flatten()
        });
        let (memory_bytes, memory_source, memory_anonymous_bytes) = match charged {
            Some(bytes) => {
                let anonymous = self.counted("memory.stat", files.anonymous_bytes());
                (bytes, MemorySource::Cgroup, anonymous.flatten())
            }
            None => {
                let pids = processes.iter().map(|pid| pid.as_raw());
                let bytes = read_anonymous_bytes(&mut readers.processes, pids);
                (bytes, MemorySource::Processes, Some(bytes))
            }
        };
        let counters = self.counted("a container's counters", self.network.counters(view.slot));
        let queues = self.counted("a container's queues", self.network.queues(view.slot));
        // What the programs count, see `tcp_on_node`.
        let of_tcp = |count: u64| (view.network == NetworkMode::Isolated).then_some(count);
        let network = counters.map(|counters| NetworkUse {
            traffic: traffic(&counters),
            binds_refused: counters.bind_refused,
            tcp_connects: of_tcp(counters.tcp_connects),
            tcp_accepts: of_tcp(counters.tcp_accepts),
            tcp_connect_failures: of_tcp(counters.tcp_connect_failures),
            tcp_retransmits: of_tcp(counters.tcp_retransmits),
            tcp_active: tcp.active,
            tcp_time_wait: tcp.time_wait,
            tcp_rtt: tcp.of_open_connections,
        });
        let statistics = ContainerStatistics {
            name: view.name.clone(),
            id: view.id.clone(),
            at: now(),
            network_mode: view.network,
            ports: view.ports.clone(),
            ephemeral: view.ephemeral,
            cpu_user_us: cpu.user_us,
            cpu_system_us: cpu.system_us,
            cpu_throttling: cpu.throttling.map(Into::into),
            memory_bytes,
            memory_source,
            memory_anonymous_bytes,
            memory_events: memory_events.map(Into::into),
            pressure: pressure.map(Into::into),
            processes: processes.len() as u64,
            threads,
            forks_refused,
            limits: view.limits.clone(),
            unenforced: view.unenforced,
            network,
        };
        Some(Measurement {
            statistics,
            rtt: tcp.histogram,
            queues: queues.unwrap_or_default(),
            wire: None,
        })
    }

    /// Returns how long a container waited; nothing where the kernel does not say.
    fn pressure(&self, kept: &Kept, above: &Directory, path: &Path) -> Option<cgroup::Pressure> {
        let read = |files: &PressureFiles| self.counted("pressure", files.read()).flatten();
        if let Some(files) = kept.pressure.get() {
            return files.as_ref().and_then(read);
        }
        // What could not be opened may be the next time.
        let files = self.counted("pressure", PressureFiles::open(above, path))?;
        if kept.may_stay_open {
            kept.pressure.get_or_init(|| files).as_ref().and_then(read)
        } else {
            files.as_ref().and_then(read)
        }
    }

    /// Counts and logs what could not be read: a measurement that is missing is not zero.
    fn counted<T, E: std::error::Error + 'static>(
        &self,
        what: &str,
        result: Result<T, E>,
    ) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(what, error = %chain(&error), "cannot be measured");
                None
            }
        }
    }
}

/// What is known of a container's TCP sockets.
#[derive(Clone, Copy, Debug, Default)]
struct Tcp {
    active: Option<u64>,
    time_wait: Option<u64>,
    of_open_connections: Option<RttPercentiles>,
    /// Of all round trips since the container was started.
    histogram: Option<RttHistogram>,
}

/// The directories below which everything is read.
struct Readers {
    cgroups: Directory,
    processes: Directory,
}

impl Readers {
    fn open(cgroup_parent: &Path) -> io::Result<Self> {
        Ok(Self {
            cgroups: Directory::open(cgroup_parent)?,
            processes: Directory::open(Path::new("/proc"))?,
        })
    }
}

/// Measures all, on several processors where there are many.
fn in_parallel<T: Sync, M: Send>(wanted: &[T], measure: impl Fn(&[T]) -> Vec<M> + Sync) -> Vec<M> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let readers = wanted
        .len()
        .div_ceil(READER_MIN)
        .min(processors)
        .min(READERS_MAX);
    if readers <= 1 {
        return measure(wanted);
    }
    let measure = &measure;
    std::thread::scope(|scope| {
        let shares = wanted.chunks(wanted.len().div_ceil(readers));
        let readers: Vec<_> = shares
            .map(|share| scope.spawn(move || measure(share)))
            .collect();
        readers
            .into_iter()
            .flat_map(|reader| reader.join().expect("a reader returns what it cannot read"))
            .collect()
    })
}

/// Returns of how many containers files may stay open: a quarter of what this process may have open, for containers need
/// descriptors too.
fn open_max() -> usize {
    let (soft, _hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or_default();
    let quarter = usize::try_from(soft / 4).unwrap_or(usize::MAX);
    quarter / PressureFiles::COUNT
}

fn of_open_connections(sockets: &TcpUse) -> Option<RttPercentiles> {
    let mut histogram = RttHistogram::default();
    for us in &sockets.round_trips_us {
        histogram.buckets[bucket_of(*us) as usize] += 1;
    }
    percentiles(&histogram)
}

fn traffic(counters: &Counters) -> Traffic {
    let by_reason = |drops: &[u64; DropReason::COUNT]| {
        DropReason::ALL
            .iter()
            .map(|reason| (reason.name(), drops[*reason as usize]))
            .collect()
    };
    Traffic {
        rx_packets: counters.rx_packets,
        rx_bytes: counters.rx_bytes,
        rx_drops: by_reason(&counters.rx_drops),
        tx_packets: counters.tx_packets,
        tx_bytes: counters.tx_bytes,
        tx_drops: by_reason(&counters.tx_drops),
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("cgroup_parent", &self.0.cgroup_parent)
            .finish_non_exhaustive()
    }
}
