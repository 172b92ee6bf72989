//! `[tls]`: what the scheduler shows, and whom it believes.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use weir_transport::credentials::CredentialFiles;

/// The files of the certificate, its key, the authorities and the revocation lists.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// The scheduler's certificate, with what is between it and an authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authorities that are believed.
    pub authorities: PathBuf,
    /// The lists of what they have revoked; `None` for none.
    #[serde(deserialize_with = "path_or_empty")]
    pub revocations: Option<PathBuf>,
    /// How often the files are looked at.
    pub reload_ms: u64,
}

impl TlsConfig {
    #[cfg(test)]
    pub(super) const KEYS: &[&str] = &[
        "certificate",
        "key",
        "authorities",
        "revocations",
        "reload_ms",
    ];

    /// Returns the files.
    pub fn files(&self) -> CredentialFiles {
        CredentialFiles {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            authorities: self.authorities.clone(),
            revocations: self.revocations.clone(),
        }
    }

    /// Returns how often the files are looked at.
    pub fn reload_interval(&self) -> Duration {
        Duration::from_millis(self.reload_ms)
    }
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            certificate: PathBuf::from("/etc/weir/certs/scheduler.pem"),
            key: PathBuf::from("/etc/weir/certs/scheduler-key.pem"),
            authorities: PathBuf::from("/etc/weir/certs/ca.pem"),
            revocations: None,
            reload_ms: 2_000,
        }
    }
}

/// Reads a path; TOML has no null, so the empty text stands for none.
fn path_or_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    Ok((!path.as_os_str().is_empty()).then_some(path))
}
