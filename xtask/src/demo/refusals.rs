//! What a container must not do: take another's port, and send in another's name.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::cast::WEB_PORT;
use super::screen::wrapped;
use crate::command::read;
use crate::forgery;
use crate::interrupt::Interrupt;
use crate::node::{Node, inside};
use crate::programs::{INTRUDER, program};

/// How long the log may take to say something.
const PATIENCE: Duration = Duration::from_secs(10);

/// A port that the intruder owns.
const INTRUDER_PORT: u16 = 31200;

/// Two try to listen on the web server's port: a container, and a process of the node.
pub(super) fn bind(node: Node, interrupt: &Interrupt) -> Result<()> {
    println!(
        "  Container `intruder` owns {INTRUDER_PORT} and tries to listen on web's {WEB_PORT}:"
    );
    let said = read(
        node.weir_agent("exec")
            .args(["--name", "intruder", "--ports", &INTRUDER_PORT.to_string()])
            .args(["--", &program(node, "python3")?, "-c", INTRUDER])
            .arg(WEB_PORT.to_string()),
    )
    .context("the intruder was not refused as it should have been")?;
    for line in said.lines() {
        println!("    {line}");
    }
    show_log(node, interrupt, "refused a bind")?;

    println!("  A process of the node tries to listen on {WEB_PORT}, too:");
    let address = SocketAddr::new(node.v4(), WEB_PORT);
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
        "  Container `forger`, with NET_RAW, sends {} packets as if from web's {WEB_PORT}, and one\n  \
         from a port of its own:",
        forgery::FORGED
    );
    let outcome = forgery::attempt(node, interrupt, "forger", WEB_PORT)?;
    println!(
        "    arrived on the wire: only the last, from {}",
        outcome.honest
    );
    println!(
        "    dropped and counted: {}, for reason source_port",
        outcome.dropped
    );
    show_log(node, interrupt, "dropped a packet")
}

/// Shows what the agent's log says of it.
fn show_log(node: Node, interrupt: &Interrupt, event: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let log = fs::read_to_string(node.log()).unwrap_or_default();
        if let Some(line) = log.lines().rev().find(|line| line.contains(event)) {
            // What is before it are the time and the module.
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
