//! From the node to itself: to the container that owns the port.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;

use super::maps::NODE;
use super::uplink_in::{Origin, receive};
use super::verdict::NEXT;

/// Decides for a packet on the node's loopback interface: what the node's processes send to the
/// node's own addresses, and what `container_out` gave to the node.
#[classifier]
pub(crate) fn node_loopback(ctx: TcContext) -> i32 {
    let Some(node) = NODE.get(0) else { return NEXT };
    receive(&ctx, node, Origin::Loopback)
}
