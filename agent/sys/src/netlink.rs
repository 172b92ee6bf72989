//! Rtnetlink: requests that are answered, dumps, and news of changes.
//!
//! Synchronous on purpose: the kernel answers within microseconds, a container's namespace is set
//! up by a thread that lives inside it, and a socket belongs for ever to the namespace that it was
//! opened in.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// The largest datagram that the kernel sends in a dump is 32 KiB; events are smaller.
const BUFFER_BYTES: usize = 64 * 1024;

/// How often a dump is taken again because the tables changed under it.
const DUMP_TRIES: u32 = 8;

/// Says why the kernel did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket itself failed.
    #[error("cannot {what} a netlink socket")]
    Socket {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The kernel refused the request.
    #[error("the kernel refused to {what}")]
    Refused {
        /// What was asked.
        what: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// An answer that cannot be read.
    #[error("cannot read the kernel's answer to: {what}")]
    Decode {
        /// What was asked.
        what: String,
        /// Where the answer is broken.
        #[source]
        source: netlink_packet_core::DecodeError,
    },
    /// The tables changed each time that they were read.
    #[error(
        "the kernel's tables changed {DUMP_TRIES} times while they were read to {what}; try again"
    )]
    Unstable {
        /// What was asked.
        what: String,
    },
}

impl NetlinkError {
    /// Returns the error number that the kernel refused the request with.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } | Self::Socket { source, .. } => source.raw_os_error(),
            Self::Decode { .. } | Self::Unstable { .. } => None,
        }
    }

    /// Returns whether the request failed because there is no such object (any more).
    pub fn is_gone(&self) -> bool {
        matches!(
            self.errno(),
            Some(libc::ENODEV | libc::ENOENT | libc::ESRCH | libc::EADDRNOTAVAIL)
        )
    }

    /// Returns whether the request failed because the object is there already.
    pub fn is_present(&self) -> bool {
        self.errno() == Some(libc::EEXIST)
    }
}

/// A socket for requests, in the namespace of the thread that opened it.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> Result<Self, NetlinkError> {
        let socket = |what| move |source| NetlinkError::Socket { what, source };
        let mut netlink = Socket::new(NETLINK_ROUTE).map_err(socket("open"))?;
        netlink.bind_auto().map_err(socket("bind"))?;
        netlink
            .connect(&SocketAddr::new(0, 0))
            .map_err(socket("connect"))?;
        // The answer then leaves out the request, which would not fit beside a long one. Older
        // kernels repeat it, which does no harm.
        netlink.set_cap_ack(true).unwrap_or_default();
        Ok(Self {
            socket: netlink,
            sequence: 0,
            buffer: Vec::with_capacity(BUFFER_BYTES),
        })
    }

    /// Sends a request and waits for the kernel's yes or no.
    ///
    /// `what` completes "the kernel refused to …" in the error.
    pub fn execute(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        what: impl FnOnce() -> String,
    ) -> Result<(), NetlinkError> {
        self.send(message, NLM_F_REQUEST | NLM_F_ACK | flags)?;
        let mut answers = Vec::new();
        match self.receive(&mut answers) {
            Ok(_) => Ok(()),
            Err(failure) => Err(failure.name(what())),
        }
    }

    /// Reads a whole table.
    pub fn dump(
        &mut self,
        message: RouteNetlinkMessage,
        what: &str,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        for _ in 0..DUMP_TRIES {
            self.send(message.clone(), NLM_F_REQUEST | NLM_F_DUMP)?;
            let mut answers = Vec::new();
            match self.receive(&mut answers) {
                Ok(Consistency::Whole) => return Ok(answers),
                Ok(Consistency::Torn) => {}
                Err(failure) => return Err(failure.name(what.to_owned())),
            }
        }
        Err(NetlinkError::Unstable {
            what: what.to_owned(),
        })
    }

    /// Asks for one object.
    pub fn get(
        &mut self,
        message: RouteNetlinkMessage,
        what: impl FnOnce() -> String,
    ) -> Result<Option<RouteNetlinkMessage>, NetlinkError> {
        self.send(message, NLM_F_REQUEST | NLM_F_ACK)?;
        let mut answers = Vec::new();
        match self.receive(&mut answers) {
            Ok(_) => Ok(answers.pop()),
            Err(failure) => Err(failure.name(what())),
        }
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<(), NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        self.socket
            .send(&bytes, 0)
            .map_err(|source| NetlinkError::Socket {
                what: "send to",
                source,
            })?;
        Ok(())
    }

    /// Reads answers to the last request until the kernel says that it is done.
    fn receive(&mut self, answers: &mut Vec<RouteNetlinkMessage>) -> Result<Consistency, Failure> {
        let mut consistency = Consistency::Whole;
        loop {
            self.buffer.clear();
            let length = self
                .socket
                .recv(&mut self.buffer, 0)
                .map_err(Failure::Receive)?;
            let mut offset = 0;
            while offset < length {
                let packet = NetlinkMessage::<RouteNetlinkMessage>::deserialize(
                    &self.buffer[offset..length],
                )
                .map_err(Failure::Decode)?;
                // A message's length is at least its header's, so this ends.
                offset += (packet.header.length as usize).next_multiple_of(4).max(16);
                // An answer to a request that was given up on.
                if packet.header.sequence_number != self.sequence {
                    continue;
                }
                if packet.header.flags & NLM_F_DUMP_INTR != 0 {
                    consistency = Consistency::Torn;
                }
                match packet.payload {
                    NetlinkPayload::Done(_) => return Ok(consistency),
                    NetlinkPayload::Error(error) => {
                        return match error.code {
                            None => Ok(consistency),
                            Some(_) => Err(Failure::Refused(error.to_io())),
                        };
                    }
                    NetlinkPayload::InnerMessage(message) => answers.push(message),
                    NetlinkPayload::Noop | NetlinkPayload::Overrun(_) => {}
                    // The enum may grow; what is unknown answers nothing.
                    _ => {}
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Consistency {
    Whole,
    /// The table changed while it was read.
    Torn,
}

enum Failure {
    Receive(io::Error),
    Refused(io::Error),
    Decode(netlink_packet_core::DecodeError),
}

impl Failure {
    fn name(self, what: String) -> NetlinkError {
        match self {
            Self::Receive(source) => NetlinkError::Socket {
                what: "receive from",
                source,
            },
            Self::Refused(source) => NetlinkError::Refused { what, source },
            Self::Decode(source) => NetlinkError::Decode { what, source },
        }
    }
}

/// A socket that tells of changes, in the namespace of the thread that opened it.
#[derive(Debug)]
pub struct NetlinkEvents {
    socket: Socket,
    buffer: Vec<u8>,
}

/// What a read of the events found.
#[derive(Debug)]
pub enum News {
    /// These changed.
    Changed(Vec<RouteNetlinkMessage>),
    /// More changed than the socket could hold: everything has to be read again.
    Lost,
}

impl NetlinkEvents {
    /// Subscribes to changes of links, addresses and routes.
    pub fn open() -> Result<Self, NetlinkError> {
        let socket = |what| move |source| NetlinkError::Socket { what, source };
        let mut netlink = Socket::new(NETLINK_ROUTE).map_err(socket("open"))?;
        netlink.bind_auto().map_err(socket("bind"))?;
        for group in [
            libc::RTNLGRP_LINK,
            libc::RTNLGRP_IPV4_IFADDR,
            libc::RTNLGRP_IPV6_IFADDR,
            libc::RTNLGRP_IPV4_ROUTE,
            libc::RTNLGRP_IPV6_ROUTE,
            libc::RTNLGRP_IPV4_RULE,
            libc::RTNLGRP_IPV6_RULE,
        ] {
            netlink.add_membership(group).map_err(socket("subscribe"))?;
        }
        netlink
            .set_non_blocking(true)
            .map_err(socket("configure"))?;
        Ok(Self {
            socket: netlink,
            buffer: Vec::with_capacity(BUFFER_BYTES),
        })
    }

    /// Returns what changed since the last call; without waiting.
    pub fn read(&mut self) -> Result<News, NetlinkError> {
        let mut changed = Vec::new();
        loop {
            self.buffer.clear();
            let length = match self.socket.recv(&mut self.buffer, 0) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(News::Changed(changed));
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(News::Lost),
                Err(source) => {
                    return Err(NetlinkError::Socket {
                        what: "receive from",
                        source,
                    });
                }
            };
            let mut offset = 0;
            while offset < length {
                // What cannot be read may have been anything.
                let Ok(packet) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(
                    &self.buffer[offset..length],
                ) else {
                    return Ok(News::Lost);
                };
                offset += (packet.header.length as usize).next_multiple_of(4).max(16);
                if let NetlinkPayload::InnerMessage(message) = packet.payload {
                    changed.push(message);
                }
            }
        }
    }
}

impl AsFd for NetlinkEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket is open as long as `self` is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.socket.as_raw_fd()) }
    }
}

impl AsRawFd for NetlinkEvents {
    fn as_raw_fd(&self) -> i32 {
        self.socket.as_raw_fd()
    }
}
