//! The allocator itself, and what can be asked of it.

use std::collections::HashMap;
use std::time::Duration;

use weir_protocol::{AgentId, FrameworkId};
use weir_resources::{Kind, Resources};

use super::agenda::Agenda;
use super::agent::Agent;
use super::kinds::KINDS;
use super::members::Members;
use super::parties::{Census, Parties};
use super::refusals::Nanos;
use super::scalars::ScalarNames;
use super::settings::Settings;
use super::slab::Slab;

/// Who gets what is free. See the [module](super).
#[derive(Clone, Debug)]
pub struct Allocator {
    pub(super) settings: Settings,
    pub(super) names: ScalarNames,
    pub(super) agents: Slab<Agent>,
    pub(super) agent_numbers: HashMap<AgentId, u32>,
    pub(super) parties: Parties,
    pub(super) agenda: Agenda,
    /// Memory for the candidates of one look: nothing is remembered in it.
    pub(super) candidates: Members,
}

impl Allocator {
    /// Returns an allocator of a cluster without agents and frameworks.
    ///
    /// `seed` decides at which agent a sweep over all of them begins, and nothing else.
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            settings,
            names: ScalarNames::new(),
            agents: Slab::new(),
            agent_numbers: HashMap::new(),
            parties: Parties::new(),
            agenda: Agenda::new(seed),
            candidates: Members::new(),
        }
    }

    /// Returns whether [`Self::poll_grants`] has something to look at now.
    pub fn is_pending(&self) -> bool {
        self.agenda.is_pending()
    }

    /// Returns when the next filter lapses, at which [`Self::poll_grants`] is to be called.
    ///
    /// Until then, and unless [`Self::is_pending`], it has nothing.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.agenda.next_deadline().map(Duration::from_nanos)
    }

    /// Returns what is free of a kind on an agent, or `None` if the agent is not there.
    pub fn free(&self, agent: AgentId, kind: Kind) -> Option<Resources> {
        let agent = &self.agents[*self.agent_numbers.get(&agent)?];
        Some(agent.sides[kind].lot.free().resources())
    }

    /// Returns what a framework holds of a kind on an agent.
    pub fn held(&self, agent: AgentId, framework: FrameworkId, kind: Kind) -> Resources {
        let lot = self.agent_numbers.get(&agent).map(|number| {
            let agent = &self.agents[*number];
            &agent.sides[kind].lot
        });
        let held = lot
            .zip(self.parties.number(framework))
            .and_then(|(lot, framework)| lot.held_by(framework));
        held.map(|parcel| parcel.resources().clone())
            .unwrap_or_default()
    }

    /// Asserts that what is written down twice is the same, and that nothing was lost and nothing made.
    ///
    /// It goes through everything: for tests, and for a doubt.
    ///
    /// # Panics
    ///
    /// If it is not so.
    pub fn assert_consistent(&self) {
        let mut census = Census::default();
        for (number, agent) in self.agents.iter() {
            assert_eq!(self.agent_numbers.get(&agent.id), Some(&number));
            for kind in KINDS {
                let side = &agent.sides[kind];
                side.lot.assert_consistent();
                census.add_lot(&side.lot);
                let is_timed = side.timer == side.refusals.earliest();
                assert!(
                    is_timed || self.agenda.is_waiting(number),
                    "agent {} is looked at when its first filter lapses",
                    agent.id,
                );
            }
        }
        assert_eq!(self.agent_numbers.len(), self.agents.iter().count());
        self.parties.assert_consistent(&census);
    }
}

/// Returns the nanoseconds of a point in time; what is later than can be counted is never.
pub(super) fn nanos(time: Duration) -> Nanos {
    // The end is after 584 years.
    Nanos::try_from(time.as_nanos()).unwrap_or(Nanos::MAX)
}
