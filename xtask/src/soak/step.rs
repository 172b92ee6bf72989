//! What happens to the node: one thing at a time, chosen by chance.

use std::process::{Child, Output, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::chance::Chance;
use super::invariants::Expected;
use super::record::Record;
use crate::command::{output, read};
use crate::forgery;
use crate::interrupt::{Interrupt, Interrupted};
use crate::node::{Network, Node};
use crate::programs::{FILE_SERVER, INTRUDER, program};

/// The most containers at once: every one is asked after every step, so more are fewer steps.
const CONTAINERS_MAX: usize = 24;

/// `weir-agent`'s exit code for what cannot be had as things are.
const REFUSED: i32 = 2;

/// The longest that a command runs before the agent is killed under it: a start or an end takes
/// less, so each moment of it can be the one.
const UNDER_WAY_MS: usize = 80;

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A server is started.
    Start { name: String, network: Network },
    /// A server gets more ports.
    Update { name: String },
    /// A server is killed, gently or not.
    Kill { name: String },
    /// A command runs in a container and ends by itself.
    RunToEnd { name: String },
    /// A container tries to listen on the ports of this one.
    Intrude { on: String },
    /// A container sends as if from a port of this one.
    Forge { on: String },
    /// The supervisor of a container dies.
    CrashExecutor { of: String },
    /// The agent dies as in a crash and is started again.
    CrashAgent,
    /// The agent stops as in an upgrade and is started again.
    RestartAgent,
    /// The agent dies while a server is being started.
    CrashUnderStart { name: String },
    /// The agent dies while a server is being killed.
    CrashUnderKill { name: String },
}

/// Whether agents die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// They do, every few steps.
    Rough,
    /// One agent lives through all of it, and what it forgets to give back adds up.
    Calm,
}

impl Step {
    pub(super) fn choose(phase: Phase, chance: &mut Chance, expected: &Expected) -> Self {
        let names: Vec<&String> = expected.running().collect();
        let isolated: Vec<&String> = expected.isolated().collect();
        let some =
            |chance: &mut Chance, names: &[&String]| names[chance.below(names.len())].clone();
        let name = expected.new_name();
        let network = match chance.below(5) {
            0 => Network::Host,
            _ => Network::Isolated,
        };
        let many = names.len() >= CONTAINERS_MAX;
        let rough = phase == Phase::Rough;
        match chance.below(32) {
            0 if rough => Self::CrashAgent,
            1 if rough => Self::RestartAgent,
            2 if rough && !many => Self::CrashUnderStart { name },
            3 if rough && !names.is_empty() => Self::CrashUnderKill {
                name: some(chance, &names),
            },
            4 if !names.is_empty() => Self::CrashExecutor {
                of: some(chance, &names),
            },
            5 | 6 if !names.is_empty() => Self::Intrude {
                on: some(chance, &names),
            },
            7 if !isolated.is_empty() => Self::Forge {
                on: some(chance, &isolated),
            },
            8 => Self::RunToEnd { name },
            9..=13 if !names.is_empty() => Self::Update {
                name: some(chance, &names),
            },
            14..=19 if !names.is_empty() => Self::Kill {
                name: some(chance, &names),
            },
            _ if many => Self::Kill {
                name: some(chance, &names),
            },
            _ => Self::Start { name, network },
        }
    }

    pub(super) fn take(
        &self,
        node: Node,
        chance: &mut Chance,
        expected: &mut Expected,
        record: &mut Record,
        interrupt: &Interrupt,
    ) -> Result<()> {
        match self {
            Self::Start { name, network } => {
                expected.name_is_used();
                let started = output(&mut server(node, chance, name, *network)?)?;
                if started.status.success() {
                    expected.started(name, *network);
                    record.started += 1;
                } else {
                    refused(&started, record)?;
                }
            }
            Self::Update { name } => {
                // Named and not counted: the port that the server listens on must stay.
                let ports = expected.ports_and_more(name, chance);
                let updated = output(node.weir_agent("update").args([name, "--ports", &ports]))?;
                if updated.status.success() {
                    record.updated += 1;
                } else {
                    refused(&updated, record)?;
                }
            }
            Self::Kill { name } => {
                read(&mut killing(node, chance, name))?;
                expected.ended(name);
                record.killed += 1;
            }
            Self::RunToEnd { name } => {
                expected.name_is_used();
                let code = chance.below(100);
                let script = format!("exit {code}");
                let ran = output(
                    node.weir_agent("exec")
                        .args(["--name", name, "--", "sh", "-c", &script]),
                )?;
                // A task may well end with the code that also says "refused".
                let is_its_code = ran.status.code() == i32::try_from(code).ok();
                if !is_its_code || (code == 2 && !ran.stderr.is_empty()) {
                    refused(&ran, record)?;
                }
                record.ran += 1;
            }
            Self::Intrude { on } => {
                let name = expected.new_name();
                expected.name_is_used();
                let ports = expected.ports(on);
                let tried = output(
                    node.weir_agent("exec")
                        .args(["--name", &name, "--ports", "1"])
                        .args(["--", &program(node, "python3")?, "-c", INTRUDER])
                        .args(ports.iter().map(u16::to_string)),
                )?;
                if tried.status.success() {
                    record.binds_refused += ports.len();
                } else {
                    refused(&tried, record)?;
                }
            }
            Self::Forge { on } => {
                let name = expected.new_name();
                expected.name_is_used();
                let ports = expected.ports(on);
                let port = *ports.first().context("a server owns a port")?;
                record.forged += forgery::attempt(node, interrupt, &name, port)?.dropped;
            }
            Self::CrashExecutor { of } => {
                let container = node
                    .containers()?
                    .into_iter()
                    .find(|container| container.name == *of)
                    .with_context(|| format!("{of} is not listed"))?;
                let executor = container
                    .executor()
                    .with_context(|| format!("{of} has no executor"))?;
                kill(Pid::from_raw(executor), Signal::SIGKILL)
                    .with_context(|| format!("cannot kill executor {executor}"))?;
                expected.ended(of);
                record.executors_crashed += 1;
            }
            Self::CrashAgent => {
                node.kill_agent()?;
                record.crashed += 1;
                node.start_agent(interrupt)
                    .context("after kill -9 of the agent")?;
            }
            Self::RestartAgent => {
                node.stop_agent()?;
                record.restarted += 1;
                node.start_agent(interrupt)
                    .context("after a stop of the agent")?;
            }
            Self::CrashUnderStart { name } => {
                expected.name_is_used();
                let command = server(node, chance, name, Network::Isolated)?;
                let ended = crash_under(node, command, chance, record, interrupt)?;
                let runs = settled(node, interrupt, name)?;
                if ended.status.success() && !runs {
                    bail!("{name} was said to run, and is lost");
                }
                if runs {
                    expected.started(name, Network::Isolated);
                    record.started += 1;
                }
            }
            Self::CrashUnderKill { name } => {
                let command = killing(node, chance, name);
                let ended = crash_under(node, command, chance, record, interrupt)?;
                if !ended.status.success() {
                    // It may not have been told; and it may be gone by now, which is a refusal.
                    let again = output(node.weir_agent("kill").arg(name))?;
                    if !again.status.success() && again.status.code() != Some(REFUSED) {
                        bail!("kill failed twice: {}", complaint(&again));
                    }
                }
                expected.ended(name);
                record.killed += 1;
            }
        }
        Ok(())
    }
}

/// Returns whether `error` says no more than that somebody ended the soak.
pub(super) fn is_interrupted(error: &anyhow::Error) -> bool {
    error.root_cause().is::<Interrupted>()
}

fn server(
    node: Node,
    chance: &mut Chance,
    name: &str,
    network: Network,
) -> Result<std::process::Command> {
    let count = (chance.below(8) + 1).to_string();
    let mut command = node.weir_agent("exec");
    command
        .args(["--detach", "--name", name, "--ports", &count])
        .args(["--network", network.word()])
        .args(["--", &program(node, "python3")?, "-c", FILE_SERVER]);
    Ok(command)
}

fn killing(node: Node, chance: &mut Chance, name: &str) -> std::process::Command {
    let signal = ["TERM", "KILL"][chance.below(2)];
    let mut command = node.weir_agent("kill");
    command.args(["--signal", signal, name]);
    command
}

/// Kills the agent some moment after `command` was begun, starts it again, and returns how the
/// command ended.
fn crash_under(
    node: Node,
    mut command: std::process::Command,
    chance: &mut Chance,
    record: &mut Record,
    interrupt: &Interrupt,
) -> Result<Output> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run weir-agent")?;
    // Not a wait for anything: the moment is what is being chosen.
    thread::sleep(Duration::from_millis(
        u64::try_from(chance.below(UNDER_WAY_MS)).expect("it is below a hundred"),
    ));
    let killed = node.kill_agent();
    let ended = Child::wait_with_output(child).context("cannot wait for weir-agent")?;
    killed?;
    record.crashed += 1;
    node.start_agent(interrupt)
        .context("after kill -9 of the agent in the middle of something")?;
    Ok(ended)
}

/// Waits until it is known what became of `name`, and returns whether it runs.
fn settled(node: Node, interrupt: &Interrupt, name: &str) -> Result<bool> {
    loop {
        let listed = node.containers()?;
        match listed.iter().find(|container| container.name == name) {
            None => return Ok(false),
            Some(container) if container.is_running() => return Ok(true),
            Some(_undecided) => interrupt.pause(Duration::from_millis(20))?,
        }
    }
}

/// Accepts a refusal, which has an exit code of its own; anything else is a failure.
fn refused(output: &Output, record: &mut Record) -> Result<()> {
    if output.status.code() != Some(REFUSED) {
        bail!(
            "weir-agent ended with {}: {}",
            output.status,
            complaint(output)
        );
    }
    record.refused += 1;
    Ok(())
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}
