//! How much there is: for metrics.

use std::collections::BTreeMap;

use weir_protocol::TaskState;

use super::agent::AgentPresence;
use super::framework::FrameworkPresence;
use super::state::Ledger;

/// How many agents were given up since the start, by who gave them up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemovedAgents {
    /// The scheduler: they were away for too long, and their tasks are lost.
    pub timed_out: u64,
    /// Their nodes registered as new agents.
    pub replaced: u64,
    /// Operators.
    pub by_operator: u64,
    /// They left, with nothing running.
    pub left: u64,
}

/// How much there is of everything that the ledger holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Agents that are connected.
    pub agents_connected: usize,
    /// Agents that are away.
    pub agents_away: usize,
    /// Agents that were away for too long and are not given up, because most are away.
    pub agents_spared: usize,
    /// Agents that were given up.
    pub agents_removed: RemovedAgents,
    /// Frameworks that are connected.
    pub frameworks_connected: usize,
    /// Frameworks that are away.
    pub frameworks_away: usize,
    /// Offers that nobody has answered yet.
    pub offers: usize,
    /// How often the allocator has looked for who is due what, since the start.
    pub rounds: u64,
    /// How often it has granted something, since the start.
    pub grants: u64,
    /// Tasks by where they are; those whose end is not acknowledged are among them.
    pub tasks: BTreeMap<TaskState, usize>,
    /// ACCEPTs and operators' changes that are not done yet.
    pub errands: usize,
    /// Messages that wait for records to be written.
    pub backlog: usize,
}

impl Ledger {
    /// Counts everything. It goes through agents, frameworks and tasks, so it is not for every step.
    pub fn census(&self) -> Census {
        let mut census = Census {
            offers: self.offers.len(),
            rounds: self.rounds,
            grants: self.grants,
            errands: self.errands.by_number.len(),
            backlog: self.backlog(),
            agents_spared: self.agents.spared.len(),
            agents_removed: self.removed,
            ..Census::default()
        };
        for agent in self.agents.by_id.values() {
            match agent.presence {
                AgentPresence::Connected(_) => census.agents_connected += 1,
                AgentPresence::Disconnected { .. } | AgentPresence::Recovered { .. } => {
                    census.agents_away += 1;
                }
            }
        }
        for framework in self.frameworks.by_id.values() {
            match framework.presence {
                FrameworkPresence::Connected { .. } => census.frameworks_connected += 1,
                FrameworkPresence::Away { .. } => census.frameworks_away += 1,
            }
        }
        for task in self.tasks.values() {
            *census.tasks.entry(task.latest).or_default() += 1;
        }
        census
    }
}
