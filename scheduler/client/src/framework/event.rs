//! What a framework hears.

use std::time::Duration;

use weir_protocol::{
    AgentId, AgentName, CallId, Failure, FrameworkId, Line, Note, Offer, OfferId, OperationId,
    OperationOutcome, RescindReason, TaskStatus,
};

use crate::error::ConversationError;

/// What a framework hears: from the scheduler, and about the connection to it.
#[derive(Clone, Debug)]
pub enum Event {
    /// It is subscribed, and calls can be made.
    Subscribed {
        /// Its id, to be stored.
        id: FrameworkId,
        /// What the scheduler is called.
        scheduler: Line,
        /// Whether this program was subscribed before: now is the time to reconcile.
        again: bool,
    },
    /// There is no connection. Every offer is gone; calls that were on their way may have arrived.
    Disconnected {
        /// Why.
        error: ConversationError,
        /// When the next attempt begins.
        retry_in: Duration,
    },
    /// The scheduler would not take the framework yet.
    NotYet {
        /// Why.
        failure: Failure,
        /// When the next attempt begins.
        retry_in: Duration,
    },
    /// Resources are lent to it.
    Offers(Vec<Offer>),
    /// An offer is no longer its own.
    Rescinded {
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
    /// A call was refused.
    Refused {
        /// The call.
        call: CallId,
        /// Why.
        failure: Failure,
    },
}
