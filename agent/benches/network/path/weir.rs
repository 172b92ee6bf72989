//! Weir's way: the data plane that the agent loads, with a container of the agent's making.
//!
//! A container here is what the agent gives one, but for its processes: threads of the benchmark
//! stand for them, in its namespace and in the cgroup where TCP is watched.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use tokio::runtime::{Builder, Runtime};
use weir_agent::config::{AttachMode, BandwidthConfig};
use weir_agent::container::{
    Attachment, Bandwidth, ContainerId, ContainerNetwork as _, NetworkFault, Slot,
};
use weir_agent::network::{NetworkHandle, NetworkSettings, start};
use weir_executor::spec::NetworkMode;
use weir_resources::{PortRange, PortSet};

use super::{NODE, Path, RANGES_MAX, WIRE, port_set};
use crate::ground::Ground;
use crate::place::Place;

/// The node's interface to the wire.
pub(crate) const UPLINK: &str = "up0";

/// A port of the other container.
const OTHER_PORT: u16 = 36_000;

const CONTAINER: u64 = 1;
const OTHER: u64 = 2;

/// Returns the node's end of the container's link, as the agent names it.
pub(crate) fn container_link() -> String {
    format!("we{}", ContainerId::from_random(CONTAINER))
}

/// A node with the data plane in force.
pub(super) struct WeirNode {
    path: Path,
    slot: Slot,
    ranges: u32,
    handle: NetworkHandle,
    /// Dropped after the handle, whose going ends what runs there.
    runtime: Option<Runtime>,
    /// Open while the kernel is to measure programs.
    statistics: Option<OwnedFd>,
}

impl std::fmt::Debug for WeirNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeirNode")
            .field("ranges", &self.ranges)
            .finish_non_exhaustive()
    }
}

impl WeirNode {
    /// Builds the node, loads the data plane and attaches the containers.
    pub(super) fn start(ground: &Ground) -> Result<Self> {
        let (wire, host) = (Place::with_ipv6()?, Place::with_ipv6()?);
        host.join((UPLINK, ""), &wire, ("w0", ""))?;
        address(&host, &wire)?;

        let state_directory = ground.home().join("network");
        fs::create_dir_all(&state_directory).context("cannot create the state directory")?;
        let settings = NetworkSettings {
            attach: AttachMode::Auto,
            pins: ground.bpffs().join("network"),
            uplinks: Vec::new(),
            cgroup_root: ground.cgroup_root().to_owned(),
            cgroup_parent: ground.container_cgroup(),
            state_directory,
            reserved_ports: None,
            // Turned on and off from here.
            bandwidth: BandwidthConfig::default(),
            program_statistics: false,
        };
        // The workers of the runtime, and the owner's thread, inherit the node's namespace.
        let (runtime, handle) = host.run(|| {
            let runtime = Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()?;
            let handle = runtime.block_on(async { start(settings) })?;
            Ok::<_, anyhow::Error>((runtime, handle))
        })??;
        let attach = |slot: u32, id, ports| {
            let attachment = attachment(slot, id, ports)?;
            let (mode, ephemeral) = (attachment.mode, attachment.ephemeral);
            let joined = runtime.block_on(async {
                let prepared = handle
                    .prepare(&attachment.container, attachment.slot, mode, ephemeral)
                    .await?;
                handle.attach(attachment.clone(), prepared.made).await?;
                Ok(prepared.netns)
            });
            let netns = joined
                .map_err(|fault: NetworkFault| anyhow!(fault))
                .context("cannot attach a container")?
                .context("an isolated container has a namespace")?;
            Ok::<_, anyhow::Error>((
                attachment.slot,
                Place::of_container(netns, ground.container_cgroup()),
            ))
        };
        let (slot, container) = attach(0, CONTAINER, port_set(RANGES_MAX))?;
        let (_, other) = attach(1, OTHER, PortRange::single(OTHER_PORT)?.into())?;
        let path = Path {
            wire,
            host,
            container,
            address: NODE.into(),
            other: Some((other, SocketAddr::from((NODE, OTHER_PORT)))),
        };
        Ok(Self {
            path,
            slot,
            ranges: RANGES_MAX,
            handle,
            runtime: Some(runtime),
            statistics: None,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the container own so many ranges, and the kernel measure programs or not.
    pub(super) fn prepare(&mut self, ranges: u32, statistics: bool) -> Result<()> {
        if self.ranges != ranges {
            let runtime = self.runtime.as_ref().context("the node runs")?;
            runtime
                .block_on(self.handle.update_ports(self.slot, &port_set(ranges)))
                .map_err(|fault| anyhow!(fault))
                .context("cannot change the container's ports")?;
            self.ranges = ranges;
        }
        if statistics && self.statistics.is_none() {
            let measured = aya::sys::enable_stats(aya::sys::Stats::RunTime)
                .context("the kernel does not measure programs")?;
            self.statistics = Some(measured);
        } else if !statistics {
            self.statistics = None;
        }
        Ok(())
    }
}

impl Drop for WeirNode {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

/// Gives a node and its wire addresses and routes of both families.
pub(crate) fn address(host: &Place, wire: &Place) -> Result<()> {
    host.ip(&format!("address add {NODE}/24 dev {UPLINK}"))?;
    // Without nodad an address is of no use for its first second.
    host.ip(&format!("-6 address add fd09::2/64 dev {UPLINK} nodad"))?;
    host.ip(&format!("route add default via {WIRE}"))?;
    host.ip("-6 route add default via fd09::1")?;
    wire.ip(&format!("address add {WIRE}/24 dev w0"))?;
    wire.ip("-6 address add fd09::1/64 dev w0 nodad")
}

fn attachment(slot: u32, id: u64, ports: PortSet) -> Result<Attachment> {
    let first = 40_960 + 512 * u16::try_from(slot)?;
    Ok(Attachment {
        container: ContainerId::from_random(id),
        slot: Slot::try_from(slot)?,
        mode: NetworkMode::Isolated,
        ports,
        ephemeral: Some(PortRange::new(first, first + 511)?),
        bandwidth: Bandwidth::default(),
        cgroup_id: 0,
    })
}
