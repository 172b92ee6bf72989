//! What agents say of their resources; the algebra itself is in weir-resources.

mod estimate;
mod port_blocks;
mod read;
mod set;
mod size;
mod write;

pub use estimate::{Estimate, EstimateError};
pub use port_blocks::PortBlocks;
pub use set::{ResourceSet, ResourceSetError, SetVersion, VolumeSizes};
pub use size::{Oversize, check_size};

pub(crate) use read::{
    addresses, attributes, create, destroy, labels, own_resources, reserve, resources, unreserve,
};
pub(crate) use write::{address_texts, attribute_list, label_list, resource_list};
