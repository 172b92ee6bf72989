//! The ports that the configuration lends to containers.

use weir_resources::{PortRange, PortSet};

/// The lowest port that is handed out without being asked for by number.
///
/// Below it a number means a service, and a peer may trust what only root could bind (NFS does).
pub(super) const UNPRIVILEGED_PORT_FIRST: u16 = 1024;

/// How many ports an ephemeral block holds: a power of two, so that blocks of one size are aligned
/// and never overlap by halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSize(u16);

/// Says why a number is not the size of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "ephemeral block of {ports} ports: the size must be a power of two between {min} and {max}, \
     such as 1024",
    min = BlockSize::MIN,
    max = BlockSize::MAX
)]
pub struct BlockSizeError {
    /// The size that was asked for.
    pub ports: u32,
}

impl BlockSize {
    /// The smallest block: one name look-up that asks two resolvers for two address families, and
    /// again, takes eight ports by itself.
    pub const MIN: u16 = 16;

    /// The largest block that can be aligned: port 0 spoils the block of 65,536.
    pub const MAX: u16 = 32_768;

    /// Returns the size of `ports` ports.
    pub fn new(ports: u32) -> Result<Self, BlockSizeError> {
        match u16::try_from(ports) {
            Ok(size) if size.is_power_of_two() && (Self::MIN..=Self::MAX).contains(&size) => {
                Ok(Self(size))
            }
            Ok(_) | Err(_) => Err(BlockSizeError { ports }),
        }
    }

    /// Returns how many ports a block holds.
    pub const fn ports(self) -> u16 {
        self.0
    }

    /// Returns the blocks that lie wholly in `range`, the highest first.
    fn blocks_in(self, range: PortRange) -> impl Iterator<Item = PortRange> {
        let size = u32::from(self.0);
        let begin = u32::from(range.first()).div_ceil(size);
        let end = (u32::from(range.last()) + 1) / size;
        (begin..end).rev().filter_map(move |index| {
            let first = u16::try_from(index * size).ok()?;
            PortRange::new(first, first + (self.0 - 1)).ok()
        })
    }
}

/// The ports that containers may own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pools {
    assigned: PortSet,
    ephemeral: PortSet,
    block: BlockSize,
}

/// Says why pools cannot be used together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolsError {
    /// A port that would be handed out twice.
    #[error(
        "ports {ports} are in both the container ports and the ephemeral ports; \
         take them out of one"
    )]
    Overlap {
        /// What is in both.
        ports: PortSet,
    },
    /// Ephemeral ports where services live.
    #[error(
        "ephemeral ports {ports} are below 1024, where services have their fixed ports; \
         begin the pool at 1024"
    )]
    Privileged {
        /// What is below.
        ports: PortSet,
    },
    /// A pool from which no container can start.
    #[error(
        "ephemeral ports `{ephemeral}` hold no block of {block}: a block begins at a multiple of \
         {block}; write 61440-65535, or lower the block size"
    )]
    NoBlock {
        /// The pool.
        ephemeral: PortSet,
        /// The size of a block.
        block: u16,
    },
}

impl Pools {
    /// Returns the pools, if no port is in both and there is room for one container.
    pub fn new(
        assigned: PortSet,
        ephemeral: PortSet,
        block: BlockSize,
    ) -> Result<Self, PoolsError> {
        let overlap = assigned.intersect(&ephemeral);
        if !overlap.is_empty() {
            return Err(PoolsError::Overlap { ports: overlap });
        }
        let privileged = ephemeral.subtract(&unprivileged());
        if !privileged.is_empty() {
            return Err(PoolsError::Privileged { ports: privileged });
        }
        let pools = Self {
            assigned,
            ephemeral,
            block,
        };
        if pools.blocks().next().is_none() {
            return Err(PoolsError::NoBlock {
                block: block.ports(),
                ephemeral: pools.ephemeral,
            });
        }
        Ok(pools)
    }

    /// Returns the ports that a container may ask for.
    pub fn assigned(&self) -> &PortSet {
        &self.assigned
    }

    /// Returns the ports that ephemeral blocks are cut from.
    pub fn ephemeral(&self) -> &PortSet {
        &self.ephemeral
    }

    /// Returns the size of a block.
    pub fn block(&self) -> BlockSize {
        self.block
    }

    /// Returns every block of the pool, in the order in which they are given out: the highest first,
    /// for low ports are where services are.
    pub fn blocks(&self) -> impl Iterator<Item = PortRange> {
        self.ephemeral
            .ranges()
            .iter()
            .rev()
            .flat_map(|range| self.block.blocks_in(*range))
    }

    /// Returns every port that a container may ever own: the assigned ones and whole blocks.
    pub fn lent(&self) -> PortSet {
        self.assigned.union(&self.blocks().collect())
    }
}

/// Returns the ports from 1024 on.
pub(super) fn unprivileged() -> PortSet {
    PortRange::new(UNPRIVILEGED_PORT_FIRST, u16::MAX)
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(text: &str) -> PortSet {
        text.parse().unwrap()
    }

    fn pools(assigned: &str, ephemeral: &str, block: u32) -> Result<Pools, PoolsError> {
        Pools::new(
            ports(assigned),
            ports(ephemeral),
            BlockSize::new(block).unwrap(),
        )
    }

    #[test]
    fn block_sizes_are_powers_of_two_that_can_be_aligned() {
        for size in [16, 1024, 32_768] {
            assert_eq!(u32::from(BlockSize::new(size).unwrap().ports()), size);
        }
        for size in [0, 1, 8, 1000, 65_536, 65_552, u32::MAX] {
            assert_eq!(BlockSize::new(size), Err(BlockSizeError { ports: size }));
        }
        assert_eq!(
            BlockSize::new(1000).unwrap_err().to_string(),
            "ephemeral block of 1000 ports: the size must be a power of two between 16 and 32768, \
             such as 1024"
        );
    }

    #[test]
    fn the_defaults_hold_33_containers() {
        let pools = pools("30720-32767", "1024-30719,61440-65535", 1024).unwrap();
        let blocks: Vec<_> = pools.blocks().collect();
        assert_eq!(blocks.len(), 33);
        assert_eq!(blocks[0].to_string(), "64512-65535");
        assert_eq!(blocks[3].to_string(), "61440-62463");
        assert_eq!(blocks[4].to_string(), "29696-30719");
        assert_eq!(blocks[32].to_string(), "1024-2047");
        assert_eq!(pools.lent().to_string(), "1024-32767,61440-65535");
    }

    #[test]
    fn a_block_lies_wholly_in_the_pool() {
        let pools = pools("", "61000-64000", 1024).unwrap();
        let blocks: Vec<_> = pools.blocks().map(|block| block.to_string()).collect();
        assert_eq!(blocks, ["62464-63487", "61440-62463"]);
    }

    #[test]
    fn pools_that_share_a_port_are_refused() {
        assert_eq!(
            pools("31000-31999", "30720-32767", 1024)
                .unwrap_err()
                .to_string(),
            "ports 31000-31999 are in both the container ports and the ephemeral ports; \
             take them out of one"
        );
    }

    #[test]
    fn a_pool_without_a_whole_block_is_refused() {
        for ephemeral in ["", "1024-2046", "1025-3000"] {
            assert!(matches!(
                pools("", ephemeral, 1024),
                Err(PoolsError::NoBlock { .. })
            ));
        }
    }

    #[test]
    fn ephemeral_ports_below_1024_are_refused() {
        assert_eq!(
            pools("80,443", "512-4095", 1024).unwrap_err().to_string(),
            "ephemeral ports 512-1023 are below 1024, where services have their fixed ports; \
             begin the pool at 1024"
        );
        assert!(pools("80,443", "1024-4095", 1024).is_ok());
    }
}
