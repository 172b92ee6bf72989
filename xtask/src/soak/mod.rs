//! A long life of a node: containers come, change and go at random, agents and executors are killed
//! in between, and after every step what must be true is looked at.
//!
//! 1. A node of its own ([`crate::node`]), so that a soak can run beside anything else.
//! 2. Steps from a row of chance that can be repeated ([`step`]), for as long as one likes.
//! 3. After each: exactly the containers that should run do, no port has two owners, everybody
//!    answers, what is forbidden is refused, counters never fall, and nothing is there of what has
//!    ended ([`invariants`], [`remains`]).
//! 4. In the first half agents die. Then all containers are killed and a fresh agent lives through
//!    the second half, after which it must have no more files open than before.
//! 5. It is told to stop, without containers: the node must be as it was before the first agent.
//!
//! What came of it is kept in `ci/soak.md` ([`record`]).

mod chance;
mod invariants;
mod record;
mod remains;
mod step;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use nix::unistd::Uid;

use self::chance::Chance;
use self::invariants::{AgentUse, Expected};
use self::record::Record;
use self::remains::Remains;
use self::step::{Phase, Step};
use crate::command;
use crate::interrupt::Interrupt;
use crate::node::{self, Node, Profile};
use crate::setup;

/// The node that is worn.
///
/// Small blocks, for sixteen times the containers: at four starts a second, each with a minute of
/// quarantine behind it, there is always one free.
const NODE: Node = Node::named("weir-soak", "ephemeral_block = 64");

/// How often one line says how far it is.
const REPORT: Duration = Duration::from_secs(15);

/// How long the soak lasts, and from which chance it is made.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How long
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Repeat the steps of an earlier soak; taken from the clock if not given
    #[arg(long)]
    seed: Option<u64>,

    /// Instead of a node, run so many seeds of the simulated cluster
    #[arg(long, conflicts_with_all = ["minutes", "seed"])]
    seeds: Option<u64>,
}

/// Runs the soak, records it, and fails if anything was not as it must be.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if let Some(seeds) = arguments.seeds {
        return simulate(seeds);
    }
    if !Uid::effective().is_root() {
        bail!("a soak makes namespaces and cgroups: run it as root");
    }
    setup::run_for_build()?;
    node::build(Profile::Debug, node::AGENT)?;
    let seed = match arguments.seed {
        Some(seed) => seed,
        None => seed_of_now()?,
    };

    let interrupt = Interrupt::hold()?;
    let _claim = NODE.claim()?;
    let _safeguard = node::Safeguard(|| NODE.remove());
    NODE.remove()
        .context("an earlier soak cannot be taken away")?;
    println!("Soaking for {} minutes, seed {seed}.", arguments.minutes);
    let mut record = Record::begin(seed, arguments.minutes);
    let mut soaked = soak(arguments, seed, &interrupt, &mut record);
    if interrupt.came() && soaked.as_ref().is_err_and(step::is_interrupted) {
        println!("Interrupted: what was seen until now counts.");
        soaked = Ok(());
    }
    if let Err(error) = &soaked {
        record.failure = Some(format!("{error:#}"));
        println!("FAILED: {error:#}");
        println!("Kept: {}", record::keep_evidence(NODE)?.display());
    }
    let removed = NODE.remove();
    if let Err(error) = &removed {
        record.failure.get_or_insert_with(|| format!("{error:#}"));
    }
    record.write()?;
    soaked.and(removed)
}

/// Runs seeds of the simulation; one that fails says how to see it again.
fn simulate(seeds: u64) -> Result<()> {
    setup::run_for_build()?;
    command::run(
        command::cargo()
            .args(["test", "--package", "weir-simulation", "--test", "seeds"])
            .args(["--", "the_laws_hold_in_all_seeds"])
            .env("WEIR_SIM_SEEDS", format!("0..{seeds}")),
    )
}

fn soak(
    arguments: &Arguments,
    seed: u64,
    interrupt: &Interrupt,
    record: &mut Record,
) -> Result<()> {
    NODE.create_without_agent()?;
    let before = Remains::look(NODE)?;
    NODE.start_agent(interrupt)?;

    let half = Duration::from_secs(arguments.minutes * 30);
    let mut chance = Chance::new(seed);
    let mut expected = Expected::default();
    live(
        Phase::Rough,
        half,
        &mut chance,
        &mut expected,
        record,
        interrupt,
    )?;

    expected.kill_all(NODE)?;
    NODE.stop_agent()?;
    NODE.start_agent(interrupt)?;
    record.agent_first = AgentUse::of(NODE)?;
    live(
        Phase::Calm,
        half,
        &mut chance,
        &mut expected,
        record,
        interrupt,
    )?;
    expected.kill_all(NODE)?;
    expected.hold(NODE, record, interrupt)?;
    record.agent_last = AgentUse::of(NODE)?;
    record.agent_first.holds(record.agent_last)?;

    NODE.stop_agent()?;
    let after = Remains::look(NODE)?;
    if let Some(difference) = before.difference(&after) {
        bail!("the agent stopped without containers, and the node is not as it was: {difference}");
    }
    Ok(())
}

fn live(
    phase: Phase,
    time: Duration,
    chance: &mut Chance,
    expected: &mut Expected,
    record: &mut Record,
    interrupt: &Interrupt,
) -> Result<()> {
    let end = Instant::now() + time;
    let mut report = Instant::now() + REPORT;
    while Instant::now() < end {
        interrupt.check()?;
        let step = Step::choose(phase, chance, expected);
        record.steps += 1;
        step.take(NODE, chance, expected, record, interrupt)
            .with_context(|| format!("in step {} ({step:?})", record.steps))?;
        expected
            .hold(NODE, record, interrupt)
            .with_context(|| format!("after step {} ({step:?})", record.steps))?;
        if Instant::now() > report {
            report += REPORT;
            println!("  {}", record.line());
        }
    }
    Ok(())
}

fn seed_of_now() -> Result<u64> {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock is before 1970")?;
    Ok(since_epoch.as_secs())
}
