//! What a framework says of itself, and how it comes back.

use std::time::Duration;

use weir_protocol::{FrameworkId, FrameworkInfo, Line};

/// What a framework says of itself, and how it comes back.
#[derive(Clone, Debug)]
pub struct FrameworkSettings {
    /// What the scheduler is told.
    pub info: FrameworkInfo,
    /// The id from an earlier SUBSCRIBED, or `None` for a new framework.
    pub id: Option<FrameworkId>,
    /// Whether to take over from another connection of the same framework, at the first SUBSCRIBE.
    ///
    /// Later ones never do: who was taken over from must not take over in turn.
    pub force: bool,
    /// What the scheduler's log calls this program.
    pub software: Line,
    /// The longest wait before the second attempt to connect.
    pub first_pause: Duration,
    /// The longest wait before any attempt.
    pub longest_pause: Duration,
}

impl FrameworkSettings {
    /// Returns the settings of a new framework with the pauses that the protocol asks for.
    pub fn new(info: FrameworkInfo, software: Line) -> Self {
        Self {
            info,
            id: None,
            force: false,
            software,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
        }
    }
}
