//! How a connection goes.

use std::time::Duration;

/// Counts and measures of one connection since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkStatistics {
    /// The smoothed time to the peer and back.
    pub rtt: Duration,
    /// The shortest such time that was seen.
    pub rtt_min: Duration,
    /// Packets sent.
    pub packets_sent: u64,
    /// Of those, packets that had to be taken as lost.
    pub packets_lost: u64,
    /// How often the path was found congested.
    pub congestion_events: u64,
    /// Bytes sent, with all headers above UDP.
    pub bytes_sent: u64,
    /// Bytes received, with all headers above UDP.
    pub bytes_received: u64,
    /// The largest packet that the path takes, as known now.
    pub mtu_bytes: u16,
}

impl LinkStatistics {
    pub(super) fn read(connection: &quinn::Connection) -> Self {
        let stats = connection.stats();
        Self {
            rtt: stats.path.rtt,
            rtt_min: stats.path.min_rtt,
            packets_sent: stats.path.sent_packets,
            packets_lost: stats.path.lost_packets,
            congestion_events: stats.path.congestion_events,
            bytes_sent: stats.udp_tx.bytes,
            bytes_received: stats.udp_rx.bytes,
            mtu_bytes: stats.path.current_mtu,
        }
    }
}
