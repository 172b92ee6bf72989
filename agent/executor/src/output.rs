//! The task's output: two pipes into two files that are rotated.
//!
//! The task never waits for a disk that is full: what cannot be written is thrown away and counted, and a line in the
//! file says so once there is room again. The files are outside of the task's reach.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// How much is moved at once: what a pipe holds.
const CHUNK_BYTES: usize = 64 * 1024;

/// One stream of the task, and the files it goes to.
#[derive(Debug)]
pub(crate) struct Output {
    pipe: OwnedFd,
    file: RotatedFile,
}

/// Whether more can come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The pipe is empty for now.
    Waiting,
    /// No process holds the other end any more.
    Ended,
}

impl Output {
    /// Connects the reading end of a non-blocking pipe with `<directory>/<name>`.
    pub(crate) fn new(
        pipe: OwnedFd,
        directory: &Path,
        name: &str,
        bytes_max: u64,
        files: u32,
    ) -> io::Result<Self> {
        Ok(Self {
            pipe,
            file: RotatedFile::new(directory.join(name), bytes_max, files)?,
        })
    }

    /// Moves what is in the pipe, at most a few chunks so that the rest of the executor gets its turn.
    pub(crate) fn pump(&mut self, buffer: &mut Vec<u8>) -> Flow {
        buffer.resize(CHUNK_BYTES, 0);
        for _ in 0..4 {
            match nix::unistd::read(&self.pipe, buffer) {
                Ok(0) => return Flow::Ended,
                Ok(length) => self.file.append(&buffer[..length]),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Flow::Waiting,
                // Nothing else is said of a pipe; if it were, there would be nothing to read either.
                Err(_) => return Flow::Ended,
            }
        }
        Flow::Waiting
    }

    /// Moves all that is still in the pipe when no process of the container is left.
    ///
    /// Bounded by what a pipe can hold: someone outside who was handed the other end cannot keep the executor.
    pub(crate) fn drain(&mut self, buffer: &mut Vec<u8>) {
        /// The most that `F_SETPIPE_SZ` gives a user (`fs.pipe-max-size`), in turns of [`Output::pump`].
        const TURNS_MAX: usize = 64;
        for _ in 0..TURNS_MAX {
            if self.pump(buffer) == Flow::Ended {
                break;
            }
        }
        self.file.note_dropped();
    }

    /// Returns how many bytes were thrown away.
    pub(crate) fn bytes_dropped(&self) -> u64 {
        self.file.dropped_total
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// A file that starts anew when it is full, keeping a number of its predecessors as `.1`, `.2`, ….
#[derive(Debug)]
struct RotatedFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    predecessors: u32,
    /// Thrown away since the file last took anything.
    dropped: u64,
    dropped_total: u64,
}

impl RotatedFile {
    fn new(path: PathBuf, bytes_max: u64, predecessors: u32) -> io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o644)
            .open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            path,
            file,
            bytes,
            bytes_max,
            predecessors,
            dropped: 0,
            dropped_total: 0,
        })
    }

    /// Appends all of `data`, or as much as the disk takes.
    fn append(&mut self, mut data: &[u8]) {
        self.note_dropped();
        while !data.is_empty() {
            let length = next_write(self.bytes, self.bytes_max, data);
            if length == 0 {
                self.rotate();
                continue;
            }
            match self.file.write(&data[..length]) {
                Ok(written) if written > 0 => {
                    self.bytes += written as u64;
                    data = &data[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // No room, no quota, a broken disk: it is all the same to a task that only wants to go on.
                Ok(_) | Err(_) => {
                    self.dropped += data.len() as u64;
                    self.dropped_total += data.len() as u64;
                    return;
                }
            }
        }
    }

    /// Says in the file that something is missing, as soon as the file takes that.
    fn note_dropped(&mut self) {
        if self.dropped > 0 {
            let note = format!(
                "\n[weir: {} bytes of output were dropped here, the disk took no more]\n",
                self.dropped
            );
            if self.file.write_all(note.as_bytes()).is_ok() {
                self.bytes += note.len() as u64;
                self.dropped = 0;
            }
        }
    }

    fn rotate(&mut self) {
        let numbered = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        let attempt = || -> io::Result<File> {
            for number in (1..self.predecessors).rev() {
                match fs::rename(numbered(number), numbered(number + 1)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    Ok(()) | Err(_) => {}
                }
            }
            if self.predecessors > 0 {
                fs::rename(&self.path, numbered(1))?;
            } else {
                fs::remove_file(&self.path)?;
            }
            OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o644)
                .open(&self.path)
        };
        match attempt() {
            Ok(file) => self.file = file,
            // The bound matters more than the past: the same file starts anew.
            Err(_) => {
                let _bounded_next_time = self.file.set_len(0);
            }
        }
        self.bytes = 0;
    }
}

/// Returns how much of `data` goes into a file that holds `bytes` of at most `bytes_max`.
///
/// Whole lines if that is possible; nothing if the file is to be rotated first.
fn next_write(bytes: u64, bytes_max: u64, data: &[u8]) -> usize {
    let room = usize::try_from(bytes_max.saturating_sub(bytes)).unwrap_or(usize::MAX);
    if data.len() <= room {
        return data.len();
    }
    match data[..room].iter().rposition(|byte| *byte == b'\n') {
        Some(newline) => newline + 1,
        // A line that is longer than a whole file is cut; any other goes to the next file in one piece.
        None if bytes == 0 => room,
        None if data
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(data.len()) as u64
            >= bytes_max =>
        {
            room
        }
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn lines_stay_whole_where_they_fit() {
        assert_eq!(next_write(0, 10, b"short\n"), 6);
        assert_eq!(next_write(6, 10, b"one\ntwo\n"), 4);
        assert_eq!(next_write(8, 10, b"three\n"), 0);
        assert_eq!(next_write(0, 4, b"too long\n"), 4);
        assert_eq!(next_write(2, 4, b"too long\n"), 2);
        assert_eq!(next_write(4, 4, b"too long\n"), 0);
    }

    #[test]
    fn files_are_bounded_in_size_and_number_and_the_newest_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = RotatedFile::new(directory.path().join("stdout"), 100, 2).unwrap();
        for number in 0..100 {
            file.append(format!("line {number:03}\n").as_bytes());
        }
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
        let all = format!("{}{}{}", read("stdout.2"), read("stdout.1"), read("stdout"));
        let lines: Vec<String> = (100 - all.lines().count()..100)
            .map(|number| format!("line {number:03}"))
            .collect();
        assert_eq!(all.lines().collect::<Vec<_>>(), lines);
        for name in ["stdout", "stdout.1", "stdout.2"] {
            assert!(read(name).len() <= 100);
            let mode = fs::metadata(directory.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o022, 0, "{name} can be written by others");
        }
    }

    #[test]
    fn without_predecessors_only_the_newest_file_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = RotatedFile::new(directory.path().join("stderr"), 8, 0).unwrap();
        file.append(b"aaaaaa\nbbbbbb\ncccccc\n");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert_eq!(
            fs::read_to_string(directory.path().join("stderr")).unwrap(),
            "cccccc\n"
        );
    }

    #[test]
    fn what_a_full_disk_refuses_is_counted() {
        let mut file = RotatedFile::new("/dev/full".into(), 1 << 20, 1).unwrap();
        file.append(b"12345");
        file.append(b"678");
        assert_eq!(file.dropped_total, 8);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stdout");
        file.file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .unwrap();
        file.append(b"room again\n");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("8 bytes of output were dropped"), "{text}");
        assert!(text.ends_with("room again\n"), "{text}");
    }

    #[test]
    fn pipe_is_moved_until_its_writers_are_gone() {
        let directory = tempfile::tempdir().unwrap();
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_NONBLOCK).unwrap();
        let mut output = Output::new(read, directory.path(), "stdout", 1 << 20, 1).unwrap();
        let mut buffer = vec![];
        assert_eq!(output.pump(&mut buffer), Flow::Waiting);
        nix::unistd::write(&write, b"hello").unwrap();
        assert_eq!(output.pump(&mut buffer), Flow::Waiting);
        drop(write);
        assert_eq!(output.pump(&mut buffer), Flow::Ended);
        assert_eq!(fs::read(directory.path().join("stdout")).unwrap(), b"hello");
    }
}
