//! ICMP echo identifiers: rewritten on the way out to a number that the container owns.

use crate::Address;

/// One echo request under way, in the `ECHOES` array.
///
/// Each container has [`EchoEntry::PER_SLOT`] entries of its own, from index
/// `slot * PER_SLOT`; entry `i` stands for the identifier `ephemeral_first + i` on the wire. So a
/// reply finds its container by the owner of that port number, a container that pings the whole
/// world displaces only its own pings, and nothing is shared that would need a lock.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EchoEntry {
    /// Who was pinged.
    pub destination: Address,
    /// When the last request left, in nanoseconds of `CLOCK_MONOTONIC`; zero where never.
    pub used_ns: u64,
    /// The identifier that the container had chosen, as it lies in the header.
    pub id: u32,
    /// Always zero: explicit padding.
    pub reserved: u32,
}

const _: () = assert!(size_of::<EchoEntry>() == 32);

impl EchoEntry {
    /// The number of identifiers per container: how many pairs of destination and identifier one
    /// container can ping at a time.
    pub const PER_SLOT: u32 = 128;
    /// An entry that was not used for this long is free. Longer than the interval of any sensible
    /// ping, and than the answer takes.
    pub const LIFETIME_NS: u64 = 10_000_000_000;
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, no padding (asserted above), every bit pattern is valid.
unsafe impl aya::Pod for EchoEntry {}
