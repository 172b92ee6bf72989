//! Taking resources away, and whether they are there.

use std::cmp::Ordering;
use std::fmt;

use super::collection::Resources;
use crate::resource::Resource;
use crate::value::Value;

/// Says that something asked for is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{wanted}` is not there: {held}")]
pub struct Shortfall {
    /// The first entry that is not contained, in the order of a collection.
    pub wanted: Resource,
    /// What is there instead.
    pub held: Held,
}

/// What is there of a resource that is not there in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// Less: an amount, numbers or items that do not contain the others.
    Less(Value),
    /// A volume of this id and another size. Volumes are there as a whole or not at all.
    OtherSize(Value),
    /// None of this name, kind, reservation and volume, but some of the name.
    Others,
    /// None of this name.
    Nothing,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Less(value) => write!(f, "there is only {value}"),
            Self::OtherSize(value) => {
                write!(f, "the volume has {value}, and is used as a whole or not at all")
            }
            Self::Others => f.write_str(
                "there is some, but with another reservation, volume or kind, which are never mixed",
            ),
            Self::Nothing => f.write_str("there is none"),
        }
    }
}

impl Resources {
    /// Returns whether all of `other` is in it.
    ///
    /// Allocates nothing.
    pub fn contains(&self, other: &Self) -> bool {
        self.is_same(other) || self.first_missing(other).is_none()
    }

    /// Returns nothing if all of `other` is in it, or what is not.
    pub fn check_contains(&self, other: &Self) -> Result<(), Shortfall> {
        match self.first_missing(other) {
            None => Ok(()),
            Some((wanted, held)) => Err(self.shortfall(wanted, held)),
        }
    }

    /// Returns what is left without `other`, or what of `other` is not there.
    pub fn checked_sub(&self, other: &Self) -> Result<Self, Shortfall> {
        if other.is_empty() {
            return Ok(self.clone());
        }
        let mut entries = Vec::with_capacity(self.len());
        let mut wanted = other.iter().peekable();
        for own in self {
            let order = wanted.peek().map(|next| own.compare(next));
            match order {
                None | Some(Ordering::Less) => entries.push(own.clone()),
                Some(Ordering::Equal) => {
                    let Some(next) = wanted.next() else { break };
                    let left =
                        difference(own, next).ok_or_else(|| self.shortfall(next, Some(own)))?;
                    entries.extend(left);
                }
                Some(Ordering::Greater) => break,
            }
        }
        match wanted.next() {
            None => Ok(Self::from_normal(entries)),
            Some(wanted) => Err(self.shortfall(wanted, None)),
        }
    }

    /// Returns the first entry of `other` that is not contained, and what is there of it.
    fn first_missing<'a>(
        &'a self,
        other: &'a Self,
    ) -> Option<(&'a Resource, Option<&'a Resource>)> {
        let mut held = self.iter();
        other.iter().find_map(|wanted| {
            // What is before this is before all that follow.
            let own = held.find_map(|own| match own.compare(wanted) {
                Ordering::Less => None,
                Ordering::Equal => Some(Some(own)),
                // Nothing equal can follow, and the search ends: this one need not be kept.
                Ordering::Greater => Some(None),
            });
            match own.flatten() {
                Some(own) if contains(own, wanted) => None,
                own => Some((wanted, own)),
            }
        })
    }

    fn shortfall(&self, wanted: &Resource, held: Option<&Resource>) -> Shortfall {
        let held = match (held, wanted.volume()) {
            (Some(held), None) => Held::Less(held.value().clone()),
            (Some(held), Some(_)) => Held::OtherSize(held.value().clone()),
            (None, _) if self.get(wanted.name().as_str()).is_empty() => Held::Nothing,
            (None, _) => Held::Others,
        };
        Shortfall {
            wanted: wanted.clone(),
            held,
        }
    }
}

/// Returns whether one holds the other, which is the same but for its value.
fn contains(own: &Resource, wanted: &Resource) -> bool {
    match wanted.volume() {
        None => own.value().contains(wanted.value()),
        Some(_) => own.value() == wanted.value(),
    }
}

/// Returns what one is without the other, which is the same but for its value: `Some(None)` if
/// nothing is left, `None` if it does not hold the other.
fn difference(own: &Resource, wanted: &Resource) -> Option<Option<Resource>> {
    if own.value() == wanted.value() {
        return Some(None);
    }
    match wanted.volume() {
        None => {
            let left = own.value().checked_sub(wanted.value())?;
            Some(Some(own.with_value(left)))
        }
        // Volumes never split.
        Some(_) => None,
    }
}
