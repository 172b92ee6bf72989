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
//! undo at any time (systemd's CGROUP_DELEGATION.md). So nothing outside of the parent is changed there.

use std::path::{Path, PathBuf};

use weir_sys::cgroup::{Cgroup, CgroupError, find_hierarchy};

use crate::config::CgroupConfig;

/// The unit that packages bring for containers.
const UNIT: &str = "weir.slice/weir-containers.service";

/// The parent in the cgroup of that unit.
const IN_UNIT: &str = "containers";

/// Where sd_booted(3) looks.
const SYSTEMD: &str = "/run/systemd/system";

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
    /// Whether what is not delegated is systemd's.
    pub(crate) has_systemd: bool,
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
        // Somebody may have named a delegated cgroup as the root. The top of what is seen here is not
        // meant: there it is the system in a container that it was delegated to, and not to us.
        if delegated.is_none()
            && is_delegated(&root)?
            && Cgroup::open(&root)?.name()? != Path::new("/")
        {
            delegated = Some(root.clone());
        }
        Ok(Self {
            root,
            parent,
            delegated,
            has_systemd: Path::new(SYSTEMD).exists(),
        })
    }

    /// Returns whether a cgroup at or below [`Self::top`] may be changed.
    pub(crate) fn is_ours(&self, path: &Path) -> bool {
        match &self.delegated {
            Some(delegated) => path.starts_with(delegated),
            None => !self.has_systemd || path.starts_with(&self.parent),
        }
    }

    /// Returns the controllers that can act on containers here, and the cgroup that says so. The parent
    /// need not be there.
    pub(crate) fn controllers(&self) -> Result<(PathBuf, Vec<String>), CgroupError> {
        let top = self.top();
        if self.is_ours(top) {
            return Ok((top.to_owned(), Cgroup::open(top)?.controllers()?));
        }
        // What the one above passes on. One that is not there yet will pass on nothing: it will not be ours either.
        let above = self.parent.parent().unwrap_or(top).to_owned();
        let passed_on = if above.exists() {
            Cgroup::open(&above)?.passed_on()?
        } else {
            vec![]
        };
        Ok((above, passed_on))
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

        let (path, controllers) = place.controllers().unwrap();
        assert_eq!(
            (path.as_path(), controllers),
            (unit.path(), unit.controllers().unwrap())
        );
        assert!(place.is_ours(unit.path()) && !place.is_ours(root.path()));

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

    #[test]
    fn a_root_that_is_delegated_is_ours_unless_it_is_the_top() {
        let name = format!("weir-unit-{}-root", std::process::id());
        let root = Cgroup::create(&find_hierarchy().unwrap().join(name)).unwrap();
        let place = Place::find(&config(&root, None)).unwrap();
        assert_eq!(place.delegated, None);

        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(root.path(), "trusted.delegate", b"1", flags).unwrap();
        let place = Place::find(&config(&root, None)).unwrap();
        assert_eq!(place.delegated.as_deref(), Some(root.path()));
        assert!(place.is_ours(root.path()));
        root.remove(Duration::from_secs(2)).unwrap();
    }

    #[test]
    fn without_delegation_what_is_above_the_parent_is_systemds() {
        let root = find_hierarchy().unwrap();
        let mut place = Place {
            parent: root.join("weir-of-nobody/containers"),
            root: root.clone(),
            delegated: None,
            has_systemd: false,
        };
        let whole = Cgroup::open(&root).unwrap();
        assert!(place.is_ours(&root));
        assert_eq!(
            place.controllers().unwrap(),
            (root.clone(), whole.controllers().unwrap())
        );

        place.has_systemd = true;
        assert!(!place.is_ours(&root) && !place.is_ours(&root.join("weir-of-nobody")));
        assert!(place.is_ours(&place.parent) && place.is_ours(&place.parent.join("one")));
        // Whoever is made above the parent passes nothing on.
        assert_eq!(
            place.controllers().unwrap(),
            (root.join("weir-of-nobody"), vec![])
        );
        // Of what the root has, only what it passes on arrives.
        place.parent = root.join("weir-of-nobody");
        assert_eq!(
            place.controllers().unwrap(),
            (root, whole.passed_on().unwrap())
        );
    }
}
