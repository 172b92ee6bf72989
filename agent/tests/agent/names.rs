//! Names resolve in containers wherever the node's resolver listens.

use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::node::{NODE_V4, Node, WIRE_V4, address, eventually};
use crate::puppet::Puppet;

/// A resolver of the node, which knows one name.
struct Resolver(Child);

impl Resolver {
    fn start(node: &Node, place: Place, listen: &str, answer: &str) -> Self {
        let program = ["/usr/sbin/dnsmasq", "/usr/bin/dnsmasq"]
            .into_iter()
            .find(|path| PathBuf::from(path).exists());
        let mut command =
            Command::new(program.expect("no dnsmasq, which `cargo xtask setup` installs"));
        command
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--no-resolv",
                "--no-hosts",
            ])
            .args([
                "--pid-file=",
                "--user=root",
                "--bind-interfaces",
                "--log-facility=-",
            ])
            .arg(format!("--listen-address={listen}"))
            .arg(format!("--address=/weir.test/{answer}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = match place {
            Place::Node => node.on_node(|| command.spawn()),
            Place::Wire => node.on_wire(|| command.spawn()),
        };
        let resolver = Self(child.unwrap());
        let ask = || {
            let ip = if listen.contains(':') {
                "::1"
            } else {
                "0.0.0.0"
            };
            let socket = UdpSocket::bind(address(ip, 0)).ok()?;
            socket
                .set_read_timeout(Some(Duration::from_millis(100)))
                .ok()?;
            socket.connect(address(listen, 53)).ok()?;
            socket.send(&QUESTION).ok()?;
            socket.recv(&mut [0; 512]).ok()
        };
        eventually("the resolver answers on the node", || match place {
            Place::Node => node.on_node(ask),
            Place::Wire => node.on_wire(ask),
        });
        resolver
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[derive(Clone, Copy)]
enum Place {
    Node,
    Wire,
}

/// What is `weir.test`, A?
const QUESTION: [u8; 27] = *b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04weir\x04test\0\0\x01\0\x01";

/// Makes a node whose `/etc/resolv.conf` is this, for the daemon and all that it starts.
fn node_with(resolv_conf: &str) -> Node {
    let mut node = Node::without_daemon("");
    let file = node.home().join("resolv.conf");
    fs::write(&file, resolv_conf).unwrap();
    let script = format!(
        "mount --bind {} /etc/resolv.conf && exec \"$@\"",
        file.display()
    );
    node.wrapper = ["unshare", "--mount", "sh", "-c", &script, "sh"]
        .map(str::to_owned)
        .to_vec();
    node.start();
    node
}

fn look_up(puppet: &Puppet) -> String {
    puppet.run("print(socket.gethostbyname('weir.test'))")
}

/// Asks by hand, over TCP, and says the last byte of the answer's address.
fn ask_tcp(puppet: &Puppet, server: &str) -> String {
    let question: Vec<String> = QUESTION.iter().map(|byte| format!("{byte:02x}")).collect();
    puppet.run(&format!(
        "s = socket.create_connection(('{server}', 53), 5)\n\
         q = bytes.fromhex('{}')\ns.sendall(struct.pack('!H', len(q)) + q)\n\
         n, = struct.unpack('!H', s.recv(2, socket.MSG_WAITALL))\n\
         print(socket.inet_ntoa(s.recv(n, socket.MSG_WAITALL)[-4:]))\ns.close()",
        question.concat()
    ))
}

fn resolves_through(nameserver: &str) {
    let mut node = node_with(&format!("nameserver {nameserver}\noptions timeout:5\n"));
    let resolver = Resolver::start(&node, Place::Node, nameserver, "192.0.2.7");
    for network in ["isolated", "host"] {
        let puppet = node.start_puppet(&["--network", network]);
        assert_eq!(look_up(&puppet), "192.0.2.7", "{network}");
        assert_eq!(ask_tcp(&puppet, nameserver), "192.0.2.7", "{network}");
    }
    let puppet = node.start_puppet(&["--name", "web"]);
    assert_eq!(look_up(&puppet), "192.0.2.7");
    // Without the agent as well, and through a restart of the resolver.
    node.kill_daemon();
    assert_eq!(look_up(&puppet), "192.0.2.7");
    drop(resolver);
    let _resolver = Resolver::start(&node, Place::Node, nameserver, "192.0.2.8");
    assert_eq!(look_up(&puppet), "192.0.2.8");
    node.start();
    assert_eq!(look_up(&puppet), "192.0.2.8");
    assert_eq!(ask_tcp(&puppet, nameserver), "192.0.2.8");
    // No more of the node's loopback than that comes inside.
    puppet.says(
        &format!("socket.create_connection(('{nameserver}', 54), 5)"),
        "ECONNREFUSED",
    );
}

#[test]
fn a_resolver_on_the_loopback_address_of_systemd_answers_containers() {
    resolves_through("127.0.0.53");
}

#[test]
fn a_resolver_on_the_loopback_address_of_ipv6_answers_containers() {
    resolves_through("::1");
}

#[test]
fn a_resolver_on_the_nodes_own_address_answers_containers() {
    let node = node_with(&format!("nameserver {NODE_V4}\n"));
    let _resolver = Resolver::start(&node, Place::Node, NODE_V4, "192.0.2.9");
    let puppet = node.start_puppet(&[]);
    assert_eq!(look_up(&puppet), "192.0.2.9");
    assert_eq!(ask_tcp(&puppet, NODE_V4), "192.0.2.9");
}

#[test]
fn a_resolver_on_the_wire_answers_containers() {
    let node = node_with(&format!("nameserver {WIRE_V4}\n"));
    let _resolver = Resolver::start(&node, Place::Wire, WIRE_V4, "192.0.2.10");
    let puppet = node.start_puppet(&[]);
    assert_eq!(look_up(&puppet), "192.0.2.10");
    assert_eq!(ask_tcp(&puppet, WIRE_V4), "192.0.2.10");
}
