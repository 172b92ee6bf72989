//! Rates at which bits pass.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::amount::Amount;

/// So many bits per second: whole kilobits, at least one, at most [`BitRate::MAX`].
///
/// Its text is a decimal of up to three places with a unit, as `tc` writes them: `50mbit`, `1.5gbit`, `512kbit`, `64000bit`.
/// Units are powers of 1000, as those of links are. As the [`Amount`] of `network_egress` and `network_ingress` it is counted in
/// Mbit/s, of which a thousandth is a kilobit: both ways are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BitRate {
    kilobits: NonZeroU64,
}

/// The units, from the largest, and how many bits each is.
const UNITS: &[(&str, u64)] = &[
    ("tbit", 1_000_000_000_000),
    ("gbit", 1_000_000_000),
    ("mbit", 1_000_000),
    ("kbit", 1000),
    ("bit", 1),
];

const KILOBIT: u64 = 1000;

impl BitRate {
    /// The largest: 10 Tbit/s, more than a node has.
    pub const MAX: Self = Self {
        kilobits: NonZeroU64::new(10_000_000_000).unwrap(),
    };

    /// Returns a rate, if it is one.
    pub fn from_kilobits(kilobits: u64) -> Option<Self> {
        let kilobits = NonZeroU64::new(kilobits)?;
        (kilobits <= Self::MAX.kilobits).then_some(Self { kilobits })
    }

    /// Returns a rate of so many Mbit/s, if it is one.
    pub fn from_amount(megabits: Amount) -> Option<Self> {
        Self::from_kilobits(megabits.thousandths())
    }

    /// Returns it in Mbit/s.
    pub const fn amount(self) -> Amount {
        Amount::from_thousandths(self.kilobits())
    }

    /// Returns it in kilobits per second.
    pub const fn kilobits(self) -> u64 {
        self.kilobits.get()
    }

    /// Returns it in bits per second.
    pub const fn bits(self) -> u64 {
        self.kilobits() * KILOBIT
    }

    /// Returns it in bytes per second.
    pub const fn bytes(self) -> u64 {
        self.bits() / 8
    }
}

/// Says why a text is not a rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BitRateError {
    /// Not a number with a unit.
    #[error(
        "`{0}` is not a rate; write a number and its unit, for example 50mbit, 1.5gbit or 512kbit"
    )]
    Text(String),
    /// Finer than it is counted.
    #[error("`{0}` is not a whole number of kbit")]
    TooFine(String),
    /// Nothing, or more than can be.
    #[error("`{0}` cannot be a rate; it lies between 1kbit and {max}", max = BitRate::MAX)]
    Range(String),
}

impl FromStr for BitRate {
    type Err = BitRateError;

    fn from_str(text: &str) -> Result<Self, BitRateError> {
        let no_rate = || BitRateError::Text(text.to_owned());
        let unit_at = text
            .find(|character: char| character.is_ascii_alphabetic())
            .ok_or_else(no_rate)?;
        let (number, unit) = text.split_at(unit_at);
        let unit = unit.to_ascii_lowercase();
        let (_, bits) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(no_rate)?;
        let number: Amount = number.parse().map_err(|_not_a_number| no_rate())?;
        let out_of_range = || BitRateError::Range(text.to_owned());
        // An amount is counted in thousandths, a rate in thousands.
        let thousandths = number
            .thousandths()
            .checked_mul(*bits)
            .ok_or_else(out_of_range)?;
        if thousandths % (KILOBIT * 1000) != 0 {
            return Err(BitRateError::TooFine(text.to_owned()));
        }
        Self::from_kilobits(thousandths / (KILOBIT * 1000)).ok_or_else(out_of_range)
    }
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.bits();
        // The largest unit of which it has at least one; what is left below is three decimals at most, or a smaller
        // unit is taken.
        let (name, unit) = UNITS
            .iter()
            .find(|(_, unit)| bits >= *unit && (bits % unit).is_multiple_of((unit / 1000).max(1)))
            .expect("every rate is a whole number of kbit");
        let amount = Amount::from_thousandths(bits / (unit / 1000).max(1));
        f.pad(&format!("{amount}{name}"))
    }
}

impl TryFrom<String> for BitRate {
    type Error = BitRateError;

    fn try_from(text: String) -> Result<Self, BitRateError> {
        text.parse()
    }
}

impl From<BitRate> for String {
    fn from(rate: BitRate) -> Self {
        rate.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(text: &str) -> Result<BitRate, BitRateError> {
        text.parse()
    }

    #[test]
    fn units_are_powers_of_a_thousand() {
        for (text, bits) in [
            ("1kbit", 1000),
            ("64000bit", 64_000),
            ("0.5mbit", 500_000),
            ("50mbit", 50_000_000),
            ("50Mbit", 50_000_000),
            ("1.5gbit", 1_500_000_000),
            ("10tbit", 10_000_000_000_000),
        ] {
            assert_eq!(rate(text).map(BitRate::bits), Ok(bits), "{text}");
        }
        assert_eq!(rate("8kbit").map(BitRate::bytes), Ok(1000));
    }

    #[test]
    fn what_is_no_rate_is_refused_and_said() {
        for text in [
            "", "50", "mbit", "50 mbit", "50mb", "50mbps", "-1mbit", "1,5mbit", "1e3kbit", "01mbit",
        ] {
            assert_eq!(
                rate(text),
                Err(BitRateError::Text(text.to_owned())),
                "{text}"
            );
        }
        for text in ["1bit", "0.5kbit", "1500bit"] {
            assert_eq!(
                rate(text),
                Err(BitRateError::TooFine(text.to_owned())),
                "{text}"
            );
        }
        for text in ["0mbit", "11tbit", "18446744073709551tbit"] {
            assert_eq!(
                rate(text),
                Err(BitRateError::Range(text.to_owned())),
                "{text}"
            );
        }
    }

    #[test]
    fn it_is_written_with_the_largest_unit_that_says_it_exactly() {
        for (kilobits, text) in [
            (1, "1kbit"),
            (999, "999kbit"),
            (1500, "1.5mbit"),
            (50_000, "50mbit"),
            (1_234_567, "1234.567mbit"),
            (1_500_000, "1.5gbit"),
            (10_000_000_000, "10tbit"),
        ] {
            assert_eq!(BitRate::from_kilobits(kilobits).unwrap().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(kilobits in 1..=10_000_000_000_u64) {
            let written = BitRate::from_kilobits(kilobits).unwrap();
            prop_assert_eq!(rate(&written.to_string()), Ok(written));
            prop_assert_eq!(BitRate::from_amount(written.amount()), Some(written));
        }

    }

    #[test]
    fn fuzz_no_text_takes_it_down() {
        bolero::check!().with_type::<String>().for_each(|text| {
            if let Ok(read) = rate(text) {
                assert_eq!(rate(&read.to_string()), Ok(read));
                assert_eq!(BitRate::from_amount(read.amount()), Some(read));
            }
        });
    }
}
