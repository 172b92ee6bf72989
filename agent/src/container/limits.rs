//! How much CPU and memory a container may use.
//!
//! Amounts are whole thousandths of a CPU and whole bytes: what a person typed is either
//! represented exactly or refused.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The limits of one container; what is not limited is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The most CPU time per second.
    pub cpus: Option<MilliCpus>,
    /// The most memory.
    pub memory: Option<MemoryBytes>,
}

impl Limits {
    /// Returns whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        let Self { cpus, memory } = self;
        cpus.is_none() && memory.is_none()
    }
}

/// A number of CPUs in thousandths; at least 0.01, the least that the kernel's quota can express.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MilliCpus(u32);

impl MilliCpus {
    /// 10 ms of each second: `cpu.max` takes no quota below 1 ms per period of 100 ms.
    const MIN: u32 = 10;
    /// More CPUs than Linux can have (`NR_CPUS`).
    const MAX: u32 = 8192 * 1000;

    /// Returns thousandths of a CPU.
    pub const fn thousandths(self) -> u32 {
        self.0
    }
}

/// An amount of memory; at least a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MemoryBytes(NonZeroU64);

impl MemoryBytes {
    const MIN: u64 = 4096;

    /// Returns the number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0.get()
    }
}

/// Says why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAmount {
    /// Not a number of CPUs.
    #[error(
        "`{0}` is not a number of CPUs; write for example 2, 0.5 or 1.25, with at most three decimals"
    )]
    Cpus(String),
    /// A number of CPUs that no limit can be.
    #[error("{0} CPUs cannot be a limit; it lies between 0.01 and 8192")]
    CpusRange(String),
    /// Not an amount of memory.
    #[error(
        "`{0}` is not an amount of memory; write bytes, or a whole number with K, M, G or T (powers of 1024), for example 512M"
    )]
    Memory(String),
    /// An amount of memory that no limit can be.
    #[error(
        "{0} of memory cannot be a limit; it is at least a page, 4096 bytes, and below 2^63 bytes"
    )]
    MemoryRange(String),
}

impl FromStr for MilliCpus {
    type Err = NotAnAmount;

    fn from_str(text: &str) -> Result<Self, NotAnAmount> {
        let not_a_number = || NotAnAmount::Cpus(text.to_owned());
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > 3 {
            return Err(not_a_number());
        }
        let out_of_range = || NotAnAmount::CpusRange(text.to_owned());
        let whole: u32 = whole.parse().map_err(|_overflow| out_of_range())?;
        let thousandths: u32 = format!("{decimals:0<3}")
            .parse()
            .map_err(|_never| not_a_number())?;
        whole
            .checked_mul(1000)
            .and_then(|n| n.checked_add(thousandths))
            .filter(|n| (Self::MIN..=Self::MAX).contains(n))
            .map(Self)
            .ok_or_else(out_of_range)
    }
}

impl FromStr for MemoryBytes {
    type Err = NotAnAmount;

    fn from_str(text: &str) -> Result<Self, NotAnAmount> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, suffix) = text.split_at(digits);
        let shift = match suffix {
            "" | "B" => 0,
            "K" | "Ki" | "KiB" | "k" => 10,
            "M" | "Mi" | "MiB" | "m" => 20,
            "G" | "Gi" | "GiB" | "g" => 30,
            "T" | "Ti" | "TiB" | "t" => 40,
            _ => return Err(NotAnAmount::Memory(text.to_owned())),
        };
        if number.is_empty() {
            return Err(NotAnAmount::Memory(text.to_owned()));
        }
        number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(1 << shift))
            .filter(|bytes| (Self::MIN..1 << 63).contains(bytes))
            .and_then(NonZeroU64::new)
            .map(Self)
            .ok_or_else(|| NotAnAmount::MemoryRange(text.to_owned()))
    }
}

impl fmt::Display for MilliCpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1000, self.0 % 1000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let decimals = format!("{rest:03}");
        write!(f, "{whole}.{}", decimals.trim_end_matches('0'))
    }
}

impl fmt::Display for MemoryBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.get();
        for (shift, suffix) in [(40, "T"), (30, "G"), (20, "M"), (10, "K")] {
            if bytes.trailing_zeros() >= shift {
                return write!(f, "{}{suffix}", bytes >> shift);
            }
        }
        write!(f, "{bytes}")
    }
}

impl TryFrom<String> for MilliCpus {
    type Error = NotAnAmount;

    fn try_from(text: String) -> Result<Self, NotAnAmount> {
        text.parse()
    }
}

impl From<MilliCpus> for String {
    fn from(amount: MilliCpus) -> Self {
        amount.to_string()
    }
}

impl TryFrom<String> for MemoryBytes {
    type Error = NotAnAmount;

    fn try_from(text: String) -> Result<Self, NotAnAmount> {
        text.parse()
    }
}

impl From<MemoryBytes> for String {
    fn from(amount: MemoryBytes) -> Self {
        amount.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_exact_to_a_thousandth() {
        for (text, thousandths) in [
            ("2", 2000),
            ("0.5", 500),
            ("1.25", 1250),
            ("0.125", 125),
            ("0.01", 10),
        ] {
            let cpus: MilliCpus = text.parse().unwrap();
            assert_eq!(cpus.thousandths(), thousandths);
            assert_eq!(cpus.to_string(), text);
        }
        assert_eq!("1.500".parse::<MilliCpus>().unwrap().to_string(), "1.5");
    }

    #[test]
    fn what_is_not_exact_is_refused() {
        for text in [
            "", ".", "1.", ".5", "-1", "1.2345", "1e3", "NaN", "1,5", "+1",
        ] {
            assert!(
                matches!(text.parse::<MilliCpus>(), Err(NotAnAmount::Cpus(_))),
                "{text}"
            );
        }
        for text in ["0", "0.009", "8193", "99999999999"] {
            assert!(
                matches!(text.parse::<MilliCpus>(), Err(NotAnAmount::CpusRange(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn memory_is_written_in_powers_of_1024() {
        for (text, bytes) in [
            ("4096", 4096),
            ("512M", 512 << 20),
            ("2Gi", 2 << 30),
            ("1TiB", 1 << 40),
        ] {
            let memory: MemoryBytes = text.parse().unwrap();
            assert_eq!(memory.bytes(), bytes);
            assert_eq!(memory.to_string().parse(), Ok(memory));
        }
        for text in ["", "M", "1.5G", "-1", "1X", "1 G"] {
            assert!(
                matches!(text.parse::<MemoryBytes>(), Err(NotAnAmount::Memory(_))),
                "{text}"
            );
        }
        for text in ["0", "4095", "16777216T", "99999999999999999999"] {
            assert!(
                matches!(
                    text.parse::<MemoryBytes>(),
                    Err(NotAnAmount::MemoryRange(_))
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn any_text_is_an_amount_that_reads_back_or_an_error_that_quotes_it() {
        fn check<T>(text: &str, within: impl Fn(T) -> bool)
        where
            T: FromStr<Err = NotAnAmount> + Copy + PartialEq + fmt::Debug + fmt::Display,
        {
            match text.parse::<T>() {
                Ok(amount) => {
                    assert!(within(amount), "{text:?}");
                    assert_eq!(amount.to_string().parse(), Ok(amount), "{text:?}");
                }
                Err(error) => assert!(error.to_string().contains(text), "{error}"),
            }
        }
        const PIECES: [&str; 16] = [
            "0",
            "1",
            "5",
            "9",
            "00",
            "8192",
            "18446744073709551616",
            ".",
            "-",
            "+",
            "K",
            "Mi",
            "G",
            "TiB",
            "B",
            " ",
        ];
        bolero::check!()
            .with_type::<(String, Vec<u8>)>()
            .with_iterations(2000)
            .for_each(|(text, choices)| {
                let pieces = choices.iter().take(6).map(|b| PIECES[usize::from(b % 16)]);
                let likely: String = pieces.collect();
                for text in [text, &likely] {
                    check::<MilliCpus>(text, |cpus| {
                        (MilliCpus::MIN..=MilliCpus::MAX).contains(&cpus.thousandths())
                    });
                    check::<MemoryBytes>(text, |memory| {
                        (MemoryBytes::MIN..1 << 63).contains(&memory.bytes())
                    });
                }
            });
    }

    #[test]
    fn every_amount_is_printed_so_that_it_reads_back() {
        bolero::check!()
            .with_type::<(u32, u64, u8)>()
            .with_iterations(2000)
            .for_each(|(thousandths, bytes, shift)| {
                let cpus = MilliCpus(thousandths % (MilliCpus::MAX - 9) + MilliCpus::MIN);
                assert_eq!(cpus.to_string().parse(), Ok(cpus));
                let bytes = (bytes >> (shift % 52)) & (u64::MAX >> 1);
                if let Some(bytes) = NonZeroU64::new(bytes.max(MemoryBytes::MIN)) {
                    let memory = MemoryBytes(bytes);
                    assert_eq!(memory.to_string().parse(), Ok(memory));
                }
            });
    }
}
