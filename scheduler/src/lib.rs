//! The thin scheduler of Weir.
#![forbid(unsafe_code)]

pub mod allocator;
pub mod config;
pub mod ledger;
