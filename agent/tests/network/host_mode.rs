//! Containers on the node's own network: kept to their ports when they bind, and counted at their
//! cgroup.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::libc::{EACCES, EADDRINUSE};
use weir_agent::container::{Attachment, ContainerNetwork};
use weir_executor::spec::NetworkMode;

use crate::child::Child;
use crate::lab::{Lab, NODE_V4, NODE_V6, WIRE_V4, WIRE_V6, address, attachment, eventually};
use crate::talk::{Server, any_of, ask_tcp, ask_udp, tcp_on, udp_on};

/// A container in host mode with one process.
struct HostContainer {
    attachment: Attachment,
    cgroup: PathBuf,
    child: Child,
}

impl HostContainer {
    fn join(lab: &Lab, slot: u32, ports: &str) -> Self {
        let mut attachment = attachment(slot, ports);
        let cgroup = lab.cgroup.join(attachment.container.as_str()).join("task");
        fs::create_dir_all(&cgroup).unwrap();
        attachment.mode = NetworkMode::Host;
        attachment.ephemeral = None;
        attachment.cgroup_id = fs::metadata(&cgroup).unwrap().ino();
        assert!(lab.join(&attachment).is_none());
        let child = Child::start(&lab.node, &cgroup);
        Self {
            attachment,
            cgroup,
            child,
        }
    }

    fn bind(&mut self, to: &str) -> [Result<String, i32>; 2] {
        ["tcp", "udp"].map(|protocol| self.child.order(&format!("bind-{protocol} {to}")))
    }

    fn counters(&self, lab: &Lab) -> weir_abi::Counters {
        lab.handle().counters(self.attachment.slot).unwrap()
    }
}

#[test]
fn a_container_in_host_mode_binds_its_own_ports_and_no_others() {
    let lab = Lab::new();
    let _isolated = lab.container(1, "31001");
    let mut c = HostContainer::join(&lab, 2, "31000,80");
    let _other = HostContainer::join(&lab, 3, "31002");
    for ip in [
        "0.0.0.0",
        NODE_V4,
        "127.0.0.1",
        "[::]",
        "[fd09::2]",
        "[::1]",
        "[::ffff:10.9.0.2]",
    ] {
        for result in c.bind(&format!("{ip}:31000")) {
            assert_eq!(result, Ok(format!("{ip}:31000")));
        }
    }
    let mut refused = 0;
    // The isolated container's, the other one's, nobody's.
    for port in [31001, 31002, 31003, 8080] {
        for ip in ["0.0.0.0", NODE_V4, "[::]", "[fd09::2]", "[::ffff:0.0.0.0]"] {
            for result in c.bind(&format!("{ip}:{port}")) {
                assert_eq!(result, Err(EACCES), "{ip}:{port}");
                refused += 1;
            }
        }
    }
    // The loopback is the node's: free where nobody owns the port.
    for ip in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"] {
        for result in c.bind(&format!("{ip}:8080")) {
            assert_eq!(result, Ok(format!("{ip}:8080")));
        }
        for port in [31001, 31002] {
            for result in c.bind(&format!("{ip}:{port}")) {
                assert_eq!(result, Err(EACCES), "{ip}:{port}");
                refused += 1;
            }
        }
    }
    assert_eq!(c.counters(&lab).bind_refused, refused);
    // The kernel chooses from the node's range.
    for result in c.bind("0.0.0.0:0") {
        let port: u16 = result.unwrap().rsplit(':').next().unwrap().parse().unwrap();
        assert!((55000..=60999).contains(&port), "{port}");
    }
}

#[test]
fn an_owned_port_below_1024_needs_no_capability_in_host_mode() {
    let lab = Lab::new();
    let mut c = HostContainer::join(&lab, 2, "80");
    c.child.order("drop-capability").unwrap();
    for result in c.bind("0.0.0.0:80").into_iter().chain(c.bind("[::]:80")) {
        result.unwrap();
    }
    for result in c.bind("127.0.0.1:81") {
        assert_eq!(result, Err(EACCES));
    }
}

#[test]
fn the_ports_of_a_container_in_host_mode_are_in_use_for_everybody_else() {
    let lab = Lab::new();
    let a = lab.container(1, "31001");
    let c = HostContainer::join(&lab, 2, "31000");
    for ip in ["0.0.0.0", "127.0.0.1", "::"] {
        let error = lab.node.run(|| TcpListener::bind((ip, 31000))).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(EADDRINUSE), "{ip}");
    }
    let error = a.run(|| TcpListener::bind("0.0.0.0:31000")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(EACCES));
    lab.wait(lab.handle().detach(c.attachment.slot)).unwrap();
    drop(lab.node.run(|| TcpListener::bind("0.0.0.0:31000")).unwrap());
}

#[test]
fn a_container_in_host_mode_is_reached_on_every_path_and_counted() {
    let lab = Lab::new();
    let a = lab.container(1, "31001");
    let mut c = HostContainer::join(&lab, 2, "31000");
    let before = c.counters(&lab);
    let mut conversations = 0;
    for (place, addresses) in [
        (&lab.wire, &[NODE_V4, NODE_V6][..]),
        (&a.place, &[NODE_V4, NODE_V6]),
        (&lab.node, &[NODE_V4, NODE_V6, "127.0.0.1", "::1"]),
    ] {
        for ip in addresses {
            let to = address(ip, 31000);
            let listen = any_of(to.ip(), 31000);
            c.child.order(&format!("serve-tcp {listen}")).unwrap();
            place
                .run(|| ask_tcp(to))
                .unwrap_or_else(|error| panic!("TCP to {to}: {error}"));
            c.child.order("client").unwrap();
            c.child.order(&format!("serve-udp {listen}")).unwrap();
            place
                .run(|| ask_udp(to, 100))
                .unwrap_or_else(|error| panic!("UDP to {to}: {error}"));
            c.child.order("client").unwrap();
            conversations += 1;
        }
    }
    // And out: to the wire, to the isolated container, to the node.
    for (place, addresses, port) in [
        (&lab.wire, &[WIRE_V4, WIRE_V6][..], 8080),
        (&a.place, &[NODE_V4, NODE_V6, "127.0.0.1", "::1"], 31001),
        (&lab.node, &[NODE_V4, "::1"], 8080),
    ] {
        for ip in addresses {
            let to = address(ip, port);
            let listen = any_of(to.ip(), port);
            let server = Server::tcp(place.run(|| tcp_on(listen)));
            c.child.order(&format!("ask-tcp {to}")).unwrap();
            server.client();
            let server = Server::udp(place.run(|| udp_on(listen)));
            c.child.order(&format!("ask-udp {to}")).unwrap();
            server.client();
            conversations += 1;
        }
    }
    let after = eventually("all are counted", || {
        let after = c.counters(&lab);
        // TCP needs four packets each way at least, UDP one.
        let least = conversations * 5;
        let rx = after.rx_packets - before.rx_packets;
        let tx = after.tx_packets - before.tx_packets;
        (rx >= least && tx >= least).then_some(after)
    });
    assert!(after.rx_bytes > 0 && after.tx_bytes > 0);
    // The neighbour's traffic with itself is not this one's.
    let quiet = c.counters(&lab);
    let server = Server::tcp(a.run(|| tcp_on("0.0.0.0:31001")));
    lab.wire.run(|| ask_tcp(address(NODE_V4, 31001))).unwrap();
    server.client();
    assert_eq!(c.counters(&lab), quiet);
}

#[test]
fn bulk_of_a_container_in_host_mode_is_counted_to_the_byte_that_it_sent() {
    const TOTAL: u64 = 64 << 20;
    let lab = Lab::new();
    let mut c = HostContainer::join(&lab, 2, "31000");
    let to = address(WIRE_V4, 8080);
    let server = Server::tcp_much(lab.wire.run(|| tcp_on(to)));
    c.child.order(&format!("ask-much {to} {TOTAL}")).unwrap();
    server.client();
    let counters = c.counters(&lab);
    for bytes in [counters.rx_bytes, counters.tx_bytes] {
        assert!(
            (TOTAL..TOTAL + TOTAL / 10).contains(&bytes),
            "{bytes} of {TOTAL}"
        );
    }
}

#[test]
fn a_container_in_host_mode_is_taken_over() {
    let mut lab = Lab::new();
    let mut c = HostContainer::join(&lab, 2, "31000");
    lab.stop();
    for result in c.bind("0.0.0.0:31003") {
        assert_eq!(result, Err(EACCES));
    }
    lab.start();
    lab.recover_attachments(vec![(c.attachment.clone(), c.child.pid())]);
    for result in c.bind("0.0.0.0:31003") {
        assert_eq!(result, Err(EACCES));
    }
    for result in c.bind("0.0.0.0:31000") {
        result.unwrap();
    }
    assert_eq!(c.counters(&lab).bind_refused, 4);
    let links = |lab: &Lab| {
        fs::read_dir(lab.links())
            .unwrap()
            .filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_str().unwrap().starts_with("host_")
            })
            .count()
    };
    assert_eq!(links(&lab), 2);
    // Dead by the next start: its links go, its port is free.
    lab.stop();
    drop(c.child);
    fs::remove_dir(&c.cgroup).unwrap();
    lab.start();
    lab.recover_attachments(Vec::new());
    assert_eq!(links(&lab), 0);
    drop(lab.node.run(|| TcpListener::bind("0.0.0.0:31000")).unwrap());
}
