//! Where volumes are, what there is of them, and one step at a time.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use weir_resources::Role;

use super::error::VolumeError;
use super::plan::{Content, Observed, Step};
use crate::session::VolumeName;

/// Only the agent enters the directories above volumes: tasks see volumes where they are mounted.
const PRIVATE_MODE: u32 = 0o700;

/// A volume's own directory: its task's user may do what it likes with it, a reader may look.
const VOLUME_MODE: u32 = 0o755;

/// Where volumes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumePlaces {
    root: PathBuf,
}

impl VolumePlaces {
    /// Returns the places below the state directory.
    pub fn new(state_directory: &Path) -> Self {
        Self {
            root: state_directory.join("volumes"),
        }
    }

    /// Returns the directory of a volume.
    ///
    /// Roles and ids are components of paths by their own rules.
    pub fn volume(&self, volume: &VolumeName) -> PathBuf {
        self.role(&volume.role).join(volume.id.as_str())
    }

    /// Returns where the directory of a volume is that was moved aside.
    pub(super) fn aside(&self, volume: &VolumeName) -> PathBuf {
        self.role_aside(&volume.role).join(volume.id.as_str())
    }

    fn roles(&self) -> PathBuf {
        self.root.join("roles")
    }

    fn role(&self, role: &Role) -> PathBuf {
        self.roles().join(role.as_str())
    }

    fn removing(&self) -> PathBuf {
        self.root.join("removing")
    }

    fn role_aside(&self, role: &Role) -> PathBuf {
        self.removing().join(role.as_str())
    }

    fn removed(&self) -> PathBuf {
        self.root.join("removed")
    }
}

/// Looks at the volumes of an order.
pub(super) fn observe(
    places: &VolumePlaces,
    volumes: &[VolumeName],
) -> Result<Observed, VolumeError> {
    let mut observed = Observed::default();
    for volume in volumes {
        if let Some(content) = content(&places.volume(volume))? {
            observed.there.insert(volume.clone(), content);
        }
        if content(&places.aside(volume))?.is_some() {
            observed.aside.insert(volume.clone());
        }
    }
    Ok(observed)
}

fn content(path: &Path) -> Result<Option<Content>, VolumeError> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(Some(match entries.next() {
            None => Content::Nothing,
            Some(_) => Content::Something,
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed("look into", path)(source)),
    }
}

/// Performs one step.
pub(super) fn execute(places: &VolumePlaces, step: &Step) -> Result<(), VolumeError> {
    match step {
        Step::MakeRole { role } => make_all(&places.role(role)),
        Step::Make { volume } => {
            let path = places.volume(volume);
            make(&path, VOLUME_MODE).map_err(failed("make", &path))
        }
        Step::RemoveEmpty { volume } => {
            let path = places.volume(volume);
            fs::remove_dir(&path).map_err(failed("remove", &path))
        }
        Step::MakeRoleAside { role } => make_all(&places.role_aside(role)),
        Step::MoveAside { volume } => rename(&places.volume(volume), &places.aside(volume)),
        Step::MoveBack { volume } => rename(&places.aside(volume), &places.volume(volume)),
        Step::Flush { role } => flush(&places.role(role)),
        Step::FlushAside { role } => flush(&places.role_aside(role)),
        Step::FlushRoles => flush(&places.roles()),
    }
}

/// Takes everything that was moved aside out of the way of what comes next, and returns all that is
/// to be deleted.
pub(super) fn set_aside(places: &VolumePlaces, number: u64) -> Result<Vec<PathBuf>, VolumeError> {
    let removing = places.removing();
    let removed = places.removed();
    if removing.exists() {
        make_all(&removed)?;
        let mut to = removed.join(number.to_string());
        let mut number = number;
        // Those of an agent before, whose clock may have been another.
        while to.exists() {
            number += 1;
            to = removed.join(number.to_string());
        }
        rename(&removing, &to)?;
    }
    let entries = match fs::read_dir(&removed) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed("look into", &removed)(source)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    paths
        .collect::<Result<_, _>>()
        .map_err(failed("look into", &removed))
}

/// Deletes a directory with all that is in it; fine if it is gone.
pub(super) fn delete(path: &Path) -> Result<(), VolumeError> {
    // Never through a link: the standard library goes from one open directory to the next.
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(failed("delete", path)(source)),
    }
}

fn make(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(mode).create(path)?;
    // The umask of whoever started the agent has no say.
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs::set_permissions(path, permissions)
}

fn make_all(path: &Path) -> Result<(), VolumeError> {
    DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE_MODE)
        .create(path)
        .map_err(failed("make", path))
}

fn rename(from: &Path, to: &Path) -> Result<(), VolumeError> {
    fs::rename(from, to).map_err(failed("move away", from))
}

/// Flushes a directory; fine if it is not there, for then nothing was done in it.
fn flush(path: &Path) -> Result<(), VolumeError> {
    match File::open(path).and_then(|directory| directory.sync_all()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(failed("flush", path)(source)),
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VolumeError {
    let path = path.to_owned();
    move |source| VolumeError::File { what, path, source }
}
