//! Containers in host mode: counted at their cgroup, because they have no link.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::helpers::generated::bpf_skb_cgroup_id;
use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;

use super::maps::CGROUPS;
use super::verdict::{self, Direction};

const PASS: i32 = 1;

/// Counts what a container in host mode receives. Attached to its own cgroup.
#[cgroup_skb(ingress)]
pub(crate) fn host_rx(ctx: SkBuffContext) -> i32 {
    count(&ctx, Direction::ToContainer)
}

/// Counts what a container in host mode sends. Attached to its own cgroup.
#[cgroup_skb(egress)]
pub(crate) fn host_tx(ctx: SkBuffContext) -> i32 {
    count(&ctx, Direction::FromContainer)
}

#[inline(always)]
fn count(ctx: &SkBuffContext, direction: Direction) -> i32 {
    let skb = ctx.skb.skb;
    // SAFETY: the program's context; the value is copied at once.
    let slot = unsafe { CGROUPS.get(bpf_skb_cgroup_id(skb)) }.copied();
    let Some(counters) = slot.and_then(verdict::counters) else {
        return PASS;
    };
    // SAFETY: `skb` is the program's context; `counters` is this CPU's value. Atomic, unlike at an
    // interface: a task that sends can be preempted here by another that does.
    unsafe {
        let (packets, bytes) = match direction {
            Direction::ToContainer => (
                &raw mut (*counters).rx_packets,
                &raw mut (*counters).rx_bytes,
            ),
            Direction::FromContainer => (
                &raw mut (*counters).tx_packets,
                &raw mut (*counters).tx_bytes,
            ),
        };
        let (frames, length) = verdict::size_of(skb);
        atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(packets, frames);
        atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(bytes, length);
    }
    PASS
}
