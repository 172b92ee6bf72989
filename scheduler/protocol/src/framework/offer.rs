//! Offers, and for how long what was refused is not offered again.

use std::net::IpAddr;
use std::sync::Arc;

use weir_resources::{Attributes, Kind, Resources};

use crate::id::{AgentId, AgentName, OfferId};
use crate::resource::VolumeSizes;
use crate::text::Line;
use crate::time::Millis;

/// Resources of one agent, lent to one framework until it answers.
///
/// Clones are cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its name, used once.
    pub id: OfferId,
    /// Whose resources these are.
    pub agent: AgentId,
    /// The agent's name.
    pub agent_name: AgentName,
    /// The node's name in the network.
    pub hostname: Line,
    /// The node's addresses.
    pub addresses: Arc<[IpAddr]>,
    /// What else there is to know about the node.
    pub attributes: Attributes,
    /// What is offered, all of one kind.
    pub resources: Resources,
    /// Whether it can be taken back while it is used.
    pub kind: Kind,
    /// How long it stays from when it was made, or `None` until it is used or rescinded.
    pub expires_after: Option<Millis>,
    /// Whether volumes of this agent can grow beyond their size.
    pub volume_sizes: VolumeSizes,
}

/// For how long resources that were refused are not offered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filters {
    /// 0: for as short as the scheduler allows.
    pub refuse: Millis,
}

impl Default for Filters {
    /// Mesos' five seconds.
    fn default() -> Self {
        Self {
            refuse: Millis(5_000),
        }
    }
}
