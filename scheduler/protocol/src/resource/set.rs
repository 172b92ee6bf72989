//! The set that an agent is the authority for.

use std::fmt;

use weir_resources::{Resource, Resources};

/// How many operations an agent has applied to its set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetVersion(pub u64);

impl SetVersion {
    /// Returns the version that the next operation makes.
    #[must_use]
    pub const fn next(self) -> Self {
        // Nobody applies 2^64 operations.
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for SetVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An agent's dynamic reservations and volumes, with the version of the set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ResourceSet {
    version: SetVersion,
    resources: Resources,
}

/// Says that a set holds what no operation has made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{resource}` is neither dynamically reserved nor a volume, so no set holds it")]
pub struct NotCheckpointed {
    /// The resource.
    pub resource: Resource,
}

impl ResourceSet {
    /// Returns the set of dynamic reservations and volumes.
    pub fn new(version: SetVersion, resources: Resources) -> Result<Self, NotCheckpointed> {
        match resources.iter().find(|entry| !entry.is_checkpointed()) {
            None => Ok(Self { version, resources }),
            Some(resource) => Err(NotCheckpointed {
                resource: resource.clone(),
            }),
        }
    }

    /// Returns how many operations have made it.
    pub const fn version(&self) -> SetVersion {
        self.version
    }

    /// Returns what is in it.
    pub const fn resources(&self) -> &Resources {
        &self.resources
    }
}

/// Whether a volume can grow beyond its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VolumeSizes {
    /// A write beyond the size fails.
    Enforced,
    /// The size counts in the books only.
    Accounted,
}
