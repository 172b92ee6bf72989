//! Ids that a peer chooses.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::IdError;
use crate::bounds::ID_BYTES_MAX;

/// What else than letters and digits a name may hold.
const NAME_MARKS: &str = "-_.";

macro_rules! given_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr, $marks:expr) => {
        $(#[$doc])*
        ///
        /// Letters and digits of ASCII and a few marks, beginning with a letter or digit: never a
        /// path, an option or two words. Clones are cheap.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Returns `text` as an id.
            pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
                let text = text.as_ref();
                check($what, text, $max, $marks)?;
                Ok(Self(Arc::from(text)))
            }

            /// Returns the id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.as_str().to_owned()
            }
        }

        // Equality, order and hash are the text's, which `Borrow` demands.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

given_id! {
    /// A task, among those of its framework.
    TaskId, "a task id", ID_BYTES_MAX, "-_.:@+="
}
given_id! {
    /// An operation, among those of whoever asked for it.
    OperationId, "an operation id", ID_BYTES_MAX, "-_.:@+="
}
given_id! {
    /// An agent, by the [name](check_name) in its certificate.
    AgentName, "an agent's name", ID_BYTES_MAX, NAME_MARKS
}
given_id! {
    /// One boot of a node, as its kernel calls it.
    BootId, "a boot id", ID_BYTES_MAX, "-_."
}

given_id! {
    /// Something that a peer can do beyond the version that it speaks.
    CapabilityName, "the name of a capability", ID_BYTES_MAX, "-_."
}

/// Returns nothing if a text can be what a peer is called: in its certificate, and so everywhere else.
///
/// Letters and digits of ASCII, `-`, `_` and `.`, beginning with a letter or digit. It is the one rule for
/// names of certificates and for [`AgentName`]: who has a certificate can be spoken to.
pub fn check_name(what: &'static str, text: &str) -> Result<(), IdError> {
    check(what, text, ID_BYTES_MAX, NAME_MARKS)
}

fn check(what: &'static str, text: &str, max: usize, marks: &'static str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { what });
    }
    if text.len() > max {
        return Err(IdError::TooLong {
            what,
            length: text.len(),
            max,
        });
    }
    let allowed = |(index, c): &(usize, char)| {
        c.is_ascii_alphanumeric() || (*index > 0 && marks.contains(*c))
    };
    match text.char_indices().find(|place| !allowed(place)) {
        None => Ok(()),
        Some((_, character)) => Err(IdError::Character {
            what,
            text: text.to_owned(),
            character,
            marks,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_that_frameworks_make_are_ids() {
        for text in ["1", "web.8a7c-4", "ct:1420:0:backup", "a+b=c@d_e"] {
            assert_eq!(TaskId::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_could_be_a_path_or_an_option_is_none() {
        for text in ["", ".", "..", "-f", "a/b", "a\\b", "a b", "a\n", "ä", "a\0"] {
            assert!(TaskId::new(text).is_err(), "{text:?}");
        }
        assert_eq!(
            TaskId::new("a/b").unwrap_err().to_string(),
            "\"a/b\" cannot be a task id because of '/'; use letters, digits and `-_.:@+=`, and begin \
             with a letter or digit"
        );
        assert_eq!(
            OperationId::new("x".repeat(129)).unwrap_err().to_string(),
            "an operation id of 129 bytes is too long; at most 128"
        );
    }
}
