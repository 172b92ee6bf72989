//! Every reason to drop a packet: provoked with real frames, counted under that reason and no other,
//! told in the log, and heard by nobody.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use aya::maps::{Array, Map, MapData};
use weir_abi::{Counters, DropReason, LINK_MAC};
use weir_agent::container::Slot;
use weir_sys::packet::PacketSocket;

use crate::frames::{
    DESTINATION_OPTIONS, Ear, HOP_BY_HOP, ICMP, ICMPV6, NO_NEXT_HEADER, PADDING, Packet, ROUTING,
    frame, is_chatter, mac_of, socket_on, tagged,
};
use crate::lab::{
    Container, FAR_V4, FAR_V6, Lab, NODE_V4, NODE_V6, Place, SECOND_WIRE_V4, SECOND_WIRE_V6,
    WIRE_V4, WIRE_V6, address, eventually,
};
use crate::log::lines_with;

/// The container that sends, and its neighbour.
const OWN: u16 = 31000;
const NEIGHBOURS: u16 = 31001;
/// A port of the node's.
const NODES: u16 = 8080;

/// How each reason is proven.
enum Proof {
    /// These frames, sent by a container, are dropped for it.
    Sent(fn() -> Vec<Vec<u8>>),
    /// By the test of that name in this file.
    Test(fn()),
    /// It cannot be provoked from outside of the kernel.
    Impossible(&'static str),
}

/// A match without a wildcard: a new reason has to be proven here before this compiles.
fn proof(reason: DropReason) -> Proof {
    match reason {
        DropReason::SourceAddress => Proof::Sent(source_address),
        DropReason::SourcePort => Proof::Sent(source_port),
        DropReason::Protocol => Proof::Sent(protocol),
        DropReason::IcmpType => Proof::Sent(icmp_type),
        DropReason::IcmpForeign => Proof::Sent(icmp_foreign),
        DropReason::Multicast => Proof::Sent(multicast),
        DropReason::Loopback => Proof::Sent(loopback),
        DropReason::Malformed => Proof::Sent(malformed),
        DropReason::FragmentTiny => Proof::Sent(fragment_tiny),
        DropReason::FragmentUnknown => Proof::Sent(fragment_unknown),
        DropReason::Options => Proof::Sent(options),
        DropReason::ExtensionHeader => Proof::Sent(extension_header),
        DropReason::NoRoute => Proof::Sent(no_route),
        DropReason::NotUplink => Proof::Sent(not_uplink),
        DropReason::TooBig => Proof::Test(what_does_not_fit_the_uplink_is_dropped_as_too_big),
        DropReason::EchoBusy => {
            Proof::Test(more_pings_than_there_are_identifiers_are_dropped_as_echo_busy)
        }
        DropReason::NotIp => Proof::Sent(not_ip),
        DropReason::TargetGone => {
            Proof::Test(a_port_of_a_container_that_is_gone_is_dropped_as_target_gone)
        }
        DropReason::Martian => Proof::Test(the_nodes_own_address_on_the_wire_is_dropped_as_martian),
        DropReason::Rewrite => Proof::Impossible(
            "the helpers that rewrite fail where the header ends early, which the parser refuses \
             before as malformed, or where the kernel has no memory for a copy of the packet",
        ),
    }
}

#[test]
fn every_packet_that_must_not_leave_is_dropped_with_its_reason() {
    let lab = Lab::with_settings(|lab, settings| {
        lab.node.ip("route add blackhole 203.0.113.0/26");
        lab.node.ip("route add unreachable 203.0.113.64/26");
        lab.node.ip("route add prohibit 203.0.113.128/26");
        lab.node.ip("-6 route add blackhole fdbb::/64");
        lab.node.ip("-6 route add unreachable fdcc::/64");
        settings.uplinks = vec!["up0".to_owned()];
    });
    let _second = lab.second_wire("up1");
    let a = lab.container(1, "31000");
    let b = lab.container(2, "31001");
    let ears = Ears::on(&lab, &[&b]);
    // The second wire is there before its routes are asked about.
    eventually("the node's second address is known", || {
        a.place
            .command("ip", "-4 addr show dev eth0")
            .contains("10.8.0.2")
            .then_some(())
    });
    let mouth = socket_on(&a.place, "eth0");
    let mut proven = BTreeSet::new();
    for &reason in DropReason::ALL {
        match proof(reason) {
            Proof::Sent(frames) => {
                for bytes in frames() {
                    assert_dropped(&lab, &a, &mouth, &bytes, reason);
                }
                assert_told(&a, reason, "out");
            }
            // That it is a function is checked by the compiler, and that it passes by its own run.
            Proof::Test(test) => {
                let _: fn() = test;
            }
            Proof::Impossible(why) => assert!(!why.is_empty()),
        }
        proven.insert(reason);
    }
    assert_eq!(proven.len(), DropReason::COUNT);
    ears.assert_silent(&a);
}

#[test]
fn what_does_not_fit_the_uplink_is_dropped_as_too_big() {
    let lab = Lab::new();
    let second = lab.second_wire("up1");
    second.ip("link set w0 mtu 1400");
    lab.node.ip("link set up1 mtu 1400");
    let a = lab.container(1, "31000");
    eventually("the second uplink's MTU is known", || {
        a.place
            .command("ip", "route show")
            .contains("mtu 1400")
            .then_some(())
    });
    let mouth = socket_on(&a.place, "eth0");
    let mut ear = Ear::on(&second, "w0");
    for (from, to) in [(NODE_V4, SECOND_WIRE_V4), (NODE_V6, SECOND_WIRE_V6)] {
        let (from, to) = (address(from, OWN), address(to, 9));
        let header = if from.is_ipv4() { 28 } else { 48 };
        // One byte too many, a VLAN tag's worth too many, and as many as the link carries.
        for size in [1401, 1404, 1405, 1500] {
            let bytes = Packet::udp(from, to, &vec![7; size - header]).frame(LINK_MAC);
            assert_dropped(&lab, &a, &mouth, &bytes, DropReason::TooBig);
        }
        let fits = Packet::udp(from, to, &vec![9; 1400 - header]);
        mouth.send(&fits.frame(LINK_MAC)).unwrap();
        let (_, before) = ear.until("a packet of 1400 bytes", |packet| {
            packet.payload == fits.payload
        });
        assert!(before.iter().all(is_chatter), "{before:?}");
    }
    assert_told(&a, DropReason::TooBig, "out");
}

#[test]
fn more_pings_than_there_are_identifiers_are_dropped_as_echo_busy() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let mouth = socket_on(&a.place, "eth0");
    let mut ear = Ear::on(&lab.wire, "w0");
    let before = lab.counters(&a);
    let sent = 400;
    for n in 0..sent {
        let to = IpAddr::from([172, 31, 6, u8::try_from(n % 250).unwrap()]);
        let request = Packet::echo_request(ip(NODE_V4), to, 1 + n / 250, n, b"weir");
        mouth.send(&request.frame(LINK_MAC)).unwrap();
    }
    let after = eventually("all are counted", || {
        let now = lab.counters(&a);
        let passed = now.tx_packets - before.tx_packets;
        (passed + tx_drops(&now, DropReason::EchoBusy) == u64::from(sent)).then_some(now)
    });
    let passed = after.tx_packets - before.tx_packets;
    assert!(
        (100..=128).contains(&passed),
        "128 identifiers let {passed} pings out"
    );
    assert_told(&a, DropReason::EchoBusy, "out");
    let mut ids = BTreeSet::new();
    let block = a.attachment.ephemeral.unwrap();
    for _ in 0..passed {
        let (request, _) = ear.until("the pings that left", |packet| packet.echo_id().is_some());
        let id = request.echo_id().unwrap();
        assert!(
            (block.first()..=block.last()).contains(&id),
            "{id} is not owned"
        );
        assert!(ids.insert(id), "{id} was given twice");
    }
}

#[test]
fn a_port_of_a_container_that_is_gone_is_dropped_as_target_gone() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    // An owner that no slot has: between two writes of the agent, or after a crash between them.
    let ports = MapData::from_pin(lab.maps().join("PORTS")).unwrap();
    let mut ports: Array<MapData, u32> = Map::Array(ports).try_into().unwrap();
    ports.set(32000, 501, 0).unwrap();
    let gone = Slot::try_from(500).unwrap();
    let ways: [(&Place, &str, [u8; 6], [(&str, &str); 2]); 3] = [
        (
            &lab.wire,
            "w0",
            mac_of(&lab.node, "up0"),
            [(WIRE_V4, NODE_V4), (WIRE_V6, NODE_V6)],
        ),
        (
            &a.place,
            "eth0",
            LINK_MAC,
            [(NODE_V4, NODE_V4), (NODE_V6, NODE_V6)],
        ),
        (
            &lab.node,
            "lo",
            [0; 6],
            [(NODE_V4, NODE_V4), (NODE_V6, NODE_V6)],
        ),
    ];
    let mut sent = 0;
    for (place, interface, mac, addresses) in ways {
        let mouth = socket_on(place, interface);
        for (from, to) in addresses {
            let packet = Packet::udp(address(from, OWN), address(to, 32000), b"weir");
            mouth.send(&packet.frame(mac)).unwrap();
            sent += 1;
            eventually("the drop is counted", || {
                let counters = lab.handle().counters(gone).unwrap();
                (counters.rx_drops[DropReason::TargetGone as usize] == sent).then_some(())
            });
        }
    }
    eventually("the drop is told", || {
        (!lines_with(&["slot 500", "target_gone", "direction=\"in\""]).is_empty()).then_some(())
    });
}

#[test]
fn the_nodes_own_address_on_the_wire_is_dropped_as_martian() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let mut ear = Ear::on(&a.place, "eth0");
    let mouth = socket_on(&lab.wire, "w0");
    let mac = mac_of(&lab.node, "up0");
    let mut sent = 0;
    for node in [NODE_V4, NODE_V6] {
        let (from, to) = (address(node, 9), address(node, OWN));
        let about = Packet::udp(to, from, b"weir");
        for packet in [
            Packet::udp(from, to, b"weir"),
            Packet::tcp(from, to),
            Packet::udp(from, to, b"weir weir weir weir").with_fragment(0, true),
            Packet::unreachable(from.ip(), to.ip(), &about),
        ] {
            mouth.send(&packet.frame(mac)).unwrap();
            sent += 1;
            eventually("the drop is counted", || {
                let counters = lab.counters(&a);
                assert_eq!(counters.rx_packets, 0);
                (counters.rx_drops[DropReason::Martian as usize] == sent).then_some(())
            });
        }
    }
    assert_told(&a, DropReason::Martian, "in");
    let honest = Packet::udp(address(WIRE_V4, 9), address(NODE_V4, OWN), b"weir");
    mouth.send(&honest.frame(mac)).unwrap();
    let (_, before) = ear.until("the honest packet", |packet| {
        packet.payload == honest.payload
    });
    assert!(before.is_empty(), "{before:?}");
}

#[test]
fn a_flood_is_counted_whole_and_told_ten_times_a_second() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let mouth = socket_on(&a.place, "eth0");
    let spoofed = Packet::udp(address(NODE_V4, NEIGHBOURS), address(WIRE_V4, 9), b"weir");
    let (bytes, began) = (spoofed.frame(LINK_MAC), Instant::now());
    let mut sent = 0;
    while began.elapsed().as_millis() < 1000 {
        mouth.send(&bytes).unwrap();
        sent += 1;
    }
    eventually("all are counted", || {
        (tx_drops(&lab.counters(&a), DropReason::SourcePort) == sent).then_some(())
    });
    let tenths = usize::try_from(began.elapsed().as_millis() / 100).unwrap();
    let words = [a.attachment.container.as_str(), "source_port"];
    let told = eventually("some are told", || {
        let told = lines_with(&words).len();
        (told >= 5).then_some(told)
    });
    // Two processors may each find that it is time.
    assert!(
        told <= 2 * (tenths + 1),
        "{told} events in {tenths} tenths of a second, of {sent}"
    );
    assert!(sent > 1000, "only {sent} frames in a second are no flood");
    assert_eq!(lab.handle().node_counters().unwrap().events_lost, 0);
}

/// Sends a frame out of a container, and checks that exactly this is counted.
fn assert_dropped(
    lab: &Lab,
    a: &Container,
    mouth: &PacketSocket,
    bytes: &[u8],
    reason: DropReason,
) {
    let before = lab.counters(a);
    mouth
        .send(bytes)
        .unwrap_or_else(|error| panic!("{reason:?}, {} bytes: {error}", bytes.len()));
    let mut expected = before;
    expected.tx_drops[reason as usize] += 1;
    let after = eventually(
        &format!("any verdict, best {reason:?}, on {bytes:02x?}"),
        || Some(lab.counters(a)).filter(|after| *after != before),
    );
    assert_eq!(
        describe(&before, &after),
        describe(&before, &expected),
        "{reason:?} was expected of {bytes:02x?}"
    );
}

/// What was counted between two looks, in words.
fn describe(before: &Counters, after: &Counters) -> Vec<String> {
    let mut words = Vec::new();
    if after.tx_packets != before.tx_packets {
        words.push(format!(
            "{} packets left",
            after.tx_packets - before.tx_packets
        ));
    }
    if after.rx_packets != before.rx_packets {
        words.push(format!(
            "{} packets came",
            after.rx_packets - before.rx_packets
        ));
    }
    for &reason in DropReason::ALL {
        for (direction, before, after) in [
            ("out", &before.tx_drops, &after.tx_drops),
            ("in", &before.rx_drops, &after.rx_drops),
        ] {
            let at = reason as usize;
            if after[at] != before[at] {
                words.push(format!(
                    "{} dropped {direction} for {}",
                    after[at] - before[at],
                    reason.name()
                ));
            }
        }
    }
    words
}

fn tx_drops(counters: &Counters, reason: DropReason) -> u64 {
    counters.tx_drops[reason as usize]
}

/// Waits until the log has the drop.
fn assert_told(a: &Container, reason: DropReason, direction: &str) {
    let container = a.attachment.container.as_str();
    eventually(&format!("the log tells of {}", reason.name()), || {
        let words = [
            container,
            &format!("reason=\"{}\"", reason.name()),
            &format!("direction=\"{direction}\""),
            reason.explanation(),
        ];
        (!lines_with(&words).is_empty()).then_some(())
    });
}

/// Ears everywhere that a packet of the container could arrive.
struct Ears {
    ears: Vec<(String, Ear)>,
}

impl Ears {
    fn on(lab: &Lab, neighbours: &[&Container]) -> Self {
        let mut ears = vec![
            ("the wire".to_owned(), Ear::on(&lab.wire, "w0")),
            ("the node".to_owned(), Ear::on(&lab.node, "lo")),
        ];
        for neighbour in neighbours {
            let name = format!("the neighbour in slot {}", neighbour.slot.index());
            ears.push((name, Ear::on(&neighbour.place, "eth0")));
        }
        Self { ears }
    }

    /// Sends an honest packet to each, which comes after all others, and checks that nothing else
    /// had come.
    fn assert_silent(mut self, a: &Container) {
        let mouth = socket_on(&a.place, "eth0");
        for (name, ear) in &mut self.ears {
            let to = match name.as_str() {
                "the wire" => address(WIRE_V4, NODES),
                "the node" => address(NODE_V4, NODES),
                _ => address(NODE_V4, NEIGHBOURS),
            };
            let honest = Packet::udp(address(NODE_V4, OWN), to, name.as_bytes());
            mouth.send(&honest.frame(LINK_MAC)).unwrap();
            let what = format!("the honest packet at {name}");
            let (_, before) = ear.until(&what, |packet| packet.payload == honest.payload);
            // What the node answers to honest packets is an ICMP error, on its loopback.
            let heard: Vec<&Packet> = before
                .iter()
                .filter(|packet| !is_chatter(packet) && !packet.payload.ends_with(name.as_bytes()))
                .collect();
            assert!(heard.is_empty(), "{name} heard {heard:?}");
        }
    }
}

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

fn source_address() -> Vec<Vec<u8>> {
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

fn source_port() -> Vec<Vec<u8>> {
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

fn protocol() -> Vec<Vec<u8>> {
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

fn icmp_type() -> Vec<Vec<u8>> {
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

fn icmp_foreign() -> Vec<Vec<u8>> {
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

fn multicast() -> Vec<Vec<u8>> {
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

fn loopback() -> Vec<Vec<u8>> {
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

fn malformed() -> Vec<Vec<u8>> {
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

fn fragment_tiny() -> Vec<Vec<u8>> {
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

fn fragment_unknown() -> Vec<Vec<u8>> {
    let mut frames = each(|from, to| Packet::udp(from, to, &[7; 64]).with_fragment(1, false));
    frames.extend(each(|from, to| {
        Packet::tcp(from, to).with_fragment(185, true)
    }));
    frames.extend(each(|from, to| {
        Packet::new(from.ip(), to.ip(), 47, vec![0; 32]).with_fragment(185, true)
    }));
    frames
}

fn options() -> Vec<Vec<u8>> {
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
                body.extend(crate::frames::octets(ip(FAR_V6)));
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

fn extension_header() -> Vec<Vec<u8>> {
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

fn no_route() -> Vec<Vec<u8>> {
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

fn not_uplink() -> Vec<Vec<u8>> {
    [(NODE_V4, SECOND_WIRE_V4), (NODE_V6, SECOND_WIRE_V6)]
        .into_iter()
        .map(|(from, to)| Packet::udp(address(from, OWN), address(to, 9), b"weir").frame(LINK_MAC))
        .collect()
}

fn not_ip() -> Vec<Vec<u8>> {
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
