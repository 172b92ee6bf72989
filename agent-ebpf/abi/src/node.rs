//! What the programs know of the node.

use crate::Address;

/// The node, in the `NODE` map under key zero.
///
/// It lives in a pinned map and not in constants of the programs: what an adopting agent forgot to
/// set again would silently change the data plane.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Must be [`crate::LAYOUT_VERSION`]; the agent checks it before it adopts.
    pub layout_version: u32,
    /// The index of the node's loopback interface.
    pub loopback_ifindex: u32,
    /// The cookie of the node's network namespace.
    pub netns_cookie: u64,
    /// The node's first IPv4 address: what 127.0.0.1 becomes for a port of a container. Unset where
    /// the node has none.
    pub primary_v4: Address,
    /// The node's first global IPv6 address, for ::1.
    pub primary_v6: Address,
}

const _: () = assert!(size_of::<Node>() == 48);

/// An interface through which containers reach the outside, in the `UPLINKS` map under its index.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uplink {
    /// Its MTU in bytes, without the Ethernet header.
    pub mtu: u32,
}

const _: () = assert!(size_of::<Uplink>() == 4);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, no padding (asserted above), every bit pattern is valid.
unsafe impl aya::Pod for Node {}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, one word, every bit pattern is valid.
unsafe impl aya::Pod for Uplink {}
