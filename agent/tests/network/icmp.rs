//! Pings whose identifiers never meet, and ICMP errors that find the socket they are about.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Barrier;

use nix::libc;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, setsockopt, socket,
    sockopt,
};

use crate::frames::{Ear, ICMP, ICMPV6, Packet, is_chatter, mac_of, socket_on};
use crate::lab::{
    Container, FAR_V4, FAR_V6, Lab, NODE_V4, NODE_V6, WIRE_V4, WIRE_V6, address, eventually,
};
use crate::talk::{PATIENCE, Server, any_of, ask_tcp_much, ask_udp, tcp_on, udp_on};

/// A socket that pings: one that the kernel gives an identifier, or a raw one.
pub(crate) struct Pinger {
    socket: UdpSocket,
    to: IpAddr,
    id: u16,
    /// A raw socket of IPv4 hears the IP header as well.
    is_raw_v4: bool,
}

impl Pinger {
    pub(crate) fn new(kind: SockType, to: IpAddr, id: u16) -> Self {
        let (family, protocol) = match to {
            IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
            IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
        };
        let fd: OwnedFd = socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol).unwrap();
        if kind == SockType::Datagram {
            bind(fd.as_raw_fd(), &SockaddrStorage::from(any_of(to, id))).unwrap();
        }
        let socket = UdpSocket::from(fd);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            to,
            id,
            is_raw_v4: kind == SockType::Raw && to.is_ipv4(),
        }
    }

    pub(crate) fn send(&self, sequence: u16, data: &[u8]) -> io::Result<()> {
        // The checksum of IPv6 depends on the source, which the kernel chooses, and so is its task;
        // that of IPv4 it computes for a ping socket only.
        let from = if self.to.is_ipv4() {
            [0, 0, 0, 0].into()
        } else {
            [0_u16; 8].into()
        };
        let bytes = Packet::echo_request(from, self.to, self.id, sequence, data).payload;
        self.socket
            .send_to(&bytes, SocketAddr::new(self.to, 0))
            .map(drop)
    }

    /// Waits for the next echo reply: its identifier, sequence number and data.
    pub(crate) fn receive(&self) -> io::Result<(u16, u16, Vec<u8>)> {
        let mut bytes = vec![0; 70_000];
        loop {
            let (length, from) = self.socket.recv_from(&mut bytes)?;
            let message = &bytes[if self.is_raw_v4 { 20 } else { 0 }..length];
            // A raw socket hears all other ICMP as well.
            if message[0] != if self.to.is_ipv4() { 0 } else { 129 } {
                continue;
            }
            assert_eq!(
                from.ip(),
                self.to,
                "the answer has to come from who was asked"
            );
            let half = |at| u16::from_be_bytes([message[at], message[at + 1]]);
            return Ok((half(4), half(6), message[8..].to_vec()));
        }
    }

    /// Sends pings one after the other and checks each answer.
    pub(crate) fn ping(&self, count: u16, data: &[u8]) {
        for sequence in 1..=count {
            self.send(sequence, data).unwrap();
            let answer = self.receive().unwrap_or_else(|error| {
                panic!(
                    "ping {sequence} of {}, {}: {error}",
                    self.to,
                    String::from_utf8_lossy(data)
                )
            });
            assert_eq!(
                answer,
                (self.id, sequence, data.to_vec()),
                "an answer from {}",
                self.to
            );
        }
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn owns(container: &Container, id: u16) -> bool {
    let block = container.attachment.ephemeral.unwrap();
    (block.first()..=block.last()).contains(&id)
}

/// Two containers and the node ping the same with the same identifier, all at once.
fn ping_at_once(kind: SockType) {
    let lab = Lab::new();
    lab.node.write_setting("net/ipv4/ping_group_range", "0 0");
    let a = lab.container(1, "31000");
    let b = lab.container(2, "31001");
    for to in [WIRE_V4, WIRE_V6, FAR_V4, FAR_V6].map(ip) {
        let mut ear = Ear::on(&lab.wire, "w0");
        let begin = Barrier::new(3);
        std::thread::scope(|scope| {
            for (place, data) in [
                (&a.place, "from a"),
                (&b.place, "from b"),
                (&lab.node, "from node"),
            ] {
                let begin = &begin;
                scope.spawn(move || {
                    place.run(|| {
                        let pinger = Pinger::new(kind, to, 7);
                        begin.wait();
                        // A raw socket of one would hear the answers of another here.
                        pinger.ping(20, data.as_bytes());
                    });
                });
            }
        });
        let mut ids: BTreeMap<Vec<u8>, BTreeSet<u16>> = BTreeMap::new();
        for packet in ear.all() {
            if let Some(id) = packet.echo_id() {
                assert_eq!(packet.payload_checksum(), 0, "a wrong checksum: {packet:?}");
                ids.entry(packet.payload[8..].to_vec())
                    .or_default()
                    .insert(id);
            }
        }
        let seen = |data: &str| ids[data.as_bytes()].iter().copied().collect::<Vec<_>>();
        let (of_a, of_b, of_node) = (seen("from a"), seen("from b"), seen("from node"));
        assert!(of_a.len() == 1 && owns(&a, of_a[0]), "{to}: {of_a:?} of a");
        assert!(of_b.len() == 1 && owns(&b, of_b[0]), "{to}: {of_b:?} of b");
        assert_eq!(of_node, [7], "the node's own pings are left alone");
    }
}

#[test]
fn equal_identifiers_of_ping_sockets_never_mix() {
    ping_at_once(SockType::Datagram);
}

#[test]
fn equal_identifiers_of_raw_sockets_never_mix() {
    ping_at_once(SockType::Raw);
}

#[test]
fn one_container_pings_many_at_once() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    // As many machines beyond the gateway, and one identifier for all.
    let far: Vec<IpAddr> = (100..160).map(|n| IpAddr::from([172, 31, 5, n])).collect();
    for to in &far {
        lab.far.ip(&format!("addr add {to}/24 dev f0"));
    }
    a.run(|| {
        let pingers: Vec<Pinger> = far
            .iter()
            .map(|&to| Pinger::new(SockType::Raw, to, 7))
            .collect();
        for (n, pinger) in pingers.iter().enumerate() {
            pinger.send(n as u16, b"weir").unwrap();
        }
        let socket = &pingers[0].socket;
        let mut answered = BTreeSet::new();
        let mut bytes = [0; 2048];
        while answered.len() < far.len() {
            let (_, from) = socket
                .recv_from(&mut bytes)
                .expect("every ping is answered");
            let n = far.iter().position(|&to| to == from.ip()).unwrap();
            assert_eq!(
                &bytes[24..28],
                &[0, 7, 0, n as u8],
                "identifier and sequence of {from}"
            );
            answered.insert(from.ip());
        }
    });
}

#[test]
fn a_container_pings_the_node_and_itself() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    for to in [NODE_V4, NODE_V6, "127.0.0.1", "::1"].map(ip) {
        for kind in [SockType::Datagram, SockType::Raw] {
            a.run(|| Pinger::new(kind, to, 7).ping(3, b"weir"));
        }
    }
}

#[test]
fn the_nodes_own_ping_is_its_own_even_with_an_identifier_of_a_containers() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let block = a.attachment.ephemeral.unwrap();
    let mut ear = Ear::on(&a.place, "eth0");
    for to in [WIRE_V4, WIRE_V6, NODE_V4, NODE_V6, "127.0.0.1", "::1"].map(ip) {
        for id in [7, 31000, block.first(), block.last()] {
            lab.node
                .run(|| Pinger::new(SockType::Raw, to, id).ping(2, b"weir"));
        }
    }
    let heard = ear.all();
    assert!(
        heard.iter().all(is_chatter),
        "the container heard {heard:?}"
    );
}

#[test]
fn pings_from_the_wire_are_answered_by_the_node() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let block = a.attachment.ephemeral.unwrap();
    let mut ear = Ear::on(&a.place, "eth0");
    for to in [NODE_V4, NODE_V6].map(ip) {
        for id in [7, 31000, block.first()] {
            lab.wire
                .run(|| Pinger::new(SockType::Raw, to, id).ping(2, b"weir"));
            lab.far
                .run(|| Pinger::new(SockType::Raw, to, id).ping(2, &[7; 3000]));
        }
    }
    let heard = ear.all();
    assert!(
        heard.iter().all(is_chatter),
        "the container heard {heard:?}"
    );
}

#[test]
fn large_pings_come_back_whole() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let data: Vec<u8> = (0..3000_u32).map(|n| n as u8).collect();
    for to in [WIRE_V4, WIRE_V6, FAR_V4, FAR_V6, NODE_V4, NODE_V6].map(ip) {
        for kind in [SockType::Datagram, SockType::Raw] {
            a.run(|| Pinger::new(kind, to, 7).ping(3, &data));
        }
    }
    assert_eq!(lab.counters(&a).tx_drops, [0; weir_abi::DropReason::COUNT]);
}

/// Asks the socket to report errors of ICMP.
fn report_errors(socket: &impl AsFd, to: IpAddr) {
    match to {
        IpAddr::V4(_) => setsockopt(socket, sockopt::Ipv4RecvErr, &true).unwrap(),
        IpAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvErr, &true).unwrap(),
    }
}

#[test]
fn errors_about_a_ping_reach_the_socket_that_sent_it() {
    let lab = Lab::new();
    lab.wire.ip("route add unreachable 198.51.100.0/24");
    lab.wire.ip("-6 route add unreachable fdee::/64");
    let a = lab.container(1, "31000");
    let b = lab.container(2, "31001");
    let mut ear = Ear::on(&a.place, "eth0");
    let mut neighbours = Ear::on(&b.place, "eth0");
    // Where it ends, with how many hops, the type of the error, and what the kernel makes of it.
    let cases = [
        (FAR_V4, 1, 11, libc::EHOSTUNREACH),
        (FAR_V6, 1, 3, libc::EHOSTUNREACH),
        ("198.51.100.1", 64, 3, libc::EHOSTUNREACH),
        ("fdee::1", 64, 1, libc::ENETUNREACH),
    ];
    for (to, hops, kind, errno) in cases {
        let to = ip(to);
        let error = a.run(|| {
            let pinger = Pinger::new(SockType::Datagram, to, 7);
            report_errors(&pinger.socket, to);
            match to {
                IpAddr::V4(_) => setsockopt(&pinger.socket, sockopt::Ipv4Ttl, &hops).unwrap(),
                IpAddr::V6(_) => setsockopt(&pinger.socket, sockopt::Ipv6Ttl, &hops).unwrap(),
            }
            pinger.send(1, b"weir").unwrap();
            pinger.receive().expect_err("nobody answers this ping")
        });
        assert_eq!(error.raw_os_error(), Some(errno), "{to}: {error}");
        let (packet, _) = ear.until("the error", |packet| {
            matches!(packet.protocol, ICMP | ICMPV6) && packet.payload[0] == kind
        });
        assert_eq!(
            packet.payload_checksum(),
            0,
            "the outer checksum of {packet:?}"
        );
        let about = Packet::read(&packet.payload[8..]).unwrap();
        assert_eq!(
            about.echo_id(),
            Some(7),
            "the container's own identifier is back"
        );
        assert_eq!(
            about.payload_checksum(),
            0,
            "the inner checksum of {about:?}"
        );
    }
    let heard = neighbours.all();
    assert!(
        heard.iter().all(is_chatter),
        "the neighbour heard {heard:?}"
    );
}

#[test]
fn errors_go_to_the_container_whose_packet_they_are_about_and_to_nobody_else() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let b = lab.container(2, "31001");
    let mouth = socket_on(&lab.wire, "w0");
    let mac = mac_of(&lab.node, "up0");
    let mut ears = [Ear::on(&a.place, "eth0"), Ear::on(&b.place, "eth0")];
    for (node, wire, stranger) in [
        (NODE_V4, WIRE_V4, "8.8.8.8"),
        (NODE_V6, WIRE_V6, "2001:db8::8"),
    ] {
        let (node, wire, stranger) = (ip(node), ip(wire), ip(stranger));
        let about = |from: IpAddr, port, to: IpAddr, tag: &[u8]| {
            Packet::udp(SocketAddr::new(from, port), SocketAddr::new(to, 9), tag)
        };
        // The tag says who has to hear it: a, b, or neither.
        let errors = [
            about(node, 31000, stranger, b"to a"),
            about(node, 31001, stranger, b"to b"),
            about(node, 8080, stranger, b"to node"),
            about(stranger, 31000, node, b"to node"),
            about(stranger, 31001, wire, b"to node"),
            Packet::echo_request(node, stranger, 31000, 1, b"to node"),
            Packet::echo_request(
                node,
                stranger,
                a.attachment.ephemeral.unwrap().first(),
                1,
                b"to node",
            ),
        ];
        for about in &errors {
            mouth
                .send(&Packet::unreachable(wire, node, about).frame(mac))
                .unwrap();
        }
        for (ear, (tag, port)) in ears.iter_mut().zip([(b"to a", 31000), (b"to b", 31001)]) {
            let honest = Packet::udp(
                SocketAddr::new(wire, 9),
                SocketAddr::new(node, port),
                b"last",
            );
            mouth.send(&honest.frame(mac)).unwrap();
            let (_, before) = ear.until("the last packet", |packet| {
                packet.payload.ends_with(b"last")
            });
            let heard: Vec<&Packet> = before.iter().filter(|packet| !is_chatter(packet)).collect();
            assert_eq!(heard.len(), 1, "{heard:?}");
            assert!(heard[0].payload.ends_with(tag), "{heard:?}");
        }
    }
}

#[test]
fn a_smaller_mtu_on_the_way_is_learned() {
    let lab = Lab::new();
    lab.wire.ip("link set w1 mtu 1300");
    lab.far.ip("link set f0 mtu 1300");
    let a = lab.container(1, "31000");
    let b = lab.container(2, "31001");
    for to in [address(FAR_V4, 8080), address(FAR_V6, 8080)] {
        // TCP, both ways: the far end learns nothing new, its own link is the narrow one.
        let server = Server::tcp_much(lab.far.run(|| tcp_on(any_of(to.ip(), 8080))));
        a.run(|| ask_tcp_much(to, 300_000)).unwrap();
        server.client();

        // UDP: the first datagram is lost, the error tells the size that passes, and the next one is
        // cut to it.
        let socket = b.run(|| udp_on(any_of(to.ip(), 0)));
        socket.send_to(&[7; 1400], to).unwrap();
        eventually(&format!("the smaller MTU towards {to} is learned"), || {
            (route_mtu(&b, to.ip()) == Some(1300)).then_some(())
        });
        let server = Server::udp(lab.far.run(|| udp_on(any_of(to.ip(), 8081))));
        b.run(|| ask_udp(SocketAddr::new(to.ip(), 8081), 1400))
            .unwrap();
        server.client();
    }
    assert_eq!(lab.counters(&a).tx_drops, [0; weir_abi::DropReason::COUNT]);
}

/// Returns the MTU that a container's kernel has learned for a destination.
fn route_mtu(container: &Container, to: IpAddr) -> Option<u32> {
    let route = container.place.command("ip", &format!("route get {to}"));
    let (_, rest) = route.split_once(" mtu ")?;
    rest.split_whitespace().next()?.parse().ok()
}
