//! How the rest of the agent talks to the data plane.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use tokio::sync::{mpsc, oneshot};
use weir_abi::{Counters, NodeCounters, RttHistogram};
use weir_executor::spec::NetworkMode;
use weir_resources::{PortRange, PortSet};
use weir_sys::netlink::Netlink;
use weir_sys::netns;

use super::error::{NetworkError, StartError};
use super::owner::{self, MadeNamespace, Owner, Request};
use super::shared::{Followed, Shared};
use super::tables::{CounterTables, Way};
use super::{bandwidth, event, namespace, slots, watch};
use crate::config::{AttachMode, BandwidthConfig};
use crate::container::{
    Attachment, Bandwidth, ContainerId, ContainerNetwork, LiveAttachment, NetworkCapacity,
    NetworkFault, Prepared, Slot,
};
use crate::telemetry::{Queues, WireStatistics};

/// Requests that may wait for the owner. Each is of one container, and a node has a thousand; whoever
/// finds the queue full waits.
const REQUESTS_MAX: usize = 256;

/// What the data plane is built from.
#[derive(Clone, Debug)]
pub struct NetworkSettings {
    /// How programs are attached to interfaces.
    pub attach: AttachMode,
    /// The directory, on a bpffs, of all pins.
    pub pins: PathBuf,
    /// The uplinks that the operator named; none for all that qualify.
    pub uplinks: Vec<String>,
    /// The root of the cgroup v2 hierarchy: the programs on `bind` and `connect` see the whole node.
    pub cgroup_root: PathBuf,
    /// The cgroup above all containers.
    pub cgroup_parent: PathBuf,
    /// Where the record of the node's former settings is kept.
    pub state_directory: PathBuf,
    /// What `ip_local_reserved_ports` has to be, if it has to be changed.
    pub reserved_ports: Option<String>,
    /// The rates of the links, and what holds containers to theirs.
    pub bandwidth: BandwidthConfig,
    /// Whether the kernel counts the run time of every program.
    pub program_statistics: bool,
}

/// How often and how long a program ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramStatistics {
    /// The program.
    pub name: String,
    /// Nanoseconds on all CPUs together, since it was loaded.
    pub run_time_ns: u64,
    /// How often it ran, since it was loaded.
    pub run_count: u64,
    /// How many instructions the verifier looked at, on all paths together; told since Linux 5.16.
    pub verified_instructions: Option<u32>,
}

/// Asks the data plane to do things, from anywhere in the agent.
#[derive(Clone)]
pub struct NetworkHandle {
    requests: mpsc::Sender<Request>,
    shared: Arc<Shared>,
    /// The node's namespace: threads of a pool may have been started in another one.
    node: Arc<OwnedFd>,
    counters: Arc<CounterTables>,
    programs: Arc<Vec<(String, u32)>>,
    /// Open as long as the kernel is to count.
    _statistics: Option<Arc<OwnedFd>>,
}

impl std::fmt::Debug for NetworkHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetworkHandle").finish_non_exhaustive()
    }
}

/// Loads the data plane, or takes over the one that is in force, and starts what serves it.
///
/// Has to be called inside a tokio runtime, in the node's network namespace. It blocks while the
/// verifier works: a fraction of a second.
pub fn start(settings: NetworkSettings) -> Result<NetworkHandle, StartError> {
    Ok(start_parts(settings)?)
}

fn start_parts(settings: NetworkSettings) -> Result<NetworkHandle, NetworkError> {
    let statistics = settings.program_statistics.then(|| {
        aya::sys::enable_stats(aya::sys::Stats::RunTime)
            .inspect_err(|error| {
                tracing::warn!(
                    error = error as &dyn std::error::Error,
                    "the kernel does not count the run time of programs"
                );
            })
            .ok()
    });
    let node = Arc::new(netns::current().map_err(NetworkError::NodeNamespace)?);
    let shared = Arc::new(Shared::default());
    let (requests, received) = mpsc::channel(REQUESTS_MAX);
    // Subscribed before the first look, so that no change falls between the two.
    let watch = watch::Watch::open()?;
    let mut owner = Owner::start(settings, Arc::clone(&shared))?;
    let counters = Arc::new(CounterTables::open(owner.programs().maps())?);
    let programs = Arc::new(owner.programs().ids().into_iter().collect::<Vec<_>>());
    let events = owner.programs().take_events();
    thread::Builder::new()
        .name("network".to_owned())
        .spawn(move || owner.run(received))
        .map_err(NetworkError::Thread)?;
    watch.spawn(requests.downgrade(), Arc::clone(&shared));
    if let Some(events) = events {
        event::spawn(events, Arc::clone(&shared));
    }
    Ok(NetworkHandle {
        requests,
        shared,
        node,
        counters,
        programs,
        _statistics: statistics.flatten().map(Arc::new),
    })
}

impl NetworkHandle {
    /// Returns what was counted for a container.
    pub fn counters(&self, slot: Slot) -> Result<Counters, NetworkFault> {
        self.counters
            .counters(slot.index())
            .map_err(|error| NetworkError::from(error).into())
    }

    /// Returns the TCP round-trip times of a container.
    pub fn round_trips(&self, slot: Slot) -> Result<RttHistogram, NetworkFault> {
        self.counters
            .round_trips(slot.index())
            .map_err(|error| NetworkError::from(error).into())
    }

    /// Returns what passed through the queues of a container.
    pub fn queues(&self, slot: Slot) -> Result<Queues, NetworkFault> {
        let of = |way| {
            let lane = self.counters.lane(slot.index(), way);
            lane.map_err(|error| NetworkFault::from(NetworkError::from(error)))
        };
        Ok(Queues {
            transmit: of(Way::Out)?,
            receive: of(Way::In)?,
        })
    }

    /// Returns what went to the wire, by who sent it.
    pub fn wire(&self) -> Result<WireStatistics, NetworkFault> {
        let uplinks = self.shared.divided();
        if uplinks.is_empty() {
            return Ok(WireStatistics::default());
        }
        let read = netns::enter(self.node.as_fd(), || {
            Ok(bandwidth::read_wire(&mut Netlink::open()?, &uplinks)?)
        });
        let read: Result<_, NetworkError> = read.map_err(NetworkError::NodeNamespace)?;
        Ok(read?)
    }

    /// Returns how fast the node's changes reached the containers.
    pub fn followed(&self) -> Followed {
        self.shared.followed()
    }

    /// Returns what was counted for the node.
    pub fn node_counters(&self) -> Result<NodeCounters, NetworkFault> {
        self.counters
            .node()
            .map_err(|error| NetworkError::from(error).into())
    }

    /// Returns how often and how long each program ran.
    pub fn program_statistics(&self) -> Vec<ProgramStatistics> {
        let ids: &[(String, u32)] = &self.programs;
        // Opened by id each time: the kernel's numbers, not a copy of ours.
        aya::programs::loaded_programs()
            .filter_map(Result::ok)
            .filter_map(|info| {
                let (name, _) = ids.iter().find(|(_, id)| *id == info.id())?;
                Some(ProgramStatistics {
                    name: name.clone(),
                    run_time_ns: u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX),
                    run_count: info.run_count(),
                    verified_instructions: info.verified_instruction_count(),
                })
            })
            .collect()
    }

    async fn ask<T: Send>(
        &self,
        request: impl FnOnce(owner::Answer<T>) -> Request + Send,
    ) -> Result<T, NetworkFault> {
        let (answer, answered) = oneshot::channel();
        self.requests
            .send(request(answer))
            .await
            .map_err(|_gone| NetworkFault::from(NetworkError::OwnerGone))?;
        let result = answered
            .await
            .map_err(|_gone| NetworkFault::from(NetworkError::OwnerGone))?;
        result.map_err(Into::into)
    }
}

impl ContainerNetwork for NetworkHandle {
    type Made = Option<MadeNamespace>;

    async fn prepare(
        &self,
        container: &ContainerId,
        slot: Slot,
        mode: NetworkMode,
        ephemeral: Option<PortRange>,
    ) -> Result<Prepared<Self::Made>, NetworkFault> {
        match mode {
            NetworkMode::Isolated => {}
            NetworkMode::Host => {
                return Ok(Prepared {
                    netns: None,
                    made: None,
                });
            }
        }
        let ephemeral = ephemeral.ok_or(NetworkError::NoEphemeralBlock)?;
        let (inside, node) = (self.shared.inside(), Arc::clone(&self.node));
        let eth0 = namespace::eth0_of(slot.index());
        let container = container.clone();
        // Beside others that do the same.
        let made = run_blocking(move || {
            let namespace = namespace::create(&container, eth0, node.as_fd(), ephemeral, &inside)?;
            Ok(MadeNamespace { namespace, inside })
        })
        .await?;
        let netns = made.namespace.netns.try_clone();
        Ok(Prepared {
            netns: Some(netns.map_err(NetworkError::NodeNamespace)?),
            made: Some(made),
        })
    }

    async fn attach(&self, attachment: Attachment, made: Self::Made) -> Result<(), NetworkFault> {
        let netns = match &made {
            Some(made) => Some(
                made.namespace
                    .netns
                    .try_clone()
                    .map_err(NetworkError::NodeNamespace)?,
            ),
            None => None,
        };
        let (container, slot) = (attachment.container.clone(), attachment.slot);
        let eth0 = namespace::eth0_of(slot.index());
        self.ask(|answer| Request::Join {
            attachment,
            namespace: made,
            answer,
        })
        .await?;
        let Some(netns) = netns else {
            return Ok(());
        };
        let waited =
            run_blocking(move || Ok(namespace::await_link(&container, eth0, netns.as_fd())?)).await;
        if let Err(error) = waited {
            // Half a container would own ports that nobody answers on.
            self.detach(slot).await?;
            return Err(error.into());
        }
        Ok(())
    }

    async fn update_ports(&self, slot: Slot, ports: &PortSet) -> Result<(), NetworkFault> {
        let (slot, ports) = (slot.index(), ports.clone());
        self.ask(|answer| Request::UpdatePorts {
            slot,
            ports,
            answer,
        })
        .await
    }

    async fn update_bandwidth(
        &self,
        slot: Slot,
        bandwidth: &Bandwidth,
    ) -> Result<(), NetworkFault> {
        let (slot, bandwidth) = (slot.index(), *bandwidth);
        self.ask(|answer| Request::UpdateBandwidth {
            slot,
            bandwidth,
            answer,
        })
        .await
    }

    fn capacity(&self) -> NetworkCapacity {
        self.shared.capacity()
    }

    async fn detach(&self, slot: Slot) -> Result<(), NetworkFault> {
        let slot = slot.index();
        let link = self.ask(|answer| Request::Close { slot, answer }).await?;
        if let Some(link) = link {
            // The kernel waits until no CPU uses the link any more; the owner must not wait with it.
            let node = Arc::clone(&self.node);
            run_blocking(move || {
                let removed = netns::enter(node.as_fd(), || {
                    slots::remove_link(&mut Netlink::open()?, link)
                });
                removed.map_err(NetworkError::NodeNamespace)?
            })
            .await?;
        }
        self.ask(|answer| Request::Leave { slot, answer }).await
    }

    async fn recover(&self, live: Vec<LiveAttachment>) -> Result<(), NetworkFault> {
        self.ask(|answer| Request::Recover { live, answer }).await
    }

    async fn stop_if_unused(&self) -> Result<(), NetworkFault> {
        self.ask(|answer| Request::StopIfUnused { answer }).await
    }
}

/// Runs what blocks where it holds up nobody.
async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NetworkError> + Send + 'static,
) -> Result<T, NetworkError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(NetworkError::OwnerGone))
}
