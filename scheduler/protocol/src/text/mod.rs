//! Texts for people: bounded, so that no peer can make another hold more than is read.
//!
//! - [`Line`]: a name. Never empty, never of two lines.
//! - [`Note`]: a sentence or a few: reasons, remedies, messages.

mod line;
mod note;

pub use line::Line;
pub use note::Note;

/// Says why a text is none that a message can hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// No character where there must be one.
    #[error("it is empty")]
    Empty,
    /// More bytes than the bound.
    #[error("{length} bytes are too long; at most {max}")]
    TooLong {
        /// How long it is.
        length: usize,
        /// How long it may be.
        max: usize,
    },
    /// A character that would not be seen, or end the line.
    #[error("{character:?} at byte {position}; control characters are refused")]
    Control {
        /// The character.
        character: char,
        /// How many bytes stand before it.
        position: usize,
    },
}
