//! Agents, as the ledger knows them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use weir_protocol::operator::AgentState;
use weir_protocol::{
    AgentId, AgentInfo, AgentName, BootId, Line, Note, OfferId, PortBlocks, ResourceSet, TaskKey,
    UnixMs,
};
use weir_resources::Resources;

use super::input::SessionId;
use super::record::{AgentRow, ErrandNumber, RemovedAgent, Standing};

/// An agent that is not removed.
#[derive(Clone, Debug)]
pub(super) struct Agent {
    pub(super) id: AgentId,
    pub(super) info: AgentInfo,
    pub(super) boot: BootId,
    pub(super) software: Line,
    pub(super) registered: UnixMs,
    pub(super) presence: AgentPresence,
    pub(super) standing: Standing,
    /// What the agent is the authority for.
    pub(super) checkpointed: ResourceSet,
    pub(super) port_blocks: PortBlocks,
    /// How many blocks it had when it registered, which is what is written down: they come and go with
    /// every task, and it says again how many there are when it registers.
    pub(super) port_blocks_registered: u32,
    pub(super) lent: Lent,
    /// All that there is: configured, reserved, made volumes, and lent.
    pub(super) total: Resources,
    pub(super) offers: BTreeSet<OfferId>,
    /// Of frameworks that have not ended: alive, or with an end that is not acknowledged.
    pub(super) tasks: BTreeSet<TaskKey>,
    /// What runs here and belongs to nobody any more.
    pub(super) strays: BTreeMap<TaskKey, Stray>,
    /// Errands whose first operation is for the agent to apply, in order. One is with the agent at a
    /// time: so each knows what the one before has made, and nobody's failure is another's.
    pub(super) errands: VecDeque<ErrandNumber>,
}

/// Whether an agent is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AgentPresence {
    Connected(SessionId),
    /// Its connection is gone.
    Disconnected {
        since: UnixMs,
        gone_at: Duration,
    },
    /// It was there before the scheduler started, and has not come back yet.
    Recovered {
        gone_at: Duration,
    },
}

/// What an agent lends of what is idle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Lent {
    /// Nothing.
    #[default]
    Nothing,
    /// As it has estimated.
    Estimated {
        version: u64,
        ends_at: Duration,
        resources: Resources,
    },
    /// Nothing, since the estimate of this version was not renewed in time.
    Stale { version: u64 },
}

/// A task that runs on an agent and belongs to nobody any more: its framework has ended, or the ledger
/// knows another of its name. It is to end, and holds what it holds until it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stray {
    pub(super) resources: Resources,
}

/// The agents, and those that were removed.
#[derive(Clone, Debug, Default)]
pub(super) struct Agents {
    pub(super) by_id: BTreeMap<AgentId, Agent>,
    pub(super) by_name: BTreeMap<AgentName, AgentId>,
    /// Those that were there before the scheduler started, and have not come back yet.
    pub(super) awaited: BTreeSet<AgentId>,
    /// Those that are away for too long, and are not given up because most are away.
    pub(super) spared: BTreeSet<AgentId>,
    pub(super) removed: BTreeMap<AgentId, RemovedAgent>,
    /// The ids of `removed`, the earliest first.
    pub(super) removed_order: VecDeque<AgentId>,
    /// The latest of `removed` of each name.
    removed_last: BTreeMap<AgentName, AgentId>,
}

impl Agent {
    /// Returns the session in which it is, if it is connected.
    pub(super) fn session(&self) -> Option<SessionId> {
        match self.presence {
            AgentPresence::Connected(session) => Some(session),
            AgentPresence::Disconnected { .. } | AgentPresence::Recovered { .. } => None,
        }
    }

    /// Returns when it is given up, unless it is connected.
    pub(super) fn gone_at(&self) -> Option<Duration> {
        match self.presence {
            AgentPresence::Connected(_) => None,
            AgentPresence::Disconnected { gone_at, .. } | AgentPresence::Recovered { gone_at } => {
                Some(gone_at)
            }
        }
    }

    /// Returns its state as operators see it.
    pub(super) fn state(&self) -> AgentState {
        match (self.presence, self.standing) {
            (AgentPresence::Connected(_), Standing::Open) => AgentState::Connected,
            (AgentPresence::Connected(_), Standing::Draining { .. }) => AgentState::Draining,
            (AgentPresence::Disconnected { .. }, _) => AgentState::Disconnected,
            (AgentPresence::Recovered { .. }, _) => AgentState::Recovered,
        }
    }

    /// Returns the agent as it is written down.
    pub(super) fn row(&self) -> AgentRow {
        AgentRow {
            id: self.id,
            info: self.info.clone(),
            boot: self.boot.clone(),
            software: self.software.clone(),
            registered: self.registered,
            checkpointed: self.checkpointed.clone(),
            port_blocks: self.port_blocks_registered,
            standing: self.standing,
        }
    }
}

impl Lent {
    /// Returns the version of the last estimate of this registration.
    pub(super) fn version(&self) -> Option<u64> {
        match self {
            Self::Nothing => None,
            Self::Estimated { version, .. } | Self::Stale { version } => Some(*version),
        }
    }

    /// Returns what is lent.
    pub(super) fn resources(&self) -> Resources {
        match self {
            Self::Nothing | Self::Stale { .. } => Resources::new(),
            Self::Estimated { resources, .. } => resources.clone(),
        }
    }
}

impl Agents {
    /// Returns the agent of a name.
    pub(super) fn named(&self, name: &AgentName) -> Option<&Agent> {
        self.by_id.get(self.by_name.get(name)?)
    }

    /// Remembers that an agent was removed; returns the one that is forgotten for it.
    pub(super) fn remember(&mut self, removed: RemovedAgent, most: usize) -> Option<AgentId> {
        let id = removed.id;
        self.removed_last.insert(removed.name.clone(), id);
        if self.removed.insert(id, removed).is_none() {
            self.removed_order.push_back(id);
        }
        if self.removed_order.len() <= most {
            return None;
        }
        let forgotten = self.removed_order.pop_front()?;
        if let Some(removed) = self.removed.remove(&forgotten)
            && self.removed_last.get(&removed.name) == Some(&forgotten)
        {
            self.removed_last.remove(&removed.name);
        }
        Some(forgotten)
    }

    /// Returns the agent of a name that was removed last, as far as it is remembered.
    pub(super) fn last_removed(&self, name: &AgentName) -> Option<&RemovedAgent> {
        self.removed.get(self.removed_last.get(name)?)
    }

    /// Returns why an agent was removed, if it was.
    pub(super) fn why_removed(&self, id: AgentId) -> Option<&Note> {
        self.removed.get(&id).map(|removed| &removed.why)
    }
}
