//! What the operator decides: `/etc/weir/scheduler.toml`, one table per subsystem.
//!
//! The file is read once, checked as a whole, and handed out in pieces: each subsystem is built from
//! its own struct and sees nothing of the others. Defaults stand in the structs and nowhere else;
//! `dist/scheduler.toml` shows each of them under its reason, and a test holds it to them. A key that
//! is not known is an error, so that a misspelt rule of access is never one that silently does not hold.
//!
//! At SIGHUP the file is read once more, for its rules of access alone: all else counts from the next
//! start.

mod access;
mod error;
mod http;
mod offers;
mod peers;
mod rights;
mod roles;
mod scheduler;
mod tls;
mod validate;

#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;

use serde::Deserialize;

pub use access::{AccessConfig, FrameworkRule, OperatorRule, Otherwise, Power, Subject, Users};
pub use error::{ConfigError, Position};
pub use http::HttpConfig;
pub use offers::OffersConfig;
pub use peers::{AgentsConfig, FrameworksConfig};
pub use rights::Rights;
pub use roles::RolesConfig;
pub use scheduler::SchedulerConfig;
pub use tls::TlsConfig;

use crate::allocator;
use crate::ledger::{Bounds, Settings};

/// Where the configuration is looked for when no `--config` is given.
pub const DEFAULT_PATH: &str = "/etc/weir/scheduler.toml";

/// The largest file that is read: a rule of access takes a hundred bytes, and thousands of them would
/// not be read by people, so more is a wrong path.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The whole configuration of the scheduler.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The daemon itself.
    pub scheduler: SchedulerConfig,
    /// Its certificate and whom it believes.
    pub tls: TlsConfig,
    /// Metrics and health.
    pub http: HttpConfig,
    /// How resources are offered.
    pub offers: OffersConfig,
    /// How long agents may be away, and how many there may be.
    pub agents: AgentsConfig,
    /// The same of frameworks.
    pub frameworks: FrameworksConfig,
    /// Which roles there are, and how much each is due.
    pub roles: RolesConfig,
    /// Who may do what.
    pub access: AccessConfig,
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

    /// Checks `text`, which was read from `file`.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let config: Self =
            toml::from_str(text).map_err(|source| ConfigError::from_toml(file, text, &source))?;
        match config.check() {
            Ok(()) => Ok(config),
            Err(invalid) => Err(ConfigError::from_invalid(file, text, invalid)),
        }
    }

    /// Returns what the ledger is made with.
    pub fn ledger_settings(&self) -> Settings {
        Settings {
            allocator: allocator::Settings {
                least: allocator::Least {
                    cpus: self.offers.cpus_least,
                    mem: self.offers.mem_mib_least,
                },
                refusal_min: self.offers.refusal_min(),
            },
            weights: self.roles.weights.clone(),
            offer_timeout: self.offers.timeout(),
            heartbeat: self.frameworks.heartbeat(),
            agent_removal: self.agents.removal(),
            agent_return: self.agents.come_back(),
            framework_return: self.frameworks.come_back(),
            bounds: Bounds {
                agents: self.agents.agents_max,
                frameworks: self.frameworks.frameworks_max,
                ..Bounds::default()
            },
            ..Settings::new(self.scheduler.name.clone())
        }
    }

    /// Returns the rules of access.
    pub fn rights(&self) -> Rights {
        Rights::new(self.roles.clone(), self.access.clone())
    }
}
