//! The way to the wire, remembered for a moment.
//!
//! Asking the routing table and the neighbour table costs as much as all else that is done for a
//! packet together. So what they said of a flow is kept for [`KEPT_NS`], and its next packets go the
//! same way with the same MAC addresses. A flow, not a destination: rules and multipath routes may
//! look at any of it.
//!
//! It is a cache that nobody has to empty. A changed route, link or neighbour is followed when the
//! entry is over, also while no agent runs; and the first packet of every such moment goes through
//! the neighbour table, which so learns that the neighbour is in use and asks for it in time.

use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use weir_abi::{Address, Slot};

use super::maps::NEXT_HOPS;
use super::packet::Packet;

/// How long an answer is kept: a quarter of the second within which changes are to be followed.
const KEPT_NS: u64 = 250_000_000;

/// The entries that the packets of one container are spread over: a power of two. A flow that finds
/// another's entry in its place is looked up anew, which costs what it would cost without the cache.
const PER_SLOT: u32 = 64;
/// How many containers have entries of their own; those with higher slots share them. With both, a
/// CPU has half a megabyte of entries, which is why there are not more.
const PARTS: u32 = 128;

/// The entries of one CPU.
pub(super) const NEXT_HOPS_PER_CPU: u32 = PER_SLOT * PARTS;

/// A flow, and where its packets go.
///
/// Written and read by one CPU, by programs that do not interrupt each other: never torn.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct NextHop {
    /// When it is over, on the kernel's monotonic clock; zero in an entry never used.
    until_ns: u64,
    source: Address,
    destination: Address,
    /// Both ports, the source's in the upper half.
    ports: u32,
    /// The protocol and the type of service.
    rest: u32,
    /// The interface.
    pub(super) ifindex: u32,
    /// Its MTU, without the Ethernet header.
    pub(super) mtu: u32,
    /// The neighbour's MAC address and the interface's, as they stand in a frame.
    pub(super) macs: [u8; 12],
    reserved: u32,
}

const _: () = assert!(size_of::<NextHop>() == 72);

/// Returns the entry in which the flow of a packet is kept.
#[inline(always)]
pub(super) fn entry(packet: &Packet, slot: Slot) -> Option<*mut NextHop> {
    let hash = packet.spread(ports(packet)) >> (32 - PER_SLOT.trailing_zeros());
    NEXT_HOPS.get_ptr_mut((slot % PARTS) * PER_SLOT + (hash & (PER_SLOT - 1)))
}

/// Returns the clock that entries are timed with. It is as coarse as the tick, and cheap.
#[inline(always)]
pub(super) fn now() -> u64 {
    // SAFETY: the helper has no conditions.
    unsafe { bpf_ktime_get_coarse_ns() }
}

impl NextHop {
    /// Returns whether the entry is about the flow of this packet, and still holds.
    #[inline(always)]
    pub(super) fn is_of(&self, packet: &Packet, now: u64) -> bool {
        self.until_ns > now
            && self.ports == ports(packet)
            && self.rest == rest(packet)
            && self.destination.same(&packet.destination)
            && self.source.same(&packet.source)
    }

    /// Remembers where the flow of this packet goes.
    #[inline(always)]
    pub(super) fn set(&mut self, packet: &Packet, now: u64, ifindex: u32, mtu: u32) {
        self.until_ns = now + KEPT_NS;
        self.source = packet.source;
        self.destination = packet.destination;
        self.ports = ports(packet);
        self.rest = rest(packet);
        self.ifindex = ifindex;
        self.mtu = mtu;
    }

    /// Remembers the neighbour's MAC address and the interface's.
    #[inline(always)]
    pub(super) fn set_macs(&mut self, neighbour: &[u8; 6], interface: &[u8; 6]) {
        for index in 0..6 {
            self.macs[index] = neighbour[index];
            self.macs[6 + index] = interface[index];
        }
    }
}

#[inline(always)]
fn ports(packet: &Packet) -> u32 {
    u32::from(packet.source_port) << 16 | u32::from(packet.destination_port)
}

#[inline(always)]
fn rest(packet: &Packet) -> u32 {
    u32::from(packet.protocol) << 8 | u32::from(packet.type_of_service)
}
