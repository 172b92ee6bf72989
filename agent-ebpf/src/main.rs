//! The programs of Weir's network data plane.
//!
//! They share the container tables, so they are one object. Built for `bpfel-unknown-none` by
//! `agent/build.rs`; on any other target this is an empty binary, so that the whole workspace can
//! be checked at once.
//!
//! | program | hook | does |
//! | --- | --- | --- |
//! | `uplink_in` | tcx or clsact ingress of each uplink | gives packets from the wire to the container that owns the port |
//! | `container_out` | the same, of the host's end of each container's link | lets out what is the container's own, to the wire, a neighbour or the node |
//! | `container_tx` | egress of a container's own end | sorts what it sends into the classes of its queue |
//! | `container_rx` | egress of the host's end | sorts what it is sent |
//! | `node_loopback` | the same, of the node's `lo` | gives what the node sends to itself to the owner of the port |
//! | `bind4`, `bind6` | cgroup | refuse ports that are not the caller's |
//! | `connect*`, `sendmsg*`, `recvmsg*`, `getpeername*` | cgroup | make 127.0.0.1 and ::1 of the node reach containers |
//! | `tcp_watch` | cgroup sock_ops | round-trip times, retransmits, connections |
//! | `host_rx`, `host_tx` | cgroup_skb of a container in host mode | counts its packets |
//!
//! Return values are those of tcx and of clsact in direct-action mode alike: -1 goes on to the next
//! program and then to the stack, 2 drops.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    target_arch = "bpf",
    allow(
        internal_features,
        reason = "the atomic addition that the kernel has, and core does not"
    )
)]
#![cfg_attr(target_arch = "bpf", feature(core_intrinsics))]

#[cfg(target_arch = "bpf")]
mod network;

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

// The helpers that redirect and look up routes are open to GPL-compatible programs only; the dual
// form is the one the kernel knows for permissively licensed source.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(target_arch = "bpf"))]
fn main() {}
