//! What of the node's own file tree the plan depends on.

use std::fs;
use std::io;
use std::path::PathBuf;

use weir_sys::mount::{self, MountError, Mounted};

use super::plan::{KernelEntry, Node, Resolver};

/// Where a container gets an empty directory of its own, unless it is another name for one before it.
const PRIVATE: [&str; 4] = ["/run", "/var/run", "/tmp", "/var/tmp"];

/// A resolver configuration larger than this is something else.
const RESOLVER_BYTES_MAX: u64 = 64 * 1024;

/// Looks at the node, from inside the container's mount namespace and before anything has changed there.
pub(crate) fn observe() -> Result<Node, ObserveError> {
    let mounts: Vec<Mounted> =
        mount::mounted().map_err(|source| ObserveError::Mounts { source })?;
    let mut private: Vec<PathBuf> = vec![];
    for name in PRIVATE {
        // Old nodes have a real /var/run, new ones a link; some link /var/tmp to /tmp; some lack one.
        if let Ok(path) = fs::canonicalize(name)
            && !private.iter().any(|earlier| path.starts_with(earlier))
        {
            private.push(path);
        }
    }
    Ok(Node {
        mounts,
        kernel_entries: kernel_entries()?,
        resolver: resolver(&private),
        private,
    })
}

/// Lists what `/proc` has besides processes: the same in every PID namespace.
fn kernel_entries() -> Result<Vec<KernelEntry>, ObserveError> {
    let fail = |source| ObserveError::Proc { source };
    let mut entries = vec![];
    for entry in fs::read_dir("/proc").map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name();
        let Some(name) = name
            .to_str()
            .filter(|name| !name.starts_with(|first: char| first.is_ascii_digit()))
        else {
            continue;
        };
        // Links lead into the directories of processes.
        let kind = entry.file_type().map_err(fail)?;
        if !kind.is_symlink() {
            entries.push(KernelEntry {
                name: name.to_owned(),
                directory: kind.is_dir(),
            });
        }
    }
    // In the order of their names, so that a plan is the same whenever the node is.
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

/// Reads the resolver configuration if it lives where the container will have a directory of its own.
fn resolver(private: &[PathBuf]) -> Option<Resolver> {
    let path = fs::canonicalize("/etc/resolv.conf").ok()?;
    if !private.iter().any(|directory| path.starts_with(directory)) {
        return None;
    }
    let length = fs::metadata(&path).ok()?.len();
    let content = if length <= RESOLVER_BYTES_MAX {
        fs::read(&path).ok()?
    } else {
        return None;
    };
    Some(Resolver { path, content })
}

/// Why the node cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObserveError {
    #[error("cannot list the mounts of the node")]
    Mounts { source: MountError },
    #[error("cannot list /proc: is it mounted?")]
    Proc { source: io::Error },
}
