//! Who holds what: the state machine that everything goes through.
//!
//! Pure: no I/O, no clock, no randomness but by argument, and the same inputs always lead to the same
//! outputs. One task owns it, gives it what happens, writes down what it says, and sends what it says after
//! that:
//!
//! ```text
//!                    ┌──────────────────── Ledger ────────────────────┐
//!  Input, Moment ──▶ │ sessions  agents  frameworks  tasks   Allocator │ ──▶ Batch of Records ──▶ the store
//!  handle_deadline ▶ │ offers  errands  answers  weights  timers       │            │ Written
//!                    └────────────────────────────────────────────────┘ ◀──────────┘
//!                                           │
//!                                           └──▶ Outgoing, never before what it stands for is durable
//! ```
//!
//! What it holds to:
//!
//! 1. *Conservation.* Per agent, resource, role and kind, what there is is what is free, offered, used and
//!    worked with; asserted after every step of a debug build ([`conservation`]).
//! 2. *Nothing is answered before it is durable*, and records of one step are never parted ([`outbox`]).
//! 3. *Every operation is answered*, once, and its key never stands for two things ([`answers`]).
//! 4. *An offer is used by its holder*, and an offer that ends otherwise is rescinded ([`offer`]).
//! 5. *No task is lost or run twice*: it is written down before its agent hears of it, and its row goes
//!    before the agent hears that its end was acknowledged ([`launch`], [`update`], [`reunion`]).
//! 6. *Who is refused has changed nothing*, and hears why, with what to do ([`refusal`]).
//!
//! Where to read on:
//!
//! - [`input`], [`outbox`], [`record`], [`settings`], [`policy`], [`issue`], [`state`]: what it is from
//!   outside. [`recover`]: a ledger from what was written down.
//! - [`session`], [`dispatch`]: who says what.
//! - [`subscribe`], [`leave`], [`offer`], [`accept`], [`kill`], [`reconcile`]: what frameworks ask.
//! - [`errand`], [`change`], [`launch`], [`answers`]: operations on what was offered.
//! - [`register`], [`reunion`], [`update`], [`removal`]: what agents say.
//! - [`total`], [`excess`], [`rest`]: what agents have and lend, and what follows when it is less.
//! - [`operator`]: what operators ask.
//! - [`agent`], [`framework`], [`task`], [`timers`], [`length`]: what it is written with.

mod input;
mod issue;
mod outbox;
mod policy;
mod record;
mod recover;
mod settings;
mod state;

mod dispatch;
mod refusal;
mod session;

mod accept;
mod kill;
mod leave;
mod offer;
mod reconcile;
mod subscribe;

mod answers;
mod change;
mod errand;
mod launch;

mod register;
mod removal;
mod reunion;
mod update;

mod excess;
mod rest;
mod total;

mod operator;

mod agent;
mod census;
mod conservation;
mod framework;
mod length;
mod task;
mod timers;

pub use census::{Census, RemovedAgents};
pub use input::{Input, Moment, Peer, SessionId};
pub use issue::Seed;
pub use outbox::{Batch, Message, Outgoing, Written};
pub use policy::{Act, Caller, Permissive, Policy, Verdict};
pub use record::{
    Actor, AgentRow, AnswerRow, AuditEntry, EndedFramework, ErrandNumber, ErrandRow, Fingerprint,
    FrameworkRow, Image, KillOrder, LearnedTask, Past, Record, RemovedAgent, Row, RowKey, Standing,
    Step, TaskRow, TaskWhat,
};
pub use recover::RecoverError;
pub use settings::{Bounds, Settings};
pub use state::Ledger;
