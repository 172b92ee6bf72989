//! The data plane, seen from user space: the node's addresses are every container's, and each has
//! ports of its own.
//!
//! ```text
//!            netlink ──> watch ──┐            ┌── events <── ring buffer
//!                                ▼            ▼
//!  container task ── handle ──> owner ──> log, names
//!                                │
//!             ┌──────────────────┼───────────────────┐
//!             ▼                  ▼                   ▼
//!        namespace            tables             programs       host (settings of the node)
//!     (inside a container)   (maps)       (links, pinned)
//! ```
//!
//! The owner is a thread that holds everything that is written; whoever wants something of it has
//! a [`NetworkHandle`]. What it holds for one container is made in this order, and taken away in
//! the opposite one:
//!
//! 1. The namespace with its link, by a thread of the caller: launches do not wait for each other.
//! 2. The entries of the slot: container, namespace, link, then the ports.
//! 3. The program on the host's end of the link, and then the link goes up.
//!
//! All of it survives the agent: namespaces by their processes, maps and programs by their pins.

mod bandwidth;
mod cleanup;
mod clsact;
mod doctor;
mod error;
mod event;
mod features;
mod firewall;
mod handle;
mod host;
mod namespace;
mod node;
mod observe;
mod owner;
mod programs;
mod shared;
mod slots;
mod statistics;
mod tables;
mod watch;

pub(crate) use bandwidth::rates;
pub use cleanup::clean_up;
pub use doctor::checks;
pub(crate) use doctor::firewall_checks;
pub use error::StartError;
pub use handle::{NetworkHandle, NetworkSettings, ProgramStatistics, start};
pub(crate) use observe::usable_addresses;
pub use shared::Followed;
