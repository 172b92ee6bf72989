//! What a container may do with disks, as people write it: `/dev/sda:rbps=10M,wiops=100`.
//!
//! A device is written as a file or as its number. The number is what counts: it is looked up when the container is
//! asked for, and kept; no container outlives a boot, after which numbers may be others'.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use weir_sys::block::DeviceNumber;
use weir_sys::cgroup::IoLimits;

use super::error::Refusal;
use super::limits::{format_bytes, parse_bytes};

/// A part of devices, among those that want the same one; 100 is that of whoever asks for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct IoWeight(u16);

impl IoWeight {
    const MIN: u16 = 1;
    const MAX: u16 = 10_000;

    /// Returns the weight.
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// The most that may be done with one device each second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IoLimit {
    device: IoDevice,
    /// At least one of them.
    limits: IoLimits,
}

/// A device, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IoDevice {
    /// As the kernel knows it.
    Number(DeviceNumber),
    /// As a file that stands for it; an absolute path.
    File(PathBuf),
}

/// Says why a text is no limit of a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnIoLimit {
    /// No device.
    #[error(
        "`{0}` does not begin with a device; write for example /dev/sda:wbps=10M, or 8:0:wbps=10M"
    )]
    Device(String),
    /// Something else than a limit.
    #[error(
        "`{part}` in `{text}` is no limit; write rbps=, wbps=, riops= or wiops= and an amount, separated by commas"
    )]
    Limit {
        /// All of it.
        text: String,
        /// Where it is wrong.
        part: String,
    },
    /// One limit twice.
    #[error("`{text}` says {name}= twice")]
    Twice {
        /// All of it.
        text: String,
        /// Which.
        name: String,
    },
    /// An amount that the kernel does not take.
    #[error(
        "`{part}` in `{text}` cannot be a limit; bytes per second are a whole number with or without K, M, G or T (powers of 1024), at least 4096 and below 2^63, and operations per second a whole number from 2 to 4294967294"
    )]
    Amount {
        /// All of it.
        text: String,
        /// Where it is wrong.
        part: String,
    },
    /// Not a weight.
    #[error(
        "`{0}` is not a weight of I/O; it is a whole number from 1 to 10000, and 100 is what containers have that ask for none"
    )]
    Weight(String),
}

/// The least bytes per second: a page, below which nothing is read at once.
const BYTES_MIN: u64 = 4096;

/// The kernel takes no limit below 2 (`tg_set_limit` in block/blk-throttle.c), and 2^32-1 for no limit.
const OPERATIONS_MIN: u64 = 2;
const OPERATIONS_MAX: u64 = u32::MAX as u64 - 1;

impl IoLimit {
    /// Returns the device.
    pub const fn device(&self) -> &IoDevice {
        &self.device
    }

    /// Returns what may be done with it.
    pub const fn limits(&self) -> &IoLimits {
        &self.limits
    }

    /// Looks up the device.
    pub(crate) fn found(self) -> Result<Self, Refusal> {
        let written = self.device.to_string();
        let number = match self.device {
            IoDevice::Number(number) => Ok(number),
            IoDevice::File(path) => DeviceNumber::of(&path),
        };
        let found = number.and_then(|number| number.check_whole().map(|()| number));
        match found {
            Ok(number) => Ok(Self {
                device: IoDevice::Number(number),
                ..self
            }),
            Err(source) => Err(Refusal::Device {
                device: written,
                source,
            }),
        }
    }
}

impl FromStr for IoWeight {
    type Err = NotAnIoLimit;

    fn from_str(text: &str) -> Result<Self, NotAnIoLimit> {
        text.parse()
            .ok()
            .filter(|weight: &u16| weight.to_string() == text)
            .and_then(|weight| Self::try_from(weight).ok())
            .ok_or_else(|| NotAnIoLimit::Weight(text.to_owned()))
    }
}

impl TryFrom<u16> for IoWeight {
    type Error = NotAnIoLimit;

    fn try_from(weight: u16) -> Result<Self, NotAnIoLimit> {
        if (Self::MIN..=Self::MAX).contains(&weight) {
            Ok(Self(weight))
        } else {
            Err(NotAnIoLimit::Weight(weight.to_string()))
        }
    }
}

impl From<IoWeight> for u16 {
    fn from(weight: IoWeight) -> Self {
        weight.0
    }
}

impl fmt::Display for IoWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for IoLimit {
    type Err = NotAnIoLimit;

    fn from_str(text: &str) -> Result<Self, NotAnIoLimit> {
        // The last colon: a number has one, and a file's name may.
        let (device, parts) = text
            .rsplit_once(':')
            .ok_or_else(|| NotAnIoLimit::Device(text.to_owned()))?;
        let device = device
            .parse()
            .map_err(|()| NotAnIoLimit::Device(text.to_owned()))?;
        let mut limits = IoLimits::default();
        for part in parts.split(',') {
            let told = |text: &str| (text.to_owned(), part.to_owned());
            let (name, amount) = part.split_once('=').ok_or_else(|| {
                let (text, part) = told(text);
                NotAnIoLimit::Limit { text, part }
            })?;
            let (limit, amount) = match name {
                "rbps" => (&mut limits.read_bytes, bytes(amount)),
                "wbps" => (&mut limits.write_bytes, bytes(amount)),
                "riops" => (&mut limits.reads, operations(amount)),
                "wiops" => (&mut limits.writes, operations(amount)),
                _ => {
                    let (text, part) = told(text);
                    return Err(NotAnIoLimit::Limit { text, part });
                }
            };
            if limit.is_some() {
                return Err(NotAnIoLimit::Twice {
                    text: text.to_owned(),
                    name: name.to_owned(),
                });
            }
            *limit = Some(amount.ok_or_else(|| {
                let (text, part) = told(text);
                NotAnIoLimit::Amount { text, part }
            })?);
        }
        Ok(Self { device, limits })
    }
}

fn bytes(text: &str) -> Option<u64> {
    parse_bytes(text)?.filter(|bytes| (BYTES_MIN..1 << 63).contains(bytes))
}

fn operations(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    ((OPERATIONS_MIN..=OPERATIONS_MAX).contains(&number) && number.to_string() == text)
        .then_some(number)
}

impl FromStr for IoDevice {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.parse() {
            Ok(number) => Ok(Self::Number(number)),
            Err(_) if Path::new(text).is_absolute() && !text.contains('\0') => {
                Ok(Self::File(text.into()))
            }
            Err(_) => Err(()),
        }
    }
}

impl fmt::Display for IoDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Display for IoLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IoLimits {
            read_bytes,
            write_bytes,
            reads,
            writes,
        } = self.limits;
        write!(f, "{}", self.device)?;
        let mut separator = ':';
        for (name, limit) in [("rbps", read_bytes), ("wbps", write_bytes)] {
            if let Some(limit) = limit {
                write!(f, "{separator}{name}=")?;
                format_bytes(f, limit)?;
                separator = ',';
            }
        }
        for (name, limit) in [("riops", reads), ("wiops", writes)] {
            if let Some(limit) = limit {
                write!(f, "{separator}{name}={limit}")?;
                separator = ',';
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for IoLimit {
    type Error = NotAnIoLimit;

    fn try_from(text: String) -> Result<Self, NotAnIoLimit> {
        text.parse()
    }
}

impl From<IoLimit> for String {
    fn from(limit: IoLimit) -> Self {
        limit.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_a_number_or_a_file_and_what_follows_is_limited() {
        let limit: IoLimit = "8:0:rbps=1M,wiops=100".parse().unwrap();
        assert_eq!(limit.device().to_string(), "8:0");
        assert_eq!(limit.limits().read_bytes, Some(1 << 20));
        assert_eq!(limit.limits().writes, Some(100));
        assert_eq!(
            (limit.limits().write_bytes, limit.limits().reads),
            (None, None)
        );
        let limit: IoLimit = "/dev/disk/by-path/pci-0:1:wbps=2G".parse().unwrap();
        assert_eq!(limit.device().to_string(), "/dev/disk/by-path/pci-0:1");
    }

    #[test]
    fn what_is_no_limit_is_refused_where_it_is_wrong() {
        for (text, words) in [
            ("", "begin with a device"),
            ("rbps=1M", "begin with a device"),
            ("sda:rbps=1M", "begin with a device"),
            ("8:0", "begin with a device"),
            ("8:0:", "`` in `8:0:`"),
            ("8:0:rbps", "`rbps`"),
            ("8:0:rbps=1M,", "`` in"),
            ("8:0:bps=1M", "`bps=1M`"),
            ("8:0:rbps=1M,rbps=2M", "rbps= twice"),
            ("8:0:rbps=1000", "`rbps=1000`"),
            ("8:0:rbps=max", "`rbps=max`"),
            ("8:0:riops=1", "`riops=1`"),
            ("8:0:riops=1K", "`riops=1K`"),
            ("8:0:riops=4294967295", "`riops=4294967295`"),
        ] {
            let error = text.parse::<IoLimit>().unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
        for text in ["0", "10001", "+5", "05", "1.5", ""] {
            let error = text.parse::<IoWeight>().unwrap_err();
            assert_eq!(error, NotAnIoLimit::Weight(text.to_owned()));
        }
    }

    #[test]
    fn a_device_is_looked_up_before_anything_is_done() {
        for (text, words) in [
            ("/dev/null:rbps=1M", "/dev/null is not a block device"),
            ("4095:1048575:rbps=1M", "no block device 4095:1048575"),
        ] {
            let refusal = text.parse::<IoLimit>().unwrap().found().unwrap_err();
            let said = crate::container::chain(&refusal);
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn any_text_is_a_limit_that_reads_back_or_an_error_that_quotes_it() {
        const PIECES: [&str; 16] = [
            "8:0",
            "/dev/sda",
            ":",
            ",",
            "=",
            "rbps=",
            "wbps=",
            "riops=",
            "wiops=",
            "1M",
            "4096",
            "2",
            "4294967294",
            "0",
            " ",
            "max",
        ];
        bolero::check!()
            .with_type::<(String, Vec<u8>, u8)>()
            .with_iterations(4000)
            .for_each(|(text, choices, edit)| {
                let pieces = choices.iter().take(10).map(|b| PIECES[usize::from(b % 16)]);
                let likely: String = pieces.collect();
                let whole = "8:0:rbps=1M,wbps=4096,riops=2,wiops=120";
                // Cut anywhere, it is another limit or none.
                let cut = &whole[..usize::from(*edit) % (whole.len() + 1)];
                for text in [text.as_str(), &likely, cut] {
                    match text.parse::<IoLimit>() {
                        Ok(limit) => {
                            assert_ne!(*limit.limits(), IoLimits::default(), "{text:?}");
                            assert_eq!(limit.to_string().parse(), Ok(limit), "{text:?}");
                        }
                        Err(error) => assert!(error.to_string().contains(text), "{error}"),
                    }
                    match text.parse::<IoWeight>() {
                        Ok(weight) => assert_eq!(weight.to_string(), text),
                        Err(error) => assert!(error.to_string().contains(text), "{error}"),
                    }
                }
            });
    }
}
