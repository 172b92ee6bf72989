//! The ways in which a packet can come from the wire to a container and back: Weir's and its
//! alternatives, each in network namespaces of its own.
//!
//! ```text
//!   wire ── w0 ═══ up0 ── host ── v1 ═══ eth0 ── container
//!                           └──── v2 ═══ eth0 ── another container
//! ```

mod mesos;
mod plain;
mod weir;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use weir_resources::{PortRange, PortSet};

use self::weir::WeirNode;
pub(crate) use self::weir::{UPLINK, address, container_link};
use crate::ground::Ground;
use crate::place::Place;

/// How many ranges the container owns. The first and the last are what the goals speak of.
pub(crate) const RANGES: [u32; 4] = [1, 16, 128, RANGES_MAX];
pub(crate) const RANGES_MAX: u32 = 1000;

/// Every range is an aligned block of a power of two: the only kind that one `u32` filter matches. A
/// range of any other kind takes Mesos' way six or seven filters, so this is in its favour.
const BLOCK: u16 = 16;
/// Every other block belongs to nobody, so that no two ranges are one.
const STRIDE: u16 = 32;
const FIRST: u16 = 1024;

/// The address of the wire.
pub(crate) const WIRE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
/// The address of the node, which containers share in Mesos' way and in Weir's.
pub(crate) const NODE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A router with an address per container.
    Routing,
    /// A bridge with an address per container.
    Bridge,
    /// A `u32` filter per range, which redirects.
    Filters { ranges: u32, meets: Meets },
    /// Weir, with or without the kernel measuring the programs' time, which the agent has it do
    /// unless it is configured otherwise.
    Weir { ranges: u32, statistics: bool },
}

/// Which of the filters is the packet's: those before it are tried in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meets {
    /// The one in the middle: a packet to any of the ranges, on average.
    Middle,
    /// The last: also what every packet pays that is not a container's.
    Last,
}

impl Subject {
    /// Weir as it comes.
    pub(crate) const fn weir(ranges: u32) -> Self {
        Self::Weir {
            ranges,
            statistics: true,
        }
    }

    /// Mesos' way, at its slowest.
    pub(crate) const fn filters(ranges: u32) -> Self {
        Self::Filters {
            ranges,
            meets: Meets::Last,
        }
    }

    /// Returns every subject once, in the order of the tables.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self::Routing, Self::Bridge];
        all.extend(RANGES.map(Self::filters));
        all.push(Self::Filters {
            ranges: RANGES_MAX,
            meets: Meets::Middle,
        });
        all.extend(RANGES.map(Self::weir));
        all.push(Self::Weir {
            ranges: 1,
            statistics: false,
        });
        all
    }

    /// Returns those that differ in more than a detail.
    pub(crate) fn distinct() -> Vec<Self> {
        let mut all = Self::all();
        all.retain(|subject| match subject {
            Self::Routing | Self::Bridge => true,
            Self::Filters { meets, .. } => *meets == Meets::Last,
            Self::Weir { statistics, .. } => *statistics,
        });
        all
    }

    /// Returns how many ranges the container owns, where it owns ranges.
    pub(crate) fn ranges(self) -> Option<u32> {
        match self {
            Self::Routing | Self::Bridge => None,
            Self::Filters { ranges, .. } | Self::Weir { ranges, .. } => Some(ranges),
        }
    }

    /// Returns what to call it in a table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Routing => "plain routing",
            Self::Bridge => "Linux bridge",
            Self::Filters {
                meets: Meets::Last, ..
            } => "Mesos' way, the last filter matches",
            Self::Filters {
                meets: Meets::Middle,
                ..
            } => "Mesos' way, the middle filter matches",
            Self::Weir {
                statistics: true, ..
            } => "**Weir**",
            Self::Weir {
                statistics: false, ..
            } => "Weir, `program_statistics = false`",
        }
    }

    /// Returns the container's port that is talked to.
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Filters {
                ranges,
                meets: Meets::Middle,
            } => first_of(ranges / 2),
            Self::Routing | Self::Bridge | Self::Filters { .. } | Self::Weir { .. } => {
                first_of(RANGES_MAX - 1)
            }
        }
    }

    /// Returns the subject whose sockets this one uses: Weir's containers are one.
    pub(crate) fn sockets(self) -> Self {
        match self {
            Self::Weir { .. } => Self::weir(RANGES_MAX),
            Self::Routing | Self::Bridge | Self::Filters { .. } => self,
        }
    }
}

/// Returns the first port of a block.
fn first_of(block: u32) -> u16 {
    FIRST + STRIDE * u16::try_from(block).expect("there are fewer blocks than ports")
}

/// Returns the blocks of a container that owns so many, the one that is talked to last.
fn blocks(ranges: u32) -> impl Iterator<Item = u32> {
    (0..ranges - 1).chain([RANGES_MAX - 1])
}

/// Returns so many ranges as a set.
pub(crate) fn port_set(ranges: u32) -> PortSet {
    blocks(ranges)
        .map(|block| {
            let first = first_of(block);
            PortRange::new(first, first + BLOCK - 1).expect("the last block ends below 65536")
        })
        .collect()
}

/// A wire, a host and its containers.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) wire: Place,
    pub(crate) host: Place,
    pub(crate) container: Place,
    /// Where the container is found.
    pub(crate) address: IpAddr,
    /// Another container of the same host, and where and on which port it is found.
    pub(crate) other: Option<(Place, SocketAddr)>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Paths {
    routing: Path,
    bridge: Path,
    filters: Vec<(u32, Path)>,
    weir: WeirNode,
}

impl Paths {
    /// Builds them, and loads the data plane.
    pub(crate) fn build(ground: &Ground) -> Result<Self> {
        let filters = RANGES
            .into_iter()
            .map(|ranges| Ok((ranges, mesos::build(ranges)?)))
            .collect::<Result<_>>()
            .context("cannot build Mesos' way")?;
        Ok(Self {
            routing: plain::routing().context("cannot build a router")?,
            bridge: plain::bridge().context("cannot build a bridge")?,
            filters,
            weir: WeirNode::start(ground).context("cannot build Weir's way")?,
        })
    }

    /// Returns the path of a subject, as it was made.
    pub(crate) fn path(&self, subject: Subject) -> Result<&Path> {
        match subject {
            Subject::Routing => Ok(&self.routing),
            Subject::Bridge => Ok(&self.bridge),
            Subject::Filters { ranges, .. } => self
                .filters
                .iter()
                .find(|(built, _)| *built == ranges)
                .map(|(_, path)| path)
                .with_context(|| format!("no path with {ranges} filters was built")),
            Subject::Weir { .. } => Ok(self.weir.path()),
        }
    }

    /// Makes a subject what it is to be when it is measured.
    pub(crate) fn prepare(&mut self, subject: Subject) -> Result<()> {
        match subject {
            Subject::Routing | Subject::Bridge | Subject::Filters { .. } => Ok(()),
            Subject::Weir { ranges, statistics } => self.weir.prepare(ranges, statistics),
        }
    }
}
