//! Rewriting ICMP echo identifiers, so that those of two containers never meet.
//!
//! `ping` in a PID namespace chooses small, equal identifiers. On the way out each becomes a number
//! of the container's own ephemeral block; the reply finds its way by the owner of that number.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_l4_csum_replace, bpf_skb_store_bytes};
use weir_abi::{Address, Container, DropReason, EchoEntry, Slot};

use super::maps::{CONTAINERS, ECHOES, owner_of};
use super::packet::Packet;

/// How many entries are tried for a new identifier.
const PROBES: u32 = 8;
/// Where the checksum and the identifier lie in an ICMP header.
const CHECKSUM: u32 = 2;
const ID: u32 = 4;

/// Gives an outgoing echo request an identifier that the container owns.
#[inline(always)]
pub(super) fn rewrite_request(
    skb: *mut __sk_buff,
    packet: &Packet,
    slot: Slot,
    container: &Container,
) -> Result<(), DropReason> {
    let index = claim(packet, slot, container).ok_or(DropReason::EchoBusy)?;
    let id = (container.ephemeral_first.wrapping_add(index as u16)).to_be();
    // The checksum first: an error then leaves a packet that its receiver refuses.
    replace_checksum(skb, packet.echo_offset + CHECKSUM, packet.echo_id, id)?;
    store(skb, packet.echo_offset + ID, id)
}

/// Returns the container that an echo reply, or an error about an echo request, is for, after the
/// container's own identifier was put back.
///
/// `destination` is who had been pinged. `Ok(None)` means that it was none of the containers'.
#[inline(always)]
pub(super) fn restore(
    skb: *mut __sk_buff,
    packet: &Packet,
    destination: &Address,
    in_error: bool,
) -> Result<Option<Slot>, (Slot, DropReason)> {
    let wire_id = u16::from_be(packet.echo_id);
    let owner = owner_of(wire_id);
    if owner == 0 {
        return Ok(None);
    }
    let slot = owner - 1;
    let Some(container) = CONTAINERS.get(slot) else {
        return Ok(None);
    };
    let index = u32::from(wire_id.wrapping_sub(container.ephemeral_first));
    if index >= EchoEntry::PER_SLOT {
        return Ok(None);
    }
    let Some(entry) = ECHOES.get(slot * EchoEntry::PER_SLOT + index) else {
        return Ok(None);
    };
    // The node may ping with the same number, and then the answer is the node's.
    // SAFETY: the helper has no conditions.
    let now = unsafe { bpf_ktime_get_ns() };
    if !entry.destination.same(destination)
        || now.wrapping_sub(entry.used_ns) > EchoEntry::LIFETIME_NS
    {
        return Ok(None);
    }
    let id = entry.id as u16;
    let written = if in_error {
        restore_in_error(skb, packet, id)
    } else {
        replace_checksum(skb, packet.echo_offset + CHECKSUM, packet.echo_id, id)
            .and_then(|()| store(skb, packet.echo_offset + ID, id))
    };
    match written {
        Ok(()) => Ok(Some(slot)),
        Err(reason) => Err((slot, reason)),
    }
}

/// Finds the entry of this destination and identifier, or takes a free one.
#[inline(always)]
fn claim(packet: &Packet, slot: Slot, container: &Container) -> Option<u32> {
    let id = u32::from(packet.echo_id);
    // As many bits as there are entries.
    let hash = packet.spread(id) >> (32 - EchoEntry::PER_SLOT.trailing_zeros());
    // A block may be smaller than the table; both are powers of two.
    let count = u32::from(container.ephemeral_count);
    let mask = if count < EchoEntry::PER_SLOT {
        count
    } else {
        EchoEntry::PER_SLOT
    }
    .wrapping_sub(1)
        & (EchoEntry::PER_SLOT - 1);
    // SAFETY: the helper has no conditions.
    let now = unsafe { bpf_ktime_get_ns() };
    for probe in 0..PROBES {
        let index = hash.wrapping_add(probe) & mask;
        let entry = ECHOES.get_ptr_mut(slot * EchoEntry::PER_SLOT + index)?;
        // SAFETY: an element of the array, in the part that only this container's packets reach. Two
        // of its pings on two CPUs may take one entry; then the answer to the first is given to the
        // second, which is inside the container.
        unsafe {
            let same = (*entry).destination.same(&packet.destination) && (*entry).id == id;
            let free = (*entry).used_ns == 0
                || now.wrapping_sub((*entry).used_ns) > EchoEntry::LIFETIME_NS;
            if same || free {
                (*entry).destination = packet.destination;
                (*entry).id = id;
                (*entry).used_ns = now;
                return Some(index);
            }
        }
    }
    None
}

/// Puts the identifier back into the packet that an ICMP error is about.
///
/// That packet has a checksum of its own; changed by the opposite amount, the sum over both, and so
/// the outer checksum, stays what it was.
#[inline(always)]
fn restore_in_error(skb: *mut __sk_buff, packet: &Packet, id: u16) -> Result<(), DropReason> {
    let mut checksum = 0_u16;
    // SAFETY: two bytes are written to two bytes.
    let failed = unsafe {
        aya_ebpf::helpers::generated::bpf_skb_load_bytes(
            skb.cast(),
            packet.echo_offset + CHECKSUM,
            (&raw mut checksum).cast(),
            2,
        )
    };
    if failed != 0 {
        return Err(DropReason::Rewrite);
    }
    // RFC 1624: HC' = ~(~HC + ~m + m').
    let mut sum = u32::from(!checksum) + u32::from(!packet.echo_id) + u32::from(id);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    store(skb, packet.echo_offset + CHECKSUM, !(sum as u16))?;
    store(skb, packet.echo_offset + ID, id)
}

#[inline(always)]
fn replace_checksum(
    skb: *mut __sk_buff,
    offset: u32,
    from: u16,
    to: u16,
) -> Result<(), DropReason> {
    // SAFETY: the helper checks the offset against the packet. A checksum that the sender left to
    // the card (CHECKSUM_PARTIAL) is the pseudo header's and is left alone by the helper.
    let failed = unsafe { bpf_l4_csum_replace(skb, offset, u64::from(from), u64::from(to), 2) };
    if failed == 0 {
        Ok(())
    } else {
        Err(DropReason::Rewrite)
    }
}

/// Writes two bytes. The checksum over the whole packet is not recomputed, because every caller
/// changes an ICMP checksum by the opposite amount.
#[inline(always)]
fn store(skb: *mut __sk_buff, offset: u32, value: u16) -> Result<(), DropReason> {
    // SAFETY: two bytes are read from two bytes; the helper checks the offset against the packet.
    let failed = unsafe { bpf_skb_store_bytes(skb, offset, (&raw const value).cast(), 2, 0) };
    if failed == 0 {
        Ok(())
    } else {
        Err(DropReason::Rewrite)
    }
}
