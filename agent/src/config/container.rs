//! `[container]`: what every container gets.

use serde::Deserialize;

/// Limits and allowances of every container.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContainerConfig {
    /// How long a container has between SIGTERM and SIGKILL.
    pub kill_grace_ms: u64,
    /// The size at which a file of output is rotated.
    pub output_bytes_max: u64,
    /// How many rotated files are kept beside the current one, for each stream.
    pub output_files: u32,
    /// The size of the private /tmp, and of each other memory file system of a container.
    pub tmp_bytes_max: u64,
    /// The most processes and threads of a container that does not ask for a number; 0 for no limit.
    pub pids_max: u32,
    /// How much of a container with a limit of memory may be swapped out, if it does not ask for an amount.
    pub swap_bytes_max: u64,
    /// The capabilities that may be asked for.
    pub capabilities_allowed: Vec<String>,
    /// How many ended containers are kept for `ps --all` and `logs`.
    pub ended_keep: u32,
}

impl ContainerConfig {
    #[cfg(test)]
    pub(super) const KEYS: &[&str] = &[
        "kill_grace_ms",
        "output_bytes_max",
        "output_files",
        "tmp_bytes_max",
        "pids_max",
        "swap_bytes_max",
        "capabilities_allowed",
        "ended_keep",
    ];
}

impl Default for ContainerConfig {
    fn default() -> Self {
        Self {
            kill_grace_ms: 5_000,
            output_bytes_max: 16 * 1024 * 1024,
            output_files: 2,
            tmp_bytes_max: 256 * 1024 * 1024,
            // What most services of hundreds of threads never reach, and 1000 containers of a large node can have.
            pids_max: 4096,
            swap_bytes_max: 0,
            capabilities_allowed: [
                "CHOWN",
                "FOWNER",
                "KILL",
                "NET_BIND_SERVICE",
                "SETGID",
                "SETUID",
            ]
            .map(str::to_owned)
            .to_vec(),
            ended_keep: 100,
        }
    }
}
