//! What makes a configuration impossible, beyond what its types already refuse.

use std::path::{Component, Path};

use weir_service::log;

use super::Config;
use crate::container::{ProcessCount, SwapBytes};

/// The longest path of a Unix socket that Linux takes: `sun_path` less its final NUL.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The smallest memory file system: below one page there is none.
const TMP_BYTES_MIN: u64 = 4096;

/// The most rotated files of a stream: each rotation renames all of them while the output waits.
const OUTPUT_FILES_MAX: u32 = 100;

/// The longest that a killed container may linger: an hour. More is a mistaken unit.
const KILL_GRACE_MS_MAX: u64 = 3_600_000;

/// The longest quarantine: a day. More is a mistaken unit.
const QUARANTINE_MS_MAX: u64 = 86_400_000;

/// A value that cannot be, before it is known where in the file it stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalid {
    pub(super) table: &'static str,
    pub(super) key: &'static str,
    /// Completes the sentence that begins with table and key.
    pub(super) what: String,
    pub(super) remedy: String,
}

impl Config {
    /// Returns the first thing that is wrong.
    pub(super) fn check(&self) -> Result<(), Invalid> {
        self.check_agent()?;
        self.check_network()?;
        self.check_ports()?;
        self.check_cgroup()?;
        self.check_container()?;
        self.check_scheduler()?;
        self.check_resources()?;
        self.check_attributes()?;
        self.check_estimate()
    }

    fn check_agent(&self) -> Result<(), Invalid> {
        let agent = &self.agent;
        absolute("agent", "state_directory", &agent.state_directory)?;
        absolute("agent", "socket", &agent.socket)?;
        if let Some(executor) = &agent.executor {
            absolute("agent", "executor", executor)?;
        }
        if agent.state_directory == Path::new("/") {
            return Err(invalid(
                "agent",
                "state_directory",
                "= \"/\" is the root of the file system",
                "use a directory of the agent's own, for example /var/lib/weir",
            ));
        }
        if let Err(error) = log::check_filter(&agent.log_filter) {
            return Err(invalid(
                "agent",
                "log_filter",
                format!("= {:?} is no filter: {error}", agent.log_filter),
                "write a level such as \"info\", or levels by module",
            ));
        }
        let bytes = agent.socket.as_os_str().len();
        if bytes > SOCKET_PATH_BYTES_MAX {
            return Err(invalid(
                "agent",
                "socket",
                format!("is {bytes} bytes long, and the kernel takes {SOCKET_PATH_BYTES_MAX}"),
                "use a shorter path",
            ));
        }
        Ok(())
    }

    fn check_network(&self) -> Result<(), Invalid> {
        let network = &self.network;
        absolute("network", "pin_directory", &network.pin_directory)?;
        for (index, uplink) in network.uplinks.iter().enumerate() {
            // The kernel's rules: dev_valid_name() in net/core/dev.c.
            let valid = (1..16).contains(&uplink.len())
                && !matches!(uplink.as_str(), "." | "..")
                && !uplink.contains(|c: char| matches!(c, '/' | ':' | '\0') || c.is_whitespace());
            if !valid {
                return Err(invalid(
                    "network",
                    "uplinks",
                    format!("holds {uplink:?}, which no interface can be called"),
                    "use names as `ip link` prints them",
                ));
            }
            if network.uplinks[..index].contains(uplink) {
                return Err(invalid(
                    "network",
                    "uplinks",
                    format!("names {uplink:?} twice"),
                    "name each interface once",
                ));
            }
        }
        if network.quarantine_ms > QUARANTINE_MS_MAX {
            return Err(invalid(
                "network",
                "quarantine_ms",
                format!("= {} is more than a day", network.quarantine_ms),
                format!("use at most {QUARANTINE_MS_MAX}"),
            ));
        }
        Ok(())
    }

    fn check_ports(&self) -> Result<(), Invalid> {
        match self.network.pools() {
            Ok(_pools) => Ok(()),
            Err((key, what, remedy)) => Err(invalid("network", key, what, remedy)),
        }
    }

    fn check_cgroup(&self) -> Result<(), Invalid> {
        let cgroup = &self.cgroup;
        if let Some(root) = &cgroup.root {
            absolute("cgroup", "root", root)?;
        }
        // As the kernel writes it, for it is compared with that; the kernel takes no line feed.
        if let Some(parent) = &cgroup.parent
            && !parent
                .split('/')
                .all(|name| !matches!(name, "" | "." | "..") && !name.contains(['\0', '\n']))
        {
            return Err(invalid(
                "cgroup",
                "parent",
                format!("= {parent:?} is not a path below the root of the cgroups"),
                "use a name such as weir, or a path such as weir.slice/containers",
            ));
        }
        Ok(())
    }

    fn check_container(&self) -> Result<(), Invalid> {
        let container = &self.container;
        if container.kill_grace_ms > KILL_GRACE_MS_MAX {
            return Err(invalid(
                "container",
                "kill_grace_ms",
                format!("= {} is more than an hour", container.kill_grace_ms),
                format!("use at most {KILL_GRACE_MS_MAX}"),
            ));
        }
        if container.output_bytes_max == 0 {
            return Err(invalid(
                "container",
                "output_bytes_max",
                "= 0 leaves no room for output",
                "use for example 16777216",
            ));
        }
        if container.output_files > OUTPUT_FILES_MAX {
            return Err(invalid(
                "container",
                "output_files",
                format!(
                    "= {} is more than can be renamed at each rotation",
                    container.output_files
                ),
                format!("use at most {OUTPUT_FILES_MAX}"),
            ));
        }
        if container.tmp_bytes_max < TMP_BYTES_MIN {
            return Err(invalid(
                "container",
                "tmp_bytes_max",
                format!("= {} is less than a page", container.tmp_bytes_max),
                format!("use at least {TMP_BYTES_MIN}"),
            ));
        }
        if container.pids_max != 0 && ProcessCount::new(container.pids_max).is_none() {
            return Err(invalid(
                "container",
                "pids_max",
                format!("= {} cannot be a limit of processes", container.pids_max),
                format!(
                    "use a number from {} to {}, or 0 for no limit",
                    ProcessCount::MIN,
                    ProcessCount::MAX
                ),
            ));
        }
        if SwapBytes::new(container.swap_bytes_max).is_none() {
            return Err(invalid(
                "container",
                "swap_bytes_max",
                format!("= {} is less than a page", container.swap_bytes_max),
                "use 0 for none, or at least 4096",
            ));
        }
        for name in &container.capabilities_allowed {
            if weir_sys::capability::parse(name).is_err() {
                return Err(invalid(
                    "container",
                    "capabilities_allowed",
                    format!("holds {name:?}, which is no capability"),
                    "use names of capabilities(7) without CAP_, for example NET_BIND_SERVICE",
                ));
            }
        }
        Ok(())
    }
}

pub(super) fn absolute(table: &'static str, key: &'static str, path: &Path) -> Result<(), Invalid> {
    let climbs = path
        .components()
        .any(|component| component == Component::ParentDir);
    let holds_nul = path.as_os_str().as_encoded_bytes().contains(&0);
    if path.is_absolute() && !climbs && !holds_nul {
        return Ok(());
    }
    Err(invalid(
        table,
        key,
        format!("= {:?} is not an absolute path", path.display().to_string()),
        "begin it with / and leave out ..: the daemon has no working directory of its own",
    ))
}

pub(super) fn invalid(
    table: &'static str,
    key: &'static str,
    what: impl Into<String>,
    remedy: impl Into<String>,
) -> Invalid {
    Invalid {
        table,
        key,
        what: what.into(),
        remedy: remedy.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns table and key that `change` makes the check complain of.
    fn complaint(change: impl FnOnce(&mut Config)) -> Option<(&'static str, &'static str)> {
        let mut config = Config::default();
        change(&mut config);
        config
            .check()
            .err()
            .map(|invalid| (invalid.table, invalid.key))
    }

    fn ports(text: &str) -> weir_resources::PortSet {
        text.parse().unwrap()
    }

    #[test]
    fn overlapping_pools_are_refused_with_the_ports_they_share() {
        let mut config = Config::default();
        config.network.container_ports = ports("30000-31999");
        let invalid = config.check().unwrap_err();
        assert_eq!((invalid.table, invalid.key), ("network", "container_ports"));
        assert!(invalid.what.contains("30000-30719"), "{}", invalid.what);
    }

    #[test]
    fn blocks_are_powers_of_two_of_at_least_16_that_fit() {
        let block = |size| complaint(|c| c.network.ephemeral_block = size);
        assert_eq!(block(16), None);
        assert_eq!(block(8), Some(("network", "ephemeral_block")));
        assert_eq!(block(0), Some(("network", "ephemeral_block")));
        assert_eq!(block(1000), Some(("network", "ephemeral_block")));
        assert_eq!(block(32768), Some(("network", "ephemeral_ports")));
        assert_eq!(block(65536), Some(("network", "ephemeral_block")));
        assert_eq!(
            complaint(|c| {
                c.network.ephemeral_ports = ports("61440-61500");
                c.network.ephemeral_block = 64;
            }),
            Some(("network", "ephemeral_ports"))
        );
    }

    #[test]
    fn relative_paths_are_refused() {
        let relative = || std::path::PathBuf::from("weir/x");
        assert_eq!(
            complaint(|c| c.agent.state_directory = relative()),
            Some(("agent", "state_directory"))
        );
        assert_eq!(
            complaint(|c| c.agent.socket = relative()),
            Some(("agent", "socket"))
        );
        assert_eq!(
            complaint(|c| c.agent.executor = Some(relative())),
            Some(("agent", "executor"))
        );
        assert_eq!(
            complaint(|c| c.network.pin_directory = "/sys/fs/bpf/../x".into()),
            Some(("network", "pin_directory"))
        );
        assert_eq!(
            complaint(|c| c.cgroup.root = Some(relative())),
            Some(("cgroup", "root"))
        );
    }

    #[test]
    fn the_parent_cgroup_stays_below_the_root() {
        for parent in ["/", "/weir", "../weir", "weir/../..", "."] {
            assert_eq!(
                complaint(|c| c.cgroup.parent = Some(parent.to_owned())),
                Some(("cgroup", "parent")),
                "{parent}"
            );
        }
        assert_eq!(
            complaint(|c| c.cgroup.parent = Some("weir.slice/containers".to_owned())),
            None
        );
    }

    #[test]
    fn an_unknown_capability_is_refused() {
        assert_eq!(
            complaint(|c| c.agent.log_filter = "=!!,[".to_owned()),
            Some(("agent", "log_filter"))
        );
        assert_eq!(
            complaint(|c| c.container.capabilities_allowed = vec!["FLY".to_owned()]),
            Some(("container", "capabilities_allowed"))
        );
    }

    #[test]
    fn an_interface_is_named_once_and_possibly() {
        for uplinks in [
            vec!["eth0", "eth0"],
            vec!["a/b"],
            vec![""],
            vec!["0123456789abcdef"],
        ] {
            assert_eq!(
                complaint(|c| c.network.uplinks = uplinks.iter().map(|s| (*s).to_owned()).collect()),
                Some(("network", "uplinks")),
                "{uplinks:?}"
            );
        }
    }

    #[test]
    fn files_that_are_rotated_can_be_counted() {
        let files = |number| complaint(|c| c.container.output_files = number);
        assert_eq!(files(0), None);
        assert_eq!(files(100), None);
        assert_eq!(files(u32::MAX), Some(("container", "output_files")));
    }
}
