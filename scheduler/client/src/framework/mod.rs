//! A framework: is offered resources, and runs tasks on them.
//!
//! ```text
//!   your program ──Calls──► queue ──►┌──────────────┐──FrameworkCall──►┌───────────┐
//!                                    │ task: one    │                  │ scheduler │
//!   your program ◄─Events── queue ◄──└──────────────┘◄─FrameworkEvent──└───────────┘
//! ```
//!
//! 1. [`Framework::start`] spawns the task. It connects, greets and subscribes.
//! 2. [`Event::Subscribed`] comes. Store the id before anything is launched.
//! 3. Offers, updates and answers come. Calls go out while there is a subscription, and are refused
//!    with [`NotSent`] while there is none: nothing is kept for later that may mean something else then.
//! 4. The connection breaks, or nothing is heard for three times the heartbeat:
//!    [`Event::Disconnected`]. All offers are gone. The task connects again after a pause, under the
//!    same id, and [`Event::Subscribed`] comes once more, with `again`.
//! 5. What cannot be mended by trying again ends it: [`Framework::next`] returns the error.
//!
//! So that nothing is lost, a framework stores an update before it [acknowledges](Calls::acknowledge)
//! it, and asks for its tasks and operations ([RECONCILE](weir_protocol::FrameworkCall::Reconcile))
//! whenever it is subscribed again: a call that was on its way when the connection broke may have
//! arrived or not.
//!
//! Keep calling [`Framework::next`]: events wait in a bounded queue, and a scheduler disconnects whoever
//! does not read.

mod calls;
mod error;
mod event;
mod handle;
mod settings;
mod task;
mod watch;

pub use calls::{Calls, NotSent, acknowledgement};
pub use error::FrameworkError;
pub use event::Event;
pub use handle::Framework;
pub use settings::FrameworkSettings;
