//! What the programs know of one container.

/// The index of a container in every per-container map, below [`SLOTS_MAX`].
pub type Slot = u32;

/// The most containers of one node: the size of every per-container map.
pub const SLOTS_MAX: u32 = 1024;

/// What the `PORTS` map holds for a port that no container owns. An owned port holds the owner's
/// slot plus one.
pub const OWNER_NONE: u32 = 0;

/// One container, in the `CONTAINERS` map under its slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// The host's end of the container's link; zero for a container without one.
    pub veth_ifindex: u32,
    /// A [`ContainerMode`] as a number.
    pub mode: u32,
    /// The first port of the container's ephemeral block; owned echo identifiers are taken from
    /// the same block.
    pub ephemeral_first: u16,
    /// The number of ports in the ephemeral block: a power of two.
    pub ephemeral_count: u16,
    /// What of its packets is held to a rate: [`Container::EGRESS`], [`Container::SHARED`], [`Container::INGRESS`].
    pub held: u32,
}

const _: () = assert!(size_of::<Container>() == 16);

impl Container {
    /// What it sends is sorted on its own link.
    pub const EGRESS: u32 = 1;
    /// What it sends to the wire has a class of its own there.
    pub const SHARED: u32 = 2;
    /// What it receives passes through a queue of its own.
    pub const INGRESS: u32 = 4;
}

/// How a container is joined to the node's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ContainerMode {
    /// The slot is free.
    Free = 0,
    /// A network namespace of its own, joined by a veth pair.
    Isolated = 1,
    /// The node's own namespace: ports are enforced at bind, nothing is redirected.
    Host = 2,
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, no padding (asserted above), every bit pattern is valid.
unsafe impl aya::Pod for Container {}
