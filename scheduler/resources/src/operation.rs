//! RESERVE, UNRESERVE, CREATE and DESTROY: the operations that change what resources are, and never
//! how much of them there is.
//!
//! As in Mesos, an operation names its resources as they are in the reserved or volume form: RESERVE
//! and CREATE as they will be, UNRESERVE and DESTROY as they are. So what must be there before
//! ([`ResourceOperation::consumed`]) and what is there after ([`ResourceOperation::produced`]) follow
//! from the operation alone.

use std::fmt;

use super::principal::Principal;
use super::resource::Resource;
use super::resources::{AddError, Resources, Shortfall};

/// An operation on resources.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ResourceOperation {
    /// Keeps unreserved resources for a role: names them as dynamically reserved.
    Reserve(Resources),
    /// Gives dynamically reserved resources back: names them as they are.
    Unreserve(Resources),
    /// Makes reserved disk a persistent volume: names the volumes.
    Create(Resources),
    /// Makes persistent volumes plain reserved disk again: names the volumes.
    Destroy(Resources),
}

/// Which of the four an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperationKind {
    /// Keeps unreserved resources for a role.
    Reserve,
    /// Gives dynamically reserved resources back.
    Unreserve,
    /// Makes reserved disk a persistent volume.
    Create,
    /// Makes persistent volumes plain reserved disk again.
    Destroy,
}

impl fmt::Display for OperationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Reserve => "RESERVE",
            Self::Unreserve => "UNRESERVE",
            Self::Create => "CREATE",
            Self::Destroy => "DESTROY",
        })
    }
}

/// Says why an operation cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// An operation on nothing.
    #[error("{operation} names no resource")]
    Empty {
        /// The operation.
        operation: OperationKind,
    },
    /// A resource that is not dynamically reserved in RESERVE or UNRESERVE.
    #[error("{operation} of `{resource}`, which is not dynamically reserved")]
    NotDynamic {
        /// The operation.
        operation: OperationKind,
        /// The resource.
        resource: Resource,
    },
    /// A volume in RESERVE or UNRESERVE.
    #[error("{operation} of `{resource}`, which is a volume")]
    Volume {
        /// The operation.
        operation: OperationKind,
        /// The resource.
        resource: Resource,
    },
    /// A resource that is no volume in CREATE or DESTROY.
    #[error("{operation} of `{resource}`, which is not a volume")]
    NotVolume {
        /// The operation.
        operation: OperationKind,
        /// The resource.
        resource: Resource,
    },
    /// A reservation in the name of another, or of another's.
    #[error("{operation} of `{resource}` by principal `{principal}`: it names another principal")]
    OtherPrincipal {
        /// The operation.
        operation: OperationKind,
        /// The resource.
        resource: Resource,
        /// Who asked.
        principal: Principal,
    },
    /// Resources that the operation needs and that are not there.
    #[error("{operation} cannot be applied")]
    Missing {
        /// The operation.
        operation: OperationKind,
        /// What is not there.
        #[source]
        shortfall: Shortfall,
    },
    /// Resources that cannot be there beside the others: a volume whose id is in use.
    #[error("{operation} cannot be applied")]
    Conflict {
        /// The operation.
        operation: OperationKind,
        /// What is there already.
        #[source]
        conflict: AddError,
    },
}

impl OperationError {
    /// Returns what whoever asked may try.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Empty { .. } => "name at least one resource",
            Self::NotDynamic { operation, .. } => match operation {
                OperationKind::Reserve => {
                    "name role and principal of the reservation, such as `cpus(role, principal):1`"
                }
                OperationKind::Unreserve | OperationKind::Create | OperationKind::Destroy => {
                    "static reservations are changed in the configuration of the agent; unreserved \
                     resources need no UNRESERVE"
                }
            },
            Self::Volume { operation, .. } => match operation {
                OperationKind::Reserve => "RESERVE the disk, then CREATE the volume",
                OperationKind::Unreserve | OperationKind::Create | OperationKind::Destroy => {
                    "DESTROY the volume, then UNRESERVE its disk"
                }
            },
            Self::NotVolume { .. } => {
                "name the volume with id, path and mode, such as `disk(role)[id:path:rw]:100`"
            }
            Self::OtherPrincipal { .. } => "reserve and unreserve under your own principal",
            Self::Missing { .. } => {
                "ask for what is there; what is in use comes back when its task ends"
            }
            Self::Conflict { .. } => "use another id, or DESTROY the volume that has it",
        }
    }
}

impl ResourceOperation {
    /// Returns which of the four it is.
    pub const fn kind(&self) -> OperationKind {
        match self {
            Self::Reserve(_) => OperationKind::Reserve,
            Self::Unreserve(_) => OperationKind::Unreserve,
            Self::Create(_) => OperationKind::Create,
            Self::Destroy(_) => OperationKind::Destroy,
        }
    }

    /// Returns the resources as the operation names them: in the reserved or volume form.
    pub const fn resources(&self) -> &Resources {
        match self {
            Self::Reserve(resources)
            | Self::Unreserve(resources)
            | Self::Create(resources)
            | Self::Destroy(resources) => resources,
        }
    }

    /// Returns nothing if the operation makes sense, wherever it is applied.
    pub fn check(&self) -> Result<(), OperationError> {
        let operation = self.kind();
        if self.resources().is_empty() {
            return Err(OperationError::Empty { operation });
        }
        for resource in self.resources() {
            let is_volume = resource.volume().is_some();
            let refusal = match self {
                Self::Reserve(_) | Self::Unreserve(_) if is_volume => OperationError::Volume {
                    operation,
                    resource: resource.clone(),
                },
                Self::Reserve(_) | Self::Unreserve(_) if !resource.reservation().is_dynamic() => {
                    OperationError::NotDynamic {
                        operation,
                        resource: resource.clone(),
                    }
                }
                Self::Create(_) | Self::Destroy(_) if !is_volume => OperationError::NotVolume {
                    operation,
                    resource: resource.clone(),
                },
                Self::Reserve(_) | Self::Unreserve(_) | Self::Create(_) | Self::Destroy(_) => {
                    continue;
                }
            };
            return Err(refusal);
        }
        Ok(())
    }

    /// Returns nothing if RESERVE is under the principal's own name, and UNRESERVE of what it has
    /// reserved itself.
    ///
    /// Volumes belong to the role, whoever reserved their disk: CREATE and DESTROY are not asked.
    /// (In Mesos any principal of the role may take another's reservation away.)
    pub fn check_principal(&self, principal: &Principal) -> Result<(), OperationError> {
        let resources = match self {
            Self::Reserve(resources) | Self::Unreserve(resources) => resources,
            Self::Create(_) | Self::Destroy(_) => return Ok(()),
        };
        let others = |entry: &&Resource| {
            let own = entry.reservation().principal();
            own.is_some_and(|own| own != principal)
        };
        match resources.iter().find(others) {
            None => Ok(()),
            Some(resource) => Err(OperationError::OtherPrincipal {
                operation: self.kind(),
                resource: resource.clone(),
                principal: principal.clone(),
            }),
        }
    }

    /// Returns what must be there before, and is not after.
    pub fn consumed(&self) -> Resources {
        match self {
            Self::Reserve(resources) => unreserved(resources),
            Self::Create(volumes) => plain_disk(volumes),
            Self::Unreserve(resources) | Self::Destroy(resources) => resources.clone(),
        }
    }

    /// Returns what is there after, and was not before.
    pub fn produced(&self) -> Resources {
        match self {
            Self::Reserve(resources) | Self::Create(resources) => resources.clone(),
            Self::Unreserve(resources) => unreserved(resources),
            Self::Destroy(volumes) => plain_disk(volumes),
        }
    }
}

impl Resources {
    /// Returns the resources after the operation, or why it cannot be applied to them.
    ///
    /// Who may do so is for others to say; see [`ResourceOperation::check_principal`].
    pub fn apply(&self, operation: &ResourceOperation) -> Result<Self, OperationError> {
        operation.check()?;
        let kind = operation.kind();
        let rest = self
            .checked_sub(&operation.consumed())
            .map_err(|shortfall| OperationError::Missing {
                operation: kind,
                shortfall,
            })?;
        rest.checked_add(&operation.produced())
            .map_err(|conflict| OperationError::Conflict {
                operation: kind,
                conflict,
            })
    }
}

/// Returns the resources as they are before RESERVE and after UNRESERVE.
fn unreserved(reserved: &Resources) -> Resources {
    Resources::collect(reserved.iter().map(Resource::before_operations))
        .expect("what a node can have it can have without reservations")
}

/// Returns the disk of volumes before CREATE and after DESTROY.
fn plain_disk(volumes: &Resources) -> Resources {
    Resources::collect(volumes.iter().map(Resource::without_volume))
        .expect("the disk of volumes can be counted if the volumes can")
}
