//! The contract between the programs in the kernel and the agent.
//!
//! Every record here is written on one side of the kernel boundary and read on the other, through a
//! map or the ring buffer. The rules: `repr(C)`, no implicit padding, sizes asserted at compile
//! time, addresses in network byte order, ports and counters in host byte order.
//!
//! A change to any of these layouts, or to the type or size of a map, changes
//! [`LAYOUT_VERSION`]: pinned maps of another version are never read.
#![cfg_attr(not(feature = "user"), no_std)]
#![warn(missing_docs)]

mod address;
mod container;
mod counters;
mod drop;
mod echo;
mod event;
mod fragment;
mod lane;
mod node;
mod peer;
mod rtt;

pub use address::Address;
pub use container::{Container, ContainerMode, OWNER_NONE, SLOTS_MAX, Slot};
pub use counters::{Counters, NodeCounters};
pub use drop::DropReason;
pub use echo::EchoEntry;
pub use event::Event;
pub use fragment::{FragmentEntry, FragmentKey};
pub use lane::{
    DELAY_BUCKETS, DELAY_MASK, DELAY_SHIFT, FLOW_SETS, Flow, FlowSet, InFlight, LEAVES, Lane,
    LaneCounters, LaneState, Place, QUEUE_MAJOR, SESSION_CLASS, Sorted, TICK_SHIFT,
    TICKS_PER_SECOND, WAYS, delay_bucket, delay_bucket_upper_s, uplink_class,
};
pub use node::{Node, Uplink};
pub use peer::OriginalPeer;
pub use rtt::{RTT_BUCKETS, RttHistogram, bucket_of, bucket_upper_us};

/// The version of all layouts in this crate together.
///
/// It names the directory that the maps are pinned in, so that a new agent never misreads an old
/// map: it finds no map of its own version and says so.
pub const LAYOUT_VERSION: u32 = 1;

/// The interface index of `eth0` in the container with slot zero, and one more for each slot: it is asked for when the link is created.
///
/// Inside a container it says whose link it is: the program there runs in a namespace of which it knows nothing else.
pub const CONTAINER_IFINDEX_FIRST: u32 = 16;

/// The MAC address of both ends of every container's link.
///
/// Locally administered. One address serves all: the link has no ARP, so the container's kernel
/// addresses frames to its own MAC, and the host's end takes what carries its own.
pub const LINK_MAC: [u8; 6] = [0x02, 0x57, 0x45, 0x49, 0x52, 0x01];
