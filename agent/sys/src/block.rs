//! Block devices: which there are, and which are whole disks.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::sys::stat::{major, minor};

/// Where the kernel lists block devices by number.
const DEVICES: &str = "/sys/dev/block";

/// The number by which the kernel knows a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceNumber {
    /// Which driver's.
    pub major: u32,
    /// Which of that driver's.
    pub minor: u32,
}

/// Says that a text is not the number of a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the number of a device, as in 259:0")]
pub struct NotADeviceNumber(String);

/// Says why something is not a disk that can be limited.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The file is not there, or cannot be looked at.
    #[error("cannot look at {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is a file of another kind.
    #[error("{} is not a block device", path.display())]
    NotBlock {
        /// The file.
        path: PathBuf,
    },
    /// No device has the number.
    #[error("this node has no block device {number}")]
    Unknown {
        /// The number.
        number: DeviceNumber,
    },
    /// It is a part of a disk: the kernel divides whole ones.
    #[error("{number} is a partition, and the kernel limits whole disks")]
    Partition {
        /// The number.
        number: DeviceNumber,
    },
}

impl DeviceNumber {
    /// Returns the number of the device that a file stands for.
    ///
    /// # Errors
    ///
    /// [`BlockError::File`] and [`BlockError::NotBlock`].
    pub fn of(path: &Path) -> Result<Self, BlockError> {
        let found = fs::metadata(path).map_err(|source| BlockError::File {
            path: path.to_owned(),
            source,
        })?;
        if !found.file_type().is_block_device() {
            return Err(BlockError::NotBlock {
                path: path.to_owned(),
            });
        }
        // As the kernel makes them, both fit.
        let part = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Self {
            major: part(major(found.rdev())),
            minor: part(minor(found.rdev())),
        })
    }

    /// Checks that there is such a device, and that it is a whole disk.
    ///
    /// # Errors
    ///
    /// [`BlockError::Unknown`] and [`BlockError::Partition`].
    pub fn check_whole(self) -> Result<(), BlockError> {
        let directory = Path::new(DEVICES).join(self.to_string());
        if !directory.exists() {
            return Err(BlockError::Unknown { number: self });
        }
        if directory.join("partition").exists() {
            return Err(BlockError::Partition { number: self });
        }
        Ok(())
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl FromStr for DeviceNumber {
    type Err = NotADeviceNumber;

    fn from_str(text: &str) -> Result<Self, NotADeviceNumber> {
        // As it is printed: no signs, no leading zeros.
        let number = |text: &str| {
            let number: u32 = text.parse().ok()?;
            (number.to_string() == text).then_some(number)
        };
        text.split_once(':')
            .and_then(|(major, minor)| {
                Some(Self {
                    major: number(major)?,
                    minor: number(minor)?,
                })
            })
            .ok_or_else(|| NotADeviceNumber(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_disk_is_told_by_name() {
        for (path, words) in [
            ("/dev/null", "/dev/null is not a block device"),
            ("/dev/weir-no-such-disk", "/dev/weir-no-such-disk"),
        ] {
            let error = DeviceNumber::of(Path::new(path)).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
        let nobody: DeviceNumber = "4095:1048575".parse().unwrap();
        let error = nobody.check_whole().unwrap_err();
        assert_eq!(
            error.to_string(),
            "this node has no block device 4095:1048575"
        );
    }

    #[test]
    fn every_disk_and_partition_of_this_machine_is_told_from_the_other() {
        for entry in fs::read_dir(DEVICES).unwrap() {
            let entry = entry.unwrap();
            let number: DeviceNumber = entry.file_name().to_str().unwrap().parse().unwrap();
            let uevent = fs::read_to_string(entry.path().join("uevent")).unwrap();
            let is_disk = uevent.lines().any(|line| line == "DEVTYPE=disk");
            assert_eq!(number.check_whole().is_ok(), is_disk, "{uevent}");
        }
    }

    #[test]
    fn any_text_is_a_number_that_reads_back_or_an_error_that_quotes_it() {
        const PIECES: [&str; 8] = ["0", "8", "259", "4294967296", ":", "-", "+", " "];
        bolero::check!()
            .with_type::<(String, Vec<u8>)>()
            .with_iterations(2000)
            .for_each(|(text, choices)| {
                let pieces = choices.iter().take(5).map(|b| PIECES[usize::from(b % 8)]);
                let likely: String = pieces.collect();
                for text in [text, &likely] {
                    match text.parse::<DeviceNumber>() {
                        Ok(number) => assert_eq!(number.to_string(), *text),
                        Err(error) => assert!(error.to_string().contains(text.as_str())),
                    }
                }
            });
    }
}
