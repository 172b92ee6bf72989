//! A long life of a node: containers come, change and go at random, the agent is killed in between,
//! and after every step what must be true is looked at.
//!
//! The node is one of its own ([`crate::node`]), so a soak can run beside anything else. The last
//! results are kept in `ci/soak.md`.

mod chance;
mod invariants;
mod record;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use nix::unistd::Uid;

use self::chance::Chance;
use self::invariants::Expected;
use self::record::Record;
use crate::command::output;
use crate::interrupt::Interrupt;
use crate::node::{self, Node};
use crate::setup;

/// The node that is worn.
///
/// Small blocks, for four times the containers: else most starts would be refused for a block in
/// quarantine.
const NODE: Node = Node::named("weir-soak", "ephemeral_block = 256");

/// The most containers at once: every one is asked after every step, so more are fewer steps.
const CONTAINERS_MAX: usize = 24;

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
    let _safeguard = node::Safeguard(NODE);
    NODE.remove()
        .context("an earlier soak cannot be taken away")?;
    println!("Soaking for {} minutes, seed {seed}.", arguments.minutes);
    let mut record = Record::begin(seed);
    let soaked = NODE
        .create(&interrupt)
        .and_then(|()| soak(arguments, seed, &interrupt, &mut record));
    if let Err(error) = &soaked {
        record.failure = Some(format!("{error:#}"));
        println!(
            "The agent's log is kept: {}",
            record::keep_log(NODE)?.display()
        );
    }
    let removed = NODE.remove().context("the node could not be taken away");
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
    let end = Instant::now() + Duration::from_secs(arguments.minutes * 60);
    let mut chance = Chance::new(seed);
    let mut expected = Expected::default();
    record.agent_kib_first = invariants::agent_memory_kib(NODE)?;
    while Instant::now() < end && !interrupt.came() {
        let step = Step::choose(&mut chance, &expected);
        record.steps += 1;
        take(&step, &mut chance, &mut expected, record, interrupt)
            .with_context(|| format!("in step {} ({step:?})", record.steps))?;
        expected
            .hold(NODE, record)
            .with_context(|| format!("after step {} ({step:?})", record.steps))?;
    }
    record.agent_kib_last = invariants::agent_memory_kib(NODE)?;
    Ok(())
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Start {
        name: String,
    },
    Update {
        name: String,
    },
    Kill {
        name: String,
    },
    /// The agent dies as in a crash and is started again.
    CrashAgent,
}

impl Step {
    fn choose(chance: &mut Chance, expected: &Expected) -> Self {
        let names: Vec<&String> = expected.running().collect();
        let some = |chance: &mut Chance| names[chance.below(names.len())].clone();
        match chance.below(20) {
            0 => Self::CrashAgent,
            1..=4 if !names.is_empty() => Self::Update { name: some(chance) },
            5..=11 if !names.is_empty() => Self::Kill { name: some(chance) },
            _ if names.len() >= CONTAINERS_MAX => Self::Kill { name: some(chance) },
            _ => Self::Start {
                name: expected.new_name(),
            },
        }
    }
}

fn take(
    step: &Step,
    chance: &mut Chance,
    expected: &mut Expected,
    record: &mut Record,
    interrupt: &Interrupt,
) -> Result<()> {
    match step {
        Step::Start { name } => {
            let count = (chance.below(8) + 1).to_string();
            let started = output(
                NODE.weir_agent("exec")
                    .args([
                        "--detach", "--name", name, "--ports", &count, "--user", "nobody",
                    ])
                    .args(["--", "sh", "-c"])
                    .arg("exec /usr/bin/python3 -m http.server $WEIR_PORT0 --bind ::"),
            )?;
            if started.status.success() {
                expected.started(name);
                record.started += 1;
            } else {
                refused(&started, record)?;
            }
        }
        Step::Update { name } => {
            // Never fewer: the port that the server listens on must stay.
            let count = (expected.ports_of(name) + chance.below(4)).to_string();
            let updated = output(NODE.weir_agent("update").args([name, "--ports", &count]))?;
            if updated.status.success() {
                record.updated += 1;
            } else {
                refused(&updated, record)?;
            }
        }
        Step::Kill { name } => {
            let mut kill = NODE.weir_agent("kill");
            if chance.below(2) == 0 {
                kill.args(["--signal", "KILL"]);
            }
            let killed = output(kill.arg(name))?;
            if !killed.status.success() {
                bail!(
                    "kill failed: {}",
                    String::from_utf8_lossy(&killed.stderr).trim()
                );
            }
            expected.killed(name);
            record.killed += 1;
        }
        Step::CrashAgent => {
            NODE.kill_agent()?;
            NODE.start_agent(interrupt)
                .context("after kill -9 of the agent")?;
            record.crashed += 1;
        }
    }
    Ok(())
}

/// Accepts a refusal, which has an exit code of its own; anything else is a failure.
fn refused(output: &std::process::Output, record: &mut Record) -> Result<()> {
    const REFUSED: i32 = 2;
    if output.status.code() != Some(REFUSED) {
        bail!(
            "weir-agent ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    record.refused += 1;
    Ok(())
}

fn seed_of_now() -> Result<u64> {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock is before 1970")?;
    Ok(since_epoch.as_secs())
}
