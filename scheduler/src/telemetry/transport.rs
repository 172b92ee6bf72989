//! What the listeners and the credentials count themselves, read when somebody asks.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use weir_transport::check::Check;
use weir_transport::credentials::CredentialWatch;
use weir_transport::listen::Counters;
use weir_transport::scrape::{Refusal, ScrapeCounts};

/// What is counted of connections and certificates.
#[derive(Clone, Debug)]
pub struct TransportMetrics {
    /// Held while counts are brought forward, so that two readers do not do it twice.
    sources: Arc<Mutex<Sources>>,
    accepted: IntCounter,
    refused: IntCounterVec,
    sent_away: IntCounter,
    connections: IntGauge,
    handshakes: IntGauge,
    certificate_expiry: IntGauge,
    reloads: IntCounterVec,
    reload_failing: IntGauge,
    http_refused: IntCounterVec,
}

#[derive(Debug)]
struct Sources {
    listeners: Vec<Counters>,
    gate: Option<ScrapeCounts>,
    credentials: CredentialWatch,
}

impl TransportMetrics {
    /// Makes the metrics, and has `registry` show them.
    pub fn register(
        registry: &Registry,
        credentials: CredentialWatch,
    ) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("weir_scheduler_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let counters = |name: &str, help: &str, label: &str| {
            let options = Opts::new(format!("weir_scheduler_{name}"), help);
            let counters = IntCounterVec::new(options, &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(format!("weir_scheduler_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let made = Self {
            sources: Arc::new(Mutex::new(Sources {
                listeners: Vec::new(),
                gate: None,
                credentials,
            })),
            accepted: counter(
                "transport_accepted_total",
                "Peers that were believed and opened their stream",
            )?,
            refused: counters(
                "transport_refused_total",
                "Peers that were refused, by the check that failed; the log names them",
                "check",
            )?,
            sent_away: counter(
                "transport_address_proofs_total",
                "First packets that were sent back so that their address proves itself: a flood of connections",
            )?,
            connections: gauge("transport_connections", "Connections that are live")?,
            handshakes: gauge("transport_handshakes", "Handshakes that are under way")?,
            certificate_expiry: gauge(
                "certificate_expiry_timestamp_seconds",
                "When the scheduler's certificate ends, in seconds since 1970; then nobody can connect any more",
            )?,
            reloads: counters(
                "certificate_reloads_total",
                "Changed certificate files that were read",
                "outcome",
            )?,
            reload_failing: gauge(
                "certificate_reload_failing",
                "1 while the certificate files as they are now are not in force, or not all; the log says why",
            )?,
            http_refused: counters(
                "http_refused_total",
                "Clients that would read metrics over TLS and were refused, by the check that failed; the log names them",
                "check",
            )?,
        };
        // From zero on: a rate over a series that begins with its first refusal does not see it.
        for check in Check::ALL {
            made.refused.with_label_values(&[check.label()]);
        }
        for label in Refusal::labels() {
            made.http_refused.with_label_values(&[label]);
        }
        Ok(made)
    }

    /// Has a listener's counts among them.
    pub fn add_listener(&self, counters: Counters) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.listeners.push(counters);
    }

    /// Has the counts of who reads metrics over TLS among them.
    pub fn add_gate(&self, counts: ScrapeCounts) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.gate = Some(counts);
    }

    /// Brings everything forward to what it is now.
    pub(super) fn read(&self) {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |count: fn(&Counters) -> u64| sources.listeners.iter().map(count).sum::<u64>();
        forward(&self.accepted, sum(Counters::accepted));
        forward(&self.sent_away, sum(Counters::sent_away_to_prove));
        let live = |count: fn(&Counters) -> usize| {
            let live: usize = sources.listeners.iter().map(count).sum();
            i64::try_from(live).unwrap_or(i64::MAX)
        };
        self.connections.set(live(Counters::connections));
        self.handshakes.set(live(Counters::handshakes));
        if let Some(first) = sources.listeners.first() {
            for (check, _) in first.refused() {
                let refused = sources.listeners.iter();
                let total = refused.map(|counters| counters.refused_for(check)).sum();
                forward(&self.refused.with_label_values(&[check]), total);
            }
        }
        for (check, total) in sources.gate.iter().flat_map(ScrapeCounts::refused) {
            forward(&self.http_refused.with_label_values(&[check]), total);
        }
        let credentials = sources.credentials.borrow();
        let expiry = credentials.expires_at().as_unix_s();
        self.certificate_expiry.set(expiry);
        forward(
            &self.reloads.with_label_values(&["ok"]),
            credentials.reloads_ok,
        );
        forward(
            &self.reloads.with_label_values(&["failed"]),
            credentials.reloads_failed,
        );
        self.reload_failing
            .set(i64::from(credentials.last_error.is_some()));
    }
}

/// Brings a counter forward to a count that somebody else keeps.
fn forward(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
