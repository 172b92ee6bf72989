//! The demonstration: real programs in containers that share one address and not their ports, and a cluster
//! that lends what is left.
//!
//! `up`, in order: build; a node of its own ([`crate::node`]); the cast of containers ([`cast`]);
//! what each one gets ([`table`]); what is refused ([`refusals`]); a scheduler, a second node, and tasks on
//! both ([`cluster`]); what to try next. It stays until Ctrl-C, or leaves everything running with `--detach`.
//! Whatever ends it in the middle, Ctrl-C or an error, all of it is taken away again; `down` does the same
//! from outside, and also after a `kill -9`, for everything has a fixed name.

mod cast;
mod cluster;
mod refusals;
mod screen;
mod table;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::unistd::Uid;

use self::screen::heading;
use crate::interrupt::Interrupt;
use crate::node::{self, Profile};
use crate::setup;

use self::cluster::{NODE, SCHEDULER, SECOND};

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
    node::build(Profile::Debug, &[node::AGENT, node::SCHEDULER].concat())?;

    let interrupt = Interrupt::hold()?;
    let _claim = NODE.claim()?;
    let _safeguard = node::Safeguard(cluster::remove);
    if cluster::is_there() {
        println!("An earlier demonstration is still there; taking it away first.");
        cluster::remove()?;
    }
    let shown = show(&interrupt);
    if shown.is_ok() && arguments.detach {
        println!("\nAll of it stays. Take it away with: cargo xtask down");
        return Ok(());
    }
    if shown.is_ok() {
        heading("All of it stays until Ctrl-C.");
        interrupt.wait_forever();
    }
    println!("\nTaking it away.");
    let removed = cluster::remove().context("something of it is left; run `cargo xtask down`");
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

/// Takes it away.
pub(crate) fn down() -> Result<()> {
    require_root("down")?;
    let was_there = cluster::is_there();
    // Also where nothing is seen: a node that was half made may hide.
    cluster::remove()?;
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
    NODE.create_without_agent()?;
    cluster::start_scheduler(interrupt)?;
    NODE.start_agent(interrupt)?;
    println!(
        "  weir-demo-wire {} ======== weir-demo-node {}, {}",
        NODE.wire_v4(),
        NODE.v4(),
        NODE.v6()
    );
    println!(
        "  weir-scheduler is ready on the wire and weir-agent in the node, {:.1} s after the first step.",
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

    cluster::show(interrupt)?;
    say_what_next();
    Ok(())
}

fn say_what_next() {
    heading("Scrape them; each listens on the loopback of its namespace");
    println!("  {}", NODE.curl_text("/metrics"));
    println!("  {}", SCHEDULER.curl_text(NODE, "/metrics"));
    println!("  /health says ok, the agents' /monitor/statistics.json what Mesos' agents say.");

    heading("Try next, in another terminal: the cluster");
    println!("  alias weir='{}'", SCHEDULER.weir_text(NODE));
    list(&[
        ("weir offers", "who is offered what"),
        (
            "weir run --ports 2 -- sh -c 'echo $WEIR_PORTS'",
            "a task, followed to its end",
        ),
        (
            "weir run --revocable --cpus 1 -- sleep 5",
            "on what is lent twice",
        ),
        (
            "weir run --cpus 64 --timeout 3s -- true",
            "nobody has as much",
        ),
        (
            "weir volume destroy --agent n1 --role db pgdata",
            "refused: a task uses it",
        ),
        ("weir drain n2", "and look at agents and tasks"),
    ]);

    heading("and the first node's own containers");
    println!("  alias weir-agent='{}'", NODE.weir_agent_text());
    list(&[
        ("weir-agent ps", "the containers"),
        ("weir-agent stats", "what they use"),
        ("weir-agent logs files --stderr", "what one wrote"),
        (
            "weir-agent exec --ports 3 -- sh -c 'echo $WEIR_PORTS'",
            "any three ports",
        ),
        ("weir-agent exec --ports 31000 -- true", "refused: web's"),
        (
            "weir-agent exec --user root -- sh -c 'ps ax; ip address'",
            "the world from inside",
        ),
        (
            "weir-agent update web --ports 31000,31300-31309",
            "others, while it runs",
        ),
        ("weir-agent kill bulk-client", "and look at stats"),
    ]);
    for (node, port) in [(NODE, cast::WEB_PORT), (SECOND, cluster::FIRST_PORT)] {
        println!(
            "  nsenter --net={} curl http://{}:{port}",
            NODE.wire_namespace().display(),
            node.v4(),
        );
    }
    for log in [SCHEDULER.log(), NODE.log(), SECOND.log()] {
        println!("  tail -f {}", log.display());
    }
}

fn list(commands: &[(&str, &str)]) {
    for (command, what) in commands {
        println!("  {command:<58}{what}");
    }
}

fn require_root(task: &str) -> Result<()> {
    if !Uid::effective().is_root() {
        bail!("`cargo xtask {task}` makes namespaces and cgroups: run it as root");
    }
    Ok(())
}
