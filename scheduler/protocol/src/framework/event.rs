//! What a framework is told.

use prost::Message;

use super::offer::Offer;
use super::operation::OperationOutcome;
use crate::bounds::{LIST_BYTES_MAX, OFFERS_MAX};
use crate::failure::CallError;
use crate::id::{AgentId, AgentName, FrameworkId, OfferId, OperationId};
use crate::pack::pack;
use crate::task::TaskStatus;
use crate::text::{Line, Note};
use crate::time::Millis;
use crate::wire;

/// What a framework is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameworkEvent {
    /// It is subscribed; every other event comes after this one.
    Subscribed {
        /// Its id, to be kept and given at the next SUBSCRIBE.
        id: FrameworkId,
        /// What the scheduler is called.
        scheduler: Line,
        /// Something arrives at least this often.
        heartbeat_interval: Millis,
    },
    /// Resources are lent to it.
    Offers(Vec<Offer>),
    /// An offer is no longer its own.
    Rescind {
        /// The offer.
        offer: OfferId,
        /// Why.
        reason: RescindReason,
    },
    /// A task has come to a state.
    Update(TaskStatus),
    /// The answer to an operation.
    Operation {
        /// The operation.
        id: OperationId,
        /// What came of it.
        outcome: OperationOutcome,
    },
    /// An agent is gone for good; each of its tasks has an update of its own.
    AgentLost {
        /// The agent.
        id: AgentId,
        /// Its name.
        name: AgentName,
        /// Why.
        reason: Note,
    },
    /// A call was refused, or the conversation ends.
    Error(CallError),
    /// Nothing else was to be said for a while.
    Heartbeat,
}

impl FrameworkEvent {
    /// Returns the name of the event in the schema and in Mesos.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Subscribed { .. } => "SUBSCRIBED",
            Self::Offers(_) => "OFFERS",
            Self::Rescind { .. } => "RESCIND",
            Self::Update(_) => "UPDATE",
            Self::Operation { .. } => "OPERATION",
            Self::AgentLost { .. } => "AGENT_LOST",
            Self::Error(_) => "ERROR",
            Self::Heartbeat => "HEARTBEAT",
        }
    }

    /// Returns the events that offer all of `offers`, each of which fits a frame.
    pub fn offers(offers: Vec<Offer>) -> Vec<Self> {
        let bytes = |offer: &Offer| wire::Offer::from(offer.clone()).encoded_len();
        let portions = pack(offers, OFFERS_MAX, LIST_BYTES_MAX, bytes);
        portions.into_iter().map(Self::Offers).collect()
    }
}

/// Why an offer ends otherwise than by its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RescindReason {
    /// The agent's connection broke.
    AgentDisconnected,
    /// The agent is gone for good.
    AgentRemoved,
    /// The agent takes nothing new.
    AgentDraining,
    /// Its time is over.
    Expired,
    /// The agent has other resources than it had.
    ResourcesChanged,
    /// The agent lends less.
    EstimateShrank,
    /// An operator took what is in it.
    Operator,
    /// The framework has subscribed again.
    Resubscribed,
    /// An ACCEPT that named it was refused.
    InvalidAccept,
}
