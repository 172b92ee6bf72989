//! Why a framework is at an end.

use weir_protocol::Failure;

use crate::error::ConversationError;

/// Says why a framework does not go on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FrameworkError {
    /// The scheduler cannot be spoken to, and trying again would not help.
    #[error("the conversation with the scheduler is over")]
    Conversation(#[source] ConversationError),
    /// The scheduler does not take the framework.
    #[error("the scheduler refused the subscription")]
    Refused(#[source] Failure),
    /// The scheduler has ended the subscription.
    #[error("the scheduler ended the subscription")]
    Ended(#[source] Failure),
    /// The framework was closed here.
    #[error("the framework was closed")]
    Closed,
}

impl FrameworkError {
    /// Returns whether another start with the same settings may succeed later.
    ///
    /// A framework tries again by itself as long as that is so; this is `true` of nothing that it returns
    /// unless a scheduler changes its mind.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Conversation(error) => error.is_retryable(),
            Self::Refused(failure) | Self::Ended(failure) => failure.code.is_retryable(),
            Self::Closed => false,
        }
    }

    /// Returns what to do about it.
    pub fn remedy(&self) -> &str {
        match self {
            Self::Conversation(error) => error.remedy(),
            Self::Refused(failure) | Self::Ended(failure) => failure.remedy.as_str(),
            Self::Closed => "nothing; this program wanted it so",
        }
    }
}
