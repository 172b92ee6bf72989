//! How much a container may use of CPUs, memory, processes and devices.
//!
//! Amounts are whole: thousandths of a CPU, bytes, processes. What a person typed is either represented
//! exactly or refused.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::bandwidth::Bandwidth;
use super::error::Refusal;
use super::io_limit::{IoLimit, IoWeight};
use crate::config::ContainerConfig;

/// The limits of one container; what is not limited is absent.
///
/// What came after the first release of the row is left out where it is not set, so that an agent that does not know
/// it reads every row of which it knows all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The most CPU time per second.
    pub cpus: Option<MilliCpus>,
    /// The most memory.
    pub memory: Option<MemoryBytes>,
    /// Beyond how much memory it is slowed down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_high: Option<MemoryBytes>,
    /// How much of its memory is taken from it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_low: Option<MemoryBytes>,
    /// How much of it may be swapped out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap: Option<SwapBytes>,
    /// The most processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<ProcessCount>,
    /// Its part of devices that others want as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_weight: Option<IoWeight>,
    /// The most that it may do with a device; each device once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub io_max: Vec<IoLimit>,
    /// What it may use of the network.
    #[serde(default, skip_serializing_if = "Bandwidth::is_empty")]
    pub bandwidth: Bandwidth,
}

/// The most devices of one container: more than a node has disks.
const DEVICES_MAX: usize = 64;

impl Limits {
    /// Returns whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks that no limit makes another one pointless, and looks up the devices.
    pub(crate) fn checked(mut self) -> Result<Self, Refusal> {
        let pointless = |option, amount: MemoryBytes| {
            let memory = self.memory.filter(|memory| amount > *memory)?;
            Some(Refusal::AboveMemory {
                option,
                amount: amount.to_string(),
                memory: memory.to_string(),
            })
        };
        for (option, amount) in [
            ("--mem-high", self.memory_high),
            ("--mem-low", self.memory_low),
        ] {
            if let Some(refusal) = amount.and_then(|amount| pointless(option, amount)) {
                return Err(refusal);
            }
        }
        if self.io_max.len() > DEVICES_MAX {
            return Err(Refusal::TooManyDevices {
                devices: self.io_max.len(),
                devices_max: DEVICES_MAX,
            });
        }
        let mut io_max: Vec<IoLimit> = Vec::with_capacity(self.io_max.len());
        for limit in self.io_max {
            let found = limit.found()?;
            if io_max.iter().any(|known| known.device() == found.device()) {
                return Err(Refusal::DeviceTwice {
                    device: found.device().to_string(),
                });
            }
            io_max.push(found);
        }
        self.io_max = io_max;
        Ok(self)
    }

    /// Returns them with what the node's configuration says of containers that say nothing.
    pub(crate) fn with_defaults(&self, config: &ContainerConfig) -> Self {
        let mut all = self.clone();
        if all.pids.is_none() {
            all.pids = ProcessCount::new(config.pids_max);
        }
        // What may be swapped out without end is no limit of memory.
        if all.swap.is_none() && all.memory.is_some() {
            all.swap = SwapBytes::new(config.swap_bytes_max);
        }
        all
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

    /// Returns an amount that the kernel has counted; nothing for what cannot be a limit.
    pub(crate) fn new(bytes: u64) -> Option<Self> {
        let bytes = Some(bytes).filter(|bytes| (Self::MIN..1 << 63).contains(bytes));
        bytes.and_then(NonZeroU64::new).map(Self)
    }

    /// Returns the number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0.get()
    }
}

/// An amount of memory that is swapped out; none at all is an amount, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SwapBytes(u64);

impl SwapBytes {
    /// Returns the amount, if it is nothing or at least a page.
    pub fn new(bytes: u64) -> Option<Self> {
        (bytes == 0 || (MemoryBytes::MIN..1 << 63).contains(&bytes)).then_some(Self(bytes))
    }

    /// Returns the number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// A number of processes and threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct ProcessCount(u32);

impl ProcessCount {
    /// A container's first process, and its program.
    pub(crate) const MIN: u32 = 2;
    /// More than Linux can have (`PID_MAX_LIMIT` of include/linux/threads.h).
    pub(crate) const MAX: u32 = 4 * 1024 * 1024;

    /// Returns the number as a limit, if it can be one.
    pub fn new(count: u32) -> Option<Self> {
        (Self::MIN..=Self::MAX)
            .contains(&count)
            .then_some(Self(count))
    }

    /// Returns the number.
    pub const fn get(self) -> u32 {
        self.0
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
    /// Not a number of processes, or none that a limit can be.
    #[error("`{0}` cannot be a limit of processes; it is a whole number from {min} to {max}", min = ProcessCount::MIN, max = ProcessCount::MAX)]
    Processes(String),
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
        let bytes = parse_bytes(text).ok_or_else(|| NotAnAmount::Memory(text.to_owned()))?;
        bytes
            .filter(|bytes| (Self::MIN..1 << 63).contains(bytes))
            .and_then(NonZeroU64::new)
            .map(Self)
            .ok_or_else(|| NotAnAmount::MemoryRange(text.to_owned()))
    }
}

impl FromStr for SwapBytes {
    type Err = NotAnAmount;

    fn from_str(text: &str) -> Result<Self, NotAnAmount> {
        let bytes = parse_bytes(text).ok_or_else(|| NotAnAmount::Memory(text.to_owned()))?;
        // Zero in each of its spellings, or as much as memory can be.
        bytes
            .and_then(Self::new)
            .ok_or_else(|| NotAnAmount::MemoryRange(text.to_owned()))
    }
}

impl FromStr for ProcessCount {
    type Err = NotAnAmount;

    fn from_str(text: &str) -> Result<Self, NotAnAmount> {
        // As it is printed: the standard library reads `+5` and `005` as well.
        text.parse()
            .ok()
            .and_then(Self::new)
            .filter(|count| count.0.to_string() == text)
            .ok_or_else(|| NotAnAmount::Processes(text.to_owned()))
    }
}

/// Reads a whole number of bytes, with or without a power of 1024; `None` for what is none, `Some(None)` for more
/// than 64 bits.
pub(super) fn parse_bytes(text: &str) -> Option<Option<u64>> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let shift = match suffix {
        "" | "B" => 0,
        "K" | "Ki" | "KiB" | "k" => 10,
        "M" | "Mi" | "MiB" | "m" => 20,
        "G" | "Gi" | "GiB" | "g" => 30,
        "T" | "Ti" | "TiB" | "t" => 40,
        _ => return None,
    };
    if number.is_empty() {
        return None;
    }
    let number: Option<u64> = number.parse().ok();
    Some(number.and_then(|number| number.checked_mul(1 << shift)))
}

/// Writes bytes so that [`parse_bytes`] reads them.
pub(super) fn format_bytes(f: &mut fmt::Formatter<'_>, bytes: u64) -> fmt::Result {
    for (shift, suffix) in [(40, "T"), (30, "G"), (20, "M"), (10, "K")] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return write!(f, "{}{suffix}", bytes >> shift);
        }
    }
    write!(f, "{bytes}")
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
        format_bytes(f, self.0.get())
    }
}

impl fmt::Display for SwapBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        format_bytes(f, self.0)
    }
}

impl fmt::Display for ProcessCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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

impl TryFrom<String> for SwapBytes {
    type Error = NotAnAmount;

    fn try_from(text: String) -> Result<Self, NotAnAmount> {
        text.parse()
    }
}

impl From<SwapBytes> for String {
    fn from(amount: SwapBytes) -> Self {
        amount.to_string()
    }
}

impl TryFrom<u32> for ProcessCount {
    type Error = NotAnAmount;

    fn try_from(count: u32) -> Result<Self, NotAnAmount> {
        Self::new(count).ok_or_else(|| NotAnAmount::Processes(count.to_string()))
    }
}

impl From<ProcessCount> for u32 {
    fn from(count: ProcessCount) -> Self {
        count.0
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
    fn nothing_may_be_swapped_out_and_a_container_needs_two_processes() {
        for (text, bytes) in [("0", 0), ("0M", 0), ("4K", 4096), ("1G", 1 << 30)] {
            let swap: SwapBytes = text.parse().unwrap();
            assert_eq!(swap.bytes(), bytes);
            assert_eq!(swap.to_string().parse(), Ok(swap));
        }
        assert!("4095".parse::<SwapBytes>().is_err());
        assert_eq!("2".parse::<ProcessCount>().unwrap().get(), 2);
        for text in ["", "0", "1", "4194305", "+5", "05", "5.0", "max"] {
            let error = text.parse::<ProcessCount>().unwrap_err();
            assert_eq!(error, NotAnAmount::Processes(text.to_owned()));
        }
    }

    #[test]
    fn a_limit_that_another_makes_pointless_is_refused() {
        let checked = |high: &str, low: &str| {
            Limits {
                memory: "64M".parse().ok(),
                memory_high: high.parse().ok(),
                memory_low: low.parse().ok(),
                ..Limits::default()
            }
            .checked()
        };
        assert!(checked("64M", "64M").is_ok());
        let refusal = checked("65M", "").unwrap_err().to_string();
        assert!(
            refusal.contains("--mem-high 65M is more than --mem 64M"),
            "{refusal}"
        );
        let refusal = checked("", "1G").unwrap_err().to_string();
        assert!(
            refusal.contains("--mem-low 1G is more than --mem 64M"),
            "{refusal}"
        );
        let many = Limits {
            io_max: vec!["4095:0:rbps=1M".parse().unwrap(); DEVICES_MAX + 1],
            ..Limits::default()
        };
        assert!(matches!(
            many.checked(),
            Err(Refusal::TooManyDevices { .. })
        ));
    }

    #[test]
    fn an_agent_that_does_not_know_a_limit_reads_what_does_not_have_it() {
        let few = Limits {
            cpus: "0.5".parse().ok(),
            ..Limits::default()
        };
        let json = serde_json::to_string(&few).unwrap();
        assert_eq!(json, r#"{"cpus":"0.5","memory":null}"#);
        assert_eq!(serde_json::from_str::<Limits>(&json).unwrap(), few);
        assert!(serde_json::from_str::<Limits>(r#"{"pids":1}"#).is_err());
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
                    check::<SwapBytes>(text, |swap| SwapBytes::new(swap.bytes()) == Some(swap));
                    check::<ProcessCount>(text, |count| {
                        ProcessCount::new(count.get()) == Some(count)
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
