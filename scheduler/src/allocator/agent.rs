//! What happens to agents.

use std::collections::BTreeMap;

use weir_protocol::{AgentId, FrameworkId};
use weir_resources::{Kind, Resources};

use super::error::AgentError;
use super::kinds::{KINDS, PerKind};
use super::lot::Lot;
use super::parcel::Parcel;
use super::refusals::{Nanos, Refusals};
use super::scalars::{Amounts, Uncountable};
use super::state::Allocator;

/// Whether the resources of an agent are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AgentStanding {
    /// They are.
    Active,
    /// They are not: the agent is not connected, drains, or was taken out.
    ///
    /// It counts in the totals of the cluster all the same, so that a lost connection changes nobody's
    /// share.
    Inactive,
}

/// An agent and its resources.
#[derive(Clone, Debug)]
pub(super) struct Agent {
    pub(super) id: AgentId,
    pub(super) standing: AgentStanding,
    pub(super) sides: PerKind<Side>,
}

/// One kind of resources of an agent, and who does not want them.
#[derive(Clone, Debug)]
pub(super) struct Side {
    pub(super) lot: Lot,
    pub(super) refusals: Refusals,
    /// When it is to be looked at.
    pub(super) timer: Option<Nanos>,
}

impl Allocator {
    /// Adds an agent, with what frameworks hold there already.
    ///
    /// They may hold what is not in the total, and need not be known. Call it again after a restart for
    /// every agent, in any order with the frameworks, and everything but filters is as it was.
    pub fn add_agent(
        &mut self,
        agent: AgentId,
        total: &Resources,
        held: &[(FrameworkId, Resources)],
        standing: AgentStanding,
    ) -> Result<(), AgentError> {
        if self.agent_numbers.contains_key(&agent) {
            return Err(AgentError::Known { agent });
        }
        let mut by_framework: BTreeMap<FrameworkId, Resources> = BTreeMap::new();
        for (framework, resources) in held {
            let own = by_framework.entry(*framework).or_default();
            *own = own
                .checked_add(resources)
                .map_err(|source| AgentError::Held {
                    agent,
                    framework: *framework,
                    source,
                })?;
        }
        self.admit(agent, total)?;
        for resources in by_framework.values() {
            self.admit(agent, resources)?;
        }
        let by_number: BTreeMap<u32, Resources> = by_framework
            .into_iter()
            .map(|(framework, resources)| (self.parties.number_or_stranger(framework), resources))
            .collect();
        let added = self.try_add(agent, total, &by_number, standing);
        for framework in by_number.into_keys() {
            self.parties.drop_if_gone(framework);
        }
        added
    }

    fn try_add(
        &mut self,
        agent: AgentId,
        total: &Resources,
        held: &BTreeMap<u32, Resources>,
        standing: AgentStanding,
    ) -> Result<(), AgentError> {
        let side = |kind| -> Result<Side, Uncountable> {
            let held = held.iter().filter_map(|(framework, resources)| {
                let parcel = Parcel::new(of_kind(resources, kind), &self.names);
                (!parcel.is_empty()).then_some((*framework, parcel))
            });
            Ok(Side {
                lot: Lot::new(of_kind(total, kind), held.collect(), &self.names)?,
                refusals: Refusals::new(),
                timer: None,
            })
        };
        let sides = side(Kind::Regular)
            .and_then(|regular| Ok(PerKind::new(regular, side(Kind::Revocable)?)))
            .and_then(|sides| {
                let more = counted(
                    sides[Kind::Regular].lot.counted(),
                    sides[Kind::Revocable].lot.counted(),
                )?;
                self.parties.cluster().check(&Amounts::default(), &more)?;
                Ok(sides)
            })
            .map_err(|uncountable| self.uncountable(agent, uncountable))?;
        for kind in KINDS {
            let lot = &sides[kind].lot;
            self.parties.cluster_mut().add(lot.counted());
            for (framework, parcel) in lot.held() {
                // As in Mesos: what it has on an agent is one allocation.
                self.parties.hold(framework, parcel, 1);
                self.parties.count_lots(framework, |lots| lots + 1);
            }
        }
        let number = self.agents.insert(Agent {
            id: agent,
            standing,
            sides,
        });
        self.agent_numbers.insert(agent, number);
        self.agenda.enqueue(number);
        Ok(())
    }

    /// Changes what an agent has in total; frameworks go on to hold what they hold.
    ///
    /// What becomes free is offered at once. If less is there than is held, nothing is free until
    /// enough was recovered.
    pub fn update_agent(&mut self, agent: AgentId, total: &Resources) -> Result<(), AgentError> {
        let number = self.agent_number(agent)?;
        self.admit(agent, total)?;
        let lot = |kind| {
            let lot = &self.agents[number].sides[kind].lot;
            lot.with_total(of_kind(total, kind), &self.names)
        };
        let lots = lot(Kind::Regular)
            .and_then(|regular| Ok(PerKind::new(regular, lot(Kind::Revocable)?)))
            .map_err(|uncountable| self.uncountable(agent, uncountable))?;
        self.replace_lots(number, lots)
    }

    /// Removes an agent and all that is held there; nothing of it is to be recovered.
    pub fn remove_agent(&mut self, agent: AgentId) -> Result<(), AgentError> {
        let number = self.agent_number(agent)?;
        self.agent_numbers.remove(&agent);
        let Some(mut gone) = self.agents.remove(number) else {
            return Err(AgentError::Unknown { agent });
        };
        for kind in KINDS {
            let Side { lot, timer, .. } = &mut gone.sides[kind];
            self.agenda.set_timer(number, kind, timer, None);
            for (framework, parcel) in lot.held() {
                self.parties.release(framework, parcel);
                self.parties.count_lots(framework, |lots| lots - 1);
                self.parties.drop_if_gone(framework);
            }
            self.parties.cluster_mut().subtract(lot.counted());
        }
        self.agenda.remove(number);
        Ok(())
    }

    /// Has the resources of an agent offered, or not any more. Filters stay.
    pub fn set_agent_standing(
        &mut self,
        agent: AgentId,
        standing: AgentStanding,
    ) -> Result<(), AgentError> {
        let number = self.agent_number(agent)?;
        self.agents[number].standing = standing;
        self.agenda.enqueue(number);
        Ok(())
    }

    /// Gives every scalar a number.
    pub(super) fn admit(
        &mut self,
        agent: AgentId,
        resources: &Resources,
    ) -> Result<(), AgentError> {
        self.names
            .admit(resources)
            .map_err(|name| AgentError::TooManyNames {
                agent,
                name: name.clone(),
            })
    }

    /// Puts other lots in the place of an agent's, or says what there would be too much of.
    ///
    /// The same frameworks hold the same in both.
    pub(super) fn replace_lots(
        &mut self,
        number: u32,
        lots: PerKind<Lot>,
    ) -> Result<(), AgentError> {
        let agent = &self.agents[number];
        let sum = |lots: [&Lot; 2]| counted(lots[0].counted(), lots[1].counted());
        let check = || {
            let before = sum(KINDS.map(|kind| &agent.sides[kind].lot))?;
            let after = sum(KINDS.map(|kind| &lots[kind]))?;
            self.parties.cluster().check(&before, &after)
        };
        check().map_err(|uncountable| self.uncountable(agent.id, uncountable))?;
        for (kind, lot) in lots.into_each() {
            let side = &mut self.agents[number].sides[kind];
            let cluster = self.parties.cluster_mut();
            cluster.subtract(side.lot.counted());
            cluster.add(lot.counted());
            side.lot = lot;
        }
        self.agenda.enqueue(number);
        Ok(())
    }

    pub(super) fn agent_number(&self, agent: AgentId) -> Result<u32, AgentError> {
        let number = self.agent_numbers.get(&agent).copied();
        number.ok_or(AgentError::Unknown { agent })
    }

    pub(super) fn uncountable(
        &self,
        agent: AgentId,
        Uncountable(scalar): Uncountable,
    ) -> AgentError {
        AgentError::Uncountable {
            agent,
            name: self.names.name(scalar).clone(),
        }
    }
}

/// Adds up what there is of both kinds.
fn counted(regular: &Amounts, revocable: &Amounts) -> Result<Amounts, Uncountable> {
    let mut sum = regular.clone();
    sum.checked_add(revocable)?;
    Ok(sum)
}

/// Returns the resources of one kind.
pub(super) fn of_kind(resources: &Resources, kind: Kind) -> Resources {
    match kind {
        Kind::Regular => resources.regular(),
        Kind::Revocable => resources.revocable(),
    }
}
