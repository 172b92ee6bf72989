//! What a container must not do: take another's port, and send in another's name.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::cast::{WEB_PORT, program};
use super::screen::wrapped;
use crate::command::read;
use crate::interrupt::Interrupt;
use crate::node::{NODE_V4, Node, WIRE_V4, inside};

/// How long a count or a packet may take to show.
const PATIENCE: Duration = Duration::from_secs(10);

/// A port that the intruder owns.
const INTRUDER_PORT: u16 = 31200;

/// How many packets are forged.
const FORGED: u64 = 10;

/// The port of the wire that the packets go to.
const TARGET_PORT: u16 = 9999;

/// Two try to listen on the web server's port: a container, and a process of the node.
pub(super) fn bind(node: Node, interrupt: &Interrupt) -> Result<()> {
    println!(
        "  Container `intruder` owns {INTRUDER_PORT} and tries to listen on web's {WEB_PORT}:"
    );
    let script = format!(
        "import errno, socket
s = socket.socket()
try:
    s.bind(('0.0.0.0', {WEB_PORT}))
except OSError as error:
    if error.errno not in (errno.EACCES, errno.EPERM): raise
    print('    bind to {WEB_PORT}:', error.strerror)
else:
    raise SystemExit('bind to {WEB_PORT} was allowed')
s.bind(('0.0.0.0', {INTRUDER_PORT}))
print('    bind to {INTRUDER_PORT}: fine, its own')"
    );
    let ports = INTRUDER_PORT.to_string();
    let said = read(
        node.weir_agent("exec")
            .args(["--name", "intruder", "--ports", &ports, "--user", "nobody"])
            .args(["--", &program(node, "python3")?, "-c", &script]),
    )
    .context("the intruder was not refused as it should have been")?;
    print!("{said}");
    show_log(node, interrupt, "refused a bind")?;

    println!("  A process of the node tries to listen on {WEB_PORT}, too:");
    let address = SocketAddr::new(NODE_V4, WEB_PORT);
    match inside(node.node_namespace(), || TcpListener::bind(address))? {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            println!("    bind to {WEB_PORT}: Address already in use");
            Ok(())
        }
        Err(error) => Err(error).context("a process of the node was refused, but not as it should"),
        Ok(_listener) => bail!("a process of the node could take {WEB_PORT} from a container"),
    }
}

/// A container that may write packets itself writes some that claim to come from the web server.
pub(super) fn spoof(node: Node, interrupt: &Interrupt) -> Result<()> {
    println!(
        "  Container `forger`, with NET_RAW, sends {FORGED} packets as if from web's {WEB_PORT}, and then\n  an honest one:"
    );
    let target = SocketAddr::new(WIRE_V4, TARGET_PORT);
    let wire = inside(node.wire_namespace(), || UdpSocket::bind(target))?
        .with_context(|| format!("cannot listen on {target} on the wire"))?;
    wire.set_read_timeout(Some(PATIENCE))
        .context("cannot set a socket's patience")?;
    let script = format!(
        "import socket, struct, time
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
for _ in range({FORGED}):
    raw.sendto(struct.pack('!HHHH', {WEB_PORT}, {TARGET_PORT}, 14, 0) + b'forged', ('{WIRE_V4}', 0))
honest = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
honest.sendto(b'honest', ('{WIRE_V4}', {TARGET_PORT}))
time.sleep(60)"
    );
    node.exec_detached(
        &[
            "--name",
            "forger",
            "--user",
            "nobody",
            "--cap-add",
            "NET_RAW",
        ],
        &[&program(node, "python3")?, "-c", &script],
    )?;
    let mut datagram = [0; 64];
    let (length, sender) = wire
        .recv_from(&mut datagram)
        .context("nothing of what `forger` sent arrived; see its `weir-agent logs --stderr`")?;
    let arrived = String::from_utf8_lossy(&datagram[..length]);
    if arrived != "honest" {
        bail!("`{arrived}` arrived on the wire from {sender}");
    }
    println!("    on the wire: only the honest one arrived, from {sender}");
    let dropped = await_drops(node, interrupt)?;
    println!("    {dropped} dropped and counted for `forger`, reason source_port");
    show_log(node, interrupt, "dropped a packet")?;
    read(node.weir_agent("kill").arg("forger")).map(drop)
}

fn await_drops(node: Node, interrupt: &Interrupt) -> Result<u64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let traffic = node.statistics()?.of("forger").map(|usage| usage.traffic());
        let dropped = traffic
            .and_then(|traffic| traffic.tx_drops.get("source_port").copied())
            .unwrap_or_default();
        if dropped >= FORGED {
            return Ok(dropped);
        }
        if Instant::now() > deadline {
            bail!("of {FORGED} forged packets {dropped} were dropped and counted");
        }
        interrupt.pause(Duration::from_millis(20))?;
    }
}

/// Shows what the agent's log says of it.
fn show_log(node: Node, interrupt: &Interrupt, event: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let log = fs::read_to_string(node.log()).unwrap_or_default();
        // After the time and the level, and before the fields.
        if let Some(line) = log.lines().rev().find(|line| line.contains(event)) {
            let from = line.find(event).unwrap_or_default();
            wrapped("    ", &format!("the agent's log: {}", &line[from..]));
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "the agent's log says nothing of it: no `{event}` in {}",
                node.log().display()
            );
        }
        interrupt.pause(Duration::from_millis(20))?;
    }
}
