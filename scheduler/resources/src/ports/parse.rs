//! Reads port sets as people and Mesos write them.
//!
//! ```text
//! set    = list | "[" list "]"
//! list   = ( range ( "," range )* )?
//! range  = port ( "-" port )?
//! port   = 1 to 65535, decimal, no leading zero
//! ```
//!
//! Spaces may stand between any two of these. Ranges may come in any order and may overlap: the
//! set holds what any of them names. Whatever else stands in the text is an error that says where.

use std::fmt;
use std::str::FromStr;

use super::range::{PortRange, PortRangeError};
use super::set::PortSet;

/// Says what is wrong with the text of a port set, where, and what to write instead.
///
/// Positions count characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortParseError {
    /// Something stands where something else must.
    #[error("expected {expected} at position {position}, found {found}")]
    Unexpected {
        /// What must stand there.
        expected: &'static str,
        /// What stands there.
        found: Found,
        /// Where.
        position: usize,
    },
    /// A number no port has.
    #[error("port `{digits}` at position {position} is too large; ports are 1 to 65535")]
    TooLarge {
        /// The number as it was written, shortened if it is very long.
        digits: String,
        /// Where it begins.
        position: usize,
    },
    /// A number that some would read as octal.
    #[error("port `{digits}` at position {position} has a leading zero; write it without")]
    LeadingZero {
        /// The number as it was written, shortened if it is very long.
        digits: String,
        /// Where it begins.
        position: usize,
    },
    /// Ends that make no range.
    #[error("at position {position}: {reason}")]
    Range {
        /// Where the range begins.
        position: usize,
        /// What is wrong with it.
        reason: PortRangeError,
    },
}

/// What stands in a text where something else must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A character.
    Character(char),
    /// Nothing: the text ends.
    End,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Character(sign @ ('"' | '\'' | '\\')) => write!(f, "`{sign}`"),
            // Escaped, for the character may be a line feed or worse.
            Self::Character(character) => write!(f, "`{}`", character.escape_debug()),
            Self::End => f.write_str("the end of the text"),
        }
    }
}

impl FromStr for PortSet {
    type Err = PortParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut reader = Reader::new(text);
        let bracketed = reader.take('[');
        let closing = if bracketed { Some(']') } else { None };

        let mut ranges = Vec::new();
        if reader.peek() != closing {
            ranges.push(reader.range()?);
            while reader.take(',') {
                ranges.push(reader.range()?);
            }
        }
        if bracketed && !reader.take(']') {
            return Err(reader.unexpected("`,`, `-` or `]`"));
        }
        if reader.peek().is_some() {
            return Err(reader.unexpected(if bracketed {
                "nothing after `]`"
            } else {
                "`,`, `-` or the end"
            }));
        }
        Ok(ranges.into_iter().collect())
    }
}

impl FromStr for PortRange {
    type Err = PortParseError;

    /// Reads one `range` of the grammar: `31000-31009`, or `31500`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut reader = Reader::new(text);
        let range = reader.range()?;
        match reader.peek() {
            None => Ok(range),
            Some(_) => Err(reader.unexpected("`-` or the end")),
        }
    }
}

/// Reads a text from left to right, one token at a time.
struct Reader<'a> {
    rest: &'a str,
    /// Characters read so far.
    read: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        let mut reader = Self {
            rest: text,
            read: 0,
        };
        reader.skip_spaces();
        reader
    }

    /// Returns the next character that is not a space.
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    /// Reads `wanted` if it comes next.
    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.advance(wanted.len_utf8(), 1);
        }
        found
    }

    fn range(&mut self) -> Result<PortRange, PortParseError> {
        let position = self.position();
        let first = self.port()?;
        let last = if self.take('-') { self.port()? } else { first };
        PortRange::new(first, last).map_err(|reason| PortParseError::Range { position, reason })
    }

    fn port(&mut self) -> Result<u16, PortParseError> {
        let position = self.position();
        let length = self
            .rest
            .find(|character: char| !character.is_ascii_digit())
            .unwrap_or(self.rest.len());
        if length == 0 {
            return Err(self.unexpected("a port"));
        }
        let digits = &self.rest[..length];
        if length > 1 && digits.starts_with('0') {
            let digits = shortened(digits);
            return Err(PortParseError::LeadingZero { digits, position });
        }
        let port = digits
            .parse::<u16>()
            // Digits only and not empty, so too many or too large is all that can be wrong.
            .map_err(|_too_large| PortParseError::TooLarge {
                digits: shortened(digits),
                position,
            })?;
        self.advance(length, length);
        Ok(port)
    }

    fn advance(&mut self, bytes: usize, characters: usize) {
        self.rest = &self.rest[bytes..];
        self.read += characters;
        self.skip_spaces();
    }

    fn skip_spaces(&mut self) {
        let rest = self.rest.trim_start_matches(' ');
        self.read += self.rest.len() - rest.len();
        self.rest = rest;
    }

    fn position(&self) -> usize {
        self.read + 1
    }

    fn unexpected(&self, expected: &'static str) -> PortParseError {
        PortParseError::Unexpected {
            expected,
            found: self.peek().map_or(Found::End, Found::Character),
            position: self.position(),
        }
    }
}

/// Returns `digits`, cut where nobody needs to read on: the text may be hostile and long.
fn shortened(digits: &str) -> String {
    const SHOWN: usize = 12;
    match digits.get(..SHOWN) {
        Some(start) if digits.len() > SHOWN => format!("{start}…"),
        Some(_) | None => digits.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        text.parse::<PortSet>().unwrap().to_string()
    }

    fn refusal(text: &str) -> String {
        text.parse::<PortSet>().unwrap_err().to_string()
    }

    #[test]
    fn ranges_and_single_ports_are_read() {
        assert_eq!(read("31000-31009,31500"), "31000-31009,31500");
        assert_eq!(read("1-65535"), "1-65535");
        assert_eq!(read("65535"), "65535");
    }

    #[test]
    fn the_text_of_mesos_is_read() {
        assert_eq!(read("[31000-31009,31500-31500]"), "31000-31009,31500");
        assert_eq!(read("[31000-31009, 31500-31500]"), "31000-31009,31500");
    }

    #[test]
    fn nothing_is_the_empty_set() {
        assert_eq!(read(""), "");
        assert_eq!(read("[]"), "");
        assert_eq!(read(" [ ] "), "");
    }

    #[test]
    fn order_and_overlap_do_not_matter() {
        assert_eq!(
            read("31500,31000-31009,31005-31010,31011"),
            "31000-31011,31500"
        );
        assert_eq!(read("65535,1"), "1,65535");
    }

    #[test]
    fn refusals_say_what_where_and_what_to_write() {
        for (text, message) in [
            (
                "0",
                "at position 1: port 0 is not a port; ports are 1 to 65535",
            ),
            (
                "80,0-5",
                "at position 4: port 0 is not a port; ports are 1 to 65535",
            ),
            (
                "80, 31009-31000",
                "at position 5: range 31009-31000 runs backwards; write 31000-31009",
            ),
            (
                "80,65536",
                "port `65536` at position 4 is too large; ports are 1 to 65535",
            ),
            (
                "111111111111111111111111",
                "port `111111111111…` at position 1 is too large; ports are 1 to 65535",
            ),
            (
                "080",
                "port `080` at position 1 has a leading zero; write it without",
            ),
            (
                "80,",
                "expected a port at position 4, found the end of the text",
            ),
            (",80", "expected a port at position 1, found `,`"),
            (
                "80-",
                "expected a port at position 4, found the end of the text",
            ),
            (
                "80 81",
                "expected `,`, `-` or the end at position 4, found `8`",
            ),
            (
                "80-81-82",
                "expected `,`, `-` or the end at position 6, found `-`",
            ),
            (
                "[80",
                "expected `,`, `-` or `]` at position 4, found the end of the text",
            ),
            (
                "[80] 5",
                "expected nothing after `]` at position 6, found `5`",
            ),
            (
                "80]",
                "expected `,`, `-` or the end at position 3, found `]`",
            ),
            (
                "80\n",
                "expected `,`, `-` or the end at position 3, found `\\n`",
            ),
            ("+80", "expected a port at position 1, found `+`"),
            ("é", "expected a port at position 1, found `é`"),
            ("٣", "expected a port at position 1, found `٣`"),
        ] {
            assert_eq!(refusal(text), message, "for {text:?}");
        }
    }

    #[test]
    fn positions_count_characters_and_not_bytes() {
        assert_eq!(refusal("80,é"), "expected a port at position 4, found `é`");
    }

    #[test]
    fn one_range_is_read_alone() {
        assert_eq!(
            "31000-31009".parse::<PortRange>(),
            Ok(PortRange::new(31000, 31009).unwrap())
        );
        assert_eq!(
            "80,81".parse::<PortRange>().unwrap_err().to_string(),
            "expected `-` or the end at position 3, found `,`"
        );
    }
}
