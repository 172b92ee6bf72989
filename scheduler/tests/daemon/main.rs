//! The daemon as a process: real QUIC, real certificates, a real database.
//!
//! [`world`] makes certificates and starts the daemon, [`node`] is an agent that says what a test has it
//! say.
#![forbid(unsafe_code)]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "tests pick what they look for out of what was said"
)]

mod node;
mod world;

mod conversations;
mod failover;
mod refusals;
mod restarts;
mod scraping;
