//! TCP as the kernel sees it: round-trip times, retransmits, connections.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::bpf_get_netns_cookie;
use aya_ebpf::macros::sock_ops;
use aya_ebpf::programs::SockOpsContext;
use weir_abi::{RTT_BUCKETS, Slot, bucket_of};

use super::maps::{NAMESPACES, RTTS};
use super::verdict;

// include/uapi/linux/bpf.h
const TCP_CONNECT_CB: u32 = 3;
const ACTIVE_ESTABLISHED_CB: u32 = 4;
const PASSIVE_ESTABLISHED_CB: u32 = 5;
const RETRANS_CB: u32 = 9;
const STATE_CB: u32 = 10;
const RTT_CB: u32 = 12;
const RETRANS_CB_FLAG: i32 = 1 << 1;
const STATE_CB_FLAG: i32 = 1 << 2;
const RTT_CB_FLAG: i32 = 1 << 3;
const TCP_SYN_SENT: u32 = 2;
const TCP_CLOSE: u32 = 7;

/// Watches the TCP sockets of containers. Attached to the cgroup above all of them; a socket is its
/// namespace's container's, whoever holds it.
#[sock_ops]
pub(crate) fn tcp_watch(ctx: SockOpsContext) -> u32 {
    let op = ctx.op();
    match op {
        TCP_CONNECT_CB => {
            // From here on, so that a connection that never comes about is seen to fail.
            let _ = ctx.set_cb_flags(RETRANS_CB_FLAG | STATE_CB_FLAG | RTT_CB_FLAG);
        }
        ACTIVE_ESTABLISHED_CB => {
            if let Some(counters) = slot(&ctx).and_then(verdict::counters) {
                // SAFETY: this CPU's value; these hooks run with bottom halves off.
                unsafe { (*counters).tcp_connects += 1 };
            }
        }
        PASSIVE_ESTABLISHED_CB => {
            let _ = ctx.set_cb_flags(RETRANS_CB_FLAG | RTT_CB_FLAG);
            if let Some(counters) = slot(&ctx).and_then(verdict::counters) {
                // SAFETY: as above.
                unsafe { (*counters).tcp_accepts += 1 };
            }
        }
        RETRANS_CB => {
            let segments = ctx.arg(1);
            if let Some(counters) = slot(&ctx).and_then(verdict::counters) {
                // SAFETY: as above.
                unsafe {
                    (*counters).tcp_retransmits +=
                        u64::from(if segments > 1 { segments } else { 1 });
                };
            }
        }
        STATE_CB => {
            if ctx.arg(0) == TCP_SYN_SENT
                && ctx.arg(1) == TCP_CLOSE
                && let Some(counters) = slot(&ctx).and_then(verdict::counters)
            {
                // SAFETY: as above.
                unsafe { (*counters).tcp_connect_failures += 1 };
            }
        }
        RTT_CB => round_trip(&ctx),
        _ => {}
    }
    1
}

#[inline(always)]
fn slot(ctx: &SockOpsContext) -> Option<Slot> {
    // SAFETY: the context of a hook that knows its socket; the value is copied at once.
    unsafe { NAMESPACES.get(bpf_get_netns_cookie(ctx.as_ptr())) }.copied()
}

#[inline(always)]
fn round_trip(ctx: &SockOpsContext) {
    let Some(slot) = slot(ctx) else { return };
    // SAFETY: the program's context. The smoothed time is kept in eighths of a microsecond.
    let us = unsafe { (&raw const (*ctx.ops).srtt_us).read_volatile() } >> 3;
    let Some(histogram) = RTTS.get_ptr_mut(slot) else {
        return;
    };
    // The verifier has to see the bound, and the compiler would leave out a check that it can prove.
    let bucket = core::hint::black_box(bucket_of(us)) as usize;
    if bucket < RTT_BUCKETS {
        // SAFETY: this CPU's value; the index was just checked.
        unsafe {
            *(&raw mut (*histogram).buckets).cast::<u64>().add(bucket) += 1;
            (*histogram).sum_us += u64::from(us);
        }
    }
}
