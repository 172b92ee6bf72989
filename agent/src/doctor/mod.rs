//! What this node can and cannot do: asked of the node itself, without the daemon.
//!
//! Every check says what is there, and if something is missing, what is lost without it. A node is
//! ready when nothing is [`Status::Missing`].

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

impl Check {
    /// Says that something is there.
    pub fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            name,
            status: Status::Ok,
            detail: detail.into(),
            lost: String::new(),
        }
    }

    /// Says that something is not there, and what follows.
    pub fn degraded(
        name: &'static str,
        detail: impl Into<String>,
        lost: impl Into<String>,
    ) -> Self {
        Self {
            name,
            status: Status::Degraded,
            detail: detail.into(),
            lost: lost.into(),
        }
    }

    /// Says that something is not there without which nothing goes.
    pub fn missing(name: &'static str, detail: impl Into<String>, lost: impl Into<String>) -> Self {
        Self {
            name,
            status: Status::Missing,
            detail: detail.into(),
            lost: lost.into(),
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
    checks.extend(network::checks(&config.network));
    Report::new(checks)
}
