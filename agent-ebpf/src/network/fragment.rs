//! Later fragments go the way of their first.

use weir_abi::{FragmentEntry, FragmentKey, Slot};

use super::maps::{FRAGMENTS_IN, FRAGMENTS_OUT};
use super::packet::Packet;

#[inline(always)]
fn key_in(packet: &Packet) -> FragmentKey {
    FragmentKey {
        source: packet.source,
        destination: packet.destination,
        id: packet.fragment_id,
        protocol: u32::from(packet.protocol),
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
    let destination = &packet.destination.0;
    let hash = (destination[0]
        ^ destination[1]
        ^ destination[2]
        ^ destination[3]
        ^ packet.fragment_id
        ^ u32::from(packet.protocol))
    .wrapping_mul(0x9e37_79b1)
        >> 16;
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
        (*entry).protocol = u32::from(packet.protocol);
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
            && (*entry).protocol == u32::from(packet.protocol);
        if same { Some((*entry).receiver) } else { None }
    }
}
