//! What is told through the ring buffer: rare things, at a limited rate.

use crate::{Address, Slot};

/// One refused packet, in the `EVENTS` ring buffer.
///
/// At most one per container, reason and tenth of a second; the counters have them all.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// When, in nanoseconds of `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// The container, or [`Event::NO_SLOT`].
    pub slot: Slot,
    /// A [`crate::DropReason`] as a number, or [`Event::BIND_REFUSED`].
    pub reason: u32,
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Source port in host byte order; zero where there is none.
    pub source_port: u16,
    /// Destination port in host byte order; zero where there is none.
    pub destination_port: u16,
    /// The IP protocol number.
    pub protocol: u8,
    /// One where the container would have been the receiver.
    pub inbound: u8,
    /// Always zero: explicit padding.
    pub reserved: u16,
}

const _: () = assert!(size_of::<Event>() == 56);

impl Event {
    /// The slot of an event that concerns the node and not a container.
    pub const NO_SLOT: Slot = Slot::MAX;
    /// The reason of an event about a refused `bind(2)`: the port is in `source_port`.
    pub const BIND_REFUSED: u32 = 0x100;
    /// The kind under which refused binds are paced, beside the numbers of the reasons.
    pub const BIND_PACE: u32 = 31;
    /// The least distance between two events of one container and reason, in nanoseconds.
    pub const PACE_NS: u64 = 100_000_000;
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, no padding (asserted above), every bit pattern is valid.
unsafe impl aya::Pod for Event {}
