//! What the allocator gives.

use weir_protocol::{AgentId, FrameworkId};
use weir_resources::{Kind, Resources};

/// Resources of one kind of one agent that a framework is to be offered.
///
/// They are written down as held by it until they are recovered or declined, whatever becomes of the
/// offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who gets them.
    pub framework: FrameworkId,
    /// Where they are.
    pub agent: AgentId,
    /// Regular and revocable resources are never in one grant, so that to rescind the ones leaves the
    /// others.
    pub kind: Kind,
    /// Everything of the kind that is free there, and that the framework may have.
    pub resources: Resources,
}
