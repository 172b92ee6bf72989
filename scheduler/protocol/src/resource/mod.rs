//! What agents say of their resources; the algebra itself is in weir-resources.

mod estimate;
mod port_blocks;
mod read;
mod set;
mod write;

pub use estimate::{Estimate, EstimateError};
pub use port_blocks::PortBlocks;
pub use set::{NotCheckpointed, ResourceSet, SetVersion, VolumeSizes};

pub(crate) use read::{
    addresses, attributes, create, destroy, labels, reserve, resources, unreserve,
    unreserved_or_static,
};
pub(crate) use write::{address_texts, attribute_list, label_list, resource_list};
