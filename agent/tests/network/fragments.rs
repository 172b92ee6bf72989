//! Packets in pieces, and IPv6 packets with more headers than one.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use weir_abi::{DropReason, LINK_MAC};

use crate::frames::{
    DESTINATION_OPTIONS, Ear, HOP_BY_HOP, PADDING, Packet, TCP, UDP, is_chatter, mac_of, socket_on,
};
use crate::lab::{
    Container, FAR_V4, FAR_V6, Lab, NODE_V4, NODE_V6, Place, WIRE_V4, WIRE_V6, address, eventually,
};
use crate::talk::{PATIENCE, Server, any_of, ask_udp, udp_on};

#[test]
fn large_datagrams_arrive_whole_on_every_path() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let b = lab.container(2, "31001");
    let ways: [(&Place, &Place, &[&str], u16); 7] = [
        (&a.place, &lab.wire, &[NODE_V4, NODE_V6], 31000),
        (&a.place, &lab.far, &[NODE_V4, NODE_V6], 31000),
        (&lab.wire, &a.place, &[WIRE_V4, WIRE_V6], 8080),
        (&lab.far, &a.place, &[FAR_V4, FAR_V6], 8080),
        (&b.place, &a.place, &[NODE_V4, NODE_V6], 31001),
        (
            &a.place,
            &lab.node,
            &[NODE_V4, NODE_V6, "127.0.0.1", "::1"],
            31000,
        ),
        (&lab.node, &a.place, &[NODE_V4, NODE_V6], 8080),
    ];
    for (server, client, addresses, port) in ways {
        for to in addresses {
            let to = address(to, port);
            for length in [1473, 3000, 40_000] {
                let answer = Server::udp(server.run(|| udp_on(any_of(to.ip(), port))));
                client
                    .run(|| ask_udp(to, length))
                    .unwrap_or_else(|error| panic!("{length} bytes to {to}: {error}"));
                answer.client();
            }
        }
    }
    for container in [&a, &b] {
        let counters = lab.counters(container);
        assert_eq!(counters.tx_drops, [0; DropReason::COUNT]);
        assert_eq!(counters.rx_drops, [0; DropReason::COUNT]);
    }
}

/// A datagram of 200 bytes from port 31000 of the node's address, in three pieces.
fn pieces(from: &str, to: &str, port: u16, id: u32, data: u8) -> Vec<Packet> {
    let mut packet = Packet::udp(address(from, 31000), address(to, port), &[data; 200]);
    packet.id = id;
    packet.fragments(96)
}

#[test]
fn pieces_leave_only_behind_their_first() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let b = lab.container(2, "31001");
    let mouth = socket_on(&a.place, "eth0");
    let mut ears = [
        Ear::on(&lab.wire, "w0"),
        Ear::on(&lab.node, "lo"),
        Ear::on(&b.place, "eth0"),
    ];
    let mut dropped = 0;
    for (from, tos) in [
        (NODE_V4, [WIRE_V4, NODE_V4, NODE_V4]),
        (NODE_V6, [WIRE_V6, NODE_V6, NODE_V6]),
    ] {
        for ((ear, to), port) in ears.iter_mut().zip(tos).zip([8080, 8080, 31001]) {
            let late = pieces(from, to, port, 0x1111, 1);
            let good = pieces(from, to, port, 0x2222, 2);
            for piece in [&late[2], &late[1]] {
                mouth.send(&piece.frame(LINK_MAC)).unwrap();
                dropped += 1;
            }
            eventually("the late pieces are dropped", || {
                let counters = lab.counters(&a);
                (counters.tx_drops[DropReason::FragmentUnknown as usize] == dropped).then_some(())
            });
            for piece in &good {
                mouth.send(&piece.frame(LINK_MAC)).unwrap();
            }
            let (_, before) = ear.until("the last piece", |packet| {
                packet.payload == good[2].payload && packet.fragment == good[2].fragment
            });
            let heard: Vec<_> = before
                .iter()
                .filter(|packet| !is_chatter(packet) && packet.fragment.is_some())
                .map(|packet| (packet.fragment, packet.payload.clone()))
                .collect();
            let wanted: Vec<_> = good[..2]
                .iter()
                .map(|piece| (piece.fragment, piece.payload.clone()))
                .collect();
            assert_eq!(heard, wanted, "to {to}");
        }
    }
}

#[test]
fn nobody_continues_the_packet_of_another() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let b = lab.container(2, "31001");
    let mouths = [&a, &b].map(|container| socket_on(&container.place, "eth0"));
    for (from, to) in [(NODE_V4, WIRE_V4), (NODE_V6, WIRE_V6)] {
        let before = lab.counters(&b).tx_drops[DropReason::FragmentUnknown as usize];
        let good = pieces(from, to, 8080, 0x3333, 3);
        let passed = lab.counters(&a).tx_packets;
        mouths[0].send(&good[0].frame(LINK_MAC)).unwrap();
        eventually("the first piece leaves", || {
            (lab.counters(&a).tx_packets > passed).then_some(())
        });
        // The same in all that tells packets apart.
        mouths[1].send(&good[1].frame(LINK_MAC)).unwrap();
        eventually("the foreign piece is dropped", || {
            let now = lab.counters(&b).tx_drops[DropReason::FragmentUnknown as usize];
            (now == before + 1).then_some(())
        });
    }
}

#[test]
fn a_piece_of_another_packet_is_none_of_this_one() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let mouth = socket_on(&a.place, "eth0");
    let mut strangers = 0;
    for (from, to, other) in [(NODE_V4, WIRE_V4, FAR_V4), (NODE_V6, WIRE_V6, FAR_V6)] {
        let passed = lab.counters(&a).tx_packets;
        let good = pieces(from, to, 8080, 7, 7);
        mouth.send(&good[0].frame(LINK_MAC)).unwrap();
        // Many more than there are packets to keep in mind: some fall on the place of the first.
        for id in 1000..1400 {
            let piece = &pieces(from, to, 8080, id, 7)[1];
            mouth.send(&piece.frame(LINK_MAC)).unwrap();
            strangers += 1;
        }
        let mut elsewhere = good[1].clone();
        elsewhere.destination = other.parse().unwrap();
        mouth.send(&elsewhere.frame(LINK_MAC)).unwrap();
        strangers += 1;
        if elsewhere.source.is_ipv4() {
            let mut of_tcp = good[1].clone();
            of_tcp.protocol = TCP;
            mouth.send(&of_tcp.frame(LINK_MAC)).unwrap();
            strangers += 1;
        }
        // And after all of them its own still passes.
        mouth.send(&good[1].frame(LINK_MAC)).unwrap();
        eventually("all are judged", || {
            let counters = lab.counters(&a);
            let dropped = counters.tx_drops[DropReason::FragmentUnknown as usize];
            assert!(dropped <= strangers && counters.tx_packets <= passed + 2);
            (dropped == strangers && counters.tx_packets == passed + 2).then_some(())
        });
    }
}

#[test]
fn pieces_from_the_wire_that_come_before_their_first_are_counted_and_left_to_the_node() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let mouth = socket_on(&lab.wire, "w0");
    let mac = mac_of(&lab.node, "up0");
    let mut ear = Ear::on(&a.place, "eth0");
    for (unknown, (from, to)) in (1..).zip([(WIRE_V4, NODE_V4), (WIRE_V6, NODE_V6)]) {
        let mut packet = Packet::udp(address(from, 9), address(to, 31000), &[4; 200]);
        packet.id = 0x4444;
        let late = packet.fragments(96);
        mouth.send(&late[2].frame(mac)).unwrap();
        eventually("the late piece is counted", || {
            (lab.handle().node_counters().unwrap().fragments_unknown == unknown).then_some(())
        });
        // What comes in order arrives whole.
        let receiver = receiver(&a, to, 31000);
        let mut packet = Packet::udp(address(from, 9), address(to, 31000), &[5; 200]);
        packet.id = 0x5555;
        for piece in packet.fragments(96) {
            mouth.send(&piece.frame(mac)).unwrap();
        }
        assert_received(&receiver, address(from, 9), &[5; 200]);
    }
    let heard = ear.all();
    assert!(heard.iter().all(|packet| packet.id != 0x4444), "{heard:?}");
}

#[test]
fn a_first_piece_with_nothing_but_ports_is_enough() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    for (wire, node) in [(WIRE_V4, NODE_V4), (WIRE_V6, NODE_V6)] {
        exchange(&lab, &a, wire, node, |packet| packet.fragments(8));
    }
}

#[test]
fn extension_headers_ahead_of_the_ports_are_looked_through() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    exchange(&lab, &a, WIRE_V6, NODE_V6, |packet| {
        vec![packet.clone().with_extension(HOP_BY_HOP, &PADDING)]
    });
    exchange(&lab, &a, WIRE_V6, NODE_V6, |packet| {
        vec![packet.clone().with_extension(DESTINATION_OPTIONS, &PADDING)]
    });
    // As many as are looked through, and one that is longer.
    exchange(&lab, &a, WIRE_V6, NODE_V6, |packet| {
        // An option for experiments, which whoever does not know it skips (RFC 4727).
        let long = [0x1e, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let mut packet = packet.clone().with_extension(HOP_BY_HOP, &long);
        for _ in 0..5 {
            packet = packet.with_extension(DESTINATION_OPTIONS, &PADDING);
        }
        vec![packet]
    });
}

#[test]
fn extension_headers_on_either_side_of_the_fragment_header_are_looked_through() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    exchange(&lab, &a, WIRE_V6, NODE_V6, |packet| {
        packet
            .clone()
            .with_extension(HOP_BY_HOP, &PADDING)
            .fragments(96)
    });
    // Behind it: the first piece has them and the ports, the others are of "their" protocol.
    exchange(&lab, &a, WIRE_V6, NODE_V6, |packet| {
        let mut payload = vec![UDP, 0];
        payload.extend(PADDING);
        payload.extend(&packet.payload);
        Packet::new(
            packet.source,
            packet.destination,
            DESTINATION_OPTIONS,
            payload,
        )
        .fragments(96)
    });
    // A fragment that is the whole packet.
    exchange(&lab, &a, WIRE_V6, NODE_V6, |packet| {
        vec![packet.clone().with_fragment(0, false)]
    });
}

/// Sends a datagram, cut by `cut`, from the wire to the container, and one the other way; to a
/// neighbour and to the node, too. Each has to arrive whole.
fn exchange(
    lab: &Lab,
    a: &Container,
    wire: &str,
    node: &str,
    cut: impl Fn(&Packet) -> Vec<Packet>,
) {
    let b = lab.container(2, "31001");
    let (from_wire, from_a) = (socket_on(&lab.wire, "w0"), socket_on(&a.place, "eth0"));
    let data: Vec<u8> = (0..203).collect();
    let send = |mouth: &weir_sys::packet::PacketSocket, mac, from, to| {
        for piece in cut(&Packet::udp(from, to, &data)) {
            mouth.send(&piece.frame(mac)).unwrap();
        }
    };

    let (own, other) = (address(node, 31000), address(wire, 9));
    let receiver_a = receiver(a, node, 31000);
    send(&from_wire, mac_of(&lab.node, "up0"), other, own);
    assert_received(&receiver_a, other, &data);

    let at_wire = lab.wire.run(|| listening(wire, 8080));
    send(&from_a, LINK_MAC, own, address(wire, 8080));
    assert_received(&at_wire, own, &data);

    let at_node = lab.node.run(|| listening(node, 8080));
    send(&from_a, LINK_MAC, own, address(node, 8080));
    assert_received(&at_node, own, &data);

    let receiver_b = receiver(&b, node, 31001);
    send(&from_a, LINK_MAC, own, address(node, 31001));
    assert_received(&receiver_b, own, &data);
    for container in [a, &b] {
        assert_eq!(lab.counters(container).tx_drops, [0; DropReason::COUNT]);
    }
    lab.wait(weir_agent::container::ContainerNetwork::detach(
        lab.handle(),
        b.slot,
    ))
    .unwrap();
}

fn receiver(container: &Container, ip: &str, port: u16) -> UdpSocket {
    container.run(|| listening(ip, port))
}

fn listening(ip: &str, port: u16) -> UdpSocket {
    let ip: IpAddr = ip.parse().unwrap();
    let socket = udp_on(any_of(ip, port));
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn assert_received(socket: &UdpSocket, from: SocketAddr, data: &[u8]) {
    let mut bytes = [0; 2048];
    let (length, sender) = socket
        .recv_from(&mut bytes)
        .expect("the datagram arrives whole");
    assert_eq!((sender, &bytes[..length]), (from, data));
}
