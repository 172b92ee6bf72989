//! What happens to a packet, and what is counted and told about it.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{
    bpf_ktime_get_ns, bpf_redirect, bpf_redirect_peer, bpf_skb_store_bytes,
};
use weir_abi::{Container, ContainerMode, Counters, DropReason, Event, LINK_MAC, Slot};

use super::maps::{CONTAINERS, COUNTERS, EVENT_PACE, EVENTS, NODE_COUNTERS, PACE_PER_SLOT};
use super::packet::Packet;

/// Goes on to the next program, and in the end to the node's own stack.
pub(super) const NEXT: i32 = -1;
/// Drops the packet.
pub(super) const DROP: i32 = 2;

/// Which side of the container a packet is on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    ToContainer,
    FromContainer,
}

/// Returns how many packets a frame stands for, and its length in bytes.
#[inline(always)]
pub(super) fn size_of(skb: *mut __sk_buff) -> (u64, u64) {
    // SAFETY: `skb` is the program's context.
    let (length, segments) = unsafe {
        (
            (&raw const (*skb).len).read_volatile(),
            (&raw const (*skb).gso_segs).read_volatile(),
        )
    };
    (
        u64::from(if segments > 1 { segments } else { 1 }),
        u64::from(length),
    )
}

/// Adds one packet to the container's counters.
#[inline(always)]
pub(super) fn count(skb: *mut __sk_buff, slot: Slot, direction: Direction) {
    let Some(counters) = COUNTERS.get_ptr_mut(slot) else {
        return;
    };
    let (packets, bytes) = size_of(skb);
    // SAFETY: `counters` is this CPU's value, which programs at this hook do not interrupt each
    // other on.
    unsafe {
        match direction {
            Direction::ToContainer => {
                (*counters).rx_packets += packets;
                (*counters).rx_bytes += bytes;
            }
            Direction::FromContainer => {
                (*counters).tx_packets += packets;
                (*counters).tx_bytes += bytes;
            }
        }
    }
}

/// Drops a packet: counts why, and tells it if nothing was told for a while. `number` is that of a
/// [`DropReason`].
#[inline(never)]
pub(super) fn drop(slot: Slot, number: u64, direction: Direction, packet: &Packet) -> i32 {
    if let Some(counters) = COUNTERS.get_ptr_mut(slot) {
        // SAFETY: this CPU's value; the index is a variant's number, below the length.
        unsafe {
            let drops = match direction {
                Direction::ToContainer => (&raw mut (*counters).rx_drops).cast::<u64>(),
                Direction::FromContainer => (&raw mut (*counters).tx_drops).cast::<u64>(),
            };
            // The verifier does not know that a reason is below the length of the array. It is 64 bits wide because kernels
            // before 6.8 do not know that the copy of a number is as small as the number if only half of it was copied.
            let index = if number < DropReason::COUNT as u64 {
                number
            } else {
                0
            };
            *drops.add(index as usize) += 1;
        }
    }
    let number = number as u32;
    if due(slot, number) {
        tell(&Event {
            at_ns: 0,
            slot,
            reason: number,
            source: packet.source,
            destination: packet.destination,
            source_port: packet.source_port,
            destination_port: packet.destination_port,
            protocol: packet.protocol,
            inbound: u8::from(matches!(direction, Direction::ToContainer)),
            reserved: 0,
        });
    }
    DROP
}

/// Returns whether an event of this container and kind may be sent now.
///
/// Two CPUs may both be told yes: one event more does no harm, and a lock here would be one that
/// every container could hold.
#[inline(always)]
pub(super) fn due(slot: Slot, kind: u32) -> bool {
    let Some(last) = EVENT_PACE.get_ptr_mut(slot * PACE_PER_SLOT + (kind & (PACE_PER_SLOT - 1)))
    else {
        return false;
    };
    // SAFETY: a word of the array; a torn or lost write only shifts an event.
    unsafe {
        let now = bpf_ktime_get_ns();
        if now - last.read_volatile() < Event::PACE_NS {
            return false;
        }
        last.write_volatile(now);
    }
    true
}

/// Puts an event into the ring buffer, or counts that it was full.
#[inline(always)]
pub(super) fn tell(event: &Event) {
    match EVENTS.reserve(0) {
        Some(mut entry) => {
            let mut event = *event;
            // SAFETY: the helper has no conditions.
            event.at_ns = unsafe { bpf_ktime_get_ns() };
            entry.write(event);
            entry.submit(0);
        }
        None => {
            if let Some(node) = NODE_COUNTERS.get_ptr_mut(0) {
                // SAFETY: this CPU's value.
                unsafe { (*node).events_lost += 1 };
            }
        }
    }
}

/// Returns the container in a slot, if the slot is in use.
#[inline(always)]
pub(super) fn container(slot: Slot) -> Option<&'static Container> {
    let container = CONTAINERS.get(slot)?;
    if container.mode == ContainerMode::Free as u32 {
        None
    } else {
        Some(container)
    }
}

/// Returns the counters of this CPU for a container.
#[inline(always)]
pub(super) fn counters(slot: Slot) -> Option<*mut Counters> {
    COUNTERS.get_ptr_mut(slot)
}

/// Gives the packet to a container, whoever sent it.
///
/// Where the owner runs in the node's own namespace, it goes to `otherwise`.
#[inline(always)]
pub(super) fn deliver(
    skb: *mut __sk_buff,
    packet: &Packet,
    slot: Slot,
    otherwise: impl FnOnce() -> i32,
) -> i32 {
    let Some(target) = container(slot) else {
        return drop(
            slot,
            DropReason::TargetGone as u64,
            Direction::ToContainer,
            packet,
        );
    };
    if target.mode == ContainerMode::Host as u32 {
        return otherwise();
    }
    count(skb, slot, Direction::ToContainer);
    if target.held & Container::INGRESS != 0 {
        return queue(skb, target.veth_ifindex);
    }
    // SAFETY: the helper checks the index when the packet is sent on.
    unsafe { bpf_redirect_peer(target.veth_ifindex, 0) as i32 }
}

/// Sends a packet to a container through the queue of its link, which a redirect to the peer goes past.
#[inline(always)]
fn queue(skb: *mut __sk_buff, veth_ifindex: u32) -> i32 {
    let own = LINK_MAC;
    // SAFETY: six bytes are read from six; the helper checks the index when the packet is sent on. The container's end takes what
    // carries its own MAC address.
    unsafe {
        bpf_skb_store_bytes(skb, 0, (&raw const own).cast(), 6, 0);
        bpf_redirect(veth_ifindex, 0) as i32
    }
}

/// Gives the packet to the node's own stack, as if the node had sent it to itself.
#[inline(always)]
pub(super) fn to_node(skb: *mut __sk_buff, loopback_ifindex: u32) -> i32 {
    const BPF_F_INGRESS: u64 = 1;
    let nobody = [0_u8; 6];
    // SAFETY: six bytes are read from six bytes; the helper checks the index when the packet is
    // sent on. The receiving side looks at the destination MAC again, and that of loopback is zero:
    // with any other the packet would be somebody else's.
    unsafe {
        bpf_skb_store_bytes(skb, 0, (&raw const nobody).cast(), 6, 0);
        bpf_redirect(loopback_ifindex, BPF_F_INGRESS) as i32
    }
}
