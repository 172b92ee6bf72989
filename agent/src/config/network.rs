//! `[network]`: ports, uplinks and programs.

use std::path::PathBuf;

use serde::Deserialize;
use weir_resources::PortSet;

use crate::ports::{BlockSize, Pools, PoolsError};

/// What containers share of the node's network.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// How the programs are attached to interfaces.
    pub attach: AttachMode,
    /// The directory, on a bpffs, that keeps programs and maps alive without the agent.
    pub pin_directory: PathBuf,
    /// The interfaces that lead outside; empty for every Ethernet interface with a global address.
    pub uplinks: Vec<String>,
    /// Where containers' ephemeral blocks are taken from.
    pub ephemeral_ports: PortSet,
    /// The number of ephemeral ports of each container.
    pub ephemeral_block: u32,
    /// The ports that can be asked for with `--ports`.
    pub container_ports: PortSet,
    /// How long a freed port rests before it is given to another container.
    pub quarantine_ms: u64,
    /// Whether the pools are taken out of the node's own ephemeral range where they overlap it.
    pub reserve_ports: bool,
    /// Whether the kernel measures the run time of each program.
    pub program_statistics: bool,
}

impl NetworkConfig {
    #[cfg(test)]
    pub(super) const KEYS: &[&str] = &[
        "attach",
        "pin_directory",
        "uplinks",
        "ephemeral_ports",
        "ephemeral_block",
        "container_ports",
        "quarantine_ms",
        "reserve_ports",
        "program_statistics",
    ];
}

/// A key of this table, what is wrong with its value, and what to do.
pub(super) type PortsComplaint = (&'static str, String, String);

impl NetworkConfig {
    /// Returns the ports that containers may own.
    pub(crate) fn checked_pools(&self) -> Pools {
        self.pools()
            .expect("a configuration is only handed out when its pools are possible")
    }

    /// Returns the ports that containers may own, or which key makes that impossible and why.
    pub(super) fn pools(&self) -> Result<Pools, PortsComplaint> {
        let block = BlockSize::new(self.ephemeral_block).map_err(|error| {
            let what = format!("= {} is not the size of a block", error.ports);
            let (min, max) = (BlockSize::MIN, BlockSize::MAX);
            let remedy = format!("use a power of two from {min} to {max}, for example 512 or 1024");
            ("ephemeral_block", what, remedy)
        })?;
        let (assigned, ephemeral) = (self.container_ports.clone(), self.ephemeral_ports.clone());
        Pools::new(assigned, ephemeral, block).map_err(|error| match error {
            PoolsError::Overlap { ports } => (
                "container_ports",
                format!("= \"{}\" shares {ports} with ephemeral_ports", self.container_ports),
                "take these ports out of one of the two: a port has one owner".to_owned(),
            ),
            PoolsError::Privileged { ports } => (
                "ephemeral_ports",
                format!("= \"{}\" holds {ports}, where services live", self.ephemeral_ports),
                "begin the pool at 1024".to_owned(),
            ),
            PoolsError::NoBlock { ephemeral, block } => (
                "ephemeral_ports",
                format!(
                    "= \"{ephemeral}\" holds no block of {block} ports that begins at a multiple of {block}"
                ),
                "widen it, or use a smaller ephemeral_block".to_owned(),
            ),
        })
    }
}

impl Default for NetworkConfig {
    fn default() -> Self {
        let ports = |text: &str| {
            text.parse()
                .expect("a default is a set of ports: a test says so")
        };
        Self {
            attach: AttachMode::Auto,
            pin_directory: PathBuf::from("/sys/fs/bpf/weir"),
            uplinks: Vec::new(),
            ephemeral_ports: ports("1024-30719,61440-65535"),
            ephemeral_block: 1024,
            container_ports: ports("31000-31999"),
            quarantine_ms: 60_000,
            reserve_ports: true,
            program_statistics: true,
        }
    }
}

/// How programs are attached to interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttachMode {
    /// tcx where the kernel has it (6.6), clsact where not.
    Auto,
    /// tcx links, or an error.
    Tcx,
    /// A clsact qdisc with direct-action filters, on any kernel.
    Clsact,
}
