//! What the agent wrote into its log.

use std::io::{self, Write};
use std::sync::{Mutex, Once, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
static CAPTURE: Once = Once::new();

/// Keeps the log of all laboratories from here on, instead of writing it.
pub(crate) fn capture() {
    CAPTURE.call_once(|| {
        let log = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::INFO)
            .with_writer(Keep)
            .finish();
        tracing::subscriber::set_global_default(log).expect("nobody else sets a subscriber here");
    });
}

/// Returns the lines that contain all of these words.
pub(crate) fn lines_with(words: &[&str]) -> Vec<String> {
    LINES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .filter(|line| words.iter().all(|word| line.contains(word)))
        .cloned()
        .collect()
}

struct Keep;

impl Write for Keep {
    /// The formatter writes each line in one piece.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes).into_owned();
        LINES
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Keep {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}
