//! Attributes: what to know about a node that nobody can use up.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use weir_resources::{Amount, Ranges};

use crate::bounds::{ATTRIBUTES_MAX, LINE_BYTES_MAX};
use crate::text::{Line, TextError};

/// What an attribute is called: one line without a blank, `:` or `;`, which part attributes in text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeName(Arc<str>);

impl AttributeName {
    /// Returns `text` as a name.
    pub fn new(text: impl AsRef<str>) -> Result<Self, TextError> {
        let line = Line::<LINE_BYTES_MAX>::new(text)?;
        let refused = |(_, c): &(usize, char)| c.is_whitespace() || matches!(c, ':' | ';');
        match line.as_str().char_indices().find(refused) {
            None => Ok(Self(Arc::from(line.as_str()))),
            Some((position, character)) => Err(TextError::Character {
                character,
                position,
            }),
        }
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AttributeName {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        Self::new(text)
    }
}

impl fmt::Display for AttributeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for AttributeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// What an attribute says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AttributeValue {
    /// A number.
    Scalar(Amount),
    /// Numbers.
    Ranges(Ranges),
    /// Anything else.
    Text(Line),
}

impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(amount) => amount.fmt(f),
            Self::Ranges(ranges) => ranges.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// Something to know about a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attribute {
    /// What it is called.
    pub name: AttributeName,
    /// What it says.
    pub value: AttributeValue,
}

/// The attributes of a node in the order of their names, each name once.
///
/// Clones are cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attributes(Arc<[Attribute]>);

/// Says why attributes cannot be those of one node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributesError {
    /// A name that says two things.
    #[error("attribute `{name}` is there twice")]
    Twice {
        /// The name.
        name: AttributeName,
    },
    /// More attributes than the bound.
    #[error("{count} attributes are too many; a node has at most {ATTRIBUTES_MAX}")]
    TooMany {
        /// How many.
        count: usize,
    },
}

impl Attributes {
    /// Returns the attributes, given in any order.
    pub fn new(attributes: impl IntoIterator<Item = Attribute>) -> Result<Self, AttributesError> {
        let mut attributes: Vec<Attribute> = attributes.into_iter().collect();
        if attributes.len() > ATTRIBUTES_MAX {
            return Err(AttributesError::TooMany {
                count: attributes.len(),
            });
        }
        attributes.sort_by(|one, next| one.name.cmp(&next.name));
        match attributes
            .windows(2)
            .find(|pair| pair[0].name == pair[1].name)
        {
            None => Ok(Self(attributes.into())),
            Some(pair) => Err(AttributesError::Twice {
                name: pair[0].name.clone(),
            }),
        }
    }

    /// Returns the attributes in the order of their names.
    pub fn as_slice(&self) -> &[Attribute] {
        &self.0
    }

    /// Returns what the attribute of this name says.
    pub fn get(&self, name: &str) -> Option<&AttributeValue> {
        let index = self
            .0
            .binary_search_by(|attribute| attribute.name.as_str().cmp(name))
            .ok()?;
        self.0.get(index).map(|attribute| &attribute.value)
    }
}
