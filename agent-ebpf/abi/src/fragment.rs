//! Which way the later fragments of a packet go: the way of their first.

use crate::Address;

/// One fragmented packet on its way to a container, key of the `FRAGMENTS_IN` map. Its value is the
/// receiver's slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FragmentKey {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// The identification field as it lies in the header.
    pub id: u32,
    /// The IP protocol number of the packet.
    pub protocol: u32,
}

const _: () = assert!(size_of::<FragmentKey>() == 40);

/// One fragmented packet that a container is sending, in the `FRAGMENTS_OUT` array.
///
/// Each container has [`FragmentEntry::PER_SLOT`] entries of its own, from index
/// `slot * PER_SLOT`: nobody can continue, or displace, the fragments of another.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentEntry {
    /// Destination address; unset in an entry that was never used.
    pub destination: Address,
    /// The identification field as it lies in the header.
    pub id: u32,
    /// The IP protocol number of the packet.
    pub protocol: u32,
    /// The receiving container's slot plus one; zero where it is not a container.
    pub receiver: u32,
}

const _: () = assert!(size_of::<FragmentEntry>() == 28);

impl FragmentEntry {
    /// The number of packets whose fragments one container can have under way at a time.
    pub const PER_SLOT: u32 = 32;
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, no padding (asserted above), every bit pattern is valid.
unsafe impl aya::Pod for FragmentKey {}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, no padding (asserted above), every bit pattern is valid.
unsafe impl aya::Pod for FragmentEntry {}
