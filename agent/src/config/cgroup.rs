//! `[cgroup]`: where containers' cgroups are.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

use super::agent::path_or_empty;

/// The place of containers in the cgroup tree.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CgroupConfig {
    /// Where cgroup v2 is mounted; `None` to look it up.
    #[serde(deserialize_with = "path_or_empty")]
    pub root: Option<PathBuf>,
    /// The cgroup, below the root, that holds every container's; `None` to find it out.
    #[serde(deserialize_with = "text_or_empty")]
    pub parent: Option<String>,
    /// Whether a container may be started with a limit that this node cannot enforce.
    pub allow_unenforced_limits: bool,
}

impl CgroupConfig {
    #[cfg(test)]
    pub(super) const KEYS: &[&str] = &["root", "parent", "allow_unenforced_limits"];
}

fn text_or_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok((!text.is_empty()).then_some(text))
}
