//! One scheduler per state directory.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The file that the running scheduler holds a lock on.
const LOCK_FILE: &str = "scheduler.lock";

/// Holds the state directory for one scheduler, for as long as it lives.
#[derive(Debug)]
pub struct StateLock(#[expect(dead_code, reason = "the lock is held by holding the file")] File);

/// Says why the state directory was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A file or directory.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was to be done, as a verb.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another scheduler has it.
    #[error("another scheduler uses {}", state_directory.display())]
    Running {
        /// The directory.
        state_directory: PathBuf,
    },
}

impl LockError {
    /// Returns what to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::File { .. } => {
                "check that the directory is there and belongs to the scheduler's user"
            }
            Self::Running { .. } => "stop it, or set [scheduler] state_directory",
        }
    }
}

impl StateLock {
    /// Makes the state directory if it is not there, and takes it.
    pub fn take(state_directory: &Path) -> Result<Self, LockError> {
        let failed = |what: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source| LockError::File { what, path, source }
        };
        // Environments of tasks are in the database, and may be secret.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state_directory)
            .map_err(failed("create", state_directory))?;
        let path = state_directory.join(LOCK_FILE);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(LockError::Running {
                state_directory: state_directory.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(failed("lock", &path)(source)),
        }
    }
}
