//! Every bound of the accepting side, with its reason.

use std::time::Duration;

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
    pub idle: Duration,
    /// How often a peer is asked for a sign of life when it sends none.
    ///
    /// A second more than the connecting side's interval, which therefore does it; this one is for
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
            idle: Duration::from_secs(9),
            keep_alive: Duration::from_secs(4),
            receive_bytes_max: 256 * 1024,
            send_bytes_max: 1024 * 1024,
        }
    }
}
