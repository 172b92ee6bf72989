//! The index: one line for each certificate that was ever issued.
//!
//! ```text
//! <serial> TAB <identity> TAB <end, s since 1970> TAB valid
//! <serial> TAB <identity> TAB <end, s since 1970> TAB revoked TAB <when, s since 1970>
//! ```

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use crate::certificate::{Serial, SerialError};
use crate::identity::{Identity, IdentityError};
use crate::moment::Moment;

/// One certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Its number.
    pub serial: Serial,
    /// Whose it is.
    pub identity: Identity,
    /// When it ends.
    pub not_after: Moment,
    /// Whether it was revoked.
    pub standing: Standing,
}

/// Whether a certificate was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was not.
    Valid,
    /// It was.
    Revoked {
        /// When.
        at: Moment,
    },
}

/// Says why a line is none of the index.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// There are too few or too many fields, or an unknown word.
    #[error(
        "expected `serial, identity, end, valid` or `serial, identity, end, revoked, when`, with tabs between"
    )]
    Shape,
    /// The number is none.
    #[error("the serial number is none")]
    Serial(#[source] SerialError),
    /// The identity is none.
    #[error("the identity is none")]
    Identity(#[source] IdentityError),
    /// A time is no number of seconds.
    #[error("`{text}` is no number of seconds since 1970")]
    Time {
        /// What stands in its place.
        text: String,
        /// Why it is none.
        #[source]
        source: ParseIntError,
    },
}

impl fmt::Display for IndexEntry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            serial,
            identity,
            not_after,
            standing,
        } = self;
        write!(
            formatter,
            "{serial}\t{identity}\t{}\t",
            not_after.as_unix_s()
        )?;
        match standing {
            Standing::Valid => formatter.write_str("valid"),
            Standing::Revoked { at } => write!(formatter, "revoked\t{}", at.as_unix_s()),
        }
    }
}

impl FromStr for IndexEntry {
    type Err = IndexError;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let fields: Vec<&str> = line.split('\t').collect();
        let (serial, identity, end, standing) = match fields[..] {
            [serial, identity, end, "valid"] => (serial, identity, end, Standing::Valid),
            [serial, identity, end, "revoked", at] => {
                (serial, identity, end, Standing::Revoked { at: time(at)? })
            }
            [..] => return Err(IndexError::Shape),
        };
        Ok(Self {
            serial: serial.parse().map_err(IndexError::Serial)?,
            identity: identity.parse().map_err(IndexError::Identity)?,
            not_after: time(end)?,
            standing,
        })
    }
}

fn time(text: &str) -> Result<Moment, IndexError> {
    match text.parse() {
        Ok(seconds) => Ok(Moment::from_unix_s(seconds)),
        Err(source) => Err(IndexError::Time {
            text: text.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_first_version_are_still_read() {
        let valid = "0aff\tspiffe://weir.test/agent/n1\t1795378500\tvalid";
        let revoked = "0b\tspiffe://weir.test/framework/f\t1795378500\trevoked\t1795378400";
        for line in [valid, revoked] {
            assert_eq!(line.parse::<IndexEntry>().unwrap().to_string(), line);
        }
    }

    #[test]
    fn a_line_that_was_edited_wrongly_is_refused() {
        for line in [
            "",
            "0aff\tspiffe://weir.test/agent/n1\t1795378500",
            "0aff\tspiffe://weir.test/agent/n1\t1795378500\tgood",
            "0aff\tspiffe://weir.test/agent/n1\t1795378500\trevoked",
            "0aff\tspiffe://weir.test/agent/n1\t1795378500\trevoked\tyesterday",
            "zz\tspiffe://weir.test/agent/n1\t1795378500\tvalid",
            "0aff\tagent n1\t1795378500\tvalid",
            "0aff\tspiffe://weir.test/agent/n1\tnever\tvalid",
        ] {
            assert!(line.parse::<IndexEntry>().is_err(), "{line}");
        }
    }
}
