//! What is published about the credentials.

use std::sync::Arc;

use tokio::sync::watch;

use super::combine::Credentials;
use super::error::CredentialError;
use crate::moment::Moment;

/// Follows the credentials as they change.
pub type CredentialWatch = watch::Receiver<CredentialState>;

/// The credentials in force, and how their last reload went.
///
/// All that metrics need: the two counters, [`CredentialState::expires_at`],
/// [`Credentials::revocations_next_update`] and whether there is an error.
#[derive(Clone, Debug)]
pub struct CredentialState {
    /// What is in force.
    pub current: Arc<Credentials>,
    /// Grows by one whenever something else comes into force.
    pub generation: u64,
    /// Why the files as they are now are not in force, or not all of them.
    pub last_error: Option<Arc<CredentialError>>,
    /// How often changed files were taken, all of them.
    pub reloads_ok: u64,
    /// How often changed files were refused, all or some.
    pub reloads_failed: u64,
}

impl CredentialState {
    /// Returns the state of credentials that were just loaded.
    pub(super) fn first(credentials: Credentials) -> Self {
        Self {
            current: Arc::new(credentials),
            generation: 0,
            last_error: None,
            reloads_ok: 0,
            reloads_failed: 0,
        }
    }

    /// Returns a watch on credentials that never change: for a command that runs once.
    pub fn fixed(credentials: Credentials) -> CredentialWatch {
        watch::channel(Self::first(credentials)).1
    }

    /// Returns when the certificate in force ends.
    pub fn expires_at(&self) -> Moment {
        self.current.not_after()
    }
}
