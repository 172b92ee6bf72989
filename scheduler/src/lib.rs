//! The thin scheduler of Weir.
#![forbid(unsafe_code)]

pub mod allocator;
pub mod config;
pub mod daemon;
pub mod ledger;
pub mod session;
pub mod store;
pub mod telemetry;
