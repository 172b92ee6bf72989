//! Who is connected: what the sweep walks through.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::UnixTime;

use super::counters::Gauge;
use crate::session::{Link, WeakLink};

/// Every live connection that was believed.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    next: u64,
    live: HashMap<u64, Live>,
}

/// One connection, and when it was judged: its expiry stays judged by that time.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) link: WeakLink,
    pub(super) judged_at: UnixTime,
}

/// A place among the connections, given back when it is dropped.
pub(super) struct Place {
    places: Places,
    number: u64,
    _gauge: Gauge,
}

impl Places {
    /// Takes a place. The connection that holds it is made known with [`Places::fill`].
    pub(super) fn take(&self, gauge: Gauge) -> Place {
        let mut table = self.lock();
        table.next += 1;
        let number = table.next;
        drop(table);
        Place {
            places: self.clone(),
            number,
            _gauge: gauge,
        }
    }

    pub(super) fn fill(&self, number: u64, link: &Link, judged_at: UnixTime) {
        let live = Live {
            link: link.downgrade(),
            judged_at,
        };
        self.lock().live.insert(number, live);
    }

    /// Returns who is connected now.
    pub(super) fn live(&self) -> Vec<Live> {
        self.lock().live.values().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        // Nothing panics while it is held, and a table of handles is whole at every moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let removed = self.places.lock().live.remove(&self.number);
        drop(removed);
    }
}
