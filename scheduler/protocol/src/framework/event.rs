//! What a framework is told.

use super::offer::Offer;
use super::operation::OperationOutcome;
use crate::failure::CallError;
use crate::id::{AgentId, AgentName, FrameworkId, OfferId, OperationId};
use crate::task::TaskStatus;
use crate::text::{Line, Note};
use crate::time::Millis;

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
