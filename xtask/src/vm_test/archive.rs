//! Writes archives that a kernel unpacks into its first file system: cpio in its "newc" form.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// An archive under way. Owners, times and inodes are all the same, so equal trees are equal bytes.
pub(super) struct Archive<W: Write> {
    output: W,
    entries: u32,
    length: u64,
}

impl Archive<BufWriter<File>> {
    /// Begins a file.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self::new(BufWriter::new(file)))
    }
}

impl<W: Write> Archive<W> {
    fn new(output: W) -> Self {
        Self {
            output,
            entries: 0,
            length: 0,
        }
    }

    /// Adds a directory; those above it must have been added before.
    pub(super) fn directory(&mut self, path: &Path) -> Result<()> {
        self.entry(path, DIRECTORY | 0o755, &[])
    }

    /// Adds a directory and all those above it. A kernel does not mind being told twice.
    pub(super) fn directories(&mut self, path: &Path) -> Result<()> {
        let above: Vec<&Path> = path
            .ancestors()
            .filter(|one| *one != Path::new("/"))
            .collect();
        above
            .into_iter()
            .rev()
            .filter(|one| !one.as_os_str().is_empty())
            .try_for_each(|one| self.directory(one))
    }

    /// Adds a file with these bytes.
    pub(super) fn file(&mut self, path: &Path, mode: u32, content: &[u8]) -> Result<()> {
        self.entry(path, REGULAR | (mode & 0o7777), content)
    }

    /// Adds what is below `source` on this machine as `below` in the guest, in the order of names.
    pub(super) fn tree(&mut self, source: &Path, below: &Path) -> Result<()> {
        let show = || format!("cannot read {}", source.display());
        let mut entries: Vec<PathBuf> = fs::read_dir(source)
            .with_context(show)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<_>>()
            .with_context(show)?;
        entries.sort();
        for path in entries {
            let name = path.file_name().unwrap_or_else(|| OsStr::new(""));
            let there = below.join(name);
            let show = || format!("cannot read {}", path.display());
            let metadata = fs::symlink_metadata(&path).with_context(show)?;
            let kind = metadata.file_type();
            if kind.is_dir() {
                self.directory(&there)?;
                self.tree(&path, &there)?;
            } else if kind.is_symlink() {
                let target = fs::read_link(&path).with_context(show)?;
                self.entry(&there, LINK | 0o777, target.as_os_str().as_bytes())?;
            } else if kind.is_file() {
                let content = fs::read(&path).with_context(show)?;
                self.file(&there, metadata.permissions().mode(), &content)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, mode: u32, content: &[u8]) -> Result<()> {
        let name = path
            .strip_prefix("/")
            .unwrap_or(path)
            .as_os_str()
            .as_bytes();
        let Ok(size) = u32::try_from(content.len()) else {
            bail!(
                "{} has 4 GiB or more, which this archive cannot hold",
                path.display()
            );
        };
        self.entries += 1;
        self.raw(self.entries, mode, name, size, content)
            .with_context(|| format!("cannot add {} to an archive", path.display()))
    }

    fn raw(
        &mut self,
        inode: u32,
        mode: u32,
        name: &[u8],
        size: u32,
        content: &[u8],
    ) -> io::Result<()> {
        let length = name.len() + 1;
        // Magic, inode, mode, owner, group, links, time, size, four of devices, name, checksum.
        let header = format!(
            "070701{inode:08X}{mode:08X}{0:08X}{0:08X}{1:08X}{0:08X}{size:08X}\
             {0:08X}{0:08X}{0:08X}{0:08X}{length:08X}{0:08X}",
            0, 1
        );
        self.put(header.as_bytes())?;
        self.put(name)?;
        self.put(&[0])?;
        self.pad()?;
        self.put(content)?;
        self.pad()
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.length += bytes.len() as u64;
        self.output.write_all(bytes)
    }

    /// Everything begins at a multiple of four.
    fn pad(&mut self) -> io::Result<()> {
        while !self.length.is_multiple_of(4) {
            self.put(&[0])?;
        }
        Ok(())
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Result<W> {
        self.raw(0, 0, b"TRAILER!!!", 0, &[])
            .and_then(|()| self.output.flush())
            .context("cannot end an archive")?;
        Ok(self.output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_what_the_kernel_reads() {
        let mut archive = Archive::new(Vec::new());
        archive.file(Path::new("/init"), 0o755, b"hello").unwrap();
        let bytes = archive.finish().unwrap();
        let expected = "07070100000001000081ED00000000000000000000000100000000\
                        000000050000000000000000000000000000000000000005\
                        00000000"
            .to_owned()
            + "init\0"
            + "\0\0\0hello\0\0\0";
        // The header has 110 bytes and the name five: three are added, so that 118 becomes 120.
        assert_eq!(&bytes[..115], &expected.as_bytes()[..115]);
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("hello\x00\x00\x00070701"), "{text}");
        assert!(text.contains("TRAILER!!!"), "{text}");
    }

    #[test]
    fn directories_above_come_first() {
        let mut archive = Archive::new(Vec::new());
        archive.directories(Path::new("/a/b")).unwrap();
        let text = String::from_utf8(archive.finish().unwrap()).unwrap();
        let (first, second) = (text.find("a\0").unwrap(), text.find("a/b\0").unwrap());
        assert!(first < second, "{text:?}");
    }
}
