//! Which of a container's files there can be, so that no file is looked for a thousand times in vain.

use std::io;
use std::path::Path;

use weir_sys::cgroup::{Cgroup, CgroupError, PressureFiles};
use weir_sys::directory::Directory;

/// What the cgroup of all containers hands on to them. What it does not, none of them has; what it does, one that an
/// older agent has started may lack all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offered {
    pub(super) memory: bool,
    pub(super) pids: bool,
    pub(super) pressure: bool,
}

impl Offered {
    /// Asks the cgroup of all containers, which is open as `above`.
    ///
    /// In each scrape anew: it costs less than one container, and is true also when something else was passed on.
    pub(super) fn find(parent: &Path, above: &Directory) -> Result<Self, OfferedError> {
        let passed_on = Cgroup::open(parent)?.passed_on()?;
        let passes_on = |name: &str| passed_on.iter().any(|passed| passed == name);
        Ok(Self {
            memory: passes_on("memory"),
            pids: passes_on("pids"),
            pressure: PressureFiles::open(above, Path::new("."))?.is_some(),
        })
    }
}

/// Says why that is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum OfferedError {
    /// The controllers cannot be read.
    #[error(transparent)]
    Controllers(#[from] CgroupError),
    /// The files of pressure cannot be opened.
    #[error("cannot open the files of pressure of the containers' cgroup")]
    Pressure(#[from] io::Error),
}

#[cfg(test)]
mod tests {
    use weir_sys::cgroup::find_hierarchy;

    use super::*;

    #[test]
    fn what_a_cgroup_does_not_hand_on_is_not_looked_for() {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test makes a cgroup: run it as root"
        );
        let root = find_hierarchy().unwrap();
        let path = root.join(format!("weir-unit-{}-offered", std::process::id()));
        let parent = Cgroup::create(&path).unwrap();
        let above = Directory::open(&path).unwrap();
        let expected = Offered {
            memory: false,
            pids: false,
            pressure: path.join("cpu.pressure").exists(),
        };
        assert_eq!(Offered::find(&path, &above).unwrap(), expected);
        parent.remove(std::time::Duration::from_secs(2)).unwrap();
        assert!(Offered::find(&path, &above).is_err());
    }
}
