//! Entries of the journal with a field for each value, in its native protocol.
//!
//! `MESSAGE=` is what stderr would have had, values and all: people read it, and `journalctl` shows them nothing else.
//! Beside it each value stands alone as `WEIR_<NAME>=`, so that `journalctl WEIR_CONTAINER=web` finds what concerns one
//! container. Libraries leave the values out of the message. The protocol: <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields as _;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::layer::{Context, Layer};

/// Where the journal listens.
pub(crate) const SOCKET: &str = "/run/systemd/journal/socket";

/// How much of one value is kept: an entry has to fit into a datagram, whatever a peer has sent.
const VALUE_BYTES_MAX: usize = 16 * 1024;

/// How long the name of a field may be, in bytes (systemd, `journal_field_valid`).
const NAME_BYTES_MAX: usize = 64;

/// How long a journal that does not read may hold up the daemon per entry.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether stderr is a stream of the journal, as `JOURNAL_STREAM` says (systemd.exec(5)).
pub(crate) fn has_stderr() -> bool {
    let Ok(said) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    stderr_id().is_ok_and(|found| found == said)
}

/// Returns the device and inode of stderr, as the journal writes them.
fn stderr_id() -> io::Result<String> {
    let stderr = io::stderr().as_fd().try_clone_to_owned()?;
    let stderr = File::from(stderr).metadata()?;
    Ok(format!("{}:{}", stderr.dev(), stderr.ino()))
}

/// Sends events to the journal.
#[derive(Debug)]
pub(crate) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    service: &'static str,
}

impl Journal {
    pub(crate) fn open(service: &'static str) -> io::Result<Self> {
        Self::open_at(Path::new(SOCKET), service)
    }

    fn open_at(path: &Path, service: &'static str) -> io::Result<Self> {
        // Only to see that somebody listens: a socket that is connected to a journal stays with it, and one
        // that is started again listens on another of the same name.
        UnixDatagram::unbound()?.connect(path)?;
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            socket,
            path: path.to_owned(),
            service,
        })
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let level = *event.metadata().level();
        let message = text_of(event);
        let mut entry = Entry::default();
        entry.put("MESSAGE", &message);
        entry.put("PRIORITY", priority(level));
        entry.put("SYSLOG_IDENTIFIER", self.service);
        entry.put("WEIR_TARGET", event.metadata().target());
        event.record(&mut entry);
        if self.socket.send_to(&entry.bytes, &self.path).is_err() {
            // The journal has stderr, too, or whoever started the daemon has.
            drop(writeln!(io::stderr(), "{level} {message}"));
        }
    }
}

/// Returns what a line on stderr would say after time, level and target.
fn text_of(event: impl RecordFields) -> String {
    let mut text = String::new();
    match DefaultFields::new().format_fields(Writer::new(&mut text), event) {
        // A value that cannot say what it is ends the text early; what was said before it counts.
        Ok(()) | Err(std::fmt::Error) => text,
    }
}

/// Returns the level as syslog has it: what may be lost without harm is below `info`.
const fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

/// An entry that is being written.
#[derive(Default)]
struct Entry {
    bytes: Vec<u8>,
}

impl Entry {
    /// Adds a field, whatever is in the value.
    fn put(&mut self, name: &str, value: &str) {
        let end = value.floor_char_boundary(VALUE_BYTES_MAX);
        let value = &value[..end];
        self.bytes.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            self.bytes.push(b'\n');
            self.bytes
                .extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.bytes.push(b'=');
        }
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(b'\n');
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some(name) = field_name(field.name()) {
            self.put(&name, value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// Returns the name under which the journal has a value; the message has its own, and so has what comes from `log`.
fn field_name(name: &str) -> Option<String> {
    if name == "message" || name.starts_with("log.") {
        return None;
    }
    let valid = name.chars().map(|letter| match letter {
        'a'..='z' | 'A'..='Z' | '0'..='9' => letter.to_ascii_uppercase(),
        _ => '_',
    });
    Some("WEIR_".chars().chain(valid).take(NAME_BYTES_MAX).collect())
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Returns a socket that a journal listens on.
    fn listen(path: &Path) -> UnixDatagram {
        let listening = UnixDatagram::bind(path).unwrap();
        let patience = Some(Duration::from_secs(10));
        listening.set_read_timeout(patience).unwrap();
        listening
    }

    fn received(listening: &UnixDatagram) -> Vec<u8> {
        let mut buffer = vec![0; 1 << 20];
        let length = listening.recv(&mut buffer).unwrap();
        buffer[..length].to_vec()
    }

    /// Runs `log` with a journal that is a socket of the test; returns the entry.
    fn entry(log: impl FnOnce()) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listening = listen(&path);
        let journal = Journal::open_at(&path, "weir-test").unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(journal), log);
        received(&listening)
    }

    #[test]
    fn a_journal_that_was_started_again_has_what_follows() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        drop(Journal::open_at(&path, "weir-test").expect_err("nobody listens"));
        let first = listen(&path);
        let journal = Journal::open_at(&path, "weir-test").unwrap();
        let log = tracing_subscriber::registry().with(journal);
        tracing::subscriber::with_default(log, || {
            tracing::info!("one");
            assert!(received(&first).starts_with(b"MESSAGE=one\n"));
            drop(first);
            std::fs::remove_file(&path).unwrap();
            // Nobody has these.
            tracing::info!("two");
            tracing::info!("three");
            let second = listen(&path);
            tracing::info!("four");
            assert!(received(&second).starts_with(b"MESSAGE=four\n"));
        });
    }

    #[test]
    fn an_entry_has_the_whole_text_and_each_value() {
        let found = entry(|| {
            tracing::warn!(target: "weir::test", container = "web", ports = 3, "it was refused");
        });
        let expected = "MESSAGE=it was refused container=\"web\" ports=3\n\
                        PRIORITY=4\n\
                        SYSLOG_IDENTIFIER=weir-test\n\
                        WEIR_TARGET=weir::test\n\
                        WEIR_CONTAINER=web\n\
                        WEIR_PORTS=3\n";
        assert_eq!(String::from_utf8_lossy(&found), expected);
    }

    #[test]
    fn a_value_of_several_lines_forges_no_field() {
        let found = entry(|| {
            tracing::info!(target: "t", error = "one\nPRIORITY=0", "failed");
        });
        let mut forged = b"WEIR_ERROR\n".to_vec();
        forged.extend_from_slice(&14_u64.to_le_bytes());
        forged.extend_from_slice(b"one\nPRIORITY=0\n");
        assert!(
            found.ends_with(&forged),
            "{}",
            String::from_utf8_lossy(&found)
        );
    }

    #[test]
    fn what_is_too_long_is_cut_between_letters() {
        let long = "é".repeat(VALUE_BYTES_MAX);
        let found = entry(|| tracing::info!(target: "t", long, "x"));
        let text = String::from_utf8(found).unwrap();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix("WEIR_LONG="));
        assert_eq!(value.unwrap().len(), VALUE_BYTES_MAX);
    }

    #[test]
    fn names_are_such_as_the_journal_keeps() {
        assert_eq!(field_name("agent").unwrap(), "WEIR_AGENT");
        assert_eq!(field_name("peer.address").unwrap(), "WEIR_PEER_ADDRESS");
        assert_eq!(field_name(&"n".repeat(100)).unwrap().len(), NAME_BYTES_MAX);
        assert_eq!(field_name("message"), None);
        assert_eq!(field_name("log.line"), None);
    }
}
