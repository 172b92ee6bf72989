//! How long the processes of a control group wait for processors, memory and disks.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::text::parse_pressure;
use crate::directory::Directory;

/// More than the two lines of such a file can have.
const TEXT_MAX: usize = 512;

/// The three files of one control group, which stay open.
///
/// To open one costs four times what it costs to read it, and whoever asks again and again asks for all three. They
/// hold nothing up: the kernel removes the group all the same, and reading fails from then on.
///
/// # Minimum kernel version
///
/// 4.20 with `CONFIG_PSI`, and not switched off with `psi=0`; 5.13 for what this reads of `cpu.pressure`.
#[derive(Debug)]
pub struct PressureFiles {
    cpu: File,
    memory: File,
    io: File,
}

/// How long processes of a control group have waited, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// For a processor, or for their limit of processor time.
    pub cpu: Stalled,
    /// For memory that was to be freed or read back.
    pub memory: Stalled,
    /// For a disk.
    pub io: Stalled,
}

/// How long processes waited for one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stalled {
    /// At least one of them did, in microseconds.
    pub some_us: u64,
    /// All did that had something to do.
    pub full_us: u64,
}

impl PressureFiles {
    /// How many files they are.
    pub const COUNT: usize = 3;

    /// Opens the files of the group at `path`, which begins at the directory `above`; `None` where the kernel does not
    /// measure this.
    ///
    /// # Errors
    ///
    /// What openat(2) says, but for files that are not there.
    pub fn open(above: &Directory, path: &Path) -> io::Result<Option<Self>> {
        let open = |file: &str| match above.open_file(path.join(file)) {
            Ok(file) => Ok(Some(file)),
            // The second is what kernels before 6.0 say with `psi=0`.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EOPNOTSUPP)) => {
                Ok(None)
            }
            Err(error) => Err(error),
        };
        let (Some(cpu), Some(memory), Some(io)) = (
            open("cpu.pressure")?,
            open("memory.pressure")?,
            open("io.pressure")?,
        ) else {
            return Ok(None);
        };
        Ok(Some(Self { cpu, memory, io }))
    }

    /// Returns how long was waited; `None` if the group is gone, or the kernel does not say it all.
    ///
    /// # Errors
    ///
    /// What pread(2) says.
    pub fn read(&self) -> io::Result<Option<Pressure>> {
        let (Some(cpu), Some(memory), Some(io)) =
            (read(&self.cpu)?, read(&self.memory)?, read(&self.io)?)
        else {
            return Ok(None);
        };
        Ok(Some(Pressure { cpu, memory, io }))
    }
}

fn read(file: &File) -> io::Result<Option<Stalled>> {
    let mut text = [0; TEXT_MAX];
    // One reading from the beginning has the kernel measure anew, and returns all of it.
    match file.read_at(&mut text, 0) {
        Ok(count) => Ok(std::str::from_utf8(&text[..count])
            .ok()
            .and_then(parse_pressure)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::EOPNOTSUPP)) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::time::{Duration, Instant};

    use super::super::tests::Scratch;
    use super::*;

    #[test]
    fn waiting_is_told_until_the_group_is_gone() {
        let scratch = Scratch::new("pressure");
        let above = Directory::open(Path::new("/")).unwrap();
        let Some(files) = PressureFiles::open(&above, scratch.0.path()).unwrap() else {
            eprintln!(
                "weir-skip: waiting_is_told_until_the_group_is_gone: no pressure in cgroup v2"
            );
            return;
        };
        assert_eq!(files.read().unwrap(), Some(Pressure::default()));
        // One more than there are processors for.
        let processors = std::thread::available_parallelism().unwrap().get();
        let busy: Vec<_> = (0..=processors)
            .map(|_| scratch.start("while :; do :; done"))
            .collect();
        let deadline = Instant::now() + Duration::from_secs(60);
        while files.read().unwrap().unwrap().cpu.some_us == 0 {
            assert!(Instant::now() < deadline, "nobody waited");
            std::thread::yield_now();
        }
        scratch.0.kill().unwrap();
        for process in &busy {
            crate::pidfd::wait_ended(process.pidfd.as_fd(), None).unwrap();
            crate::pidfd::reap(process.pidfd.as_fd()).unwrap();
        }
        let path = scratch.0.path().to_owned();
        scratch.0.remove(Duration::from_secs(5)).unwrap();
        assert_eq!(files.read().unwrap(), None);
        assert!(PressureFiles::open(&above, &path).unwrap().is_none());
        // Its end removes it again.
        crate::cgroup::Cgroup::create(&path).unwrap();
    }
}
