//! Frames that must not leave a container, by the reason for which they are dropped.

use std::net::{IpAddr, SocketAddr};

use weir_abi::LINK_MAC;

use super::{NEIGHBOURS, NODES, OWN};
use crate::frames::{
    DESTINATION_OPTIONS, HOP_BY_HOP, ICMP, ICMPV6, NO_NEXT_HEADER, PADDING, Packet, ROUTING, frame,
    octets, tagged,
};
use crate::lab::{
    FAR_V4, FAR_V6, NODE_V4, NODE_V6, SECOND_WIRE_V4, SECOND_WIRE_V6, WIRE_V4, WIRE_V6, address,
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// From the container's own port to the wire, beyond it, to the node and to the neighbour.
fn everywhere() -> Vec<(SocketAddr, SocketAddr)> {
    let v4 = [
        (WIRE_V4, NODES),
        (FAR_V4, NODES),
        (NODE_V4, NODES),
        (NODE_V4, NEIGHBOURS),
    ];
    let v6 = [
        (WIRE_V6, NODES),
        (FAR_V6, NODES),
        (NODE_V6, NODES),
        (NODE_V6, NEIGHBOURS),
    ];
    let from = |node, ways: [(&str, u16); 4]| {
        ways.map(|(to, port)| (address(node, OWN), address(to, port)))
    };
    [from(NODE_V4, v4), from(NODE_V6, v6)].concat()
}

/// Every way, each with a packet made of it.
fn each(make: impl Fn(SocketAddr, SocketAddr) -> Packet) -> Vec<Vec<u8>> {
    everywhere()
        .into_iter()
        .map(|(from, to)| make(from, to).frame(LINK_MAC))
        .collect()
}

pub(super) fn source_address() -> Vec<Vec<u8>> {
    let strangers = [
        "10.9.0.77",
        WIRE_V4,
        "8.8.8.8",
        "0.0.0.0",
        "fd09::77",
        WIRE_V6,
        "::",
        "fe80::1",
    ];
    let mut frames = Vec::new();
    for stranger in strangers.map(ip) {
        frames.extend(
            everywhere()
                .into_iter()
                .filter(|(from, _)| from.is_ipv4() == stranger.is_ipv4())
                .map(|(_, to)| {
                    Packet::udp(SocketAddr::new(stranger, OWN), to, b"weir").frame(LINK_MAC)
                }),
        );
    }
    frames.push(Packet::echo_request(ip("10.9.0.77"), ip(WIRE_V4), 1, 1, b"weir").frame(LINK_MAC));
    frames
}

pub(super) fn source_port() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    // The neighbour's, the node's, none.
    for port in [NEIGHBOURS, 22, 0] {
        frames.extend(each(|from, to| {
            Packet::udp(SocketAddr::new(from.ip(), port), to, b"weir")
        }));
        frames.extend(each(|from, to| {
            Packet::tcp(SocketAddr::new(from.ip(), port), to)
        }));
    }
    // Also of the first fragment, and behind an extension header.
    frames.extend(each(|from, to| {
        Packet::udp(SocketAddr::new(from.ip(), 22), to, &[7; 64]).with_fragment(0, true)
    }));
    frames.push(
        Packet::udp(address(NODE_V6, 22), address(WIRE_V6, 9), b"weir")
            .with_extension(HOP_BY_HOP, &PADDING)
            .frame(LINK_MAC),
    );
    frames
}

pub(super) fn protocol() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    // IGMP, IPv4 in IP, IPv6 in IP, GRE, ESP, AH, SCTP, UDP-Lite, one that nobody has, and of IPv6
    // none at all. ICMP of the other family is none.
    for protocol in [2, 4, 41, 47, 50, 51, 132, 136, 253] {
        frames.extend(each(|from, to| {
            Packet::new(from.ip(), to.ip(), protocol, vec![0; 32])
        }));
    }
    for (from, to, protocol) in [
        (NODE_V6, WIRE_V6, NO_NEXT_HEADER),
        (NODE_V6, WIRE_V6, ICMP),
        (NODE_V4, WIRE_V4, ICMPV6),
    ] {
        frames.push(Packet::new(ip(from), ip(to), protocol, vec![0; 32]).frame(LINK_MAC));
    }
    frames
}

pub(super) fn icmp_type() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for (from, to) in everywhere() {
        // Replies; source quench, redirect, router advertisement, timestamp, address mask; packet
        // errors of other versions; router and neighbour messages, group reports, name queries.
        let kinds: &[u8] = if from.is_ipv4() {
            &[0, 4, 5, 9, 10, 13, 14, 17, 42, 128]
        } else {
            &[129, 130, 131, 133, 134, 135, 136, 137, 139, 143, 8]
        };
        for &kind in kinds {
            let packet = Packet::icmp(from.ip(), to.ip(), kind, 0, [0, 7, 0, 1], &[0; 40]);
            frames.push(packet.frame(LINK_MAC));
        }
        // Errors about what has no ports, about a ping that a container never answers, about nothing.
        let about_ping = Packet::echo_request(to.ip(), from.ip(), 7, 1, b"weir");
        let about_tunnel = Packet::new(to.ip(), from.ip(), 47, vec![0; 32]);
        let about_rest = Packet::udp(to, from, b"weir").with_fragment(3, false);
        for about in [about_ping, about_tunnel, about_rest] {
            frames.push(Packet::unreachable(from.ip(), to.ip(), &about).frame(LINK_MAC));
        }
        let (kind, code) = if from.is_ipv4() { (3, 3) } else { (1, 4) };
        frames.push(Packet::icmp(from.ip(), to.ip(), kind, code, [0; 4], b"weir").frame(LINK_MAC));
    }
    frames
}

pub(super) fn icmp_foreign() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for (from, to) in everywhere() {
        // About packets to the neighbour, to the node, and to somebody else altogether.
        let stranger = if from.is_ipv4() {
            ip("8.8.8.8")
        } else {
            ip("2001:db8::8")
        };
        for receiver in [
            SocketAddr::new(from.ip(), NEIGHBOURS),
            SocketAddr::new(from.ip(), 22),
            SocketAddr::new(stranger, OWN),
        ] {
            for about in [
                Packet::udp(to, receiver, b"weir"),
                Packet::tcp(to, receiver),
            ] {
                frames.push(Packet::unreachable(from.ip(), to.ip(), &about).frame(LINK_MAC));
            }
        }
        // About the container's own packet: it cannot have been received by the container.
        if to.port() != NEIGHBOURS {
            let about = Packet::udp(from, to, b"weir");
            frames.push(Packet::unreachable(from.ip(), to.ip(), &about).frame(LINK_MAC));
        }
    }
    frames
}

pub(super) fn multicast() -> Vec<Vec<u8>> {
    let many = [
        "224.0.0.1",
        "224.0.0.251",
        "239.1.2.3",
        "240.0.0.1",
        "255.255.255.255",
        "0.0.0.0",
        "0.1.2.3",
        "ff02::1",
        "ff02::fb",
        "ff0e::1",
        "::",
    ];
    many.into_iter()
        .map(|to| {
            let from = if ip(to).is_ipv4() { NODE_V4 } else { NODE_V6 };
            Packet::udp(address(from, OWN), address(to, 9), b"weir").frame(LINK_MAC)
        })
        .collect()
}

pub(super) fn loopback() -> Vec<Vec<u8>> {
    let ways = [
        ("127.0.0.1", WIRE_V4),
        ("127.9.9.9", NODE_V4),
        ("127.0.0.1", "127.0.0.1"),
        (NODE_V4, "127.0.0.1"),
        (NODE_V4, "127.255.255.254"),
        ("::1", WIRE_V6),
        ("::1", NODE_V6),
        (NODE_V6, "::1"),
    ];
    ways.into_iter()
        .map(|(from, to)| Packet::udp(address(from, OWN), address(to, 9), b"weir").frame(LINK_MAC))
        .collect()
}

pub(super) fn malformed() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for (from, to) in everywhere() {
        let whole = Packet::udp(from, to, b"weir").bytes();
        let ethertype = if from.is_ipv4() { 0x0800 } else { 0x86dd };
        let header = if from.is_ipv4() { 20 } else { 40 };
        // The wrong version, and a header that is cut short.
        let mut other_version = whole.clone();
        other_version[0] ^= 0x10;
        frames.push(frame(LINK_MAC, ethertype, &other_version));
        frames.push(frame(LINK_MAC, ethertype, &whole[..header - 1]));
        // No ports, or half of them.
        frames.push(frame(LINK_MAC, ethertype, &whole[..header]));
        frames.push(frame(LINK_MAC, ethertype, &whole[..header + 3]));
        // Half an ICMP header.
        let ping = Packet::echo_request(from.ip(), to.ip(), 1, 1, b"").bytes();
        frames.push(frame(LINK_MAC, ethertype, &ping[..header + 7]));
        if from.is_ipv4() {
            let mut short = whole.clone();
            short[0] = 0x44;
            frames.push(frame(LINK_MAC, ethertype, &short));
            // Ports in the frame's padding, behind the end of the packet.
            let mut padded = whole.clone();
            padded[2..4].copy_from_slice(&23_u16.to_be_bytes());
            frames.push(frame(LINK_MAC, ethertype, &padded));
        } else {
            // Half an extension header.
            let long = Packet::udp(from, to, b"weir")
                .with_extension(HOP_BY_HOP, &PADDING)
                .bytes();
            frames.push(frame(LINK_MAC, ethertype, &long[..47]));
        }
    }
    // IPv4 addresses in IPv6 packets would be taken for IPv4 in the tables.
    for (from, to) in [("::ffff:10.9.0.2", WIRE_V6), (NODE_V6, "::ffff:10.9.0.1")] {
        frames.push(Packet::udp(address(from, OWN), address(to, 9), b"weir").frame(LINK_MAC));
    }
    frames
}

pub(super) fn fragment_tiny() -> Vec<Vec<u8>> {
    let mut frames = each(|from, to| {
        let mut packet = Packet::udp(from, to, b"weir").with_fragment(0, true);
        packet.payload.clear();
        packet
    });
    frames.extend(each(|from, to| {
        let mut packet =
            Packet::echo_request(from.ip(), to.ip(), 1, 1, b"weir").with_fragment(0, true);
        packet.payload.clear();
        packet
    }));
    frames
}

pub(super) fn fragment_unknown() -> Vec<Vec<u8>> {
    let mut frames = each(|from, to| Packet::udp(from, to, &[7; 64]).with_fragment(1, false));
    frames.extend(each(|from, to| {
        Packet::tcp(from, to).with_fragment(185, true)
    }));
    frames.extend(each(|from, to| {
        Packet::new(from.ip(), to.ip(), 47, vec![0; 32]).with_fragment(185, true)
    }));
    frames
}

pub(super) fn options() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for (from, to) in everywhere() {
        for packet in [
            Packet::udp(from, to, b"weir"),
            Packet::tcp(from, to),
            Packet::echo_request(from.ip(), to.ip(), 1, 1, b"weir"),
        ] {
            if from.is_ipv4() {
                // No operation, record route, loose source route, router alert.
                for options in [
                    &[1, 1, 1, 1][..],
                    &[7, 7, 4, 0, 0, 0, 0, 0],
                    &[131, 7, 4, 8, 8, 8, 8, 0],
                    &[148, 4, 0, 0],
                ] {
                    frames.push(packet.clone().with_options(options).frame(LINK_MAC));
                }
            } else {
                let mut body = vec![0, 1, 0, 0, 0, 0];
                body.extend(octets(ip(FAR_V6)));
                frames.push(
                    packet
                        .clone()
                        .with_extension(ROUTING, &body)
                        .frame(LINK_MAC),
                );
                let packet = packet.with_extension(HOP_BY_HOP, &PADDING);
                frames.push(packet.with_extension(ROUTING, &body).frame(LINK_MAC));
            }
        }
    }
    frames
}

pub(super) fn extension_header() -> Vec<Vec<u8>> {
    everywhere()
        .into_iter()
        .filter(|(from, _)| from.is_ipv6())
        .map(|(from, to)| {
            let mut packet = Packet::udp(from, to, b"weir");
            for _ in 0..7 {
                packet = packet.with_extension(DESTINATION_OPTIONS, &PADDING);
            }
            packet.frame(LINK_MAC)
        })
        .collect()
}

pub(super) fn no_route() -> Vec<Vec<u8>> {
    // The link's broadcast address; black holes of three kinds.
    [
        "10.9.0.255",
        "203.0.113.1",
        "203.0.113.65",
        "203.0.113.129",
        "fdbb::1",
        "fdcc::1",
    ]
    .into_iter()
    .map(|to| {
        let from = if ip(to).is_ipv4() { NODE_V4 } else { NODE_V6 };
        Packet::udp(address(from, OWN), address(to, 9), b"weir").frame(LINK_MAC)
    })
    .collect()
}

pub(super) fn not_uplink() -> Vec<Vec<u8>> {
    [(NODE_V4, SECOND_WIRE_V4), (NODE_V6, SECOND_WIRE_V6)]
        .into_iter()
        .map(|(from, to)| Packet::udp(address(from, OWN), address(to, 9), b"weir").frame(LINK_MAC))
        .collect()
}

pub(super) fn not_ip() -> Vec<Vec<u8>> {
    // ARP, MPLS, LLDP, a length instead of a type, and a type that nobody has.
    let mut frames: Vec<Vec<u8>> = [0x0806, 0x8847, 0x88cc, 0x0026, 0x5745]
        .into_iter()
        .map(|ethertype| frame(LINK_MAC, ethertype, &[0; 46]))
        .collect();
    // An honest packet with a VLAN tag would leave into a network that is not the node's.
    for (from, to) in everywhere() {
        let honest = Packet::udp(from, to, b"weir").frame(LINK_MAC);
        for tag in [0, 100, 0xe064] {
            frames.push(tagged(&honest, tag));
        }
        frames.push(tagged(&tagged(&honest, 100), 200));
    }
    frames
}
