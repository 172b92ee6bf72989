//! What is measured, and how it is served.
//!
//! ```text
//!  store, sessions, ledger ──(counters and gauges beside the code)──▶ Registry ─┐
//!  listeners, gate, credentials ──(read when somebody asks)─────────────────────┴─▶ /metrics
//!  daemon ──(watch: Stage)── core ──(watch: the last turn)────────────────────────▶ /health
//! ```

mod http;
#[cfg(test)]
mod reference;
mod transport;

use prometheus::{Encoder as _, Registry, TextEncoder};
use tokio::sync::watch;
use tokio::time::{Duration, Instant};

pub use transport::TransportMetrics;

/// How long the ledger's task may be silent: it turns every two seconds at least, and a turn may wait for
/// one flush of a slow disk.
const LEDGER_PATIENCE: Duration = Duration::from_secs(15);

/// How far the daemon has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The ledger is read, and nobody is listened to.
    Starting,
    /// Peers are served.
    Ready,
    /// Nothing new is taken.
    Stopping,
}

/// Everything that is served.
#[derive(Clone, Debug)]
pub struct Telemetry {
    registry: Registry,
    transport: TransportMetrics,
    health: Health,
}

/// Whether the scheduler does its work.
#[derive(Clone, Debug)]
pub struct Health {
    stage: watch::Receiver<Stage>,
    ledger: watch::Receiver<Instant>,
}

impl Health {
    /// Returns the health that follows from the daemon's stage and the last turn of the ledger's task.
    pub fn new(stage: watch::Receiver<Stage>, ledger: watch::Receiver<Instant>) -> Self {
        Self { stage, ledger }
    }

    /// Returns whether the ledger's task turns.
    pub fn ledger_turns(&self) -> bool {
        self.ledger.borrow().elapsed() < LEDGER_PATIENCE
    }

    /// Returns why the scheduler does not do its work, if it does not.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let stage = *self.stage.borrow();
        match stage {
            Stage::Starting => Some("starting: the ledger is read\n"),
            Stage::Stopping => Some("stopping\n"),
            Stage::Ready if self.ledger_turns() => None,
            Stage::Ready => Some("the ledger has not moved for 15 s; is the disk stuck?\n"),
        }
    }
}

impl Telemetry {
    /// Returns what is served: all that `registry` has, and what `transport` reads.
    pub fn new(registry: Registry, transport: TransportMetrics, health: Health) -> Self {
        Self {
            registry,
            transport,
            health,
        }
    }

    /// Writes every metric as text.
    fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        self.transport.read();
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}
