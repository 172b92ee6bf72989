//! The connecting side: finds a scheduler, makes sure that it is one, and opens the conversation.
//!
//! ```text
//!   Address ──resolve──► addresses ──handshakes, the next when one is slow──► Session
//! ```
//!
//! 1. The name is resolved; an address needs no resolving.
//! 2. The addresses are tried in turn, each a little after the one before, with the credentials of
//!    that moment; the first that is through counts. The scheduler's certificate must bear the name
//!    that was asked for, whatever it resolved to, and be a scheduler's of the same trust domain.
//! 3. The stream is opened. The scheduler may still refuse: TLS 1.3 lets the connecting side finish
//!    first, so a refusal of *this* side's certificate is what the first receive says.
//! 4. While the session lives, the scheduler is judged again whenever the credentials change.
//!
//! Connecting again is the caller's business, with [`Backoff`] for when.

mod address;
mod backoff;
mod connector;
mod error;
mod vigil;

pub use address::{Address, AddressError};
pub use backoff::Backoff;
pub use connector::{ConnectLimits, Connector};
pub use error::ConnectError;

use prost::{Message, Name};

use crate::credentials::CredentialWatch;
use crate::session::Session;

/// Connects once, with default limits.
///
/// A program that connects more than once makes a [`Connector`], whose sockets are used again.
pub async fn connect<Out: Message, In: Message + Default + Name>(
    address: &Address,
    credentials: CredentialWatch,
) -> Result<Session<Out, In>, ConnectError> {
    Connector::new(credentials, ConnectLimits::default())
        .connect(address)
        .await
}
