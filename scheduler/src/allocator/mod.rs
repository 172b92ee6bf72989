//! Who gets what is free: weighted dominant resource fairness on two levels, driven by events.
//!
//! A state machine without I/O, in the task of the ledger, which is the authority and tells it of every
//! change; time and randomness are arguments. It knows for each agent what is free and who holds the
//! rest, and for each framework its role and what it refuses, and gives [`Grant`]s: so much of an agent
//! for a framework, to be made an offer.
//!
//! ```text
//!  add, update, remove agent ────┐                          ┌── agenda: which agents to look at
//!  add, revive, suppress … ──────┤        ┌───────────┐     ├── lots: what is free, who holds what
//!  recover, decline, convert … ──┼──────▶ │ Allocator │ ────┤   refusals: who does not want it
//!  poll_grants(now, agents_max) ─┘        └─────┬─────┘     └── parties: whose turn it is
//!                                               ▼
//!                                            [Grant]
//! ```
//!
//! What happens, in order:
//!
//! 1. An event changes the books and puts agents on the [agenda]: one that something was freed on; all
//!    that have something free, if a framework begins to want it.
//! 2. [`Allocator::poll_grants`] takes agents off the agenda, a bounded number in a call. On each it
//!    serves roles in the order of their shares of the cluster, and the frameworks of a role in the
//!    order of their shares of what the role holds; ties go to who was given something less often,
//!    then to the lesser name.
//! 3. The first framework that does not refuse it gets everything of one kind there that it may have:
//!    what is kept for nobody and what is kept for its role. What is kept for other roles goes to
//!    theirs in the same look. Regular and revocable resources are granted apart, the latter only to
//!    who opted in.
//! 4. A grant is held by its framework from then on, until it is recovered (free at once, for anyone)
//!    or declined (free at once, for others).
//!
//! Nothing waits for a period: what is freed is granted in the next call, and a filter that lapses is an
//! event with a [deadline](Allocator::next_deadline). The semantics are those of Mesos 0.23 but for
//! that, and but for these:
//!
//! - To disconnect does not reset how often a framework was given something, which could be gamed.
//! - What is kept for a role, and volumes, are offered however little they are: nobody else can use
//!   them, and no other freed resource would ever make them worth more. Unreserved crumbs go with them.
//! - A filter of no time at all is one of [`Settings::refusal_min`]: there is no period to wait for.
//!
//! What it costs: to find whose turn it is takes a logarithm of the number of roles and frameworks
//! ([`sorter`] says how, for every grant changes every share); frameworks that refuse cost a bit each
//! ([`refusals`]); those that are suppressed or not connected cost nothing.
//!
//! - [`state`], [`grant`], [`settings`], [`weight`], [`kinds`], [`error`]: what it is from outside.
//! - [`agent`], [`framework`], [`holding`]: the events; [`visit`]: what they lead to.
//! - [`agenda`], [`lot`], [`stock`], [`refusals`], [`parties`], [`sorter`]: the books.
//! - [`parcel`], [`scalars`], [`share`], [`members`], [`slab`]: what they are written with.

mod error;
mod grant;
mod kinds;
mod settings;
mod state;
mod weight;

mod agent;
mod framework;
mod holding;
mod visit;

mod agenda;
mod lot;
mod parties;
mod refusals;
mod sorter;
mod stock;

mod members;
mod parcel;
mod scalars;
mod share;
mod slab;

pub use agent::AgentStanding;
pub use error::{AgentError, FrameworkError, HoldingError};
pub use grant::Grant;
pub use kinds::Kinds;
pub use scalars::SCALAR_NAMES_MAX;
pub use settings::{Least, Settings};
pub use state::Allocator;
pub use weight::{Weight, WeightError};

#[cfg(test)]
mod laws;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod scenarios;
