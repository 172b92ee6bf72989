//! 127.0.0.1 and ::1 of the node reach containers too.
//!
//! A container's answer to 127.0.0.1 would stay inside the container. So where a process of the
//! node connects or sends to a loopback address and the port is a container's, the address becomes
//! the node's own; `getpeername(2)` and `recvmsg(2)` turn it back. What was asked for is kept with
//! the socket.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::bpf_get_netns_cookie;
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use weir_abi::{Address, ContainerMode, Node, OriginalPeer};

use super::bind::{address4, address6, port, refuse};
use super::maps::{NODE, NODE_COUNTERS, PEERS, is_node_address, owner_of};
use super::verdict;

const EADDRNOTAVAIL: i32 = 99;
const ALLOW: i32 = 1;
const AF_INET: u32 = 2;

/// Makes `connect(2)` to 127.0.0.0/8 reach containers.
#[cgroup_sock_addr(connect4)]
pub(crate) fn connect4(ctx: SockAddrContext) -> i32 {
    redirect(&ctx, address4(&ctx), Family::V4)
}

/// Makes `connect(2)` to ::1, and to mapped loopback addresses, reach containers.
#[cgroup_sock_addr(connect6)]
pub(crate) fn connect6(ctx: SockAddrContext) -> i32 {
    redirect(&ctx, address6(&ctx), Family::V6)
}

/// The same for datagrams without `connect(2)`.
#[cgroup_sock_addr(sendmsg4)]
pub(crate) fn sendmsg4(ctx: SockAddrContext) -> i32 {
    redirect(&ctx, address4(&ctx), Family::V4)
}

/// The same for datagrams without `connect(2)`.
#[cgroup_sock_addr(sendmsg6)]
pub(crate) fn sendmsg6(ctx: SockAddrContext) -> i32 {
    redirect(&ctx, address6(&ctx), Family::V6)
}

/// Names the peer that the application had asked for as the sender of a datagram.
#[cgroup_sock_addr(recvmsg4)]
pub(crate) fn recvmsg4(ctx: SockAddrContext) -> i32 {
    restore(&ctx, address4(&ctx), Family::V4)
}

/// Names the peer that the application had asked for as the sender of a datagram.
#[cgroup_sock_addr(recvmsg6)]
pub(crate) fn recvmsg6(ctx: SockAddrContext) -> i32 {
    restore(&ctx, address6(&ctx), Family::V6)
}

/// Names the peer that the application had asked for.
#[cgroup_sock_addr(getpeername4)]
pub(crate) fn getpeername4(ctx: SockAddrContext) -> i32 {
    restore(&ctx, address4(&ctx), Family::V4)
}

/// Names the peer that the application had asked for.
#[cgroup_sock_addr(getpeername6)]
pub(crate) fn getpeername6(ctx: SockAddrContext) -> i32 {
    restore(&ctx, address6(&ctx), Family::V6)
}

/// The family of the call; a mapped IPv4 address comes in a call of the other one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

/// Returns the node if the calling socket is in the node's own namespace.
#[inline(always)]
fn calling_node(ctx: &SockAddrContext) -> Option<&'static Node> {
    let node = NODE.get(0)?;
    // SAFETY: the context of a hook that knows its socket.
    let cookie = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    if cookie == node.netns_cookie {
        Some(node)
    } else {
        None
    }
}

#[inline(always)]
fn redirect(ctx: &SockAddrContext, asked: Address, family: Family) -> i32 {
    let port = port(ctx);
    let owner = owner_of(port);
    if owner == 0 {
        return ALLOW;
    }
    let Some(node) = calling_node(ctx) else {
        return ALLOW;
    };
    let Some(container) = verdict::container(owner - 1) else {
        return ALLOW;
    };
    // A container in host mode listens on the node's loopback itself.
    if container.mode != ContainerMode::Isolated as u32 {
        return ALLOW;
    }
    // To the kernel, the unspecified address is loopback as well.
    let to_loopback = asked.is_loopback() || asked.is_unspecified();
    if !to_loopback && !is_node_address(node, &asked) {
        return ALLOW;
    }
    // A socket bound to loopback would reach the container with a source that it cannot answer.
    if is_bound_to_loopback(ctx) {
        if let Some(counters) = NODE_COUNTERS.get_ptr_mut(0) {
            // SAFETY: this CPU's value.
            unsafe {
                atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(
                    &raw mut (*counters).connect_refused,
                    1,
                );
            }
        }
        return refuse(EADDRNOTAVAIL);
    }
    if !to_loopback {
        return ALLOW;
    }
    let given = if asked.is_v4() {
        node.primary_v4
    } else {
        node.primary_v6
    };
    // A node without an address of this family: the connection is refused as it would be if
    // nobody listened.
    if given.is_unset() {
        return ALLOW;
    }
    // SAFETY: called with this hook's own context; the value is initialised by the kernel's copy.
    unsafe {
        let mut peer = OriginalPeer {
            asked,
            given,
            port: u32::from(port),
        };
        let kept = PEERS.get_or_insert_ptr_mut(ctx, Some(&mut peer));
        if !kept.is_null() {
            (*kept).asked = asked;
            (*kept).given = given;
            (*kept).port = u32::from(port);
        }
    }
    write(ctx, &given, family);
    ALLOW
}

#[inline(always)]
fn restore(ctx: &SockAddrContext, given: Address, family: Family) -> i32 {
    // SAFETY: called with this hook's own context.
    let kept = unsafe { PEERS.get_ptr_mut(ctx) };
    if kept.is_null() {
        return ALLOW;
    }
    // SAFETY: just checked; the storage lives as long as the socket, which is in this call.
    let peer = unsafe { &*kept };
    if given.same(&peer.given) && u32::from(port(ctx)) == peer.port {
        let asked = peer.asked;
        write(ctx, &asked, family);
    }
    ALLOW
}

/// Returns whether the socket has a loopback address as its source.
#[inline(always)]
fn is_bound_to_loopback(ctx: &SockAddrContext) -> bool {
    // SAFETY: the context's socket, whose fields the verifier lets be read word by word.
    unsafe {
        let sk = (&raw const (*ctx.sock_addr).__bindgen_anon_1.sk).read_volatile();
        if sk.is_null() {
            return false;
        }
        let family = (&raw const (*sk).family).read_volatile();
        if family == AF_INET {
            let source = (&raw const (*sk).src_ip4).read_volatile();
            return Address::from_v4(source).is_loopback();
        }
        let words = (&raw const (*sk).src_ip6).cast::<u32>();
        Address([
            words.read_volatile(),
            words.add(1).read_volatile(),
            words.add(2).read_volatile(),
            words.add(3).read_volatile(),
        ])
        .is_loopback()
    }
}

/// Replaces the address of the call; the port stays.
#[inline(always)]
fn write(ctx: &SockAddrContext, address: &Address, family: Family) {
    // SAFETY: the program's context; these fields may be written at these hooks.
    unsafe {
        match family {
            Family::V4 => (&raw mut (*ctx.sock_addr).user_ip4).write_volatile(address.0[3]),
            Family::V6 => {
                let words = (&raw mut (*ctx.sock_addr).user_ip6).cast::<u32>();
                words.write_volatile(address.0[0]);
                words.add(1).write_volatile(address.0[1]);
                words.add(2).write_volatile(address.0[2]);
                words.add(3).write_volatile(address.0[3]);
            }
        }
    }
}
