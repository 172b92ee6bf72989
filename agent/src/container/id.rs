//! What containers are called: by the agent (id), by people (name), by the data plane (slot).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The letters of an id: base32 of RFC 4648 in lower case, so an id can be read aloud and is a file
/// name, a cgroup name and a label without escaping.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The letters of one id: 60 random bits, so that a node never meets the same twice.
const ID_LENGTH: usize = 12;

/// The longest name: the kernel's limit for a host name, which a container's name becomes.
const NAME_LENGTH_MAX: usize = 63;

/// The name that the agent gives a container: random, and never used again.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

impl ContainerId {
    /// Returns the id made of the lowest 60 bits.
    pub fn from_random(bits: u64) -> Self {
        let letter = |index: usize| {
            let five = u8::try_from(bits >> (5 * index) & 31).expect("five bits fit a byte");
            char::from(ALPHABET[usize::from(five)])
        };
        Self((0..ID_LENGTH).map(letter).collect())
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Says that a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a container id: twelve of a-z and 2-7")]
pub struct NotAnId(String);

impl FromStr for ContainerId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let valid = text.len() == ID_LENGTH && text.bytes().all(|byte| ALPHABET.contains(&byte));
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAnId(text.to_owned()))
        }
    }
}

impl TryFrom<String> for ContainerId {
    type Error = NotAnId;

    fn try_from(text: String) -> Result<Self, NotAnId> {
        text.parse()
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name that people give a container: unique among those that live, and its host name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerName(String);

/// Says that a text cannot name a container.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAName {
    /// No letter at all.
    #[error("a container's name cannot be empty")]
    Empty,
    /// Longer than a host name can be.
    #[error(
        "the name is {length} characters long; a container's name has at most {NAME_LENGTH_MAX}"
    )]
    TooLong {
        /// The length.
        length: usize,
    },
    /// A character that a host name cannot have, or cannot begin with.
    #[error(
        "`{name}` cannot be a container's name because of {character:?}; use letters, digits, `-`, `_` and `.`, and begin with a letter or digit"
    )]
    Character {
        /// The name.
        name: String,
        /// The character.
        character: char,
    },
}

impl ContainerName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        if text.is_empty() {
            return Err(NotAName::Empty);
        }
        if text.chars().count() > NAME_LENGTH_MAX {
            return Err(NotAName::TooLong {
                length: text.chars().count(),
            });
        }
        let allowed = |(index, c): &(usize, char)| {
            c.is_ascii_alphanumeric() || (*index > 0 && matches!(c, '-' | '_' | '.'))
        };
        match text.char_indices().find(|place| !allowed(place)) {
            None => Ok(Self(text.to_owned())),
            Some((_, character)) => Err(NotAName::Character {
                name: text.to_owned(),
                character,
            }),
        }
    }
}

impl TryFrom<String> for ContainerName {
    type Error = NotAName;

    fn try_from(text: String) -> Result<Self, NotAName> {
        text.parse()
    }
}

impl From<ContainerName> for String {
    fn from(name: ContainerName) -> Self {
        name.0
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The index of a container in every map of the data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Slot(u32);

/// Says that a number is not a slot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("slot {0} is not below {max}", max = weir_abi::SLOTS_MAX)]
pub struct NotASlot(u32);

impl Slot {
    /// Returns every slot, in ascending order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..weir_abi::SLOTS_MAX).map(Self)
    }

    /// Returns the index.
    pub const fn index(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Slot {
    type Error = NotASlot;

    fn try_from(index: u32) -> Result<Self, NotASlot> {
        if index < weir_abi::SLOTS_MAX {
            Ok(Self(index))
        } else {
            Err(NotASlot(index))
        }
    }
}

impl From<Slot> for u32 {
    fn from(slot: Slot) -> Self {
        slot.0
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_random_number_makes_an_id() {
        for bits in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
            let id = ContainerId::from_random(bits);
            assert_eq!(id.as_str().parse(), Ok(id.clone()));
        }
        assert_eq!(ContainerId::from_random(0).as_str(), "aaaaaaaaaaaa");
        assert_ne!(
            ContainerId::from_random(1 << 59),
            ContainerId::from_random(0)
        );
    }

    #[test]
    fn what_could_climb_out_of_a_directory_is_no_id() {
        for text in [
            "",
            "../../../etc",
            "aaaaaaaaaaa",
            "aaaaaaaaaaaaa",
            "AAAAAAAAAAAA",
            "aaaaaaaaaaa0",
        ] {
            assert!(text.parse::<ContainerId>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_host_names() {
        for name in ["web", "web-1", "a", "7.x_y"] {
            assert_eq!(name.parse::<ContainerName>().unwrap().as_str(), name);
        }
        for name in [
            "",
            "-web",
            ".",
            "..",
            "a/b",
            "a b",
            "ä",
            "a\n",
            &"x".repeat(64),
        ] {
            assert!(name.parse::<ContainerName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_slot_is_an_index_into_every_map() {
        assert_eq!(Slot::all().count(), 1024);
        assert!(Slot::try_from(1023).is_ok());
        assert!(Slot::try_from(1024).is_err());
    }

    #[test]
    fn any_text_is_a_harmless_name_or_none() {
        const PIECES: [&str; 8] = ["a", "Z9", "-", "_", ".", "/", "é", "\0"];
        bolero::check!()
            .with_type::<(String, Vec<u8>, u64, u32)>()
            .with_iterations(2000)
            .for_each(|(text, choices, bits, index)| {
                let pieces = choices.iter().map(|b| PIECES[usize::from(b % 8)]);
                let likely: String = pieces.collect();
                for text in [text, &likely] {
                    match text.parse::<ContainerName>() {
                        Ok(name) => {
                            assert_eq!(name.to_string(), *text);
                            // A host name, and one component of a path that is not special.
                            assert!((1..=NAME_LENGTH_MAX).contains(&text.len()));
                            assert!(text.starts_with(|c: char| c.is_ascii_alphanumeric()));
                            assert!(!text.contains(['/', '\0', '\n']) && text.is_ascii());
                        }
                        Err(NotAName::Empty) => assert!(text.is_empty()),
                        Err(NotAName::TooLong { length }) => {
                            assert_eq!(length, text.chars().count());
                        }
                        Err(NotAName::Character { character, .. }) => {
                            assert!(text.contains(character));
                        }
                    }
                    if let Ok(id) = text.parse::<ContainerId>() {
                        assert_eq!(id.to_string(), *text);
                    }
                }
                let id = ContainerId::from_random(*bits);
                assert_eq!(id.as_str().parse(), Ok(id.clone()));
                // Containers that were not named are called by their id.
                assert_eq!(
                    id.as_str().parse::<ContainerName>().unwrap().as_str(),
                    id.as_str()
                );
                assert_eq!(Slot::try_from(*index).is_ok(), *index < weir_abi::SLOTS_MAX);
            });
    }
}
