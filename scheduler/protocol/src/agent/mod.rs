//! The conversation of an agent with the scheduler.
//!
//! 1. [`AgentCall::Register`], and [`AgentCall::Tasks`] until all tasks are named; the answer is
//!    [`AgentEvent::Registered`] or [`AgentEvent::RegistrationRefused`].
//! 2. Changes, launches and kills come; changes are answered by [`AgentCall::OperationStatus`],
//!    tasks by [`AgentCall::StatusUpdate`], which come again until they are acknowledged.
//! 3. Estimates and free blocks are sent when they change.
//! 4. The connection breaks: tasks go on, and the agent registers again with what it has.

mod call;
mod event;
mod info;
mod read;
mod registration;
mod task;
mod write;

pub use call::{AgentCall, ApplyOutcome, Registration};
pub use event::{AgentEvent, Launch};
pub use info::AgentInfo;
pub use registration::{
    RegistrationError, RegistrationReader, RegistrationStep, registration_calls,
};
pub use task::{AgentTask, TaskOwner};

pub(crate) use read::{set_version, status_of, task_key};
