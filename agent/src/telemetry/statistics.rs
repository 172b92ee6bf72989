//! What is said of one container's use, for `weir-agent stats` and all else that is derived from it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use weir_executor::spec::NetworkMode;
use weir_resources::{PortRange, PortSet};
use weir_sys::cgroup;

use crate::container::{ContainerId, ContainerName, Limits};
use crate::ports::UnixMs;

/// What one running container uses, at one moment. Counters are since it was started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerStatistics {
    /// Its name.
    pub name: ContainerName,
    /// Its id.
    pub id: ContainerId,
    /// When it was measured.
    pub at: UnixMs,
    /// Its own network namespace or the node's.
    pub network_mode: NetworkMode,
    /// The ports that it owns beside its block.
    pub ports: PortSet,
    /// Its block.
    pub ephemeral: Option<PortRange>,
    /// CPU time in user mode, in microseconds.
    pub cpu_user_us: u64,
    /// CPU time in the kernel, in microseconds.
    pub cpu_system_us: u64,
    /// How its limit of CPU time held it up; absent without the `cpu` controller.
    pub cpu_throttling: Option<CpuThrottling>,
    /// The memory that it holds.
    pub memory_bytes: u64,
    /// What that number is.
    pub memory_source: MemorySource,
    /// Of the memory, what belongs to no file.
    pub memory_anonymous_bytes: Option<u64>,
    /// How often it came to its limits of memory; absent without the `memory` controller.
    pub memory_events: Option<MemoryEvents>,
    /// How long it waited for what it needs; absent where the kernel does not measure that.
    pub pressure: Option<Pressure>,
    /// How many processes it has.
    pub processes: u64,
    /// How many threads they have.
    pub threads: u64,
    /// How often it could not fork for its limit of processes; absent without such a limit.
    pub forks_refused: Option<u64>,
    /// Its limits.
    pub limits: Limits,
    /// Whether the limits are not enforced.
    pub unenforced: bool,
    /// What it sends and receives; absent if the programs' maps could not be read.
    pub network: Option<NetworkUse>,
}

/// How a limit of CPU time held a container up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuThrottling {
    /// Periods of 100 ms in which it wanted to run while there was a limit.
    pub periods: u64,
    /// Those of them in which its time was used up.
    pub throttled_periods: u64,
    /// How long it was held up, all processors together, in microseconds.
    pub throttled_us: u64,
}

/// How often a container came to its limits of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryEvents {
    /// Memory was taken from it although it had less than is protected for it.
    pub low: u64,
    /// It was slowed down for having more than it should.
    pub high: u64,
    /// It wanted more than its limit.
    pub max: u64,
    /// And nothing could be taken from it.
    pub out_of_memory: u64,
    /// Its processes that the kernel killed for want of memory, its own or the node's.
    pub processes_killed: u64,
}

/// How long the processes of a container have waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pressure {
    /// For a CPU, or for its limit of CPU time.
    pub cpu: Stalled,
    /// For memory that was to be freed or read back.
    pub memory: Stalled,
    /// For a disk.
    pub io: Stalled,
}

/// How long processes waited for one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stalled {
    /// At least one of them did, in microseconds.
    pub some_us: u64,
    /// All did that had something to do, in microseconds.
    pub full_us: u64,
}

/// What a number of memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemorySource {
    /// `memory.current` of the cgroup: pages, cache and kernel memory that are charged to it.
    Cgroup,
    /// What its processes have mapped that belongs to no file, for want of the memory controller.
    ///
    /// Pages that processes share since a fork count for each of them, and a kernel between 6.2 and
    /// 6.15 is out by up to 128 KiB for each of its processors.
    Processes,
}

impl MemorySource {
    /// Returns the name used as a label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Processes => "processes",
        }
    }
}

/// What a container sends and receives, from its own point of view.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NetworkUse {
    /// Packets and bytes.
    pub traffic: Traffic,
    /// Refused calls of bind(2).
    pub binds_refused: u64,
    /// TCP connections that it opened; absent, like the next three, on the node's own network.
    pub tcp_connects: Option<u64>,
    /// TCP connections that it accepted.
    pub tcp_accepts: Option<u64>,
    /// TCP connections that were never established.
    pub tcp_connect_failures: Option<u64>,
    /// TCP segments that it sent again.
    pub tcp_retransmits: Option<u64>,
    /// TCP sockets in use, listening ones included.
    pub tcp_active: Option<u64>,
    /// TCP sockets in TIME_WAIT; absent on the node's own network.
    pub tcp_time_wait: Option<u64>,
    /// Round-trip times of about the last minute; on the node's own network, those of the connections
    /// that are open. Absent where there were none.
    pub tcp_rtt: Option<RttPercentiles>,
}

/// Dropped packets by reason, in the reasons' order.
///
/// Written as a map. A name that this build does not know keeps its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drops(Vec<(Cow<'static, str>, u64)>);

impl Drops {
    /// Returns each reason with its number.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(reason, count)| (&**reason, *count))
    }

    /// Returns all of them together.
    pub fn total(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }
}

impl FromIterator<(&'static str, u64)> for Drops {
    fn from_iter<I: IntoIterator<Item = (&'static str, u64)>>(counts: I) -> Self {
        let counts = counts.into_iter();
        Self(
            counts
                .map(|(reason, count)| (Cow::Borrowed(reason), count))
                .collect(),
        )
    }
}

impl Serialize for Drops {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Drops {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let counts = BTreeMap::<String, u64>::deserialize(deserializer)?.into_iter();
        Ok(Self(
            counts
                .map(|(reason, count)| (Cow::Owned(reason), count))
                .collect(),
        ))
    }
}

/// Packets and bytes of a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Packets that reached it.
    pub rx_packets: u64,
    /// Bytes that reached it.
    pub rx_bytes: u64,
    /// Packets for it that were dropped, by reason.
    pub rx_drops: Drops,
    /// Packets that left it.
    pub tx_packets: u64,
    /// Bytes that left it.
    pub tx_bytes: u64,
    /// Packets of it that were dropped, by reason.
    pub tx_drops: Drops,
}

/// Round-trip times in microseconds; each at most a quarter too high.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RttPercentiles {
    /// The median.
    pub p50_us: u64,
    /// The 90th percentile.
    pub p90_us: u64,
    /// The 95th percentile.
    pub p95_us: u64,
    /// The 99th percentile.
    pub p99_us: u64,
    /// How many were measured.
    pub samples: u64,
}

impl From<cgroup::Throttling> for CpuThrottling {
    fn from(said: cgroup::Throttling) -> Self {
        let cgroup::Throttling {
            periods,
            throttled_periods,
            throttled_us,
        } = said;
        Self {
            periods,
            throttled_periods,
            throttled_us,
        }
    }
}

impl From<cgroup::MemoryEvents> for MemoryEvents {
    fn from(said: cgroup::MemoryEvents) -> Self {
        let cgroup::MemoryEvents {
            low,
            high,
            max,
            oom,
            oom_kill,
        } = said;
        Self {
            low,
            high,
            max,
            out_of_memory: oom,
            processes_killed: oom_kill,
        }
    }
}

impl From<cgroup::Pressure> for Pressure {
    fn from(said: cgroup::Pressure) -> Self {
        let stalled = |cgroup::Stalled { some_us, full_us }| Stalled { some_us, full_us };
        Self {
            cpu: stalled(said.cpu),
            memory: stalled(said.memory),
            io: stalled(said.io),
        }
    }
}
