//! `[scheduler]`: the daemon itself.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use weir_protocol::Line;
use weir_service::log::LogFormat;

/// The port that agents, frameworks and operators connect to, over UDP.
const PORT: u16 = 5151;

/// The daemon's name, places and log.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SchedulerConfig {
    /// What the scheduler is called.
    #[serde(deserialize_with = "line")]
    pub name: Line,
    /// Where it listens, over UDP; at least one.
    pub listen: Vec<SocketAddr>,
    /// Where the database is kept.
    pub state_directory: PathBuf,
    /// How many entries of who did what are kept.
    pub audit_entries_max: u64,
    /// How the log is written.
    pub log_format: LogFormat,
    /// What is logged, as `tracing` filters are written.
    pub log_filter: String,
}

impl SchedulerConfig {
    #[cfg(test)]
    pub(super) const KEYS: &[&str] = &[
        "name",
        "listen",
        "state_directory",
        "audit_entries_max",
        "log_format",
        "log_filter",
    ];
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            name: Line::new("weir").expect("one short word is a line"),
            // Both families, where the node has both.
            listen: vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT))],
            state_directory: PathBuf::from("/var/lib/weir-scheduler"),
            audit_entries_max: 1_000_000,
            log_format: LogFormat::Auto,
            log_filter: "info".to_owned(),
        }
    }
}

fn line<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Line, D::Error> {
    let text = String::deserialize(deserializer)?;
    Line::new(&text).map_err(|error| D::Error::custom(format_args!("{text:?}: {error}")))
}
