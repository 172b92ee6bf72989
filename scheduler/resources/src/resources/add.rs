//! Putting resources together.

use std::cmp::Ordering;

use super::collection::Resources;
use crate::amount::Amount;
use crate::name::ResourceName;
use crate::ranges::{Range, Ranges};
use crate::resource::Resource;
use crate::role::Role;
use crate::set::{Item, ItemSet};
use crate::value::{Value, ValueConflict, ValueType};
use crate::volume::VolumeId;

/// Says why resources cannot be together on one node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// One name for two things.
    #[error("`{name}` is {first} here and {second} there; a name has one type")]
    Types {
        /// The name.
        name: ResourceName,
        /// What it is in the one place.
        first: ValueType,
        /// What it is in the other.
        second: ValueType,
    },
    /// More than can be counted.
    #[error(
        "{first} and {second} of `{name}` are more than can be counted; the most is {max}",
        max = Amount::MAX
    )]
    TooLarge {
        /// The name.
        name: ResourceName,
        /// The one amount.
        first: Amount,
        /// The other.
        second: Amount,
    },
    /// Numbers that are there already.
    #[error("{shared} of `{name}` is there twice")]
    NumbersTwice {
        /// The name.
        name: ResourceName,
        /// The lowest of the numbers.
        shared: Range,
    },
    /// An item that is there already.
    #[error("`{shared}` of `{name}` is there twice")]
    ItemTwice {
        /// The name.
        name: ResourceName,
        /// The item.
        shared: Item,
    },
    /// A volume whose directory is there already.
    #[error("role `{role}` has a volume `{id}` already, of {size}")]
    VolumeTwice {
        /// Whose volume it is.
        role: Role,
        /// Its id.
        id: VolumeId,
        /// The size of one of the two.
        size: Amount,
    },
}

impl AddError {
    fn new(name: &ResourceName, conflict: ValueConflict) -> Self {
        let name = name.clone();
        match conflict {
            ValueConflict::Types { first, second } => Self::Types {
                name,
                first,
                second,
            },
            ValueConflict::TooLarge { first, second } => Self::TooLarge {
                name,
                first,
                second,
            },
            ValueConflict::SharedRange { shared } => Self::NumbersTwice { name, shared },
            ValueConflict::SharedItem { shared } => Self::ItemTwice { name, shared },
        }
    }
}

impl Resources {
    /// Returns both together, or why no node can have both.
    pub fn checked_add(&self, other: &Self) -> Result<Self, AddError> {
        if other.is_empty() {
            return Ok(self.clone());
        }
        if self.is_empty() {
            return Ok(other.clone());
        }
        let mut entries = Vec::with_capacity(self.len() + other.len());
        let mut left = self.iter().peekable();
        let mut right = other.iter().peekable();
        loop {
            let order = match (left.peek(), right.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(left), Some(right)) => left.compare(right),
            };
            match order {
                Ordering::Less => entries.extend(left.next().cloned()),
                Ordering::Greater => entries.extend(right.next().cloned()),
                Ordering::Equal => {
                    if let (Some(left), Some(right)) = (left.next(), right.next()) {
                        entries.push(merge(left, right)?);
                    }
                }
            }
        }
        check(&entries)?;
        Ok(Self::from_normal(entries))
    }
}

/// Returns all of `resources` together, given in any order.
///
/// What is the same but for its value is put together at once rather than one by one, so that a long
/// text of small ranges costs a sort and no more.
pub(super) fn collect(mut resources: Vec<Resource>) -> Result<Resources, AddError> {
    resources.sort_by(Resource::compare);
    let mut entries: Vec<Resource> = Vec::with_capacity(resources.len());
    for same in resources.chunk_by(|one, next| one.compare(next) == Ordering::Equal) {
        entries.extend(match same {
            [] => None,
            [alone] => Some(alone.clone()),
            [first, second, ..] => {
                volume_once(first, second)?;
                Some(merge_all(first, same)?)
            }
        });
    }
    check(&entries)?;
    Ok(Resources::from_normal(entries))
}

/// Returns two that are the same but for their values as one.
fn merge(first: &Resource, second: &Resource) -> Result<Resource, AddError> {
    volume_once(first, second)?;
    match first.value().checked_add(second.value()) {
        Ok(value) => Ok(first.with_value(value)),
        Err(conflict) => Err(AddError::new(first.name(), conflict)),
    }
}

/// Returns several that are the same but for their values as one; they are no volumes, and `first` is
/// one of them.
fn merge_all(first: &Resource, same: &[Resource]) -> Result<Resource, AddError> {
    let name = first.name();
    one_type(same)?;
    let value = match first.value() {
        Value::Scalar(_) => Value::Scalar(countable(same)?),
        Value::Ranges(_) => {
            let merged = Ranges::disjoint(same.iter().flat_map(ranges_of).copied());
            Value::Ranges(merged.map_err(|overlap| AddError::NumbersTwice {
                name: name.clone(),
                shared: overlap.shared,
            })?)
        }
        Value::Set(_) => {
            let merged = ItemSet::distinct(same.iter().flat_map(items_of).cloned());
            Value::Set(merged.map_err(|twice| AddError::ItemTwice {
                name: name.clone(),
                shared: twice.item,
            })?)
        }
    };
    Ok(first.with_value(value))
}

/// Returns nothing if entries that are in order can be together on one node.
fn check(entries: &[Resource]) -> Result<(), AddError> {
    for named in entries.chunk_by(|one, next| one.name() == next.name()) {
        let [first, _, ..] = named else {
            continue;
        };
        one_type(named)?;
        match first.value() {
            Value::Scalar(_) => {
                countable(named)?;
            }
            Value::Ranges(_) => {
                for kind in named.chunk_by(|one, next| one.kind() == next.kind()) {
                    numbers_once(first.name(), kind)?;
                }
            }
            Value::Set(_) => {
                for kind in named.chunk_by(|one, next| one.kind() == next.kind()) {
                    items_once(first.name(), kind)?;
                }
            }
        }
        for pair in named.windows(2) {
            volume_once(&pair[0], &pair[1])?;
        }
    }
    Ok(())
}

/// Returns nothing if all are of one type.
fn one_type(named: &[Resource]) -> Result<(), AddError> {
    let types = |pair: &[Resource]| (pair[0].value().value_type(), pair[1].value().value_type());
    match named.windows(2).map(types).find(|(one, next)| one != next) {
        None => Ok(()),
        Some((first, second)) => Err(AddError::Types {
            name: named[0].name().clone(),
            first,
            second,
        }),
    }
}

/// Returns the sum of the amounts, or the first two that are too much.
fn countable(named: &[Resource]) -> Result<Amount, AddError> {
    let mut sum = Amount::ZERO;
    for entry in named {
        let amount = entry.amount().unwrap_or_default();
        sum = sum.checked_add(amount).ok_or_else(|| AddError::TooLarge {
            name: entry.name().clone(),
            first: sum,
            second: amount,
        })?;
    }
    Ok(sum)
}

/// Returns nothing if no number is in two of the entries.
fn numbers_once(name: &ResourceName, entries: &[Resource]) -> Result<(), AddError> {
    if entries.len() < 2 {
        return Ok(());
    }
    match Ranges::disjoint(entries.iter().flat_map(ranges_of).copied()) {
        Ok(_) => Ok(()),
        Err(overlap) => Err(AddError::NumbersTwice {
            name: name.clone(),
            shared: overlap.shared,
        }),
    }
}

/// Returns nothing if no item is in two of the entries.
fn items_once(name: &ResourceName, entries: &[Resource]) -> Result<(), AddError> {
    let mut items: Vec<&Item> = entries.iter().flat_map(items_of).collect();
    items.sort_unstable();
    match items.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(AddError::ItemTwice {
            name: name.clone(),
            shared: pair[0].clone(),
        }),
    }
}

/// Returns nothing unless both are volumes, of the same role and id.
///
/// They would share a directory, whoever reserved their disk, and volumes never merge.
fn volume_once(first: &Resource, second: &Resource) -> Result<(), AddError> {
    match (first.role(), first.volume(), second.volume()) {
        (Some(role), Some(volume), Some(other)) if volume == other => {
            if second.role() != Some(role) {
                return Ok(());
            }
            Err(AddError::VolumeTwice {
                role: role.clone(),
                id: volume.id.clone(),
                size: first.amount().unwrap_or_default(),
            })
        }
        _ => Ok(()),
    }
}

fn ranges_of(resource: &Resource) -> &[Range] {
    match resource.value() {
        Value::Ranges(ranges) => ranges.ranges(),
        Value::Scalar(_) | Value::Set(_) => &[],
    }
}

fn items_of(resource: &Resource) -> &[Item] {
    match resource.value() {
        Value::Set(items) => items.items(),
        Value::Scalar(_) | Value::Ranges(_) => &[],
    }
}
