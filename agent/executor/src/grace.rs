//! How long the task has to end: the file `kill_grace_ms` in the container's directory.
//!
//! A specification says how long a task has; whoever ends it may say otherwise. The agent writes the file before it
//! sends the signal, and the executor reads it when the signal comes: so the time holds whatever becomes of the
//! agent in between.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The name of the file inside the container's directory.
pub const GRACE_FILE: &str = "kill_grace_ms";

/// Writes how long the task has.
pub fn write(directory: &Path, grace_ms: u64) -> Result<(), GraceError> {
    let path = directory.join(GRACE_FILE);
    let temporary = directory.join("kill_grace_ms.tmp");
    // Whole or absent, also for an executor that reads it just now.
    fs::write(&temporary, grace_ms.to_string())
        .and_then(|()| fs::rename(&temporary, &path))
        .map_err(|source| GraceError::File { path, source })
}

/// Returns how long the task has, if anybody has said so.
pub fn read(directory: &Path) -> Result<Option<u64>, GraceError> {
    let path = directory.join(GRACE_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(GraceError::File { path, source }),
    };
    match text.parse() {
        Ok(grace_ms) => Ok(Some(grace_ms)),
        Err(_number) => Err(GraceError::Text { path, text }),
    }
}

/// Why nobody knows how long the task has.
#[derive(Debug, thiserror::Error)]
pub enum GraceError {
    /// The file cannot be read or written.
    #[error("cannot read or write `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The file is not what an agent writes.
    #[error("`{path}` holds {text:?}, which is no number of milliseconds")]
    Text {
        /// The file.
        path: PathBuf,
        /// What is in it.
        text: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_is_none() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()).unwrap(), None);
        for grace_ms in [5000, 0, u64::MAX] {
            write(directory.path(), grace_ms).unwrap();
            assert_eq!(read(directory.path()).unwrap(), Some(grace_ms));
        }
        fs::write(directory.path().join(GRACE_FILE), "soon").unwrap();
        let error = read(directory.path()).unwrap_err().to_string();
        assert!(error.contains("soon"), "{error}");
    }
}
