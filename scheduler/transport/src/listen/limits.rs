//! Every bound of the accepting side, with its reason.

use std::fmt;
use std::time::Duration;

use super::error::ListenError;

/// Bounds of the accepting side.
///
/// The defaults are for a scheduler of up to ten thousand agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenLimits {
    /// The most connections at once: each costs some 40 KiB.
    pub connections_max: usize,
    /// The most handshakes at once. Each costs about a millisecond of a core, so this many are
    /// through in less than the time that one may take.
    pub handshakes_max: usize,
    /// From how many handshakes on a new address must prove that it can be answered: what floods
    /// from forged addresses then costs one small packet each.
    pub handshakes_unproven_max: usize,
    /// How long a handshake may take: a few losses on a bad path.
    pub handshake_patience: Duration,
    /// How long a believed peer may take to open its stream, and the application to accept it.
    pub stream_patience: Duration,
    /// How many peers may wait to be accepted. More wait in their tasks.
    pub waiting_max: usize,
    /// How long a peer may read nothing of what it is owed.
    pub stall: Duration,
    /// How long nothing may be heard of a peer before it is taken for dead.
    ///
    /// QUIC counts it anew when something is sent to a peer for the first time since it was heard, at
    /// the latest when it is asked for a sign of life. So a peer is found dead `keep_alive` and `idle`
    /// after it was last heard: by default within 10 s.
    pub idle: Duration,
    /// How often a peer is asked for a sign of life when it sends none.
    ///
    /// A little more than the connecting side's interval, which therefore does it; this one is for
    /// peers of other makes that do not.
    pub keep_alive: Duration,
    /// How much of a peer's data may wait to be read, in bytes. A frame may be larger: it is taken
    /// piece by piece.
    pub receive_bytes_max: u32,
    /// How much may be on its way to a peer without its having confirmed it, in bytes.
    pub send_bytes_max: u32,
}

impl Default for ListenLimits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            handshakes_max: 1024,
            handshakes_unproven_max: 256,
            handshake_patience: Duration::from_secs(5),
            stream_patience: Duration::from_secs(10),
            waiting_max: 128,
            stall: Duration::from_secs(10),
            idle: Duration::from_secs(6),
            keep_alive: Duration::from_millis(3_500),
            receive_bytes_max: 256 * 1024,
            send_bytes_max: 1024 * 1024,
        }
    }
}

impl ListenLimits {
    /// Refuses limits with which nobody could be served.
    pub(super) fn check(&self) -> Result<(), ListenError> {
        let Self {
            connections_max,
            handshakes_max,
            // None means that everyone has to prove its address, which is slow and works.
            handshakes_unproven_max: _,
            handshake_patience,
            stream_patience,
            waiting_max,
            stall,
            idle,
            keep_alive,
            receive_bytes_max,
            send_bytes_max,
        } = self;
        at_least("connections_max", connections_max, &1)?;
        at_least("handshakes_max", handshakes_max, &1)?;
        at_least("waiting_max", waiting_max, &1)?;
        at_least("receive_bytes_max", receive_bytes_max, &1)?;
        at_least("send_bytes_max", send_bytes_max, &1)?;
        let moment = Duration::from_millis(1);
        at_least("handshake_patience", handshake_patience, &moment)?;
        at_least("stream_patience", stream_patience, &moment)?;
        at_least("stall", stall, &moment)?;
        at_least("keep_alive", keep_alive, &moment)?;
        // Otherwise a peer is dead before it is asked.
        at_least("idle", idle, &(*keep_alive + moment))
    }
}

fn at_least<T: PartialOrd + fmt::Debug>(
    limit: &'static str,
    found: &T,
    least: &T,
) -> Result<(), ListenError> {
    if found < least {
        return Err(ListenError::Limit {
            limit,
            found: format!("{found:?}"),
            least: format!("{least:?}"),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_peer_is_noticed_within_ten_seconds() {
        let limits = ListenLimits::default();
        assert!(limits.keep_alive + limits.idle < Duration::from_secs(10));
    }

    #[test]
    fn limits_that_serve_nobody_are_refused() {
        let limits = ListenLimits::default();
        assert!(limits.check().is_ok());
        let idle = limits.keep_alive;
        let error = ListenLimits { idle, ..limits }.check().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the limit `idle` is 3.5s, and at least 3.501s is needed"
        );
        let waiting_max = 0;
        assert!(
            ListenLimits {
                waiting_max,
                ..limits
            }
            .check()
            .is_err()
        );
    }
}
