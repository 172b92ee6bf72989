//! The node's addresses, routes and interfaces change, and the containers follow.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::frames::Ear;
use crate::lab::{
    Container, FAR_V4, FAR_V6, Lab, NODE_V4, SECOND_NODE_V4, SECOND_WIRE_V4, WIRE_V4, address,
    eventually,
};
use crate::log;
use crate::talk::{PATIENCE, Server, any_of, ask_tcp, ask_udp, tcp_on, udp_on};

/// What the agent promises, from the kernel's news on.
const WITHIN: Duration = Duration::from_secs(1);

fn addresses(container: &Container) -> String {
    container.place.command("ip", "-o addr show dev eth0")
}

/// Makes a change, waits until the container's addresses are as wanted, and checks that it was not
/// the agent that took long: by its own account, from the kernel's news of the change on. How long
/// all of it takes says more about the machine.
fn assert_follows<T>(
    lab: &Lab,
    container: &Container,
    what: &str,
    change: impl FnOnce() -> T,
    wanted: impl Fn(&str) -> bool,
) -> T {
    let before = lab.handle().followed().changes;
    let changed = change();
    eventually(what, || wanted(&addresses(container)).then_some(()));
    // The last container has it a moment before it is counted.
    let followed = eventually("the change is counted", || {
        let followed = lab.handle().followed();
        (followed.changes > before).then_some(followed)
    });
    assert!(followed.longest < WITHIN, "{what}: {followed:?}");
    changed
}

fn serve_and_ask(server: &Container, lab: &Lab, ip: &str) {
    let to = address(ip, server.port());
    let listener = server.run(|| tcp_on(any_of(to.ip(), to.port())));
    let served = Server::tcp(listener);
    lab.wire
        .run(|| ask_tcp(to))
        .unwrap_or_else(|error| panic!("TCP to {to}: {error}"));
    served.client();
}

#[test]
fn an_address_comes_and_goes() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    for (family, ip) in [("-4", "10.9.0.77"), ("-6", "fd09::77")] {
        let length = if family == "-4" { 24 } else { 64 };
        let options = if family == "-4" { "" } else { "nodad" };
        let add = format!("{family} addr add {ip}/{length} dev up0 {options}");
        let is_inside = |found: &str| found.contains(ip);
        let what = "the new address is inside";
        assert_follows(&lab, &a, what, || lab.node.ip(&add), is_inside);
        serve_and_ask(&a, &lab, ip);
        let remove = format!("{family} addr del {ip}/{length} dev up0");
        let what = "the old address is gone";
        assert_follows(
            &lab,
            &a,
            what,
            || lab.node.ip(&remove),
            |found| !is_inside(found),
        );
    }
    serve_and_ask(&a, &lab, NODE_V4);
}

#[test]
fn an_address_changes_under_load() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let stop = AtomicBool::new(false);
    let listener = a.run(|| tcp_on("0.0.0.0:31000"));
    let mut client = lab
        .wire
        .run(|| TcpStream::connect((NODE_V4, 31000)).unwrap());
    let (mut server, _) = listener.accept().unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = server.read(&mut bytes) {
                server.write_all(&bytes[..length]).unwrap();
            }
        });
        let talk = scope.spawn(|| {
            let mut turns = 0;
            while !stop.load(Ordering::Relaxed) {
                let mut bytes = [7; 4096];
                client.write_all(&bytes).unwrap();
                client
                    .read_exact(&mut bytes)
                    .expect("the connection goes on");
                turns += 1;
            }
            client.shutdown(Shutdown::Both).unwrap();
            turns
        });
        // The connection's own address stays; another comes and goes, ten times.
        for n in 100..110 {
            let ip = format!("10.9.0.{n}");
            let add = format!("addr add {ip}/24 dev up0");
            assert_follows(
                &lab,
                &a,
                "the new address is inside",
                || lab.node.ip(&add),
                |found| found.contains(&ip),
            );
            let remove = format!("addr del {ip}/24 dev up0");
            assert_follows(
                &lab,
                &a,
                "the address is gone",
                || lab.node.ip(&remove),
                |found| !found.contains(&ip),
            );
        }
        stop.store(true, Ordering::Relaxed);
        assert!(talk.join().unwrap() > 0);
    });
    // Now the only address changes: what is new works on the new one.
    assert_follows(
        &lab,
        &a,
        "the one address is the new one",
        || {
            lab.node.ip("addr add 10.9.0.50/24 dev up0");
            lab.node.ip("addr del 10.9.0.2/24 dev up0");
            lab.node.ip("addr replace 10.9.0.50/24 dev up0");
            lab.node.ip("route replace default via 10.9.0.1");
        },
        |found| found.contains("10.9.0.50") && !found.contains("10.9.0.2/"),
    );
    drop(listener);
    serve_and_ask(&a, &lab, "10.9.0.50");
    let reached = Server::tcp(lab.far.run(|| tcp_on("0.0.0.0:8080")));
    // The route came after the address.
    eventually("the new default route is inside", || {
        a.run(|| ask_tcp(address(FAR_V4, 8080))).ok()
    });
    assert_eq!(
        reached.client().ip(),
        "10.9.0.50".parse::<IpAddr>().unwrap()
    );
}

#[test]
fn a_burst_of_changes_ends_in_the_right_state() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let batch: String = (0..200)
        .map(|n| {
            let (third, fourth) = (n / 100 + 1, n % 100 + 1);
            format!("addr add 10.8.{third}.{fourth}/32 dev up0\n")
        })
        .collect();
    let file = lab.directory.join("batch");
    std::fs::write(&file, batch).unwrap();
    lab.node.ip(&format!("-batch {}", file.display()));
    lab.node.ip("addr del 10.8.1.1/32 dev up0");
    eventually("all but one are inside", || {
        let found = addresses(&a);
        (found.matches("10.8.").count() == 199 && !found.contains(" 10.8.1.1/")).then_some(())
    });
    serve_and_ask(&a, &lab, NODE_V4);
}

#[test]
fn the_mtu_is_that_of_the_uplink() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    lab.node.ip("link set up0 mtu 1400");
    lab.wire.ip("link set w0 mtu 1400");
    let mtu = |wanted: &str| {
        let found = a.place.command("ip", "link show dev eth0");
        found.contains(&format!("mtu {wanted} ")).then_some(())
    };
    eventually("the smaller MTU is inside", || mtu("1400"));
    // Larger than a packet can be: fragmented by the container, whole at the other end.
    let server = Server::udp(
        lab.wire
            .run(|| udp_on(any_of(WIRE_V4.parse().unwrap(), 8080))),
    );
    a.run(|| ask_udp(address(WIRE_V4, 8080), 3000)).unwrap();
    server.client();
    lab.node.ip("link set up0 mtu 9000");
    eventually("the larger MTU is inside", || mtu("9000"));
}

#[test]
fn each_way_out_has_its_own_source() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let second = assert_follows(
        &lab,
        &a,
        "the second uplink's address is inside",
        || lab.second_wire("up1"),
        |found| found.contains(SECOND_NODE_V4),
    );
    // By the second uplink, from the second address; and back in through it.
    let reached = Server::tcp(second.run(|| tcp_on("0.0.0.0:8080")));
    eventually("the second uplink carries packets", || {
        a.run(|| ask_tcp(address(SECOND_WIRE_V4, 8080))).ok()
    });
    assert_eq!(
        reached.client().ip(),
        SECOND_NODE_V4.parse::<IpAddr>().unwrap()
    );
    let served = Server::tcp(a.run(|| tcp_on("0.0.0.0:31000")));
    second
        .run(|| ask_tcp(address(SECOND_NODE_V4, 31000)))
        .unwrap();
    served.client();
    // By the first one as before.
    let reached = Server::tcp(lab.far.run(|| tcp_on("0.0.0.0:8080")));
    a.run(|| ask_tcp(address(FAR_V4, 8080))).unwrap();
    assert_eq!(reached.client().ip(), NODE_V4.parse::<IpAddr>().unwrap());
}

#[test]
fn the_default_route_moves_to_another_uplink() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let second = assert_follows(
        &lab,
        &a,
        "the second uplink's address is inside",
        || lab.second_wire("up1"),
        |found| found.contains(SECOND_NODE_V4),
    );
    // Beyond both gateways there is a machine of this address; only the second is asked.
    second.ip("addr add 172.31.9.9/32 dev lo");
    lab.node
        .ip(&format!("route replace default via {SECOND_WIRE_V4}"));
    let reached = Server::tcp(second.run(|| tcp_on("0.0.0.0:8080")));
    eventually("the new way is taken", || {
        a.run(|| ask_tcp(address("172.31.9.9", 8080))).ok()
    });
    assert_eq!(
        reached.client().ip(),
        SECOND_NODE_V4.parse::<IpAddr>().unwrap()
    );
}

#[test]
fn an_uplink_that_is_made_anew_is_used_anew() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    let first = lab.second_wire("up1");
    eventually("the uplink is in use", || {
        addresses(&a).contains(SECOND_NODE_V4).then_some(())
    });
    assert_follows(
        &lab,
        &a,
        "its address is gone",
        || lab.node.ip("link del up1"),
        |found| !found.contains(SECOND_NODE_V4),
    );
    drop(first);
    let again = assert_follows(
        &lab,
        &a,
        "its address is back",
        || lab.second_wire("up1"),
        |found| found.contains(SECOND_NODE_V4),
    );
    let served = Server::tcp(a.run(|| tcp_on("0.0.0.0:31000")));
    eventually("the new interface carries packets", || {
        again.run(|| ask_tcp(address(SECOND_NODE_V4, 31000))).ok()
    });
    served.client();
}

#[test]
fn an_uplink_that_comes_back_under_its_old_index_is_used_anew() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    // One batch: gone and back between two looks of the agent.
    let file = lab.directory.join("batch");
    let number = lab
        .node
        .command("ip", "-o link show up0")
        .split(':')
        .next()
        .unwrap()
        .parse::<u32>()
        .unwrap();
    std::fs::write(
        &file,
        format!(
            "link del up0\nlink add name up0 index {number} type veth peer name back0\n\
             addr add 10.9.0.2/24 dev up0\nlink set up0 up\nlink set back0 up\n"
        ),
    )
    .unwrap();
    lab.node.ip(&format!("-batch {}", file.display()));
    let wire = format!(
        "/proc/{}/fd/{}",
        std::process::id(),
        lab.wire.netns.as_raw_fd()
    );
    lab.node.ip(&format!("link set back0 netns {wire}"));
    lab.wire.ip("addr add 10.9.0.1/24 dev back0");
    lab.wire.ip("link set back0 up");
    let served = Server::tcp(a.run(|| tcp_on("0.0.0.0:31000")));
    eventually("the new interface carries packets", || {
        lab.wire.run(|| ask_tcp(address(NODE_V4, 31000))).ok()
    });
    served.client();
}

#[test]
fn an_uplink_without_an_ethernet_header_is_refused_by_name() {
    log::capture();
    let lab = Lab::with_settings(|lab, _| {
        lab.node.ip("tuntap add tun7 mode tun");
        lab.node.ip("addr add 10.77.0.1/24 dev tun7");
        lab.node.ip("link set tun7 up");
    });
    let a = lab.container(1, "31000");
    // What leaves by it is dropped with a reason, and not sent somewhere else.
    a.run(|| {
        let socket = udp_on("0.0.0.0:31000");
        socket.send_to(b"lost", "10.77.0.9:9").unwrap();
    });
    let reason = weir_abi::DropReason::NotUplink as usize;
    eventually("the drop is counted", || {
        (lab.counters(&a).tx_drops[reason] == 1).then_some(())
    });
    assert!(
        !log::lines_with(&["tun7", "no Ethernet header"]).is_empty(),
        "the log says why the interface is not an uplink"
    );
}

#[test]
fn a_route_with_a_smaller_mtu_is_kept_to() {
    let lab = Lab::new();
    let a = lab.container(1, "31000");
    lab.node.ip("route add 172.31.5.0/24 via 10.9.0.1 mtu 1300");
    lab.node
        .ip("-6 route add fd31::/64 via fd09::1 dev up0 mtu 1350");
    for (to, mtu) in [(FAR_V4, "mtu 1300"), (FAR_V6, "mtu 1350")] {
        eventually("the route is inside", || {
            let route = a.place.command("ip", &format!("route get {to}"));
            route.contains(mtu).then_some(())
        });
        // The link carries more; what is larger than the route allows leaves in pieces.
        let mut ear = Ear::on(&lab.wire, "w0");
        let to = address(to, 8080);
        let server = Server::udp(lab.far.run(|| udp_on(any_of(to.ip(), 8080))));
        a.run(|| ask_udp(to, 1400)).unwrap();
        server.client();
        let pieces = ear
            .all()
            .iter()
            .filter(|packet| packet.destination == to.ip() && packet.fragment.is_some())
            .count();
        assert_eq!(pieces, 2, "pieces of 1400 bytes to {to}");
    }
    lab.node.ip("route del 172.31.5.0/24 via 10.9.0.1");
    eventually("the route is gone inside", || {
        let route = a.place.command("ip", &format!("route get {FAR_V4}"));
        (!route.contains("mtu 1300")).then_some(())
    });
}

#[test]
fn a_named_uplink_is_used_as_soon_as_it_is_there() {
    let lab = Lab::with_settings(|_, settings| {
        settings.uplinks = vec!["up0".to_owned(), "up1".to_owned()];
    });
    let a = lab.container(1, "31000");
    eventually("the log says that it is missing", || {
        (!log::lines_with(&["uplink `up1` of the configuration is not there"]).is_empty())
            .then_some(())
    });
    let second = assert_follows(
        &lab,
        &a,
        "the address of the second uplink is inside",
        || lab.second_wire("up1"),
        |found| found.contains(SECOND_NODE_V4),
    );
    let to = address(SECOND_WIRE_V4, 8080);
    let server = Server::tcp(second.run(|| tcp_on(to)));
    eventually("the second uplink is used", || a.run(|| ask_tcp(to)).ok());
    assert_eq!(
        server.client().ip(),
        SECOND_NODE_V4.parse::<IpAddr>().unwrap()
    );
}
