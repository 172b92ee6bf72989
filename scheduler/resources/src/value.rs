//! Values: how much of a resource, or which.

use std::fmt;

use super::amount::Amount;
use super::ranges::{Range, Ranges};
use super::set::{Item, ItemSet};

/// How much of a resource there is, or which parts of it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// A quantity: added and subtracted.
    Scalar(Amount),
    /// Numbers, each of them there once: joined and taken away.
    Ranges(Ranges),
    /// Named things, each of them there once: joined and taken away.
    Set(ItemSet),
}

/// Which of the three a value is. A resource's name has one type throughout a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueType {
    /// A quantity.
    Scalar,
    /// Numbers.
    Ranges,
    /// Named things.
    Set,
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Scalar => "a scalar",
            Self::Ranges => "ranges",
            Self::Set => "a set",
        })
    }
}

/// Says why two values cannot be put together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueConflict {
    /// A quantity and a set, say.
    #[error("one is {first}, the other {second}")]
    Types {
        /// What the one is.
        first: ValueType,
        /// What the other is.
        second: ValueType,
    },
    /// More than can be counted.
    #[error("{first} and {second} together are above {max}", max = Amount::MAX)]
    TooLarge {
        /// The one amount.
        first: Amount,
        /// The other.
        second: Amount,
    },
    /// Numbers that are in both.
    #[error("both hold {shared}")]
    SharedRange {
        /// The lowest of them.
        shared: Range,
    },
    /// An item that is in both.
    #[error("both hold `{shared}`")]
    SharedItem {
        /// The first of them.
        shared: Item,
    },
}

impl Value {
    /// Returns which of the three it is.
    pub const fn value_type(&self) -> ValueType {
        match self {
            Self::Scalar(_) => ValueType::Scalar,
            Self::Ranges(_) => ValueType::Ranges,
            Self::Set(_) => ValueType::Set,
        }
    }

    /// Returns whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Scalar(amount) => amount.is_zero(),
            Self::Ranges(ranges) => ranges.is_empty(),
            Self::Set(items) => items.is_empty(),
        }
    }

    /// Returns whether `other` is of the same type and no more than this.
    pub fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scalar(own), Self::Scalar(other)) => own >= other,
            (Self::Ranges(own), Self::Ranges(other)) => own.contains_all(other),
            (Self::Set(own), Self::Set(other)) => own.contains_all(other),
            (Self::Scalar(_) | Self::Ranges(_) | Self::Set(_), _) => false,
        }
    }

    /// Returns both together, or why there is no such value: they are of two types, have a number or
    /// an item in common, or are more than can be counted.
    pub fn checked_add(&self, other: &Self) -> Result<Self, ValueConflict> {
        match (self, other) {
            (Self::Scalar(first), Self::Scalar(second)) => first
                .checked_add(*second)
                .map(Self::Scalar)
                .ok_or(ValueConflict::TooLarge {
                    first: *first,
                    second: *second,
                }),
            (Self::Ranges(first), Self::Ranges(second)) => match first.first_shared(second) {
                None => Ok(Self::Ranges(first.union(second))),
                Some(shared) => Err(ValueConflict::SharedRange { shared }),
            },
            (Self::Set(first), Self::Set(second)) => match first.first_shared(second) {
                None => Ok(Self::Set(first.union(second))),
                Some(shared) => Err(ValueConflict::SharedItem {
                    shared: shared.clone(),
                }),
            },
            (Self::Scalar(_) | Self::Ranges(_) | Self::Set(_), _) => Err(ValueConflict::Types {
                first: self.value_type(),
                second: other.value_type(),
            }),
        }
    }

    /// Returns what is left without `other`, or `None` unless `other` is contained.
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Scalar(own), Self::Scalar(other)) => own.checked_sub(*other).map(Self::Scalar),
            (Self::Ranges(own), Self::Ranges(other)) => own
                .contains_all(other)
                .then(|| Self::Ranges(own.subtract(other))),
            (Self::Set(own), Self::Set(other)) => own
                .contains_all(other)
                .then(|| Self::Set(own.subtract(other))),
            (Self::Scalar(_) | Self::Ranges(_) | Self::Set(_), _) => None,
        }
    }
}

impl From<Amount> for Value {
    fn from(amount: Amount) -> Self {
        Self::Scalar(amount)
    }
}

impl From<Ranges> for Value {
    fn from(ranges: Ranges) -> Self {
        Self::Ranges(ranges)
    }
}

impl From<ItemSet> for Value {
    fn from(items: ItemSet) -> Self {
        Self::Set(items)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(amount) => fmt::Display::fmt(amount, f),
            Self::Ranges(ranges) => fmt::Display::fmt(ranges, f),
            Self::Set(items) => fmt::Display::fmt(items, f),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
