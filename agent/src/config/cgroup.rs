//! `[cgroup]`: where containers' cgroups are.

use std::path::PathBuf;

use serde::Deserialize;

use super::agent::path_or_empty;

/// The place of containers in the cgroup tree.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CgroupConfig {
    /// Where cgroup v2 is mounted; `None` to look it up.
    #[serde(deserialize_with = "path_or_empty")]
    pub root: Option<PathBuf>,
    /// The cgroup, below the root, that holds every container's.
    pub parent: String,
    /// Whether a container may be started with a limit that this node cannot enforce.
    pub allow_unenforced_limits: bool,
}

impl CgroupConfig {
    #[cfg(test)]
    pub(super) const KEYS: &[&str] = &["root", "parent", "allow_unenforced_limits"];
}

impl Default for CgroupConfig {
    fn default() -> Self {
        Self {
            root: None,
            parent: "weir".to_owned(),
            allow_unenforced_limits: false,
        }
    }
}
