//! Reading headers.
//!
//! One helper call copies the fixed part of the IP header and the ports behind it; anything rarer
//! is loaded when it is met. Copies instead of direct access, because they also reach bytes that
//! lie outside the linear part of the buffer, and because the verifier follows them on every
//! kernel.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::bpf_skb_load_bytes;
use weir_abi::{Address, DropReason};

use super::memory;

/// The length of an Ethernet header.
pub(super) const ETHERNET: u32 = 14;

pub(super) const ETHERTYPE_V4: u32 = 0x0800_u16.to_be() as u32;
pub(super) const ETHERTYPE_V6: u32 = 0x86dd_u16.to_be() as u32;

pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// How many IPv6 extension headers are looked through. RFC 8504 lets a host limit them; real
/// traffic has one or two.
const EXTENSIONS_MAX: usize = 6;

/// The bits of a VLAN tag that name the VLAN.
const VLAN_ID: u32 = 0x0fff;

/// Where in a fragmented packet this piece lies.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Piece {
    /// Not fragmented.
    Whole = 0,
    /// The first fragment, which has the ports.
    First,
    /// A later one, which has none.
    Later,
}

/// What the rest is about, beyond the addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Any protocol that is not named below.
    Other = 0,
    /// TCP or UDP, with its ports; also a later fragment.
    Ports,
    /// ICMP echo request: the identifier, as it lies in the header, is in `echo_id`.
    EchoRequest,
    /// ICMP echo reply.
    EchoReply,
    /// An ICMP error about a TCP or UDP packet, whose ports are given as they were in it.
    ErrorPorts,
    /// An ICMP error about an echo request; `echo_id` is at `echo_offset`.
    ErrorEcho,
    /// Any other ICMP, or an error about anything else.
    OtherIcmp,
}

/// The headers of one packet.
#[derive(Clone, Copy)]
pub(super) struct Packet {
    pub(super) source: Address,
    pub(super) destination: Address,
    pub(super) kind: Kind,
    pub(super) piece: Piece,
    pub(super) protocol: u8,
    /// An IPv4 header with options, or an IPv6 routing header.
    pub(super) options: bool,
    /// Host byte order; zero where there is none. In an ICMP error, those of the packet it is about.
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    /// As it lies in the header.
    pub(super) echo_id: u16,
    /// Where the ICMP header with `echo_id` starts.
    pub(super) echo_offset: u32,
    /// The identification field as it lies in the header.
    pub(super) fragment_id: u32,
    /// In an ICMP error: source and destination of the packet it is about.
    pub(super) about_source: Address,
    pub(super) about_destination: Address,
    pub(super) type_of_service: u8,
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
    source: u32,
    destination: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct V6 {
    version_class_flow: u32,
    payload_length: u16,
    next_header: u8,
    hop_limit: u8,
    source: [u32; 4],
    destination: [u32; 4],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Ports {
    source: u16,
    destination: u16,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct WithPorts<H> {
    header: H,
    ports: Ports,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Icmp {
    kind: u8,
    code: u8,
    checksum: u16,
    id: u16,
    sequence: u16,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Extension {
    next_header: u8,
    /// In units of eight bytes, without the first eight.
    length: u8,
    /// In a fragment header: thirteen bits of offset, two reserved, one "more".
    fragment: u16,
    id: u32,
}

/// The result of reading: zero, or the number of a [`DropReason`] plus one.
///
/// A plain number and no `Result`: an enum with data leaves registers without a value on the paths
/// that have none, and the verifier refuses to see those moved about.
pub(super) type Refused = u32;

const READ: Refused = 0;

#[inline(always)]
const fn refused(reason: DropReason) -> Refused {
    reason as u32 + 1
}

/// A header that is copied out of a packet.
///
/// # Safety
///
/// Every bit pattern is valid, all zeros included.
unsafe trait Header: Copy {
    /// Copies the header at `offset` to `place`; `false` where the packet is too short, and then
    /// the header is all zeros.
    #[inline(always)]
    fn load(place: &mut MaybeUninit<Self>, skb: *mut __sk_buff, offset: u32) -> (&mut Self, bool) {
        // SAFETY: the helper writes the whole size of `Self`, whose every bit pattern is valid:
        // bytes of the packet, or zeros where it fails.
        unsafe {
            let header = place.as_mut_ptr().cast();
            let failed = bpf_skb_load_bytes(skb.cast(), offset, header, size_of::<Self>() as u32);
            (place.assume_init_mut(), failed == 0)
        }
    }

    /// Copies the header at `offset` over this one.
    #[inline(always)]
    fn load_over(&mut self, skb: *mut __sk_buff, offset: u32) -> bool {
        let mut place = MaybeUninit::uninit();
        let (header, is_there) = Self::load(&mut place, skb, offset);
        *self = *header;
        is_there
    }
}

// SAFETY: plain integers, all of them.
unsafe impl Header for V4 {}
// SAFETY: as above.
unsafe impl Header for V6 {}
// SAFETY: as above.
unsafe impl Header for Ports {}
// SAFETY: as above.
unsafe impl Header for Icmp {}
// SAFETY: as above.
unsafe impl Header for Extension {}
// SAFETY: as above.
unsafe impl<H: Header> Header for WithPorts<H> {}

impl Packet {
    /// Makes a packet in `place` of which nothing is known: all zeros.
    #[inline(always)]
    pub(super) fn empty(place: &mut MaybeUninit<Self>) -> &mut Self {
        // SAFETY: integers, a `false`, and the variants of both enums that have the number zero.
        unsafe { memory::zeroed(place) }
    }

    /// Reads the headers of a packet into `self`, which is [`Packet::empty`].
    ///
    /// On a refusal, what had been read until then is in the packet. A function of its own in the
    /// program, so that the fields live in memory and the verifier walks through it apart.
    #[inline(never)]
    pub(super) fn parse(&mut self, skb: *mut __sk_buff) -> Refused {
        // SAFETY: `skb` is the program's context.
        let (ethertype, tag) = unsafe {
            (
                (&raw const (*skb).protocol).read_volatile(),
                (&raw const (*skb).vlan_tci).read_volatile(),
            )
        };
        // What comes tagged from the wire is seen a second time, without the tag, on the VLAN's own
        // interface. A tag of VLAN zero is none: it only has a priority, and some cards leave it on.
        if tag & VLAN_ID != 0 {
            return refused(DropReason::NotIp);
        }
        if ethertype == ETHERTYPE_V4 {
            self.read_v4(skb)
        } else if ethertype == ETHERTYPE_V6 {
            self.read_v6(skb)
        } else {
            refused(DropReason::NotIp)
        }
    }

    #[inline(always)]
    fn read_v4(&mut self, skb: *mut __sk_buff) -> Refused {
        // Every TCP, UDP and ICMP packet has four bytes behind a header without options.
        let mut place = MaybeUninit::uninit();
        let (both, has_ports) = WithPorts::<V4>::load(&mut place, skb, ETHERNET);
        if !has_ports && !both.header.load_over(skb, ETHERNET) {
            return refused(DropReason::Malformed);
        }
        let header = &both.header;
        self.source = Address::from_v4(header.source);
        self.destination = Address::from_v4(header.destination);
        self.protocol = header.protocol;
        self.type_of_service = header.type_of_service;
        let length = u32::from(header.version_length & 0xf) * 4;
        if header.version_length >> 4 != 4 || length < 20 {
            return refused(DropReason::Malformed);
        }
        self.options = length > 20;
        let fragment = u16::from_be(header.fragment);
        if fragment & 0x3fff != 0 {
            self.fragment_id = u32::from(header.id);
            self.piece = if fragment & 0x1fff != 0 {
                Piece::Later
            } else {
                Piece::First
            };
        }
        if self.piece == Piece::Later {
            self.kind = Kind::Ports;
            return READ;
        }
        let offset = ETHERNET + length;
        match self.protocol {
            TCP | UDP if self.options => self.read_ports(skb, offset),
            TCP | UDP => {
                let has_ports = has_ports && u16::from_be(header.total_length) >= 24;
                self.set_ports(&both.ports, has_ports)
            }
            ICMP => self.read_icmp(skb, offset),
            _ => READ,
        }
    }

    #[inline(always)]
    fn read_v6(&mut self, skb: *mut __sk_buff) -> Refused {
        let mut place = MaybeUninit::uninit();
        let (both, has_ports) = WithPorts::<V6>::load(&mut place, skb, ETHERNET);
        if !has_ports && !both.header.load_over(skb, ETHERNET) {
            return refused(DropReason::Malformed);
        }
        let header = &both.header;
        self.source = Address(header.source);
        self.destination = Address(header.destination);
        self.protocol = header.next_header;
        let first_word = u32::from_be(header.version_class_flow);
        self.type_of_service = (first_word >> 20) as u8;
        // A mapped address on the wire would be taken for the IPv4 address in our tables.
        if first_word >> 28 != 6 || self.source.is_v4() || self.destination.is_v4() {
            return refused(DropReason::Malformed);
        }
        if self.protocol == TCP || self.protocol == UDP {
            return self.set_ports(&both.ports, has_ports);
        }
        let mut offset = ETHERNET + 40;
        for _ in 0..EXTENSIONS_MAX {
            match self.protocol {
                HOP_BY_HOP | DESTINATION_OPTIONS | ROUTING | FRAGMENT => {}
                _ => break,
            }
            let mut place = MaybeUninit::uninit();
            let (extension, is_there) = Extension::load(&mut place, skb, offset);
            if !is_there {
                return refused(DropReason::Malformed);
            }
            if self.protocol == FRAGMENT {
                self.fragment_id = extension.id;
                let fragment = u16::from_be(extension.fragment);
                if fragment & 0xfff8 != 0 {
                    self.piece = Piece::Later;
                    self.kind = Kind::Ports;
                    self.protocol = extension.next_header;
                    return READ;
                }
                // An "atomic" fragment (RFC 6946) is a whole packet.
                if fragment & 1 != 0 {
                    self.piece = Piece::First;
                }
                offset += 8;
            } else {
                self.options |= self.protocol == ROUTING;
                offset += u32::from(extension.length) * 8 + 8;
            }
            self.protocol = extension.next_header;
        }
        match self.protocol {
            HOP_BY_HOP | DESTINATION_OPTIONS | ROUTING | FRAGMENT => {
                refused(DropReason::ExtensionHeader)
            }
            TCP | UDP => self.read_ports(skb, offset),
            ICMPV6 => self.read_icmp(skb, offset),
            // "No next header", or a protocol that is not carried.
            _ => READ,
        }
    }

    #[inline(always)]
    fn read_ports(&mut self, skb: *mut __sk_buff, offset: u32) -> Refused {
        let mut place = MaybeUninit::uninit();
        let (ports, has_ports) = Ports::load(&mut place, skb, offset);
        self.set_ports(ports, has_ports)
    }

    #[inline(always)]
    fn set_ports(&mut self, ports: &Ports, has_ports: bool) -> Refused {
        self.kind = Kind::Ports;
        if !has_ports {
            return self.too_short();
        }
        self.source_port = u16::from_be(ports.source);
        self.destination_port = u16::from_be(ports.destination);
        READ
    }

    #[inline(always)]
    fn too_short(&self) -> Refused {
        refused(if self.piece == Piece::First {
            DropReason::FragmentTiny
        } else {
            DropReason::Malformed
        })
    }

    /// Reads an ICMP header, of either family.
    #[inline(never)]
    fn read_icmp(&mut self, skb: *mut __sk_buff, offset: u32) -> Refused {
        let mut place = MaybeUninit::uninit();
        let (icmp, is_there) = Icmp::load(&mut place, skb, offset);
        if !is_there {
            return self.too_short();
        }
        self.kind = Kind::OtherIcmp;
        if self.protocol == ICMP {
            match icmp.kind {
                8 => self.set_echo(Kind::EchoRequest, icmp.id, offset),
                0 => self.set_echo(Kind::EchoReply, icmp.id, offset),
                // Destination unreachable, time exceeded, parameter problem. Source quench is
                // obsolete (RFC 6633), redirects are a router's.
                3 | 11 | 12 => self.read_about_v4(skb, offset + 8),
                _ => {}
            }
        } else {
            match icmp.kind {
                128 => self.set_echo(Kind::EchoRequest, icmp.id, offset),
                129 => self.set_echo(Kind::EchoReply, icmp.id, offset),
                // Destination unreachable, packet too big, time exceeded, parameter problem.
                1..=4 => self.read_about_v6(skb, offset + 8),
                _ => {}
            }
        }
        READ
    }

    #[inline(always)]
    fn set_echo(&mut self, kind: Kind, id: u16, offset: u32) {
        self.kind = kind;
        self.echo_id = id;
        self.echo_offset = offset;
    }

    /// Reads the packet that an ICMP error is about. What cannot be read leaves `OtherIcmp`.
    #[inline(always)]
    fn read_about_v4(&mut self, skb: *mut __sk_buff, offset: u32) {
        let mut place = MaybeUninit::uninit();
        let (about, is_there) = V4::load(&mut place, skb, offset);
        // A later fragment has no ports to go by.
        if !is_there || u16::from_be(about.fragment) & 0x1fff != 0 {
            return;
        }
        self.about_source = Address::from_v4(about.source);
        self.about_destination = Address::from_v4(about.destination);
        let rest = offset + u32::from(about.version_length & 0xf) * 4;
        self.read_about_rest(skb, about.protocol, rest);
    }

    #[inline(always)]
    fn read_about_v6(&mut self, skb: *mut __sk_buff, offset: u32) {
        let mut place = MaybeUninit::uninit();
        let (about, is_there) = V6::load(&mut place, skb, offset);
        if !is_there {
            return;
        }
        self.about_source = Address(about.source);
        self.about_destination = Address(about.destination);
        let (mut protocol, mut rest) = (about.next_header, offset + 40);
        if protocol == FRAGMENT {
            let mut place = MaybeUninit::uninit();
            let (extension, is_there) = Extension::load(&mut place, skb, rest);
            if !is_there || u16::from_be(extension.fragment) & 0xfff8 != 0 {
                return;
            }
            protocol = extension.next_header;
            rest += 8;
        }
        self.read_about_rest(skb, protocol, rest);
    }

    #[inline(always)]
    fn read_about_rest(&mut self, skb: *mut __sk_buff, protocol: u8, offset: u32) {
        match protocol {
            TCP | UDP => {
                let mut place = MaybeUninit::uninit();
                let (ports, is_there) = Ports::load(&mut place, skb, offset);
                if is_there {
                    self.kind = Kind::ErrorPorts;
                    self.source_port = u16::from_be(ports.source);
                    self.destination_port = u16::from_be(ports.destination);
                }
            }
            ICMP | ICMPV6 => {
                let mut place = MaybeUninit::uninit();
                let (icmp, is_there) = Icmp::load(&mut place, skb, offset);
                if is_there && (icmp.kind == 8 || icmp.kind == 128) {
                    self.set_echo(Kind::ErrorEcho, icmp.id, offset);
                }
            }
            _ => {}
        }
    }

    /// Returns a number that differs where the destination or `salt` does; of its bits, the highest
    /// are the best.
    #[inline(always)]
    pub(super) fn spread(&self, salt: u32) -> u32 {
        let words = &self.destination.0;
        // Odd factors, and the highest bits: each depends on all lower ones, so also neighbours in
        // one network, which differ in the last byte alone, are told apart.
        (words[0] ^ words[1] ^ words[2] ^ words[3])
            .wrapping_mul(0x9e37_79b1)
            .wrapping_add(salt.wrapping_mul(0x85eb_ca6b))
    }

    /// Returns whether the packet is IPv4.
    #[inline(always)]
    pub(super) fn is_v4(&self) -> bool {
        self.destination.is_v4()
    }

    /// Returns whether the destination is one that many receive, or none.
    #[inline(always)]
    pub(super) fn is_multicast(&self) -> bool {
        let words = &self.destination.0;
        if self.is_v4() {
            // 224.0.0.0/4 multicast, 240.0.0.0/4 reserved and broadcast, 0.0.0.0/8.
            let first = u32::from_be(words[3]) >> 24;
            first >= 224 || first == 0
        } else {
            u32::from_be(words[0]) >> 24 == 0xff || self.destination.is_unspecified()
        }
    }
}
