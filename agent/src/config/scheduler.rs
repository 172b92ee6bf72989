//! `[scheduler]`: which scheduler the node works for, and how the agent shows who it is.

use std::path::PathBuf;

use serde::Deserialize;
use weir_transport::Address;
use weir_transport::credentials::CredentialFiles;

use super::agent::path_or_empty;

/// The scheduler that the node works for.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SchedulerConfig {
    /// Where it is, as `host:port`; of several the first that answers counts. Empty for none: the node
    /// then runs what is started on it, and nothing else.
    pub addresses: Vec<String>,
    /// The agent's certificate, which bears its name.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authorities that are believed.
    pub authorities: PathBuf,
    /// What they have revoked; `None` for nothing.
    #[serde(deserialize_with = "path_or_empty")]
    pub revocations: Option<PathBuf>,
    /// How often the files are looked at.
    pub reload_ms: u64,
    /// How long after a connection that broke the agent connects again, at first ...
    pub retry_first_ms: u64,
    /// ... and at the longest.
    pub retry_longest_ms: u64,
}

impl SchedulerConfig {
    #[cfg(test)]
    pub(super) const KEYS: &[&str] = &[
        "addresses",
        "certificate",
        "key",
        "authorities",
        "revocations",
        "reload_ms",
        "retry_first_ms",
        "retry_longest_ms",
    ];

    /// Returns the files of the credentials.
    pub(crate) fn files(&self) -> CredentialFiles {
        CredentialFiles {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            authorities: self.authorities.clone(),
            revocations: self.revocations.clone(),
        }
    }

    /// Returns where the scheduler is.
    pub(crate) fn checked_addresses(&self) -> Vec<Address> {
        let parsed = self.addresses.iter().map(|text| text.parse());
        parsed
            .collect::<Result<_, _>>()
            .expect("a configuration is only handed out when its addresses are")
    }
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            certificate: PathBuf::from("/etc/weir/certs/agent.pem"),
            key: PathBuf::from("/etc/weir/certs/agent-key.pem"),
            authorities: PathBuf::from("/etc/weir/certs/ca.pem"),
            revocations: None,
            reload_ms: 2000,
            retry_first_ms: 1000,
            retry_longest_ms: 60_000,
        }
    }
}
