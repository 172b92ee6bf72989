//! What an agent lends of what is idle.

use weir_resources::{Kind, Resource, Resources};

use crate::time::Millis;

/// What may be lent as revocable, what is already lent included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    version: u64,
    ttl: Millis,
    resources: Resources,
}

/// Says why an estimate is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EstimateError {
    /// Something that could not be taken back.
    #[error("`{resource}` is not revocable, so it cannot be lent as idle")]
    NotRevocable {
        /// The resource.
        resource: Resource,
    },
    /// It would be over before it is read.
    #[error("it holds for 0 ms")]
    NoTime,
}

impl Estimate {
    /// Returns the estimate; `version` grows with every one of a boot.
    pub fn new(version: u64, ttl: Millis, resources: Resources) -> Result<Self, EstimateError> {
        if ttl == Millis(0) {
            return Err(EstimateError::NoTime);
        }
        match resources
            .iter()
            .find(|entry| entry.kind() != Kind::Revocable)
        {
            None => Ok(Self {
                version,
                ttl,
                resources,
            }),
            Some(resource) => Err(EstimateError::NotRevocable {
                resource: resource.clone(),
            }),
        }
    }

    /// Returns its number among those of this boot.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Returns how long it holds unless it is renewed.
    pub const fn ttl(&self) -> Millis {
        self.ttl
    }

    /// Returns what may be lent; all of it is revocable.
    pub const fn resources(&self) -> &Resources {
        &self.resources
    }
}
