//! Name resolution on a node whose resolver listens on loopback addresses only.
#![forbid(unsafe_code)]

mod node;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use weir_sys::netns;

use crate::node::{Node, PATIENCE, answer, raise_loopback, require_root};

const SERVERS: [&str; 2] = ["127.0.0.53:53", "[::1]:53"];

/// Runs `test` on a node of its own: a network namespace with a resolver on loopback, and a file tree whose
/// `/etc/resolv.conf` is a link to `/run/resolver/stub.conf`, as systemd-resolved makes it.
fn on_node_with_local_resolver(test: impl FnOnce() + Send) {
    require_root();
    netns::create(|| {
        raise_loopback();
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).unwrap();
        let none: Option<&Path> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some("none"), "/run", Some("tmpfs"), MsFlags::empty(), none).unwrap();
        fs::create_dir("/run/resolver").unwrap();
        fs::write(
            "/run/resolver/stub.conf",
            "nameserver 127.0.0.53\nnameserver ::1\nnameserver 192.0.2.1\n",
        )
        .unwrap();
        mount(Some("none"), "/etc", Some("tmpfs"), MsFlags::empty(), none).unwrap();
        symlink("/run/resolver/stub.conf", "/etc/resolv.conf").unwrap();
        for server in SERVERS {
            answer_datagrams(server);
            answer_connections(server);
        }
        test();
    })
    .unwrap();
}

/// Answers every datagram with its own bytes and a mark, but the one that asks for silence.
fn answer_datagrams(server: &'static str) {
    let socket = UdpSocket::bind(server).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            if &buffer[..length] != b"silence" {
                let answer = [&buffer[..length], b" from ", server.as_bytes()].concat();
                socket.send_to(&answer, client).unwrap();
            }
        }
    });
}

fn answer_connections(server: &'static str) {
    let listener = TcpListener::bind(server).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut question = vec![];
            stream.read_to_end(&mut question).unwrap();
            stream
                .write_all(&[&question[..], b" by connection from ", server.as_bytes()].concat())
                .unwrap();
        }
    });
}

#[test]
fn names_resolve_through_every_loopback_server_by_datagram_and_connection() {
    on_node_with_local_resolver(|| {
        let node = Node::new();
        for server in SERVERS {
            let output = node
                .probe(&["ask", "udp", server, "name?"])
                .start()
                .output();
            assert_eq!(answer(&output, "answer"), format!("name? from {server}"));
            let output = node
                .probe(&["ask", "tcp", server, "name?"])
                .start()
                .output();
            assert_eq!(
                answer(&output, "answer"),
                format!("name? by connection from {server}")
            );
        }
    });
}

#[test]
fn connection_carries_more_than_a_buffer() {
    on_node_with_local_resolver(|| {
        let node = Node::new();
        let question = "q".repeat(60_000);
        let output = node
            .probe(&["ask", "tcp", SERVERS[0], &question])
            .start()
            .output();
        assert_eq!(
            answer(&output, "answer"),
            format!("{question} by connection from {}", SERVERS[0])
        );
    });
}

#[test]
fn resolver_configuration_is_there_although_run_is_private() {
    on_node_with_local_resolver(|| {
        let node = Node::new();
        let container = node
            .container(&["/bin/sh", "-c", "cat /etc/resolv.conf; ls -R /run"])
            .start();
        let output = container.output();
        assert!(output.starts_with("nameserver 127.0.0.53\n"), "{output}");
        assert!(
            output.ends_with("/run:\nresolver\n\n/run/resolver:\nstub.conf\n"),
            "{output}"
        );
    });
}

#[test]
fn silent_server_does_not_keep_later_questions() {
    on_node_with_local_resolver(|| {
        let node = Node::new();
        let output = node
            .probe(&["ask behind silence", SERVERS[0], "40"])
            .start()
            .output();
        assert_eq!(answer(&output, "answer"), "name? from 127.0.0.53:53");
    });
}

#[test]
fn server_that_is_not_there_costs_an_answer_and_nothing_else() {
    require_root();
    netns::create(|| {
        raise_loopback();
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).unwrap();
        let none: Option<&Path> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some("none"), "/etc", Some("tmpfs"), MsFlags::empty(), none).unwrap();
        fs::write("/etc/resolv.conf", "nameserver 127.0.0.53\n").unwrap();
        let node = Node::new();
        let mut container = node.probe(&["ask", "tcp", SERVERS[0], "name?"]).start();
        assert!(
            weir_sys::pidfd::wait_ended(
                std::os::fd::AsFd::as_fd(&container.spawned.pidfd),
                Some(PATIENCE)
            )
            .unwrap()
        );
        container.outcome();
        assert!(
            container.file("stdout").starts_with("answer: "),
            "{}",
            container.file("stdout")
        );
    })
    .unwrap();
}

#[test]
fn container_in_the_nodes_network_needs_no_relay() {
    on_node_with_local_resolver(|| {
        let node = Node::new();
        let before = std::time::Instant::now();
        let output = node
            .probe(&["ask", "udp", SERVERS[0], "name?"])
            .in_host_network()
            .start()
            .output();
        assert_eq!(answer(&output, "answer"), "name? from 127.0.0.53:53");
        assert!(before.elapsed() < Duration::from_secs(5));
    });
}
