//! How Weir's processes reach each other, and monitoring them: QUIC, mutual TLS 1.3, and who a peer is.
//!
//! ```text
//!    files: certificate, key, bundle, list          authority (development)
//!                    │ credentials: load, reload      issues, revokes: what `weir certs` calls
//!                    ▼
//!          watch of what is in force ──────────────┐
//!                    │                             │
//!                    ▼                             ▼
//!      listen: an endpoint that takes     connect: finds a scheduler,
//!      peers it believes                  and believes nobody else
//!                    └───────────┬─────────────────┘
//!                                ▼
//!              session: one stream of protobuf messages both ways
//! ```
//!
//! Everything that knows of QUIC, TLS or certificates is here, and nothing that knows what is said.
//!
//! - [`identity`], [`certificate`], [`host`]: who a peer is, as its certificate says.
//! - [`check`], [`verify`]: which checks there are, who does them, how a refusal travels.
//! - [`credentials`]: what a process shows and whom it believes, kept up to date.
//! - [`listen`], [`connect`]: the two sides.
//! - [`scrape`]: the way in for monitoring, which speaks no QUIC.
//! - [`session`]: the conversation, and why it ended.
//! - [`authority`]: a development authority.
//!
//! # What always holds
//!
//! - Both sides show a certificate, TLS is 1.3, the protocol is agreed on by name.
//! - Nothing is resumed and nothing is sent early: whoever connects is judged, each time, with the
//!   credentials of that moment.
//! - Whoever would be refused now is not left connected: live connections are judged again when the
//!   bundle or the list changes.
//! - A file that cannot be used changes nothing.
//! - Whoever is refused is told which check failed, and so is this side's log.
//! - Everything a peer can make grow has a bound: frames, streams, windows, queues, handshakes,
//!   connections, lines in the log.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod authority;
pub mod certificate;
pub mod check;
mod congestion;
pub mod connect;
pub mod credentials;
pub mod host;
pub mod identity;
pub mod listen;
mod moment;
pub mod scrape;
pub mod session;
mod tls;
mod transport_config;
pub mod verify;

pub use connect::{Address, Connector};
pub use credentials::{CredentialWatch, Credentials, Reloader};
pub use identity::{Identity, PeerKind, PeerName, TrustDomain};
pub use listen::Listener;
pub use moment::Moment;
pub use session::{CloseCode, Session};
pub use tls::TlsSetupError;
