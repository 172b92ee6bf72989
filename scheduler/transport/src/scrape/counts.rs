//! What is counted of those who scrape, for metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::refusal::Refusal;

/// Counts of one gate, readable at any time from anywhere.
#[derive(Clone, Debug)]
pub struct ScrapeCounts(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    admitted: AtomicU64,
    refused: BTreeMap<&'static str, AtomicU64>,
}

impl Default for ScrapeCounts {
    fn default() -> Self {
        Self(Arc::new(Counts {
            admitted: AtomicU64::new(0),
            refused: Refusal::labels()
                .map(|label| (label, AtomicU64::new(0)))
                .collect(),
        }))
    }
}

impl ScrapeCounts {
    /// Returns how many clients were believed.
    pub fn admitted(&self) -> u64 {
        self.0.admitted.load(Ordering::Relaxed)
    }

    /// Returns how many clients were refused, for every reason there is.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0
            .refused
            .iter()
            .map(|(label, count)| (*label, count.load(Ordering::Relaxed)))
    }

    pub(super) fn count_admitted(&self) {
        self.0.admitted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused(&self, refusal: &Refusal) {
        if let Some(count) = self.0.refused.get(refusal.label()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}
