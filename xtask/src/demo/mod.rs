//! The demonstration: real programs in containers that share one address and not their ports.
//!
//! `up`, in order: build; a node of its own ([`crate::node`]); the cast of containers ([`cast`]);
//! a table of what each one gets; the two things that are refused ([`refusals`]); what to try next.
//! It stays until Ctrl-C, or leaves the node running with `--detach`. Whatever ends it in the
//! middle, Ctrl-C or an error, the node is taken away again; `down` does the same from outside, and
//! also after a `kill -9`, for everything of the node has a fixed name.

mod cast;
mod refusals;
mod table;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::unistd::Uid;

use crate::interrupt::Interrupt;
use crate::node::{self, Node};
use crate::setup;

/// The node that is shown.
const NODE: Node = Node::named("weir-demo", "");

/// How long the table is shown: time enough to see each rate change once.
const SHOWN: Duration = Duration::from_secs(12);

/// How often a line of the table is measured.
const TICK: Duration = Duration::from_secs(2);

/// How the demonstration is started.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Leave the node running; `cargo xtask down` takes it away
    #[arg(long)]
    detach: bool,
}

/// Whether the show is over by itself or somebody does not want to see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Shown,
    Interrupted,
}

/// Shows it, and takes it away unless it shall stay.
pub(crate) fn up(arguments: &Arguments) -> Result<()> {
    require_root("up")?;
    setup::run_for_build()?;
    node::build()?;

    let interrupt = Interrupt::hold()?;
    let _safeguard = node::Safeguard(NODE);
    if NODE.is_there() {
        println!("A demonstration node is there already; taking it away first.");
        NODE.remove()?;
    }
    let shown = show(&interrupt);
    match shown {
        Ok(Ending::Shown) if arguments.detach => {
            println!("\nThe node stays. Take it away with: cargo xtask down");
            return Ok(());
        }
        Ok(Ending::Shown) => {
            println!("\nThe node stays until Ctrl-C.");
            interrupt.wait_forever();
        }
        Ok(Ending::Interrupted) | Err(_) => {}
    }
    println!("\nTaking the node away.");
    // The show's own failure is the first to be told; what remains can be taken away once more.
    let removed = NODE
        .remove()
        .context("something of the node is left; run `cargo xtask down`");
    shown.and(removed)
}

/// Takes the node away.
pub(crate) fn down() -> Result<()> {
    require_root("down")?;
    if !NODE.is_there() {
        println!("There is no demonstration node.");
    }
    // Also then: what it takes away by name it does not believe to be gone.
    NODE.remove()
}

fn show(interrupt: &Interrupt) -> Result<Ending> {
    println!("Making a node in network namespaces of its own.");
    NODE.create()?;
    println!("weir-agent runs and is healthy.\n");

    cast::start(NODE)?;
    let neighbour = cast::Neighbour::start(NODE)?;
    if table::show(NODE, interrupt, SHOWN, TICK)? == Ending::Interrupted {
        return Ok(Ending::Interrupted);
    }
    let answers = neighbour.stop()?;
    println!("\nThe wire got {answers} answers from nginx and Python meanwhile.\n");

    refusals::bind(NODE)?;
    if interrupt.came() {
        return Ok(Ending::Interrupted);
    }
    refusals::spoof(NODE)?;
    if interrupt.came() {
        return Ok(Ending::Interrupted);
    }
    say_what_next();
    Ok(Ending::Shown)
}

fn say_what_next() {
    println!("Scrape it (the address is inside the node's namespace):");
    for path in ["/metrics", "/monitor/statistics.json", "/health"] {
        println!("  {}", NODE.curl_text(path));
    }
    println!("\nTry next:");
    println!("  alias weir='{}'", NODE.weir_agent_text());
    println!(
        "  nsenter --net={} curl http://{}:{}/",
        NODE.wire_namespace().display(),
        node::NODE_V4,
        cast::WEB_PORT
    );
}

fn require_root(task: &str) -> Result<()> {
    if !Uid::effective().is_root() {
        bail!("`cargo xtask {task}` makes namespaces and cgroups: run it as root");
    }
    Ok(())
}
