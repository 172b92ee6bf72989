//! What is measured, and how it is served.
//!
//! ```text
//!  kernel maps ──(NetworkStatistics)──┐
//!  cgroups, /proc ────────────────────┼─▶ Telemetry::measure ─┬─▶ metrics    ─▶ /metrics
//!  container task ──(watch: Listing)──┤      (on demand)      ├─▶ mesos      ─▶ /monitor/statistics.json
//!  session ──(watch: SessionReport)───┤                       │
//!  gate ──(ScrapeCounts)──────────────┘                       └─▶ statistics ─▶ weir-agent stats
//! ```
//!
//! Nothing is measured until somebody asks: the kernel counts anyway, and an agent that nobody
//! scrapes costs nothing. Reading blocks (`/proc`, maps), so it runs on tokio's threads for that,
//! one reading at a time.

mod facilities;
mod families;
mod http;
mod measure;
mod mesos;
mod metrics;
mod offered;
mod procfs;
mod queues;
#[cfg(test)]
mod reference;
mod rtt;
mod statistics;

pub use facilities::{
    FollowStatistics, NetworkStatistics, ProgramStatistics, QueueStatistics, Queues, WireQueue,
    WireShare, WireStatistics,
};
pub(crate) use measure::Snapshot;
pub use measure::Telemetry;
pub(crate) use metrics::{Family, Kind, Sample, Value, float};
pub use statistics::{
    ContainerStatistics, CpuThrottling, Drops, MemoryEvents, MemorySource, NetworkUse, Pressure,
    RttPercentiles, Stalled,
};
