//! A sentence or a few.

use std::fmt;
use std::sync::Arc;

use super::TextError;
use crate::bounds::NOTE_BYTES_MAX;

/// What stands where the rest of a long text was left out.
const CUT: &str = "…";

/// A text for people: possibly empty, at most [`NOTE_BYTES_MAX`] bytes, of one or more lines.
///
/// Clones are cheap.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Note(Arc<str>);

impl Note {
    /// Returns `text` as a note.
    pub fn new(text: impl AsRef<str>) -> Result<Self, TextError> {
        let text = text.as_ref();
        if text.len() > NOTE_BYTES_MAX {
            return Err(TextError::TooLong {
                length: text.len(),
                max: NOTE_BYTES_MAX,
            });
        }
        Ok(Self(Arc::from(text)))
    }

    /// Returns what `text` prints as, with an ellipsis for what is beyond the bound.
    ///
    /// For texts that nobody compares or parses, and that may quote what a peer has sent.
    pub fn cut(text: impl fmt::Display) -> Self {
        let mut text = text.to_string();
        if text.len() > NOTE_BYTES_MAX {
            let end = text.floor_char_boundary(NOTE_BYTES_MAX - CUT.len());
            text.truncate(end);
            text.push_str(CUT);
        }
        Self(Arc::from(text))
    }

    /// Returns the note as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Note> for String {
    fn from(note: Note) -> Self {
        note.as_str().to_owned()
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
