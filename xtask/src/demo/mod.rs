//! The demonstration: real programs in containers that share one address and not their ports.
//!
//! `up`, in order: build; a node of its own ([`crate::node`]); the cast of containers ([`cast`]);
//! what each one gets ([`table`]); what is refused ([`refusals`]); what to try next. It stays until
//! Ctrl-C, or leaves the node running with `--detach`. Whatever ends it in the middle, Ctrl-C or an
//! error, the node is taken away again; `down` does the same from outside, and also after a
//! `kill -9`, for everything of the node has a fixed name.

mod cast;
mod refusals;
mod screen;
mod table;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::unistd::Uid;

use self::screen::heading;
use crate::interrupt::Interrupt;
use crate::node::{self, NODE_V4, NODE_V6, Node, Profile, WIRE_V4};
use crate::setup;

/// The node that is shown.
///
/// A port that is given back rests for five seconds and not for sixty: whoever tries the commands
/// gives the same ports back and forth.
const NODE: Node = Node::named("weir-demo", "quarantine_ms = 5000");

/// How long the table is shown: time enough to see each rate change a few times.
const SHOWN: Duration = Duration::from_secs(10);

/// How the demonstration is started.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Leave the node running; `cargo xtask down` takes it away
    #[arg(long)]
    detach: bool,
}

/// Shows it, and takes it away unless it shall stay.
pub(crate) fn up(arguments: &Arguments) -> Result<()> {
    require_root("up")?;
    setup::run_for_build()?;
    node::build(Profile::Debug)?;

    let interrupt = Interrupt::hold()?;
    let _claim = NODE.claim()?;
    let _safeguard = node::Safeguard(NODE);
    if NODE.is_there() {
        println!("An earlier demonstration is still there; taking it away first.");
        NODE.remove()?;
    }
    let shown = show(&interrupt);
    if shown.is_ok() && arguments.detach {
        println!("\nThe node stays. Take it away with: cargo xtask down");
        return Ok(());
    }
    if shown.is_ok() {
        heading("The node stays until Ctrl-C.");
        interrupt.wait_forever();
    }
    println!("\nTaking the node away.");
    let removed = NODE
        .remove()
        .context("something of the node is left; run `cargo xtask down`");
    if removed.is_ok() {
        println!("Nothing of it is left.");
    }
    match shown {
        // Whatever failed while somebody ended it has failed because of that.
        Err(_) if interrupt.came() => removed,
        // The show's own failure is the first to be told; what remains can be taken away once more.
        shown => shown.and(removed),
    }
}

/// Takes the node away.
pub(crate) fn down() -> Result<()> {
    require_root("down")?;
    let was_there = NODE.is_there();
    // Also where nothing is seen: a node that was half made may hide.
    NODE.remove()?;
    println!(
        "{}",
        if was_there {
            "The demonstration is taken away; nothing of it is left."
        } else {
            "There is no demonstration."
        }
    );
    Ok(())
}

fn show(interrupt: &Interrupt) -> Result<()> {
    heading("A node in network namespaces of its own: this machine's network is not touched");
    let begun = Instant::now();
    NODE.create(interrupt)?;
    println!("  weir-demo-wire {WIRE_V4} ======== weir-demo-node {NODE_V4}, {NODE_V6}");
    println!(
        "  weir-agent is ready in it, {:.1} s after the first step.",
        begun.elapsed().as_secs_f64()
    );

    heading("Four isolated containers: each has the node's two addresses, and its own ports");
    cast::start(NODE, interrupt)?;

    heading("What each one gets, while a client on the wire asks web and files over IPv4 and IPv6");
    let neighbour = cast::Neighbour::start(NODE)?;
    table::show(NODE, interrupt, SHOWN)?;
    let answers = neighbour.stop()?;
    println!(
        "  The client got {answers} answers in {} s.",
        SHOWN.as_secs()
    );

    heading("Refused: another's port");
    refusals::bind(NODE, interrupt)?;
    interrupt.check()?;
    heading("Refused: another's name");
    refusals::spoof(NODE, interrupt)?;
    interrupt.check()?;
    say_what_next();
    Ok(())
}

fn say_what_next() {
    heading("Scrape it; the agent listens on the loopback of the node's namespace");
    println!("  {}", NODE.curl_text("/metrics"));
    println!("  /health says ok, /monitor/statistics.json what Mesos' agents say.");

    heading("Try next, in another terminal");
    println!("  alias weir='{}'", NODE.weir_agent_text());
    for (command, what) in [
        ("weir ps", "the containers"),
        ("weir stats", "what they use"),
        ("weir logs files --stderr", "what one wrote"),
        (
            "weir exec --ports 3 -- sh -c 'echo $WEIR_PORTS'",
            "any three ports",
        ),
        ("weir exec --ports 31000 -- true", "refused: web's"),
        (
            "weir exec --user root -- sh -c 'ps ax; ip address'",
            "the world from inside",
        ),
        (
            "weir update web --ports 31000,31300-31309",
            "others, while it runs",
        ),
        ("weir kill bulk-client", "and look at stats"),
    ] {
        println!("  {command:<53}{what}");
    }
    println!(
        "  nsenter --net={} curl http://{NODE_V4}:{}",
        NODE.wire_namespace().display(),
        cast::WEB_PORT
    );
    println!("  tail -f {}", NODE.log().display());
}

fn require_root(task: &str) -> Result<()> {
    if !Uid::effective().is_root() {
        bail!("`cargo xtask {task}` makes namespaces and cgroups: run it as root");
    }
    Ok(())
}
