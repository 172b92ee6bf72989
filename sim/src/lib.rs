//! A whole cluster in one thread: the shipped state machines, with a clock, a network and disks of their
//! own making.
//!
//! ```text
//!  3 frameworks ─┐                        ┌─ Ledger + Allocator ── disk (rows that were written)
//!  1 operator   ─┼── network (delay, ─────┤
//!  3 agents     ─┘   loss, partitions)    └─ witness: sees all that is said, knows the laws
//!   └─ AgentSession ── disk (changes that were written), containers (outlive the agent)
//! ```
//!
//! What decides is the product's: `weir_scheduler::ledger`, `weir_scheduler::allocator` and
//! `weir_agent::session`, with the recovery of both. What carries out is simulated: connections keep
//! their order and break, disks hold exactly what was written, processes end between any two steps.
//! A seed decides all that is left to chance, so a failure can be seen again.
//!
//! - [`run()`], [`partitions`]: one seed. `WEIR_SIM_SEED=7 cargo test -p weir-simulation seeds` replays one,
//!   `WEIR_SIM_SEEDS=1..2000` runs others than the usual ones.
//! - [`Checker`]: the laws. [`Mutation`]: what the wiring may do wrong, so that each law is seen to fail.
//! - `world`: the order of things. `scheduler`, `node`, `framework`, `operator`: the processes. `network`,
//!   `fault`, `loss`: what is between them, breaks and is lost. `lending`: what is idle and lent. `witness`,
//!   `finish`: when the laws are asserted.
#![forbid(unsafe_code)]

mod chance;
mod checker;
mod fault;
mod finish;
mod framework;
mod lending;
mod loss;
mod make;
mod mutation;
mod network;
mod node;
mod operator;
mod run;
mod scheduler;
mod witness;
mod world;

pub use checker::{Checker, Violation};
pub use mutation::Mutation;
pub use run::{partitions, run};
pub use world::{Failure, Plan, Report};
