//! A bounded queue before a sender, with a task of its own.
//!
//! ```text
//!   many tasks --(Outbox: bounded)--> outbox task --(one write for all that waits)--> stream
//! ```

use prost::Message;
use tokio::sync::mpsc;
use weir_protocol::bounds::FRAME_BYTES_MAX;
use weir_protocol::frame::FrameError;

use super::link::Link;
use super::send::{SendError, Sender, WRITE_BYTES};

/// Queues messages for one peer, from anywhere.
///
/// When the last handle is dropped, what is queued is sent, and the stream is finished.
#[derive(Debug)]
pub struct Outbox<Out> {
    queue: mpsc::Sender<Out>,
    link: Link,
}

/// Says why a message was not queued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboxError {
    /// The message fits no frame.
    #[error("the message is too large to be sent")]
    TooLarge(#[source] FrameError),
    /// The queue is full: the peer reads more slowly than it is written to.
    #[error("{messages_max} messages wait for the peer already")]
    Full {
        /// How many the queue holds.
        messages_max: usize,
    },
    /// The connection is no more, or will soon be; [`Link::closed`] says why.
    #[error("the connection is no more")]
    Disconnected,
}

impl<Out: Message + 'static> Outbox<Out> {
    pub(super) fn spawn(sender: Sender<Out>, messages_max: usize) -> Self {
        let link = sender.link().clone();
        let (queue, waiting) = mpsc::channel(messages_max.max(1));
        tokio::spawn(run(sender, waiting));
        Self { queue, link }
    }

    /// Queues a message, if there is room now.
    pub fn try_send(&self, message: Out) -> Result<(), OutboxError> {
        check_size(&message)?;
        self.queue.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => OutboxError::Full {
                messages_max: self.queue.max_capacity(),
            },
            mpsc::error::TrySendError::Closed(_) => OutboxError::Disconnected,
        })
    }

    /// Queues a message, as soon as there is room.
    pub async fn send(&self, message: Out) -> Result<(), OutboxError> {
        check_size(&message)?;
        self.queue
            .send(message)
            .await
            .map_err(|mpsc::error::SendError(_)| OutboxError::Disconnected)
    }

    /// Returns how many messages wait.
    pub fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Returns the connection.
    pub fn link(&self) -> &Link {
        &self.link
    }
}

impl<Out> Clone for Outbox<Out> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            link: self.link.clone(),
        }
    }
}

/// Refuses here what the task could tell nobody.
fn check_size(message: &impl Message) -> Result<(), OutboxError> {
    let announced = message.encoded_len();
    if announced > FRAME_BYTES_MAX {
        return Err(OutboxError::TooLarge(FrameError::TooLong { announced }));
    }
    Ok(())
}

async fn run<Out: Message>(mut sender: Sender<Out>, mut waiting: mpsc::Receiver<Out>) {
    let ended = loop {
        let Some(first) = waiting.recv().await else {
            break sender.finish_stream().await;
        };
        if let Err(error) = write(&mut sender, &mut waiting, &first).await {
            break Err(error);
        }
    };
    if let Err(error) = ended {
        let peer = sender.link().peer();
        tracing::debug!(
            peer = %peer.identity,
            error = %error,
            cause = std::error::Error::source(&error).map(tracing::field::display),
            unsent = waiting.len(),
            "an outbox ends early"
        );
    }
}

/// Writes `first` and what waits behind it, in one go.
async fn write<Out: Message>(
    sender: &mut Sender<Out>,
    waiting: &mut mpsc::Receiver<Out>,
    first: &Out,
) -> Result<(), SendError> {
    sender.feed(first)?;
    while sender.unsent_bytes() < WRITE_BYTES
        && let Ok(next) = waiting.try_recv()
    {
        sender.feed(&next)?;
    }
    sender.flush().await
}
