//! Conversations with agents, frameworks and operators, around the ledger.
//!
//! ```text
//!  Listener ─▶ door task ─▶ conversation task, one for each connection
//!                             │ hello ─▶ welcome
//!                             │ frames ─▶ calls ──(bounded, one queue for all)──▶ core task: Ledger
//!                             ▲                                                    │        ▲
//!                             │                                                 batches  Pending
//!                           writer ◀──(bounded, one queue for each)── messages     ▼        │
//!                                                                                 store's thread
//! ```
//!
//! 1. [`Door`]: takes whom the listener believes, up to a number of connections for each identity.
//! 2. [`greet`]: the first frame is a Hello, soon, or the connection is closed. The kind of the peer's
//!    certificate says which conversation follows.
//! 3. [`conversation`]: frames become calls, one after the other. What is a message and makes no sense is
//!    answered with an error and goes no further; whoever sends too much of it is disconnected.
//! 4. [`core`](mod@core): one task owns the ledger, gives it calls and deadlines, hands its batches to the
//!    store and its messages to the writers, which is never before their batch is durable.
//! 5. A writer sends what waits. A peer for whom too much waits, or who reads nothing for ten seconds, is
//!    disconnected: what it missed is told when it comes back, for the ledger knows.
//!
//! Everything between tasks is bounded, so a peer that asks faster than the disk can write waits in its
//! own connection.

mod conversation;
mod core;
mod door;
mod greet;
mod kind;
mod metrics;

pub use core::{Core, CoreError, CoreHandle};
pub use door::{Door, DoorSettings};
pub use metrics::SessionMetrics;
