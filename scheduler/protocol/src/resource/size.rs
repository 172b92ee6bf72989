//! How long a list of resources is on the wire.

use prost::Message;
use weir_resources::{Resources, Value};

use crate::bounds::{PARTS_MAX, RESOURCES_BYTES_MAX, RESOURCES_MAX};
use crate::wire;

/// Says that a list of resources is longer than peers take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Oversize {
    /// More entries than the bound.
    #[error("{count} entries of resources are too many; at most {max}")]
    Entries {
        /// How many.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// More ranges or items in one value than the bound.
    #[error("{count} ranges or items of one resource are too many; at most {max}")]
    Parts {
        /// How many.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// More bytes than the bound.
    #[error("resources of {bytes} bytes on the wire are too long; at most {max}")]
    Bytes {
        /// How many.
        bytes: usize,
        /// How many there may be.
        max: usize,
    },
}

/// Returns nothing if peers take the resources as one list: as an offer, or as what a task holds.
///
/// What frameworks take in many small pieces leaves a ragged rest, so whoever divides resources asks
/// before it promises to send them.
pub fn check_size(resources: &Resources) -> Result<(), Oversize> {
    check_size_within(resources, RESOURCES_MAX, RESOURCES_BYTES_MAX)
}

/// Returns nothing if the resources are at most so many entries and bytes.
pub(super) fn check_size_within(
    resources: &Resources,
    entries_max: usize,
    bytes_max: usize,
) -> Result<(), Oversize> {
    if resources.len() > entries_max {
        return Err(Oversize::Entries {
            count: resources.len(),
            max: entries_max,
        });
    }
    let parts = resources.iter().map(|entry| match entry.value() {
        Value::Scalar(_) => 1,
        Value::Ranges(ranges) => ranges.ranges().len(),
        Value::Set(set) => set.items().len(),
    });
    if let Some(count) = parts.max().filter(|count| *count > PARTS_MAX) {
        return Err(Oversize::Parts {
            count,
            max: PARTS_MAX,
        });
    }
    let sizes = resources
        .iter()
        .map(|entry| wire::Resource::from(entry).encoded_len());
    let bytes = sizes.sum();
    if bytes > bytes_max {
        return Err(Oversize::Bytes {
            bytes,
            max: bytes_max,
        });
    }
    Ok(())
}
