//! The wire, divided: minima, weights, the node's own class, and whose queue it is.

use std::net::TcpStream;
use std::thread;

use nix::sys::socket::{setsockopt, sockopt};
use weir_abi::SESSION_CLASS;
use weir_agent::container::ContainerNetwork as _;

use super::load::{Bulk, Sink, ask, rate_of};
use super::{classes, dropped, held};
use crate::lab::{Lab, WIRE_V4, address};
use crate::talk::{Server, ask_tcp, tcp_on};

/// The node's own leaf, and that of the agent's session.
const NODE_LEAF: u32 = 4;
const SESSION_LEAF: u32 = SESSION_CLASS & 0xffff;

/// How much has to arrive before a rate is told.
const ENOUGH: u64 = 2_000_000;

fn lab() -> Lab {
    Lab::with_settings(|_, settings| {
        settings.bandwidth.egress = Some("100mbit".parse().unwrap());
        settings.bandwidth.node_egress_min = "1mbit".parse().unwrap();
    })
}

#[test]
fn each_has_its_minimum_and_its_part_of_the_rest() {
    let lab = lab();
    let containers: Vec<_> = (1..=3_u16)
        .map(|n| {
            let words = format!("min={}mbit weight={n}", 10 * n);
            held(&lab, n.into(), &format!("3100{n}"), &words)
        })
        .collect();
    let sinks: Vec<_> = (1..=3)
        .map(|n| Sink::at(&lab.wire, WIRE_V4, 5000 + n))
        .collect();
    let mut bulks: Vec<_> = containers
        .iter()
        .zip(&sinks)
        .map(|(container, sink)| Bulk::start(&container.place, sink, 4))
        .collect();
    let rates = |bytes| {
        thread::scope(|scope| {
            let told: Vec<_> = sinks
                .iter()
                .map(|sink| scope.spawn(move || rate_of(sink, bytes)))
                .collect();
            told.into_iter()
                .map(|told| told.join().unwrap())
                .collect::<Vec<f64>>()
        })
    };
    rates(ENOUGH / 4);
    let told = rates(ENOUGH);
    let sum: f64 = told.iter().sum();
    assert!(sum <= 1.05 * 100e6, "{told:?}");
    for (rate, min) in told.iter().zip([10e6, 20e6, 30e6]) {
        assert!(*rate > 0.95 * min, "{told:?}");
    }
    assert!(told.is_sorted(), "{told:?}");
    // While the wire is full, what the node says gets through, and so does what a container asks.
    ask(&lab.node, &lab.wire, address(WIRE_V4, 5010), 100);
    ask(&containers[0].place, &lab.wire, address(WIRE_V4, 5011), 100);

    let on_wire = lab.handle().wire().unwrap();
    assert_eq!(on_wire.containers.len(), 3);
    for container in &containers {
        let share = &on_wire.containers[&container.slot.index()];
        let sent = share.bulk.sent_bytes;
        assert!(sent >= ENOUGH / 4, "{share:?}");
        assert!(share.assured >= 1_250_000, "{share:?}");
    }
    // The answers go back the other way, and what is asked goes first.
    let asked = &on_wire.containers[&containers[0].slot.index()];
    assert!(asked.first.sent_bytes > 100 * 60, "{asked:?}");
    assert!(on_wire.node.unwrap().sent_bytes > 100 * 60, "{on_wire:?}");
    // One that stops leaves its part to the others.
    drop(bulks.pop());
    rate_of(&sinks[0], ENOUGH);
    let alone = rate_of(&sinks[0], ENOUGH);
    assert!(alone > 1.2 * told[0], "{alone} after {told:?}");
    drop(bulks);
    assert_eq!(dropped(&lab.node, "up0"), 0);
    for container in &containers {
        assert_eq!(dropped(&container.place, "eth0"), 0);
    }
}

#[test]
fn the_agents_own_messages_have_a_class_of_their_own() {
    let lab = lab();
    let before = classes(&lab.node, "up0");
    let server = Server::tcp(lab.wire.run(|| tcp_on(address(WIRE_V4, 5001))));
    lab.node.run(|| {
        let stream = TcpStream::connect(address(WIRE_V4, 5001)).unwrap();
        setsockopt(&stream, sockopt::Priority, &(SESSION_CLASS as i32)).unwrap();
        use std::io::{Read as _, Write as _};
        (&stream).write_all(b"weir").unwrap();
        (&stream).read_exact(&mut [0; 4]).unwrap();
    });
    server.client();
    let after = classes(&lab.node, "up0");
    assert!(after[&SESSION_LEAF].packets > before[&SESSION_LEAF].packets);
    let server = Server::tcp(lab.wire.run(|| tcp_on(address(WIRE_V4, 5002))));
    lab.node.run(|| ask_tcp(address(WIRE_V4, 5002)).unwrap());
    server.client();
    let last = classes(&lab.node, "up0");
    assert_eq!(last[&SESSION_LEAF].packets, after[&SESSION_LEAF].packets);
    assert!(last[&NODE_LEAF].packets > after[&NODE_LEAF].packets);
}

#[test]
fn classes_come_and_go_with_their_containers() {
    let mut lab = lab();
    let own = |lab: &Lab| classes(&lab.node, "up0").len();
    let nobodys = own(&lab);
    let a = held(&lab, 1, "31000", "min=10mbit");
    let b = held(&lab, 2, "32000", "");
    assert_eq!(own(&lab), nobodys + 6);
    lab.wait(lab.handle().detach(a.slot)).unwrap();
    assert_eq!(own(&lab), nobodys + 3);
    // One that ends while no agent runs leaves its classes to the next.
    lab.stop();
    drop(b);
    lab.start();
    lab.recover(&[]);
    assert_eq!(own(&lab), nobodys);
    lab.wait(lab.handle().stop_if_unused()).unwrap();
    assert!(classes(&lab.node, "up0").is_empty(), "the queue is gone");
}

#[test]
fn a_queue_that_somebody_took_away_is_made_again() {
    let lab = lab();
    let _a = held(&lab, 1, "31000", "min=10mbit");
    let before = classes(&lab.node, "up0").len();
    lab.node.command("tc", "qdisc del dev up0 root");
    let _b = held(&lab, 2, "32000", "min=10mbit");
    // With the classes of the one that was there.
    assert_eq!(classes(&lab.node, "up0").len(), before + 3);
}

#[test]
fn what_was_divided_is_given_back_by_an_agent_that_is_not_to() {
    let mut lab = lab();
    assert!(!classes(&lab.node, "up0").is_empty());
    lab.stop();
    lab.settings().bandwidth.divide = false;
    lab.start();
    assert!(classes(&lab.node, "up0").is_empty());
    let reason = lab.handle().capacity().egress_min.unwrap_err();
    assert!(reason.contains("divide"), "{reason}");
}

#[test]
fn a_queue_of_the_operators_stays() {
    let lab = Lab::with_settings(|lab, settings| {
        lab.node
            .command("tc", "qdisc add dev up0 root handle 7: pfifo limit 77");
        settings.bandwidth.egress = Some("100mbit".parse().unwrap());
    });
    let reason = lab.handle().capacity().egress_min.unwrap_err();
    assert!(
        reason.contains("up0") && reason.contains("pfifo"),
        "{reason}"
    );
    // What does not need it works: the ceiling is on the container's own link.
    let a = held(&lab, 1, "31000", "max=40mbit");
    let sink = Sink::at(&lab.wire, WIRE_V4, 5001);
    let bulk = Bulk::start(&a.place, &sink, 2);
    let rate = rate_of(&sink, ENOUGH);
    assert!(rate < 1.1 * 40e6, "{rate}");
    drop(bulk);
    lab.wait(lab.handle().detach(a.slot)).unwrap();
    lab.wait(lab.handle().stop_if_unused()).unwrap();
    let left = lab.node.command("tc", "qdisc show dev up0");
    assert!(left.contains("pfifo 7:"), "{left}");
}

#[test]
fn what_is_not_known_is_not_divided() {
    // No interface of a laboratory knows its speed to this process.
    let lab = Lab::new();
    let capacity = lab.handle().capacity();
    let reason = capacity.egress_min.unwrap_err();
    assert!(reason.contains("[bandwidth] egress"), "{reason}");
    assert_eq!(capacity.egress_max, Ok(()));
    assert!(classes(&lab.node, "up0").is_empty());
}
