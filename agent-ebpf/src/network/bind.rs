//! `bind(2)`: a port that is not the caller's is refused at once, not found out by silence.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::{
    bpf_get_current_cgroup_id, bpf_get_netns_cookie, bpf_set_retval,
};
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use weir_abi::{Address, ContainerMode, Event, Slot};

use super::maps::{CGROUPS, NAMESPACES, NODE, NODE_COUNTERS, kernel, owner_of};
use super::verdict;

const EACCES: i32 = 13;
const EADDRINUSE: i32 = 98;
const IPPROTO_ICMP: u32 = 1;
const IPPROTO_ICMPV6: u32 = 58;
const SOCK_RAW: u32 = 3;

/// The call goes on.
const ALLOW: i32 = 1;
/// The call goes on, and a port below 1024 needs no capability.
const ALLOW_PRIVILEGED: i32 = 3;
const REFUSE: i32 = 0;

/// Decides about `bind(2)` of an IPv4 address.
#[cgroup_sock_addr(bind4)]
pub(crate) fn bind4(ctx: SockAddrContext) -> i32 {
    let address = address4(&ctx);
    decide(&ctx, &address)
}

/// Decides about `bind(2)` of an IPv6 address, which may be a mapped IPv4 one.
#[cgroup_sock_addr(bind6)]
pub(crate) fn bind6(ctx: SockAddrContext) -> i32 {
    let address = address6(&ctx);
    decide(&ctx, &address)
}

/// Returns the IPv4 address of the call.
#[inline(always)]
pub(super) fn address4(ctx: &SockAddrContext) -> Address {
    // SAFETY: the program's context. Volatile, here and below: the verifier refuses accesses that
    // the compiler has merged into one through a computed pointer.
    Address::from_v4(unsafe { (&raw const (*ctx.sock_addr).user_ip4).read_volatile() })
}

/// Returns the IPv6 address of the call.
#[inline(always)]
pub(super) fn address6(ctx: &SockAddrContext) -> Address {
    // SAFETY: as above.
    unsafe {
        let words = (&raw const (*ctx.sock_addr).user_ip6).cast::<u32>();
        Address([
            words.read_volatile(),
            words.add(1).read_volatile(),
            words.add(2).read_volatile(),
            words.add(3).read_volatile(),
        ])
    }
}

/// Returns the port of the call in host byte order.
#[inline(always)]
pub(super) fn port(ctx: &SockAddrContext) -> u16 {
    // SAFETY: as above.
    u16::from_be(unsafe { (&raw const (*ctx.sock_addr).user_port).read_volatile() } as u16)
}

/// Refuses the call with an error number; with EPERM where the kernel knows no other.
#[inline(always)]
pub(super) fn refuse(error: i32) -> i32 {
    if kernel::has_set_retval() {
        // SAFETY: the helper has no conditions at this hook.
        unsafe { bpf_set_retval(-error) };
    }
    REFUSE
}

#[inline(always)]
fn decide(ctx: &SockAddrContext, address: &Address) -> i32 {
    let port = port(ctx);
    // The kernel chooses, from a range that is the caller's own.
    if port == 0 {
        return ALLOW;
    }
    // SAFETY: the program's context.
    let (protocol, kind) = unsafe {
        (
            (&raw const (*ctx.sock_addr).protocol).read_volatile(),
            (&raw const (*ctx.sock_addr).type_).read_volatile(),
        )
    };
    // For these the number is no port: an echo identifier, a protocol.
    if protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6 || kind == SOCK_RAW {
        return ALLOW;
    }
    let Some(node) = NODE.get(0) else {
        return ALLOW;
    };
    // SAFETY: the context of a hook that knows its socket.
    let cookie = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    let owner = owner_of(port);

    if cookie == node.netns_cookie {
        // SAFETY: the helper has no conditions; the value is copied at once.
        let caller = unsafe { CGROUPS.get(bpf_get_current_cgroup_id()) }.copied();
        return match caller {
            // A container in host mode: its own ports, and loopback where nobody owns the port.
            Some(slot) if owner == slot + 1 => ALLOW_PRIVILEGED,
            Some(slot) if owner == 0 && address.is_loopback() => {
                let _ = slot;
                ALLOW
            }
            Some(slot) => refused(slot, address, port, EACCES),
            None if owner != 0 => {
                count_node_refusal();
                refuse(EADDRINUSE)
            }
            None => ALLOW,
        };
    }
    // SAFETY: the value is copied at once.
    let Some(slot) = (unsafe { NAMESPACES.get(cookie) }).copied() else {
        // Somebody else's namespace.
        return ALLOW;
    };
    // The container's loopback is its own, every port of it.
    if owner == slot + 1 || address.is_loopback() {
        return ALLOW;
    }
    refused(slot, address, port, EACCES)
}

/// Refuses a container's call, counts it and tells it.
#[inline(always)]
fn refused(slot: Slot, address: &Address, port: u16, error: i32) -> i32 {
    if let Some(counters) = verdict::counters(slot) {
        // SAFETY: this CPU's value. Atomic, because a task that binds can be preempted by another
        // that does.
        unsafe {
            atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(
                &raw mut (*counters).bind_refused,
                1,
            );
        }
    }
    if verdict::due(slot, Event::BIND_PACE) {
        verdict::tell(&Event {
            at_ns: 0,
            slot,
            reason: Event::BIND_REFUSED,
            source: *address,
            destination: Address([0; 4]),
            source_port: port,
            destination_port: 0,
            protocol: 0,
            inbound: 0,
            reserved: 0,
        });
    }
    refuse(error)
}

#[inline(always)]
fn count_node_refusal() {
    if let Some(counters) = NODE_COUNTERS.get_ptr_mut(0) {
        // SAFETY: as above.
        unsafe {
            atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(
                &raw mut (*counters).bind_refused,
                1,
            );
        }
    }
}

// The slot of a container in host mode is checked by its mode only where packets are redirected.
const _: () = assert!(ContainerMode::Host as u32 == 2);
