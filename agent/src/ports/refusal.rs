//! Why ports cannot be had, with the numbers that disagree and what to do.

use std::fmt;
use std::time::Duration;

use weir_resources::PortSet;

/// Says why a request for ports is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Ports that the agent does not lend.
    #[error(
        "{} outside the agent's {}; ask for ports within it, or widen `container_ports`",
        Ports(ports),
        Abridged(pool)
    )]
    OutsidePool {
        /// What is outside.
        ports: PortSet,
        /// What the agent lends.
        pool: PortSet,
    },
    /// Ports that another container owns.
    #[error(
        "{} owned by container {owner}; ask for others, or end it",
        Ports(ports)
    )]
    Owned {
        /// What it owns of the request.
        ports: PortSet,
        /// The container, as it is shown to people.
        owner: String,
    },
    /// Ports that a process of the node uses.
    #[error(
        "{} in use on the node; ask for others, or stop what uses them (`ss -antup`)",
        Ports(ports)
    )]
    InUse {
        /// What is in use of the request.
        ports: PortSet,
    },
    /// Ports that were freed a moment ago.
    #[error(
        "{} freed {} s ago, free again in {} s; ask for others, or wait",
        Were(ports), freed_ago.as_secs(), whole_seconds(*free_in)
    )]
    Quarantined {
        /// What rests of the request, the part that rests longest.
        ports: PortSet,
        /// When it was freed.
        freed_ago: Duration,
        /// When it can be had.
        free_in: Duration,
    },
    /// Fewer free ports than were asked for.
    #[error("asked for {asked} ports, {}{} are free: {census}", Has(*held), census.free)]
    TooFew {
        /// How many were asked for, in all.
        asked: u16,
        /// How many of these it has already.
        held: u32,
        /// What became of the pool.
        census: PortCensus,
    },
    /// A container to update that is not there.
    #[error("container {owner} owns no ports; it has ended, or never began")]
    Unknown {
        /// The container.
        owner: String,
    },
    /// No ephemeral block.
    #[error("no ephemeral block is free: {0}")]
    NoBlock(BlockCensus),
}

impl Refusal {
    /// Returns whether the same request may be granted later without a change of configuration.
    pub fn is_retryable(&self) -> bool {
        match self {
            // Containers end, processes close their sockets, and rest is over after a minute.
            Self::Owned { .. }
            | Self::InUse { .. }
            | Self::Quarantined { .. }
            | Self::NoBlock(_) => true,
            // More than the pool holds will never be free.
            Self::TooFew {
                asked,
                held,
                census,
            } => u32::from(*asked).saturating_sub(*held) <= census.holds,
            // Only the operator can change the pool.
            Self::OutsidePool { .. } => false,
            // What has ended does not come back under its id.
            Self::Unknown { .. } => false,
        }
    }
}

/// "of which it has 4, and ", where it has any.
struct Has(u32);

impl fmt::Display for Has {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            held => write!(f, "of which it has {held}, and "),
        }
    }
}

/// What became of the ports that are given out by count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortCensus {
    /// The agent's container ports from 1024 on: lower ones must be asked for by number.
    pub pool: PortSet,
    /// How many there are.
    pub holds: u32,
    /// How many are owned by containers.
    pub taken: u32,
    /// How many rest, and are not in use.
    pub quarantined: u32,
    /// How many a process of the node uses.
    pub in_use: u32,
    /// How many are left.
    pub free: u32,
}

impl fmt::Display for PortCensus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the agent's {} hold {}, {} taken",
            Abridged(&self.pool),
            self.holds,
            self.taken
        )?;
        if self.in_use > 0 {
            write!(f, ", {} in use on the node", self.in_use)?;
        }
        if self.quarantined > 0 {
            write!(f, ", {} freed a moment ago", self.quarantined)?;
        }
        f.write_str("; ask for fewer, end a container, or widen `container_ports`")
    }
}

/// What became of the ephemeral blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockCensus {
    /// The agent's ephemeral ports.
    pub pool: PortSet,
    /// How many ports a block holds.
    pub block: u16,
    /// How many blocks the pool holds.
    pub holds: u32,
    /// How many have a port that a container owns.
    pub taken: u32,
    /// How many have a port that a process of the node uses.
    pub in_use: u32,
    /// How many have a port that rests, and none in use.
    pub quarantined: u32,
    /// When the first of the resting blocks is free again.
    pub free_in: Option<Duration>,
}

impl fmt::Display for BlockCensus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the pool {} holds {} blocks of {}: {} taken",
            Abridged(&self.pool),
            self.holds,
            self.block,
            self.taken
        )?;
        if self.in_use > 0 {
            write!(f, ", {} with a port in use on the node", self.in_use)?;
        }
        if self.quarantined > 0 {
            write!(f, ", {} freed a moment ago", self.quarantined)?;
        }
        if let Some(free_in) = self.free_in {
            write!(
                f,
                " (the first is free again in {} s)",
                whole_seconds(free_in)
            )?;
        }
        f.write_str("; end a container, widen `ephemeral_ports` or lower `ephemeral_block`")
    }
}

/// Ports as the subject of a sentence in the present.
struct Ports<'a>(&'a PortSet);

impl fmt::Display for Ports<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (noun, verb) = match self.0.count() {
            1 => ("port", "is"),
            _ => ("ports", "are"),
        };
        write!(f, "{noun} {} {verb}", Abridged(self.0))
    }
}

/// Ports as the subject of a sentence in the past.
struct Were<'a>(&'a PortSet);

impl fmt::Display for Were<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (noun, verb) = match self.0.count() {
            1 => ("port", "was"),
            _ => ("ports", "were"),
        };
        write!(f, "{noun} {} {verb}", Abridged(self.0))
    }
}

/// A set of ports in a message: a request may name thousands of ranges, a sentence should not.
pub(super) struct Abridged<'a>(pub(super) &'a PortSet);

impl fmt::Display for Abridged<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const RANGES_SHOWN: usize = 6;
        let ranges = self.0.ranges();
        if ranges.is_empty() {
            return f.write_str("(none)");
        }
        for (index, range) in ranges.iter().take(RANGES_SHOWN).enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{range}")?;
        }
        match ranges.len().saturating_sub(RANGES_SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more ranges"),
        }
    }
}

/// Returns the seconds to wait: a wait that is too short by a moment is a second refusal.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(text: &str) -> PortSet {
        text.parse().unwrap()
    }

    #[test]
    fn refusals_name_the_numbers_and_the_remedy() {
        let pool = ports("31000-31999");
        for (refusal, message) in [
            (
                Refusal::OutsidePool {
                    ports: ports("80,443"),
                    pool: pool.clone(),
                },
                "ports 80,443 are outside the agent's 31000-31999; ask for ports within it, \
                 or widen `container_ports`",
            ),
            (
                Refusal::Owned {
                    ports: ports("31005"),
                    owner: "web".to_owned(),
                },
                "port 31005 is owned by container web; ask for others, or end it",
            ),
            (
                Refusal::InUse {
                    ports: ports("31005"),
                },
                "port 31005 is in use on the node; ask for others, or stop what uses them \
                 (`ss -antup`)",
            ),
            (
                Refusal::Quarantined {
                    ports: ports("31005"),
                    freed_ago: Duration::from_millis(12_400),
                    free_in: Duration::from_millis(47_600),
                },
                "port 31005 was freed 12 s ago, free again in 48 s; ask for others, or wait",
            ),
            (
                Refusal::TooFew {
                    asked: 200,
                    held: 0,
                    census: PortCensus {
                        pool,
                        holds: 1000,
                        taken: 800,
                        quarantined: 57,
                        in_use: 0,
                        free: 143,
                    },
                },
                "asked for 200 ports, 143 are free: the agent's 31000-31999 hold 1000, 800 \
                 taken, 57 freed a moment ago; ask for fewer, end a container, or widen \
                 `container_ports`",
            ),
            (
                Refusal::NoBlock(BlockCensus {
                    pool: ports("61440-65535"),
                    block: 1024,
                    holds: 4,
                    taken: 3,
                    in_use: 0,
                    quarantined: 1,
                    free_in: Some(Duration::from_secs(48)),
                }),
                "no ephemeral block is free: the pool 61440-65535 holds 4 blocks of 1024: 3 \
                 taken, 1 freed a moment ago (the first is free again in 48 s); end a container, \
                 widen `ephemeral_ports` or lower `ephemeral_block`",
            ),
        ] {
            assert_eq!(refusal.to_string(), message);
        }
    }

    #[test]
    fn a_message_stays_a_sentence_however_many_ranges_were_asked_for() {
        let every_other: PortSet = (1..2000_u16)
            .step_by(2)
            .map(|port| weir_resources::PortRange::single(port).unwrap())
            .collect();
        let message = Refusal::InUse { ports: every_other }.to_string();
        assert!(
            message.starts_with("ports 1,3,5,7,9,11 and 994 more ranges are in use"),
            "{message}"
        );
    }
}
