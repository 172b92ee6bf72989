//! Rules of the node's firewall: packets of containers do not pass them, and people are told.
//!
//! The rules are made over netlink, as `nft` and `iptables-nft` make them, in the node's namespace.
//! Needs a kernel with nftables; what is about the older iptables is skipped where that is not there.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr as NetlinkAddress};
use serde_json::Value;

use crate::node::{NODE_V4, Node, address, eventually};
use crate::puppet::PYTHON;

// include/uapi/linux/netfilter/nfnetlink.h and nf_tables.h
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const ERROR: u16 = 2;
const IPV4: u8 = 2;
const PREROUTING: u32 = 0;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
/// A verdict is a number of its own kind, in register 0.
const JUMP: u32 = (-3_i32).cast_unsigned();

/// A table of IPv4 with its chains and rules, to be made in one transaction.
struct Table {
    name: &'static str,
    messages: Vec<(u16, u16, Vec<u8>)>,
}

impl Table {
    fn new(name: &'static str) -> Self {
        let messages = vec![(NEW_TABLE, CREATE, string(1, name))];
        Self { name, messages }
    }

    /// Adds a chain that is only jumped to.
    fn chain(mut self, name: &str) -> Self {
        let payload = [string(1, self.name), string(3, name)].concat();
        self.messages.push((NEW_CHAIN, CREATE, payload));
        self
    }

    /// Adds a chain that the kernel calls for every packet that comes in.
    fn hooked(mut self, name: &str, kind: &str, policy: u32) -> Self {
        let hook = [number(1, PREROUTING), number(2, 0)].concat();
        let payload = [
            string(1, self.name),
            string(3, name),
            nested(4, &hook),
            number(5, policy),
            string(7, kind),
        ];
        self.messages.push((NEW_CHAIN, CREATE, payload.concat()));
        self
    }

    /// Adds a rule that jumps from one chain into another.
    fn jump(mut self, from: &str, to: &str) -> Self {
        let verdict = nested(2, &[number(1, JUMP), string(2, to)].concat());
        let immediate = [number(1, 0), nested(2, &verdict)].concat();
        let expression = [string(1, "immediate"), nested(2, &immediate)].concat();
        let payload = [
            string(1, self.name),
            string(2, from),
            nested(4, &nested(1, &expression)),
        ];
        let flags = CREATE | APPEND;
        self.messages.push((NEW_RULE, flags, payload.concat()));
        self
    }

    /// Makes all of it, or panics with what the kernel refused.
    fn make(self) {
        let mut socket = Socket::new(NETLINK_NETFILTER).unwrap();
        socket.bind_auto().unwrap();
        socket.connect(&NetlinkAddress::new(0, 0)).unwrap();
        let mut batch = message(BATCH_BEGIN, 0, 0, SUBSYSTEM, &[]);
        let expected = self.messages.len();
        for (kind, flags, payload) in &self.messages {
            batch.extend(message(*kind, flags | ACKNOWLEDGE, IPV4, 0, payload));
        }
        batch.extend(message(BATCH_END, 0, 0, SUBSYSTEM, &[]));
        socket.send(&batch, 0).unwrap();
        for index in 0..expected {
            let (answer, _) = socket.recv_from_full().unwrap();
            let kind = u16::from_ne_bytes(answer[4..6].try_into().unwrap());
            let code = i32::from_ne_bytes(answer[16..20].try_into().unwrap());
            let (wanted, ..) = self.messages[index];
            assert_eq!((kind, code), (ERROR, 0), "{wanted:#x} of {}", self.name);
        }
    }
}

fn message(kind: u16, flags: u16, family: u8, resource: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(20 + payload.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((flags | REQUEST).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, 0]);
    bytes.extend(resource.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn string(kind: u16, text: &str) -> Vec<u8> {
    attribute(kind, &[text.as_bytes(), &[0]].concat())
}

fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

fn nested(kind: u16, value: &[u8]) -> Vec<u8> {
    attribute(kind | 0x8000, value)
}

/// Returns what `doctor` says of each thing that is not as it should be.
fn degraded(node: &Node) -> Vec<(String, String)> {
    let said = node.weir_here(&["doctor", "--json"]).ok();
    let json: Value = serde_json::from_str(&said).unwrap();
    let checks = json["checks"].as_array().unwrap().iter();
    let text = |check: &Value, key: &str| check[key].as_str().unwrap().to_owned();
    checks
        .filter(|check| check["status"] == "degraded")
        .map(|check| (text(check, "name"), text(check, "detail")))
        .collect()
}

fn detail<'a>(found: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let (_, detail) = found.iter().find(|(found, _)| found == name)?;
    Some(detail)
}

#[test]
fn ports_that_rules_of_the_node_may_take_are_told_before_a_container_has_one() {
    let mut node = Node::without_daemon("");
    let before = degraded(&node);
    for name in ["firewall", "translated ports", "Kubernetes NodePorts"] {
        assert_eq!(detail(&before, name), None, "{before:?}");
    }
    // As kube-proxy has it.
    node.on_node(|| {
        Table::new("nat")
            .hooked("PREROUTING", "nat", ACCEPT)
            .chain("KUBE-SERVICES")
            .chain("KUBE-NODEPORTS")
            .jump("PREROUTING", "KUBE-SERVICES")
            .jump("KUBE-SERVICES", "KUBE-NODEPORTS")
            .make();
    });
    let found = degraded(&node);
    for (name, words) in [
        ("firewall", "rules in nat PREROUTING"),
        ("translated ports", "NAT rules in PREROUTING"),
        (
            "Kubernetes NodePorts",
            "the pools hold 30000-30719,31000-31999",
        ),
    ] {
        let detail = detail(&found, name).unwrap_or_else(|| panic!("{name}: {found:?}"));
        assert!(detail.contains(words), "{name}: {detail}");
    }
    node.start();
    let log = node.log();
    for words in [
        "translated ports: a port that is translated need not listen",
        "Kubernetes NodePorts: kube-proxy gives these ports to services",
    ] {
        assert!(log.contains(words), "{words} in {log}");
    }
    // With the pools elsewhere the NodePorts are nobody's business.
    node.stop_daemon();
    node.configure(
        "network.container_ports = \"20480-21503\"\nnetwork.ephemeral_ports = \"61440-65535\"",
    );
    assert_eq!(detail(&degraded(&node), "Kubernetes NodePorts"), None);
}

#[test]
fn tables_of_the_older_iptables_are_told_though_their_rules_cannot_be_read() {
    // What `iptables-legacy -t nat -L` does first: the kernel makes the table for it.
    const ASK: &str = "import ctypes, socket\n\
        asked = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)\n\
        table = ctypes.create_string_buffer(b'nat', 84)\n\
        length = ctypes.c_uint32(84)\n\
        libc = ctypes.CDLL(None, use_errno=True)\n\
        IPT_SO_GET_INFO = 64\n\
        failed = libc.getsockopt(asked.fileno(), 0, IPT_SO_GET_INFO, table, ctypes.byref(length))\n\
        raise SystemExit(ctypes.get_errno() if failed else 0)";
    let node = Node::without_daemon("");
    let asked = node.on_node(|| Command::new(PYTHON).args(["-c", ASK]).status().unwrap());
    if !asked.success() {
        eprintln!(
            "weir-skip: tables_of_the_older_iptables_are_told_though_their_rules_cannot_be_read: \
             the kernel has no iptables of its own ({asked})"
        );
        return;
    }
    let found = degraded(&node);
    assert_eq!(detail(&found, "firewall"), Some("rules in iptables nat"));
    assert_eq!(detail(&found, "translated ports"), Some("NAT rules in nat"));
}

#[test]
fn packets_of_containers_pass_no_rule_of_the_node_which_doctor_says() {
    let node = Node::new();
    node.start_server("web", 31000);
    let own: SocketAddr = address(NODE_V4, 8080);
    let _listener = node.on_node(|| TcpListener::bind(own).unwrap());
    let reaches = || {
        node.on_wire(|| TcpStream::connect_timeout(&own, Duration::from_millis(300)))
            .is_ok()
    };
    assert!(reaches());
    node.on_node(|| {
        Table::new("closed")
            .hooked("all", "filter", ACCEPT)
            .chain("nothing")
            .jump("all", "nothing")
            .make();
        Table::new("shut").hooked("all", "filter", DROP).make();
    });
    eventually("nobody reaches the node itself", || {
        (!reaches()).then_some(())
    });
    assert!(node.serves("web", 31000), "nor is a container shut off");
    let found = degraded(&node);
    let rules = detail(&found, "firewall").unwrap_or_else(|| panic!("{found:?}"));
    assert!(rules.contains("closed all"), "{rules}");
    assert!(rules.contains("shut all"), "a policy is a rule: {rules}");
}
