//! Every way that a packet can go, with both families and both protocols.

use std::io::ErrorKind;
use std::net::SocketAddr;

use crate::frames::{Packet, mac_of, socket_on, tagged};
use crate::lab::{
    Container, FAR_V4, FAR_V6, Lab, NODE_V4, NODE_V6, Place, WIRE_V4, WIRE_V6, address,
};
use crate::talk::{PATIENCE, Server, any_of, ask_tcp, ask_udp, ask_udp_connected, tcp_on, udp_on};

/// Starts servers on `port` of a place, has a client talk to `to`, over TCP and UDP, and returns
/// who the servers saw.
fn converse(server: &Place, client: &Place, to: SocketAddr) -> [SocketAddr; 2] {
    let listen = any_of(to.ip(), to.port());
    let tcp = Server::tcp(server.run(|| tcp_on(listen)));
    client
        .run(|| ask_tcp(to))
        .unwrap_or_else(|error| panic!("TCP to {to}: {error}"));
    let udp = Server::udp(server.run(|| udp_on(listen)));
    client
        .run(|| ask_udp(to, 100))
        .unwrap_or_else(|error| panic!("UDP to {to}: {error}"));
    [tcp.client(), udp.client()]
}

fn both(v4: &str, v6: &str, port: u16) -> [SocketAddr; 2] {
    [address(v4, port), address(v6, port)]
}

fn assert_from_container(seen: [SocketAddr; 2], container: &Container) {
    let block = container.attachment.ephemeral.unwrap();
    for peer in seen {
        assert!(
            (block.first()..=block.last()).contains(&peer.port()),
            "{peer} is not from the container's block {block}"
        );
    }
}

#[test]
fn the_wire_reaches_a_container() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    for to in both(NODE_V4, NODE_V6, a.port()) {
        converse(&a.place, &lab.wire, to);
        converse(&a.place, &lab.far, to);
    }
    let counters = lab.counters(&a);
    assert!(counters.rx_packets > 0 && counters.tx_packets > 0);
    assert_eq!(
        counters.tx_drops,
        [0; weir_abi::DropReason::COUNT],
        "nothing was dropped"
    );
}

#[test]
fn a_container_reaches_the_wire_from_its_own_ports() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    for to in both(WIRE_V4, WIRE_V6, 8080) {
        assert_from_container(converse(&lab.wire, &a.place, to), &a);
    }
}

#[test]
fn a_container_reaches_beyond_the_gateway() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    for to in both(FAR_V4, FAR_V6, 8080) {
        assert_from_container(converse(&lab.far, &a.place, to), &a);
    }
}

#[test]
fn containers_reach_each_other_on_the_nodes_address() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let b = lab.container(2, "31001");
    for to in both(NODE_V4, NODE_V6, b.port()) {
        assert_from_container(converse(&b.place, &a.place, to), &a);
    }
}

#[test]
fn a_container_reaches_itself_on_the_nodes_address() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    for to in both(NODE_V4, NODE_V6, a.port()) {
        assert_from_container(converse(&a.place, &a.place, to), &a);
    }
}

#[test]
fn a_container_reaches_the_node() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    for to in both(NODE_V4, NODE_V6, 8080) {
        assert_from_container(converse(&lab.node, &a.place, to), &a);
    }
}

#[test]
fn the_node_reaches_a_container_on_every_one_of_its_addresses() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    for to in [NODE_V4, NODE_V6, "127.0.0.1", "127.9.9.9", "::1"] {
        converse(&a.place, &lab.node, address(to, a.port()));
        let udp = Server::udp(a.run(|| udp_on("[::]:31000")));
        lab.node
            .run(|| ask_udp_connected(address(to, a.port())))
            .unwrap();
        udp.client();
    }
}

#[test]
fn a_dual_stack_client_reaches_a_container_through_mapped_loopback() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let listener = Server::tcp(a.run(|| tcp_on("0.0.0.0:31000")));
    let to = address("::ffff:127.0.0.1", a.port());
    let (_, peer) = lab.node.run(|| ask_tcp(to)).unwrap();
    assert_eq!(peer, to, "getpeername tells what was asked for");
    listener.client();
}

#[test]
fn the_peer_is_the_one_that_was_asked_for() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    for to in ["127.0.0.1", "::1", NODE_V4, NODE_V6] {
        let to = address(to, a.port());
        let server = Server::tcp(a.run(|| tcp_on(any_of(to.ip(), to.port()))));
        let (_, peer) = lab.node.run(|| ask_tcp(to)).unwrap();
        assert_eq!(peer, to);
        server.client();
    }
}

#[test]
fn loopback_of_a_container_is_its_own() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let b = lab.container(2, "31001");
    for ip in ["127.0.0.1", "::1"] {
        // Any port, also one that is the other's.
        let to = address(ip, 31001);
        let server = Server::tcp(a.run(|| tcp_on(to)));
        a.run(|| ask_tcp(to)).unwrap();
        server.client();
        let closed = b.run(|| ask_tcp(address(ip, 31000))).unwrap_err();
        assert_eq!(closed.kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn services_of_the_node_are_reached_as_before() {
    let lab = Lab::new();
    let _a = lab.container(1, "31000");
    for to in both(NODE_V4, NODE_V6, 8080) {
        converse(&lab.node, &lab.wire, to);
        converse(&lab.node, &lab.node, to);
    }
    for to in both("127.0.0.1", "::1", 8080) {
        converse(&lab.node, &lab.node, to);
    }
    for to in both(WIRE_V4, WIRE_V6, 8080) {
        converse(&lab.wire, &lab.node, to);
    }
}

#[test]
fn a_closed_port_answers_at_once_in_every_direction() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let b = lab.container(2, "31001");
    let ways: [(&Place, &str, &str, u16); 5] = [
        (&lab.wire, NODE_V4, NODE_V6, a.port()),
        (&a.place, WIRE_V4, WIRE_V6, 8080),
        (&a.place, NODE_V4, NODE_V6, b.port()),
        (&a.place, NODE_V4, NODE_V6, 8080),
        (&lab.node, NODE_V4, NODE_V6, a.port()),
    ];
    for (from, v4, v6, port) in ways {
        for to in both(v4, v6, port) {
            let tcp = from.run(|| ask_tcp(to)).unwrap_err();
            assert_eq!(tcp.kind(), ErrorKind::ConnectionRefused, "TCP to {to}");
            // The ICMP error finds its way back to the socket.
            let udp = from.run(|| ask_udp_connected(to)).unwrap_err();
            assert_eq!(
                udp.kind(),
                ErrorKind::ConnectionRefused,
                "UDP to {to}: {udp}"
            );
        }
    }
}

#[test]
fn a_frame_of_a_vlan_is_not_for_the_nodes_own_network_but_a_priority_makes_no_vlan() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let mouth = socket_on(&lab.wire, "w0");
    let mac = mac_of(&lab.node, "up0");
    for (wire, node) in [(WIRE_V4, NODE_V4), (WIRE_V6, NODE_V6)] {
        let socket = a.run(|| udp_on(any_of(node.parse().unwrap(), a.port())));
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let send = |tag, data: &[u8]| {
            let packet = Packet::udp(address(wire, 9), address(node, a.port()), data);
            mouth.send(&tagged(&packet.frame(mac), tag)).unwrap();
        };
        // The kernel takes the tag off and hands the frame to the VLAN's interface; there is none.
        send(100, b"of another network");
        // Priority seven, VLAN zero.
        send(0xe000, b"of this one");
        let mut bytes = [0; 64];
        let length = socket.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"of this one");
    }
}
