//! What is counted of the database.

use prometheus::{Histogram, HistogramOpts, Registry};

/// How long commits take, and how much one of them holds.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    pub(super) commit_seconds: Histogram,
    pub(super) commit_batches: Histogram,
    pub(super) commit_records: Histogram,
}

impl StoreMetrics {
    /// Makes the metrics, and has `registry` show them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let histogram = |name: &str, help: &str, buckets: Vec<f64>| {
            let options =
                HistogramOpts::new(format!("weir_scheduler_store_{name}"), help).buckets(buckets);
            let histogram = Histogram::with_opts(options)?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        Ok(Self {
            commit_seconds: histogram(
                "commit_seconds",
                "How long a transaction took, the flush included: what every answer waits for",
                // 0.1 ms to 1.6 s.
                prometheus::exponential_buckets(0.0001, 2.0, 15)?,
            )?,
            commit_batches: histogram(
                "commit_batches",
                "How many batches shared a transaction: more than one when the disk is slower than the calls",
                prometheus::exponential_buckets(1.0, 2.0, 8)?,
            )?,
            commit_records: histogram(
                "commit_records",
                "How many records a transaction held",
                prometheus::exponential_buckets(1.0, 4.0, 8)?,
            )?,
        })
    }
}
