//! QUIC's own settings, the same for both sides but for the numbers.

use std::sync::Arc;
use std::time::Duration;

use quinn::{IdleTimeout, TransportConfig, VarInt};

use crate::congestion::SteppingAside;

/// What differs between the sides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// How many streams the peer may open.
    pub(crate) peer_streams_max: u32,
    pub(crate) idle: Duration,
    pub(crate) keep_alive: Duration,
    pub(crate) receive_bytes_max: u32,
    pub(crate) send_bytes_max: u32,
}

/// Returns QUIC's settings, or the idle time that it cannot express.
pub(crate) fn transport_config(settings: Settings) -> Result<TransportConfig, Duration> {
    let Settings {
        peer_streams_max,
        idle,
        keep_alive,
        receive_bytes_max,
        send_bytes_max,
    } = settings;
    let idle_timeout = IdleTimeout::try_from(idle).map_err(|quinn::VarIntBoundsExceeded| idle)?;
    let mut config = TransportConfig::default();
    config
        // Memory is set aside for every stream that a peer may open, so it may open what it needs
        // and nothing else.
        .max_concurrent_bidi_streams(VarInt::from_u32(peer_streams_max))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(idle_timeout))
        .keep_alive_interval(Some(keep_alive))
        // There is one stream, so its window is the connection's.
        .stream_receive_window(VarInt::from_u32(receive_bytes_max))
        .receive_window(VarInt::from_u32(receive_bytes_max))
        .send_window(u64::from(send_bytes_max))
        .congestion_controller_factory(Arc::new(SteppingAside::default()));
    Ok(config)
}
