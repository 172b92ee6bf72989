//! What this node can and cannot do: asked of the node itself, without the daemon.
//!
//! Every check says what the thing is for and what was found, and if it is missing, what is lost
//! without it. A node is ready when nothing is [`Status::Missing`].

mod node;

use std::fmt;

use serde::Serialize;

use crate::config::Config;
use crate::network;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether the agent can run here.
    pub ready: bool,
    /// One by one.
    pub checks: Vec<Check>,
}

/// One thing that the agent needs or uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is needed.
    pub name: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// Whether it is there.
    pub status: Status,
    /// What was found.
    pub detail: String,
    /// What is lost without it, and what to do; empty where nothing is.
    pub lost: String,
}

/// Whether something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is.
    Ok,
    /// It is not, and the agent does without.
    Degraded,
    /// It is not, and the agent cannot run without.
    Missing,
}

/// Something to be looked for, before it is known what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    name: &'static str,
    purpose: &'static str,
}

impl Feature {
    /// Names a thing and says what it is for.
    pub const fn new(name: &'static str, purpose: &'static str) -> Self {
        Self { name, purpose }
    }

    /// Says that it is there.
    pub fn ok(self, detail: impl Into<String>) -> Check {
        self.found(Status::Ok, detail.into(), String::new())
    }

    /// Says that it is not there, and what follows.
    pub fn degraded(self, detail: impl Into<String>, lost: impl Into<String>) -> Check {
        self.found(Status::Degraded, detail.into(), lost.into())
    }

    /// Says that it is not there, and that nothing goes without.
    pub fn missing(self, detail: impl Into<String>, lost: impl Into<String>) -> Check {
        self.found(Status::Missing, detail.into(), lost.into())
    }

    fn found(self, status: Status, detail: String, lost: String) -> Check {
        let Self { name, purpose } = self;
        Check {
            name,
            purpose,
            status,
            detail,
            lost,
        }
    }
}

impl Report {
    /// Collects checks.
    pub fn new(checks: Vec<Check>) -> Self {
        Self {
            ready: checks.iter().all(|check| check.status != Status::Missing),
            checks,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Missing => "MISSING",
        })
    }
}

/// Returns what the daemon says at start: who else may use the ports of the pools.
pub(crate) fn of_shared_ports(config: &Config) -> Vec<Check> {
    let mut checks = vec![node::ports_in_use(config)];
    checks.extend(network::firewall_checks(&config.network));
    checks.retain(|check| check.status != Status::Ok);
    checks
}

/// Examines the node.
pub fn examine(config: &Config) -> Report {
    let mut checks = node::checks(config);
    checks.extend(network::checks(&config.network, &config.bandwidth));
    Report::new(checks)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks of how the node is set up, which are the same on every kernel.
    const OF_THE_NODE: &[&str] = &[
        "root",
        "kernel",
        "bpffs",
        "containers' cgroup",
        "executor",
        "state directory",
        "database",
        "port plan",
        "ports in use",
        "uplinks",
        "rate of the uplinks",
        "firewall",
        "translated ports",
        "Kubernetes NodePorts",
        "other programs on the uplinks",
    ];

    #[test]
    fn what_depends_on_the_kernel_is_in_the_table_of_features() {
        let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent-ebpf/ARCHITECTURE.md");
        let document = std::fs::read_to_string(document).unwrap();
        let (_, table) = document.split_once("checks of `doctor`").unwrap();
        let rows = table.lines().skip(2);
        let told: Vec<&str> = rows
            .take_while(|line| line.starts_with('|'))
            .filter_map(|row| row.split('|').nth(2))
            .flat_map(|cell| cell.trim().split(", "))
            .collect();
        for check in examine(&Config::default()).checks {
            assert!(
                told.contains(&check.name) != OF_THE_NODE.contains(&check.name),
                "`{}`: say in agent-ebpf/ARCHITECTURE.md since when kernels have it and what replaces it, or name it here",
                check.name
            );
        }
    }
}
