//! What an operator is answered.

use super::call::Cursor;
use super::entry::{
    AgentEntry, FrameworkEntry, OfferEntry, ReservationEntry, RoleEntry, TaskEntry, VolumeEntry,
};
use crate::failure::Failure;
use crate::id::CallId;
use crate::text::Note;

/// An answer with the call that it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The call, or `None` for a failure that is about no call.
    pub call: Option<CallId>,
    /// The answer.
    pub answer: OperatorAnswer,
}

/// What an operator is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorAnswer {
    /// It is done, and written down.
    Done {
        /// What to know about it.
        notes: Vec<Note>,
    },
    /// It is not done.
    Failed(Failure),
    /// To LIST_AGENTS.
    Agents(Listing<AgentEntry>),
    /// To LIST_OFFERS.
    Offers(Listing<OfferEntry>),
    /// To LIST_ROLES.
    Roles(Listing<RoleEntry>),
    /// To LIST_FRAMEWORKS.
    Frameworks(Listing<FrameworkEntry>),
    /// To LIST_TASKS.
    Tasks(Listing<TaskEntry>),
    /// To LIST_RESERVATIONS.
    Reservations(Listing<ReservationEntry>),
    /// To LIST_VOLUMES.
    Volumes(Listing<VolumeEntry>),
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// Where to go on, or `None` when this is the end.
    pub next: Option<Cursor>,
}
