//! Every reason to drop a packet: provoked with real frames, counted under that reason and no other,
//! told in the log, and heard by nobody.

mod offences;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use aya::maps::{Array, Map, MapData};
use weir_abi::{Counters, DropReason, LINK_MAC};
use weir_agent::container::Slot;
use weir_sys::packet::PacketSocket;

use crate::frames::{Ear, Packet, is_chatter, mac_of, socket_on};
use crate::lab::{
    Container, Lab, NODE_V4, NODE_V6, Place, SECOND_WIRE_V4, SECOND_WIRE_V6, WIRE_V4, WIRE_V6,
    address, eventually,
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
        DropReason::SourceAddress => Proof::Sent(offences::source_address),
        DropReason::SourcePort => Proof::Sent(offences::source_port),
        DropReason::Protocol => Proof::Sent(offences::protocol),
        DropReason::IcmpType => Proof::Sent(offences::icmp_type),
        DropReason::IcmpForeign => Proof::Sent(offences::icmp_foreign),
        DropReason::Multicast => Proof::Sent(offences::multicast),
        DropReason::Loopback => Proof::Sent(offences::loopback),
        DropReason::Malformed => Proof::Sent(offences::malformed),
        DropReason::FragmentTiny => Proof::Sent(offences::fragment_tiny),
        DropReason::FragmentUnknown => Proof::Sent(offences::fragment_unknown),
        DropReason::Options => Proof::Sent(offences::options),
        DropReason::ExtensionHeader => Proof::Sent(offences::extension_header),
        DropReason::NoRoute => Proof::Sent(offences::no_route),
        DropReason::NotUplink => Proof::Sent(offences::not_uplink),
        DropReason::TooBig => Proof::Test(what_does_not_fit_the_uplink_is_dropped_as_too_big),
        DropReason::EchoBusy => {
            Proof::Test(more_pings_than_there_are_identifiers_are_dropped_as_echo_busy)
        }
        DropReason::NotIp => Proof::Sent(offences::not_ip),
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
        let request = Packet::echo_request(NODE_V4.parse().unwrap(), to, 1 + n / 250, n, b"weir");
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

/// From where, over which interface, to which MAC address, and between which addresses.
type Way<'a> = (&'a Place, &'a str, [u8; 6], [(&'a str, &'a str); 2]);

#[test]
fn a_port_of_a_container_that_is_gone_is_dropped_as_target_gone() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    // An owner that no slot has: between two writes of the agent, or after a crash between them.
    let ports = MapData::from_pin(lab.maps().join("PORTS")).unwrap();
    let mut ports: Array<MapData, u32> = Map::Array(ports).try_into().unwrap();
    ports.set(32000, 501, 0).unwrap();
    let gone = Slot::try_from(500).unwrap();
    let ways: [Way<'_>; 3] = [
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
