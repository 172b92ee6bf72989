//! A long life of a node: containers come, change and go at random, agents and executors are killed
//! in between, and after every step what must be true is looked at.
//!
//! 1. A node of its own ([`crate::node`]), so that a soak can run beside anything else.
//! 2. Steps from a row of chance that can be repeated ([`step`]), for as long as one likes.
//! 3. After each: exactly the containers that should run do, no port has two owners, everybody
//!    answers, what is forbidden is refused, counters never fall, and nothing is there of what has
//!    ended ([`invariants`], [`remains`]).
//! 4. At the end every container is killed and the agent is told to stop: the node must be as it was.
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
use self::invariants::Expected;
use self::record::Record;
use self::remains::Remains;
use self::step::Step;
use crate::command::read;
use crate::interrupt::Interrupt;
use crate::node::{self, Node};
use crate::setup;

/// The node that is worn.
///
/// Small blocks, for four times the containers: else most starts would be refused for a block in
/// quarantine.
const NODE: Node = Node::named("weir-soak", "ephemeral_block = 256");

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
}

/// Runs the soak, records it, and fails if anything was not as it must be.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if !Uid::effective().is_root() {
        bail!("a soak makes namespaces and cgroups: run it as root");
    }
    setup::run_for_build()?;
    node::build()?;
    let seed = match arguments.seed {
        Some(seed) => seed,
        None => seed_of_now()?,
    };

    let interrupt = Interrupt::hold()?;
    let _claim = NODE.claim()?;
    let _safeguard = node::Safeguard(NODE);
    NODE.remove()
        .context("an earlier soak cannot be taken away")?;
    println!("Soaking for {} minutes, seed {seed}.", arguments.minutes);
    let mut record = Record::begin(seed);
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

fn soak(
    arguments: &Arguments,
    seed: u64,
    interrupt: &Interrupt,
    record: &mut Record,
) -> Result<()> {
    NODE.create_without_agent()?;
    let before = Remains::look(NODE)?;
    NODE.start_agent(interrupt)?;
    record.agent_first = invariants::agent_use(NODE)?;

    let end = Instant::now() + Duration::from_secs(arguments.minutes * 60);
    let mut report = Instant::now() + REPORT;
    let mut chance = Chance::new(seed);
    let mut expected = Expected::default();
    while Instant::now() < end {
        interrupt.check()?;
        let step = Step::choose(&mut chance, &expected);
        record.steps += 1;
        step.take(NODE, &mut chance, &mut expected, record, interrupt)
            .with_context(|| format!("in step {} ({step:?})", record.steps))?;
        expected
            .hold(NODE, record, interrupt)
            .with_context(|| format!("after step {} ({step:?})", record.steps))?;
        if Instant::now() > report {
            report += REPORT;
            println!("  {}", record.line());
        }
    }
    record.agent_last = invariants::agent_use(NODE)?;

    for name in expected.running() {
        read(NODE.weir_agent("kill").arg(name))?;
    }
    NODE.stop_agent()?;
    let after = Remains::look(NODE)?;
    if let Some(difference) = before.difference(&after) {
        bail!("the agent stopped without containers, and the node is not as it was: {difference}");
    }
    Ok(())
}

fn seed_of_now() -> Result<u64> {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock is before 1970")?;
    Ok(since_epoch.as_secs())
}
