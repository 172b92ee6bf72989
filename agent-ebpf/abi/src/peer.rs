//! Sockets of the node whose loopback peer was replaced by a container's address.

use crate::Address;

/// What the application had asked for, in the socket's storage.
///
/// Read back by `getpeername(2)` and `recvmsg(2)`, so that the application sees the peer it named.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OriginalPeer {
    /// The loopback address that was asked for.
    pub asked: Address,
    /// The node's address that took its place.
    pub given: Address,
    /// The port, in host byte order.
    pub port: u32,
}

const _: () = assert!(size_of::<OriginalPeer>() == 36);
