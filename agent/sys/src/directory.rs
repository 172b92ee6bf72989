//! A directory of the kernel's own files: a control group, or `/proc`.
//!
//! Whoever reads thousands of small files below it has the kernel walk the way there once, and no size asked for
//! that such files do not have.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;

/// Most files that are read are shorter.
const FIRST_READ: usize = 4096;

/// An open directory, and room for what its files say.
#[derive(Debug)]
pub struct Directory {
    descriptor: OwnedFd,
    text: Vec<u8>,
}

impl Directory {
    /// Opens the directory at `path`.
    ///
    /// # Errors
    ///
    /// What open(2) says: most often that it is not there.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self {
            descriptor: open(path, flags, Mode::empty())?,
            text: vec![0; FIRST_READ],
        })
    }

    /// Opens the file at `path`, from here on, for reading.
    ///
    /// # Errors
    ///
    /// What openat(2) says.
    pub fn open_file(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let file = openat(self.descriptor.as_fd(), path.as_ref(), flags, Mode::empty())?;
        Ok(file.into())
    }

    /// Returns the whole text of the file at `path`, from here on.
    ///
    /// # Errors
    ///
    /// What openat(2) and read(2) say, and `InvalidData` for what is no text.
    pub fn read(&mut self, path: impl AsRef<Path>) -> io::Result<&str> {
        let mut file = self.open_file(path)?;
        let mut filled = 0;
        loop {
            if filled == self.text.len() {
                self.text.resize(2 * filled, 0);
            }
            match file.read(&mut self.text[filled..]) {
                Ok(0) => break,
                Ok(count) => {
                    filled += count;
                    // The kernel hands out lines until a page is full, and no line of such files is half a page: so
                    // this was the last.
                    if filled < self.text.len() / 2 {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        std::str::from_utf8(&self.text[..filled])
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_to_their_end_however_long() {
        let directory = tempfile::tempdir().unwrap();
        let lengths = [0, 1, FIRST_READ - 1, FIRST_READ, FIRST_READ + 1, 70_000];
        for length in lengths {
            std::fs::write(
                directory.path().join(length.to_string()),
                "x".repeat(length),
            )
            .unwrap();
        }
        let mut opened = Directory::open(directory.path()).unwrap();
        for length in lengths.into_iter().rev() {
            assert_eq!(opened.read(length.to_string()).unwrap().len(), length);
        }
    }

    #[test]
    fn the_kernels_files_are_read() {
        let mut itself = Directory::open(Path::new("/proc/self")).unwrap();
        assert!(itself.read("status").unwrap().starts_with("Name:"));
        assert_eq!(
            itself.read("no such file").unwrap_err().kind(),
            ErrorKind::NotFound
        );
        assert!(Directory::open(Path::new("/proc/self/status")).is_err());
    }

    #[test]
    fn what_is_no_text_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("bytes"), [0xff, 0xfe]).unwrap();
        let mut opened = Directory::open(directory.path()).unwrap();
        assert_eq!(
            opened.read("bytes").unwrap_err().kind(),
            ErrorKind::InvalidData
        );
    }
}
