//! `[agent]`: the daemon itself.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

/// The daemon's own places.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentConfig {
    /// Where containers, their output and the database are kept.
    pub state_directory: PathBuf,
    /// The socket that the commands speak to.
    pub socket: PathBuf,
    /// The `weir-executor` to start; `None` for the one beside `weir-agent`.
    #[serde(deserialize_with = "path_or_empty")]
    pub executor: Option<PathBuf>,
    /// How the log is written.
    pub log_format: LogFormat,
    /// What is logged, as `tracing` filters are written.
    pub log_filter: String,
}

impl AgentConfig {
    #[cfg(test)]
    pub(super) const KEYS: &[&str] = &[
        "state_directory",
        "socket",
        "executor",
        "log_format",
        "log_filter",
    ];
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            state_directory: PathBuf::from("/var/lib/weir"),
            socket: PathBuf::from("/run/weir/agent.sock"),
            executor: None,
            log_format: LogFormat::Text,
            log_filter: "info".to_owned(),
        }
    }
}

/// How the log is written to stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line per event, for people and for journald.
    Text,
    /// One JSON object per event, for collectors.
    Json,
}

/// Reads a path; TOML has no null, so the empty text stands for none.
pub(super) fn path_or_empty<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    Ok((!path.as_os_str().is_empty()).then_some(path))
}
