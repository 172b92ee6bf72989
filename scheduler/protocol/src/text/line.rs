//! One line.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::TextError;
use crate::bounds::LINE_BYTES_MAX;

/// A line of text: at least one character, at most `MAX` bytes, no control character.
///
/// Clones are cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line<const MAX: usize = LINE_BYTES_MAX>(Arc<str>);

impl<const MAX: usize> Line<MAX> {
    /// Returns `text` as a line.
    pub fn new(text: impl AsRef<str>) -> Result<Self, TextError> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(TextError::Empty);
        }
        if text.len() > MAX {
            return Err(TextError::TooLong {
                length: text.len(),
                max: MAX,
            });
        }
        match text.char_indices().find(|(_, c)| c.is_control()) {
            None => Ok(Self(Arc::from(text))),
            Some((position, character)) => Err(TextError::Control {
                character,
                position,
            }),
        }
    }

    /// Returns the line as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> FromStr for Line<MAX> {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        Self::new(text)
    }
}

impl<const MAX: usize> From<Line<MAX>> for String {
    fn from(line: Line<MAX>) -> Self {
        line.as_str().to_owned()
    }
}

impl<const MAX: usize> fmt::Display for Line<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<const MAX: usize> fmt::Debug for Line<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
