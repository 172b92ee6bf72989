//! Asks the node what it has.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use nix::sys::statvfs::statvfs;
use weir_resources::BitRate;

use crate::config::Config;
use crate::network;

/// What the node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Processors that the agent may use, and so its containers.
    pub cores: u64,
    /// Memory.
    pub memory_mib: u64,
    /// The file system of the state directory.
    pub disk_mib: u64,
    /// What containers can be promised of what the node sends; nothing where that is not known.
    pub egress: Option<BitRate>,
    /// What the node receives at most; nothing where that is not known.
    pub ingress: Option<BitRate>,
}

/// Says why the node cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum FoundError {
    /// A file or file system.
    #[error("cannot find out what the node has: cannot read {}", path.display())]
    Read {
        /// What was asked.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file that says something else.
    #[error("cannot find out what the node has: {} has no line MemTotal", path.display())]
    NoMemory {
        /// What was asked.
        path: PathBuf,
    },
}

const MEMINFO: &str = "/proc/meminfo";

impl Found {
    /// Asks the node. The state directory, or what is above it, must be there.
    pub fn look(config: &Config) -> Result<Self, FoundError> {
        let state_directory = &config.agent.state_directory;
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| FoundError::Read { path, source }
        };
        let meminfo = Path::new(MEMINFO);
        let text = fs::read_to_string(meminfo).map_err(failed(meminfo))?;
        let memory_kib = memory_kib(&text).ok_or_else(|| FoundError::NoMemory {
            path: meminfo.to_owned(),
        })?;
        let there = state_directory
            .ancestors()
            .find(|path| path.exists())
            .unwrap_or_else(|| Path::new("/"));
        let disk = statvfs(there).map_err(|errno| failed(there)(errno.into()))?;
        let (egress, ingress) = network::rates(&config.network, &config.bandwidth);
        let bytes = u128::from(disk.blocks()) * u128::from(disk.fragment_size());
        Ok(Self {
            cores: available_parallelism()
                .map_or(1, |cores| u64::try_from(cores.get()).unwrap_or(u64::MAX)),
            memory_mib: memory_kib / 1024,
            disk_mib: u64::try_from(bytes / (1024 * 1024)).unwrap_or(u64::MAX),
            egress,
            ingress,
        })
    }
}

/// `MemTotal:       16316412 kB`, as fs/proc/meminfo.c prints it.
fn memory_kib(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_something() {
        let mut config = Config::default();
        config.agent.state_directory = "/nonexistent/state".into();
        let found = Found::look(&config).unwrap();
        assert!(
            found.cores > 0 && found.memory_mib > 0 && found.disk_mib > 0,
            "{found}"
        );
    }

    #[test]
    fn the_line_of_the_kernel_is_read() {
        assert_eq!(
            memory_kib("MemTotal:       16316412 kB\nMemFree: 1 kB\n"),
            Some(16_316_412)
        );
        for text in [
            "",
            "MemTotal:",
            "MemTotal: x kB",
            "MemTotal: -1 kB",
            "MemFree: 3 kB",
        ] {
            assert_eq!(memory_kib(text), None, "{text}");
        }
    }
}
