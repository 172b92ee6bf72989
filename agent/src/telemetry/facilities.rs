//! What telemetry needs of the network.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_abi::{Counters, LaneCounters, NodeCounters, RttHistogram};

use crate::container::{NetworkFault, Slot};

/// Reads what the programs count. Every call is a look into a map: it blocks for microseconds.
pub trait NetworkStatistics: Send + Sync + 'static {
    /// Returns the counters of one container, since it was attached.
    fn counters(&self, slot: Slot) -> Result<Counters, NetworkFault>;

    /// Returns the round-trip times of one container, since it was attached.
    fn rtt(&self, slot: Slot) -> Result<RttHistogram, NetworkFault>;

    /// Returns what passed through the queues of one container, since it was attached.
    fn queues(&self, slot: Slot) -> Result<Queues, NetworkFault>;

    /// Returns what went to the wire, by who sent it; nothing where the wire is not divided.
    fn wire(&self) -> Result<WireStatistics, NetworkFault>;

    /// Returns the counters of the node, since the maps were made.
    fn node_counters(&self) -> Result<NodeCounters, NetworkFault>;

    /// Returns what each program has cost, since it was loaded.
    fn programs(&self) -> Result<Vec<ProgramStatistics>, NetworkFault>;

    /// Returns how the node's changes were followed, since the agent was started.
    fn follow(&self) -> FollowStatistics;
}

/// What passed through the queues in which a container is held to its rates; nothing of a direction that has no queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queues {
    /// Of what it sends.
    pub transmit: Option<QueueStatistics>,
    /// Of what it receives.
    pub receive: Option<QueueStatistics>,
}

/// What passed through one queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStatistics {
    /// Packets, by how they were sorted and how long they waited.
    pub counters: LaneCounters,
    /// How long that was all that the rate allows.
    pub full: Duration,
}

/// What went to the wire since it was divided, on all uplinks together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireStatistics {
    /// By slot.
    pub containers: BTreeMap<u32, WireShare>,
    /// What the agent said to its scheduler.
    pub session: Option<WireQueue>,
    /// What else the node sent.
    pub node: Option<WireQueue>,
}

/// What one container has of the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WireShare {
    /// What it has when all others want theirs, in bytes per second; what it sends beyond that is borrowed.
    pub assured: u64,
    /// What goes first.
    pub first: WireQueue,
    /// What waits.
    pub bulk: WireQueue,
}

/// One queue before the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WireQueue {
    /// Bytes that left it.
    pub sent_bytes: u64,
    /// Bytes in it.
    pub waiting_bytes: u64,
    /// Packets that it had no place for.
    pub dropped_packets: u64,
}

/// How fast changes of the node's addresses, routes and interfaces reached the containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FollowStatistics {
    /// How many changes there were.
    pub changes: u64,
    /// What they took together, each from the kernel's news until every container had it.
    pub took: Duration,
    /// What the slowest took.
    pub longest: Duration,
}

/// What one program has cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramStatistics {
    /// Its name.
    pub name: String,
    /// The time it ran, in nanoseconds; zero while the kernel does not measure it.
    pub run_time_ns: u64,
    /// How often it ran; zero while the kernel does not count it.
    pub run_count: u64,
}
