//! Containers in host mode: counted at their cgroup, because they have no link.

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
    if let Some(slot) = slot {
        verdict::count(skb, slot, direction);
    }
    PASS
}
