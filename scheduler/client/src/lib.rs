//! What a program links to speak to a scheduler of Weir: as a framework, or for an operator.
//!
//! ```text
//!   your program ──► OperatorClient: one call, one answer ───────────────┐
//!   your program ──► Framework ──► its task: subscribes, listens, ───────┴──► scheduler
//!                      events ◄──  comes back when the connection breaks
//! ```
//!
//! - [`Framework`] is offered resources and runs tasks on them. It comes back by itself under the same
//!   id; what a framework must do beyond that, so that nothing is lost, is in [`framework`].
//! - [`OperatorClient`] lists, reserves, drains and so on. It never repeats a change by itself.
//! - [`ConversationError`]: why there is no conversation, what to do about it, and whether trying
//!   again can help.
//! - [`fresh`]: ids that nobody has used before.
//!
//! Who a program is stands in its certificate: a [`Framework`] needs one of kind `framework`, an
//! [`OperatorClient`] one of kind `operator`.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod error;
mod greet;

pub mod framework;
pub mod fresh;
pub mod operator;

pub use error::ConversationError;
pub use framework::{Calls, Event, Framework, FrameworkError, FrameworkSettings, NotSent};
pub use operator::{OperatorClient, OperatorError};

/// What this crate calls itself towards a scheduler, for whoever has no name of their own.
pub const SOFTWARE: &str = concat!("weir-client ", env!("CARGO_PKG_VERSION"));
