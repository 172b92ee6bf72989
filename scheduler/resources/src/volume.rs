//! Persistent volumes: disk that keeps what is written on it.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::word::{Rules, WORD_BYTES_MAX, WordError, is_visible_or_space, word};

/// The longest path of a volume in a container, in bytes: with the sandbox before it, it must fit
/// into the kernel's `PATH_MAX` of 4096.
pub const CONTAINER_PATH_BYTES_MAX: usize = 1024;

/// The name of a volume among those of its role on its agent.
///
/// It becomes a directory: `.`, `..`, slash and backslash are refused, and more bytes than a file
/// name can have.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeId(Arc<str>);

impl VolumeId {
    const RULES: Rules = Rules {
        what: "the id of a volume",
        bytes_max: WORD_BYTES_MAX,
        allows: |character| is_visible_or_space(character) && !matches!(character, '/' | '\\'),
        begins: |_| true,
        rule: "an id has no slash, backslash or invisible character",
    };

    fn check(text: &str) -> Result<(), WordError> {
        Self::RULES.check(text)?;
        Self::RULES.check_component(text)
    }
}

word!(VolumeId over Arc<str>);

/// Where a volume appears in a container: a path relative to the sandbox that stays in it.
///
/// Components are parted by single slashes; none is empty, `.` or `..`. An absolute path is refused
/// rather than taken for one below the sandbox. (Mesos leaves the volume out, with a log line, if
/// there is a slash in it.)
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerPath(Arc<str>);

impl ContainerPath {
    const RULES: Rules = Rules {
        what: "the path of a volume in a container",
        bytes_max: CONTAINER_PATH_BYTES_MAX,
        allows: is_visible_or_space,
        begins: |character| character != '/',
        rule: "the path is relative to the sandbox and has no invisible character",
    };

    const COMPONENT: Rules = Rules {
        what: "a component of the path of a volume in a container",
        bytes_max: WORD_BYTES_MAX,
        allows: |_| true,
        begins: |_| true,
        rule: "",
    };

    fn check(text: &str) -> Result<(), WordError> {
        Self::RULES.check(text)?;
        for component in text.split('/') {
            Self::COMPONENT.check(component)?;
            Self::COMPONENT.check_component(component)?;
        }
        Ok(())
    }
}

word!(ContainerPath over Arc<str>);

/// What a container may do with a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VolumeMode {
    /// Read and write.
    #[default]
    ReadWrite,
    /// Read.
    ReadOnly,
}

impl VolumeMode {
    /// Returns the mode as it is written: `rw` or `ro`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadWrite => "rw",
            Self::ReadOnly => "ro",
        }
    }
}

impl fmt::Display for VolumeMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What makes disk a persistent volume.
///
/// Identity is Mesos': a volume is the same as another if its id is the same (and, in a
/// [`Resource`](crate::Resource), name, reservation and size). Path and mode say how one container
/// uses it: a task may name another path than the offer did, or read where it could write, and holds
/// the same volume. So `==`, order and hash see the id alone, and wherever two collections are
/// compared, path and mode are carried along and decide nothing. [`Volume::same_use`] compares them.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Its name among the volumes of its role on its agent.
    pub id: VolumeId,
    /// Where it appears in a container.
    pub container_path: ContainerPath,
    /// What a container may do with it.
    pub mode: VolumeMode,
}

impl Volume {
    /// Returns whether path and mode are the same too.
    pub fn same_use(&self, other: &Self) -> bool {
        let Self {
            id,
            container_path,
            mode,
        } = self;
        *id == other.id && *container_path == other.container_path && *mode == other.mode
    }
}

impl PartialEq for Volume {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Volume {}

impl PartialOrd for Volume {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Volume {
    fn cmp(&self, other: &Self) -> Ordering {
        self.id.cmp(&other.id)
    }
}

impl Hash for Volume {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}
