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
    #[error("the database {} is damaged ({what})", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// A newer scheduler wrote it.
    #[error("the database {} was written by a newer weir-scheduler", path.display())]
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
    #[error("row `{key}` of {table} in the database cannot be read: {what}")]
    Row {
        /// Its table.
        table: &'static str,
        /// What it is found by.
        key: String,
        /// What is wrong with it.
        what: String,
    },
    /// The rows could not be read.
    #[error("cannot read the database")]
    Read(#[source] rusqlite::Error),
    /// The records could not be made durable.
    #[error("cannot write to the database: {reason}")]
    Commit {
        /// What SQLite said; the same for all batches of one transaction.
        reason: String,
    },
    /// The thread that writes is gone.
    #[error("the database's thread is gone")]
    Gone,
}

impl StoreError {
    /// Returns what to do about it.
    pub const fn remedy(&self) -> &'static str {
        const START_EMPTY: &str = "move it away with its -wal file and start again: agents and frameworks then give back what they know; weights that operators have set, and what was under way, are lost";
        match self {
            Self::Open { .. } => {
                "check that its directory is there and belongs to the scheduler's user"
            }
            Self::Damaged { .. } | Self::Row { .. } => START_EMPTY,
            Self::Newer { .. } => {
                "install that version again: this one could not keep what it does not know"
            }
            Self::Migrate { .. } => "check the space on its disk, and start again",
            Self::NotDurable { .. } => "keep the state directory on a local file system",
            Self::Read(_) | Self::Commit { .. } => {
                "check the disk and the space on it, and start again: whatever was answered is there"
            }
            Self::Gone => "the log says why",
        }
    }
}
