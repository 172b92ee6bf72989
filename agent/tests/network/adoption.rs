//! The data plane outlives its agent, and the next one takes it over without a gap.

use std::fs;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use aya::maps::{Array, Map, MapData};
use nix::sys::socket::SockType;
use weir_abi::Node;
use weir_agent::config::AttachMode;
use weir_agent::network::clean_up;

use crate::child::Child;
use crate::icmp::Pinger;
use crate::lab::{Container, Lab, NODE_V4, WIRE_V4, address, attach_mode, eventually};
use crate::talk::{PATIENCE, Server, ask_tcp, ask_udp, tcp_on, udp_on};

/// A process that holds a container's namespace, as a task does.
pub(crate) struct Inhabitant(process::Child);

impl Inhabitant {
    pub(crate) fn of(container: &Container) -> Self {
        let child = container.run(|| {
            Command::new("sleep")
                .arg("1000")
                .stdin(Stdio::null())
                .spawn()
                .unwrap()
        });
        Self(child)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Inhabitant {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What may never stop holding for a container that owns port 31000 and not 31001.
fn assert_enforced(lab: &Lab, container: &Container) {
    let foreign = container
        .run(|| UdpSocket::bind("0.0.0.0:31001"))
        .unwrap_err();
    assert_eq!(foreign.kind(), ErrorKind::PermissionDenied);
    let taken = lab
        .node
        .run(|| TcpListener::bind("127.0.0.1:31000"))
        .unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
}

#[test]
fn nothing_is_lost_while_no_agent_runs_and_while_the_next_takes_over() {
    let mut lab = Lab::new();
    let a = lab.container(1, "31000");
    let task = Inhabitant::of(&a);

    // A ping every twenty milliseconds, each of which has to be answered.
    let (stop, pings) = (AtomicBool::new(false), AtomicU32::new(0));
    let pinger = a.run(|| Pinger::new(SockType::Datagram, WIRE_V4.parse().unwrap(), 7));
    // And a stream that does not stop.
    let listener = a.run(|| tcp_on((NODE_V4, 31000)));
    let mut client = lab
        .wire
        .run(|| TcpStream::connect((NODE_V4, 31000)).unwrap());
    let (server, _) = listener.accept().unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();

    thread::scope(|scope| {
        scope.spawn(|| {
            let mut sequence = 0_u16;
            while !stop.load(Ordering::Relaxed) {
                sequence = sequence.wrapping_add(1);
                pinger.send(sequence, b"ping").unwrap();
                let (_, answered, _) = pinger.receive().expect("a ping was lost");
                assert_eq!(answered, sequence, "a ping was lost");
                pings.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(20));
            }
        });
        // Numbers that count up: none may be lost, doubled or swapped.
        let mut server = BufReader::new(server);
        let receiver = scope.spawn(move || {
            let (mut next, mut bytes) = (0_u64, [0; 8]);
            while server.read_exact(&mut bytes).is_ok() {
                assert_eq!(u64::from_le_bytes(bytes), next);
                next += 1;
            }
            next
        });
        let sender = scope.spawn(|| {
            let mut next = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let piece: Vec<u8> = (next..next + 1000).flat_map(u64::to_le_bytes).collect();
                client.write_all(&piece).unwrap();
                next += 1000;
            }
            client.shutdown(Shutdown::Write).unwrap();
            next
        });
        let more_pings = |count| {
            let until = pings.load(Ordering::Relaxed) + count;
            eventually("pings are answered", || {
                (pings.load(Ordering::Relaxed) >= until || sender.is_finished()).then_some(())
            });
        };
        for _ in 0..3 {
            more_pings(5);
            let before = lab.counters(&a);
            lab.stop();
            assert_enforced(&lab, &a);
            more_pings(5);
            lab.start();
            assert_enforced(&lab, &a);
            lab.recover(&[(&a, task.pid())]);
            assert_enforced(&lab, &a);
            more_pings(5);
            let after = lab.counters(&a);
            assert!(after.rx_packets > before.rx_packets, "counters go on");
            assert!(after.rx_bytes > before.rx_bytes && after.tx_packets > before.tx_packets);
            assert!(
                after.bind_refused >= before.bind_refused + 3,
                "refusals are counted throughout"
            );
            assert_eq!(after.tx_drops, before.tx_drops);
        }
        stop.store(true, Ordering::Relaxed);
        let sent = sender.join().unwrap();
        assert!(sent > 0);
        assert_eq!(receiver.join().unwrap(), sent);
    });
}

#[test]
fn what_belonged_to_a_dead_container_is_collected() {
    let mut lab = Lab::new();
    let a = lab.container(1, "31000");
    let b = lab.container(2, "31001");
    let task = Inhabitant::of(&a);
    lab.stop();
    lab.start();
    lab.recover(&[(&a, task.pid())]);

    // The living one goes on; what the other owned is the node's again.
    assert_enforced(&lab, &a);
    drop(lab.node.run(|| TcpListener::bind("0.0.0.0:31001")).unwrap());
    assert_eq!(lab.counters(&b).rx_packets, 0);
    let links: Vec<String> = fs::read_dir(lab.links())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(!links.contains(&"container-2".to_owned()), "{links:?}");
    if links.contains(&"loopback".to_owned()) {
        assert!(links.contains(&"container-1".to_owned()), "{links:?}");
    }
}

#[test]
fn a_link_that_somebody_unpinned_is_made_anew() {
    let mut lab = Lab::new();
    let a = lab.container(1, "31000");
    let task = Inhabitant::of(&a);
    lab.stop();
    for link in fs::read_dir(lab.links()).unwrap() {
        fs::remove_file(link.unwrap().path()).unwrap();
    }
    lab.start();
    lab.recover(&[(&a, task.pid())]);
    assert_enforced(&lab, &a);
    let server = Server::tcp(a.run(|| tcp_on("0.0.0.0:31000")));
    lab.wire.run(|| ask_tcp(address(NODE_V4, 31000))).unwrap();
    server.client();
}

#[test]
fn ports_taken_away_just_before_the_agent_died_stay_away() {
    let mut lab = Lab::new();
    let mut a = lab.container(1, "31000,31005");
    let task = Inhabitant::of(&a);
    lab.stop();
    // The new agent read from its database that the container has one port less.
    a.attachment.ports = "31000".parse().unwrap();
    lab.start();
    lab.recover(&[(&a, task.pid())]);
    let refused = a.run(|| UdpSocket::bind("0.0.0.0:31005")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    drop(a.run(|| UdpSocket::bind("0.0.0.0:31000")).unwrap());
}

#[test]
fn pins_of_another_layout_are_refused_and_named() {
    let mut lab = Lab::without_agent();
    let other = lab.settings().pins.join("v9999/maps");
    fs::create_dir_all(&other).unwrap();
    let error = lab.try_start().unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("v9999") && text.contains("weir-agent cleanup"),
        "{text}"
    );
}

#[test]
fn after_cleaning_up_a_node_can_be_taken_again() {
    let mut lab = Lab::new();
    lab.stop();
    let (state, pins) = (lab.directory.clone(), lab.settings().pins.clone());
    lab.node.run(|| clean_up(&state, &pins)).unwrap();
    assert!(!pins.exists(), "no pin is left in mode {:?}", attach_mode());
    lab.start();
    let a = lab.container(1, "31000");
    assert_enforced(&lab, &a);
}

#[test]
fn an_mtu_that_changed_while_no_agent_ran_reaches_both_ends_of_the_link() {
    let mut lab = Lab::new();
    let a = lab.container(1, "31000");
    let task = Inhabitant::of(&a);
    lab.stop();
    for (place, link) in [(&lab.wire, "w0"), (&lab.node, "up0")] {
        place.ip(&format!("link set {link} mtu 3000"));
    }
    lab.start();
    lab.recover(&[(&a, task.pid())]);
    let name = format!("we{}", a.attachment.container);
    for (place, link) in [(&a.place, "eth0"), (&lab.node, name.as_str())] {
        let shown = place.command("ip", &format!("link show dev {link}"));
        assert!(shown.contains("mtu 3000 "), "{shown}");
    }
    let to = address(WIRE_V4, 8080);
    let server = Server::udp(lab.wire.run(|| udp_on(to)));
    a.run(|| ask_udp(to, 2900)).unwrap();
    server.client();
}

#[test]
fn what_was_attached_one_way_is_taken_over_the_other_way() {
    let mut lab = Lab::new();
    let a = lab.container(1, "31000");
    let task = Inhabitant::of(&a);
    for mode in [
        AttachMode::Tcx,
        AttachMode::Clsact,
        AttachMode::Tcx,
        AttachMode::Clsact,
    ] {
        lab.stop();
        lab.settings().attach = mode;
        if let Err(error) = lab.try_start() {
            assert!(error.to_string().contains("tcx"), "{error}");
            eprintln!(
                "weir-skip: what_was_attached_one_way_is_taken_over_the_other_way: no tcx, so there is one way only"
            );
            return;
        }
        lab.recover(&[(&a, task.pid())]);
        assert_enforced(&lab, &a);
        // One program on each interface, and that is the new one.
        let name = format!("we{}", a.attachment.container);
        for link in ["lo", "up0", name.as_str()] {
            let filters = lab
                .node
                .command("tc", &format!("filter show dev {link} ingress"));
            let has_filter = filters.contains("direct-action");
            assert_eq!(
                has_filter,
                mode == AttachMode::Clsact,
                "{mode:?}: {link}: {filters}"
            );
        }
        for pin in ["loopback", "container-1"] {
            assert_eq!(
                lab.links().join(pin).exists(),
                mode == AttachMode::Tcx,
                "{mode:?}: {pin}"
            );
        }
        let before = lab.counters(&a);
        let server = Server::tcp(a.run(|| tcp_on("0.0.0.0:31000")));
        lab.wire.run(|| ask_tcp(address(NODE_V4, 31000))).unwrap();
        server.client();
        assert!(lab.counters(&a).rx_packets > before.rx_packets);
    }
}

#[test]
fn everything_is_made_anew_where_all_pins_were_removed() {
    let mut lab = Lab::new();
    let a = lab.container(1, "31000");
    let cgroup = lab
        .cgroup
        .join(a.attachment.container.as_str())
        .join("task");
    let mut task = Child::start(&a.place, &cgroup);
    lab.stop();
    fs::remove_dir_all(&lab.settings().pins).unwrap();
    lab.start();
    lab.recover(&[(&a, task.pid())]);
    assert_enforced(&lab, &a);
    let to = address(WIRE_V4, 8080);
    let server = Server::tcp_much(lab.wire.run(|| tcp_on(to)));
    task.order(&format!("ask-much {to} 1000000")).unwrap();
    server.client();
    assert!(lab.counters(&a).tx_bytes > 1_000_000);
    let histogram = lab.handle().round_trips(a.slot).unwrap();
    assert!(histogram.buckets.iter().sum::<u64>() > 0);
}

#[test]
fn maps_of_another_layout_are_refused_with_both_numbers() {
    let mut lab = Lab::new();
    lab.stop();
    let map = MapData::from_pin(lab.maps().join("NODE")).unwrap();
    let mut map: Array<MapData, Node> = Map::Array(map).try_into().unwrap();
    let node = map.get(&0, 0).unwrap();
    let other = Node {
        layout_version: 4711,
        ..node
    };
    map.set(0, other, 0).unwrap();
    let text = lab.try_start().unwrap_err().to_string();
    let own = format!("layout {}", weir_abi::LAYOUT_VERSION);
    assert!(
        text.contains("layout 4711") && text.contains(&own) && text.contains("weir-agent cleanup"),
        "{text}"
    );
    map.set(0, node, 0).unwrap();
    lab.start();
}
