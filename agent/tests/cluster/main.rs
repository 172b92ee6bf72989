//! A whole cluster, as it is installed: scheduler, agents and the command `weir`, over QUIC with certificates, each node
//! made of network namespaces.
//!
//! As root. A test that finds a program missing which `cargo xtask setup` installs fails and says which.

#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "these tests start programs, as a user would"
)]
#![allow(
    dead_code,
    reason = "nodes and what is said to their agents are shared with the tests of the agent alone"
)]

#[path = "../agent/command.rs"]
mod command;
#[path = "../agent/node.rs"]
mod node;

mod certificates;
mod cluster;
mod leaving;
mod lending;
mod load;
mod monitoring;
mod partition;
mod prometheus;
mod rates;
mod restarts;
mod scraping;
mod tasks;
