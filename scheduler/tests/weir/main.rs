//! The command `weir` as its users meet it, against the daemon as it is shipped: both are processes,
//! between them real QUIC and the certificates of `weir certs`.
//!
//! [`world`] makes certificates, starts the daemon and runs the command; [`agent`] plays agents, which
//! do what they are told and run nothing: a task `exit N` ends with N once its framework knows that it
//! runs, any other runs until it is killed.
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "the daemon and the command are tested as processes"
)]

mod agent;
#[path = "../ledger/make.rs"]
#[allow(
    dead_code,
    reason = "made for the tests of the ledger, which use all of it"
)]
mod make;
#[path = "../ledger/node.rs"]
#[allow(
    dead_code,
    reason = "made for the tests of the ledger, which use all of it"
)]
mod node;
mod world;

mod changes;
mod refusals;
mod running;
