//! Where containers' cgroups are on this node.
//!
//! ```text
//! <root>                                 cgroup v2, found or configured
//! ├── weir.slice
//! │   ├── weir-agent.service             the agent
//! │   └── weir-containers.service        systemd delegates it: all below is the agent's
//! │       ├── unit                       the process that keeps the unit alive
//! │       └── containers                 the parent: holds containers' cgroups, and nothing else
//! └── weir                               the parent where no systemd delegates
//! ```
//!
//! systemd takes every cgroup for its own but those that it delegates; what others do elsewhere it may
//! undo at any time (systemd's CGROUP_DELEGATION.md).

use std::path::{Path, PathBuf};

use weir_sys::cgroup::{Cgroup, CgroupError, find_hierarchy};

use crate::config::CgroupConfig;

/// The unit that packages bring for containers.
const UNIT: &str = "weir.slice/weir-containers.service";

/// The parent in the cgroup of that unit.
const IN_UNIT: &str = "containers";

/// The parent where there is no such unit.
const PLAIN: &str = "weir";

/// Where containers' cgroups are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where cgroup v2 is.
    pub(crate) root: PathBuf,
    /// The cgroup that holds every container's.
    pub(crate) parent: PathBuf,
    /// The cgroup, at or above the parent, that systemd delegates: nothing above it is ours.
    pub(crate) delegated: Option<PathBuf>,
}

impl Place {
    /// Finds it. Neither parent nor unit need be there.
    pub(crate) fn find(config: &CgroupConfig) -> Result<Self, CgroupError> {
        let root = match &config.root {
            Some(root) => root.clone(),
            None => find_hierarchy()?,
        };
        let parent = match &config.parent {
            Some(parent) => root.join(parent),
            None => found(&root)?,
        };
        let mut delegated = None;
        for path in parent.ancestors().take_while(|path| **path != root) {
            if is_delegated(path)? {
                delegated = Some(path.to_owned());
                break;
            }
        }
        Ok(Self {
            root,
            parent,
            delegated,
        })
    }

    /// Returns the highest cgroup that may be changed.
    pub(crate) fn top(&self) -> &Path {
        self.delegated.as_deref().unwrap_or(&self.root)
    }
}

/// Returns the parent that nobody has named.
fn found(root: &Path) -> Result<PathBuf, CgroupError> {
    let plain = root.join(PLAIN);
    let unit = root.join(UNIT);
    // Containers that are there already, of an agent that was started without the unit, stay found.
    let in_use = plain.exists() && !Cgroup::open(&plain)?.children()?.is_empty();
    if !in_use && is_delegated(&unit)? {
        Ok(unit.join(IN_UNIT))
    } else {
        Ok(plain)
    }
}

/// Returns whether systemd has delegated the cgroup at `path`; if there is one.
fn is_delegated(path: &Path) -> Result<bool, CgroupError> {
    if !path.exists() {
        return Ok(false);
    }
    Cgroup::open(path)?.is_delegated()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn config(root: &Cgroup, parent: Option<&str>) -> CgroupConfig {
        CgroupConfig {
            root: Some(root.path().to_owned()),
            parent: parent.map(str::to_owned),
            ..CgroupConfig::default()
        }
    }

    #[test]
    fn a_delegated_unit_is_used_unless_containers_are_elsewhere_already() {
        let name = format!("weir-unit-{}-place", std::process::id());
        let root = Cgroup::create(&find_hierarchy().unwrap().join(name)).unwrap();
        let at = |path: &str| root.path().join(path);

        let place = Place::find(&config(&root, None)).unwrap();
        assert_eq!(
            (place.parent.clone(), place.delegated.clone()),
            (at("weir"), None)
        );
        assert_eq!(place.top(), root.path());

        // A unit that is not delegated is systemd's own.
        let unit = root.create_child(UNIT).unwrap();
        assert_eq!(
            Place::find(&config(&root, None)).unwrap().parent,
            at("weir")
        );

        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(unit.path(), "trusted.delegate", b"1", flags).unwrap();
        let place = Place::find(&config(&root, None)).unwrap();
        assert_eq!(
            place.parent,
            at("weir.slice/weir-containers.service/containers")
        );
        assert_eq!(place.delegated.as_deref(), Some(unit.path()));
        assert_eq!(place.top(), unit.path());

        let named = Place::find(&config(&root, Some("weir.slice/other"))).unwrap();
        assert_eq!(
            (named.parent, named.delegated),
            (at("weir.slice/other"), None)
        );

        let container = root.create_child("weir/container").unwrap();
        assert_eq!(
            Place::find(&config(&root, None)).unwrap().parent,
            at("weir")
        );
        drop(container);
        root.remove(Duration::from_secs(2)).unwrap();
    }
}
