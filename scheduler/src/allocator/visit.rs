//! Looking at agents, and granting what is free there.

use std::time::Duration;

use weir_protocol::AgentId;
use weir_resources::Kind;

use super::agent::{AgentStanding, Side};
use super::grant::Grant;
use super::kinds::KINDS;
use super::members::Members;
use super::parcel::Parcel;
use super::parties::Parties;
use super::refusals::Nanos;
use super::scalars::ScalarNames;
use super::settings::Least;
use super::state::{Allocator, nanos};

impl Allocator {
    /// Looks at no more than `agents_max` agents, and returns what is granted there.
    ///
    /// Call it after every event and at every [deadline](Self::next_deadline), and again for as long as
    /// it [is pending](Self::is_pending); between two calls other work can be done. `now` is the time
    /// since any origin, the same in all calls.
    pub fn poll_grants(&mut self, now: Duration, agents_max: usize) -> Vec<Grant> {
        let now = nanos(now);
        self.wake(now, agents_max);
        let mut grants = Vec::new();
        for _ in 0..agents_max {
            if self.visit_next(now, &mut grants).is_none() {
                break;
            }
        }
        grants
    }

    /// Looks at the next agent, adds what is granted there, and returns which it was.
    pub(super) fn visit_next(&mut self, now: Nanos, grants: &mut Vec<Grant>) -> Option<AgentId> {
        let agent = self.agenda.next()?;
        self.visit(agent, now, grants);
        Some(self.agents[agent].id)
    }

    /// Puts the agents that have filters to lapse on the agenda, as many as can be looked at.
    pub(super) fn wake(&mut self, now: Nanos, agents_max: usize) {
        for _ in 0..agents_max {
            let Some((agent, kind)) = self.agenda.first_due(now) else {
                break;
            };
            let timer = &mut self.agents[agent].sides[kind].timer;
            self.agenda.set_timer(agent, kind, timer, None);
            self.agenda.enqueue(agent);
        }
    }

    /// Grants what is free on one agent, until nobody wants the rest.
    fn visit(&mut self, number: u32, now: Nanos, grants: &mut Vec<Grant>) {
        let least = &self.settings.least;
        let agent = &mut self.agents[number];
        let mut has_stock = false;
        for kind in KINDS {
            let side = &mut agent.sides[kind];
            let parties = &mut self.parties;
            side.refusals.settle(now, parties.era(), |framework, era| {
                parties.has_forgotten(framework, era)
            });
            let deadline = side.refusals.earliest();
            self.agenda
                .set_timer(number, kind, &mut side.timer, deadline);
            match agent.standing {
                AgentStanding::Inactive => continue,
                AgentStanding::Active => {}
            }
            loop {
                self.candidates.clear();
                add_candidates(
                    &mut self.candidates,
                    side,
                    kind,
                    least,
                    parties,
                    &self.names,
                );
                let Some(framework) = parties.first(&self.candidates) else {
                    break;
                };
                let granted = grant(side, framework, parties, &self.names);
                grants.push(Grant {
                    framework: parties.id(framework),
                    agent: agent.id,
                    kind,
                    resources: granted.resources().clone(),
                });
            }
            has_stock |= side.lot.free().is_worth_a_look(least);
        }
        self.agenda.set_stocked(number, has_stock);
    }
}

/// Adds the frameworks that take part, may have something of what is free, and do not refuse it.
fn add_candidates(
    candidates: &mut Members,
    side: &mut Side,
    kind: Kind,
    least: &Least,
    parties: &Parties,
    names: &ScalarNames,
) {
    let wanting = parties.wanting(kind);
    let free = side.lot.free();
    if wanting.is_empty() || !free.is_worth_a_look(least) {
        return;
    }
    if free.unreserved().is_enough(least) {
        let refusers = side.refusals.refusers(free.unreserved().resources());
        candidates.add_difference(wanting, refusers);
    }
    // Frameworks of a role for which something is kept may have more, and be willing for that. Who
    // is willing without it is so with it.
    for (role, _) in free.reserved() {
        let Some(members) = parties.present_in(role) else {
            continue;
        };
        let available = free.available_to(role, names);
        let mut willing = wanting.clone();
        willing.intersect(members);
        willing.subtract(side.refusals.refusers(available.resources()));
        candidates.add(&willing);
    }
}

/// Gives a framework all that its role may have, and returns what that is.
fn grant(side: &mut Side, framework: u32, parties: &mut Parties, names: &ScalarNames) -> Parcel {
    let role = parties
        .role(framework)
        .expect("a candidate is a member of a role");
    let granted = side.lot.free().available_to(role, names);
    let is_new = side.lot.held_by(framework).is_none();
    side.lot.grant(framework, role, &granted, names);
    parties.hold(framework, &granted, 1);
    parties.count_lots(framework, |lots| lots + usize::from(is_new));
    granted
}
