//! Real QUIC over loopback, with real certificates: who is taken, who is refused, and what both
//! sides say of it.
#![forbid(unsafe_code)]

mod foreign;
mod forge;
mod world;

mod authority;
mod certificates;
mod conversation;
mod credentials;
mod crowd;
mod handshake;
mod revocation;
mod rotation;
