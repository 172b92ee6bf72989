//! A certificate authority for development: a directory with a key in it.
//!
//! ```text
//! certs/
//!   ca.pem        the authority's certificate: the bundle of every peer
//!   ca-key.pem    its key (mode 0600)
//!   crl.pem       what was revoked, there from the start, so that peers can be told of it once
//!   index         one line for each certificate ever issued
//!   lock          held while something is issued or revoked
//! ```
//!
//! 1. [`Authority::create`] makes the directory, and refuses one that holds an authority already.
//! 2. [`Authority::issue`] makes a certificate and its key. It is in the index before it is given
//!    out, so that whatever exists can be revoked.
//! 3. [`Authority::revoke`] marks certificates in the index and writes the list anew.
//!
//! This is what `weir certs` calls. Production brings its own authority; all that Weir asks of it is
//! the identity (see [`crate::identity`]) and the right extended key usage: server authentication
//! for schedulers, client authentication for everyone else.
//!
//! Every call blocks on the disk. The time is an argument; keys and serial numbers are random.

mod error;
mod files;
mod index;
mod issue;
mod open;
mod revoke;

pub use error::AuthorityError;
pub use index::{IndexEntry, IndexError, Standing};
pub use issue::{IssueRequest, Issued, IssuedFiles, Overwrite};
pub use open::Authority;
pub use revoke::Revoke;

use std::time::Duration;

/// How long an authority lasts unless something else is asked for: longer than a development
/// cluster, short enough that the end is no surprise to another generation.
pub const AUTHORITY_LIFETIME: Duration = Duration::from_hours(24 * 365 * 5);

/// How long a certificate lasts unless something else is asked for.
pub const CERTIFICATE_LIFETIME: Duration = Duration::from_hours(24 * 90);

/// How far a certificate's start lies before its making: the clocks of hosts differ.
const CLOCK_SKEW: Duration = Duration::from_mins(5);
