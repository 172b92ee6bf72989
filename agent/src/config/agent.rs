//! `[agent]`: the daemon itself.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};
use weir_service::log::LogFormat;

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
            log_format: LogFormat::Auto,
            log_filter: "info".to_owned(),
        }
    }
}

/// Reads a path; TOML has no null, so the empty text stands for none.
pub(super) fn path_or_empty<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    Ok((!path.as_os_str().is_empty()).then_some(path))
}
