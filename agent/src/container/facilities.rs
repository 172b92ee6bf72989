//! What containers need of the rest of the agent.

use std::error::Error;
use std::future::Future;
use std::os::fd::OwnedFd;

use weir_executor::spec::NetworkMode;
use weir_resources::{BitRate, PortRange, PortSet};

use super::bandwidth::Bandwidth;
use super::id::{ContainerId, Slot};

/// Joins containers to the node's network.
///
/// Every call may be repeated: after a crash the same container is attached or detached again.
pub trait ContainerNetwork: Send + Sync + 'static {
    /// What a namespace is remembered by until it is attached.
    type Made: Send + 'static;

    /// Creates the namespace and the link of an isolated container; nothing for one on the node's own
    /// network. Nobody can reach it yet, and it goes when what is returned is dropped.
    fn prepare(
        &self,
        container: &ContainerId,
        slot: Slot,
        mode: NetworkMode,
        ephemeral: Option<PortRange>,
    ) -> impl Future<Output = Result<Prepared<Self::Made>, NetworkFault>> + Send;

    /// Joins a container to the node: from here on it is judged, reached and counted. Processes may be
    /// inside by then, waiting.
    fn attach(
        &self,
        attachment: Attachment,
        made: Self::Made,
    ) -> impl Future<Output = Result<(), NetworkFault>> + Send;

    /// Makes the kernel agree that the container owns `ports` beside its ephemeral block.
    fn update_ports(
        &self,
        slot: Slot,
        ports: &PortSet,
    ) -> impl Future<Output = Result<(), NetworkFault>> + Send;

    /// Makes the kernel hold a container to `bandwidth`. No connection breaks; the first queue that it gets may cost a packet.
    fn update_bandwidth(
        &self,
        slot: Slot,
        bandwidth: &Bandwidth,
    ) -> impl Future<Output = Result<(), NetworkFault>> + Send;

    /// Returns what of the network can be divided on this node now.
    fn capacity(&self) -> NetworkCapacity;

    /// Takes everything of the slot away; fine when nothing is there.
    fn detach(&self, slot: Slot) -> impl Future<Output = Result<(), NetworkFault>> + Send;

    /// Takes over what a former agent left: keeps or restores the entries of each container that
    /// lives, and collects all others.
    ///
    /// Called once, before any other call.
    fn recover(
        &self,
        live: Vec<LiveAttachment>,
    ) -> impl Future<Output = Result<(), NetworkFault>> + Send;

    /// Gives the node its network back, where no container is left.
    ///
    /// Called once, after the last other call, and only when no container runs.
    fn stop_if_unused(&self) -> impl Future<Output = Result<(), NetworkFault>> + Send;
}

/// One container, as the network sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// For messages and link names.
    pub container: ContainerId,
    /// The index in every map.
    pub slot: Slot,
    /// A namespace of its own or the node's.
    pub mode: NetworkMode,
    /// The ports that were asked for.
    pub ports: PortSet,
    /// The block for outgoing connections; none on the node's own network, which has its range.
    pub ephemeral: Option<PortRange>,
    /// What it may use of the network.
    pub bandwidth: Bandwidth,
    /// The inode of the directory of the cgroup that the task runs in.
    pub cgroup_id: u64,
}

/// What of the network can be divided. Where something cannot be, it is told why, as the rest of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkCapacity {
    /// What the minima of all containers may be together; what the node keeps is not in it.
    pub egress_min: Result<BitRate, String>,
    /// Whether a container can be held to the most that it sends.
    pub egress_max: Result<(), String>,
    /// Whether a container can be held to the most that it receives.
    pub ingress_max: Result<(), String>,
}

/// What the network made for a container.
#[derive(Debug)]
pub struct Prepared<M> {
    /// The container's namespace, which lives as long as someone holds it; none on the node's own
    /// network.
    pub netns: Option<OwnedFd>,
    /// For [`ContainerNetwork::attach`].
    pub made: M,
}

/// A container that outlived the former agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveAttachment {
    /// As it was attached.
    pub attachment: Attachment,
    /// A process inside: its `/proc/<pid>/ns/net` is the container's namespace.
    pub init_pid: u32,
}

/// Says why the network could not do something for a container.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct NetworkFault {
    /// What failed, on which object.
    pub what: String,
    /// What the operator can do about it.
    pub remedy: String,
    /// What the kernel said.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}
