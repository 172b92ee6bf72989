//! The conversation of an operator with the scheduler: one answer for each call.

mod answer;
mod call;
mod entry;
mod read;
mod write;

pub use answer::{Answered, Listing, OperatorAnswer};
pub use call::{Cursor, OperatorCall, Page, Weight};
pub use entry::{
    AgentEntry, AgentState, FrameworkEntry, FrameworkState, Holder, OfferEntry, ReservationEntry,
    RoleEntry, TaskEntry, VolumeEntry,
};
