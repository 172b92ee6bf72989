//! The node agent of Weir: runs containers that share the node's addresses, keeps them apart and
//! measures them.
//!
//! In reading order:
//!
//! - [`config`]: what the operator decides.
//! - [`cli`]: what people type; [`daemon`]: the life of the process that serves it.
//! - [`local`]: the socket between the two.
//! - [`container`]: containers, from what was asked for to how they ended.
//! - [`network`]: the data plane: who gets which packet.
//! - [`ports`]: who owns which ports, as a plan of numbers.
//! - [`session`]: the conversation with the scheduler; [`capacity`], [`estimate`]: what the node lends.
//! - `credentials`: what the agent shows of itself, and whom it believes.
//! - [`store`]: what survives a crash.
//! - [`volume`]: the directories of persistent volumes.
//! - [`telemetry`]: what is measured, and how it is served.
//! - [`doctor`]: what this node can and cannot do.

#![forbid(unsafe_code)]

pub mod capacity;
pub mod cli;
pub mod config;
pub mod container;
mod credentials;
pub mod daemon;
pub mod doctor;
pub mod estimate;
pub mod local;
pub mod network;
pub mod ports;
pub mod session;
pub mod store;
pub mod telemetry;
pub mod volume;

#[cfg(test)]
mod near_miss;
