//! The arithmetic of one node: what its containers get and what is left for itself.

use std::fmt;

use weir_resources::{PortRange, PortSet};

use super::pools::Pools;
use super::refusal::Abridged;
use super::sysctl::ReservedPorts;

/// The least number of ephemeral ports that a node keeps unless the configuration says else.
///
/// A closed connection holds its port for a minute towards one destination: 4,096 ports are 68 new
/// connections a second to a single server, more than a node opens for its own housekeeping (name
/// look-ups, image pulls, monitoring), and an eighth of what a stock host has.
pub const NODE_PORTS_MIN: u32 = 4096;

/// How the ports of one node are divided.
///
/// The kernel of the node chooses source ports from `ip_local_port_range`. Where that range meets
/// the pools, a connection of the node could be given a port whose answers go to a container. The
/// cure is `ip_local_reserved_ports`: the kernel then leaves those ports alone, and the node has as
/// many fewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlan {
    pools: Pools,
    node_range: PortRange,
    blocks: u32,
    /// How many of the blocks hold a port that the node itself uses, and all of those ports.
    occupied: (u32, PortSet),
    unused: PortSet,
    overlap: PortSet,
    to_reserve: PortSet,
    reserved_after: PortSet,
    node_ports_before: u32,
    node_ports_after: u32,
}

/// Says why a node cannot lend the ports of its configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodePlanError {
    /// Too little would be left.
    #[error(
        "the pools take {taken} of the {before} ports that the node itself connects from \
         ({range}), {after} would be left, at least {minimum} must be; move the pools out of \
         {range}, or widen ip_local_port_range",
        taken = before - after
    )]
    TooFewForTheNode {
        /// The node's `ip_local_port_range`.
        range: PortRange,
        /// What it has now.
        before: u32,
        /// What it would have.
        after: u32,
        /// What it must have.
        minimum: u32,
    },
    /// A list that the kernel would cut off.
    #[error(
        "reserving the pools makes ip_local_reserved_ports {bytes} bytes long, the kernel takes \
         {max}; use fewer and larger ranges"
    )]
    TextTooLong {
        /// The length of the list.
        bytes: usize,
        /// What the kernel takes.
        max: usize,
    },
}

impl NodePlan {
    /// Divides the ports, or says which numbers stand against it.
    ///
    /// `minimum` is what the node keeps at least, [`NODE_PORTS_MIN`] by default. Only what overlaps
    /// is reserved, not the whole pools: what need not be changed on a host is not.
    pub fn new(
        pools: Pools,
        node_range: PortRange,
        reserved: &ReservedPorts,
        minimum: u32,
    ) -> Result<Self, NodePlanError> {
        let node = PortSet::from(node_range);
        let blocks: PortSet = pools.blocks().collect();
        let overlap = pools.lent().intersect(&node);
        let to_reserve = overlap.subtract(reserved.ports());
        let reserved_after = reserved.ports().union(&overlap);
        let node_ports_before = node.subtract(reserved.ports()).count();
        let node_ports_after = node.subtract(&reserved_after).count();
        // Where nothing is taken there is nothing to refuse: a node that has few ports by its
        // administrator's will keeps them.
        if !to_reserve.is_empty() && node_ports_after < minimum {
            return Err(NodePlanError::TooFewForTheNode {
                range: node_range,
                before: node_ports_before,
                after: node_ports_after,
                minimum,
            });
        }
        let bytes = reserved_after.to_string().len();
        if !to_reserve.is_empty() && bytes > ReservedPorts::TEXT_BYTES_MAX {
            return Err(NodePlanError::TextTooLong {
                bytes,
                max: ReservedPorts::TEXT_BYTES_MAX,
            });
        }
        Ok(Self {
            blocks: blocks.count() / u32::from(pools.block().ports()),
            occupied: (0, PortSet::new()),
            unused: pools.ephemeral().subtract(&blocks),
            pools,
            node_range,
            overlap,
            to_reserve,
            reserved_after,
            node_ports_before,
            node_ports_after,
        })
    }

    /// Leaves out the blocks in which the node itself uses ports: no container gets one of those.
    pub fn without(mut self, in_use: &PortSet) -> Self {
        let blocks: Vec<PortSet> = self
            .pools
            .blocks()
            .map(|block| PortSet::from(block).intersect(in_use))
            .filter(|used| !used.is_empty())
            .collect();
        let count = u32::try_from(blocks.len()).expect("a block has ports, and they are few");
        let ports = blocks
            .iter()
            .fold(PortSet::new(), |all, used| all.union(used));
        self.occupied = (count, ports);
        self
    }

    /// Returns how many containers with a network of their own can run at once.
    pub fn containers(&self) -> u32 {
        let (occupied, _) = self.occupied;
        self.blocks - occupied
    }

    /// Returns the ephemeral ports that belong to no whole block, and so to nobody.
    pub fn unused(&self) -> &PortSet {
        &self.unused
    }

    /// Returns the ports that containers may own and the node's kernel would choose from.
    pub fn overlap(&self) -> &PortSet {
        &self.overlap
    }

    /// Returns what of the overlap is not reserved yet.
    pub fn to_reserve(&self) -> &PortSet {
        &self.to_reserve
    }

    /// Returns what `ip_local_reserved_ports` must hold; its text is what the kernel takes.
    pub fn reserved_after(&self) -> &PortSet {
        &self.reserved_after
    }

    /// Returns how many ports the node itself connects from before and after the reservation.
    pub fn node_ports(&self) -> (u32, u32) {
        (self.node_ports_before, self.node_ports_after)
    }
}

impl fmt::Display for NodePlan {
    /// Writes the plan as `doctor` shows it: a line for each number that somebody may ask for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let block = self.pools.block().ports();
        writeln!(
            f,
            "containers with their own network: {} at once, {block} ephemeral ports each, from {}",
            self.containers(),
            Abridged(self.pools.ephemeral())
        )?;
        let (occupied, used) = &self.occupied;
        if *occupied > 0 {
            writeln!(
                f,
                "ephemeral blocks: {}, and in {occupied} of them the node itself uses ports ({})",
                self.blocks,
                Abridged(used)
            )?;
        }
        if !self.unused.is_empty() {
            writeln!(
                f,
                "ephemeral ports in no whole block: {} ({}), of no use; \
                 a block begins at a multiple of {block}",
                self.unused.count(),
                Abridged(&self.unused)
            )?;
        }
        writeln!(
            f,
            "ports for services in containers: {} ({})",
            self.pools.assigned().count(),
            Abridged(self.pools.assigned())
        )?;
        if self.to_reserve.is_empty() {
            write!(
                f,
                "ports the node connects from: {} (ip_local_port_range {}), unchanged",
                self.node_ports_after, self.node_range
            )
        } else {
            write!(
                f,
                "ports the node connects from: {} of {} (ip_local_port_range {}), for {} are \
                 lent to containers and kept from the node with ip_local_reserved_ports ({})",
                self.node_ports_after,
                self.node_ports_before,
                self.node_range,
                self.to_reserve.count(),
                Abridged(&self.to_reserve)
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pools::BlockSize;
    use super::*;

    fn ports(text: &str) -> PortSet {
        text.parse().unwrap()
    }

    fn plan(assigned: &str, ephemeral: &str, reserved: &str) -> Result<NodePlan, NodePlanError> {
        let block = BlockSize::new(1024).unwrap();
        NodePlan::new(
            Pools::new(ports(assigned), ports(ephemeral), block).unwrap(),
            PortRange::new(32768, 60999).unwrap(),
            &ReservedPorts::parse(reserved).unwrap(),
            NODE_PORTS_MIN,
        )
    }

    #[test]
    fn the_defaults_leave_a_stock_host_as_it_is() {
        let plan = plan("30720-32767", "1024-30719,61440-65535", "").unwrap();
        assert_eq!(plan.containers(), 33);
        assert_eq!(plan.node_ports(), (28232, 28232));
        assert!(plan.overlap().is_empty() && plan.to_reserve().is_empty());
        assert_eq!(
            plan.to_string(),
            "containers with their own network: 33 at once, 1024 ephemeral ports each, \
             from 1024-30719,61440-65535\n\
             ports for services in containers: 2048 (30720-32767)\n\
             ports the node connects from: 28232 (ip_local_port_range 32768-60999), unchanged"
        );
    }

    #[test]
    fn a_block_in_which_the_node_listens_makes_no_room() {
        let plan = plan("30720-32767", "1024-30719,61440-65535", "")
            .unwrap()
            .without(&ports("22,2024,2025,9464,31000"));
        assert_eq!(plan.containers(), 31);
        let text = plan.to_string();
        let lines: Vec<&str> = text.lines().take(2).collect();
        assert_eq!(
            lines,
            [
                "containers with their own network: 31 at once, 1024 ephemeral ports each, \
                 from 1024-30719,61440-65535",
                "ephemeral blocks: 33, and in 2 of them the node itself uses ports \
                 (2024-2025,9464)",
            ]
        );
    }

    #[test]
    fn an_overlap_is_reserved_beside_what_is_reserved_already() {
        let plan = plan("30720-32999", "57000-65535", "8080,32768-32800\n").unwrap();
        assert_eq!(plan.containers(), 8);
        assert_eq!(plan.unused(), &ports("57000-57343"));
        assert_eq!(plan.overlap(), &ports("32768-32999,57344-60999"));
        assert_eq!(plan.to_reserve(), &ports("32801-32999,57344-60999"));
        assert_eq!(
            plan.reserved_after(),
            &ports("8080,32768-32999,57344-60999")
        );
        assert_eq!(plan.node_ports(), (28199, 24344));
        assert_eq!(
            plan.to_string(),
            "containers with their own network: 8 at once, 1024 ephemeral ports each, \
             from 57000-65535\n\
             ephemeral ports in no whole block: 344 (57000-57343), of no use; \
             a block begins at a multiple of 1024\n\
             ports for services in containers: 2280 (30720-32999)\n\
             ports the node connects from: 24344 of 28199 (ip_local_port_range 32768-60999), for \
             3855 are lent to containers and kept from the node with ip_local_reserved_ports \
             (32801-32999,57344-60999)"
        );
    }

    #[test]
    fn a_node_that_would_keep_too_little_is_refused() {
        assert_eq!(
            plan("", "1024-57343", "").unwrap_err().to_string(),
            "the pools take 24576 of the 28232 ports that the node itself connects from \
             (32768-60999), 3656 would be left, at least 4096 must be; move the pools out of \
             32768-60999, or widen ip_local_port_range"
        );
    }

    #[test]
    fn a_list_that_the_kernel_would_cut_off_is_refused() {
        let ragged: Vec<String> = (40_000..42_000_u16)
            .step_by(2)
            .map(|port| port.to_string())
            .collect();
        let error = plan(&ragged.join(","), "61440-65535", "").unwrap_err();
        assert_eq!(
            error,
            NodePlanError::TextTooLong {
                bytes: 5999,
                max: 4095
            }
        );
    }
}
