//! Rows as bytes: protobuf, of the messages of the wire and of a few of the database's own.
//!
//! Fields are added and never change their meaning, as on the wire; a change that this cannot express
//! is a migration of `schema.rs`. What is read is checked like what comes from a peer.

mod message;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub(super) use read::{
    agent, answer, ended_framework, errand, framework, removed_agent, task, weight,
};
pub(super) use write::encode;
