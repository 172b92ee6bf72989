//! A container that sends in another's name, and what comes of it.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::command::read;
use crate::interrupt::Interrupt;
use crate::node::{Node, inside};
use crate::programs::{FORGER, program};

/// How long a count or a packet may take to show.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many packets are forged.
pub(crate) const FORGED: u64 = 10;

/// The port of the wire that the packets go to.
const TARGET_PORT: u16 = 9999;

/// What came of it.
pub(crate) struct Outcome {
    /// From where the honest packet came, which arrived alone.
    pub(crate) honest: SocketAddr,
    /// How many were dropped and counted because of their source port.
    pub(crate) dropped: u64,
}

/// Starts container `name`, has it send from `port`, which is not its own, and ends it; fails if any
/// of that arrives on the wire, or is not counted.
pub(crate) fn attempt(node: Node, interrupt: &Interrupt, name: &str, port: u16) -> Result<Outcome> {
    let target = SocketAddr::new(node.wire_v4(), TARGET_PORT);
    let wire = inside(node.wire_namespace(), || UdpSocket::bind(target))?
        .with_context(|| format!("cannot listen on {target} on the wire"))?;
    wire.set_read_timeout(Some(PATIENCE))
        .context("cannot set a socket's patience")?;
    let (python, address) = (program(node, "python3")?, node.wire_v4().to_string());
    let numbers =
        [u64::from(TARGET_PORT), u64::from(port), FORGED].map(|number| number.to_string());
    let [target_port, source, count] = numbers.each_ref().map(String::as_str);
    node.exec_detached(
        &["--name", name, "--cap-add", "NET_RAW"],
        &[&python, "-c", FORGER, &address, target_port, source, count],
    )?;
    let mut datagram = [0; 64];
    let (length, honest) = wire.recv_from(&mut datagram).with_context(|| {
        format!("nothing that {name} sent arrived; see `weir-agent logs --stderr {name}`")
    })?;
    let arrived = String::from_utf8_lossy(&datagram[..length]);
    if arrived != "honest" {
        bail!("`{arrived}` of {name} arrived on the wire from {honest}");
    }
    let dropped = await_drops(node, interrupt, name)?;
    read(node.weir_agent("kill").arg(name))?;
    Ok(Outcome { honest, dropped })
}

fn await_drops(node: Node, interrupt: &Interrupt, name: &str) -> Result<u64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let traffic = node.statistics()?.of(name).map(|usage| usage.traffic());
        let dropped = traffic
            .and_then(|traffic| traffic.tx_drops.get("source_port").copied())
            .unwrap_or_default();
        if dropped >= FORGED {
            return Ok(dropped);
        }
        if Instant::now() > deadline {
            bail!("of {FORGED} packets that {name} forged {dropped} were dropped and counted");
        }
        interrupt.pause(Duration::from_millis(20))?;
    }
}
