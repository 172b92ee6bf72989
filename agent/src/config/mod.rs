//! What the operator decides: `/etc/weir/agent.toml`, one table per subsystem.
//!
//! The file is read once, checked as a whole, and handed out in pieces: each subsystem is built from
//! its own struct and sees nothing of the others. Defaults stand in the structs and nowhere else;
//! `dist/agent.toml` shows each of them under its reason, and a test holds it to them. A key that
//! is not known is an error, so that a misspelt limit is never a limit that silently does not hold.

mod agent;
mod cgroup;
mod container;
mod error;
mod http;
mod network;
mod validate;

use std::fs;
use std::path::Path;

use serde::Deserialize;

pub use agent::{AgentConfig, LogFormat};
pub use cgroup::CgroupConfig;
pub use container::ContainerConfig;
pub use error::{ConfigError, Position};
pub use http::HttpConfig;
pub use network::{AttachMode, NetworkConfig};

/// Where the configuration is looked for when no `--config` is given.
pub const DEFAULT_PATH: &str = "/etc/weir/agent.toml";

/// The largest file that is read: a configuration is a page or two, so more is a wrong path.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The whole configuration of the agent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The daemon itself.
    pub agent: AgentConfig,
    /// Ports, uplinks and programs.
    pub network: NetworkConfig,
    /// Where containers' cgroups are, and what to do without controllers.
    pub cgroup: CgroupConfig,
    /// What every container gets.
    pub container: ContainerConfig,
    /// Metrics and statistics.
    pub http: HttpConfig,
}

impl Config {
    /// Reads and checks the file at `path`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable {
            file: path.to_owned(),
            source,
        };
        let bytes = fs::metadata(path).map_err(unreadable)?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(ConfigError::TooLarge {
                file: path.to_owned(),
                bytes,
                bytes_max: FILE_BYTES_MAX,
            });
        }
        let text = fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(&text, path)
    }

    /// Reads the file at `path`, or gives the defaults where there is no file at the default place.
    ///
    /// For the commands that only need to know where the socket is: they work on a node that never
    /// needed a configuration. A file that was named must be there.
    pub fn load_or_default(path: Option<&Path>) -> Result<Self, ConfigError> {
        match path {
            Some(path) => Self::load(path),
            None if Path::new(DEFAULT_PATH).exists() => Self::load(Path::new(DEFAULT_PATH)),
            None => Ok(Self::default()),
        }
    }

    /// Checks `text`, which was read from `file`.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let config: Self =
            toml::from_str(text).map_err(|source| ConfigError::from_toml(file, text, &source))?;
        match config.check() {
            Ok(()) => Ok(config),
            Err(invalid) => Err(ConfigError::from_invalid(file, text, invalid)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const SHIPPED: &str = include_str!("../../dist/agent.toml");

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, &PathBuf::from("agent.toml"))
    }

    /// Turns each `# key = value` into `key = value`; prose has no ` = `.
    fn uncommented(text: &str) -> String {
        let is_setting = |line: &str| {
            line.strip_prefix("# ")
                .and_then(|rest| rest.split_once(" = "))
                .is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        };
        text.lines()
            .map(|line| if is_setting(line) { &line[2..] } else { line })
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn the_shipped_file_changes_no_default() {
        assert_eq!(parse(SHIPPED).unwrap(), Config::default());
    }

    #[test]
    fn the_shipped_file_shows_the_defaults_there_are() {
        let text = uncommented(SHIPPED);
        assert_ne!(text, SHIPPED);
        assert_eq!(parse(&text).unwrap(), Config::default());
    }

    #[test]
    fn the_shipped_file_shows_every_key() {
        let shown: toml::Table = toml::from_str(&uncommented(SHIPPED)).unwrap();
        for (table, keys) in [
            ("agent", AgentConfig::KEYS),
            ("network", NetworkConfig::KEYS),
            ("cgroup", CgroupConfig::KEYS),
            ("container", ContainerConfig::KEYS),
            ("http", HttpConfig::KEYS),
        ] {
            let mut shown: Vec<&str> = shown[table]
                .as_table()
                .unwrap()
                .keys()
                .map(String::as_str)
                .collect();
            let mut known = keys.to_vec();
            shown.sort_unstable();
            known.sort_unstable();
            assert_eq!(shown, known, "[{table}]");
        }
    }

    #[test]
    fn the_defaults_pass_their_own_check() {
        Config::default().check().unwrap();
    }

    #[test]
    fn an_unknown_key_is_refused_where_it_stands() {
        let error = parse("[network]\nattach = \"auto\"\n  ephemeral_blok = 512\n").unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("agent.toml:3:3: "), "{message}");
        assert!(message.contains("ephemeral_blok"), "{message}");
        assert!(message.contains("ephemeral_block"), "{message}");
    }

    #[test]
    fn an_impossible_value_is_refused_where_it_stands() {
        let error = parse("[network]\nephemeral_block = 1000\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "agent.toml:2:19: [network] ephemeral_block = 1000 is not the size of a block; \
             use a power of two from 16 to 32768, for example 512 or 1024"
        );
    }

    #[test]
    fn a_broken_port_set_says_what_it_is_about() {
        let message = parse("[network]\ncontainer_ports = \"31000-\"\n")
            .unwrap_err()
            .to_string();
        assert!(message.starts_with("agent.toml:2:"), "{message}");
        assert!(message.contains("position 7"), "{message}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Config::load(Path::new("/nonexistent/agent.toml")).unwrap_err();
        assert!(
            error.to_string().contains("/nonexistent/agent.toml"),
            "{error}"
        );
    }
}
