//! What is counted of TCP and of the programs themselves.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use crate::lab::{Lab, NODE_V4, NODE_V6, WIRE_V4, WIRE_V6, address, eventually};
use crate::talk::{PATIENCE, Server, any_of, ask_tcp, ask_tcp_much};

#[test]
fn connections_are_counted_on_the_side_that_made_them() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let b = lab.container(2, "31001");
    for to in [WIRE_V4, WIRE_V6, WIRE_V4] {
        let to = address(to, 8080);
        let server = Server::tcp(lab.wire.run(|| TcpListener::bind(any_of(to.ip(), 8080)).unwrap()));
        a.run(|| ask_tcp(to)).unwrap();
        server.client();
    }
    for to in [NODE_V4, NODE_V6] {
        let to = address(to, 31000);
        let server = Server::tcp(a.run(|| TcpListener::bind(any_of(to.ip(), 31000)).unwrap()));
        lab.wire.run(|| ask_tcp(to)).unwrap();
        server.client();
        let server = Server::tcp(a.run(|| TcpListener::bind(any_of(to.ip(), 31000)).unwrap()));
        b.run(|| ask_tcp(to)).unwrap();
        server.client();
    }
    let counters = lab.counters(&a);
    assert_eq!((counters.tcp_connects, counters.tcp_accepts, counters.tcp_connect_failures), (3, 4, 0));
    let counters = lab.counters(&b);
    assert_eq!((counters.tcp_connects, counters.tcp_accepts, counters.tcp_connect_failures), (2, 0, 0));
}

#[test]
fn connections_that_never_came_about_are_counted() {
    let lab = Lab::new();
    lab.node.ip("route add blackhole 203.0.113.0/24");
    let a = lab.container(1, "31000");
    // Refused by the other side, in both families.
    for to in [WIRE_V4, WIRE_V6, NODE_V4] {
        let error = a.run(|| ask_tcp(address(to, 8080))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
    assert_eq!(lab.counters(&a).tcp_connect_failures, 3);
    // Given up on by the container.
    a.run(|| TcpStream::connect_timeout(&address("203.0.113.1", 80), Duration::from_millis(50)))
        .unwrap_err();
    eventually("the fourth failure is counted", || {
        (lab.counters(&a).tcp_connect_failures == 4).then_some(())
    });
    assert_eq!(lab.counters(&a).tcp_connects, 0);
}

#[test]
fn round_trips_fill_the_histogram_of_the_container_that_made_them() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let b = lab.container(2, "31001");
    let samples = |slot| {
        let histogram = lab.handle().round_trips(slot).unwrap();
        (histogram.buckets.iter().sum::<u64>(), histogram)
    };
    assert_eq!(samples(a.slot).0, 0);
    let to = address(WIRE_V4, 8080);
    let server = Server::tcp_much(lab.wire.run(|| TcpListener::bind(to).unwrap()));
    a.run(|| ask_tcp_much(to, 4 << 20)).unwrap();
    server.client();
    let (count, histogram) = samples(a.slot);
    assert!(count > 20, "{count} round trips of 4 MB");
    // All of it on one machine: above nothing, and below a second each.
    let mean = histogram.sum_us / count;
    assert!((1..1_000_000).contains(&mean), "{mean} µs on average");
    let (lowest, highest) = (
        histogram.buckets.iter().position(|&n| n > 0).unwrap(),
        histogram.buckets.iter().rposition(|&n| n > 0).unwrap(),
    );
    assert!(weir_abi::bucket_upper_us(highest as u32) >= mean);
    assert!(lowest == 0 || weir_abi::bucket_upper_us(lowest as u32 - 1) < mean);
    assert_eq!(samples(b.slot).0, 0, "the neighbour had no part in it");
}

#[test]
fn segments_that_are_sent_again_are_counted() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let to = address(WIRE_V4, 8080);
    let listener = lab.wire.run(|| TcpListener::bind(to).unwrap());
    let mut stream = a.run(|| TcpStream::connect_timeout(&to, PATIENCE)).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"first").unwrap();
    eventually("the first bytes are acknowledged", || {
        (lab.counters(&a).tcp_retransmits == 0).then_some(())
    });
    // For a while nothing gets out.
    lab.node.ip("route add blackhole 10.9.0.1/32");
    stream.write_all(b"second").unwrap();
    eventually("segments are sent again", || {
        let counters = lab.counters(&a);
        let dropped = counters.tx_drops[weir_abi::DropReason::NoRoute as usize];
        (counters.tcp_retransmits >= 2 && dropped >= 2).then_some(())
    });
    lab.node.ip("route del blackhole 10.9.0.1/32");
    stream.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut server, &mut text).unwrap();
    assert_eq!(text, "firstsecond");
}

#[test]
fn every_program_tells_how_often_it_ran_and_for_how_long() {
    let lab = Lab::with_settings(|_, settings| settings.program_statistics = true);
    let a = lab.container(1, "31000");
    for to in [NODE_V4, NODE_V6] {
        let to = address(to, 31000);
        let server = Server::tcp(a.run(|| TcpListener::bind(any_of(to.ip(), 31000)).unwrap()));
        lab.wire.run(|| ask_tcp(to)).unwrap();
        server.client();
        let server = Server::tcp(a.run(|| TcpListener::bind(any_of(to.ip(), 31000)).unwrap()));
        lab.node.run(|| ask_tcp(to)).unwrap();
        server.client();
    }
    let programs: BTreeMap<String, _> = lab
        .handle()
        .program_statistics()
        .into_iter()
        .map(|program| (program.name.clone(), program))
        .collect();
    let names: Vec<&str> = programs.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "bind4", "bind6", "connect4", "connect6", "container_out", "getpeername4",
            "getpeername6", "host_rx", "host_tx", "node_loopback", "recvmsg4", "recvmsg6",
            "sendmsg4", "sendmsg6", "tcp_watch", "uplink_in",
        ]
    );
    for name in ["bind4", "bind6", "connect4", "connect6", "container_out", "node_loopback", "uplink_in"] {
        let program = &programs[name];
        assert!(program.run_count > 0 && program.run_time_ns > 0, "{program:?}");
        // A program that takes longer than this is broken, however busy the machine.
        assert!(program.run_time_ns / program.run_count < 1_000_000, "{program:?}");
    }
    assert_eq!(programs["host_rx"].run_count, 0);
}
