//! The two kinds of resources, and who takes which.

use std::ops::{Index, IndexMut};

use weir_resources::Kind;

/// The kinds of resources that a framework may be offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kinds {
    /// Only what cannot be taken back.
    #[default]
    Regular,
    /// Revocable resources, too: the framework has opted in.
    WithRevocable,
}

/// One thing for each kind of resources.
#[derive(Clone, Debug, Default)]
pub(super) struct PerKind<T> {
    regular: T,
    revocable: T,
}

/// Both kinds, in the order in which they are offered.
pub(super) const KINDS: [Kind; 2] = [Kind::Regular, Kind::Revocable];

impl Kinds {
    /// Returns whether resources of a kind may be offered.
    pub const fn include(self, kind: Kind) -> bool {
        match (self, kind) {
            (Self::Regular | Self::WithRevocable, Kind::Regular)
            | (Self::WithRevocable, Kind::Revocable) => true,
            (Self::Regular, Kind::Revocable) => false,
        }
    }
}

impl<T> PerKind<T> {
    pub(super) const fn new(regular: T, revocable: T) -> Self {
        Self { regular, revocable }
    }

    /// Returns both things, each with its kind.
    pub(super) fn into_each(self) -> [(Kind, T); 2] {
        [
            (Kind::Regular, self.regular),
            (Kind::Revocable, self.revocable),
        ]
    }
}

impl<T> Index<Kind> for PerKind<T> {
    type Output = T;

    fn index(&self, kind: Kind) -> &T {
        match kind {
            Kind::Regular => &self.regular,
            Kind::Revocable => &self.revocable,
        }
    }
}

impl<T> IndexMut<Kind> for PerKind<T> {
    fn index_mut(&mut self, kind: Kind) -> &mut T {
        match kind {
            Kind::Regular => &mut self.regular,
            Kind::Revocable => &mut self.revocable,
        }
    }
}
