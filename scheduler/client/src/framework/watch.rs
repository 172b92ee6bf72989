//! The watchdog: notices a scheduler whose connection lives and which says nothing.

use std::time::Duration;

use weir_protocol::Millis;

/// How many heartbeats may be missed: one can be late, two can be lost in a restart of a router.
const MISSED_MAX: u32 = 3;

/// The shortest and the longest patience, whatever a scheduler announces: a heartbeat of milliseconds
/// would end every conversation, and one of days none.
const PATIENCE_MIN: Duration = Duration::from_secs(3);
const PATIENCE_MAX: Duration = Duration::from_secs(15 * 60);

/// Returns how long nothing may be heard of a scheduler that announced this heartbeat.
pub(super) fn patience(heartbeat: Millis) -> Duration {
    Duration::from(heartbeat)
        .saturating_mul(MISSED_MAX)
        .clamp(PATIENCE_MIN, PATIENCE_MAX)
}

/// How long an ALREADY_SUBSCRIBED is no reason to give up, after a connection of our own broke: the
/// scheduler takes up to its idle time to notice, and a little more.
pub(super) const OLD_CONNECTION_PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_heartbeats_may_be_missed_within_reason() {
        assert_eq!(patience(Millis(15_000)), Duration::from_secs(45));
        assert_eq!(patience(Millis(0)), PATIENCE_MIN);
        assert_eq!(patience(Millis(u64::MAX)), PATIENCE_MAX);
    }
}
