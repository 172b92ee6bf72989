//! Why the directory of a volume is not as it should be.

use std::io;
use std::path::PathBuf;

use crate::session::{VolumeFailure, VolumeName};

/// Says why the directory of a volume is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// There is something where nothing should be.
    #[error(
        "volume `{id}` of role `{role}` cannot be made: {} holds something that belongs to no volume",
        path.display(),
        id = volume.id,
        role = volume.role
    )]
    Occupied {
        /// The volume.
        volume: VolumeName,
        /// The directory.
        path: PathBuf,
    },
    /// A volume of this name was taken away, and is not deleted yet.
    #[error(
        "volume `{id}` of role `{role}` cannot be taken away: another of its name is on its way out, in {}",
        path.display(),
        id = volume.id,
        role = volume.role
    )]
    Leaving {
        /// The volume.
        volume: VolumeName,
        /// Where the other is.
        path: PathBuf,
    },
    /// A directory could not be looked at or changed.
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
    /// A bug.
    #[error("the agent's volume task is gone")]
    Gone,
}

impl VolumeError {
    /// Returns what to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Occupied { .. } => "look at what it is, move it away, and ask again",
            Self::Leaving { .. } => {
                "ask again when it is deleted; the agent's log says if it cannot be"
            }
            Self::File { .. } => {
                "see the space and the permissions on the disk of the state directory"
            }
            Self::Gone => "restart the agent: its log says why",
        }
    }

    /// Returns whether the same may work later.
    pub fn is_retryable(&self) -> bool {
        match self {
            // A disk can be relieved, a deletion ends.
            Self::File { .. } | Self::Leaving { .. } => true,
            // Only a person can decide whose it is, or start the agent again.
            Self::Occupied { .. } | Self::Gone => false,
        }
    }
}

impl From<VolumeError> for VolumeFailure {
    fn from(error: VolumeError) -> Self {
        Self {
            remedy: error.remedy().to_owned(),
            reason: crate::container::chain(&error),
        }
    }
}
