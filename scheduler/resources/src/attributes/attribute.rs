//! Attributes, and all the attributes of a node.

use std::fmt;
use std::sync::Arc;

use crate::amount::Amount;
use crate::ranges::Ranges;
use crate::word::{Rules, WORD_BYTES_MAX, WordError, is_visible_or_space, word};

/// The name of an attribute: ASCII letters, digits, `_`, `-`, `.` and `/`, with a letter first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeName(Arc<str>);

impl AttributeName {
    const RULES: Rules = Rules {
        what: "the name of an attribute",
        bytes_max: WORD_BYTES_MAX,
        allows: |character| {
            character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.' | '/')
        },
        begins: |character| character.is_ascii_alphabetic(),
        rule: "use letters, digits, `_`, `-`, `.` and `/`, and begin with a letter",
    };

    fn check(text: &str) -> Result<(), WordError> {
        Self::RULES.check(text)
    }
}

word!(AttributeName over Arc<str>);

/// The value of an attribute that is neither an amount nor ranges.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeText(Arc<str>);

impl AttributeText {
    const RULES: Rules = Rules {
        what: "the text of an attribute",
        bytes_max: WORD_BYTES_MAX,
        allows: is_visible_or_space,
        begins: |_| true,
        rule: "a text has no invisible character",
    };

    fn check(text: &str) -> Result<(), WordError> {
        Self::RULES.check(text)
    }
}

word!(AttributeText over Arc<str>);

/// What is known of a node under one name.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum AttributeValue {
    /// A quantity, which may be 0.
    Scalar(Amount),
    /// Numbers; never none.
    Ranges(Ranges),
    /// A text.
    Text(AttributeText),
}

/// A name, and what is known of a node under it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Attribute {
    name: AttributeName,
    value: AttributeValue,
}

/// Says why attributes cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// Ranges without a range.
    #[error("there is nothing in attribute `{name}`: no range is named; leave it out")]
    Nothing {
        /// What it is called.
        name: AttributeName,
    },
    /// A name with two values, or one twice.
    #[error("attribute `{name}` is there twice")]
    Twice {
        /// What they are called.
        name: AttributeName,
    },
}

impl Attribute {
    /// Returns what is known under a name.
    pub fn new(name: AttributeName, value: AttributeValue) -> Result<Self, AttributeError> {
        match &value {
            AttributeValue::Ranges(ranges) if ranges.is_empty() => {
                Err(AttributeError::Nothing { name })
            }
            AttributeValue::Scalar(_) | AttributeValue::Ranges(_) | AttributeValue::Text(_) => {
                Ok(Self { name, value })
            }
        }
    }

    /// Returns what it is called.
    pub const fn name(&self) -> &AttributeName {
        &self.name
    }

    /// Returns what is known under the name.
    pub const fn value(&self) -> &AttributeValue {
        &self.value
    }
}

/// All that is known of a node, each name once, in the order of the names. A clone is free.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Attributes {
    /// Ascending by name.
    attributes: Arc<[Attribute]>,
}

impl Attributes {
    /// Returns the attributes, given in any order.
    pub fn new(attributes: impl IntoIterator<Item = Attribute>) -> Result<Self, AttributeError> {
        let mut attributes: Vec<Attribute> = attributes.into_iter().collect();
        attributes.sort_by(|one, next| one.name.cmp(&next.name));
        let twice = |pair: &&[Attribute]| pair[0].name == pair[1].name;
        match attributes.windows(2).find(twice) {
            Some(pair) => Err(AttributeError::Twice {
                name: pair[0].name.clone(),
            }),
            None => Ok(Self {
                attributes: attributes.into(),
            }),
        }
    }

    /// Goes through the attributes in the order of their names.
    pub fn iter(&self) -> std::slice::Iter<'_, Attribute> {
        self.attributes.iter()
    }

    /// Returns whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.attributes.is_empty()
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.attributes.len()
    }

    /// Returns what is known under a name.
    pub fn get(&self, name: &str) -> Option<&AttributeValue> {
        let index = self
            .attributes
            .binary_search_by(|own| own.name.as_str().cmp(name))
            .ok()?;
        self.attributes.get(index).map(Attribute::value)
    }
}

impl<'a> IntoIterator for &'a Attributes {
    type Item = &'a Attribute;
    type IntoIter = std::slice::Iter<'a, Attribute>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attributes({self})")
    }
}
