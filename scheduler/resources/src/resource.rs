//! One resource: so much of something, kept for someone.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use super::amount::Amount;
use super::name::ResourceName;
use super::reservation::Reservation;
use super::role::Role;
use super::value::{Value, ValueType};
use super::volume::{Volume, VolumeId};

/// Whether a resource can be taken back at any time.
///
/// The two kinds never merge, and neither stands in for the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Lent until it is given back.
    #[default]
    Regular,
    /// Lent as long as its owner leaves it idle: what runs on it may be slowed down or ended.
    Revocable,
}

/// So much of something, kept for someone.
///
/// Never nothing: an amount above zero, or at least one number or item. A volume is regular, reserved
/// disk; what is revocable is unreserved. So these hold for every value of this type, and whoever has
/// one need not ask again.
///
/// Two volumes are equal whatever their paths and modes; see [`Volume`].
///
/// A clone costs one atomic increment, two if the value is not a scalar.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Resource {
    // Shared, because collections are taken apart and put together all the time, and mostly only the
    // amounts change: what has the same key is then found equal by its address.
    key: Arc<Key>,
    value: Value,
}

/// All of a resource but its value: what must be the same for two to be put together.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    name: ResourceName,
    kind: Kind,
    volume: Option<Volume>,
    reservation: Reservation,
}

/// What a resource is made of, before anything was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceParts {
    /// What it is called.
    pub name: ResourceName,
    /// How much of it, or which parts.
    pub value: Value,
    /// For whom it is kept.
    pub reservation: Reservation,
    /// What makes it a persistent volume.
    pub volume: Option<Volume>,
    /// Whether it can be taken back at any time.
    pub kind: Kind,
}

/// Says why parts make no resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// Nothing of it.
    #[error("there is nothing in `{name}`: {nothing}; leave it out", nothing = nothing(*value_type))]
    Nothing {
        /// What it is called.
        name: ResourceName,
        /// What of there is nothing.
        value_type: ValueType,
    },
    /// A volume of something else than disk.
    #[error("volume `{id}` cannot be made of `{name}`; only `disk` can be a volume")]
    VolumeOfOther {
        /// The volume.
        id: VolumeId,
        /// What it was to be made of.
        name: ResourceName,
    },
    /// A volume without a size.
    #[error("volume `{id}` cannot be made of {value_type}; its disk is a scalar, its size")]
    VolumeWithoutSize {
        /// The volume.
        id: VolumeId,
        /// What it was to be made of.
        value_type: ValueType,
    },
    /// A volume that anyone could be offered.
    #[error("volume `{id}` is on unreserved disk; reserve the disk for a role first")]
    VolumeUnreserved {
        /// The volume.
        id: VolumeId,
    },
    /// A volume whose disk could go away.
    #[error("volume `{id}` is on revocable disk, which can be taken back at any time")]
    VolumeRevocable {
        /// The volume.
        id: VolumeId,
    },
    /// A reservation of what belongs to another.
    #[error("revocable `{name}` cannot be reserved for `{role}`: it can be taken back at any time")]
    RevocableReserved {
        /// What it is called.
        name: ResourceName,
        /// For whom it was to be kept.
        role: Role,
    },
}

fn nothing(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Scalar => "the amount is 0",
        ValueType::Ranges => "no range is named",
        ValueType::Set => "no item is named",
    }
}

impl Resource {
    /// Returns a regular, unreserved resource.
    pub fn new(name: ResourceName, value: impl Into<Value>) -> Result<Self, ResourceError> {
        Self::from_parts(ResourceParts {
            name,
            value: value.into(),
            reservation: Reservation::Unreserved,
            volume: None,
            kind: Kind::Regular,
        })
    }

    /// Returns the resource that the parts make.
    pub fn from_parts(parts: ResourceParts) -> Result<Self, ResourceError> {
        let ResourceParts {
            name,
            value,
            reservation,
            volume,
            kind,
        } = parts;
        if value.is_empty() {
            return Err(ResourceError::Nothing {
                name,
                value_type: value.value_type(),
            });
        }
        if let Some(Volume { id, .. }) = &volume {
            let id = id.clone();
            if name != ResourceName::DISK {
                return Err(ResourceError::VolumeOfOther { id, name });
            }
            match value.value_type() {
                ValueType::Scalar => {}
                value_type @ (ValueType::Ranges | ValueType::Set) => {
                    return Err(ResourceError::VolumeWithoutSize { id, value_type });
                }
            }
            match kind {
                Kind::Regular => {}
                Kind::Revocable => return Err(ResourceError::VolumeRevocable { id }),
            }
            if reservation.role().is_none() {
                return Err(ResourceError::VolumeUnreserved { id });
            }
        }
        if let (Kind::Revocable, Some(role)) = (kind, reservation.role()) {
            return Err(ResourceError::RevocableReserved {
                name,
                role: role.clone(),
            });
        }
        let key = Arc::new(Key {
            name,
            kind,
            volume,
            reservation,
        });
        Ok(Self { key, value })
    }

    /// Returns what the resource is made of.
    pub fn into_parts(self) -> ResourceParts {
        let Self { key, value } = self;
        let Key {
            name,
            kind,
            volume,
            reservation,
        } = Arc::unwrap_or_clone(key);
        ResourceParts {
            name,
            value,
            reservation,
            volume,
            kind,
        }
    }

    /// Returns the same of it, kept for others.
    pub fn with_reservation(&self, reservation: Reservation) -> Result<Self, ResourceError> {
        Self::from_parts(ResourceParts {
            reservation,
            ..self.clone().into_parts()
        })
    }

    /// Returns the same of it as a volume, or as plain disk.
    pub fn with_volume(&self, volume: Option<Volume>) -> Result<Self, ResourceError> {
        Self::from_parts(ResourceParts {
            volume,
            ..self.clone().into_parts()
        })
    }

    /// Returns the same of it, of another kind.
    pub fn with_kind(&self, kind: Kind) -> Result<Self, ResourceError> {
        Self::from_parts(ResourceParts {
            kind,
            ..self.clone().into_parts()
        })
    }

    /// Returns what it is called.
    pub fn name(&self) -> &ResourceName {
        &self.key.name
    }

    /// Returns how much of it, or which parts.
    pub const fn value(&self) -> &Value {
        &self.value
    }

    /// Returns how much of it, or `None` unless it is a scalar.
    pub const fn amount(&self) -> Option<Amount> {
        match &self.value {
            Value::Scalar(amount) => Some(*amount),
            Value::Ranges(_) | Value::Set(_) => None,
        }
    }

    /// Returns for whom it is kept.
    pub fn reservation(&self) -> &Reservation {
        &self.key.reservation
    }

    /// Returns the role for which it is kept, or `None` if it is unreserved.
    pub fn role(&self) -> Option<&Role> {
        self.key.reservation.role()
    }

    /// Returns what makes it a persistent volume, or `None` if it is none.
    pub fn volume(&self) -> Option<&Volume> {
        self.key.volume.as_ref()
    }

    /// Returns whether it can be taken back at any time.
    pub fn kind(&self) -> Kind {
        self.key.kind
    }

    /// Returns whether it exists because of an operation, so that its agent must remember it.
    pub fn is_checkpointed(&self) -> bool {
        self.reservation().is_dynamic() || self.volume().is_some()
    }

    /// Returns the same of it without reservation and volume.
    ///
    /// A revocable resource stays revocable.
    #[must_use]
    pub fn stripped(&self) -> Self {
        match self.role() {
            None => self.clone(),
            // Nothing to check: only a volume asks for a reservation, and it is gone.
            Some(_) => self.with_key(Key {
                name: self.name().clone(),
                kind: self.kind(),
                volume: None,
                reservation: Reservation::Unreserved,
            }),
        }
    }

    /// Returns the same of it as plain disk, if it is a volume.
    pub(super) fn without_volume(&self) -> Self {
        match self.volume() {
            None => self.clone(),
            // Nothing to check: disk without a volume may be kept for anyone.
            Some(_) => self.with_key(Key {
                volume: None,
                ..Key::clone(&self.key)
            }),
        }
    }

    /// Returns the same of it as the agent is configured to have it: no volume, and unreserved if an
    /// operation reserved it.
    pub(super) fn before_operations(&self) -> Self {
        if self.reservation().is_dynamic() {
            self.stripped()
        } else {
            self.without_volume()
        }
    }

    /// Returns another value of the same name, kind, reservation and volume; never of nothing.
    pub(super) fn with_value(&self, value: Value) -> Self {
        debug_assert!(!value.is_empty(), "{} of nothing", self.name());
        Self {
            key: Arc::clone(&self.key),
            value,
        }
    }

    fn with_key(&self, key: Key) -> Self {
        Self {
            key: Arc::new(key),
            value: self.value.clone(),
        }
    }

    /// Compares all but the values, in the order in which a collection keeps its resources.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.key, &other.key) {
            return Ordering::Equal;
        }
        self.key.compare(&other.key)
    }
}

impl Key {
    /// Compares two, by name first.
    ///
    /// Volumes follow the plain resources of their name, those of one role and id beside each other,
    /// whoever reserved their disk.
    fn compare(&self, other: &Self) -> Ordering {
        let by_name = self.name.cmp(&other.name);
        by_name
            .then_with(|| self.kind.cmp(&other.kind))
            .then_with(|| match (&self.volume, &other.volume) {
                (None, None) => Ordering::Equal,
                (None, Some(_)) => Ordering::Less,
                (Some(_), None) => Ordering::Greater,
                (Some(own), Some(other_volume)) => {
                    let by_role = self.reservation.role().cmp(&other.reservation.role());
                    by_role.then_with(|| own.cmp(other_volume))
                }
            })
            .then_with(|| self.reservation.cmp(&other.reservation))
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
