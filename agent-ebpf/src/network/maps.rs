//! The maps. All but the ring buffer's consumers are pinned by the agent under these names.
//!
//! Everything a packet looks up is an array or a hash that the agent alone writes; what programs
//! write is per CPU, or an array in which each container has its own part. No program takes a lock
//! that another container can hold.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::btf_maps::{
    Array, ArrayOfMaps, HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf, SkStorage,
};
use aya_ebpf::macros::btf_map;
use weir_abi::{
    Address, Container, Counters, DropReason, EchoEntry, Event, FLOW_SETS, FlowSet, FragmentEntry,
    FragmentKey, Lane, LaneCounters, LaneState, Node, NodeCounters, OriginalPeer, RttHistogram,
    SLOTS_MAX, Slot, Uplink,
};

use super::next_hop::{NEXT_HOPS_PER_CPU, NextHop};

/// The node itself, under key zero.
#[btf_map]
pub(super) static NODE: Array<Node, 1> = Array::new();

/// Port → owner: the slot plus one, or [`weir_abi::OWNER_NONE`]. The agent writes it through a
/// memory mapping, a thousand ports at a time.
#[btf_map]
pub(super) static PORTS: Array<u32, 65536, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Slot → container.
#[btf_map]
pub(super) static CONTAINERS: Array<Container, { SLOTS_MAX as usize }> = Array::new();

/// Index of the host's end of a link → slot.
#[btf_map]
pub(super) static VETHS: HashMap<u32, Slot, { SLOTS_MAX as usize }> = HashMap::new();

/// Cookie of a container's network namespace → slot.
#[btf_map]
pub(super) static NAMESPACES: HashMap<u64, Slot, { SLOTS_MAX as usize }> = HashMap::new();

/// Id of a container's cgroup → slot, for containers in host mode.
#[btf_map]
pub(super) static CGROUPS: HashMap<u64, Slot, { SLOTS_MAX as usize }> = HashMap::new();

/// The node's own addresses. Presence is all that counts.
#[btf_map]
pub(super) static ADDRESSES: HashMap<Address, u32, 1024> = HashMap::new();

/// Interface index → uplink.
#[btf_map]
pub(super) static UPLINKS: HashMap<u32, Uplink, 64> = HashMap::new();

/// Where flows go, for a moment; see [`super::next_hop`]. Pinned only so that all maps are.
#[btf_map]
pub(super) static NEXT_HOPS: PerCpuArray<NextHop, { NEXT_HOPS_PER_CPU as usize }> =
    PerCpuArray::new();

/// Echo requests under way, a part per container.
#[btf_map]
pub(super) static ECHOES: Array<EchoEntry, { (SLOTS_MAX * EchoEntry::PER_SLOT) as usize }> =
    Array::new();

/// Fragmented packets that containers are sending, a part per container.
#[btf_map]
pub(super) static FRAGMENTS_OUT: Array<
    FragmentEntry,
    { (SLOTS_MAX * FragmentEntry::PER_SLOT) as usize },
> = Array::new();

/// Fragmented packets from the wire or the node on their way to a container. The oldest give way.
#[btf_map]
pub(super) static FRAGMENTS_IN: LruHashMap<FragmentKey, Slot, 8192> = LruHashMap::new();

/// Counters per container.
#[btf_map]
pub(super) static COUNTERS: PerCpuArray<Counters, { SLOTS_MAX as usize }> = PerCpuArray::new();

/// Counters of the node, under key zero.
#[btf_map]
pub(super) static NODE_COUNTERS: PerCpuArray<NodeCounters, 1> = PerCpuArray::new();

/// TCP round-trip times per container. A hash, because a histogram per CPU for every slot there
/// could be would take a hundred megabytes on a large machine.
#[btf_map]
pub(super) static RTTS: PerCpuHashMap<
    Slot,
    RttHistogram,
    { SLOTS_MAX as usize },
    { BPF_F_NO_PREALLOC as usize },
> = PerCpuHashMap::new();

/// Slot × direction → what the container is held to.
#[btf_map]
pub(super) static LANES: Array<Lane, { LANES_MAX as usize }> = Array::new();

/// Slot × direction → what passes now.
#[btf_map]
pub(super) static LANE_STATES: Array<LaneState, { LANES_MAX as usize }> = Array::new();

/// Slot × direction → what has passed.
#[btf_map]
pub(super) static LANE_COUNTERS: Array<LaneCounters, { LANES_MAX as usize }> = Array::new();

/// Slot × direction → the flows of the lane. The agent makes a table for each lane that is sorted: 32 KiB.
#[btf_map]
pub(super) static FLOWS: ArrayOfMaps<
    Array<FlowSet, { FLOW_SETS as usize }>,
    { LANES_MAX as usize },
> = ArrayOfMaps::new();

/// The lanes of all containers: what each sends, what each receives.
const LANES_MAX: u32 = 2 * SLOTS_MAX;

/// When the last event of a container and reason was sent.
#[btf_map]
pub(super) static EVENT_PACE: Array<u64, { SLOTS_MAX as usize * PACE_PER_SLOT as usize }> =
    Array::new();

/// Entries of [`EVENT_PACE`] per container: the reasons and the refused bind, rounded up.
pub(super) const PACE_PER_SLOT: u32 = 32;
const _: () = assert!(DropReason::COUNT < PACE_PER_SLOT as usize);

/// Refused packets and calls, at a limited rate.
#[btf_map]
pub(super) static EVENTS: RingBuf<Event, 262_144> = RingBuf::new();

/// The peer that a socket of the node had asked for.
#[btf_map]
pub(super) static PEERS: SkStorage<OriginalPeer> = SkStorage::new();

/// What this kernel can do, set once when the programs are loaded.
pub(super) mod kernel {
    /// Whether `bpf_set_retval` may be called from `bind` and `connect` hooks (since 6.1).
    #[unsafe(no_mangle)]
    static HAS_SET_RETVAL: u32 = 0;

    #[inline(always)]
    pub(crate) fn has_set_retval() -> bool {
        // SAFETY: a constant of this object; volatile, because the loader sets it.
        unsafe { (&raw const HAS_SET_RETVAL).read_volatile() != 0 }
    }
}

/// Returns the owner of a port: slot plus one, or zero.
#[inline(always)]
pub(super) fn owner_of(port: u16) -> u32 {
    PORTS
        .get(u32::from(port))
        .copied()
        .unwrap_or(weir_abi::OWNER_NONE)
}

/// Returns whether this is an address of the node.
///
/// Nearly every packet carries the first address, which costs a comparison instead of a hash.
#[inline(always)]
pub(super) fn is_node_address(node: &Node, address: &Address) -> bool {
    if address.same(&node.primary_v4) || address.same(&node.primary_v6) {
        return !address.is_unset();
    }
    ADDRESSES.get_ptr(address).is_some()
}
