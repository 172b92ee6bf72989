//! Congestion control that steps aside for the packet that closes.
//!
//! quinn-proto up to 0.11.19 holds the close of a connection back while its congestion window is
//! full, and then drops it: the peer hears nothing until its idle time is over. That is just when it
//! matters: a peer that does not read, or one that is revoked while it is sent a lot. It is
//! quinn-rs/quinn#2785, mended there and in no release yet. Until then the controller, which is the
//! one part of it that can be brought along, opens the window for good when the end has come.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use quinn::Connection;
use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::RttEstimator;

/// Makes the controller of each connection.
#[derive(Debug, Default)]
pub(crate) struct SteppingAside {
    cubic: Arc<CubicConfig>,
}

/// Cubic, until the connection is closed.
struct Steps {
    inner: Box<dyn Controller>,
    /// Shared with every copy that quinn makes, and so with the one it asks.
    aside: Arc<AtomicBool>,
}

/// A window that nothing fills, and that no sum of bytes overflows.
const OPEN: u64 = u64::MAX / 4;

/// Lets the close of a connection through, however much waits before it.
///
/// To be called just before closing: nothing else is sent after it.
pub(crate) fn step_aside(connection: &Connection) {
    if let Ok(steps) = connection.congestion_state().into_any().downcast::<Steps>() {
        steps.aside.store(true, Ordering::Relaxed);
    }
}

impl ControllerFactory for SteppingAside {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Steps {
            inner: Arc::clone(&self.cubic).build(now, current_mtu),
            aside: Arc::new(AtomicBool::new(false)),
        })
    }
}

impl Controller for Steps {
    fn window(&self) -> u64 {
        if self.aside.load(Ordering::Relaxed) {
            OPEN
        } else {
            self.inner.window()
        }
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self {
            inner: self.inner.clone_box(),
            aside: Arc::clone(&self.aside),
        })
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }

    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.inner
            .on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.inner
            .on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }
}
