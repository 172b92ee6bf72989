//! What things are called.
//!
//! - Issued ids ([`AgentId`], [`FrameworkId`], [`OfferId`], [`UpdateId`]) are random or counted
//!   numbers of 128 bits that Weir makes. Peers compare them and never look inside.
//! - Given ids ([`TaskId`], [`OperationId`], [`AgentName`], [`BootId`], [`CapabilityName`]) are words
//!   that a peer chooses. They become parts of paths, names of files and columns of tables, so their letters are
//!   few.
//! - Keys ([`TaskKey`], [`OperationKey`]) are what a given id is in the whole cluster: with whoever
//!   gave it.

mod given;
mod issued;
mod key;

pub use given::{AgentName, BootId, CapabilityName, OperationId, TaskId, check_name};
pub use issued::{AgentId, FrameworkId, OfferId, UpdateId};
pub use key::{CallId, Numbered, OperationKey, OperationOrigin, TaskKey};

/// Says why a text is not the id it was given for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
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
    /// A letter that an id cannot have, or cannot begin with.
    #[error(
        "{text:?} cannot be {what} because of {character:?}; use letters, digits and `{marks}`, and begin with a letter or digit"
    )]
    Character {
        /// What was to be named.
        what: &'static str,
        /// The text.
        text: String,
        /// The character.
        character: char,
        /// What else than letters and digits it may hold.
        marks: &'static str,
    },
    /// A text that Weir never made.
    #[error("{text:?} is not {what}: those are {length} letters of a-z and 2-7")]
    NotIssued {
        /// What was to be named.
        what: &'static str,
        /// The text, shortened if it is long.
        text: String,
        /// How long they are.
        length: usize,
    },
}
