//! What is measured, as monitoring reads it.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::node::{DEADLINE, HTTP, NODE_V4, NODE_V6, Node, address, eventually, find, hear};

/// An answer: its status and its body.
fn ask(node: &Node, path: &str) -> (u16, String) {
    let answer = node.on_node(|| {
        let mut stream = TcpStream::connect(HTTP).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{answer}"));
    (head[9..12].parse().unwrap(), body.to_owned())
}

/// Reads `/metrics`: every sample by its name and labels, as it is written.
pub(crate) fn metrics(node: &Node) -> BTreeMap<String, f64> {
    let (status, body) = ask(node, "/metrics");
    assert_eq!(status, 200);
    let samples = body.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// Lets a server and a client talk, be refused, and have packets dropped.
fn make_traffic(node: &Node) {
    for ip in [NODE_V4, NODE_V6] {
        for _ in 0..10 {
            assert_eq!(node.on_wire(|| hear(address(ip, 31000))).unwrap(), "web\n");
        }
    }
    assert!(
        node.on_node(|| std::net::TcpListener::bind("0.0.0.0:31000"))
            .is_err()
    );
    let script = "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
                  s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)\n\
                  s.sendto(b'x', ('10.9.0.255', 9))\ns.sendto(b'x', ('224.0.0.1', 9))\n\
                  c = socket.create_connection(('10.9.0.2', 31000), 5)\nprint(c.recv(9).decode(), end='')";
    let client = node.start_puppet(&["--name", "client"]);
    client.says(script, "web");
    assert_eq!(client.bind(31000), "EACCES");
    client.says(
        "socket.create_connection(('10.9.0.1', 1), 5)",
        "ECONNREFUSED",
    );
}

#[test]
fn metrics_are_well_formed_and_move_with_what_happens() {
    let node = Node::new();
    node.start_server("web", 31000);
    make_traffic(&node);
    let (_, body) = ask(&node, "/metrics");
    let mut promtool = Command::new(find("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(body.as_bytes())
        .unwrap();
    let checked = promtool.wait_with_output().unwrap();
    let complaints =
        String::from_utf8_lossy(&checked.stderr) + String::from_utf8_lossy(&checked.stdout);
    assert!(
        checked.status.success() && complaints.is_empty(),
        "{complaints}"
    );

    let found = metrics(&node);
    let at_least = |name: &str, least: f64| {
        let value = found.get(&format!("weir_agent_{name}"));
        assert!(
            value.is_some_and(|value| *value >= least),
            "{name} is {value:?}, not {least} at least"
        );
    };
    at_least("containers{state=\"running\"}", 2.0);
    for name in ["web", "client"] {
        for family in [
            "cpu_seconds_total",
            "memory_bytes",
            "processes",
            "threads",
            "ports",
        ] {
            let prefix = format!("weir_agent_container_{family}{{container=\"{name}\"");
            assert!(found.keys().any(|key| key.starts_with(&prefix)), "{prefix}");
        }
        at_least(
            &format!("container_network_receive_bytes_total{{container=\"{name}\"}}"),
            60.0,
        );
        at_least(
            &format!("container_network_transmit_bytes_total{{container=\"{name}\"}}"),
            60.0,
        );
        at_least(
            &format!("container_network_receive_packets_total{{container=\"{name}\"}}"),
            3.0,
        );
        at_least(
            &format!("container_network_transmit_packets_total{{container=\"{name}\"}}"),
            3.0,
        );
        at_least(
            &format!("container_tcp_rtt_seconds_count{{container=\"{name}\"}}"),
            1.0,
        );
        at_least(
            &format!("container_tcp_rtt_seconds_bucket{{container=\"{name}\",le=\"+Inf\"}}"),
            1.0,
        );
        at_least(
            &format!("container_tcp_connections{{container=\"{name}\",state=\"time_wait\"}}"),
            0.0,
        );
        at_least(
            &format!("container_tcp_retransmitted_segments_total{{container=\"{name}\"}}"),
            0.0,
        );
        for resource in ["cpu", "memory", "io"] {
            for kind in ["waiting", "stalled"] {
                let metric = format!("container_pressure_{kind}_seconds_total");
                let labels = format!("container=\"{name}\",resource=\"{resource}\"");
                at_least(&format!("{metric}{{{labels}}}"), 0.0);
            }
        }
    }
    at_least("containers_out_of_memory_total", 0.0);
    assert_eq!(found["weir_agent_telemetry_failed_reads_total"], 0.0);
    at_least("container_tcp_accepts_total{container=\"web\"}", 21.0);
    at_least("container_tcp_connects_total{container=\"client\"}", 1.0);
    at_least(
        "container_tcp_connect_failures_total{container=\"client\"}",
        1.0,
    );
    at_least(
        "container_network_refused_binds_total{container=\"client\"}",
        1.0,
    );
    at_least(
        "container_network_dropped_packets_total{container=\"client\",direction=\"transmit\",reason=\"multicast\"}",
        1.0,
    );
    let is_drop = |key: &str| key.contains("dropped_packets") && key.contains("client");
    let dropped: f64 = found
        .iter()
        .filter(|(key, _)| is_drop(key))
        .map(|(_, count)| count)
        .sum();
    assert!(
        dropped >= 2.0,
        "the broadcast and the multicast, and not {dropped}"
    );
    at_least("container_ports{container=\"web\",kind=\"assigned\"}", 1.0);
    at_least(
        "container_ports{container=\"web\",kind=\"ephemeral\"}",
        1024.0,
    );
    at_least(
        "container_tcp_connections{container=\"web\",state=\"active\"}",
        1.0,
    );
    at_least("node_refused_binds_total", 1.0);
    at_least("node_refused_connects_total", 0.0);
    at_least("node_unknown_fragments_total", 0.0);
    at_least("node_lost_events_total", 0.0);
    for program in [
        "uplink_in",
        "container_out",
        "node_loopback",
        "bind4",
        "bind6",
        "tcp_watch",
    ] {
        at_least(&format!("program_runs_total{{program=\"{program}\"}}"), 1.0);
        at_least(
            &format!("program_run_seconds_total{{program=\"{program}\"}}"),
            1e-9,
        );
    }
    // A histogram that adds up, and round trips that can be.
    let bucket = |le: &str| {
        found[&format!(
            "weir_agent_container_tcp_rtt_seconds_bucket{{container=\"web\",le=\"{le}\"}}"
        )]
    };
    let count = found["weir_agent_container_tcp_rtt_seconds_count{container=\"web\"}"];
    let sum = found["weir_agent_container_tcp_rtt_seconds_sum{container=\"web\"}"];
    assert_eq!(bucket("+Inf"), count);
    assert!(sum > 0.0 && sum / count < 1.0, "{sum} s in {count}");

    // What has ended is no longer there.
    node.weir(&["kill", "client"]).ok();
    let found = metrics(&node);
    assert!(!found.keys().any(|key| key.contains("\"client\"")));
}

#[test]
fn counters_never_go_back_when_the_agent_is_killed() {
    let mut node = Node::new();
    node.start_server("web", 31000);
    make_traffic(&node);
    let is_counter = |key: &str| {
        let name = key.split('{').next().unwrap();
        // Those of the agent itself begin anew with it.
        (name.ends_with("_total") || name.ends_with("_count") || name.ends_with("_bucket"))
            && !name.contains("telemetry")
            && !name.contains("_program_")
    };
    let mut before = metrics(&node);
    for _ in 0..2 {
        node.kill_daemon();
        assert_eq!(
            node.on_wire(|| hear(address(NODE_V4, 31000))).unwrap(),
            "web\n"
        );
        node.start();
        let after = metrics(&node);
        for (key, value) in before.iter().filter(|(key, _)| is_counter(key)) {
            let now = after.get(key);
            assert!(
                now.is_some_and(|now| now >= value),
                "{key} was {value} and is {now:?}"
            );
        }
        let accepts = "weir_agent_container_tcp_accepts_total{container=\"web\"}";
        assert!(
            after[accepts] > before[accepts],
            "what happened without the agent is counted"
        );
        before = after;
    }
}

#[test]
fn counters_of_a_slot_begin_at_zero_for_its_next_container() {
    let node = Node::with("network.ephemeral_ports = \"61440-62463\"\nnetwork.quarantine_ms = 100");
    node.start_server("web", 31000);
    make_no_client_traffic(&node);
    node.weir(&["kill", "web"]).ok();
    let second = eventually("its block has rested", || {
        let said = node.exec(&["--name", "next", "--detach"], &["sleep", "1000"]);
        (said.code == 0).then_some(said)
    });
    assert_eq!(second.stdout, "next\n");
    let found = metrics(&node);
    for family in [
        "network_receive_bytes_total",
        "network_transmit_bytes_total",
        "tcp_accepts_total",
        "network_refused_binds_total",
    ] {
        let key = format!("weir_agent_container_{family}{{container=\"next\"}}");
        assert!(found[&key] < 1000.0, "{key} is {}", found[&key]);
    }
}

fn make_no_client_traffic(node: &Node) {
    for _ in 0..10 {
        assert_eq!(
            node.on_wire(|| hear(address(NODE_V4, 31000))).unwrap(),
            "web\n"
        );
    }
}

#[test]
fn statistics_are_served_in_the_words_of_mesos() {
    let node = Node::new();
    assert_eq!(
        ask(&node, "/monitor/statistics.json"),
        (200, "[]".to_owned())
    );
    let view = node.start_server("web", 31000);
    make_traffic(&node);
    node.start_container(
        &["--name", "host", "--network", "host", "--ports", "31009"],
        &["sleep", "1000"],
    );
    let (status, body) = ask(&node, "/monitor/statistics.json");
    assert_eq!(status, 200);
    let json: Value = serde_json::from_str(&body).unwrap();
    let of = |name: &str| {
        json.as_array()
            .unwrap()
            .iter()
            .find(|one| one["executor_id"] == name)
            .unwrap()
    };
    let web = of("web");
    assert_eq!(web["source"], view.id.as_str());
    assert_eq!(web["executor_name"], "web");
    let number = |field: &str| {
        web["statistics"][field]
            .as_f64()
            .unwrap_or_else(|| panic!("{field} in {web:#}"))
    };
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs_f64();
    assert!((number("timestamp") - now).abs() < 60.0);
    for (field, least) in [
        ("processes", 1.0),
        ("threads", 1.0),
        ("cpus_user_time_secs", 0.0),
        ("cpus_system_time_secs", 0.0),
        ("mem_rss_bytes", 100_000.0),
        ("net_rx_packets", 40.0),
        ("net_rx_bytes", 40.0 * 60.0),
        ("net_rx_dropped", 0.0),
        ("net_rx_errors", 0.0),
        ("net_tx_packets", 40.0),
        ("net_tx_bytes", 40.0 * 60.0),
        ("net_tx_dropped", 0.0),
        ("net_tx_errors", 0.0),
        ("net_tcp_active_connections", 1.0),
        ("net_tcp_time_wait_connections", 1.0),
        ("net_tcp_rtt_microsecs_p50", 1.0),
        ("net_tcp_rtt_microsecs_p90", 1.0),
        ("net_tcp_rtt_microsecs_p95", 1.0),
        ("net_tcp_rtt_microsecs_p99", 1.0),
    ] {
        assert!(
            number(field) >= least,
            "{field} is {}, not {least} at least",
            number(field)
        );
    }
    assert!(number("net_tcp_rtt_microsecs_p50") <= number("net_tcp_rtt_microsecs_p99"));
    assert!(of("host")["statistics"]["processes"].as_u64().unwrap() >= 1);
}

#[test]
fn sockets_on_the_nodes_network_are_told_by_who_made_them() {
    let node = Node::new();
    let on_node = |name: &str, port: u16| {
        let ports = port.to_string();
        let options = ["--name", name, "--network", "host", "--ports", &ports];
        let puppet = node.start_puppet(&options);
        let script = format!("listener = socket.create_server(('10.9.0.2', {port}))");
        puppet.says(&script, "");
        puppet
    };
    let (web, idle) = (on_node("web", 31000), on_node("idle", 31001));
    let clients: Vec<TcpStream> = node.on_wire(|| {
        (0..3)
            .map(|_| TcpStream::connect((NODE_V4, 31000)).unwrap())
            .collect()
    });
    web.says("peers = [listener.accept()[0] for _ in range(3)]", "");
    web.says("for peer in peers: peer.sendall(b'x')", "");
    for mut client in &clients {
        client.read_exact(&mut [0]).unwrap();
    }
    let of = |name: &str| -> Value {
        let (_, body) = ask(&node, "/monitor/statistics.json");
        let json: Value = serde_json::from_str(&body).unwrap();
        let all = json.as_array().unwrap();
        let one = all.iter().find(|one| one["executor_id"] == name);
        one.unwrap()["statistics"].clone()
    };
    let number = |name: &str, field: &str| of(name)[field].as_f64();
    assert_eq!(number("web", "net_tcp_active_connections"), Some(4.0));
    assert_eq!(number("idle", "net_tcp_active_connections"), Some(1.0));
    assert!(number("web", "net_tcp_rtt_microsecs_p99").unwrap() > 0.0);
    assert_eq!(number("idle", "net_tcp_rtt_microsecs_p99"), None);
    // What cannot be known is not said to be zero.
    assert_eq!(number("web", "net_tcp_time_wait_connections"), None);
    let samples = metrics(&node);
    let active = "weir_agent_container_tcp_connections{container=\"web\",state=\"active\"}";
    assert_eq!(samples[active], 4.0);
    for family in ["tcp_connects_total", "tcp_rtt_seconds_count"] {
        let name = format!("weir_agent_container_{family}{{container=\"web\"}}");
        assert!(!samples.contains_key(&name), "{name}");
    }
    drop(clients);
    web.says("for peer in peers: peer.close()", "");
    assert_eq!(number("web", "net_tcp_active_connections"), Some(1.0));
    drop(idle);
}

#[test]
fn health_is_told_and_other_paths_are_refused() {
    let mut node = Node::new();
    assert_eq!(ask(&node, "/health"), (200, "ok\n".to_owned()));
    assert_eq!(ask(&node, "/").0, 404);
    assert_eq!(ask(&node, "/metrics/../etc/passwd").0, 404);
    node.stop_daemon();
    assert!(node.on_node(|| TcpStream::connect(HTTP)).is_err());
    // And none at all where none is wanted.
    let node = Node::with("http.listen = \"\"");
    assert!(node.on_node(|| TcpStream::connect(HTTP)).is_err());
    assert_eq!(node.exec(&[], &["true"]).code, 0);
}

#[test]
fn whoever_abuses_the_http_server_harms_only_himself() {
    let node = Node::new();
    let to: SocketAddr = HTTP.parse().unwrap();
    // More than are served at once: silent ones, and ones that never finish their request.
    let silent: Vec<TcpStream> = (0..200)
        .map(|number| {
            let mut stream = node
                .on_node(|| TcpStream::connect_timeout(&to, DEADLINE))
                .unwrap();
            if number % 2 == 0 {
                stream
                    .write_all(b"GET /metrics HTTP/1.1\r\nHost: we")
                    .unwrap();
            }
            stream
        })
        .collect();
    let begin = Instant::now();
    assert_eq!(ask(&node, "/health").0, 200);
    let took = begin.elapsed();
    assert!(took.as_secs() < 10, "a scrape waited for {took:?}");
    drop(silent);

    let long = [b"GET /".as_slice(), &[b'x'; 100_000], b" HTTP/1.1\r\n\r\n"].concat();
    let many = [
        b"GET /health HTTP/1.1\r\n".as_slice(),
        &b"X: y\r\n".repeat(5_000),
        b"\r\n",
    ]
    .concat();
    for bytes in [
        &b"\0\x01\x02\r\n\r\n"[..],
        b"\r\n\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0",
        &long,
        &many,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        node.on_node(|| {
            let mut stream = TcpStream::connect(HTTP).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            // It may be closed before all is said.
            drop(stream.write_all(bytes));
            drop(stream.shutdown(std::net::Shutdown::Write));
            drop(stream.read_to_end(&mut Vec::new()));
        });
        assert_eq!(ask(&node, "/health").0, 200);
    }
    // Requests one behind the other on one connection, and none of the answers read.
    node.on_node(|| {
        let mut stream = TcpStream::connect(HTTP).unwrap();
        stream
            .set_write_timeout(Some(std::time::Duration::from_millis(500)))
            .unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nHost: weir\r\n\r\n".repeat(1000);
        drop(stream.write_all(&request));
    });
    assert_eq!(ask(&node, "/health").0, 200);
    assert_eq!(node.exec(&[], &["true"]).code, 0);
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.daemon_pid())).unwrap();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 200 * 1024, "the agent has grown to {kib} KiB");
}

#[test]
fn alerts_fire_when_they_should_and_not_before() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (directory, name) in [
        ("dist/prometheus", "weir-agent"),
        ("../scheduler/dist/prometheus", "weir-scheduler"),
    ] {
        for words in [
            ["check", "rules", &format!("{name}.rules.yml")],
            ["test", "rules", &format!("{name}.rules.test.yml")],
        ] {
            let said = Command::new(find("promtool"))
                .args(words)
                .current_dir(sources.join(directory))
                .output()
                .unwrap();
            assert!(said.status.success(), "{words:?}: {said:?}");
        }
    }
}
