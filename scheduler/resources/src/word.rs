//! Words: the short texts that name roles, principals, volumes and the like.
//!
//! Each is a type of its own, checked when it is made and cheap to clone ever after. All are bounded,
//! for they come from peers, go into paths, logs and databases, and are compared in hot loops.

use super::text::Found;

/// The longest word in bytes: what a file system takes for one name (`NAME_MAX`), since roles and
/// volumes become directories.
pub(crate) const WORD_BYTES_MAX: usize = 255;

/// Says why a text is not the word it was given for.
///
/// Positions count characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// No character at all.
    #[error("{what} cannot be empty")]
    Empty {
        /// What was to be named.
        what: &'static str,
    },
    /// More bytes than the bound.
    #[error("{what} of {length} bytes is too long; at most {max}")]
    TooLong {
        /// What was to be named.
        what: &'static str,
        /// How long it is.
        length: usize,
        /// How long it may be.
        max: usize,
    },
    /// A character that the word cannot hold, or not there.
    #[error("`{text}` cannot be {what}: {found} at position {position}; {rule}")]
    Character {
        /// What was to be named.
        what: &'static str,
        /// The text, what is invisible in it escaped.
        text: String,
        /// The character.
        found: Found,
        /// Where it stands.
        position: usize,
        /// What may stand in such a word.
        rule: &'static str,
    },
    /// A text that means something else.
    #[error("`{text}` cannot be {what}: {meaning}")]
    Taken {
        /// What was to be named.
        what: &'static str,
        /// The text.
        text: String,
        /// What it means.
        meaning: &'static str,
    },
}

/// What a kind of word may hold.
pub(crate) struct Rules {
    /// The word with its article, as it stands in messages: "a role".
    pub(crate) what: &'static str,
    /// The most bytes.
    pub(crate) bytes_max: usize,
    /// Returns whether the character may stand anywhere.
    pub(crate) allows: fn(char) -> bool,
    /// Returns whether an allowed character may stand first.
    pub(crate) begins: fn(char) -> bool,
    /// What may stand where, for people.
    pub(crate) rule: &'static str,
}

impl Rules {
    /// Returns nothing if `text` keeps the rules.
    pub(crate) fn check(&self, text: &str) -> Result<(), WordError> {
        let what = self.what;
        if text.is_empty() {
            return Err(WordError::Empty { what });
        }
        if text.len() > self.bytes_max {
            return Err(WordError::TooLong {
                what,
                length: text.len(),
                max: self.bytes_max,
            });
        }
        for (index, character) in text.chars().enumerate() {
            if !(self.allows)(character) || index == 0 && !(self.begins)(character) {
                return Err(WordError::Character {
                    what,
                    text: escaped(text),
                    found: Found::Character(character),
                    position: index + 1,
                    rule: self.rule,
                });
            }
        }
        Ok(())
    }

    /// Returns nothing if `text` is a plain component of a path: neither `.` nor `..`.
    pub(crate) fn check_component(&self, text: &str) -> Result<(), WordError> {
        match text {
            "." | ".." => Err(WordError::Taken {
                what: self.what,
                text: text.to_owned(),
                meaning: "it is a place in every directory, and this becomes a directory of its own",
            }),
            _ => Ok(()),
        }
    }
}

/// Returns a text as it is shown in an error: in one line, what is invisible in it escaped.
pub(crate) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            // Escapes are for what a terminal does not show, or obeys.
            '"' | '\'' => shown.push(character),
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown
}

/// Makes a word of a struct over a shared text: conversions, printing, and serde as text.
///
/// The struct has a `fn check(&str) -> Result<(), WordError>`, and its text is compared and ordered
/// as bytes.
macro_rules! word {
    ($name:ident over $inner:ty) => {
        impl $name {
            /// Returns the word that `text` is.
            pub fn new(text: impl AsRef<str>) -> Result<Self, $crate::word::WordError> {
                let text = text.as_ref();
                Self::check(text)?;
                Ok(Self(<$inner>::from(text)))
            }

            /// Returns the word as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::word::WordError;

            fn from_str(text: &str) -> Result<Self, $crate::word::WordError> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = $crate::word::WordError;

            fn try_from(text: &str) -> Result<Self, $crate::word::WordError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::word::WordError;

            fn try_from(text: String) -> Result<Self, $crate::word::WordError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> Self {
                word.as_str().to_owned()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        // Equality, order and hash are the text's, which `Borrow` demands.
        impl ::std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Self, D::Error> {
                $crate::serde_text::deserialize(deserializer, Self::RULES.what)
            }
        }
    };
}

pub(crate) use word;

/// Returns whether a character is neither a control nor one that only turns, joins or parts the others
/// without being seen.
///
/// The unseen ones are refused because a word is read by people, in logs and tables, before they act
/// on it.
pub(crate) fn is_visible_or_space(character: char) -> bool {
    !character.is_control()
        && !matches!(character,
            // Soft hyphen, zero width, joiners, direction marks, overrides and isolates, line and
            // paragraph separators, byte order mark, interlinear and tag characters.
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}
