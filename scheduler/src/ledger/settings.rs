//! What an operator can choose.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_protocol::Line;
use weir_resources::Role;

use crate::allocator::{self, Weight};

/// What an operator can choose of who holds what, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What the scheduler is called.
    pub scheduler: Line,
    /// How resources are handed out.
    pub allocator: allocator::Settings,
    /// Weights of roles for which no operator has set one.
    pub weights: BTreeMap<Role, Weight>,
    /// How long an offer stays, or `None` until it is used or rescinded, as in Mesos.
    pub offer_timeout: Option<Duration>,
    /// How often a framework hears something at least.
    pub heartbeat: Duration,
    /// How long an agent may be away before it is removed and its tasks are lost.
    ///
    /// A dead connection is noticed within ten seconds, at which its offers are rescinded and nothing
    /// else happens: its tasks go on, and are found again when it returns.
    pub agent_removal: Duration,
    /// How long agents have to come back after a start of the scheduler.
    ///
    /// Longer than [`Self::agent_removal`]: what was away is the scheduler, and all its agents come
    /// back at once.
    pub agent_return: Duration,
    /// How long frameworks have to come back after a start of the scheduler, if they have not asked for
    /// longer; and those that left their tasks alone when they have none left.
    pub framework_return: Duration,
    /// How much is remembered.
    pub bounds: Bounds,
}

/// How much the ledger remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The most agents: each costs memory while it is idle.
    pub agents: usize,
    /// The most frameworks that have not ended.
    pub frameworks: usize,
    /// How many answers to operations are remembered of each framework and operator, for those who ask
    /// again. A retry comes soon.
    pub answers: usize,
    /// How many ended tasks are remembered, to be listed.
    pub ended_tasks: usize,
    /// How many ended frameworks are remembered, so that none comes back.
    pub ended_frameworks: usize,
    /// How many removed agents are remembered, so that none comes back unnoticed.
    pub removed_agents: usize,
}

impl Settings {
    /// Returns the defaults for a scheduler of this name.
    pub fn new(scheduler: Line) -> Self {
        Self {
            scheduler,
            allocator: allocator::Settings::default(),
            weights: BTreeMap::new(),
            offer_timeout: None,
            // Mesos' heartbeat since 0.24.
            heartbeat: Duration::from_secs(15),
            // Mesos: `slave_ping_timeout` of 15 s, missed `max_slave_ping_timeouts` = 5 times.
            agent_removal: Duration::from_secs(75),
            // Mesos' `slave_reregister_timeout`.
            agent_return: Duration::from_secs(600),
            // Twice the longest that Mesos' driver waits between two attempts.
            framework_return: Duration::from_secs(120),
            bounds: Bounds::default(),
        }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            agents: 50_000,
            frameworks: 10_000,
            answers: 1_024,
            ended_tasks: 10_000,
            ended_frameworks: 10_000,
            removed_agents: 100_000,
        }
    }
}
