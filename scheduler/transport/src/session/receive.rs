//! The receiving half.

use std::marker::PhantomData;

use bytes::{Buf as _, Bytes};
use prost::{Message, Name};
use quinn::{ReadError, RecvStream};
use weir_protocol::frame::{FrameDecoder, FrameError};
use weir_protocol::{BurdenError, decode_bounded};

use super::close::CloseCode;
use super::disconnect::Disconnect;
use super::link::Link;

/// Receives messages of one peer.
#[derive(Debug)]
pub struct Receiver<In> {
    link: Link,
    stream: RecvStream,
    decoder: FrameDecoder,
    /// Bytes that came and were not decoded yet.
    arrived: Bytes,
    messages: PhantomData<fn() -> In>,
}

/// Says why no message was received.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReceiveError {
    /// What came is no frame. The connection was closed.
    #[error("what came is no frame")]
    Frame(#[source] FrameError),
    /// What came in a frame is no message. The connection was closed.
    #[error("a frame of {bytes} bytes cannot be read as `{expected}`")]
    Message {
        /// What is said here, as the schema calls it.
        expected: &'static str,
        /// The frame's length.
        bytes: usize,
        /// Why not.
        #[source]
        source: BurdenError,
    },
    /// The peer gave the stream up.
    #[error("the peer gave the conversation up: {code}")]
    GivenUp {
        /// Why.
        code: CloseCode,
    },
    /// The connection is no more.
    #[error("the connection is no more")]
    Disconnected(#[source] Disconnect),
    /// All was received before, or this side stopped to listen.
    #[error("the conversation is over")]
    Over,
}

impl<In: Message + Default + Name> Receiver<In> {
    pub(super) fn new(link: Link, stream: RecvStream) -> Self {
        Self {
            link,
            stream,
            decoder: FrameDecoder::new(),
            arrived: Bytes::new(),
            messages: PhantomData,
        }
    }

    /// Waits for the next message; `None` when the peer has finished.
    ///
    /// Dropped half-way, it has lost nothing.
    pub async fn receive(&mut self) -> Result<Option<In>, ReceiveError> {
        loop {
            if let Some(message) = self.decode()? {
                return Ok(Some(message));
            }
            match self.stream.read_chunk(usize::MAX, true).await {
                Ok(Some(chunk)) => self.arrived = chunk.bytes,
                Ok(None) => {
                    return match self.decoder.finish() {
                        Ok(()) => Ok(None),
                        Err(error) => Err(self.garbage(ReceiveError::Frame(error))),
                    };
                }
                Err(ReadError::Reset(code)) => {
                    return Err(ReceiveError::GivenUp {
                        code: CloseCode::from_varint(code),
                    });
                }
                Err(ReadError::ConnectionLost(error)) => {
                    return Err(ReceiveError::Disconnected(self.link.disconnect(error)));
                }
                Err(
                    ReadError::ClosedStream
                    | ReadError::IllegalOrderedRead
                    | ReadError::ZeroRttRejected,
                ) => return Err(ReceiveError::Over),
            }
        }
    }

    /// Reads other messages from here on.
    pub fn continue_with<Next: Message + Default + Name>(self) -> Receiver<Next> {
        let Self {
            link,
            stream,
            decoder,
            arrived,
            messages: _,
        } = self;
        Receiver {
            link,
            stream,
            decoder,
            arrived,
            messages: PhantomData,
        }
    }

    /// Returns the connection.
    pub fn link(&self) -> &Link {
        &self.link
    }

    fn decode(&mut self) -> Result<Option<In>, ReceiveError> {
        let mut input = &self.arrived[..];
        let frame = self.decoder.decode(&mut input);
        let left = input.len();
        self.arrived.advance(self.arrived.len() - left);
        match frame {
            Ok(None) => Ok(None),
            // Whatever a peer says, to read it takes a bounded amount of memory.
            Ok(Some(frame)) => match decode_bounded(&frame[..]) {
                Ok(message) => Ok(Some(message)),
                Err(source) => Err(self.garbage(ReceiveError::Message {
                    expected: In::NAME,
                    bytes: frame.len(),
                    source,
                })),
            },
            Err(error) => Err(self.garbage(ReceiveError::Frame(error))),
        }
    }

    /// Closes the connection over what cannot be read.
    fn garbage(&self, error: ReceiveError) -> ReceiveError {
        let reason = match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        self.link.close(CloseCode::Garbage, reason);
        error
    }
}
