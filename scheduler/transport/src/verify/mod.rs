//! Whom to believe: the checks that a peer's certificate has to pass.
//!
//! ```text
//!  accepting side                              connecting side
//!   chain, expiry, revocation, purpose          chain, expiry, revocation, purpose
//!   identity, trust domain                      the name that was connected to
//!   kind: agent, framework or operator;         identity, trust domain
//!    where one is scraped, operator or scraper  kind: scheduler
//! ```
//!
//! The first row is WebPKI's, the rest is Weir's. A certificate that any other program of the same
//! authority holds passes the first and fails the rest: a valid certificate that is not a
//! scheduler's is no scheduler.
//!
//! # What is decided
//!
//! - **Revocation** is checked for each certificate of the chain whose issuer has a list in the
//!   file. One whose issuer has none passes, since a list may lag behind a new authority in the
//!   bundle; loading the credentials names every authority without a list.
//! - **A list that goes stale** while it is in force stays in force: it is still right about whom it
//!   names, and refusing everyone would turn a late job into an outage. A stale list is never
//!   loaded anew; see [`crate::credentials`].
//! - **Expiry** is judged in the handshake. A connection that outlives its certificate goes on, as
//!   with every TLS; [`crate::listen::Peer::not_after`] says until when it was good.
//! - **Trust and revocation** are judged again, for every live connection, whenever the bundle or
//!   the list changes.
//!
//! # How a refusal travels
//!
//! The side that judges keeps a [`Finding`]. The other side sees the TLS alert, as a QUIC close code
//! of 0x100 + alert, and the reason in words. Alerts that exist for a check are used for it
//! (44 revoked, 45 expired, 48 unknown authority, 43 purpose); all else about a certificate is 46,
//! and the words then begin with the check's label in brackets: `[trust_domain] …`.
//!
//! Verifiers run in QUIC's own tasks, without I/O.

mod accepting;
mod connecting;
mod finding;
mod trust;

pub(crate) use accepting::{AcceptingVerifier, OfferRecorder};
pub(crate) use connecting::ConnectingVerifier;
pub use finding::Finding;
pub(crate) use finding::{Record, check_in_words};
pub(crate) use trust::{CONVERSING, SCRAPING, Trust};
