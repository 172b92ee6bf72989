//! Where things are in the repository.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::command::{command, read};

/// Returns the top of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is a folder of the repository")
}

/// Returns where cargo builds to.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root().join(directory),
        None => root().join("target"),
    }
}

/// Returns where programs are unpacked that must not be installed (see `setup::packages`).
pub(crate) fn tools() -> PathBuf {
    target().join("tools")
}

/// Returns where Python's environment for tests is (see `setup::python`).
pub(crate) fn python() -> PathBuf {
    target().join("python")
}

/// Returns which revision the tree is of, with `-dirty` behind it if something in it was changed since.
pub(crate) fn revision() -> String {
    // An archive of the sources has none to tell.
    read(command("git").args(["describe", "--always", "--dirty"])).map_or_else(
        |_no_git| "unknown".to_owned(),
        |said| said.trim().to_owned(),
    )
}

/// Returns every file of the repository, below its top, in alphabetical order.
///
/// What is built and what git keeps for itself is left out.
pub(crate) fn files() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    collect(root(), &mut files)?;
    files.sort();
    Ok(files)
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", directory.display()))?;
        let path = entry.path();
        // In a work tree of its own it is a file.
        if entry.file_name() == ".git" {
            continue;
        }
        let kind = entry
            .file_type()
            .with_context(|| format!("cannot look at {}", path.display()))?;
        if kind.is_dir() {
            if path != target() {
                collect(&path, files)?;
            }
        } else if kind.is_file() {
            let relative = path
                .strip_prefix(root())
                .expect("the walk begins at the top");
            files.push(relative.to_owned());
        }
    }
    Ok(())
}
