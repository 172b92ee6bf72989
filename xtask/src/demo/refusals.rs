//! Two things that a container must not do: take another's port, and forge a packet in its name.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::cast::{WEB_PORT, program};
use crate::command::output;
use crate::node::{Node, Usage, WIRE_V4};

/// How long a count may take to show: it is read from the kernel when it is asked for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A container tries to listen on the web server's port.
pub(super) fn bind(node: Node) -> Result<()> {
    println!("Refused bind: a container that owns 31200 tries to listen on nginx's {WEB_PORT}.");
    let script = format!(
        "import errno, socket\n\
         s = socket.socket()\n\
         try:\n    s.bind(('0.0.0.0', {WEB_PORT}))\n\
         except OSError as e:\n\
         \x20   print('  bind to {WEB_PORT}:', e)\n\
         \x20   if e.errno not in (errno.EACCES, errno.EPERM): raise\n\
         else:\n    raise SystemExit('bind to {WEB_PORT} was allowed')\n\
         s.bind(('0.0.0.0', 31200))\nprint('  bind to 31200: fine, it owns that one')\n"
    );
    let ran = output(
        node.weir_agent("exec")
            .args(["--name", "intruder", "--ports", "31200", "--user", "nobody"])
            .args(["--", &program(node, "python3")?, "-c", &script]),
    )?;
    print!("{}", String::from_utf8_lossy(&ran.stdout));
    if !ran.status.success() {
        bail!(
            "the refused bind ended with {}: {}",
            ran.status,
            String::from_utf8_lossy(&ran.stderr).trim()
        );
    }
    Ok(())
}

/// A container that may use raw sockets sends a packet that claims to come from the web server.
pub(super) fn spoof(node: Node) -> Result<()> {
    println!("\nRefused spoof: a container with NET_RAW sends from nginx's port {WEB_PORT}.");
    let script = format!(
        "import socket, struct, time\n\
         s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)\n\
         while True:\n\
         \x20   s.sendto(struct.pack('!HHHH', {WEB_PORT}, 9, 13, 0) + b'forge', ('{WIRE_V4}', 0))\n\
         \x20   time.sleep(0.1)\n"
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
    let deadline = Instant::now() + PATIENCE;
    let dropped = loop {
        let statistics = node.statistics()?;
        let drops = statistics.of("forger").map(forged).unwrap_or_default();
        if drops > 0 {
            break drops;
        }
        if Instant::now() > deadline {
            bail!("no forged packet was dropped and counted; see `weir-agent logs forger`");
        }
        thread::sleep(Duration::from_millis(100));
    };
    println!("  {dropped} packets dropped and counted: the source port is not the container's");
    let _ended = output(node.weir_agent("kill").arg("forger"))?;
    println!();
    Ok(())
}

fn forged(usage: &Usage) -> u64 {
    usage
        .traffic()
        .tx_drops
        .get("source_port")
        .copied()
        .unwrap_or_default()
}
