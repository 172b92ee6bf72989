//! The set that an agent is the authority for.

use std::fmt;

use weir_resources::{Resource, Resources};

use super::size::{Oversize, check_size_within};
use crate::bounds::{SET_BYTES_MAX, SET_MAX};

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

/// Says why resources are no set of an agent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceSetError {
    /// Something that no operation has made.
    #[error("`{resource}` is neither dynamically reserved nor a volume, so no set holds it")]
    NotCheckpointed {
        /// The resource.
        resource: Resource,
    },
    /// More than an agent could register with.
    #[error("a set of reservations and volumes cannot be that long: {0}")]
    Oversize(Oversize),
}

impl ResourceSetError {
    /// Returns what to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NotCheckpointed { .. } => {
                "leave it out: a set holds dynamic reservations and volumes"
            }
            Self::Oversize(_) => {
                "give reservations and volumes back, use fewer and larger ones, or shorter labels"
            }
        }
    }
}

impl ResourceSet {
    /// Returns the set of dynamic reservations and volumes.
    ///
    /// It is bounded, so that no operation can make a set with which its agent cannot register.
    pub fn new(version: SetVersion, resources: Resources) -> Result<Self, ResourceSetError> {
        if let Some(resource) = resources.iter().find(|entry| !entry.is_checkpointed()) {
            return Err(ResourceSetError::NotCheckpointed {
                resource: resource.clone(),
            });
        }
        check_size_within(&resources, SET_MAX, SET_BYTES_MAX)
            .map_err(ResourceSetError::Oversize)?;
        Ok(Self { version, resources })
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
