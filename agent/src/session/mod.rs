//! The agent's side of the conversation with the scheduler.
//!
//! ```text
//!  scheduler ◀──frames──▶ shell ──Input──▶ AgentSession (pure) ──Output──▶ shell ─┬─▶ store
//!                           ▲                                                     ├─▶ containers
//!  estimator ───────────────┤                                                     └─▶ volumes
//!  containers (Listing) ────┘
//! ```
//!
//! [`AgentSession`] decides, and does nothing else: no I/O, no clock, no randomness of its own. What
//! it is told is an [`Input`], what it wants done an [`Output`]. The shell, one task, connects, reads
//! and writes frames, and carries the outputs out. So the same decisions can be made in a simulation
//! with any loss, delay and crash.
//!
//! The life of an agent, as the scheduler sees it:
//!
//! 1. It connects and registers with what it has: its resources, the set of reservations and volumes
//!    with its version, its tasks.
//! 2. Changes of the set come, one on top of the other. Each is written down, carried out if it takes
//!    directories, and answered; the same change again gets the same answer.
//! 3. Tasks come. Each is written down with the id of the container that it gets, then launched; the
//!    same task again is launched once.
//! 4. What becomes of a task is an update: written down, sent, and sent again until it is
//!    acknowledged; one of a task at a time, in order. With the last acknowledgement the task is over.
//! 5. The connection breaks: tasks go on, updates wait, the agent connects again, for as long as it
//!    takes.
//! 6. It is drained: its tasks end, their updates are acknowledged, it leaves. Or it is removed: its
//!    tasks end and are forgotten, and it registers as a new agent.
//!
//! Nothing follows from a decision before it is durable (`journal`), so a crash between any two steps
//! leaves what the next agent needs to go on.

mod changes;
mod connection;
mod endings;
mod figures;
mod input;
mod journal;
mod launches;
mod link;
mod machine;
mod metrics;
mod node;
mod order;
mod output;
mod remembered;
mod shell;
mod sources;
mod task;
mod updates;
mod verdict;

#[cfg(test)]
mod tests;

pub use figures::Figures;
pub use input::{ContainerState, Input, LaunchFailure, Now, VolumeFailure};
pub use machine::{AgentSession, Profile, RestoreError};
pub(crate) use metrics::FAMILIES;
pub use node::ProfileError;
pub use output::{HangUp, Output, VolumeName, VolumeOrder, WriteId};
pub use shell::{SessionError, SessionHandle, SessionReport, SessionSettings, SessionTask};
