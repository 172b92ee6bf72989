//! What the parts of the data plane tell each other beside requests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::node::InsideView;
use crate::container::{ContainerId, NetworkCapacity};

/// What others may read of the owner's state.
#[derive(Default)]
pub(super) struct Shared {
    /// Whether something could not be brought up to date, and has to be tried again.
    is_behind: AtomicBool,
    inside: Mutex<Arc<InsideView>>,
    containers: Mutex<BTreeMap<u32, ContainerId>>,
    followed: Mutex<Followed>,
    capacity: Mutex<Option<NetworkCapacity>>,
    /// The uplinks that are divided, by index.
    divided: Mutex<Vec<u32>>,
}

/// How fast the node's changes reached the containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// How many changes there were; a burst is one.
    pub changes: u64,
    /// What they took together, each from the first news of it until every container had it.
    pub took: Duration,
    /// What the slowest took.
    pub longest: Duration,
}

impl Shared {
    /// Returns whether something could not be brought up to date with the node.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }

    pub(super) fn set_behind(&self, is_behind: bool) {
        self.is_behind.store(is_behind, Ordering::Relaxed);
    }

    /// Returns how fast the node's changes reached the containers.
    pub(super) fn followed(&self) -> Followed {
        *self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a change that every container has.
    pub(super) fn add_followed(&self, took: Duration) {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.changes += 1;
        followed.took += took;
        followed.longest = followed.longest.max(took);
    }

    /// Returns what of the network can be divided.
    pub(super) fn capacity(&self) -> NetworkCapacity {
        let capacity = self.capacity.lock().unwrap_or_else(PoisonError::into_inner);
        capacity.clone().unwrap_or_else(|| {
            let unknown = "the data plane has not looked at the node yet".to_owned();
            NetworkCapacity {
                egress_min: Err(unknown.clone()),
                egress_max: Err(unknown.clone()),
                ingress_max: Err(unknown),
            }
        })
    }

    pub(super) fn set_capacity(&self, capacity: NetworkCapacity) {
        *self.capacity.lock().unwrap_or_else(PoisonError::into_inner) = Some(capacity);
    }

    /// Returns the uplinks that are divided, by index.
    pub(super) fn divided(&self) -> Vec<u32> {
        let divided = self.divided.lock().unwrap_or_else(PoisonError::into_inner);
        divided.clone()
    }

    pub(super) fn set_divided(&self, uplinks: &[u32]) {
        let mut divided = self.divided.lock().unwrap_or_else(PoisonError::into_inner);
        divided.clear();
        divided.extend_from_slice(uplinks);
    }

    /// Returns what a new namespace is to look like.
    pub(super) fn inside(&self) -> Arc<InsideView> {
        Arc::clone(&self.inside.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns which container is in a slot.
    pub(super) fn container(&self, slot: u32) -> Option<ContainerId> {
        self.containers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&slot)
            .cloned()
    }

    pub(super) fn set_inside(&self, inside: &InsideView) {
        *self.inside.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(inside.clone());
    }

    pub(super) fn set_container(&self, slot: u32, container: Option<ContainerId>) {
        let mut containers = self
            .containers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match container {
            Some(container) => containers.insert(slot, container),
            None => containers.remove(&slot),
        };
    }
}
