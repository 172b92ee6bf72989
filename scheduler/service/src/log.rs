//! Where the log goes, and in which shape.

use std::io::{self, IsTerminal as _};

use serde::Deserialize;
use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::journal::{self, Journal};

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// To the journal where stderr is the journal's, as text elsewhere.
    Auto,
    /// One line per event on stderr, for people.
    Text,
    /// One JSON object per event on stderr, for collectors.
    Json,
    /// To the journal, with a field for each value.
    Journal,
}

/// Why there is no log.
#[derive(Debug, Error)]
pub enum LogError {
    /// The filter makes no sense.
    #[error("log_filter = {filter:?}: {error}; write a level such as \"info\"")]
    Filter {
        /// What was written.
        filter: String,
        /// What is wrong with it.
        error: ParseError,
    },
    /// The journal was asked for by name and is not there.
    #[error(
        "log_format = \"journal\": nobody listens at {}: {error}; write \"auto\", or start systemd-journald",
        journal::SOCKET
    )]
    NoJournal {
        /// What the kernel said.
        error: io::Error,
    },
    /// A bug.
    #[error("there is a log already")]
    Twice,
}

/// Says what is wrong with a filter, as `tracing` writes them: `info,weir_agent::network=debug`.
///
/// # Errors
/// Fails if it cannot be read.
pub fn check_filter(filter: &str) -> Result<(), ParseError> {
    EnvFilter::try_new(filter).map(drop)
}

/// Starts the log of the process; `service` is what its entries are found by (`journalctl -t`).
///
/// # Errors
/// Fails if the filter cannot be read, and if the journal is asked for by name where there is none.
pub fn start(filter: &str, format: LogFormat, service: &'static str) -> Result<(), LogError> {
    let chosen = EnvFilter::try_new(filter).map_err(|error| LogError::Filter {
        filter: filter.to_owned(),
        error,
    })?;
    let mut unreached = None;
    let journal = match format {
        LogFormat::Journal => {
            Some(Journal::open(service).map_err(|error| LogError::NoJournal { error })?)
        }
        // A journal that cannot be reached still has what is written to stderr.
        LogFormat::Auto if journal::has_stderr() => match Journal::open(service) {
            Ok(journal) => Some(journal),
            Err(error) => {
                unreached = Some(error);
                None
            }
        },
        LogFormat::Auto | LogFormat::Text | LogFormat::Json => None,
    };
    if let Some(journal) = journal {
        let log = tracing_subscriber::registry().with(chosen).with(journal);
        return log.try_init().map_err(|_set| LogError::Twice);
    }
    let builder = tracing_subscriber::fmt()
        .with_env_filter(chosen)
        .with_writer(io::stderr);
    let started = match format {
        LogFormat::Json => builder.json().try_init(),
        // Colour is for terminals only; the journal would keep the codes.
        LogFormat::Auto | LogFormat::Text | LogFormat::Journal => {
            builder.with_ansi(io::stderr().is_terminal()).try_init()
        }
    };
    started.map_err(|_set| LogError::Twice)?;
    if let Some(error) = unreached {
        tracing::warn!(
            socket = journal::SOCKET,
            %error,
            remedy = "let the service reach the journal's socket",
            "the journal gets lines without fields"
        );
    }
    Ok(())
}
