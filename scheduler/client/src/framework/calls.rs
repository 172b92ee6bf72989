//! Calls, from anywhere in the program.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prost::Message as _;
use tokio::sync::{mpsc, watch};
use weir_protocol::bounds::FRAME_BYTES_MAX;
use weir_protocol::{CallId, Envelope as _, FrameworkCall, Numbered, TaskStatus, wire};

/// How many calls wait to be sent: enough for a burst, and what is lost at most when the connection
/// breaks.
pub(super) const CALLS_MAX: usize = 1024;

/// One subscription, from SUBSCRIBED until the connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Era(pub(super) u64);

/// What the task is told.
#[derive(Debug)]
pub(super) enum Told {
    /// A call, meant for one subscription.
    Call(Era, Box<wire::FrameworkCall>),
    /// Everything that was told before is to be sent, and then the connection closed.
    Close,
}

/// Numbers for calls; none is used twice in the life of a framework.
#[derive(Debug)]
pub(super) struct Numbers(AtomicU64);

impl Numbers {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(1))
    }

    pub(super) fn next(&self) -> CallId {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        CallId(NonZeroU64::new(number).unwrap_or(NonZeroU64::MAX))
    }
}

/// Makes calls. Clones are cheap, and go wherever calls are made.
#[derive(Clone, Debug)]
pub struct Calls {
    pub(super) queue: mpsc::Sender<Told>,
    pub(super) era: watch::Receiver<Option<Era>>,
    pub(super) numbers: Arc<Numbers>,
}

/// Says why a call was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// There is no subscription.
    #[error("{call} was not sent: there is no subscription now")]
    NotSubscribed {
        /// The call.
        call: &'static str,
    },
    /// The framework is at an end.
    #[error("{call} was not sent: the framework is at an end")]
    Ended {
        /// The call.
        call: &'static str,
    },
    /// It fits no frame.
    #[error("{call} was not sent: it has {bytes} bytes, and a frame at most {FRAME_BYTES_MAX}")]
    TooLarge {
        /// The call.
        call: &'static str,
        /// How long it is.
        bytes: usize,
    },
}

impl NotSent {
    /// Returns whether the call can be made later.
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::NotSubscribed { .. } => true,
            Self::Ended { .. } | Self::TooLarge { .. } => false,
        }
    }

    /// Returns what to do about it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::NotSubscribed { .. } => "wait for the next `Subscribed`, and reconcile",
            Self::Ended { .. } => "start another framework",
            Self::TooLarge { .. } => "say it in several calls",
        }
    }
}

impl Calls {
    /// Makes a call, and returns the id by which [`Event::Refused`](super::Event::Refused) names it.
    ///
    /// It is on its way when this returns, as soon as there is room in the queue. A call is answered by
    /// what it causes.
    pub async fn call(&self, call: FrameworkCall) -> Result<CallId, NotSent> {
        let name = call.name();
        let Some(era) = *self.era.borrow() else {
            return Err(NotSent::NotSubscribed { call: name });
        };
        let id = self.numbers.next();
        let message = Numbered { id, call }.into_wire();
        // Refused here: what the task cannot send would end the conversation.
        let bytes = message.encoded_len();
        if bytes > FRAME_BYTES_MAX {
            return Err(NotSent::TooLarge { call: name, bytes });
        }
        match self.queue.send(Told::Call(era, Box::new(message))).await {
            Ok(()) => Ok(id),
            Err(mpsc::error::SendError(_)) => Err(NotSent::Ended { call: name }),
        }
    }

    /// Acknowledges an update, if it asks for that. Store what it says first.
    pub async fn acknowledge(&self, status: &TaskStatus) -> Result<(), NotSent> {
        if let Some(call) = acknowledgement(status) {
            self.call(call).await?;
        }
        Ok(())
    }
}

/// Returns the call that acknowledges an update, if it asks for that.
pub fn acknowledgement(status: &TaskStatus) -> Option<FrameworkCall> {
    Some(FrameworkCall::Acknowledge {
        agent: status.agent?,
        task: status.task.clone(),
        update: status.update?,
    })
}
