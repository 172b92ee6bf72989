//! The data plane in real network namespaces, with the real programs in the kernel.
//!
//! As root. `WEIR_TEST_ATTACH=clsact` runs all of it the way that kernels before 6.6 need.
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "these tests build networks with iproute2"
)]
#![allow(clippy::cast_possible_truncation, reason = "test data")]

mod adoption;
mod bandwidth;
mod bulk;
mod child;
mod cleanup;
mod drops;
mod fragments;
mod frames;
mod host_mode;
mod icmp;
mod lab;
mod log;
mod node_changes;
mod paths;
mod refusals;
mod statistics;
mod talk;
mod verdicts;
