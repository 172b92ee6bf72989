//! Telling acknowledgements without data from all other packets.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::bpf_skb_load_bytes;

use super::packet::{ETHERNET, ETHERTYPE_V4, ETHERTYPE_V6, TCP};

/// The longest frame that is looked at: Ethernet, IPv6 and TCP with all options that there can be.
pub(super) const PURE_ACK_MAX: u32 = 114;

const ACK: u8 = 0x10;
/// FIN, SYN and RST stand for something in the order of a connection.
const ORDERED: u8 = 0x07;

#[repr(C)]
#[derive(Clone, Copy)]
struct Tcp {
    ports: [u16; 2],
    sequence: [u16; 4],
    /// In its upper half, in units of four bytes.
    length: u8,
    flags: u8,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct V4 {
    version_length: u8,
    type_of_service: u8,
    total_length: u16,
    id: u16,
    fragment: u16,
    time_to_live: u8,
    protocol: u8,
    checksum: u16,
    addresses: [u16; 4],
    tcp: Tcp,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct V6 {
    version_class_flow: [u16; 2],
    payload_length: u16,
    next_header: u8,
    hop_limit: u8,
    addresses: [u16; 16],
    tcp: Tcp,
}

const _: () = assert!(size_of::<V4>() == 34 && size_of::<V6>() == 54);

/// Returns one if a packet is an acknowledgement without data, of TCP without IP options; zero otherwise.
#[inline(never)]
pub(super) fn is_pure_ack(skb: *mut __sk_buff) -> u32 {
    // SAFETY: `skb` is the program's context.
    let ethertype = unsafe { (&raw const (*skb).protocol).read_volatile() };
    let (data, tcp) = if ethertype == ETHERTYPE_V4 {
        let mut place = MaybeUninit::<V4>::uninit();
        // SAFETY: the helper writes the whole of it, or zeros; every bit pattern is valid.
        let header = unsafe {
            bpf_skb_load_bytes(
                skb.cast(),
                ETHERNET,
                place.as_mut_ptr().cast(),
                size_of::<V4>() as u32,
            );
            place.assume_init_ref()
        };
        if header.version_length != 0x45
            || header.protocol != TCP
            || u16::from_be(header.fragment) & 0x3fff != 0
        {
            return 0;
        }
        (
            u32::from(u16::from_be(header.total_length)).wrapping_sub(20),
            header.tcp,
        )
    } else if ethertype == ETHERTYPE_V6 {
        let mut place = MaybeUninit::<V6>::uninit();
        // SAFETY: as above.
        let header = unsafe {
            bpf_skb_load_bytes(
                skb.cast(),
                ETHERNET,
                place.as_mut_ptr().cast(),
                size_of::<V6>() as u32,
            );
            place.assume_init_ref()
        };
        if header.next_header != TCP {
            return 0;
        }
        (u32::from(u16::from_be(header.payload_length)), header.tcp)
    } else {
        return 0;
    };
    let is_ack = tcp.flags & ACK != 0 && tcp.flags & ORDERED == 0;
    u32::from(is_ack && data == u32::from(tcp.length >> 4) * 4)
}
