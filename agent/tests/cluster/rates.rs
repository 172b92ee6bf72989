//! Bandwidth as the scheduler deals with it: offered, promised, held.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, LENT_WITH_RATES};
use crate::node::eventually;

/// On the wire, where tasks pour to.
const SINK: &str = "10.9.0.1:5001";

const POUR: &str = "
import socket
stream = socket.create_connection(('10.9.0.1', 5001))
piece = bytes(1 << 16)
while True:
    stream.sendall(piece)
";

/// What is read before a rate is taken, and for it: a second at 40 Mbit/s.
const BYTES: u64 = 5_000_000;

#[test]
fn a_task_is_promised_what_it_holds_and_held_to_its_ceilings() {
    let cluster = Cluster::with(&[LENT_WITH_RATES]);
    let node = &cluster.nodes[0];
    let address: SocketAddr = SINK.parse().unwrap();
    let listener = node.on_wire(|| TcpListener::bind(address)).unwrap();
    let rates = [
        "--egress",
        "20mbit",
        "--egress-max",
        "40mbit",
        "--ingress-max",
        "30mbit",
    ];
    let words = [
        &["run", "--name", "pour"],
        &rates[..],
        &["--", "python3", "-c", POUR],
    ];
    let running = cluster.start(&words.concat());
    cluster.await_running(1);

    let [container] = &node.containers(false)[..] else {
        panic!("one container")
    };
    let told = format!("{:?}", container.limits.bandwidth);
    let bandwidth = &container.limits.bandwidth;
    for (rate, text) in [
        (bandwidth.egress_min, "20mbit"),
        (bandwidth.egress_max, "40mbit"),
        (bandwidth.ingress_max, "30mbit"),
    ] {
        assert_eq!(
            rate.map(|rate| rate.to_string()).as_deref(),
            Some(text),
            "{told}"
        );
    }

    let (mut stream, _) = listener.accept().unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut piece = vec![0; 1 << 16];
    let mut read = || {
        let (begun, mut arrived) = (Instant::now(), 0);
        while arrived < BYTES {
            arrived += stream.read(&mut piece).unwrap() as u64;
        }
        arrived as f64 * 8.0 / begun.elapsed().as_secs_f64()
    };
    read();
    let rate = read();
    assert!((12e6..=44e6).contains(&rate), "{rate}");

    // The rest of what is lent is 480.
    let more = [
        "run",
        "--timeout",
        "2s",
        "--egress",
        "481mbit",
        "--",
        "true",
    ];
    let refused = cluster.weir(&more);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("network_egress 480"), "{refused:?}");
    let fits = ["run", "--egress", "480mbit", "--", "true"];
    cluster.weir(&fits).ok();
    drop(running);
}

#[test]
fn ceilings_that_cannot_be_held_are_refused_and_said() {
    let cluster = Cluster::with(&[LENT_WITH_RATES]);
    cluster.await_agents(1);
    let order = [
        "run",
        "--egress",
        "50mbit",
        "--egress-max",
        "40mbit",
        "--",
        "true",
    ];
    let refused = cluster.weir(&order);
    assert_eq!(refused.code, Some(64), "{refused:?}");
    for word in ["--egress 50mbit", "--egress-max 40mbit"] {
        assert!(refused.stderr.contains(word), "{refused:?}");
    }
    let host = [
        "run",
        "--network",
        "host",
        "--egress-max",
        "40mbit",
        "--",
        "true",
    ];
    let refused = eventually("an offer has come", || {
        Some(cluster.weir(&host)).filter(|said| said.stderr.contains("egress-max"))
    });
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("--network isolated"), "{refused:?}");
}
