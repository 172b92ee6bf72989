//! The conversation of a framework with the scheduler.
//!
//! 1. [`FrameworkCall::Subscribe`]; the answer is [`FrameworkEvent::Subscribed`] or an error.
//! 2. Offers come; each is accepted, declined or rescinded, once.
//! 3. Every operation of an ACCEPT is answered by [`FrameworkEvent::Operation`].
//! 4. Status updates come until they are acknowledged.
//! 5. The connection breaks: the framework has its failover timeout to subscribe again by its id.

mod call;
mod event;
mod info;
mod offer;
mod operation;
mod read;
mod write;

pub use call::{FrameworkCall, TaskQuery};
pub use event::{FrameworkEvent, RescindReason};
pub use info::{FrameworkCapability, FrameworkInfo};
pub use offer::{Filters, Offer};
pub use operation::{Action, Operation, OperationOutcome};

pub(crate) use read::notes;
