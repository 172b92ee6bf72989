//! What a process shows and whom it believes: its certificate and key, the bundle of authorities, the
//! revocation list.
//!
//! ```text
//!   files --(every N seconds, or when asked)--> reload task --(watch)--> listener, connector, metrics
//! ```
//!
//! 1. [`Credentials::load`] reads the files and checks that they fit: the key is the certificate's,
//!    the chain ends at an authority of the bundle, nothing has expired, the identity is of a kind
//!    that may be used here, each list is signed and not stale.
//! 2. [`Reloader::spawn`] loads them, then looks for changed files, and publishes a
//!    [`CredentialState`] at every change.
//! 3. Listener and connector take the current credentials for each new handshake, and judge their
//!    live connections again when they change.
//!
//! # A broken new file keeps the old one
//!
//! There are three parts: certificate with key, bundle, list. A part that cannot be used keeps its
//! old content, and the others are still taken if they fit: a certificate that was copied half must
//! not delay a revocation. What was wrong is in [`CredentialState::last_error`], in the log and in the
//! count of failed reloads, until it is mended.
//!
//! Certificate and key are two files, so every rotation passes through a moment where they do not
//! fit. A change that fails is therefore looked at once more before it counts as failed; a reload
//! that was asked for is judged at once.
//!
//! # What is decided
//!
//! - A list that is **stale when it is read** is refused, at the start and at a reload. One that goes
//!   stale later stays in force (see [`crate::verify`]), and is warned of.
//! - A list **older than the one in force** is refused: a copy from yesterday must not give back
//!   what was revoked today.
//! - An authority that **has expired** is left out of the bundle, with a warning.
//! - A bundle that **does not hold the authority of this process' own certificate** is refused, for
//!   peers with the same bundle would refuse it: whoever takes an authority out renews first.
//! - This process' own certificate **on the list** is a warning here and a refusal at every peer:
//!   the list must be in force all the same.
//! - The **identity cannot change** while the process runs: peers and files know it by that name.

mod age;
mod combine;
mod error;
mod files;
mod reload;
mod revocations;
mod state;
mod warning;

pub use combine::{CannotServe, Credentials};
pub use error::CredentialError;
pub use files::CredentialFiles;
pub use reload::{RELOAD_INTERVAL, ReloadError, Reloader};
pub use state::{CredentialState, CredentialWatch};
pub use warning::CredentialWarning;
