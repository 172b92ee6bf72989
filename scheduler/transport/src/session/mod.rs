//! A conversation: one bidirectional stream of one connection, with frames of protobuf messages.
//!
//! ```text
//!   Session<Out, In>
//!     ├── Sender<Out>    messages -> frames -> stream      (or an Outbox: a queue with its own task)
//!     ├── Receiver<In>   stream -> frames -> messages
//!     └── Link           the connection: who the peer is, how it goes, how to close it
//! ```
//!
//! 1. The connecting side opens the stream, the accepting side gets it with the first frame.
//! 2. Hello and its answer are messages like all others; [`Session::continue_with`] then changes what
//!    is spoken.
//! 3. [`Session::finish`] sends what is left, waits until the peer has it, and closes;
//!    [`Link::close`] closes at once, with a code and a reason that the peer sees.
//! 4. The connection is closed when the last of its handles is dropped.
//!
//! Both [`Sender::send`] and [`Receiver::receive`] may be dropped half-way, as `select!` does:
//! nothing is lost and no frame is torn. What cannot be read closes the connection, for after it
//! nothing means anything; a peer that does not read is disconnected, for what it is owed has a bound.

mod close;
mod disconnect;
mod link;
mod outbox;
mod receive;
mod send;
mod statistics;

use std::fmt;
use std::time::Duration;

use prost::{Message, Name};

pub use close::CloseCode;
pub(crate) use disconnect::alert;
pub use disconnect::{Disconnect, Refusal};
pub use link::{Link, Peer};
pub(crate) use link::{WeakLink, believed, chain};
pub use outbox::{Outbox, OutboxError};
pub use receive::{ReceiveError, Receiver};
pub use send::{SendError, Sender};
pub use statistics::LinkStatistics;

/// A conversation with one peer: `Out` goes out, `In` comes in.
#[derive(Debug)]
pub struct Session<Out, In> {
    sender: Sender<Out>,
    receiver: Receiver<In>,
}

impl<Out: Message, In: Message + Default + Name> Session<Out, In> {
    pub(crate) fn new(
        link: Link,
        send: quinn::SendStream,
        receive: quinn::RecvStream,
        stall: Duration,
    ) -> Self {
        Self {
            sender: Sender::new(link.clone(), send, stall),
            receiver: Receiver::new(link, receive),
        }
    }

    /// Sends one message, as soon as the peer has room for it.
    pub async fn send(&mut self, message: &Out) -> Result<(), SendError> {
        self.sender.send(message).await
    }

    /// Sends what a send that was dropped half-way has left.
    pub async fn flush(&mut self) -> Result<(), SendError> {
        self.sender.flush().await
    }

    /// Waits for the next message; `None` when the peer has finished.
    pub async fn receive(&mut self) -> Result<Option<In>, ReceiveError> {
        self.receiver.receive().await
    }

    /// Speaks other messages from here on.
    ///
    /// Frames that have arrived and were not received yet are read as the new kind.
    pub fn continue_with<NextOut: Message, NextIn: Message + Default + Name>(
        self,
    ) -> Session<NextOut, NextIn> {
        Session {
            sender: self.sender.continue_with(),
            receiver: self.receiver.continue_with(),
        }
    }

    /// Parts the session, for two tasks.
    pub fn split(self) -> (Sender<Out>, Receiver<In>) {
        (self.sender, self.receiver)
    }

    /// Returns who the peer is.
    pub fn peer(&self) -> &Peer {
        self.link().peer()
    }

    /// Returns the connection.
    pub fn link(&self) -> &Link {
        self.sender.link()
    }

    /// Sends what is left, waits until the peer has all of it, and closes the connection.
    pub async fn finish(self) -> Result<(), SendError> {
        self.sender.finish().await
    }

    /// Closes the connection at once.
    pub fn close(&self, code: CloseCode, reason: impl fmt::Display) {
        self.link().close(code, reason);
    }
}
