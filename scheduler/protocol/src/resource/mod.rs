//! What agents say of their resources; the algebra itself is in weir-resources.

mod attribute;
mod estimate;
mod port_blocks;
mod set;

pub use attribute::{Attribute, AttributeName, AttributeValue, Attributes, AttributesError};
pub use estimate::{Estimate, EstimateError};
pub use port_blocks::PortBlocks;
pub use set::{NotCheckpointed, ResourceSet, SetVersion, VolumeSizes};
