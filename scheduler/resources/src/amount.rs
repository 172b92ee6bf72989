//! Amounts: exact decimals of three places.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use super::text::Found;

/// How many parts a whole has.
const THOUSANDTHS: u64 = 1000;

/// How many decimals are kept: as many as Mesos keeps since 0.28.
const DECIMALS: usize = 3;

/// A quantity of a resource, counted in thousandths and never rounded.
///
/// Its text is a decimal of up to three places, without sign or exponent: `4`, `0.125`. In JSON and
/// TOML it is that text or a whole number; a number with a fraction is refused there, because
/// readers make floating point of it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u64);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount there is: 18446744073709551.615.
    pub const MAX: Self = Self(u64::MAX);

    /// Returns the amount of so many thousandths.
    pub const fn from_thousandths(thousandths: u64) -> Self {
        Self(thousandths)
    }

    /// Returns the amount of so many wholes, or `None` if it is above [`Amount::MAX`].
    pub const fn from_whole(whole: u64) -> Option<Self> {
        match whole.checked_mul(THOUSANDTHS) {
            Some(thousandths) => Some(Self(thousandths)),
            None => None,
        }
    }

    /// Returns how many thousandths it is.
    pub const fn thousandths(self) -> u64 {
        self.0
    }

    /// Returns how many wholes are in it, without the rest.
    pub const fn whole(self) -> u64 {
        self.0 / THOUSANDTHS
    }

    /// Returns whether it is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Returns both together, or `None` if that is above [`Amount::MAX`].
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(thousandths) => Some(Self(thousandths)),
            None => None,
        }
    }

    /// Returns what is left without `other`, or `None` if `other` is more.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(thousandths) => Some(Self(thousandths)),
            None => None,
        }
    }

    /// Reads the amount at the beginning of `text`, and returns it with the number of bytes, which
    /// are all ASCII.
    pub(crate) fn read(text: &str) -> Result<(Self, usize), AmountError> {
        let bytes = text.as_bytes();
        let digits = |from: usize| {
            let rest = bytes.get(from..).unwrap_or_default();
            rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
        };
        let whole = digits(0);
        if whole == 0 {
            let (expected, found) = ("a digit", Found::at(text, 0));
            return Err(AmountFault::Unexpected { expected, found }.behind(0));
        }
        if whole > 1 && bytes[0] == b'0' {
            return Err(AmountFault::LeadingZero.behind(0));
        }
        let mut end = whole;
        let mut decimals = 0;
        if bytes.get(whole) == Some(&b'.') {
            let point = whole + 1;
            decimals = digits(point);
            if decimals == 0 {
                let (expected, found) = ("a decimal", Found::at(text, point));
                return Err(AmountFault::Unexpected { expected, found }.behind(point));
            }
            if decimals > DECIMALS {
                return Err(AmountFault::TooFine.behind(point + DECIMALS));
            }
            end = point + decimals;
        }

        let mut thousandths = 0_u64;
        let places = bytes[..end].iter().filter(|byte| byte.is_ascii_digit());
        for digit in places.chain(std::iter::repeat_n(&b'0', DECIMALS - decimals)) {
            thousandths = thousandths
                .checked_mul(10)
                .and_then(|tens| tens.checked_add(u64::from(digit - b'0')))
                .ok_or(AmountFault::TooLarge.behind(0))?;
        }
        Ok((Self(thousandths), end))
    }
}

/// Says what is wrong with the text of an amount, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at position {position}: {fault}")]
pub struct AmountError {
    /// Where it is, in characters from 1.
    pub position: usize,
    /// What is wrong.
    pub fault: AmountFault,
}

/// What can be wrong with the text of an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountFault {
    /// Something stands where something else must.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What must stand there.
        expected: &'static str,
        /// What stands there.
        found: Found,
    },
    /// A number that some would read as octal.
    #[error("the amount has a leading zero; write it without")]
    LeadingZero,
    /// More decimals than are kept.
    #[error("a fourth decimal; an amount has three at most")]
    TooFine,
    /// More than can be counted.
    #[error("the amount is too large; the largest is {max}", max = Amount::MAX)]
    TooLarge,
}

impl AmountFault {
    /// Returns the error that this is behind so many bytes of ASCII.
    const fn behind(self, before: usize) -> AmountError {
        AmountError {
            position: before + 1,
            fault: self,
        }
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let (amount, length) = Self::read(text)?;
        match Found::at(text, length) {
            Found::End => Ok(amount),
            found @ Found::Character(_) => {
                let expected = if text[..length].contains('.') {
                    "a decimal or the end"
                } else {
                    "a digit, `.` or the end"
                };
                Err(AmountFault::Unexpected { expected, found }.behind(length))
            }
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.whole();
        let rest = self.0 % THOUSANDTHS;
        let text = match rest {
            0 => whole.to_string(),
            _ => format!("{whole}.{rest:03}")
                .trim_end_matches('0')
                .to_owned(),
        };
        f.pad(&text)
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AmountVisitor)
    }
}

/// Reads an amount from its text or from a whole number.
struct AmountVisitor;

impl Visitor<'_> for AmountVisitor {
    type Value = Amount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an amount as text, such as \"0.5\", or a whole number")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, whole: u64) -> Result<Amount, E> {
        Amount::from_whole(whole).ok_or_else(|| E::custom(AmountFault::TooLarge))
    }

    fn visit_i64<E: de::Error>(self, whole: i64) -> Result<Amount, E> {
        let whole = u64::try_from(whole)
            .map_err(|_negative| E::invalid_value(de::Unexpected::Signed(whole), &self))?;
        self.visit_u64(whole)
    }
}
