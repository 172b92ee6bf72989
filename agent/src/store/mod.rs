//! What must survive the agent: one SQLite file in the state directory.
//!
//! ```text
//!   container task --(StoreHandle: bounded queue)--> writer thread --> agent.db (WAL, FULL)
//! ```
//!
//! One thread owns the connection. It takes whatever waits in its queue, makes one transaction of
//! it, and answers each caller after the commit: callers that come together share one flush of the
//! disk. What is answered is durable.
//!
//! 1. [`open`] checks the file, brings its tables up to date and asserts that commits are flushed.
//! 2. [`StoreHandle::load`] gives everything back, once, before anything is written.
//! 3. Each later change is one call of the handle.
//! 4. When the last handle is gone the thread finishes its queue and closes the file.

mod error;
mod row;
mod schema;
mod session;
mod writer;

#[cfg(test)]
mod tests;

pub use error::StoreError;
pub use row::{ContainerRow, ExecutorIdentity, Phase, Stored};
pub use session::{
    ANSWERS_MAX, BegunChange, Ending, FINISHED_MAX, Progress, SessionChange, SessionStored,
    TaskPhase, TaskRow,
};
pub use writer::{StoreHandle, StoreThread, examine, open};
