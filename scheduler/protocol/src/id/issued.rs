//! Ids that Weir makes.

use std::fmt;
use std::str::FromStr;

use super::IdError;

/// The letters of an id: base32 of RFC 4648 in lower case, so an id can be read aloud and is a file
/// name and a label without escaping.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The bits of one letter.
const LETTER_BITS: usize = 5;

/// The letters of one id: 128 bits, the highest first.
const LENGTH: usize = 26;

/// How much of a text that is no id is repeated in the error.
const SHOWN: usize = 40;

macro_rules! issued_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// Returns the id made of these bits; whoever issues it sees to it that they are new.
            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }

            /// Returns the bits that it is made of.
            pub const fn bits(self) -> u128 {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse(text).map(Self).ok_or_else(|| not_issued($what, text))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                print(id.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&print(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&print(self.0))
            }
        }
    };
}

issued_id! {
    /// An agent, from its first registration until it is removed or leaves.
    AgentId, "an agent id"
}
issued_id! {
    /// A framework, from its first SUBSCRIBE until it is torn down or does not come back.
    FrameworkId, "a framework id"
}
issued_id! {
    /// An offer: made once, and never again for another.
    OfferId, "an offer id"
}
issued_id! {
    /// One status update of one task, until it is acknowledged.
    UpdateId, "an update id"
}

fn print(bits: u128) -> String {
    let letter = |index: usize| {
        let shift = LETTER_BITS * (LENGTH - 1 - index);
        let five = u8::try_from(bits >> shift & 31).expect("five bits fit a byte");
        char::from(ALPHABET[usize::from(five)])
    };
    (0..LENGTH).map(letter).collect()
}

fn parse(text: &str) -> Option<u128> {
    if text.len() != LENGTH {
        return None;
    }
    let mut bits = 0_u128;
    for byte in text.bytes() {
        let five = match byte {
            b'a'..=b'z' => byte - b'a',
            b'2'..=b'7' => byte - b'2' + 26,
            _ => return None,
        };
        // The first letter has three bits only; a fourth would be lost, and two texts be one id.
        bits = bits.checked_mul(32)? | u128::from(five);
    }
    Some(bits)
}

fn not_issued(what: &'static str, text: &str) -> IdError {
    let mut shown = text.to_owned();
    if shown.len() > SHOWN {
        shown.truncate(shown.floor_char_boundary(SHOWN));
        shown.push('…');
    }
    IdError::NotIssued {
        what,
        text: shown,
        length: LENGTH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_an_id_and_reads_back() {
        for bits in [0, 1, 31, 32, u128::MAX, u128::MAX / 3, 1 << 127] {
            let id = AgentId::from_bits(bits);
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(id.to_string().len(), LENGTH);
        }
        assert_eq!(
            OfferId::from_bits(1).to_string(),
            "aaaaaaaaaaaaaaaaaaaaaaaaab"
        );
        assert_eq!(
            OfferId::from_bits(u128::MAX).to_string(),
            "h7777777777777777777777777"
        );
    }

    #[test]
    fn two_texts_are_never_one_id() {
        // One bit more than there are.
        assert!("i7777777777777777777777777".parse::<OfferId>().is_err());
        assert!("AAAAAAAAAAAAAAAAAAAAAAAAAA".parse::<OfferId>().is_err());
    }

    #[test]
    fn what_weir_never_made_is_refused_by_name() {
        assert_eq!(
            "o-17".parse::<OfferId>().unwrap_err().to_string(),
            "\"o-17\" is not an offer id: those are 26 letters of a-z and 2-7"
        );
        let long = "é".repeat(5000).parse::<UpdateId>().unwrap_err();
        assert!(long.to_string().len() < 200, "{long}");
    }
}
