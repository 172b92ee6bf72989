//! Later fragments go the way of their first.

use weir_abi::{FragmentEntry, FragmentKey, Slot};

use super::maps::{FRAGMENTS_IN, FRAGMENTS_OUT};
use super::packet::Packet;

/// Returns the protocol as far as it tells fragmented packets apart.
///
/// In IPv6 it does not (RFC 8200, 4.5): where more extension headers follow that of the fragment, the
/// first piece names the protocol behind them, and the others name the first of them.
#[inline(always)]
fn protocol_of(packet: &Packet) -> u32 {
    if packet.is_v4() {
        u32::from(packet.protocol)
    } else {
        0
    }
}

#[inline(always)]
fn key_in(packet: &Packet) -> FragmentKey {
    FragmentKey {
        source: packet.source,
        destination: packet.destination,
        id: packet.fragment_id,
        protocol: protocol_of(packet),
    }
}

/// Remembers that the fragments of this packet are for a container.
#[inline(always)]
pub(super) fn remember_in(packet: &Packet, slot: Slot) {
    // A full map makes room by itself; any other failure costs the later fragments, which are then
    // counted as unknown.
    let _ = FRAGMENTS_IN.insert(key_in(packet), slot, 0);
}

/// Returns the container that a later fragment is for.
#[inline(always)]
pub(super) fn receiver_in(packet: &Packet) -> Option<Slot> {
    // SAFETY: the value is copied at once.
    unsafe { FRAGMENTS_IN.get(key_in(packet)) }.copied()
}

#[inline(always)]
fn entry_out(packet: &Packet, slot: Slot) -> Option<*mut FragmentEntry> {
    // As many bits as there are entries.
    let hash = packet.spread(packet.fragment_id ^ protocol_of(packet))
        >> (32 - FragmentEntry::PER_SLOT.trailing_zeros());
    FRAGMENTS_OUT
        .get_ptr_mut(slot * FragmentEntry::PER_SLOT + (hash & (FragmentEntry::PER_SLOT - 1)))
}

/// Remembers that a container is sending a fragmented packet, and which container it is for: the
/// slot plus one, or zero.
#[inline(always)]
pub(super) fn remember_out(packet: &Packet, slot: Slot, receiver: u32) {
    let Some(entry) = entry_out(packet, slot) else {
        return;
    };
    // SAFETY: an element of the array, in the part that only this container's packets reach; a torn
    // entry matches nothing, and the fragments behind it are dropped and counted.
    unsafe {
        (*entry).destination = packet.destination;
        (*entry).id = packet.fragment_id;
        (*entry).protocol = protocol_of(packet);
        (*entry).receiver = receiver;
    }
}

/// Returns whom a later fragment is for, if its first was let out.
#[inline(always)]
pub(super) fn receiver_out(packet: &Packet, slot: Slot) -> Option<u32> {
    let entry = entry_out(packet, slot)?;
    // SAFETY: as above.
    unsafe {
        let same = (*entry).destination.same(&packet.destination)
            && (*entry).id == packet.fragment_id
            && (*entry).protocol == protocol_of(packet);
        if same { Some((*entry).receiver) } else { None }
    }
}
