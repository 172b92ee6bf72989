//! The sending half.

use std::marker::PhantomData;
use std::time::Duration;

use prost::Message;
use quinn::{SendStream, StoppedError, WriteError};
use tokio::time::timeout;
use weir_protocol::frame::{FrameError, encode_frame};

use super::close::CloseCode;
use super::disconnect::Disconnect;
use super::link::Link;
use super::outbox::Outbox;

/// Sends messages to one peer.
#[derive(Debug)]
pub struct Sender<Out> {
    frames: Frames,
    messages: PhantomData<fn(Out)>,
}

/// The stream, and what it has not taken yet, whatever the messages are.
#[derive(Debug)]
struct Frames {
    link: Link,
    stream: SendStream,
    /// Frames, or the rest of one.
    unsent: Vec<u8>,
    /// How much of `unsent` the stream has taken.
    taken: usize,
    /// How long the peer may take nothing at all.
    stall: Duration,
}

/// Says why a message was not sent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SendError {
    /// The message fits no frame. Nothing was sent, and the session goes on.
    #[error("the message is too large to be sent")]
    TooLarge(#[source] FrameError),
    /// The peer took nothing for too long, and was disconnected.
    #[error("the peer has read nothing for {} s, and was disconnected", stall.as_secs())]
    NotReading {
        /// How long it may take.
        stall: Duration,
    },
    /// The peer does not want to hear more.
    #[error("the peer stopped the stream: {code}")]
    Stopped {
        /// Why.
        code: CloseCode,
    },
    /// The connection is no more.
    #[error("the connection is no more")]
    Disconnected(#[source] Disconnect),
    /// The stream was finished by this side.
    #[error("this side has finished the conversation")]
    Finished,
}

/// How much is gathered before it is written: enough to make the lock and the wake-up of a write
/// cheap, and what a session keeps for the next.
pub(super) const WRITE_BYTES: usize = 32 * 1024;

impl<Out: Message> Sender<Out> {
    pub(super) fn new(link: Link, stream: SendStream, stall: Duration) -> Self {
        Self {
            frames: Frames {
                link,
                stream,
                unsent: Vec::new(),
                taken: 0,
                stall,
            },
            messages: PhantomData,
        }
    }

    /// Sends one message, as soon as the peer has room for it.
    ///
    /// Dropped half-way, it may have queued the message: then the next send, or [`Sender::flush`],
    /// goes on with it.
    pub async fn send(&mut self, message: &Out) -> Result<(), SendError> {
        self.frames.flush().await?;
        self.feed(message)?;
        self.frames.flush().await
    }

    /// Sends many messages with as few writes as they need.
    ///
    /// One that is too large ends it: those before are sent, those after are not.
    pub async fn send_all<'a>(
        &mut self,
        messages: impl IntoIterator<Item = &'a Out>,
    ) -> Result<(), SendError>
    where
        Out: 'a,
    {
        for message in messages {
            if self.unsent_bytes() >= WRITE_BYTES {
                self.frames.flush().await?;
            }
            if let Err(error) = self.feed(message) {
                self.frames.flush().await?;
                return Err(error);
            }
        }
        self.frames.flush().await
    }

    /// Sends what a send that was dropped half-way has left.
    pub async fn flush(&mut self) -> Result<(), SendError> {
        self.frames.flush().await
    }

    /// Speaks other messages from here on.
    pub fn continue_with<Next: Message>(self) -> Sender<Next> {
        Sender {
            frames: self.frames,
            messages: PhantomData,
        }
    }

    /// Puts a queue of at most `messages_max` messages before this half, with a task of its own.
    pub fn into_outbox(self, messages_max: usize) -> Outbox<Out>
    where
        Out: 'static,
    {
        Outbox::spawn(self, messages_max)
    }

    /// Returns the connection.
    pub fn link(&self) -> &Link {
        &self.frames.link
    }

    /// Sends what is left, waits until the peer has all of it or says that all was said, and closes
    /// the connection.
    pub async fn finish(mut self) -> Result<(), SendError> {
        self.frames.finish().await?;
        self.link().close(CloseCode::Done, "");
        Ok(())
    }

    /// Sends what is left and waits until the peer has all of it. The connection stays.
    pub(super) async fn finish_stream(&mut self) -> Result<(), SendError> {
        self.frames.finish().await
    }

    /// Puts one message behind what is unsent, without I/O.
    pub(super) fn feed(&mut self, message: &Out) -> Result<(), SendError> {
        encode_frame(message, &mut self.frames.unsent).map_err(SendError::TooLarge)
    }

    pub(super) fn unsent_bytes(&self) -> usize {
        self.frames.unsent.len() - self.frames.taken
    }
}

impl Frames {
    async fn flush(&mut self) -> Result<(), SendError> {
        while self.taken < self.unsent.len() {
            let write = self.stream.write(&self.unsent[self.taken..]);
            match timeout(self.stall, write).await {
                Ok(Ok(written)) => self.taken += written,
                Ok(Err(error)) => return Err(self.failed(error)),
                Err(_elapsed) => return Err(self.not_reading()),
            }
        }
        self.unsent.clear();
        self.taken = 0;
        // One large message should not be paid for as long as the session lives.
        self.unsent.shrink_to(WRITE_BYTES);
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), SendError> {
        self.flush().await?;
        self.stream
            .finish()
            .map_err(|quinn::ClosedStream { .. }| SendError::Finished)?;
        match timeout(self.stall, self.stream.stopped()).await {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(code))) => Err(SendError::Stopped {
                code: CloseCode::from_varint(code),
            }),
            Ok(Err(StoppedError::ConnectionLost(error))) => {
                let disconnect = self.link.disconnect(error);
                if disconnect.is_done() {
                    // Who has everything may well close first.
                    Ok(())
                } else {
                    Err(SendError::Disconnected(disconnect))
                }
            }
            Ok(Err(StoppedError::ZeroRttRejected)) => Err(SendError::Finished),
            Err(_elapsed) => Err(self.not_reading()),
        }
    }

    fn not_reading(&self) -> SendError {
        let error = SendError::NotReading { stall: self.stall };
        self.link.close(CloseCode::NotReading, &error);
        error
    }

    fn failed(&self, error: WriteError) -> SendError {
        match error {
            WriteError::Stopped(code) => SendError::Stopped {
                code: CloseCode::from_varint(code),
            },
            WriteError::ConnectionLost(error) => {
                SendError::Disconnected(self.link.disconnect(error))
            }
            WriteError::ClosedStream | WriteError::ZeroRttRejected => SendError::Finished,
        }
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // Dropping a stream finishes it. What ends inside a frame was given up, and the peer should
        // not take it for garbage.
        if self.taken < self.unsent.len()
            && let Err(quinn::ClosedStream { .. }) =
                self.stream.reset(CloseCode::Internal.as_varint())
        {
            tracing::trace!("the stream was closed before");
        }
    }
}
