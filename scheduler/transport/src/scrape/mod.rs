//! The way in for monitoring: TLS over TCP, for clients with a certificate that may read what is measured.
//!
//! ```text
//!   TCP connection ──► Gate::admit: a handshake (timed) ──► believed? ──► Admitted: a stream, and a Vigil
//!                                                              │
//!                                                              └─ no: counted, logged, and ended
//!   Vigil: the credentials have changed ──► is it still believed? ──► no: counted, logged; the stream is to end
//! ```
//!
//! A scraper speaks HTTP/1.1 and no QUIC, so it does not come in by [`crate::listen`]. All else is the same: TLS 1.3
//! with what is in force at the moment of the handshake, nothing that could be resumed, the same verifier with its
//! reasons, and whoever is revoked does not stay. Only the kinds differ: scrapers and operators are taken, and an agent
//! or a framework is not, for what a node does is none of another's business.
//!
//! Who accepts connections, how many at once, and what is said on them is the caller's. The gate runs in the caller's
//! tasks.

mod counts;
mod gate;
mod refusal;
mod vigil;

pub use counts::ScrapeCounts;
pub use gate::{Admitted, Gate, LateCredentials, ScrapeLimits};
pub use refusal::Refusal;
pub use vigil::Vigil;
