//! What the operator decides: `/etc/weir/agent.toml`, one table per subsystem.
//!
//! The file is read once, checked as a whole, and handed out in pieces: each subsystem is built from
//! its own struct and sees nothing of the others. Defaults stand in the structs and nowhere else;
//! `dist/agent.toml` shows each of them under its reason, and a test holds it to them. A key that
//! is not known is an error, so that a misspelt limit is never a limit that silently does not hold.

mod agent;
mod bandwidth;
mod cgroup;
mod container;
mod error;
mod estimate;
mod http;
mod lending;
mod network;
mod resources;
mod scheduler;
mod validate;

use std::fs;
use std::path::Path;

use serde::Deserialize;

pub use agent::AgentConfig;
pub use bandwidth::BandwidthConfig;
pub use cgroup::CgroupConfig;
pub use container::ContainerConfig;
pub use error::{ConfigError, Position};
pub use estimate::{EstimateConfig, EstimatorKind};
pub use http::HttpConfig;
pub use network::{AttachMode, NetworkConfig};
pub use resources::{AttributesConfig, ResourcesConfig};
pub use scheduler::SchedulerConfig;

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
    /// The rates of the node's links, and how they are divided.
    pub bandwidth: BandwidthConfig,
    /// Where containers' cgroups are, and what to do without controllers.
    pub cgroup: CgroupConfig,
    /// What every container gets.
    pub container: ContainerConfig,
    /// Metrics and statistics.
    pub http: HttpConfig,
    /// The scheduler that the node works for.
    pub scheduler: SchedulerConfig,
    /// What the node lends to it.
    pub resources: ResourcesConfig,
    /// What there is to know of the node.
    pub attributes: AttributesConfig,
    /// What of it is lent a second time.
    pub estimate: EstimateConfig,
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
    use crate::near_miss::{Edit, near_miss};

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
            ("bandwidth", BandwidthConfig::KEYS),
            ("cgroup", CgroupConfig::KEYS),
            ("container", ContainerConfig::KEYS),
            ("http", HttpConfig::KEYS),
            ("scheduler", SchedulerConfig::KEYS),
            ("resources", ResourcesConfig::KEYS),
            ("attributes", AttributesConfig::KEYS),
            ("estimate", EstimateConfig::KEYS),
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

    /// What the daemon relies on in a configuration that was taken.
    fn assert_possible(config: &Config) {
        config.check().unwrap();
        drop(config.network.checked_pools());
        drop(config.scheduler.checked_addresses());
        drop(config.resources.checked_lend());
        drop(config.attributes.checked());
        drop(config.estimate.checked_lend());
        let paths = [
            &config.agent.state_directory,
            &config.agent.socket,
            &config.network.pin_directory,
            &config.scheduler.certificate,
            &config.scheduler.key,
            &config.scheduler.authorities,
        ];
        for path in paths
            .into_iter()
            .chain(&config.agent.executor)
            .chain(&config.cgroup.root)
            .chain(&config.scheduler.revocations)
        {
            assert!(path.is_absolute(), "{path:?}");
            assert!(!path.to_string_lossy().contains('\0'), "{path:?}");
        }
        // As the kernel writes it in /proc/<pid>/cgroup, which the socket compares.
        for name in config
            .cgroup
            .parent
            .iter()
            .flat_map(|parent| parent.split('/'))
        {
            assert!(!matches!(name, "" | "." | ".."), "{name:?}");
            assert!(!name.contains(['\0', '\n']), "{name:?}");
        }
    }

    /// One line that says where; there is such a place in the text.
    fn assert_helpful(text: &str, error: &ConfigError) {
        let message = error.to_string();
        assert_eq!(message.lines().count(), 1, "{message}");
        let (ConfigError::Syntax { position, .. } | ConfigError::Invalid { position, .. }) = error
        else {
            panic!("nothing was read from a file: {message}");
        };
        let position = position.to_string();
        let mut numbers = position
            .split(':')
            .skip(1)
            .map(|n| n.parse::<usize>().unwrap());
        if let (Some(line), Some(column)) = (numbers.next(), numbers.next()) {
            let line = text.split('\n').nth(line.checked_sub(1).unwrap());
            let columns = line.expect("the line is there").chars().count() + 1;
            assert!((1..=columns).contains(&column), "{message} for {text:?}");
        }
    }

    fn assert_possible_or_helpful(text: &str) {
        match parse(text) {
            Ok(config) => assert_possible(&config),
            Err(error) => assert_helpful(text, &error),
        }
    }

    #[test]
    fn any_text_is_a_possible_configuration_or_an_error_with_a_place_in_it() {
        let complete = uncommented(SHIPPED);
        // Without the prose, so that the edits meet keys and values.
        let settings: String = complete
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(|line| format!("{line}\n"))
            .collect();
        bolero::check!()
            .with_type::<(Vec<Edit>, String)>()
            .with_iterations(500)
            .for_each(|(edits, text)| {
                assert_possible_or_helpful(text);
                assert_possible_or_helpful(&near_miss(&settings, edits));
            });
    }

    #[test]
    fn any_value_of_any_text_key_is_possible_or_refused_where_it_stands() {
        const KEYS: [(&str, &str); 13] = [
            ("agent", "state_directory"),
            ("agent", "socket"),
            ("agent", "executor"),
            ("network", "pin_directory"),
            ("network", "container_ports"),
            ("network", "ephemeral_ports"),
            ("cgroup", "root"),
            ("cgroup", "parent"),
            ("http", "listen"),
            ("scheduler", "certificate"),
            ("resources", "lend"),
            ("attributes", "text"),
            ("estimate", "lend"),
        ];
        const PIECES: [&str; 13] = [
            "/", ".", "..", "weir", "\0", "\n", "31000", "-", ":", "é", "cpus", "(", ";",
        ];
        bolero::check!()
            .with_type::<(u8, Vec<u8>)>()
            .with_iterations(2000)
            .for_each(|(which, choices)| {
                let (table, key) = KEYS[usize::from(*which) % KEYS.len()];
                let pieces = choices.iter().take(6).map(|b| PIECES[usize::from(b % 13)]);
                let value: String = pieces.collect();
                let text = format!("[{table}]\n{key} = {}\n", toml::Value::String(value));
                assert_possible_or_helpful(&text);
            });
    }

    #[test]
    fn nesting_without_end_is_an_error() {
        for opening in ["[", "{a=", "a."] {
            let text = format!("a = {}", opening.repeat(200_000 / opening.len()));
            assert_helpful(&text, &parse(&text).unwrap_err());
        }
        let text = format!("{}a = 1", "a.".repeat(50_000));
        assert_helpful(&text, &parse(&text).unwrap_err());
    }

    #[test]
    fn a_cgroup_is_named_as_the_kernel_names_it() {
        for parent in [
            "weir//containers",
            "weir/./containers",
            "weir/",
            "a\\u0000b",
            "a\\nb",
        ] {
            let text = format!("[cgroup]\nparent = \"{parent}\"\n");
            let error = parse(&text).unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with("agent.toml:2:10: [cgroup] parent"),
                "{error}"
            );
        }
    }
}
