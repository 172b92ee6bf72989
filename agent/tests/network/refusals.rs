//! What `bind(2)` and `connect(2)` refuse, at once and with a fitting error.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::libc::{EACCES, EADDRINUSE, EADDRNOTAVAIL};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, connect, getsockname,
    listen, setsockopt, socket, sockopt,
};
use weir_agent::container::ContainerNetwork;
use weir_resources::PortSet;

use crate::frames::{Ear, Packet, is_chatter, socket_on};
use crate::lab::{Lab, NODE_V4, NODE_V6, WIRE_V4, address, attachment, eventually};
use crate::log::lines_with;
use crate::talk::{Server, ask_tcp, ask_udp, tcp_on, udp_on};

/// Every address by which a port can be taken from the wire's point of view.
const OUTSIDE: [&str; 6] = [
    "0.0.0.0",
    NODE_V4,
    "::",
    NODE_V6,
    "::ffff:0.0.0.0",
    "::ffff:10.9.0.2",
];
const LOOPBACK: [&str; 4] = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"];

/// Binds a TCP and a UDP socket; what came of each.
fn bind_both(ip: &str, port: u16) -> [(&'static str, io::Result<u16>); 2] {
    let to = address(ip, port);
    [
        (
            "TCP",
            TcpListener::bind(to).and_then(|socket| Ok(socket.local_addr()?.port())),
        ),
        (
            "UDP",
            UdpSocket::bind(to).and_then(|socket| Ok(socket.local_addr()?.port())),
        ),
    ]
}

/// The same for ports that are free.
fn take_both(ip: &str, port: u16) -> [(&'static str, u16); 2] {
    let to = address(ip, port);
    [
        ("TCP", tcp_on(to).local_addr().unwrap().port()),
        ("UDP", udp_on(to).local_addr().unwrap().port()),
    ]
}

#[test]
fn a_port_outside_the_containers_set_is_refused_at_once() {
    let lab = Lab::new();
    let a = lab.container(1, "31000-31003,31500");
    let _b = lab.container(2, "31100");
    let mut refused = 0;
    // Just outside on both sides, the neighbour's, nobody's, the node's, a privileged one.
    for port in [30999, 31004, 31499, 31501, 31100, 8080, 22, 65535] {
        for ip in OUTSIDE {
            let began = Instant::now();
            for (protocol, result) in a.run(|| bind_both(ip, port)) {
                let error = result.expect_err("the port is not the container's");
                assert_eq!(
                    error.raw_os_error(),
                    Some(EACCES),
                    "{protocol} {ip} {port}: {error}"
                );
                refused += 1;
            }
            assert!(began.elapsed() < Duration::from_secs(1));
        }
    }
    assert_eq!(lab.counters(&a).bind_refused, refused);
    assert_eq!(lab.handle().node_counters().unwrap().bind_refused, 0);
    eventually("the log tells of it", || {
        let words = [a.attachment.container.as_str(), "refused a bind", "30999"];
        (!lines_with(&words).is_empty()).then_some(())
    });
}

#[test]
fn own_ports_and_all_of_loopback_are_free() {
    let lab = Lab::new();
    let a = lab.container(1, "31000-31003,31500");
    let _b = lab.container(2, "31100");
    let block = a.attachment.ephemeral.unwrap();
    for port in [31000, 31003, 31500, block.first(), block.last()] {
        for ip in OUTSIDE {
            for (protocol, taken) in a.run(|| take_both(ip, port)) {
                assert_eq!(taken, port, "{protocol} {ip}");
            }
        }
    }
    for port in [31000, 31100, 8080, 22, 65535] {
        for ip in LOOPBACK {
            for (protocol, taken) in a.run(|| take_both(ip, port)) {
                assert_eq!(taken, port, "{protocol} {ip}");
            }
        }
    }
    assert_eq!(lab.counters(&a).bind_refused, 0);
}

#[test]
fn a_port_that_the_kernel_chooses_is_of_the_containers_block() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let block = a.attachment.ephemeral.unwrap();
    let is_owned = |port: u16| (block.first()..=block.last()).contains(&port);
    for ip in OUTSIDE {
        for (protocol, port) in a.run(|| take_both(ip, 0)) {
            assert!(is_owned(port), "{protocol} {ip} got {port}");
        }
    }
    // A socket that listens without a bind, too.
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let port = a.run(|| {
            let socket = stream(family);
            listen(&socket, Backlog::new(1).unwrap()).unwrap();
            local_port(&socket)
        });
        assert!(is_owned(port), "{family:?} got {port}");
    }
}

#[test]
fn an_owned_port_below_1024_needs_no_capability() {
    let lab = Lab::new();
    let a = lab.container(1, "80,443");
    // Of this thread alone, which ends with the closure that it runs.
    let unprivileged = || {
        caps::drop(
            None,
            caps::CapSet::Effective,
            caps::Capability::CAP_NET_BIND_SERVICE,
        )
        .unwrap();
    };
    for port in [80, 443] {
        let taken = a.run(|| {
            unprivileged();
            take_both("0.0.0.0", port)
        });
        assert_eq!(taken, [("TCP", port), ("UDP", port)]);
    }
    // The rule of the node is what it was.
    for place in [&a.place, &lab.node] {
        let refused = place.run(|| {
            unprivileged();
            bind_both("0.0.0.0", 81)
        });
        for (protocol, result) in refused {
            let error = result.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(EACCES), "{protocol}");
        }
    }
}

#[test]
fn a_containers_port_is_in_use_on_the_node() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let block = a.attachment.ephemeral.unwrap();
    let mut refused = 0;
    for port in [31000, block.first(), block.last()] {
        for ip in OUTSIDE.iter().chain(&LOOPBACK) {
            for (protocol, result) in lab.node.run(|| bind_both(ip, port)) {
                let error = result.expect_err("the port is a container's");
                assert_eq!(
                    error.raw_os_error(),
                    Some(EADDRINUSE),
                    "{protocol} {ip} {port}: {error}"
                );
                refused += 1;
            }
        }
    }
    assert_eq!(lab.handle().node_counters().unwrap().bind_refused, refused);
    assert_eq!(lab.counters(&a).bind_refused, 0);
    for (protocol, taken) in lab.node.run(|| take_both("0.0.0.0", 8080)) {
        assert_eq!(taken, 8080, "{protocol}");
    }
}

#[test]
fn sharing_a_port_does_not_take_it_from_its_owner() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let b = lab.container(2, "31001");
    let shared = |ip: &str| {
        let to = SockaddrStorage::from(address(ip, 31000));
        let family = if ip.contains(':') {
            AddressFamily::Inet6
        } else {
            AddressFamily::Inet
        };
        let socket = stream(family);
        setsockopt(&socket, sockopt::ReusePort, &true).unwrap();
        setsockopt(&socket, sockopt::ReuseAddr, &true).unwrap();
        bind(socket.as_raw_fd(), &to)
    };
    for ip in ["0.0.0.0", "::", NODE_V4, NODE_V6] {
        assert_eq!(a.run(|| shared(ip)), Ok(()));
        assert_eq!(b.run(|| shared(ip)), Err(nix::Error::EACCES));
        assert_eq!(lab.node.run(|| shared(ip)), Err(nix::Error::EADDRINUSE));
    }
}

#[test]
fn other_namespaces_are_not_concerned() {
    let lab = Lab::new();
    let _a = lab.container(1, "31000");
    for ip in ["0.0.0.0", "::", "127.0.0.1", "::1", "::ffff:127.0.0.1"] {
        for (protocol, taken) in lab.wire.run(|| take_both(ip, 31000)) {
            assert_eq!(taken, 31000, "{protocol} {ip}");
        }
    }
    assert_eq!(lab.handle().node_counters().unwrap().bind_refused, 0);
}

#[test]
fn ports_are_given_and_taken_while_the_container_runs() {
    let lab = Lab::new();
    let a = lab.container(1, "31000-31001");
    let block = a.attachment.ephemeral.unwrap();
    let kept = a.run(|| tcp_on((NODE_V4, 31001)));
    let taken = a.run(|| tcp_on("0.0.0.0:31000"));
    let update = |ports: &str| {
        let ports: PortSet = ports.parse().unwrap();
        lab.wait(lab.handle().update_ports(a.slot, &ports)).unwrap();
    };

    update("31001-31002");
    for (protocol, taken) in a.run(|| take_both("0.0.0.0", 31002)) {
        assert_eq!(taken, 31002, "{protocol}");
    }
    for (protocol, result) in a.run(|| bind_both("::", 31000)) {
        assert_eq!(
            result.unwrap_err().raw_os_error(),
            Some(EACCES),
            "{protocol}"
        );
    }
    for (protocol, taken) in a.run(|| take_both("::", block.first())) {
        assert_eq!(taken, block.first(), "{protocol}");
    }
    // The port that was kept is served as before; the one that was taken is the node's again, also
    // while the container still listens.
    let server = Server::tcp(kept);
    lab.wire.run(|| ask_tcp(address(NODE_V4, 31001))).unwrap();
    server.client();
    let refused = lab
        .wire
        .run(|| ask_tcp(address(NODE_V4, 31000)))
        .unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    let server = Server::tcp(lab.node.run(|| tcp_on("0.0.0.0:31000")));
    lab.wire.run(|| ask_tcp(address(NODE_V4, 31000))).unwrap();
    server.client();

    // And back.
    update("31000-31001");
    let server = Server::tcp(taken);
    lab.wire.run(|| ask_tcp(address(NODE_V4, 31000))).unwrap();
    server.client();
}

#[test]
fn a_client_that_is_bound_to_loopback_is_told_that_it_cannot_reach_a_container() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let _tcp = a.run(|| tcp_on("[::]:31000"));
    let _udp = a.run(|| udp_on("[::]:31000"));
    let mut refused = 0;
    for (from, to) in [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", NODE_V4),
        ("127.9.9.9", "127.0.0.1"),
        ("::1", "::1"),
        ("::1", NODE_V6),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
    ] {
        let (from, to) = (address(from, 0), address(to, 31000));
        let errors = lab.node.run(|| {
            let tcp = bound_stream(from);
            let udp = udp_on(from);
            [
                connect(tcp.as_raw_fd(), &SockaddrStorage::from(to))
                    .unwrap_err()
                    .into(),
                udp.send_to(b"weir", to).unwrap_err(),
                udp.connect(to).unwrap_err(),
            ]
        });
        for error in errors {
            let error: io::Error = error;
            assert_eq!(
                error.raw_os_error(),
                Some(EADDRNOTAVAIL),
                "{from} to {to}: {error}"
            );
            refused += 1;
        }
    }
    assert_eq!(
        lab.handle().node_counters().unwrap().connect_refused,
        refused
    );
    // The node's own services are reached from loopback as ever.
    for ip in ["127.0.0.1", "::1"] {
        let to = address(ip, 8080);
        let server = Server::tcp(lab.node.run(|| tcp_on(to)));
        lab.node.run(|| ask_tcp(to)).unwrap();
        server.client();
    }
}

#[test]
fn a_detached_container_leaves_its_ports_and_has_no_way_out() {
    let lab = Lab::new();
    // A node that would take and forward anything.
    for setting in ["all/rp_filter", "default/rp_filter"] {
        lab.node
            .write_setting(&format!("net/ipv4/conf/{setting}"), "0");
    }
    lab.node.write_setting("net/ipv4/ip_forward", "1");
    let a = lab.container(1, "31000");
    let mut at_node = lab.node.run(|| udp_on("0.0.0.0:8080"));
    let mut at_wire = Ear::on(&lab.wire, "w0");
    let mouth = socket_on(&a.place, "eth0");
    lab.wait(lab.handle().detach(a.slot)).unwrap();
    // Twice is as good as once.
    lab.wait(lab.handle().detach(a.slot)).unwrap();
    let block = a.attachment.ephemeral.unwrap();
    for port in [31000, block.first(), block.last()] {
        for (protocol, taken) in lab.node.run(|| take_both("0.0.0.0", port)) {
            assert_eq!(taken, port, "{protocol}");
        }
    }
    // Its namespace lives on in this test. Nothing that is sent from there gets anywhere, not even
    // with an address that the node would not take for its own; where the link is gone, sending fails.
    let mac = weir_abi::LINK_MAC;
    for from in [NODE_V4, "10.9.0.77", "192.0.2.7"] {
        for (to, port) in [(NODE_V4, 8080), (WIRE_V4, 8080)] {
            let packet = Packet::udp(address(from, 31000), address(to, port), b"escaped");
            drop(mouth.send(&packet.frame(mac)));
        }
    }
    let b = lab.container(1, "31000");
    let answer = Server::udp(at_node);
    b.run(|| ask_udp(address(NODE_V4, 8080), 4)).unwrap();
    let seen = answer.client();
    let block = b.attachment.ephemeral.unwrap();
    assert!(
        (block.first()..=block.last()).contains(&seen.port()),
        "the node heard {seen} first"
    );
    at_node = b.run(|| udp_on("0.0.0.0:31000"));
    at_node.send_to(b"honest", (WIRE_V4, 8080)).unwrap();
    let (_, before) = at_wire.until("the honest packet", |packet| {
        packet.payload.ends_with(b"honest")
    });
    let escaped: Vec<&Packet> = before.iter().filter(|packet| !is_chatter(packet)).collect();
    assert!(escaped.is_empty(), "{escaped:?}");
}

#[test]
fn a_slot_is_used_again_with_counters_from_zero() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    for (_, result) in a.run(|| bind_both("0.0.0.0", 22)) {
        result.unwrap_err();
    }
    assert_eq!(lab.counters(&a).bind_refused, 2);
    lab.wait(lab.handle().detach(a.slot)).unwrap();
    drop(a);
    let again = attachment(1, "31007");
    drop(lab.join(&again));
    let counters = lab.handle().counters(again.slot).unwrap();
    assert_eq!(counters, weir_abi::Counters::default());
}

fn stream(family: AddressFamily) -> OwnedFd {
    socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap()
}

fn bound_stream(to: SocketAddr) -> OwnedFd {
    let family = match to.ip() {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    let socket = stream(family);
    bind(socket.as_raw_fd(), &SockaddrStorage::from(to)).unwrap();
    socket
}

fn local_port(socket: &OwnedFd) -> u16 {
    let name: SockaddrStorage = getsockname(socket.as_raw_fd()).unwrap();
    match (name.as_sockaddr_in(), name.as_sockaddr_in6()) {
        (Some(v4), _) => v4.port(),
        (_, Some(v6)) => v6.port(),
        _ => panic!("neither IPv4 nor IPv6"),
    }
}
