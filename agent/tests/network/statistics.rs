//! What is counted of TCP and of the programs themselves.
//!
//! TCP is watched at the cgroup above all containers, so each of these has a process in there.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use nix::libc::ECONNREFUSED;
use weir_abi::DropReason;

use crate::child::Child;
use crate::lab::{Container, Lab, NODE_V4, NODE_V6, WIRE_V4, WIRE_V6, address, eventually};
use crate::talk::{PATIENCE, Server, any_of, ask_tcp, tcp_on};

fn child_of(lab: &Lab, container: &Container) -> Child {
    let cgroup = lab.cgroup.join(container.attachment.container.as_str());
    Child::start(&container.place, &cgroup.join("task"))
}

/// Established by the container, accepted by it, never established.
fn connections(lab: &Lab, container: &Container) -> (u64, u64, u64) {
    let counters = lab.counters(container);
    (
        counters.tcp_connects,
        counters.tcp_accepts,
        counters.tcp_connect_failures,
    )
}

#[test]
fn connections_are_counted_on_the_side_that_made_them() {
    let lab = Lab::new();
    let (a, b) = (lab.container(1, "31000"), lab.container(2, "31001"));
    let (mut in_a, mut in_b) = (child_of(&lab, &a), child_of(&lab, &b));
    for to in [WIRE_V4, WIRE_V6, WIRE_V4] {
        let to = address(to, 8080);
        let server = Server::tcp(lab.wire.run(|| tcp_on(any_of(to.ip(), 8080))));
        in_a.order(&format!("ask-tcp {to}")).unwrap();
        server.client();
    }
    for to in [NODE_V4, NODE_V6] {
        let to = address(to, 31000);
        let serve = format!("serve-tcp {}", any_of(to.ip(), 31000));
        in_a.order(&serve).unwrap();
        lab.wire.run(|| ask_tcp(to)).unwrap();
        in_a.order("client").unwrap();
        in_a.order(&serve).unwrap();
        in_b.order(&format!("ask-tcp {to}")).unwrap();
        in_a.order("client").unwrap();
    }
    assert_eq!(connections(&lab, &a), (3, 4, 0));
    assert_eq!(connections(&lab, &b), (2, 0, 0));
}

#[test]
fn connections_that_never_came_about_are_counted() {
    let lab = Lab::new();
    lab.node.ip("route add blackhole 203.0.113.0/24");
    let a = lab.container(1, "31000");
    let mut in_a = child_of(&lab, &a);
    // Refused by the other side.
    for to in [WIRE_V4, WIRE_V6, NODE_V4] {
        let refused = in_a.order(&format!("ask-tcp {}", address(to, 8080)));
        assert_eq!(refused, Err(ECONNREFUSED));
    }
    assert_eq!(connections(&lab, &a), (0, 0, 3));
    // Given up on by the container's kernel, after the first try.
    a.place.write_setting("net/ipv4/tcp_syn_retries", "1");
    // Before 6.5 there is no such thing, and each wait is twice the one before.
    if Path::new("/proc/sys/net/ipv4/tcp_syn_linear_timeouts").exists() {
        a.place
            .write_setting("net/ipv4/tcp_syn_linear_timeouts", "0");
    }
    in_a.order("ask-tcp 203.0.113.1:80").unwrap_err();
    eventually("the fourth failure is counted", || {
        (connections(&lab, &a) == (0, 0, 4)).then_some(())
    });
}

#[test]
fn round_trips_fill_the_histogram_of_the_container_that_made_them() {
    let lab = Lab::new();
    let (a, b) = (lab.container(1, "31000"), lab.container(2, "31001"));
    let mut in_a = child_of(&lab, &a);
    let samples = |container: &Container| {
        let histogram = lab.handle().round_trips(container.slot).unwrap();
        (histogram.buckets.iter().sum::<u64>(), histogram)
    };
    assert_eq!(samples(&a).0, 0);
    let to = address(WIRE_V4, 8080);
    let server = Server::tcp_much(lab.wire.run(|| tcp_on(to)));
    in_a.order(&format!("ask-much {to} {}", 4 << 20)).unwrap();
    server.client();
    let (count, histogram) = samples(&a);
    assert!(count > 20, "{count} round trips of 4 MB");
    // All of it on one machine: more than nothing, and less than a second each.
    let mean = histogram.sum_us / count;
    assert!((1..1_000_000).contains(&mean), "{mean} µs on average");
    let highest = histogram.buckets.iter().rposition(|&n| n > 0).unwrap();
    let lowest = histogram.buckets.iter().position(|&n| n > 0).unwrap();
    assert!(weir_abi::bucket_upper_us(highest as u32) >= mean);
    assert!(lowest == 0 || weir_abi::bucket_upper_us(lowest as u32 - 1) < mean);
    assert_eq!(samples(&b).0, 0, "the neighbour had no part in it");
}

#[test]
fn segments_that_are_sent_again_are_counted() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let mut in_a = child_of(&lab, &a);
    let to = address(WIRE_V4, 8080);
    let listener = lab.wire.run(|| tcp_on(to));
    in_a.order(&format!("open {to}")).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    in_a.order("say first").unwrap();
    let mut bytes = [0; 5];
    server.read_exact(&mut bytes).unwrap();
    assert_eq!(lab.counters(&a).tcp_retransmits, 0);
    // For a while nothing gets out: as soon as the way that each CPU remembers for the flow is over.
    lab.node.ip("route add blackhole 10.9.0.1/32");
    let mut said = 0;
    eventually("segments are dropped and sent again", || {
        in_a.order("say second").unwrap();
        said += 1;
        let counters = lab.counters(&a);
        let dropped = counters.tx_drops[DropReason::NoRoute as usize];
        (counters.tcp_retransmits >= 2 && dropped >= 2).then_some(())
    });
    lab.node.ip("route del blackhole 10.9.0.1/32");
    in_a.order("close").unwrap();
    let mut rest = String::new();
    server.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "second".repeat(said));
}

#[test]
fn every_program_tells_how_often_it_ran_and_for_how_long() {
    let lab = Lab::with_settings(|_, settings| settings.program_statistics = true);
    let a = lab.container(1, "31000");
    for to in [NODE_V4, NODE_V6] {
        let to = address(to, 31000);
        let server = Server::tcp(a.run(|| tcp_on(any_of(to.ip(), 31000))));
        lab.wire.run(|| ask_tcp(to)).unwrap();
        server.client();
        let server = Server::tcp(a.run(|| tcp_on(any_of(to.ip(), 31000))));
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
            "bind4",
            "bind6",
            "connect4",
            "connect6",
            "container_out",
            "container_rx",
            "container_tx",
            "getpeername4",
            "getpeername6",
            "host_rx",
            "host_tx",
            "node_loopback",
            "recvmsg4",
            "recvmsg6",
            "sendmsg4",
            "sendmsg6",
            "tcp_watch",
            "uplink_in",
        ]
    );
    for name in [
        "bind4",
        "bind6",
        "connect4",
        "connect6",
        "container_out",
        "node_loopback",
        "uplink_in",
    ] {
        let program = &programs[name];
        assert!(
            program.run_count > 0 && program.run_time_ns > 0,
            "{program:?}"
        );
    }
    assert_eq!(programs["host_rx"].run_count, 0);
}

#[test]
fn the_verifier_says_how_much_it_looked_at() {
    let lab = Lab::new();
    let programs = lab.handle().program_statistics();
    assert!(!programs.is_empty());
    for program in programs {
        let instructions = program.verified_instructions.unwrap();
        // One million is where a kernel gives up.
        assert!((1..1_000_000).contains(&instructions), "{program:?}");
        // Kernels differ, and which is too many is not for one of them to say: `cargo xtask vm-test` does.
        eprintln!("weir-verified: {} {instructions}", program.name);
    }
}
