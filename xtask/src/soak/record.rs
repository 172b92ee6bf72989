//! What came of a soak, in `ci/soak.md`.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::command::{command, read};
use crate::node::Node;
use crate::tree;

/// Where the last results are kept.
const FILE: &str = "ci/soak.md";

/// What happened so far.
pub(super) struct Record {
    seed: u64,
    begun: Instant,
    pub(super) steps: u64,
    pub(super) started: u64,
    pub(super) updated: u64,
    pub(super) killed: u64,
    pub(super) crashed: u64,
    pub(super) refused: u64,
    pub(super) answers: u64,
    pub(super) containers_most: usize,
    pub(super) agent_kib_first: u64,
    pub(super) agent_kib_last: u64,
    pub(super) failure: Option<String>,
}

impl Record {
    pub(super) fn begin(seed: u64) -> Self {
        Self {
            seed,
            begun: Instant::now(),
            steps: 0,
            started: 0,
            updated: 0,
            killed: 0,
            crashed: 0,
            refused: 0,
            answers: 0,
            containers_most: 0,
            agent_kib_first: 0,
            agent_kib_last: 0,
            failure: None,
        }
    }

    /// Writes the results over the last ones, and shows them.
    pub(super) fn write(&self) -> Result<()> {
        let kernel = read(command("uname").arg("-r"))?;
        let date = read(command("date").args(["--utc", "--iso-8601=minutes"]))?;
        let minutes = self.begun.elapsed().as_secs() / 60;
        let outcome = match &self.failure {
            None => "everything held".to_owned(),
            Some(failure) => format!("FAILED: {failure}"),
        };
        let text = format!(
            "# The last soak

Written by `cargo xtask soak`. Containers with Python's HTTP server come, change and go at random; the agent is killed with
-9 in between. After every step: exactly the expected containers run, no port has two owners, and every server answers from
the wire over IPv4 and IPv6. At the end the node is taken away.

| what | |
| --- | --- |
| outcome | {outcome} |
| begun to end | {minutes} minutes, until {date} |
| kernel | {kernel} |
| repeat | `cargo xtask soak --minutes {minutes} --seed {seed}` |
| steps | {steps} |
| containers started, updated, killed | {started}, {updated}, {killed} |
| most containers at once | {containers_most} |
| requests refused for want of ports | {refused} |
| agent killed and restarted | {crashed} |
| answers over the wire | {answers} |
| agent's memory, first and last | {first} KiB, {last} KiB |
",
            date = date.trim(),
            kernel = kernel.trim(),
            seed = self.seed,
            steps = self.steps,
            started = self.started,
            updated = self.updated,
            killed = self.killed,
            containers_most = self.containers_most,
            refused = self.refused,
            crashed = self.crashed,
            answers = self.answers,
            first = self.agent_kib_first,
            last = self.agent_kib_last,
        );
        print!("\n{text}");
        fs::write(tree::root().join(FILE), text).with_context(|| format!("cannot write {FILE}"))
    }
}

/// Copies the agent's log to where it outlives the node.
pub(super) fn keep_log(node: Node) -> Result<PathBuf> {
    let kept = tree::target().join("soak-agent.log");
    fs::copy(node.log(), &kept).with_context(|| format!("cannot keep {}", kept.display()))?;
    Ok(kept)
}
