//! What happens to what frameworks hold.

use std::time::Duration;

use weir_protocol::{AgentId, FrameworkId};
use weir_resources::{Kind, Resources};

use super::agent::{Side, of_kind};
use super::error::{AgentError, HoldingError};
use super::kinds::{KINDS, PerKind};
use super::lot::Lot;
use super::parcel::Parcel;
use super::parties::Standing;
use super::state::{Allocator, nanos};

/// What to take back of one lot: what is returned, and what its holder keeps.
struct Return {
    kind: Kind,
    returned: Parcel,
    kept: Parcel,
}

impl Allocator {
    /// Takes back what a framework holds no longer: its task has ended, its offer was rescinded.
    ///
    /// It is free, and offered at once, to the same framework as to others.
    pub fn recover(
        &mut self,
        agent: AgentId,
        framework: FrameworkId,
        resources: &Resources,
    ) -> Result<(), HoldingError> {
        self.take_back(agent, framework, resources)?;
        Ok(())
    }

    /// Takes back what a framework does not want: it has declined an offer, or accepted a part of it.
    ///
    /// It is free for others at once. This framework is not offered it, or any part of it, before
    /// `refused_for` has passed since `now`; or [`Settings::refusal_min`](super::Settings) if that is
    /// longer.
    pub fn decline(
        &mut self,
        agent: AgentId,
        framework: FrameworkId,
        resources: &Resources,
        refused_for: Duration,
        now: Duration,
    ) -> Result<(), HoldingError> {
        let returns = self.take_back(agent, framework, resources)?;
        let refused_for = refused_for.max(self.settings.refusal_min);
        let deadline = nanos(now.saturating_add(refused_for));
        let (Ok(number), Some(framework)) =
            (self.agent_number(agent), self.parties.member(framework))
        else {
            return Ok(());
        };
        match self.parties.standing(framework) {
            Some(Standing::Active | Standing::Suppressed) => {}
            // It disconnected, and what it had refused was forgotten.
            Some(Standing::Inactive) | None => return Ok(()),
        }
        let parties = &self.parties;
        for Return { kind, returned, .. } in &returns {
            let Side { refusals, .. } = &mut self.agents[number].sides[*kind];
            refusals.settle(nanos(now), parties.era(), |framework, era| {
                parties.has_forgotten(framework, era)
            });
            // The timer follows when the agent is looked at, which it now is to be.
            refusals.add(framework, returned.resources(), deadline, parties.era());
        }
        Ok(())
    }

    /// Writes down that a framework holds resources of an agent that it was not granted: what its
    /// tasks turn out to have when the agent is back.
    ///
    /// They need not be free, or part of the agent's total.
    pub fn claim(
        &mut self,
        agent: AgentId,
        framework: FrameworkId,
        resources: &Resources,
    ) -> Result<(), HoldingError> {
        self.change_held(
            agent,
            framework,
            &Resources::default(),
            resources,
            |total| Ok(total.clone()),
        )
    }

    /// Makes other resources of what a framework holds, and of the agent's total: RESERVE, UNRESERVE,
    /// CREATE and DESTROY, and back if the agent could not do it.
    ///
    /// To do the same with what is free, [update](Self::update_agent) the agent's total.
    pub fn convert(
        &mut self,
        agent: AgentId,
        framework: FrameworkId,
        taken: &Resources,
        given: &Resources,
    ) -> Result<(), HoldingError> {
        self.change_held(agent, framework, taken, given, |total| {
            let rest = total
                .checked_sub(taken)
                .map_err(|source| HoldingError::NotThere {
                    agent,
                    framework,
                    source,
                })?;
            rest.checked_add(given)
                .map_err(|source| HoldingError::Together {
                    agent,
                    framework,
                    source,
                })
        })
    }

    /// Gives an agent the total that `total` makes of its total, and a framework `given` for `taken`.
    fn change_held(
        &mut self,
        agent: AgentId,
        framework: FrameworkId,
        taken: &Resources,
        given: &Resources,
        total: impl FnOnce(&Resources) -> Result<Resources, HoldingError>,
    ) -> Result<(), HoldingError> {
        let number = self.holding_agent(agent)?;
        self.admit(agent, given)?;
        let stranger = self.parties.number_or_stranger(framework);
        let changed = self.try_change_held(number, stranger, taken, given, total, framework);
        self.parties.drop_if_gone(stranger);
        changed
    }

    fn try_change_held(
        &mut self,
        number: u32,
        framework: u32,
        taken: &Resources,
        given: &Resources,
        total: impl FnOnce(&Resources) -> Result<Resources, HoldingError>,
        id: FrameworkId,
    ) -> Result<(), HoldingError> {
        let agent = self.agents[number].id;
        let sides = &self.agents[number].sides;
        let before = KINDS.map(|kind| {
            sides[kind]
                .lot
                .held_by(framework)
                .cloned()
                .unwrap_or_default()
        });
        let both = |one: &Resources, other: &Resources| {
            one.checked_add(other)
                .map_err(|source| HoldingError::Together {
                    agent,
                    framework: id,
                    source,
                })
        };
        let total = total(&both(
            sides[Kind::Regular].lot.total(),
            sides[Kind::Revocable].lot.total(),
        )?)?;
        let kept = both(before[0].resources(), before[1].resources())?
            .checked_sub(taken)
            .map_err(|source| HoldingError::NotHeld {
                agent,
                framework: id,
                source,
            })?;
        let held = both(&kept, given)?;
        let after = KINDS.map(|kind| Parcel::new(of_kind(&held, kind), &self.names));
        let lot = |kind, held: &Parcel| -> Result<Lot, HoldingError> {
            sides[kind]
                .lot
                .with_held(of_kind(&total, kind), framework, held.clone(), &self.names)
                .map_err(|uncountable| self.uncountable(agent, uncountable).into())
        };
        let lots = PerKind::new(
            lot(Kind::Regular, &after[0])?,
            lot(Kind::Revocable, &after[1])?,
        );
        self.replace_lots(number, lots)?;
        for (before, after) in before.iter().zip(&after) {
            self.parties.release(framework, before);
            self.parties.hold(framework, after, 0);
            let (was_held, is_held) = (!before.is_empty(), !after.is_empty());
            self.parties.count_lots(framework, |lots| {
                lots + usize::from(is_held) - usize::from(was_held)
            });
        }
        Ok(())
    }

    /// Frees what a framework holds, or returns what of it is not held and changes nothing.
    fn take_back(
        &mut self,
        agent: AgentId,
        framework: FrameworkId,
        resources: &Resources,
    ) -> Result<Vec<Return>, HoldingError> {
        let number = self.holding_agent(agent)?;
        let holder = self.parties.number(framework);
        let mut returns = Vec::with_capacity(1);
        for kind in KINDS {
            let part = of_kind(resources, kind);
            if part.is_empty() {
                continue;
            }
            let lot = &self.agents[number].sides[kind].lot;
            let (returned, kept) =
                lot.split_held(holder, &part, &self.names)
                    .map_err(|source| HoldingError::NotHeld {
                        agent,
                        framework,
                        source,
                    })?;
            returns.push(Return {
                kind,
                returned,
                kept,
            });
        }
        let Some(holder) = holder else {
            return Ok(returns);
        };
        for Return {
            kind,
            returned,
            kept,
        } in &returns
        {
            let lot = &mut self.agents[number].sides[*kind].lot;
            let before = lot.counted().clone();
            lot.take_back(holder, returned, kept.clone(), &self.names);
            if *lot.counted() != before {
                let cluster = self.parties.cluster_mut();
                cluster.subtract(&before);
                cluster.add(lot.counted());
            }
            self.parties.release(holder, returned);
            if kept.is_empty() {
                self.parties.count_lots(holder, |lots| lots - 1);
            }
        }
        self.parties.drop_if_gone(holder);
        self.agenda.enqueue(number);
        Ok(returns)
    }

    fn holding_agent(&self, agent: AgentId) -> Result<u32, HoldingError> {
        self.agent_number(agent).map_err(|error| match error {
            AgentError::Unknown { agent } => HoldingError::UnknownAgent { agent },
            AgentError::Known { .. }
            | AgentError::TooManyNames { .. }
            | AgentError::Uncountable { .. }
            | AgentError::Held { .. } => error.into(),
        })
    }
}
