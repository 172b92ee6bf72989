//! Labels: what whoever reserves wants to remember of it.

use std::fmt;
use std::sync::Arc;

use super::text::Quoted;
use super::word::{Rules, WORD_BYTES_MAX, WordError, is_visible_or_space, word};

/// The most labels of one reservation: they are part of its identity and compared with it.
pub const LABELS_MAX: usize = 32;

/// The key of a label.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelKey(Arc<str>);

impl LabelKey {
    const RULES: Rules = Rules {
        what: "the key of a label",
        bytes_max: WORD_BYTES_MAX,
        allows: is_visible_or_space,
        begins: |_| true,
        rule: "a key has no invisible character",
    };

    fn check(text: &str) -> Result<(), WordError> {
        Self::RULES.check(text)
    }
}

word!(LabelKey over Arc<str>);

/// The value of a label, which may be empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelValue(Arc<str>);

impl LabelValue {
    const RULES: Rules = Rules {
        what: "the value of a label",
        bytes_max: WORD_BYTES_MAX,
        allows: is_visible_or_space,
        begins: |_| true,
        rule: "a value has no invisible character",
    };

    fn check(text: &str) -> Result<(), WordError> {
        match text {
            "" => Ok(()),
            text => Self::RULES.check(text),
        }
    }
}

word!(LabelValue over Arc<str>);

/// Keys with values, in the order of the keys, each key once.
///
/// No labels cost nothing.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels {
    /// Ascending by key. `None` stands for no labels, and nothing else does.
    labels: Option<Arc<[(LabelKey, LabelValue)]>>,
}

/// Says why labels are not a set of labels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    /// A key that has two values, or one twice.
    #[error("label `{key}` is there twice")]
    Twice {
        /// The key.
        key: LabelKey,
    },
    /// More labels than the bound.
    #[error("{count} labels are too many; a reservation has at most {LABELS_MAX}")]
    TooMany {
        /// How many.
        count: usize,
    },
}

impl Labels {
    /// Returns no labels.
    pub const fn none() -> Self {
        Self { labels: None }
    }

    /// Returns the labels, given in any order.
    pub fn new(
        labels: impl IntoIterator<Item = (LabelKey, LabelValue)>,
    ) -> Result<Self, LabelsError> {
        let mut labels: Vec<_> = labels.into_iter().collect();
        if labels.is_empty() {
            return Ok(Self::none());
        }
        if labels.len() > LABELS_MAX {
            return Err(LabelsError::TooMany {
                count: labels.len(),
            });
        }
        labels.sort_unstable();
        match labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(LabelsError::Twice {
                key: pair[0].0.clone(),
            }),
            None => Ok(Self {
                labels: Some(labels.into()),
            }),
        }
    }

    /// Returns whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.labels.is_none()
    }

    /// Returns the labels in the order of their keys.
    pub fn as_slice(&self) -> &[(LabelKey, LabelValue)] {
        self.labels.as_deref().unwrap_or_default()
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &str) -> Option<&LabelValue> {
        let labels = self.as_slice();
        let index = labels
            .binary_search_by(|(own, _)| own.as_str().cmp(key))
            .ok()?;
        labels.get(index).map(|(_, value)| value)
    }
}

impl fmt::Display for Labels {
    /// Writes `{key=value, key=value}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (key, value)) in self.as_slice().iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            let (key, value) = (Quoted(key.as_str()), Quoted(value.as_str()));
            write!(f, "{comma}{key}={value}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
