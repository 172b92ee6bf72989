//! A node that Weir has left is the node that it found.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use weir_agent::container::ContainerNetwork;
use weir_agent::network::clean_up;

use crate::lab::{Container, Lab, NODE_V4, address, eventually};
use crate::talk::{Server, ask_tcp, tcp_on};

/// Everything about a node's network that a person could look up.
fn snapshot(lab: &Lab) -> BTreeMap<String, String> {
    // Interfaces give themselves link-local addresses, after a second in which they ask for them.
    eventually("the node's own addresses are in force", || {
        let local = lab.node.command("ip", "-6 route show table local dev up0");
        local.contains("local fe80::").then_some(())
    });
    let mut found = BTreeMap::new();
    for (program, words) in [
        ("ip", "-d link show"),
        ("ip", "-d addr show"),
        ("ip", "-d route show table all"),
        ("ip", "-6 -d route show table all"),
        ("ip", "-d rule show"),
        ("ip", "-6 -d rule show"),
        ("tc", "-d qdisc show"),
        ("tc", "-d filter show dev up0 ingress"),
        ("tc", "-d filter show dev lo ingress"),
    ] {
        found.insert(
            format!("{program} {words}"),
            lab.node.command(program, words),
        );
    }
    let settings = lab.node.run(|| {
        let mut settings = BTreeMap::new();
        read_settings(Path::new("/proc/sys/net"), &mut settings);
        settings
    });
    found.extend(settings);
    // The bpffs of this laboratory, and the state of the agent beside it.
    let mut files = Vec::new();
    list(&lab.directory, &mut files);
    found.insert("files".to_owned(), format!("{files:#?}"));
    found
}

fn read_settings(directory: &Path, into: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_settings(&path, into);
        } else if let Ok(value) = fs::read_to_string(&path) {
            // What counts connections is no setting. Others can only be written.
            if !path.ends_with("nf_conntrack_count") {
                into.insert(path.display().to_string(), value);
            }
        }
    }
}

fn list(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list(&path, into);
        }
        into.push(path);
    }
    into.sort();
}

fn assert_same(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) {
    let names = before.keys().chain(after.keys());
    for name in names {
        let (before, after) = (before.get(name), after.get(name));
        assert_eq!(before, after, "{name} before and after");
    }
}

/// Uses every part of the data plane once.
fn use_it(lab: &Lab) -> Vec<Container> {
    let a = lab.container(1, "31000");
    let b = lab.container(2, "31001");
    let second = lab.second_wire("up1");
    lab.node.ip("addr add 10.9.0.3/24 dev up0");
    eventually("the containers follow", || {
        a.place
            .command("ip", "addr show dev eth0")
            .contains("10.9.0.3")
            .then_some(())
    });
    for (place, port) in [(&a, 31000), (&b, 31001)] {
        let server = Server::tcp(place.run(|| tcp_on((NODE_V4, port))));
        lab.wire.run(|| ask_tcp(address(NODE_V4, port))).unwrap();
        server.client();
    }
    lab.node.ip("addr del 10.9.0.3/24 dev up0");
    lab.node.ip("link del up1");
    drop(second);
    vec![a, b]
}

#[test]
fn an_agent_that_stops_without_containers_leaves_the_node_as_it_was() {
    let mut lab = Lab::without_agent();
    // As an operator may have it: a qdisc with a filter of his own, and settings of his own.
    lab.node.command("tc", "qdisc add dev up0 clsact");
    lab.node.command(
        "tc",
        "filter add dev up0 ingress protocol 802_3 pref 7 u32 match u32 0 0 flowid 1:1",
    );
    lab.node.write_setting("net/ipv4/conf/lo/accept_local", "1");
    lab.node
        .write_setting("net/ipv4/ip_local_reserved_ports", "7000-7009");
    lab.settings().reserved_ports = Some("7000-7009,31000-31999".to_owned());
    let before = snapshot(&lab);

    lab.start();
    assert_eq!(
        lab.node.setting("net/ipv4/ip_local_reserved_ports"),
        "7000-7009,31000-31999"
    );
    for container in use_it(&lab) {
        lab.wait(lab.handle().detach(container.slot)).unwrap();
    }
    lab.wait(lab.handle().stop_if_unused()).unwrap();
    lab.stop();
    assert_same(&before, &snapshot(&lab));
}

#[test]
fn an_agent_that_stops_with_containers_leaves_everything_in_force() {
    let mut lab = Lab::new();
    let containers = use_it(&lab);
    let during = snapshot(&lab);
    lab.wait(lab.handle().stop_if_unused()).unwrap();
    lab.stop();
    assert_same(&during, &snapshot(&lab));
    drop(containers);
}

#[test]
fn cleaning_up_after_a_dead_agent_leaves_the_node_as_it_was() {
    let mut lab = Lab::without_agent();
    lab.settings().reserved_ports = Some("31000-31999".to_owned());
    let before = snapshot(&lab);
    lab.start();
    // The namespaces are still held when the cleaning up begins.
    let containers = use_it(&lab);
    lab.stop();
    let (state, pins) = (lab.directory.clone(), lab.settings().pins.clone());
    lab.node.run(|| clean_up(&state, &pins)).unwrap();
    assert_same(&before, &snapshot(&lab));
    // Twice is as good as once.
    lab.node.run(|| clean_up(&state, &pins)).unwrap();
    assert_same(&before, &snapshot(&lab));
    drop(containers);
    // Nothing is refused any more.
    drop(lab.node.run(|| TcpListener::bind("0.0.0.0:31000")).unwrap());
}

#[test]
fn what_another_agent_changed_is_put_back_by_the_next() {
    let mut lab = Lab::without_agent();
    lab.settings().reserved_ports = Some("31000-31999".to_owned());
    let before = snapshot(&lab);
    // The second finds what the first changed, and must not take it for the node's own.
    for _ in 0..2 {
        lab.start();
        lab.stop();
    }
    lab.start();
    lab.wait(lab.handle().recover(Vec::new())).unwrap();
    lab.wait(lab.handle().stop_if_unused()).unwrap();
    lab.stop();
    assert_same(&before, &snapshot(&lab));
}
