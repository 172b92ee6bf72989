//! What is counted, per container and for the node.

use crate::DropReason;

/// Counters of one container, in the per-CPU `COUNTERS` map under its slot.
///
/// Directions are the container's: `rx` is what it received. Bytes are those of the Ethernet
/// frames; a GSO frame counts its bytes once and its segments as packets.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Packets delivered to the container.
    pub rx_packets: u64,
    /// Bytes delivered to the container.
    pub rx_bytes: u64,
    /// Packets that left the container.
    pub tx_packets: u64,
    /// Bytes that left the container.
    pub tx_bytes: u64,
    /// Refused calls of `bind(2)`.
    pub bind_refused: u64,
    /// TCP connections opened by the container and established.
    pub tcp_connects: u64,
    /// TCP connections accepted by the container.
    pub tcp_accepts: u64,
    /// TCP connections that were never established.
    pub tcp_connect_failures: u64,
    /// TCP segments sent again.
    pub tcp_retransmits: u64,
    /// Packets sent by the container and dropped, by [`DropReason`].
    pub tx_drops: [u64; DropReason::COUNT],
    /// Packets meant for the container and dropped, by [`DropReason`].
    pub rx_drops: [u64; DropReason::COUNT],
}

const _: () = assert!(size_of::<Counters>() == 8 * (9 + 2 * DropReason::COUNT));

impl Default for Counters {
    fn default() -> Self {
        Self {
            rx_packets: 0,
            rx_bytes: 0,
            tx_packets: 0,
            tx_bytes: 0,
            bind_refused: 0,
            tcp_connects: 0,
            tcp_accepts: 0,
            tcp_connect_failures: 0,
            tcp_retransmits: 0,
            tx_drops: [0; DropReason::COUNT],
            rx_drops: [0; DropReason::COUNT],
        }
    }
}

impl Counters {
    /// Adds what another CPU counted.
    pub fn merge(&mut self, other: &Self) {
        // Destructured so that a new counter is a compile error here.
        let Self {
            rx_packets,
            rx_bytes,
            tx_packets,
            tx_bytes,
            bind_refused,
            tcp_connects,
            tcp_accepts,
            tcp_connect_failures,
            tcp_retransmits,
            tx_drops,
            rx_drops,
        } = other;
        self.rx_packets += rx_packets;
        self.rx_bytes += rx_bytes;
        self.tx_packets += tx_packets;
        self.tx_bytes += tx_bytes;
        self.bind_refused += bind_refused;
        self.tcp_connects += tcp_connects;
        self.tcp_accepts += tcp_accepts;
        self.tcp_connect_failures += tcp_connect_failures;
        self.tcp_retransmits += tcp_retransmits;
        for (sum, n) in self.tx_drops.iter_mut().zip(tx_drops) {
            *sum += n;
        }
        for (sum, n) in self.rx_drops.iter_mut().zip(rx_drops) {
            *sum += n;
        }
    }
}

/// Counters of the node, in the per-CPU `NODE_COUNTERS` map under key zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeCounters {
    /// Calls of `bind(2)` in the node's namespace that wanted a container's port.
    pub bind_refused: u64,
    /// Calls refused because the socket was bound to loopback and the peer is a container.
    pub connect_refused: u64,
    /// Fragments from the wire that came before, or without, their first: left to the node.
    pub fragments_unknown: u64,
    /// Events that found the ring buffer full.
    pub events_lost: u64,
}

const _: () = assert!(size_of::<NodeCounters>() == 32);

impl NodeCounters {
    /// Adds what another CPU counted.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            bind_refused,
            connect_refused,
            fragments_unknown,
            events_lost,
        } = other;
        self.bind_refused += bind_refused;
        self.connect_refused += connect_refused;
        self.fragments_unknown += fragments_unknown;
        self.events_lost += events_lost;
    }
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, only u64 (size asserted above), every bit pattern is valid.
unsafe impl aya::Pod for Counters {}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, only u64 (size asserted above), every bit pattern is valid.
unsafe impl aya::Pod for NodeCounters {}
