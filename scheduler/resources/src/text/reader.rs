//! Reads a text from left to right.

use super::Found;

impl Found {
    /// Returns what stands at a byte of a text; the byte begins a character or is the end.
    pub(crate) fn at(text: &str, byte: usize) -> Self {
        text.get(byte..)
            .and_then(|rest| rest.chars().next())
            .map_or(Self::End, Self::Character)
    }
}
