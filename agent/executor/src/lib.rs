//! The contract between the agent and `weir-executor`, the small process that parents one container.
//!
//! The program itself is private to the binary; its life is told in `main.rs`. What the agent needs is here:
//!
//! - [`spec`]: what to run, and how; handed to the executor as descriptor 3.
//! - [`control`]: the few messages between the two until the task runs; descriptor 4.
//! - [`record`]: how the container ended; `exit.json` in the container's directory.
//! - [`grace`]: how long it has to end, if somebody says otherwise than its specification.
//! - [`spawn`]: starts an executor and speaks the agent's side of [`control`].
//!
//! The crate depends on `weir-sys` alone. The agent depends on it, never the other way round: an executor
//! must start, run and end without any agent.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod control;
pub mod grace;
pub mod record;
pub mod spawn;
pub mod spec;

#[cfg(test)]
mod near_miss;
