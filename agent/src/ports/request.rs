//! What a container asks for.

use std::num::NonZeroU16;

use weir_resources::PortSet;

/// The ports that one container asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRequest {
    /// The ports it serves on.
    pub assigned: Assigned,
    /// The ports its own connections start from.
    pub ephemeral: Ephemeral,
    /// What becomes of ports that rest.
    pub quarantined: Quarantined,
}

/// Whether ports in quarantine may be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quarantined {
    /// No: late packets of their last owner are still under way.
    Refused,
    /// Yes, where there are no others: whoever asks was promised them. The scheduler offers what a task
    /// gave back at once, as Mesos does, and counts blocks without asking how they are.
    Taken,
}

/// How a container names the ports it serves on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assigned {
    /// None: it only opens connections.
    None,
    /// These and no others. They may be below 1024 where the pool lists them.
    Explicit(PortSet),
    /// So many, wherever they are: one run if one is long enough. Never below 1024, where a number
    /// means a service.
    Count(NonZeroU16),
}

/// Whether a container gets an ephemeral block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ephemeral {
    /// One block of the configured size, for a container with a network namespace of its own.
    Block,
    /// None: the container shares the node's namespace, and the node's own ephemeral ports.
    None,
}
