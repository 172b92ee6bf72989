//! Who on this node owns which ports: a plan of numbers, without a socket or a file.
//!
//! Every container owns the *assigned* ports it asked for and, in a network namespace of its own,
//! one aligned block of *ephemeral* ports for the connections it opens. No port has two owners. The
//! module is pure: what the node uses, and the time, are arguments; the container task owns the one
//! [`Ledger`] and stores what it says.
//!
//! The life of a port:
//!
//! 1. [`Pools`]: the configuration gives it to containers, for assignment or for ephemeral blocks.
//! 2. [`Ledger::plan`] finds it free: no container owns it, the node does not use it, it is not in
//!    quarantine. The answer is a [`Grant`], or a [`Refusal`] with the numbers that disagree.
//! 3. The agent commits the container's row, then [`Ledger::take`]s the grant.
//! 4. [`Ledger::release`] or [`Ledger::replace`] frees it into [quarantine](Freed): a connection's
//!    last segments are still under way, and its peer still takes the port for the old container.
//! 5. After the quarantine it is free again.
//!
//! [`NodePlan`] is the arithmetic before all that: how many containers the pools hold, what the
//! node itself loses, and what the kernel must be told so that it does not use a container's ports.

mod grant;
mod ledger;
mod node;
mod pools;
mod quarantine;
mod refusal;
mod request;
mod sysctl;

#[cfg(test)]
mod laws;

pub use grant::{Change, Grant, LedgerError};
pub use ledger::Ledger;
pub use node::{NODE_PORTS_MIN, NodePlan, NodePlanError};
pub use pools::{BlockSize, BlockSizeError, Pools, PoolsError};
pub use quarantine::{Freed, QUARANTINE, UnixMs};
pub use refusal::{BlockCensus, PortCensus, Refusal};
pub use request::{Assigned, Ephemeral, PortRequest, Quarantined};
pub use sysctl::{ReservedPorts, SysctlTextError, parse_local_port_range};
