//! Programs that people run, side by side on one address.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use serde_json::Value;

use crate::node::{DEADLINE, NODE_V4, NODE_V6, Node, address, copy_program, eventually, find};

/// Returns a path to a program at which containers can run it.
fn program(node: &Node, name: &str) -> String {
    let found = find(name);
    if found.starts_with("/usr") {
        return found.display().to_string();
    }
    copy_program(&found, &node.files().join(name))
}

/// Asks a web server, and returns its answer without the head.
fn get(from: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&from, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: weir\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    assert!(head.contains(" 200 "), "{head}");
    Ok(body.to_owned())
}

fn start_nginx(node: &Node) {
    let config = node.files().join("nginx.conf");
    let text = "daemon off;
worker_processes 2;
pid nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {
        listen 31000;
        listen [::]:31000;
        location / { return 200 'nginx sees $remote_addr'; }
        location /files/ { proxy_pass http://10.9.0.2:31100/; }
    }
}
";
    fs::write(&config, text).unwrap();
    let nginx = program(node, "nginx");
    let script = format!(
        "exec {nginx} -p \"$WEIR_SANDBOX\" -c {} -e stderr",
        config.display()
    );
    node.start_container(
        &["--name", "web", "--ports", "31000"],
        &["sh", "-c", &script],
    );
}

#[test]
fn nginx_python_and_iperf3_share_one_address() {
    let mut node = Node::new();
    start_nginx(&node);
    let python = [
        "/usr/bin/python3",
        "-u",
        "-m",
        "http.server",
        "31100",
        "--bind",
        "::",
    ];
    let files = node.start_container(&["--name", "files", "--ports", "31100"], &python);
    fs::write(
        files.directory.join("sandbox/hello"),
        "hello from a sandbox",
    )
    .unwrap();
    let iperf3 = program(&node, "iperf3");
    node.start_container(
        &["--name", "bulk", "--ports", "31200"],
        &[&iperf3, "-s", "-p", "31200"],
    );

    let serves = |node: &Node, ip: &str, port, path: &str| {
        eventually(&format!("{ip} {port} {path}"), || {
            node.on_wire(|| get(address(ip, port), path)).ok()
        })
    };
    for ip in [NODE_V4, NODE_V6] {
        let seen = serves(&node, ip, 31000, "/");
        assert!(seen.starts_with("nginx sees"), "{seen}");
        assert_eq!(serves(&node, ip, 31100, "/hello"), "hello from a sandbox");
    }
    assert_eq!(
        serves(&node, NODE_V4, 31000, "/"),
        "nginx sees 10.9.0.1",
        "the client's own address"
    );
    // One container asks another, by the address that they share.
    assert_eq!(
        serves(&node, NODE_V4, 31000, "/files/hello"),
        "hello from a sandbox"
    );

    // Bulk both ways, from a container to another, over TCP and UDP, IPv4 and IPv6.
    for (ip, more) in [
        (NODE_V4, &[][..]),
        (NODE_V6, &["-R"]),
        (NODE_V4, &["-u", "-b", "50M"]),
        (NODE_V6, &["-u", "-b", "50M", "-R"]),
    ] {
        let words = [
            &[
                iperf3.as_str(),
                "-c",
                ip,
                "-p",
                "31200",
                "-n",
                "4M",
                "--json",
            ],
            more,
        ]
        .concat();
        // One client at a time: the server may not have noticed yet that the one before has gone.
        let json = eventually("the server is free", || {
            let said = node.exec(&[], &words);
            (said.code == 0).then_some(said.stdout)
        });
        let json: Value = serde_json::from_str(&json).unwrap();
        let sent = &json["end"]["sum_sent"]["bytes"];
        let sent = sent
            .as_u64()
            .or_else(|| json["end"]["sum"]["bytes"].as_u64())
            .unwrap();
        assert!(sent >= 4 << 20, "{ip} {more:?}: {sent}");
    }

    // All of it without the agent, and with the next one.
    node.kill_daemon();
    assert!(serves(&node, NODE_V4, 31000, "/files/hello").contains("hello"));
    node.start();
    assert!(serves(&node, NODE_V6, 31000, "/files/hello").contains("hello"));
    node.assert_exact();
    for name in ["web", "files", "bulk"] {
        node.weir(&["kill", name]).ok();
    }
    node.assert_exact();
}

#[test]
fn a_web_server_on_port_80_needs_neither_root_nor_a_capability() {
    let node = Node::with("network.container_ports = \"80,31000-31999\"");
    node.start_server("web", 80);
    let said = node.exec(&["--ports", "80-80"], &["true"]).refused();
    assert!(said.contains("port 80 is owned by container web"), "{said}");
    assert!(Path::new("/proc/sys/net/ipv4/ip_unprivileged_port_start").exists());
}
