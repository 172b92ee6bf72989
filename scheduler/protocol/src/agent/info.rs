//! What an agent says of its node.

use std::net::IpAddr;
use std::sync::Arc;

use weir_resources::{Attributes, Resources};

use crate::id::AgentName;
use crate::resource::VolumeSizes;
use crate::text::Line;

/// What an agent says of its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentInfo {
    /// The name in its certificate.
    pub name: AgentName,
    /// The node's name in the network.
    pub hostname: Line,
    /// The node's addresses.
    pub addresses: Arc<[IpAddr]>,
    /// What else there is to know about the node.
    pub attributes: Attributes,
    /// All that it has before any operation: unreserved and statically reserved, nothing revocable.
    pub resources: Resources,
    /// Whether volumes can grow beyond their size.
    pub volume_sizes: VolumeSizes,
}
