//! The whole agent as it is installed: the daemon, the executor and the command line, on a node made
//! of network namespaces, with the programs in the kernel.
//!
//! As root. `WEIR_TEST_ATTACH=clsact` runs all of it the way that kernels before 6.6 need. A test
//! that finds a program missing which `cargo xtask setup` installs fails and says which.

#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "these tests start programs, as a user would"
)]
#![expect(
    clippy::print_stdout,
    reason = "a test that fails shows how far it came"
)]

mod adjustment;
mod clean;
mod cli;
mod command;
mod crash;
mod firewall;
mod isolation;
mod limits;
mod names;
mod node;
mod programs;
mod puppet;
mod rates;
mod refusals;
mod remains;
mod service;
mod statistics;
