//! How containers are held to their rates.
//!
//! ```text
//!   container                       │ node
//!   sockets ─► container_tx ─► HTB ─┼─► container_out ─┬─► HTB of the uplink ─► wire
//!              sorts      ceiling   │    class of its  ├─► neighbour
//!                                   │    container     └─► node
//!   eth0 ◄──────────────────────────┼── HTB ◄─ container_rx ◄── wire, neighbour, node
//!                                   │  ceiling   sorts
//! ```
//!
//! 1. What a container sends is sorted on its own link, into packets that go first and packets that wait (`weir_abi::Lane`), and
//!    waits there for its ceiling: for the wire, for neighbours and for the node together, and with the socket behind it, which stops.
//! 2. What goes to the wire waits there for its container's turn. The minimum of each is assured, what is idle is lent by weight, and
//!    what the node sends itself is a class like all others.
//! 3. What a container receives waits on the host's end of its link.
//!
//! `plan` decides, and is pure; `wire` finds out what there is to divide; `htb` speaks to the kernel; `enforce` brings them together.

mod enforce;
mod htb;
mod plan;
mod statistics;
mod wire;

pub(super) use enforce::{Rates, host_end_link, own_end_link};
pub(super) use htb::remove as remove_queue;
pub(super) use statistics::read as read_wire;
pub(crate) use wire::rates;
pub(super) use wire::{find as find_wire, try_queue};
