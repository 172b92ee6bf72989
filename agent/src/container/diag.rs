//! The node's TCP sockets, asked of the kernel in one walk over its tables.
//!
//! Every `read(2)` of `/proc/net/tcp` walks hash tables of a quarter of a million buckets, about two
//! milliseconds each, and it takes several; a launch that waits for that spends more time there than
//! anywhere else. This dump walks them once.

use std::io;

use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};
use weir_resources::PortRange;

// include/uapi/linux/inet_diag.h and netlink.h. The older request is used because it is answered for
// both families at once.
const TCPDIAG_GETSOCK: u16 = 18;
const REQUEST_BYTES: usize = 60;
const STATES_OFFSET: usize = 52;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const HEADER: usize = 16;
/// Where the local port lies in an answer: behind family, state, timer and retransmits.
const SOURCE_PORT: usize = HEADER + 4;

/// Returns the local port of every TCP socket, in whatever state, of the calling thread's network
/// namespace.
pub(super) fn tcp_ports() -> io::Result<Vec<PortRange>> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&question(), 0)?;
    let mut ports = Vec::new();
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        if decode(&bytes, &mut ports)? == Answer::Done {
            return Ok(ports);
        }
    }
}

fn question() -> Vec<u8> {
    let length = u32::try_from(HEADER + REQUEST_BYTES).expect("seventy-six bytes");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(TCPDIAG_GETSOCK.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    bytes.resize(HEADER + REQUEST_BYTES, 0);
    // Every state: listening, connected, and those that only wait to be forgotten.
    let states = HEADER + STATES_OFFSET;
    bytes[states..states + 4].copy_from_slice(&u32::MAX.to_ne_bytes());
    bytes
}

/// Whether the kernel has more to say.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    More,
    Done,
}

/// Reads the messages of one datagram.
fn decode(mut bytes: &[u8], ports: &mut Vec<PortRange>) -> io::Result<Answer> {
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "an answer that is cut short");
    while bytes.len() >= HEADER {
        let length = word(bytes, 0).and_then(|length| usize::try_from(length).ok());
        let length = length
            .filter(|length| (HEADER..=bytes.len()).contains(length))
            .ok_or_else(broken)?;
        let (message, rest) = bytes.split_at(length);
        bytes = rest
            .get(length.next_multiple_of(4) - length..)
            .unwrap_or_default();
        match half(message, 4).ok_or_else(broken)? {
            NLMSG_DONE => return Ok(Answer::Done),
            NLMSG_ERROR => {
                let code = word(message, HEADER).ok_or_else(broken)?.cast_signed();
                return Err(io::Error::from_raw_os_error(code.saturating_neg()));
            }
            TCPDIAG_GETSOCK => {
                // In network byte order; zero is a socket without a port.
                let port = u16::from_be(half(message, SOURCE_PORT).ok_or_else(broken)?);
                ports.extend(PortRange::single(port));
            }
            _ => {}
        }
    }
    Ok(Answer::More)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn sockets_of_both_families_and_all_states_are_seen() {
        let listeners = ["127.0.0.1:0", "[::1]:0"].map(|a| TcpListener::bind(a).unwrap());
        let client = TcpStream::connect(listeners[0].local_addr().unwrap()).unwrap();
        let (server, _) = listeners[0].accept().unwrap();
        // Closed on this side first: what is left waits in TIME_WAIT.
        let waiting = client.local_addr().unwrap().port();
        drop(client);
        drop(server);
        let ports = tcp_ports().unwrap();
        let has = |port| ports.iter().any(|range| range.first() == port);
        assert!(has(listeners[0].local_addr().unwrap().port()));
        assert!(has(listeners[1].local_addr().unwrap().port()));
        assert!(has(waiting));
    }

    #[test]
    fn any_bytes_are_an_answer_or_an_error() {
        bolero::check!()
            .with_type::<Vec<u8>>()
            .with_iterations(1000)
            .for_each(|bytes| {
                let mut ports = Vec::new();
                drop(decode(bytes, &mut ports));
                assert!(ports.len() <= bytes.len() / HEADER);
            });
    }
}
