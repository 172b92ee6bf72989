//! The ledger against its rules: each rule of the protocol by name, and all of them by chance.
//!
//! Everything goes through the public border: inputs in, records and messages out.
#![forbid(unsafe_code)]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "tests pick what they look for out of what was said"
)]

mod make;
mod node;
mod world;

mod accepting;
mod agents;
mod bounds;
mod chance;
mod frameworks;
mod lending;
mod offers;
mod operators;
mod restarts;
mod tasks;
mod unattended;
mod waiting;
