//! From a container: what is its own goes out, and all else is dropped with a reason.

use core::mem::MaybeUninit;
use core::ptr;

use aya_ebpf::bindings::{__sk_buff, bpf_fib_lookup, bpf_redir_neigh};
use aya_ebpf::helpers::generated as helpers;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weir_abi::{Container, DropReason, Node, OWNER_NONE, Slot};

use super::maps::{CONTAINERS, NODE, UPLINKS, VETHS, is_node_address, owner_of};
use super::next_hop::{self, NextHop};
use super::packet::{Kind, Packet, Piece};
use super::verdict::{self, DROP, Direction};
use super::{echo, fragment, lane, memory};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Decides for a packet that a container sent. Attached to the ingress of the host's end of its
/// link, out of the container's reach.
#[classifier]
pub(crate) fn container_out(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    // SAFETY: `skb` is the program's context.
    let ifindex = unsafe { (&raw const (*skb).ifindex).read_volatile() };
    let mut place = MaybeUninit::uninit();
    let packet = Packet::empty(&mut place);
    let refused = packet.parse(skb);
    let Some((slot, held)) = sender(packet, ifindex) else {
        return DROP;
    };
    let is_bulk = held & Container::EGRESS != 0 && lane::read_note(skb, slot);
    // The kernel has taken a VLAN tag off the frame and keeps it beside: sent on, the frame would
    // have it again, and a container has no business in a VLAN.
    // SAFETY: as above.
    let is_tagged = unsafe { (&raw const (*skb).vlan_present).read_volatile() } != 0;
    let flow = flow_of(packet, slot, refused != 0 || is_tagged);
    let now = next_hop::now();
    if let Some(known) = flow {
        // SAFETY: an entry of this CPU's part of the map.
        let known = unsafe { &*known };
        if known.is_of(packet, now) && !is_too_big(skb, known.mtu) {
            verdict::count(skb, slot, Direction::FromContainer);
            if held & Container::SHARED != 0 {
                lane::share(skb, slot, is_bulk);
            }
            return repeat(skb, known);
        }
    }
    let (Some(node), Some(container)) = (NODE.get(0), verdict::container(slot)) else {
        return DROP;
    };
    let reason = if is_tagged {
        DropReason::NotIp as u32
    } else if refused != 0 {
        refused - 1
    } else {
        let cache = Cache { flow, now, is_bulk };
        match decide(&ctx, packet, slot, container, node, cache) {
            Ok(action) => return action,
            Err(reason) => reason,
        }
    };
    verdict::drop(slot, u64::from(reason), Direction::FromContainer, packet)
}

/// Returns the slot of the container whose link this is, and what of its packets is held to a rate.
///
/// Nearly every packet is from a port of its sender's, and that port's owner is in an array: one look
/// whether he has this link saves a hash.
#[inline(always)]
fn sender(packet: &Packet, ifindex: u32) -> Option<(Slot, u32)> {
    let owner = owner_of(packet.source_port);
    if owner != OWNER_NONE
        && let Some(container) = CONTAINERS.get(owner - 1)
        && container.veth_ifindex == ifindex
    {
        return Some((owner - 1, container.held));
    }
    // SAFETY: the value is copied at once.
    let slot = unsafe { VETHS.get(ifindex) }.copied()?;
    Some((slot, CONTAINERS.get(slot)?.held))
}

/// The number of a [`DropReason`]: a plain one can be the result of a function that is one in the program.
type Number = u32;

/// Where a packet goes that may leave its container.
enum Way {
    /// To the container with this slot plus one; zero means to the node.
    Inside(u32),
    /// To the wire.
    Outside,
}

#[inline(always)]
fn decide(
    ctx: &TcContext,
    packet: &Packet,
    slot: Slot,
    container: &Container,
    node: &Node,
    cache: Cache,
) -> Result<i32, Number> {
    if packet.is_multicast() {
        return Err(DropReason::Multicast as Number);
    }
    if packet.source.is_loopback() || packet.destination.is_loopback() {
        return Err(DropReason::Loopback as Number);
    }
    if !is_node_address(node, &packet.source) {
        return Err(DropReason::SourceAddress as Number);
    }
    if packet.options {
        return Err(DropReason::Options as Number);
    }
    let skb = ctx.skb.skb;
    let inside = is_node_address(node, &packet.destination);
    // Whose the packet is, by the port that answers it; and whom it would reach inside the node.
    let receiver = match packet.kind {
        Kind::Ports if packet.piece == Piece::Later => {
            fragment::receiver_out(packet, slot).ok_or(DropReason::FragmentUnknown as Number)?
        }
        Kind::Ports => {
            if owner_of(packet.source_port) != slot + 1 {
                return Err(DropReason::SourcePort as Number);
            }
            owner_of(packet.destination_port)
        }
        Kind::ErrorPorts => {
            if owner_of(packet.destination_port) != slot + 1
                || !is_node_address(node, &packet.about_destination)
            {
                return Err(DropReason::IcmpForeign as Number);
            }
            owner_of(packet.source_port)
        }
        Kind::EchoRequest => {
            echo::rewrite_request(skb, packet, slot, container)
                .map_err(|reason| reason as Number)?;
            0
        }
        Kind::EchoReply | Kind::ErrorEcho | Kind::OtherIcmp => {
            return Err(DropReason::IcmpType as Number);
        }
        Kind::Other => return Err(DropReason::Protocol as Number),
    };
    if packet.piece == Piece::First {
        fragment::remember_out(packet, slot, receiver);
    }
    let way = if inside {
        Way::Inside(receiver)
    } else {
        Way::Outside
    };
    match way {
        Way::Inside(0) => {
            verdict::count(skb, slot, Direction::FromContainer);
            Ok(verdict::to_node(skb, node.loopback_ifindex))
        }
        Way::Inside(receiver) => {
            verdict::count(skb, slot, Direction::FromContainer);
            Ok(verdict::deliver(skb, packet, receiver - 1, || {
                verdict::to_node(skb, node.loopback_ifindex)
            }))
        }
        Way::Outside => {
            if container.held & Container::SHARED != 0 {
                lane::share(skb, slot, cache.is_bulk);
            }
            let flow = cache.flow.unwrap_or(ptr::null_mut());
            let outcome = send(skb, packet, node, flow, cache.now);
            if outcome < 0 {
                return Err((-1 - outcome) as Number);
            }
            verdict::count(skb, slot, Direction::FromContainer);
            Ok(outcome)
        }
    }
}

/// Where the way of a packet can be kept, the time, and whether it queues behind others.
#[derive(Clone, Copy)]
struct Cache {
    flow: Option<*mut NextHop>,
    now: u64,
    is_bulk: bool,
}

/// Returns where the way of this packet may be kept: only whole packets from a port of the
/// container's own are flows. What is kept there was judged when it was written, but for whose the
/// port is, which is looked at for each packet: here.
#[inline(always)]
fn flow_of(packet: &Packet, slot: Slot, is_refused: bool) -> Option<*mut NextHop> {
    let is_flow = !is_refused
        && matches!(packet.kind, Kind::Ports)
        && matches!(packet.piece, Piece::Whole)
        && !packet.options
        && owner_of(packet.source_port) == slot + 1;
    if is_flow {
        next_hop::entry(packet, slot)
    } else {
        None
    }
}

/// Sends a packet the way that the one before it went.
#[inline(always)]
fn repeat(skb: *mut __sk_buff, known: &NextHop) -> i32 {
    // SAFETY: twelve bytes are read from twelve; every frame has as many. The second helper checks the
    // index when the packet is sent on.
    unsafe {
        helpers::bpf_skb_store_bytes(skb, 0, known.macs.as_ptr().cast(), 12, 0);
        helpers::bpf_redirect(known.ifindex, 0) as i32
    }
}

/// Sends a packet to the wire, the way the node's own routing table says, and remembers it in `flow`, which may be null. Returns the
/// action, or the number of the reason why not, as -1 less the number.
///
/// A function of its own in the program: what it keeps on the stack is not there while headers are read, and both together with
/// the program's own are more than the 512 bytes that there are, counted in steps of 32 as kernels before 6.8 do.
#[inline(never)]
fn send(skb: *mut __sk_buff, packet: &Packet, node: &Node, flow: *mut NextHop, now: u64) -> i32 {
    const SUCCESS: i64 = 0;
    const NO_NEIGH: i64 = 7;
    const FRAG_NEEDED: i64 = 8;

    let (mut fib, mut next_hop) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: all-zero is a valid value of both plain C structs.
    let fib: &mut bpf_fib_lookup = unsafe { memory::zeroed(&mut fib) };
    fib.l4_protocol = packet.protocol;
    fib.sport = packet.source_port.to_be();
    fib.dport = packet.destination_port.to_be();
    // As if the node had sent it: a packet "from lo" is one made here, for the rules as well.
    fib.ifindex = node.loopback_ifindex;
    if packet.is_v4() {
        fib.family = AF_INET;
        fib.__bindgen_anon_2.tos = packet.type_of_service;
        fib.__bindgen_anon_3.ipv4_src = packet.source.0[3];
        fib.__bindgen_anon_4.ipv4_dst = packet.destination.0[3];
    } else {
        fib.family = AF_INET6;
        fib.__bindgen_anon_3.ipv6_src = packet.source.0;
        fib.__bindgen_anon_4.ipv6_dst = packet.destination.0;
    }
    // SAFETY: the context is this program's, the struct is initialised and its size is given.
    let found = unsafe {
        helpers::bpf_fib_lookup(
            skb.cast(),
            &raw mut *fib,
            size_of::<bpf_fib_lookup>() as i32,
            0,
        )
    };
    match found {
        // The neighbour is asked for when the packet is sent; the next hop is known all the same.
        SUCCESS | NO_NEIGH => {}
        FRAG_NEEDED => return stopped(DropReason::TooBig),
        _ => return stopped(DropReason::NoRoute),
    }
    // SAFETY: the value is copied at once.
    let Some(mtu) = (unsafe { UPLINKS.get(fib.ifindex) }).map(|uplink| uplink.mtu) else {
        return stopped(DropReason::NotUplink);
    };
    if is_too_big(skb, mtu) {
        return stopped(DropReason::TooBig);
    }
    if found == SUCCESS && !flow.is_null() {
        // SAFETY: an entry of this CPU's part of the map; the helper has written both addresses.
        unsafe {
            (*flow).set(packet, now, fib.ifindex, mtu);
            (*flow).set_macs(&fib.dmac, &fib.smac);
        }
    }
    // SAFETY: as above.
    let next_hop: &mut bpf_redir_neigh = unsafe { memory::zeroed(&mut next_hop) };
    next_hop.nh_family = u32::from(fib.family);
    // SAFETY: both are unions of plain words, all of them initialised.
    unsafe {
        if fib.family == AF_INET {
            next_hop.__bindgen_anon_1.ipv4_nh = fib.__bindgen_anon_4.ipv4_dst;
        } else {
            next_hop.__bindgen_anon_1.ipv6_nh = fib.__bindgen_anon_4.ipv6_dst;
        }
        helpers::bpf_redirect_neigh(
            fib.ifindex,
            &raw mut *next_hop,
            size_of::<bpf_redir_neigh>() as i32,
            0,
        ) as i32
    }
}

/// Returns a reason as [`send`] does.
#[inline(always)]
const fn stopped(reason: DropReason) -> i32 {
    -1 - (reason as i32)
}

/// Returns whether a frame does not fit an interface. One that will be segmented is as large as it
/// likes; its segments are not.
#[inline(always)]
fn is_too_big(skb: *mut __sk_buff, mtu: u32) -> bool {
    // SAFETY: reading fields of the program's context.
    let (length, segments) = unsafe {
        (
            (&raw const (*skb).len).read_volatile(),
            (&raw const (*skb).gso_segs).read_volatile(),
        )
    };
    segments <= 1 && length > mtu + super::packet::ETHERNET
}
