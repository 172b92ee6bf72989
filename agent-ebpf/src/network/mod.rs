//! The network data plane, one file per hook; what they share is in `maps`, `packet`, `verdict`,
//! `echo`, `fragment`, `next_hop` and `memory`.

mod bind;
mod container_out;
mod echo;
mod fragment;
mod host;
mod lane;
mod maps;
mod memory;
mod next_hop;
mod node_loopback;
mod packet;
mod peer;
mod pure_ack;
mod tcp_watch;
mod uplink_in;
mod verdict;
