//! Why a call has no answer, or none that helps.

use std::time::Duration;

use weir_protocol::Failure;

use crate::error::ConversationError;

/// Says what became of a call.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OperatorError {
    /// The scheduler never heard of it.
    #[error("{call} was not sent")]
    NotSent {
        /// The call.
        call: &'static str,
        /// Why not.
        #[source]
        source: ConversationError,
    },
    /// The scheduler may have heard of it, and done it.
    #[error("{call} was sent, and the answer did not come")]
    Unanswered {
        /// The call.
        call: &'static str,
        /// Why not.
        #[source]
        source: ConversationError,
    },
    /// The scheduler may still be at it.
    #[error("{call} was sent, and is not answered after {} s", patience.as_secs())]
    Slow {
        /// The call.
        call: &'static str,
        /// How long was waited.
        patience: Duration,
    },
    /// The scheduler refused it, or failed to do it. Nothing has changed.
    #[error("{call} was refused")]
    Failed {
        /// The call.
        call: &'static str,
        /// The scheduler's words.
        #[source]
        failure: Failure,
    },
    /// The answer is one to something else.
    #[error("{call} was answered by what is no answer to it")]
    Mismatch {
        /// The call.
        call: &'static str,
    },
}

impl OperatorError {
    /// Returns whether the same call may succeed later with nothing changed.
    ///
    /// A change must be repeated under the operation id that it had.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotSent { source, .. } | Self::Unanswered { source, .. } => source.is_retryable(),
            // An agent may be slow, and the answer be known by now.
            Self::Slow { .. } => true,
            Self::Failed { failure, .. } => failure.code.is_retryable(),
            Self::Mismatch { .. } => false,
        }
    }

    /// Returns whether the call may have had its effect all the same.
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Unanswered { .. } | Self::Slow { .. } | Self::Mismatch { .. } => true,
            Self::NotSent { .. } | Self::Failed { .. } => false,
        }
    }

    /// Returns what to do about it.
    pub fn remedy(&self) -> &str {
        match self {
            Self::NotSent { source, .. } => source.remedy(),
            Self::Unanswered { .. } | Self::Slow { .. } => {
                "look whether it was done; repeating a change under the same operation id does it once"
            }
            Self::Failed { failure, .. } => failure.remedy.as_str(),
            Self::Mismatch { .. } => {
                "check that the scheduler and this program are of versions that speak the same protocol"
            }
        }
    }
}
