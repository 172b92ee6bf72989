//! Frames as they lie on a link: sent and received whole, past the kernel's own stack.
//!
//! What a hostile or broken program could send has to be tried, and no other socket sends it.

use std::ffi::CString;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

/// `PACKET_IGNORE_OUTGOING` of include/uapi/linux/if_packet.h, since 4.20.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

/// A packet socket on one interface: it hears every frame that the interface receives, and none
/// that it sends.
#[derive(Debug)]
pub struct PacketSocket {
    socket: OwnedFd,
}

impl PacketSocket {
    /// Opens a socket on an interface of the calling thread's network namespace.
    ///
    /// Needs `CAP_NET_RAW` there. Reading never waits: see [`PacketSocket::receive`].
    pub fn open(interface: &str) -> io::Result<Self> {
        let name = CString::new(interface)
            .map_err(|source| io::Error::new(io::ErrorKind::InvalidInput, source))?;
        let index = nix::net::if_::if_nametoindex(name.as_c_str())?;
        // With no protocol it hears nothing yet, so nothing of another interface either.
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            None,
        )?;
        let yes: libc::c_int = 1;
        // SAFETY: the socket is open; the kernel reads as many bytes as an int has, from an int.
        let failed = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                PACKET_IGNORE_OUTGOING,
                (&raw const yes).cast(),
                length_of::<libc::c_int>(),
            )
        };
        if failed != 0 {
            return Err(io::Error::last_os_error());
        }
        let address = libc::sockaddr_ll {
            sll_family: u16::try_from(libc::AF_PACKET).expect("address families are small"),
            // Kept by `nix` as the kernel wants it, in network byte order.
            sll_protocol: u16::try_from(SockProtocol::EthAll as libc::c_int)
                .expect("an EtherType has sixteen bits"),
            sll_ifindex: i32::try_from(index).map_err(io::Error::other)?,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        // SAFETY: the socket is open; the kernel reads a whole `sockaddr_ll` from one.
        let failed = unsafe {
            libc::bind(
                socket.as_raw_fd(),
                (&raw const address).cast(),
                length_of::<libc::sockaddr_ll>(),
            )
        };
        if failed != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { socket })
    }

    /// Sends a frame, Ethernet header and all.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let sent = nix::unistd::write(&self.socket, frame)?;
        if sent == frame.len() {
            Ok(())
        } else {
            Err(io::Error::new(
                io::ErrorKind::WriteZero,
                format!("{sent} of {} bytes of a frame were sent", frame.len()),
            ))
        }
    }

    /// Receives one frame into `buffer` and returns its length; `WouldBlock` where there is none.
    ///
    /// What does not fit is cut off.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(nix::unistd::read(&self.socket, buffer)?)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).expect("the structs of sockets are small")
}
