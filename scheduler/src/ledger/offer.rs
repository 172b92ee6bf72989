//! Offers: leases of what the allocator grants.
//!
//! 1. [`Ledger::offer`] makes offers of grants, and tells their holders.
//! 2. The holder accepts or declines, once; or
//! 3. the offer ends otherwise and is [rescinded](Ledger::rescind): its holder is told, whatever the
//!    reason, unless the holder itself is gone.
//!
//! An offer is looked up with whoever names it: an id of another's offer is as good as none.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use weir_protocol::{
    AgentId, CallId, ErrorCode, Filters, FrameworkEvent, FrameworkId, Millis, Offer, OfferId,
    RescindReason, UnixMs,
};

use super::input::SessionId;
use super::length::fit_one_frame;
use super::refusal::Refusal;
use super::state::Ledger;
use super::timers::Timer;
use crate::allocator::Grant;

/// How many ids are named in an error; the rest is a number.
const NAMED_MAX: usize = 16;

/// An offer with its holder.
#[derive(Clone, Debug)]
pub(super) struct HeldOffer {
    /// Offers that were made later have higher numbers.
    pub(super) number: u64,
    pub(super) offer: Offer,
    pub(super) framework: FrameworkId,
    pub(super) offered: UnixMs,
    pub(super) expires_at: Option<Duration>,
}

/// Says why offers cannot be used by whoever names them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OffersError {
    #[error("no offer is named")]
    None,
    #[error(
        "{offers} {} of this framework: used, declined, rescinded, or never made to it",
        are_none(offers)
    )]
    NotHeld { offers: OfferIds },
    #[error("offer {offer} is named twice")]
    Twice { offer: OfferId },
    #[error(
        "offer {first} is of agent {first_agent}, offer {second} of agent {second_agent}; one ACCEPT uses offers of one agent"
    )]
    Agents {
        first: OfferId,
        first_agent: AgentId,
        second: OfferId,
        second_agent: AgentId,
    },
}

/// Ids of offers, as they are named in an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OfferIds(pub(super) Vec<OfferId>);

fn are_none(ids: &OfferIds) -> &'static str {
    match ids.0.as_slice() {
        [_] => "is no offer",
        _ => "are no offers",
    }
}

impl fmt::Display for OfferIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, id) in self.0.iter().take(NAMED_MAX).enumerate() {
            let before = if index == 0 { "" } else { ", " };
            write!(f, "{before}{id}")?;
        }
        match self.0.len().saturating_sub(NAMED_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl Refusal for OffersError {
    fn code(&self) -> ErrorCode {
        ErrorCode::InvalidOffers
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::None | Self::Twice { .. } => "name each offer once, and at least one",
            Self::NotHeld { .. } => {
                "forget these offers and wait for new ones; every offer is used once, and RESCIND takes it back"
            }
            Self::Agents { .. } => "accept the offers of each agent in a call of its own",
        }
    }
}

impl Ledger {
    /// Makes offers of what was granted.
    pub(super) fn offer(&mut self, grants: Vec<Grant>) {
        let mut made: BTreeMap<FrameworkId, Vec<Offer>> = BTreeMap::new();
        for grant in grants {
            let framework = grant.framework;
            let offer = self.make_offer(grant);
            made.entry(framework).or_default().push(offer);
        }
        for (framework, offers) in made {
            if fit_one_frame(&offers) {
                self.tell_framework(framework, FrameworkEvent::Offers(offers));
                continue;
            }
            for event in FrameworkEvent::offers(offers) {
                self.tell_framework(framework, event);
            }
        }
    }

    fn make_offer(&mut self, grant: Grant) -> Offer {
        let Grant {
            framework,
            agent,
            kind,
            resources,
        } = grant;
        let id = self.ids.offer();
        let lender = self
            .agents
            .by_id
            .get_mut(&agent)
            .expect("the allocator has the agents of the ledger");
        lender.offers.insert(id);
        let offer = Offer {
            id,
            agent,
            agent_name: lender.info.name.clone(),
            hostname: lender.info.hostname.clone(),
            addresses: lender.info.addresses.clone(),
            attributes: lender.info.attributes.clone(),
            resources,
            kind,
            expires_after: self.settings.offer_timeout.map(millis),
            volume_sizes: lender.info.volume_sizes,
        };
        let holder = self.frameworks.by_id.get_mut(&framework);
        holder
            .expect("the allocator has the frameworks of the ledger")
            .offers
            .insert(id);
        let expires_at = self
            .settings
            .offer_timeout
            .map(|timeout| self.now.elapsed.saturating_add(timeout));
        if let Some(at) = expires_at {
            self.timers.set(at, Timer::OfferExpires(id));
        }
        let held = HeldOffer {
            number: self.next_number(),
            offer: offer.clone(),
            framework,
            offered: self.now.unix,
            expires_at,
        };
        self.offers.insert(id, held);
        offer
    }

    /// Returns the offer if it is the framework's.
    pub(super) fn offer_of(&self, framework: FrameworkId, offer: OfferId) -> Option<&HeldOffer> {
        self.offers
            .get(&offer)
            .filter(|held| held.framework == framework)
    }

    /// Ends an offer in the books. Its resources are still held by its holder.
    pub(super) fn end_offer(&mut self, id: OfferId) -> Option<HeldOffer> {
        let held = self.offers.remove(&id)?;
        if let Some(agent) = self.agents.by_id.get_mut(&held.offer.agent) {
            agent.offers.remove(&id);
        }
        if let Some(framework) = self.frameworks.by_id.get_mut(&held.framework) {
            framework.offers.remove(&id);
        }
        if let Some(at) = held.expires_at {
            self.timers.cancel(at, Timer::OfferExpires(id));
        }
        Some(held)
    }

    /// Ends an offer of which its holder need not be told, and frees what was in it.
    pub(super) fn withdraw(&mut self, id: OfferId) {
        if let Some(held) = self.end_offer(id) {
            self.allocator
                .recover(held.offer.agent, held.framework, &held.offer.resources)
                .expect("what is offered is held");
        }
    }

    /// Ends an offer otherwise than by its holder, who is told, and frees what was in it.
    pub(super) fn rescind(&mut self, id: OfferId, reason: RescindReason) {
        let Some(framework) = self.offers.get(&id).map(|held| held.framework) else {
            return;
        };
        self.withdraw(id);
        self.tell_framework(framework, FrameworkEvent::Rescind { offer: id, reason });
    }

    /// Rescinds every offer of an agent.
    pub(super) fn rescind_agent(&mut self, agent: AgentId, reason: RescindReason) {
        let offers = self.agents.by_id.get(&agent);
        let offers: Vec<OfferId> = offers
            .into_iter()
            .flat_map(|agent| agent.offers.iter().copied())
            .collect();
        for offer in offers {
            self.rescind(offer, reason);
        }
    }

    /// Takes back offers whose time is over. Others get what was in them first: their holder did
    /// nothing with it.
    pub(super) fn handle_offer_expired(&mut self, id: OfferId) {
        let Some(held) = self.end_offer(id) else {
            return;
        };
        let refused = Filters::default().refuse.into();
        self.allocator
            .decline(
                held.offer.agent,
                held.framework,
                &held.offer.resources,
                refused,
                self.now.elapsed,
            )
            .expect("what is offered is held");
        let reason = RescindReason::Expired;
        self.tell_framework(
            held.framework,
            FrameworkEvent::Rescind { offer: id, reason },
        );
    }

    /// Takes back what a framework does not want: those of the offers that are its own. The others are
    /// named in an error, and nothing happens to them.
    pub(super) fn handle_decline(
        &mut self,
        session: SessionId,
        call: CallId,
        framework: FrameworkId,
        offers: &[OfferId],
        filters: Filters,
    ) {
        let mut wrong = Vec::new();
        for id in offers {
            if self.offer_of(framework, *id).is_none() {
                wrong.push(*id);
                continue;
            }
            if let Some(held) = self.end_offer(*id) {
                self.allocator
                    .decline(
                        held.offer.agent,
                        framework,
                        &held.offer.resources,
                        filters.refuse.into(),
                        self.now.elapsed,
                    )
                    .expect("what is offered is held");
            }
        }
        let error = match (offers, wrong.as_slice()) {
            ([], _) => OffersError::None,
            (_, []) => return,
            _ => OffersError::NotHeld {
                offers: OfferIds(wrong),
            },
        };
        self.refuse_framework(session, call, error.failure());
    }
}

/// Returns the milliseconds of a duration, of which there are few enough.
fn millis(duration: Duration) -> Millis {
    Millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
