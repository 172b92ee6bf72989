//! Cgroups, as far as what is left of a node must be found and taken away.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Returns where cgroup v2 is mounted.
pub(crate) fn root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, place, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(place))
    })
}

/// Kills every process in `cgroup` and below, and removes it; fine if it is not there.
pub(crate) fn remove(cgroup: &Path) -> Result<()> {
    /// A killed process is gone in milliseconds unless it hangs in the kernel.
    const PATIENCE: Duration = Duration::from_secs(10);

    if !cgroup.exists() {
        return Ok(());
    }
    fs::write(cgroup.join("cgroup.kill"), "1")
        .with_context(|| format!("cannot kill what is in {}", cgroup.display()))?;
    let deadline = Instant::now() + PATIENCE;
    // The kernel tells of an empty cgroup only who watches its events; this is done once a run.
    while is_populated(cgroup) {
        if Instant::now() > deadline {
            bail!(
                "processes in {} outlive their kill; see its cgroup.procs",
                cgroup.display()
            );
        }
        thread::sleep(Duration::from_millis(20));
    }
    remove_tree(cgroup).with_context(|| format!("cannot remove {}", cgroup.display()))
}

fn is_populated(cgroup: &Path) -> bool {
    fs::read_to_string(cgroup.join("cgroup.events"))
        .is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
}

/// Removes the directories from below; the files in them go with them.
fn remove_tree(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(directory)
}
