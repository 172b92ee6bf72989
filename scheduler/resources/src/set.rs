//! Sets of named things that are counted one by one.

use std::fmt;
use std::sync::Arc;

use super::text::Quoted;
use super::word::{Rules, WORD_BYTES_MAX, WordError, is_visible_or_space, word};

/// One member of an [`ItemSet`]: any visible text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Item(Arc<str>);

impl Item {
    const RULES: Rules = Rules {
        what: "an item of a set",
        bytes_max: WORD_BYTES_MAX,
        allows: is_visible_or_space,
        begins: |_| true,
        rule: "an item has no invisible character",
    };

    fn check(text: &str) -> Result<(), WordError> {
        Self::RULES.check(text)
    }
}

word!(Item over Arc<str>);

/// A set of items in its one normal form: ascending, each once.
///
/// Clones are free. Its text is Mesos': `{a, b}`.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemSet {
    items: Arc<[Item]>,
}

/// Says that an item which may be named once is named twice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("item `{item}` is named twice")]
pub struct ItemTwice {
    /// The item.
    pub item: Item,
}

impl ItemSet {
    /// Returns the set of `items`, in any order, or one that is there twice.
    pub fn distinct(items: impl IntoIterator<Item = Item>) -> Result<Self, ItemTwice> {
        let mut items: Vec<Item> = items.into_iter().collect();
        items.sort_unstable();
        match items.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(ItemTwice {
                item: pair[0].clone(),
            }),
            None => Ok(Self {
                items: items.into(),
            }),
        }
    }

    /// Returns the items in ascending order.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Returns whether there is no item in it.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns how many items are in it.
    pub fn count(&self) -> usize {
        self.items.len()
    }

    /// Returns whether there is such an item in it.
    pub fn contains(&self, item: &str) -> bool {
        self.items
            .binary_search_by(|own| own.as_str().cmp(item))
            .is_ok()
    }

    /// Returns whether every item of `other` is in it.
    pub fn contains_all(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.items, &other.items)
            || other.items.iter().all(|item| self.contains(item.as_str()))
    }

    /// Returns the lowest item that is in both, or `None` when there is none.
    pub fn first_shared(&self, other: &Self) -> Option<&Item> {
        self.items.iter().find(|item| other.contains(item.as_str()))
    }

    /// Returns whether the two share no item.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.first_shared(other).is_none()
    }

    /// Returns the items that are in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.items.iter().chain(&*other.items).cloned().collect()
    }

    /// Returns the items of `self` that are not in `other`.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        let kept = self.items.iter();
        Self {
            items: kept
                .filter(|item| !other.contains(item.as_str()))
                .cloned()
                .collect(),
        }
    }
}

impl FromIterator<Item> for ItemSet {
    /// Returns the set of all the items, whether some are there twice or not.
    fn from_iter<I: IntoIterator<Item = Item>>(items: I) -> Self {
        let mut items: Vec<Item> = items.into_iter().collect();
        items.sort_unstable();
        items.dedup();
        Self {
            items: items.into(),
        }
    }
}

impl fmt::Display for ItemSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, item) in self.items.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            fmt::Display::fmt(&Quoted(item.as_str()), f)?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for ItemSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
