//! The cluster: a scheduler on the wire, two nodes that lend to it, and an operator who uses them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::screen::heading;
use crate::command::{output, read};
use crate::interrupt::Interrupt;
use crate::node::{Membership, Node, Scheduler};
use crate::programs::program;

/// The scheduler of both nodes.
pub(super) const SCHEDULER: Scheduler = Scheduler::named("weir-demo-scheduler");

/// The node of the cast. Of its ports it lends those that nobody is started with by hand.
///
/// A port that is given back rests for five seconds and not for sixty: whoever tries the commands
/// gives the same ports back and forth.
pub(super) const NODE: Node = Node::named("weir-demo", "quarantine_ms = 5000").member(Membership {
    scheduler: SCHEDULER,
    agent: "n1",
    lend: "cpus:1;mem:512;disk:2048;ports:[31500-31599]",
    lend_idle: "",
    attributes: "rack:r1",
});

/// A second one on the same wire, which lends part of what it has twice.
pub(super) const SECOND: Node = Node::named("weir-demo-2", "quarantine_ms = 5000")
    .beside(NODE, 1)
    .member(Membership {
        scheduler: SCHEDULER,
        agent: "n2",
        lend: "cpus:2;mem:1024;disk:2048;ports:[31500-31599]",
        lend_idle: "cpus:2;mem:512",
        attributes: "rack:r2",
    });

/// The first port that the nodes lend, which the task that serves gets.
pub(super) const FIRST_PORT: u16 = 31500;

/// How long the cluster may take for what it does at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns whether anything of it is there.
pub(super) fn is_there() -> bool {
    NODE.is_there() || SECOND.is_there() || SCHEDULER.is_there()
}

/// Takes everything of it away, however much of it is there.
///
/// Goes on after a failure, so that what can go is gone, and then reports the first.
pub(super) fn remove() -> Result<()> {
    let steps = [
        SCHEDULER
            .remove(NODE)
            .context("cannot take the scheduler away"),
        SECOND.remove(),
        NODE.remove(),
    ];
    steps.into_iter().collect()
}

/// Starts the scheduler on the wire of the first node, which is there without its agent.
pub(super) fn start_scheduler(interrupt: &Interrupt) -> Result<()> {
    SCHEDULER.make_certificates(&[NODE, SECOND])?;
    SCHEDULER.start(NODE, interrupt)
}

/// Shows what an operator does with two nodes.
pub(super) fn show(interrupt: &Interrupt) -> Result<()> {
    heading("A second node joins; what both lend is the scheduler's to offer");
    SECOND.create(interrupt)?;
    await_agents(interrupt)?;
    command(&["agents"])?;

    heading("For role db: a part of n1, and a volume that outlives tasks");
    command(&[
        "reserve",
        "--agent",
        "n1",
        "--role",
        "db",
        "cpus:0.5;mem:128;disk:256",
    ])?;
    command(&[
        "volume", "create", "--agent", "n1", "--role", "db", "--size", "128", "pgdata",
    ])?;
    interrupt.check()?;

    heading("Two tasks of role db, one after the other: the second finds what the first wrote");
    for visitor in ["the first was here", "the second was here"] {
        let script = format!("echo {visitor} >> pgdata/visitors; cat pgdata/visitors");
        run(
            &["--role", "db", "--mem", "128", "--volume", "pgdata:pgdata"],
            &script,
        )?;
        interrupt.check()?;
    }
    let last = NODE.last_task()?;
    println!("  $ weir-agent logs {last}");
    for line in read(NODE.weir_agent("logs").arg(&last))?.lines() {
        println!("    {line}");
    }

    heading(
        "Three that go on: with more CPUs than n1 has, on what n2 lends twice, and on what is reserved",
    );
    let server = format!(
        "exec {} -m http.server --bind :: $WEIR_PORT0",
        program(SECOND, "python3")?
    );
    run(
        &[
            "--detach", "--name", "files", "--cpus", "1.5", "--ports", "1",
        ],
        &server,
    )?;
    run(
        &["--detach", "--name", "batch", "--revocable", "--cpus", "1"],
        "exec sleep 1d",
    )?;
    run(
        &[
            "--detach",
            "--name",
            "db",
            "--role",
            "db",
            "--volume",
            "pgdata:pgdata",
        ],
        "exec sleep 1d",
    )?;
    interrupt.check()?;

    heading("What the cluster does, and what is kept for whom");
    command(&["tasks"])?;
    command(&["reservations"])?;
    command(&["volume", "list"])
}

/// Waits until the scheduler knows both agents.
fn await_agents(interrupt: &Interrupt) -> Result<()> {
    let begun = Instant::now();
    loop {
        let listing = read(SCHEDULER.weir(NODE).args(["agents", "--json"]))?;
        let agents: Vec<Agent> = serde_json::from_str(&listing)
            .context("weir agents --json writes what is not expected")?;
        let mut registered = agents.iter().filter(|agent| agent.is_registered());
        if registered.by_ref().count() == 2 {
            println!(
                "  n1 and n2 are registered, {:.1} s after n2 began to be asked.",
                begun.elapsed().as_secs_f64()
            );
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            bail!(
                "after {} s not both agents are registered; see {} and {}",
                PATIENCE.as_secs(),
                NODE.log().display(),
                SECOND.log().display()
            );
        }
        interrupt.pause(Duration::from_millis(50))?;
    }
}

/// An agent as `weir agents --json` lists it, as far as it is looked at here.
#[derive(Debug, Deserialize)]
struct Agent {
    state: String,
}

impl Agent {
    fn is_registered(&self) -> bool {
        self.state == "connected"
    }
}

/// Shows `weir run` with a script.
fn run(options: &[&str], script: &str) -> Result<()> {
    let mut arguments = vec!["run"];
    arguments.extend_from_slice(options);
    arguments.extend_from_slice(&["--", "sh", "-c", script]);
    command(&arguments)
}

/// Shows a command of the operator's, and what it says.
fn command(arguments: &[&str]) -> Result<()> {
    let line = typed(arguments);
    println!("  $ weir {line}");
    let mut weir = SCHEDULER.weir(NODE);
    let output = output(weir.args(arguments))?;
    for said in [&output.stderr, &output.stdout] {
        for line in String::from_utf8_lossy(said).lines() {
            println!("    {line}");
        }
    }
    if !output.status.success() {
        bail!("`weir {line}` ended with {}", output.status);
    }
    Ok(())
}

/// Returns words as one would type them.
fn typed(words: &[&str]) -> String {
    let words = words.iter().map(|word| {
        if word.chars().any(|letter| " ;>$&|".contains(letter)) {
            format!("'{word}'")
        } else {
            (*word).to_owned()
        }
    });
    words.collect::<Vec<_>>().join(" ")
}
