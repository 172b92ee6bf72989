//! The collection itself: what it is made of, and what can be asked of it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::add::{self, AddError};
use crate::amount::Amount;
use crate::name::ResourceName;
use crate::ranges::{Range, Ranges};
use crate::resource::Resource;
use crate::value::Value;

/// What one agent has, or any part of it, in normal form.
///
/// A clone costs one atomic increment. Comparing, adding and taking away go through both collections
/// once. See the [module](super) for what always holds.
#[derive(Clone, Default)]
pub struct Resources {
    /// In the order of [`Resource::compare`], which says of no two that they are equal.
    entries: Arc<[Resource]>,
}

impl Resources {
    /// Returns the collection without a resource.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns all the resources together, given in any order.
    pub fn collect(resources: impl IntoIterator<Item = Resource>) -> Result<Self, AddError> {
        add::collect(resources.into_iter().collect())
    }

    /// Returns all the resources together, or the first that cannot be with those before it.
    pub(crate) fn collect_in_order(resources: &[Resource]) -> Result<Self, (usize, AddError)> {
        let first = |count: usize| Self::collect(resources.iter().take(count).cloned());
        let mut failure = match first(resources.len()) {
            Ok(all) => return Ok(all),
            Err(error) => (resources.len(), error),
        };
        // What cannot be together cannot be together with more, so the first may be searched by
        // halves.
        let mut possible = 0;
        while failure.0 - possible > 1 {
            let middle = possible.midpoint(failure.0);
            match first(middle) {
                Ok(_) => possible = middle,
                Err(error) => failure = (middle, error),
            }
        }
        let (count, error) = failure;
        Err((count - 1, error))
    }

    /// Returns all the collections together, given in any order.
    pub fn sum<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Result<Self, AddError> {
        let entries = parts.into_iter().flat_map(|part| part.iter().cloned());
        Self::collect(entries)
    }

    /// Returns the collection of entries that are in normal form.
    pub(super) fn from_normal(entries: Vec<Resource>) -> Self {
        if entries.is_empty() {
            return Self::default();
        }
        Self {
            entries: entries.into(),
        }
    }

    /// Returns the entries in their order, by name first.
    pub fn as_slice(&self) -> &[Resource] {
        &self.entries
    }

    /// Goes through the entries in their order, by name first.
    pub fn iter(&self) -> std::slice::Iter<'_, Resource> {
        self.entries.iter()
    }

    /// Returns whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns how many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the entries of a name: of every kind and reservation, and its volumes.
    pub fn get(&self, name: &str) -> &[Resource] {
        let start = self
            .entries
            .partition_point(|entry| entry.name().as_str() < name);
        let rest = self.entries.get(start..).unwrap_or_default();
        let count = rest.partition_point(|entry| entry.name().as_str() == name);
        &rest[..count]
    }

    /// Returns how much there is of a name, of every kind and reservation, volumes included; nothing
    /// if there is none, or if it is no scalar.
    pub fn amount(&self, name: &str) -> Amount {
        total(self.get(name))
    }

    /// Returns the numbers that there are of a name, of every kind and reservation; none if it is not
    /// made of ranges.
    pub fn ranges(&self, name: &str) -> Ranges {
        let entries = self.get(name).iter();
        entries
            .flat_map(|entry| match entry.value() {
                Value::Ranges(ranges) => ranges.ranges(),
                Value::Scalar(_) | Value::Set(_) => &[] as &[Range],
            })
            .copied()
            .collect()
    }

    /// Goes through the scalars by name, with how much there is of each: of every kind and
    /// reservation, volumes included.
    pub fn scalars(&self) -> impl Iterator<Item = (&ResourceName, Amount)> {
        self.entries
            .chunk_by(|one, next| one.name() == next.name())
            .filter_map(|entries| {
                let first = entries.first()?;
                first.amount().map(|_| (first.name(), total(entries)))
            })
    }

    /// Returns whether the two share their memory, and so are equal.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.entries, &other.entries)
    }
}

/// Returns the sum of entries of one name.
fn total(entries: &[Resource]) -> Amount {
    let mut amounts = entries.iter().filter_map(Resource::amount);
    amounts
        .try_fold(Amount::ZERO, Amount::checked_add)
        .expect("no collection holds more of a name than can be counted")
}

impl PartialEq for Resources {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || self.entries == other.entries
    }
}

impl Eq for Resources {}

impl Hash for Resources {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.entries.hash(state);
    }
}

impl<'a> IntoIterator for &'a Resources {
    type Item = &'a Resource;
    type IntoIter = std::slice::Iter<'a, Resource>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<Resource> for Resources {
    fn from(resource: Resource) -> Self {
        Self {
            entries: Arc::new([resource]),
        }
    }
}

impl TryFrom<Vec<Resource>> for Resources {
    type Error = AddError;

    fn try_from(resources: Vec<Resource>) -> Result<Self, AddError> {
        Self::collect(resources)
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resources({self})")
    }
}
