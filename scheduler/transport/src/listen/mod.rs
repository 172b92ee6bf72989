//! The accepting side: an endpoint that takes connections of peers it believes.
//!
//! ```text
//!                      ┌ accept task: one, never waits for a peer
//!   UDP ──► endpoint ──┤   full? refuse · busy? make the address prove itself
//!                      │   └─► greeting task, one for each connection:
//!                      │         handshake (timed) ─► believed? ─► place ─► first stream (timed) ─┐
//!                      └ sweep task: credentials changed ─► judge every live connection again     │
//!                                                                                                 ▼
//!   Listener::accept() ◄──────────────────────────(bounded channel)─────────────────────── Incoming
//! ```
//!
//! 1. A first packet arrives. The accept task decides at once whether there is a place for it.
//! 2. Its greeting task does the handshake with the credentials of that moment, in a configuration of
//!    its own, so that what its verifier finds is known to be about this peer.
//! 3. The peer is believed and takes one of the places among the connections.
//! 4. It opens its stream: [`Listener::accept`] returns the [`Incoming`].
//! 5. Whenever the credentials change, every live connection is judged again, and closed if it would
//!    be refused now: within seconds, and with a code that says why.
//!
//! A peer that says nothing holds up nobody: it has a task of its own, and a time by which it must be
//! through. Whoever is refused is counted by reason, logged (up to a rate that a stranger cannot
//! raise), and told to whoever [follows](Listener::refusals).

mod counters;
mod error;
mod greet;
mod limits;
mod pace;
mod places;
mod refused;
mod successor;
mod sweep;
mod task;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use prost::{Message, Name};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;

pub use crate::session::Peer;
pub use counters::Counters;
pub use error::ListenError;
pub use limits::ListenLimits;
pub use refused::{Reason, RefusedPeer};

pub(crate) use pace::Pace;
pub(crate) use task::canonical;

use crate::credentials::CredentialWatch;
use crate::session::{CloseCode, Link, Session};
use places::Places;
use task::Door;

/// Takes connections.
///
/// Dropped, it takes no more, and what is live is closed as [`CloseCode::ShuttingDown`].
#[derive(Debug)]
pub struct Listener {
    endpoint: quinn::Endpoint,
    address: SocketAddr,
    greeted: mpsc::Receiver<Incoming>,
    counters: Counters,
    refusals: broadcast::Sender<RefusedPeer>,
    places: Places,
    tasks: Vec<JoinHandle<()>>,
}

/// A peer that is believed and has opened its stream.
#[derive(Debug)]
pub struct Incoming {
    link: Link,
    send: quinn::SendStream,
    receive: quinn::RecvStream,
    stall: Duration,
}

/// How many refusals a slow follower may miss before the oldest are gone for it.
const REFUSALS_KEPT: usize = 64;

impl Listener {
    /// Binds `address` and starts to take connections.
    ///
    /// Needs a tokio runtime.
    pub fn bind(
        address: SocketAddr,
        credentials: CredentialWatch,
        limits: ListenLimits,
    ) -> Result<Self, ListenError> {
        let counters = Counters::new();
        let (refusals, _) = broadcast::channel(REFUSALS_KEPT);
        // At least one, for a channel of none is a panic; the limits are checked with all others.
        let (greeted_by, greeted) = mpsc::channel(limits.waiting_max.max(1));
        let door = Door::open(
            address,
            credentials,
            limits,
            counters.clone(),
            refusals.clone(),
        )?;
        let endpoint = door.endpoint().clone();
        let address = endpoint
            .local_addr()
            .map_err(|source| ListenError::Bind { address, source })?;
        Ok(Self {
            endpoint,
            address,
            greeted,
            counters,
            refusals,
            places: door.places.clone(),
            tasks: door.spawn(greeted_by),
        })
    }

    /// Returns the address, with the port that was chosen if none was given.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the next peer that is believed and has opened its stream.
    ///
    /// `None` when no more can come: the socket failed, as the log says. What is not taken waits, and is bounded: an
    /// application that does not accept makes new peers wait, and then time out.
    pub async fn accept(&mut self) -> Option<Incoming> {
        let incoming = self.greeted.recv().await?;
        self.counters.count_accepted();
        Some(incoming)
    }

    /// Returns the counts, for metrics.
    pub fn counters(&self) -> Counters {
        self.counters.clone()
    }

    /// Follows who is refused, from now on.
    pub fn refusals(&self) -> broadcast::Receiver<RefusedPeer> {
        self.refusals.subscribe()
    }

    /// Takes no more connections, closes those that are live, and waits until the peers were told.
    pub async fn close(self, code: CloseCode, reason: impl fmt::Display) {
        self.close_all(code, &reason.to_string());
        self.endpoint.wait_idle().await;
    }

    fn close_all(&self, code: CloseCode, reason: &str) {
        // Each by its link first, which lets the close through.
        for link in self.places.live() {
            if let Some(link) = link.link.upgrade() {
                link.close(code, reason);
            }
        }
        self.endpoint.close(code.as_varint(), reason.as_bytes());
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        // Without effect after `close`.
        self.close_all(CloseCode::ShuttingDown, "the listener is gone");
    }
}

impl Incoming {
    /// Returns who it is.
    pub fn peer(&self) -> &Peer {
        self.link.peer()
    }

    /// Starts the conversation.
    pub fn into_session<Out: Message, In: Message + Default + Name>(self) -> Session<Out, In> {
        let Self {
            link,
            send,
            receive,
            stall,
        } = self;
        Session::new(link, send, receive, stall)
    }

    /// Closes the connection without a conversation.
    pub fn close(self, code: CloseCode, reason: impl fmt::Display) {
        self.link.close(code, reason);
    }
}
