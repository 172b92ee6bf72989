//! Containers that are held to a rate: their packets are sorted where they meet a queue.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{
    bpf_get_hash_recalc, bpf_ktime_get_ns, bpf_skb_ecn_set_ce, bpf_tcp_sock,
};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use weir_abi::{
    CONTAINER_IFINDEX_FIRST, DELAY_BUCKETS, DELAY_MASK, DELAY_SHIFT, FLOW_SETS, InFlight, Lane,
    LaneCounters, LaneState, Slot, Sorted, TICK_SHIFT, delay_bucket, uplink_class,
};

use super::maps::{FLOWS, LANE_COUNTERS, LANE_STATES, LANES, VETHS};
use super::pure_ack::{PURE_ACK_MAX, is_pure_ack};
use super::verdict::{DROP, NEXT};

/// Sorts what a container sends, before it meets the queue of its own link. Attached to the egress of `eth0`, inside of the container
/// and out of its reach.
#[classifier]
pub(crate) fn container_tx(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    // SAFETY: `skb` is the program's context.
    let ifindex = unsafe { (&raw const (*skb).ifindex).read_volatile() };
    let slot = ifindex.wrapping_sub(CONTAINER_IFINDEX_FIRST);
    match sort(skb, egress_of(slot)) {
        Some(Verdict::Queue(sorted, now)) => {
            leave_note(skb, sorted, now);
            NEXT
        }
        Some(Verdict::Drop) => DROP,
        None => NEXT,
    }
}

/// Sorts what a container is sent, before it meets the queue of the host's end of its link. Attached to the egress of that.
#[classifier]
pub(crate) fn container_rx(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    // SAFETY: `skb` is the program's context.
    let ifindex = unsafe { (&raw const (*skb).ifindex).read_volatile() };
    // SAFETY: the value is copied at once.
    let Some(slot) = (unsafe { VETHS.get(ifindex) }).copied() else {
        return NEXT;
    };
    match sort(skb, ingress_of(slot)) {
        Some(Verdict::Drop) => DROP,
        Some(Verdict::Queue(..)) | None => NEXT,
    }
}

/// Returns the lane of what a container sends.
#[inline(always)]
pub(super) const fn egress_of(slot: Slot) -> u32 {
    slot.wrapping_mul(2)
}

/// Returns the lane of what a container receives.
#[inline(always)]
const fn ingress_of(slot: Slot) -> u32 {
    slot.wrapping_mul(2) + 1
}

/// What becomes of a packet that was sorted.
enum Verdict {
    /// It is queued as that, at that time.
    Queue(Sorted, u64),
    /// It is dropped, so that its sender goes slower.
    Drop,
}

/// Sorts a packet into a class of its lane's queue; nothing where the lane is not sorted.
#[inline(always)]
fn sort(skb: *mut __sk_buff, index: u32) -> Option<Verdict> {
    let lane = LANES.get(index)?;
    if !lane.is_sorted() {
        return None;
    }
    let state = LANE_STATES.get_ptr_mut(index)?;
    let counters = LANE_COUNTERS.get_ptr_mut(index)?;
    // SAFETY: the context is this program's. The length is that of all segments with their headers, as queues count it.
    let (hash, length, now) = unsafe {
        (
            bpf_get_hash_recalc(skb),
            (&raw const (*skb).wire_len).read_volatile(),
            bpf_ktime_get_ns() >> TICK_SHIFT,
        )
    };
    let set = FLOWS.get_value_ptr_mut(index, &(hash & (FLOW_SETS - 1)))?;
    // SAFETY: entries of maps, which live as long as the program runs. Other CPUs write them as well; every value is valid.
    let (state, set) = unsafe { (&mut *state, &mut *set) };
    let place = state.sort(lane, set, hash, length, now, || in_flight(skb));
    let (mut sorted, mut class) = (place.sorted, place.class);
    if !matches!(sorted, Sorted::Sparse) {
        if may_go_first(skb, state, lane, length) {
            sorted = Sorted::Sparse;
            class = lane.class;
        } else if state.is_signal(lane, now) && signal(skb, lane, counters) {
            state.forget(length);
            return Some(Verdict::Drop);
        }
    }
    count(counters, sorted, length);
    // SAFETY: a field of the context that programs at this hook may write.
    unsafe { (&raw mut (*skb).priority).write_volatile(class) };
    Some(Verdict::Queue(sorted, now))
}

/// The largest frame that is dropped to tell its sender something, in segments.
const SEGMENTS_MAX: u32 = 4;

/// Asks the socket of a packet, if it is one of TCP on this node.
#[inline(always)]
fn in_flight(skb: *mut __sk_buff) -> InFlight {
    // SAFETY: the context is this program's; what it and the helper return is looked at only where it is something.
    unsafe {
        let socket = (&raw const (*skb).__bindgen_anon_2.sk).read_volatile();
        if socket.is_null() {
            return InFlight::Unknown;
        }
        let tcp = bpf_tcp_sock(socket);
        if tcp.is_null() {
            return InFlight::Unknown;
        }
        if (&raw const (*tcp).packets_out).read_volatile() == 0 {
            InFlight::Nothing
        } else {
            InFlight::Something
        }
    }
}

/// Tells the sender of a packet to go slower, and returns whether that takes its loss.
#[inline(always)]
fn signal(skb: *mut __sk_buff, lane: &Lane, counters: *mut LaneCounters) -> bool {
    // SAFETY: the context is this program's, the counters are an entry of a map.
    unsafe {
        if bpf_skb_ecn_set_ce(skb) == 1 {
            add(&raw mut (*counters).marked_packets, 1);
            return false;
        }
        // Whose socket is known stops when it is full. And one large frame is not one loss, but that of a flow's whole window.
        let segments = (&raw const (*skb).gso_segs).read_volatile();
        let has_socket = !(&raw const (*skb).__bindgen_anon_2.sk)
            .read_volatile()
            .is_null();
        if lane.flags & Lane::DROPS == 0 || has_socket || segments > SEGMENTS_MAX {
            return false;
        }
        add(&raw mut (*counters).dropped_packets, 1);
        true
    }
}

#[inline(always)]
fn may_go_first(skb: *mut __sk_buff, state: &mut LaneState, lane: &Lane, length: u32) -> bool {
    length <= PURE_ACK_MAX && is_pure_ack(skb) != 0 && state.admit_ack(lane, length)
}

#[inline(always)]
fn count(counters: *mut LaneCounters, sorted: Sorted, length: u32) {
    // SAFETY: an entry of a map. Atomic: other CPUs add as well.
    unsafe {
        if matches!(sorted, Sorted::Sparse) {
            add(&raw mut (*counters).sparse_packets, 1);
            add(&raw mut (*counters).sparse_bytes, u64::from(length));
            return;
        }
        add(&raw mut (*counters).bulk_packets, 1);
        add(&raw mut (*counters).bulk_bytes, u64::from(length));
        if matches!(sorted, Sorted::Demoted) {
            add(&raw mut (*counters).demoted_packets, 1);
        }
    }
}

/// # Safety
///
/// `counter` is inside of a map's entry.
#[inline(always)]
unsafe fn add(counter: *mut u64, amount: u64) {
    // SAFETY: as the caller says.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, amount) };
}

/// Writes on a packet what it was sorted to, and when. `tc_index` is the one field that a packet keeps on its way through a link.
#[inline(always)]
fn leave_note(skb: *mut __sk_buff, sorted: Sorted, now: u64) {
    let is_bulk = u32::from(!matches!(sorted, Sorted::Sparse));
    let units = (now >> DELAY_SHIFT) as u32 & DELAY_MASK;
    // SAFETY: a field of the context that programs at this hook may write.
    unsafe { (&raw mut (*skb).tc_index).write_volatile(units << 1 | is_bulk) };
}

/// Puts a packet that goes to the wire into its container's class there.
#[inline(always)]
pub(super) fn share(skb: *mut __sk_buff, slot: Slot, is_bulk: bool) {
    let index = egress_of(slot);
    let (Some(lane), Some(state)) = (LANES.get(index), LANE_STATES.get_ptr_mut(index)) else {
        return;
    };
    // SAFETY: the context is this program's, the rest are entries of maps.
    unsafe {
        let length = (&raw const (*skb).wire_len).read_volatile();
        let now = bpf_ktime_get_ns() >> TICK_SHIFT;
        let goes_first = (*state).share(lane, length, is_bulk, now);
        let class = uplink_class(slot) + if goes_first { 0 } else { 1 };
        (&raw mut (*skb).priority).write_volatile(class);
    }
}

/// Reads what [`leave_note`] wrote: counts how long the packet has waited, and returns whether it is bulk.
#[inline(always)]
pub(super) fn read_note(skb: *mut __sk_buff, slot: Slot) -> bool {
    let index = egress_of(slot);
    let (Some(state), Some(counters)) = (
        LANE_STATES.get_ptr_mut(index),
        LANE_COUNTERS.get_ptr_mut(index),
    ) else {
        return false;
    };
    // SAFETY: the context is this program's, the rest are entries of maps.
    unsafe {
        let note = (&raw const (*skb).tc_index).read_volatile();
        let now = (bpf_ktime_get_ns() >> (TICK_SHIFT + DELAY_SHIFT)) as u32;
        let units = now.wrapping_sub(note >> 1) & DELAY_MASK;
        let is_bulk = note & 1 != 0;
        if is_bulk {
            let measured = units << DELAY_SHIFT;
            let former = (*state).delay;
            let fading = former - former / 8;
            (*state).delay = if measured > fading { measured } else { fading };
        }
        // Read back, so that the compiler does not know what the verifier has to be shown: that the bucket is there.
        let bucket = u64::from(delay_bucket(units));
        let bucket = (&raw const bucket).read_volatile();
        let bucket = if bucket < DELAY_BUCKETS as u64 {
            bucket as usize
        } else {
            0
        };
        add((&raw mut (*counters).delays).cast::<u64>().add(bucket), 1);
        add(
            &raw mut (*counters).delay_ticks,
            u64::from(units << DELAY_SHIFT),
        );
        is_bulk
    }
}
