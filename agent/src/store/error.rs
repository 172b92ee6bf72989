//! Why the database was not opened, read or written.

use std::path::PathBuf;

/// Says why the database could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened.
    #[error("cannot open the database {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The file is there, and is not what was written.
    #[error(
        "the database {} is damaged ({what}); move it and its -wal file away and start again: containers that still run are then stopped, and their output is lost",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// A newer agent wrote it.
    #[error(
        "the database {} was written by a newer weir-agent; install that version again, for this one could not keep what it does not know",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// The tables could not be brought up to date.
    #[error("cannot bring the tables of {} up to date", path.display())]
    Migrate {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: rusqlite_migration::Error,
    },
    /// SQLite does not flush as it must.
    #[error(
        "SQLite gives `{pragma}` = {found} for {}, and {wanted} is needed: what is answered would not be durable",
        path.display()
    )]
    NotDurable {
        /// The file.
        path: PathBuf,
        /// The setting.
        pragma: &'static str,
        /// Its value.
        found: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// A row that this program could not have written.
    #[error(
        "row `{id}` in the database cannot be read: {what}; if the file was edited by hand, undo that, otherwise move it away and start again"
    )]
    Row {
        /// The key of the row.
        id: String,
        /// What is wrong with it.
        what: String,
    },
    /// A change was refused.
    #[error("cannot {what} in the database")]
    Write {
        /// The change, as a verb and its object.
        what: String,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The change was fine, and its transaction could not be committed.
    #[error("cannot commit to the database: {reason}; check the space on its disk")]
    Commit {
        /// What SQLite said; the same for all callers of one transaction.
        reason: String,
    },
    /// The thread that writes is gone.
    #[error("the database's thread is gone; the log says why")]
    Gone,
}

impl StoreError {
    /// Returns whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            // A full or slow disk may be relieved.
            Self::Commit { .. } | Self::Write { .. } | Self::Open { .. } => true,
            // Only a person can change these.
            Self::Damaged { .. }
            | Self::Newer { .. }
            | Self::Migrate { .. }
            | Self::NotDurable { .. }
            | Self::Row { .. }
            | Self::Gone => false,
        }
    }
}
