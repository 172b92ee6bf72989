//! Tasks: what is to run, and what became of it.
//!
//! - [`TaskSpec`] and what it is made of: a [`Command`], resources, a [`NetworkMode`].
//! - [`TaskStatus`]: a [`TaskState`] with who says so ([`Source`]) and why ([`Reason`]).

mod command;
mod read;
mod spec;
mod state;
mod status;
mod write;

pub use command::{Argv, Command, CommandError, Environment, Run, Shell, WorkingDirectory};
pub use spec::{Ceilings, KILL_GRACE_DEFAULT, NetworkMode, TaskSpec};
pub use state::{Reason, Source, TaskState};
pub use status::{Exit, TaskStatus};

pub(crate) use read::{duration, timestamp};
