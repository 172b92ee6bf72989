//! What came of a soak, in `ci/soak.md`.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::invariants::AgentUse;
use crate::command::{command, output, read};
use crate::node::Node;
use crate::tree;

/// Where the last results are kept.
const FILE: &str = "ci/soak.md";

/// What happened so far.
pub(super) struct Record {
    seed: u64,
    minutes: u64,
    begun: Instant,
    pub(super) steps: u64,
    pub(super) started: u64,
    pub(super) updated: u64,
    pub(super) killed: u64,
    pub(super) ran: u64,
    pub(super) binds_refused: usize,
    pub(super) forged: u64,
    pub(super) crashed: u64,
    pub(super) restarted: u64,
    pub(super) executors_crashed: u64,
    pub(super) refused: u64,
    pub(super) answers: u64,
    pub(super) containers_most: usize,
    pub(super) agent_first: AgentUse,
    pub(super) agent_last: AgentUse,
    pub(super) failure: Option<String>,
}

impl Record {
    pub(super) fn begin(seed: u64, minutes: u64) -> Self {
        Self {
            seed,
            minutes,
            begun: Instant::now(),
            steps: 0,
            started: 0,
            updated: 0,
            killed: 0,
            ran: 0,
            binds_refused: 0,
            forged: 0,
            crashed: 0,
            restarted: 0,
            executors_crashed: 0,
            refused: 0,
            answers: 0,
            containers_most: 0,
            agent_first: AgentUse::default(),
            agent_last: AgentUse::default(),
            failure: None,
        }
    }

    /// Returns how far it is.
    pub(super) fn line(&self) -> String {
        let Self {
            steps,
            started,
            killed,
            crashed,
            answers,
            ..
        } = self;
        let seconds = self.begun.elapsed().as_secs();
        format!(
            "{seconds:>5} s: {steps} steps, {started} containers started, {killed} killed, the agent killed {crashed} times, {answers} answers"
        )
    }

    /// Writes the results over the last ones, and shows them.
    pub(super) fn write(&self) -> Result<()> {
        let text = self.text()?;
        print!("\n{text}");
        fs::write(tree::root().join(FILE), text).with_context(|| format!("cannot write {FILE}"))
    }

    fn text(&self) -> Result<String> {
        let Self {
            seed,
            minutes,
            begun,
            steps,
            started,
            updated,
            killed,
            ran,
            binds_refused,
            forged,
            crashed,
            restarted,
            executors_crashed,
            refused,
            answers,
            containers_most,
            agent_first,
            agent_last,
            failure,
        } = self;
        let kernel = read(command("uname").arg("-r"))?;
        let date = read(command("date").args(["--utc", "--iso-8601=minutes"]))?;
        let commit = tree::revision();
        let seconds = begun.elapsed().as_secs();
        let outcome = match failure {
            None => "everything held".to_owned(),
            Some(failure) => format!("FAILED: {}", failure.replace('\n', " ")),
        };
        Ok(format!(
            "# The last soak

Written by `cargo xtask soak`. Servers in containers come, change and go at random, on a network of their own or the node's; the agent is
killed with -9, also in the middle of starting and killing a container, and so are executors; in the second half one agent lives on.
After every step:

- exactly the containers that should run do, and no port has two owners;
- every one answers from the wire over IPv4 and IPv6, and no process of the node can listen on its ports;
- there is no link, pin or cgroup of a container that has ended;
- no counter of a container has fallen.

Containers that try to listen on others' ports, or to send from them, are among the steps. At the end the containers are killed, and
the agent must have no more files open than when it was fresh. Then it is stopped: links, qdiscs, filters, pins, cgroups and settings
of the node must be what they were before the first agent.

| what | |
| --- | --- |
| outcome | {outcome} |
| how long | {seconds} s, until {date} |
| source, kernel | {commit}, {kernel} |
| repeat | `cargo xtask soak --minutes {minutes} --seed {seed}` |
| steps | {steps} |
| servers started, updated, killed | {started}, {updated}, {killed} |
| most containers at once | {containers_most} |
| commands run to their end | {ran} |
| agent killed, stopped | {crashed}, {restarted} |
| executors killed | {executors_crashed} |
| answers over the wire | {answers} |
| others' ports tried with bind, all refused | {binds_refused} |
| packets forged, all dropped and counted | {forged} |
| requests refused for want of ports | {refused} |
| second half: agent's memory (RSS, debug build), fresh and at the end | {memory_first} KiB, {memory_last} KiB |
| second half: agent's open files, fresh and at the end | {files_first}, {files_last} |
",
            date = date.trim(),
            commit = commit.trim(),
            kernel = kernel.trim(),
            memory_first = agent_first.memory_kib,
            memory_last = agent_last.memory_kib,
            files_first = agent_first.descriptors,
            files_last = agent_last.descriptors,
        ))
    }
}

/// Copies the agent's log to where it outlives the node, and beside it what the agent lists.
pub(super) fn keep_evidence(node: Node) -> Result<PathBuf> {
    let kept = tree::target().join("soak");
    fs::create_dir_all(&kept).with_context(|| format!("cannot create {}", kept.display()))?;
    let log = kept.join("agent.log");
    fs::copy(node.log(), &log).with_context(|| format!("cannot write {}", log.display()))?;
    // Whatever it says: that it says nothing is evidence, too.
    if let Ok(listed) = output(node.weir_agent("ps").args(["--all", "--json"])) {
        let list = kept.join("containers.json");
        fs::write(&list, listed.stdout)
            .with_context(|| format!("cannot write {}", list.display()))?;
    }
    Ok(kept)
}
