//! Ceilings: what a container sends, wherever to, and what it receives.

use std::thread;
use std::time::Duration;

use weir_agent::container::ContainerNetwork as _;

use super::load::{Bulk, Sink, ask, rate_of};
use super::{assert_few, bandwidth, classes, dropped, held};
use crate::adoption::Inhabitant;
use crate::lab::{Container, Lab, NODE_V4, WIRE_V4, WIRE_V6, address, eventually};

/// The class of packets that go first, on a container's own end.
const SPARSE: u32 = 2;

/// How much has to arrive before a rate is told: three quarters of a second at 40 Mbit/s. A reader that was late by some milliseconds finds more
/// than came meanwhile.
const ENOUGH: u64 = 3_750_000;

/// A rate of which TCP and IP take their part; what is above the ceiling is above it whoever measures.
fn assert_held(rate: f64, ceiling: f64) {
    assert!(rate <= 1.1 * ceiling, "{rate} of {ceiling}");
    assert!(rate >= 0.3 * ceiling, "{rate} of {ceiling}");
}

fn update(lab: &Lab, container: &Container, words: &str) {
    lab.wait(
        lab.handle()
            .update_bandwidth(container.slot, &bandwidth(words)),
    )
    .unwrap();
}

#[test]
fn what_goes_to_the_wire_is_held_without_a_loss() {
    for wire in [WIRE_V4, WIRE_V6] {
        let lab = Lab::new();
        let a = held(&lab, 1, "31000", "max=40mbit");
        let sink = Sink::at(&lab.wire, wire, 5001);
        let bulk = Bulk::start(&a.place, &sink, 8);
        rate_of(&sink, ENOUGH);
        assert_held(rate_of(&sink, ENOUGH), 40e6);
        drop(bulk);
        assert_few(a.place.retransmits());
        assert_eq!(dropped(&a.place, "eth0"), 0);
    }
}

#[test]
fn all_ways_out_share_one_ceiling() {
    let lab = Lab::new();
    let a = held(&lab, 1, "31000", "max=40mbit");
    let b = lab.container(2, "32000");
    let to_wire = Sink::at(&lab.wire, WIRE_V4, 5001);
    let to_neighbour = Sink::at(&b.place, NODE_V4, 32000);
    let to_node = Sink::at(&lab.node, NODE_V4, 5003);
    let sinks = [&to_wire, &to_neighbour, &to_node];
    let _bulks = sinks.map(|sink| Bulk::start(&a.place, sink, 2));
    let first = to_wire.received();
    rate_of(&to_wire, ENOUGH / 4);
    assert!(to_wire.received() > first);
    // All at once: each way has some, and together they have no more than one.
    let rates = thread::scope(|scope| {
        sinks
            .map(|sink| scope.spawn(move || rate_of(sink, ENOUGH / 2)))
            .map(|told| told.join().unwrap())
    });
    let sum: f64 = rates.iter().sum();
    assert!(sum <= 1.1 * 40e6, "{rates:?}");
}

#[test]
fn who_asks_goes_past_who_pours() {
    let lab = Lab::new();
    let a = held(&lab, 1, "31000", "max=20mbit");
    let sink = Sink::at(&lab.wire, WIRE_V4, 5001);
    let _bulk = Bulk::start(&a.place, &sink, 32);
    rate_of(&sink, ENOUGH / 2);
    let before = classes(&a.place, "eth0");
    ask(&a.place, &lab.wire, address(WIRE_V4, 5002), 300);
    let after = classes(&a.place, "eth0");
    let first = after[&SPARSE].packets - before[&SPARSE].packets;
    assert!(first >= 300, "{first} packets went first");
    // And that is what is told of it.
    let queues = lab.handle().queues(a.slot).unwrap();
    let told = queues.transmit.expect("it is held to a rate");
    let counters = &told.counters;
    assert!(counters.sparse_packets >= first, "{counters:?}");
    assert!(counters.bulk_bytes >= ENOUGH / 2, "{counters:?}");
    assert!(told.full > Duration::from_millis(200), "{told:?}");
    let passed = counters.sparse_packets + counters.bulk_packets;
    let waited: u64 = counters.delays.iter().sum();
    assert!((first..=passed).contains(&waited), "{waited} of {passed}");
    assert!(
        counters.delays[..8].iter().sum::<u64>() >= first,
        "{counters:?}"
    );
    assert_eq!(queues.receive, None);
    // All leaves of the bulk have their part.
    let mut leaves = (SPARSE + 1)..=(SPARSE + 8);
    assert!(leaves.all(|leaf| after[&leaf].packets > before[&leaf].packets));
}

#[test]
fn a_changed_ceiling_breaks_nothing() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let sink = Sink::at(&lab.wire, WIRE_V4, 5001);
    // Connected before there is any queue.
    let bulk = Bulk::start(&a.place, &sink, 4);
    rate_of(&sink, ENOUGH);
    // What was sent before goes through first, and where something of it was lost, much that was kept behind it is read at once.
    let measured = |ceiling: f64| {
        let is_held = || (0.3 * ceiling..=1.1 * ceiling).contains(&rate_of(&sink, ENOUGH));
        eventually("it is held twice in a row", || {
            (is_held() && is_held()).then_some(())
        });
    };
    update(&lab, &a, "max=40mbit");
    measured(40e6);
    // The kernel drops what is sent in the moment in which a link gets its first queue.
    let before = a.place.retransmits();
    update(&lab, &a, "max=80mbit");
    measured(80e6);
    assert_few(a.place.retransmits() - before);
    // What waits for its turn now waits four times as long, which TCP can take for a loss; there is none.
    update(&lab, &a, "max=20mbit");
    measured(20e6);
    assert_eq!(dropped(&a.place, "eth0"), 0);
    // Without a limit it is the machine that decides, which moves senders from CPU to CPU, and packets before each other.
    update(&lab, &a, "");
    rate_of(&sink, ENOUGH);
    let free = rate_of(&sink, 20 * ENOUGH);
    assert!(free > 100e6, "{free}");
    drop(bulk);
}

#[test]
fn a_ceiling_outlives_the_agent() {
    let mut lab = Lab::new();
    let a = held(&lab, 1, "31000", "max=40mbit in=30mbit");
    let task = Inhabitant::of(&a);
    let out = Sink::at(&lab.wire, WIRE_V4, 5001);
    let inside = Sink::at(&a.place, NODE_V4, 31000);
    let _out = Bulk::start(&a.place, &out, 4);
    let _in = Bulk::start(&lab.wire, &inside, 4);
    let check = || {
        rate_of(&out, ENOUGH);
        assert_held(rate_of(&out, ENOUGH), 40e6);
        assert_held(rate_of(&inside, ENOUGH), 30e6);
    };
    check();
    lab.stop();
    check();
    let before = classes(&a.place, "eth0");
    lab.start();
    lab.recover(&[(&a, task.pid())]);
    check();
    let after = classes(&a.place, "eth0");
    assert!(after[&1].bytes > before[&1].bytes, "the same queue");
}

#[test]
fn what_is_received_is_held_whoever_sent_it() {
    let lab = Lab::new();
    let a = held(&lab, 1, "31000", "in=40mbit");
    let b = lab.container(2, "32000");
    let sink = Sink::at(&a.place, NODE_V4, 31000);
    for from in [&lab.wire, &b.place, &lab.node] {
        let bulk = Bulk::start(from, &sink, 4);
        rate_of(&sink, ENOUGH);
        assert_held(rate_of(&sink, ENOUGH), 40e6);
        drop(bulk);
    }
    // Senders of this machine stop when their sockets are full, and lose nothing.
    assert_few(lab.wire.retransmits());
    assert_few(b.place.retransmits());
}
