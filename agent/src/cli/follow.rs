//! Prints a container's output from its files, also while they are written and rotated.
//!
//! The executor writes `stdout` and `stderr` into the container's directory; a full file becomes
//! `.1`, what was `.1` becomes `.2`, and so on. A follower keeps its file open: when another file has
//! taken its name it reads the rest, looks up under which number its own file is now, and goes on
//! with those that came after.

use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// How much is copied at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// How long a missed notification can hold up output: none is known to be missed, but a file system
/// without inotify would be silent for ever.
const WAKE_UP_MS: u16 = 1000;

/// How often a file that still has a name is looked for: a listing may lack what is renamed meanwhile,
/// and somebody may have moved it elsewhere.
const LOOKS_MAX: usize = 10;

/// One of the two streams of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    const fn file_name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Says something to the person, who may have closed stderr.
pub(super) fn say(message: &str) {
    drop(writeln!(io::stderr(), "{message}"));
}

/// Prints data; `false` when nobody reads it any more.
pub(super) fn print(text: &str) -> bool {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .is_ok()
}

/// Follows streams of one container into sinks.
pub(super) struct Follower<'a> {
    inotify: Inotify,
    tails: Vec<(Tail, Box<dyn Write + Send + 'a>)>,
}

impl<'a> Follower<'a> {
    /// Begins at the oldest output that is kept in `directory`.
    pub(super) fn new(
        directory: &Path,
        sinks: Vec<(Stream, Box<dyn Write + Send + 'a>)>,
    ) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let changes =
            AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        inotify.add_watch(directory, changes)?;
        let tail = |stream: Stream| Tail::new(directory.join(stream.file_name()));
        let tails = sinks
            .into_iter()
            .map(|(stream, sink)| (tail(stream), sink))
            .collect();
        Ok(Self { inotify, tails })
    }

    /// Copies what there is now.
    pub(super) fn copy_available(&mut self) -> io::Result<()> {
        for (tail, sink) in &mut self.tails {
            tail.copy_available(sink)?;
            sink.flush()?;
        }
        Ok(())
    }

    /// Copies until `ended` becomes readable or is closed, and then what is left.
    pub(super) fn run(mut self, ended: BorrowedFd<'_>) -> io::Result<()> {
        loop {
            self.copy_available()?;
            let mut waiting = [
                PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN),
                PollFd::new(ended, PollFlags::POLLIN),
            ];
            match poll(&mut waiting, PollTimeout::from(WAKE_UP_MS)) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let is_over = waiting[1]
                .revents()
                .is_some_and(|events| !events.is_empty());
            match self.inotify.read_events() {
                // What has changed is found out by looking.
                Ok(_) | Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if is_over {
                return self.copy_available();
            }
        }
    }
}

/// One stream, read as far as it goes.
struct Tail {
    /// The file that is being written.
    path: PathBuf,
    open: Option<File>,
}

impl Tail {
    fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    fn copy_available(&mut self, sink: &mut impl Write) -> io::Result<()> {
        loop {
            if self.open.is_none() {
                self.open = oldest(&self.path)?;
            }
            let Some(file) = &mut self.open else {
                return Ok(());
            };
            // Looked up before the copy: what is written into it afterwards is copied next time.
            let newer = newer_than(&self.path, file)?;
            copy(file, sink)?;
            match newer {
                Some(next) => self.open = Some(next),
                None => return Ok(()),
            }
        }
    }
}

/// Returns the oldest file there is.
fn oldest(path: &Path) -> io::Result<Option<File>> {
    let mut found = None;
    loop {
        let mut last = None;
        for file in NewestFirst::new(path) {
            last = Some(file?);
        }
        let inode = last.as_ref().map(inode).transpose()?;
        // A listing may lack what is renamed meanwhile, so it is believed when it says so twice.
        if inode == found {
            return Ok(last);
        }
        found = inode;
    }
}

/// Returns the file that was begun after this one; nothing if this is being written.
fn newer_than(path: &Path, file: &File) -> io::Result<Option<File>> {
    let wanted = inode(file)?;
    for _ in 0..LOOKS_MAX {
        let mut newer = None;
        for other in NewestFirst::new(path) {
            let other = other?;
            if inode(&other)? == wanted {
                return Ok(newer);
            }
            newer = Some(other);
        }
        if file.metadata()?.nlink() == 0 {
            break;
        }
    }
    // It was rotated away entirely while it was read: what is left begins with the oldest.
    oldest(path)
}

fn inode(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.ino())
}

/// The files of a stream from number 0 upwards, also while they are rotated.
///
/// A rotation only ever moves a file to a higher number, so going upwards passes none that was there
/// at the beginning; it may meet one twice. Downwards, a file could slip by.
struct NewestFirst<'a> {
    path: &'a Path,
    next: u32,
    highest: u32,
}

impl<'a> NewestFirst<'a> {
    fn new(path: &'a Path) -> Self {
        Self {
            path,
            next: 0,
            highest: 0,
        }
    }
}

impl Iterator for NewestFirst<'_> {
    type Item = io::Result<File>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.next > self.highest {
                self.highest = highest(self.path);
                if self.next > self.highest {
                    return None;
                }
            }
            let number = self.next;
            self.next += 1;
            if let Some(found) = open(&numbered(self.path, number)).transpose() {
                return Some(found);
            }
        }
    }
}

fn copy(file: &mut File, sink: &mut impl Write) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(()),
            count => sink.write_all(&chunk[..count])?,
        }
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the highest number of a rotated file; zero where there is none.
fn highest(path: &Path) -> u32 {
    let prefix = format!(
        "{}.",
        path.file_name().unwrap_or_default().to_string_lossy()
    );
    let Some(entries) = path.parent().and_then(|parent| fs::read_dir(parent).ok()) else {
        return 0;
    };
    let number = |name: &str| name.strip_prefix(&prefix)?.parse().ok();
    entries
        .flatten()
        .filter_map(|entry| number(entry.file_name().to_str()?))
        .max()
        .unwrap_or(0)
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    #[derive(Clone, Default)]
    struct Collected(Arc<Mutex<Vec<u8>>>);

    impl Write for Collected {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Collected {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }

        fn wait_for(&self, text: &str) {
            let deadline = Instant::now() + Duration::from_secs(10);
            while self.text() != text {
                assert!(
                    Instant::now() < deadline,
                    "{:?} and not {text:?}",
                    self.text()
                );
                thread::yield_now();
            }
        }
    }

    fn append(path: &Path, text: &str) {
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn rotate(path: &Path, files: u32) {
        for number in (0..files).rev() {
            drop(fs::rename(
                numbered(path, number),
                numbered(path, number + 1),
            ));
        }
    }

    #[test]
    fn what_is_kept_is_printed_oldest_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stdout");
        for (number, text) in [(2, "a"), (1, "b"), (0, "c")] {
            append(&numbered(&path, number), text);
        }
        append(&directory.path().join("stdout.tmp"), "x");
        let out = Collected::default();
        let sinks: Vec<(Stream, Box<dyn Write + Send>)> =
            vec![(Stream::Stdout, Box::new(out.clone()))];
        Follower::new(directory.path(), sinks)
            .unwrap()
            .copy_available()
            .unwrap();
        assert_eq!(out.text(), "abc");
    }

    #[test]
    fn rotation_loses_and_repeats_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stdout");
        let out = Collected::default();
        let mut tail = Tail::new(path.clone());
        let mut sink = out.clone();
        append(&path, "1");
        tail.copy_available(&mut sink).unwrap();
        append(&path, "2");
        rotate(&path, 3);
        append(&path, "3");
        rotate(&path, 3);
        append(&path, "4");
        tail.copy_available(&mut sink).unwrap();
        append(&path, "5");
        tail.copy_available(&mut sink).unwrap();
        assert_eq!(out.text(), "12345");
    }

    #[test]
    fn a_rotation_in_the_middle_of_a_look_hides_no_file() {
        for looked_at in 1..=4 {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("stdout");
            for (number, text) in [(3, "a"), (2, "b"), (1, "c"), (0, "d")] {
                append(&numbered(&path, number), text);
            }
            let mut files = NewestFirst::new(&path);
            let read = |file: io::Result<File>| io::read_to_string(file.unwrap()).unwrap();
            let mut found: Vec<String> = files.by_ref().take(looked_at).map(read).collect();
            rotate(&path, 4);
            append(&path, "e");
            found.extend(files.map(read));
            found.dedup();
            assert_eq!(found, ["d", "c", "b", "a"], "after {looked_at}");
        }
    }

    #[test]
    fn following_ends_with_the_last_byte() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stdout");
        let (ended, over) = io::pipe().unwrap();
        let out = Collected::default();
        let sinks: Vec<(Stream, Box<dyn Write + Send>)> =
            vec![(Stream::Stdout, Box::new(out.clone()))];
        let follower = Follower::new(directory.path(), sinks).unwrap();
        let running = thread::spawn(move || follower.run(ended.as_fd()));
        append(&path, "hello ");
        out.wait_for("hello ");
        rotate(&path, 2);
        append(&path, "world");
        drop(over);
        running.join().unwrap().unwrap();
        assert_eq!(out.text(), "hello world");
    }
}
