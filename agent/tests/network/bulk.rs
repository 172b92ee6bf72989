//! Much data, in both directions over every path, byte by byte as it was sent.

use weir_abi::DropReason;

use crate::frames::Ear;
use crate::lab::{Container, Lab, NODE_V4, NODE_V6, Place, WIRE_V6, address};
use crate::talk::{Server, any_of, ask_tcp_much, tcp_on};

/// In each direction.
const TOTAL: u64 = 64 << 20;

/// Sends the lot there and back between a server and a client.
fn exchange(server: &Place, client: &Place, ip: &str, port: u16) {
    let to = address(ip, port);
    let much = Server::tcp_much(server.run(|| tcp_on(any_of(to.ip(), port))));
    client
        .run(|| ask_tcp_much(to, TOTAL))
        .unwrap_or_else(|error| panic!("{to}: {error}"));
    much.client();
}

/// Checks what was counted for a container that took part in so many exchanges.
fn assert_counted(lab: &Lab, container: &Container, exchanges: u64) {
    let counters = lab.counters(container);
    let sent = exchanges * TOTAL;
    // Headers and acknowledgements come on top.
    for (direction, bytes, packets) in [
        ("received", counters.rx_bytes, counters.rx_packets),
        ("sent", counters.tx_bytes, counters.tx_packets),
    ] {
        assert!(
            (sent..sent + sent / 10).contains(&bytes),
            "{bytes} bytes were counted as {direction}, of {sent}"
        );
        // A frame that stands for many counts for as many.
        let least = sent / 1448;
        assert!(
            packets >= least,
            "{packets} packets were counted as {direction}, of {least}"
        );
    }
    assert_eq!(counters.tx_drops, [0; DropReason::COUNT]);
    assert_eq!(counters.rx_drops, [0; DropReason::COUNT]);
    let (again, segments) = (container.place.retransmits(), counters.tx_packets);
    assert!(
        again * 100 < segments,
        "{again} of {segments} segments were sent again"
    );
}

#[test]
fn bulk_between_the_wire_and_a_container_is_whole_and_goes_in_large_frames() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let mut ears = [Ear::on(&lab.wire, "w0"), Ear::on(&a.place, "eth0")];
    exchange(&a.place, &lab.wire, NODE_V4, 31000);
    exchange(&lab.wire, &a.place, WIRE_V6, 8080);
    assert_counted(&lab, &a, 2);
    for ear in &mut ears {
        let largest = ear
            .all()
            .iter()
            .map(|packet| packet.payload.len())
            .max()
            .unwrap();
        assert!(largest > 20_000, "the largest frame had {largest} bytes");
    }
}

#[test]
fn bulk_between_containers_is_whole() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let b = lab.container(2, "31001");
    exchange(&b.place, &a.place, NODE_V4, 31001);
    exchange(&a.place, &b.place, NODE_V6, 31000);
    assert_counted(&lab, &a, 2);
    assert_counted(&lab, &b, 2);
}

#[test]
fn bulk_between_the_node_and_a_container_is_whole() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    exchange(&a.place, &lab.node, "127.0.0.1", 31000);
    exchange(&a.place, &lab.node, NODE_V6, 31000);
    exchange(&lab.node, &a.place, NODE_V4, 8080);
    assert_counted(&lab, &a, 3);
}

#[test]
fn bulk_of_a_container_with_itself_is_whole() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    exchange(&a.place, &a.place, NODE_V4, 31000);
    exchange(&a.place, &a.place, "::1", 31000);
    // On the node's address it goes the way of all else; on loopback it stays inside.
    assert_counted(&lab, &a, 2);
}
