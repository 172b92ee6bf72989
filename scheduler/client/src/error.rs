//! Why there is no conversation.

use std::sync::Arc;
use std::time::Duration;

use weir_protocol::{Failure, Refused};
use weir_transport::Address;
use weir_transport::connect::ConnectError;
use weir_transport::session::{ReceiveError, SendError};

/// Says why a scheduler cannot be spoken to, or not any more.
///
/// Clones are cheap: one error is told to whoever waits for anything.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConversationError {
    /// There is no connection.
    #[error("there is no connection to the scheduler at {address}")]
    Connect {
        /// Where the scheduler should be.
        address: Address,
        /// Why not.
        #[source]
        source: Arc<ConnectError>,
    },
    /// The scheduler refused to speak.
    #[error("the scheduler at {address} refused the greeting")]
    Refused {
        /// Which scheduler.
        address: Address,
        /// Its words.
        #[source]
        refused: Refused,
    },
    /// The scheduler said nothing for too long.
    #[error("the scheduler at {address} has not said anything for {} s", patience.as_secs())]
    Silent {
        /// Which scheduler.
        address: Address,
        /// How long was waited.
        patience: Duration,
    },
    /// What was to be said did not get out.
    #[error("the scheduler at {address} cannot be told anything")]
    Send {
        /// Which scheduler.
        address: Address,
        /// Why not.
        #[source]
        source: SendError,
    },
    /// Nothing more can be heard.
    #[error("the scheduler at {address} cannot be heard any more")]
    Receive {
        /// Which scheduler.
        address: Address,
        /// Why not.
        #[source]
        source: ReceiveError,
    },
    /// The scheduler has said all it had to say.
    #[error("the scheduler at {address} has ended the conversation")]
    Ended {
        /// Which scheduler.
        address: Address,
    },
    /// The scheduler said what cannot be true.
    #[error("the scheduler at {address} sent what makes no sense")]
    Nonsense {
        /// Which scheduler.
        address: Address,
        /// What is wrong with it.
        #[source]
        failure: Failure,
    },
}

impl ConversationError {
    /// Returns whether connecting again, with nothing changed here, may succeed.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { source, .. } => source.is_retryable(),
            Self::Refused { refused, .. } => refused.failure.code.is_retryable(),
            // It may have hung, and be restarted.
            Self::Silent { .. } | Self::Ended { .. } => true,
            Self::Send { source, .. } => match source {
                // The same message stays as large as it is.
                SendError::TooLarge(_) => false,
                SendError::NotReading { .. } | SendError::Finished => true,
                SendError::Stopped { code } => code.is_retryable(),
                SendError::Disconnected(disconnect) => disconnect.is_retryable(),
            },
            Self::Receive { source, .. } => match source {
                // The two do not speak the same language.
                ReceiveError::Frame(_) | ReceiveError::Message { .. } => false,
                ReceiveError::GivenUp { code } => code.is_retryable(),
                ReceiveError::Disconnected(disconnect) => disconnect.is_retryable(),
                ReceiveError::Over => true,
            },
            Self::Nonsense { .. } => false,
        }
    }

    /// Returns what to do about it.
    pub fn remedy(&self) -> &str {
        const SAME_LANGUAGE: &str = "check that the scheduler and this program are of versions that speak the same protocol";
        const AGAIN: &str = "try again; if it goes on, look at the scheduler's log";
        match self {
            Self::Connect { source, .. } => source.remedy(),
            Self::Refused { refused, .. } => refused.failure.remedy.as_str(),
            Self::Silent { .. } | Self::Ended { .. } => AGAIN,
            Self::Send { source, .. } => match source {
                SendError::TooLarge(_) => "say it in smaller parts",
                SendError::NotReading { .. } | SendError::Finished => AGAIN,
                SendError::Stopped { code } => code.remedy(),
                SendError::Disconnected(disconnect) => disconnect.remedy(),
            },
            Self::Receive { source, .. } => match source {
                ReceiveError::Frame(_) | ReceiveError::Message { .. } => SAME_LANGUAGE,
                ReceiveError::GivenUp { code } => code.remedy(),
                ReceiveError::Disconnected(disconnect) => disconnect.remedy(),
                ReceiveError::Over => AGAIN,
            },
            Self::Nonsense { failure, .. } => failure.remedy.as_str(),
        }
    }
}
