//! The command `weir` as its users meet it: a process, against a scheduler that is played by the test.
//!
//! The conversation is real: QUIC, certificates of `weir certs init`, messages of the protocol.
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "the command is tested as a process"
)]

mod certs;
mod operators;
mod running;
mod stage;
