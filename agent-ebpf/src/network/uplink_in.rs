//! From the wire: to the container that owns the port, or on to the node.

use core::mem::MaybeUninit;

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weir_abi::{DropReason, Node};

use super::maps::{NODE, NODE_COUNTERS, is_node_address, owner_of};
use super::packet::{Kind, Packet, Piece};
use super::verdict::{self, Direction, NEXT};
use super::{echo, fragment};

/// Decides for a packet that came in through an uplink.
///
/// Only packets to the node's own addresses are looked at: what the node forwards for others is
/// none of Weir's business, and neither is what nobody's port is named in.
#[classifier]
pub(crate) fn uplink_in(ctx: TcContext) -> i32 {
    let Some(node) = NODE.get(0) else { return NEXT };
    receive(&ctx, node, Origin::Wire)
}

/// Where a packet to the node came from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Wire,
    /// The node sent it to itself.
    Loopback,
}

/// Gives a packet for one of the node's addresses to the container that it is for.
#[inline(always)]
pub(super) fn receive(ctx: &TcContext, node: &Node, origin: Origin) -> i32 {
    let skb = ctx.skb.skb;
    let mut place = MaybeUninit::uninit();
    let packet = Packet::empty(&mut place);
    // What cannot be read is the node's to judge: its stack counts and drops it.
    if packet.parse(skb) != 0 || !is_node_address(node, &packet.destination) {
        return NEXT;
    }
    let slot = match packet.kind {
        Kind::Ports if packet.piece == Piece::Later => match fragment::receiver_in(packet) {
            Some(slot) => slot,
            None => {
                if let Some(counters) = NODE_COUNTERS.get_ptr_mut(0) {
                    // SAFETY: this CPU's value.
                    unsafe { (*counters).fragments_unknown += 1 };
                }
                return NEXT;
            }
        },
        Kind::Ports => match owner_of(packet.destination_port) {
            0 => return NEXT,
            owner => owner - 1,
        },
        // An error about a packet that a container sent: its source port was the container's.
        Kind::ErrorPorts => match owner_of(packet.source_port) {
            0 => return NEXT,
            owner if is_node_address(node, &packet.about_source) => owner - 1,
            _ => return NEXT,
        },
        Kind::EchoReply => match echo::restore(skb, packet, &packet.source, false) {
            Ok(Some(slot)) => slot,
            Ok(None) => return NEXT,
            Err((slot, reason)) => {
                return verdict::drop(slot, reason as u64, Direction::ToContainer, packet);
            }
        },
        Kind::ErrorEcho => match echo::restore(skb, packet, &packet.about_destination, true) {
            Ok(Some(slot)) => slot,
            Ok(None) => return NEXT,
            Err((slot, reason)) => {
                return verdict::drop(slot, reason as u64, Direction::ToContainer, packet);
            }
        },
        Kind::EchoRequest | Kind::OtherIcmp | Kind::Other => return NEXT,
    };
    // The container accepts its own addresses as a source, because its neighbours have them too; so
    // a stranger on the wire must not use them.
    if origin == Origin::Wire && is_node_address(node, &packet.source) {
        return verdict::drop(
            slot,
            DropReason::Martian as u64,
            Direction::ToContainer,
            packet,
        );
    }
    if packet.piece == Piece::First {
        fragment::remember_in(packet, slot);
    }
    verdict::deliver(skb, packet, slot, || NEXT)
}
