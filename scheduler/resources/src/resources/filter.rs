//! Parts of a collection.

use super::add::AddError;
use super::collection::Resources;
use crate::resource::{Kind, Resource, ResourceError};
use crate::role::Role;

impl Resources {
    /// Returns the entries of which `keep` is true.
    ///
    /// Whatever is left out, the rest is in normal form.
    #[must_use]
    pub fn filter(&self, mut keep: impl FnMut(&Resource) -> bool) -> Self {
        let Some(first_out) = self.iter().position(|entry| !keep(entry)) else {
            return self.clone();
        };
        let (kept, rest) = self.as_slice().split_at(first_out);
        let mut entries = kept.to_vec();
        entries.extend(rest.iter().skip(1).filter(|entry| keep(entry)).cloned());
        Self::from_normal(entries)
    }

    /// Returns what is kept for nobody, regular and revocable.
    #[must_use]
    pub fn unreserved(&self) -> Self {
        self.filter(|entry| entry.role().is_none())
    }

    /// Returns what is kept for anyone, volumes included.
    #[must_use]
    pub fn reserved(&self) -> Self {
        self.filter(|entry| entry.role().is_some())
    }

    /// Returns what is kept for the role, statically and dynamically, volumes included.
    #[must_use]
    pub fn reserved_to(&self, role: &Role) -> Self {
        self.filter(|entry| entry.role() == Some(role))
    }

    /// Returns what may be offered to the role: what is kept for it, and what is kept for nobody,
    /// regular and revocable.
    #[must_use]
    pub fn available_to(&self, role: &Role) -> Self {
        self.filter(|entry| entry.role().is_none_or(|own| own == role))
    }

    /// Returns what cannot be taken back.
    #[must_use]
    pub fn regular(&self) -> Self {
        self.filter(|entry| match entry.kind() {
            Kind::Regular => true,
            Kind::Revocable => false,
        })
    }

    /// Returns what can be taken back at any time.
    #[must_use]
    pub fn revocable(&self) -> Self {
        self.filter(|entry| match entry.kind() {
            Kind::Regular => false,
            Kind::Revocable => true,
        })
    }

    /// Returns the persistent volumes.
    #[must_use]
    pub fn volumes(&self) -> Self {
        self.filter(|entry| entry.volume().is_some())
    }

    /// Returns what is there because of an operation, so that its agent must remember it: dynamic
    /// reservations, and volumes.
    #[must_use]
    pub fn checkpointed(&self) -> Self {
        self.filter(Resource::is_checkpointed)
    }

    /// Goes through the roles for which something is kept, in order, each once.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        let mut roles: Vec<&Role> = self.iter().filter_map(Resource::role).collect();
        roles.sort_unstable();
        roles.dedup();
        roles.into_iter()
    }

    /// Returns the plain quantities: everything unreserved, and disk instead of volumes.
    ///
    /// No operation changes them. What is revocable stays so, and apart.
    #[must_use]
    pub fn strip_reservations(&self) -> Self {
        if self.iter().all(|entry| entry.role().is_none()) {
            return self.clone();
        }
        Self::collect(self.iter().map(Resource::stripped))
            .expect("what a node can have it can have without reservations")
    }

    /// Returns all of it as revocable, or what cannot be lent: what is reserved stays with its owner.
    pub fn to_revocable(&self) -> Result<Self, LendError> {
        let lent = self.iter().map(|entry| entry.with_kind(Kind::Revocable));
        let lent = lent.collect::<Result<Vec<_>, _>>()?;
        Ok(Self::collect(lent)?)
    }
}

/// Says why resources cannot be lent as revocable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LendError {
    /// One that is reserved.
    #[error(transparent)]
    Reserved(#[from] ResourceError),
    /// Two that are one once both are revocable.
    #[error(transparent)]
    Twice(#[from] AddError),
}
