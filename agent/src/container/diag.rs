//! The node's TCP sockets, asked of the kernel in one walk over its tables.
//!
//! Every `read(2)` of `/proc/net/tcp` walks hash tables of a quarter of a million buckets, about two
//! milliseconds each, and it takes several; a launch that waits for that spends more time there than
//! anywhere else. This dump walks them once.
//!
//! The kernel also tells which cgroup made a socket: that is how the sockets of containers on the
//! node's own network are told from all others.

use std::collections::BTreeMap;
use std::io;

use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};
use weir_resources::PortRange;

// include/uapi/linux/inet_diag.h and netlink.h. The older request is used because it is answered for
// both families at once.
const TCPDIAG_GETSOCK: u16 = 18;
const REQUEST_BYTES: usize = 60;
const EXTENSIONS_OFFSET: usize = 3;
const STATES_OFFSET: usize = 52;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
/// Where the local port lies in an answer: behind family, state, timer and retransmits.
const SOURCE_PORT: usize = HEADER + 4;
const STATE: usize = HEADER + 1;
/// Where an answer's attributes begin.
const ATTRIBUTES: usize = HEADER + 72;
const TCP_ESTABLISHED: u8 = 1;
const INET_DIAG_REQ_BYTECODE: u16 = 1;
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_CGROUP_ID: u16 = 21;
const INET_DIAG_BC_JMP: u8 = 1;
const INET_DIAG_BC_CGROUP_COND: u8 = 13;
/// Where the smoothed round-trip time lies in `struct tcp_info`, in microseconds.
const TCP_INFO_RTT: usize = 68;

/// The TCP sockets that processes of one cgroup have made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TcpUse {
    /// How many there are, listening ones included, and without those that are only remembered
    /// (TIME_WAIT): these are nobody's any more.
    pub(crate) active: u64,
    /// The smoothed round-trip time of each connection that is open and has one.
    pub(crate) round_trips_us: Vec<u32>,
}

/// Returns the local port of every TCP socket, in whatever state, of the calling thread's network
/// namespace.
pub(super) fn tcp_ports() -> io::Result<Vec<PortRange>> {
    let mut ports = Vec::new();
    dump(&question(0, &[]), |message| {
        // In network byte order; zero is a socket without a port.
        let port = u16::from_be(half(message, SOURCE_PORT)?);
        ports.extend(PortRange::single(port));
        Some(())
    })?;
    Ok(ports)
}

/// Returns the TCP sockets of these cgroups, by their ids, in the calling thread's network namespace.
///
/// The kernel chooses them itself: sockets of others are looked at, and neither locked nor told.
///
/// # Minimum kernel version
///
/// 5.9.
pub(crate) fn tcp_use(cgroups: &[u64]) -> io::Result<BTreeMap<u64, TcpUse>> {
    let mut found: BTreeMap<u64, TcpUse> =
        cgroups.iter().map(|id| (*id, TcpUse::default())).collect();
    if cgroups.is_empty() {
        return Ok(found);
    }
    let information = 1 << (INET_DIAG_INFO - 1);
    dump(&question(information, &filter(cgroups)), |message| {
        let socket = read_socket(message)?;
        if let Some(of_cgroup) = found.get_mut(&socket.cgroup) {
            of_cgroup.active += 1;
            of_cgroup.round_trips_us.extend(socket.round_trip_us);
        }
        Some(())
    })?;
    Ok(found)
}

/// Asks the kernel and hands each socket that it tells of to `take`, which says `None` to a message
/// that is cut short.
fn dump(question: &[u8], mut take: impl FnMut(&[u8]) -> Option<()>) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(question, 0)?;
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        if decode(&bytes, &mut take)? == Answer::Done {
            return Ok(());
        }
    }
}

/// Returns the request for all sockets that pass `filter`, with these extensions.
fn question(extensions: u8, filter: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER + REQUEST_BYTES];
    bytes[4..6].copy_from_slice(&TCPDIAG_GETSOCK.to_ne_bytes());
    bytes[6..8].copy_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    bytes[HEADER + EXTENSIONS_OFFSET] = extensions;
    // Every state: listening, connected, and those that only wait to be forgotten.
    let states = HEADER + STATES_OFFSET;
    bytes[states..states + 4].copy_from_slice(&u32::MAX.to_ne_bytes());
    if !filter.is_empty() {
        let length = u16::try_from(ATTRIBUTE_HEADER + filter.len());
        let length = length.expect("a filter names no more cgroups than there are slots");
        bytes.extend(length.to_ne_bytes());
        bytes.extend(INET_DIAG_REQ_BYTECODE.to_ne_bytes());
        bytes.extend(filter);
    }
    let length = u32::try_from(bytes.len()).expect("a filter is less than 64 KiB");
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    bytes
}

/// Returns the program with which the kernel chooses the sockets of these cgroups, one question after
/// the other: an instruction says how far it is to the next one after a yes and after a no.
///
/// A socket is taken that arrives exactly at the end, and not one that jumps beyond.
fn filter(cgroups: &[u64]) -> Vec<u8> {
    const ASK: usize = 12;
    const JUMP: usize = 4;
    let instruction = |code: u8, yes: usize, no: usize| {
        let yes = u8::try_from(yes).expect("the next instruction is near");
        let no = u16::try_from(no).expect("a filter names no more cgroups than there are slots");
        let [low, high] = no.to_ne_bytes();
        [code, yes, low, high]
    };
    let mut program = Vec::new();
    for (place, id) in cgroups.iter().enumerate() {
        let after = cgroups.len() - place - 1;
        // How long the rest is behind this question and its jump; the last one needs no jump.
        let rest = (after * (ASK + JUMP)).saturating_sub(JUMP);
        let no = ASK + JUMP;
        program.extend(instruction(INET_DIAG_BC_CGROUP_COND, ASK, no));
        program.extend(id.to_ne_bytes());
        if after > 0 {
            program.extend(instruction(INET_DIAG_BC_JMP, JUMP, JUMP + rest));
        }
    }
    program
}

/// What is read of one socket.
struct TcpSocket {
    cgroup: u64,
    round_trip_us: Option<u32>,
}

/// Reads one answer; a socket that has no cgroup any more is in none.
fn read_socket(message: &[u8]) -> Option<TcpSocket> {
    let is_established = *message.get(STATE)? == TCP_ESTABLISHED;
    let mut socket = TcpSocket {
        cgroup: 0,
        round_trip_us: None,
    };
    let mut rest = message.get(ATTRIBUTES..)?;
    while rest.len() >= ATTRIBUTE_HEADER {
        let length = usize::from(half(rest, 0)?);
        let value = rest.get(ATTRIBUTE_HEADER..length)?;
        match half(rest, 2)? {
            INET_DIAG_CGROUP_ID => {
                socket.cgroup = u64::from_ne_bytes(value.try_into().ok()?);
            }
            INET_DIAG_INFO if is_established => {
                // Zero before the first one was measured.
                socket.round_trip_us = word(value, TCP_INFO_RTT).filter(|us| *us > 0);
            }
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(socket)
}

/// Whether the kernel has more to say.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    More,
    Done,
}

/// Reads the messages of one datagram.
fn decode(mut bytes: &[u8], mut take: impl FnMut(&[u8]) -> Option<()>) -> io::Result<Answer> {
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
            TCPDIAG_GETSOCK => take(message).ok_or_else(broken)?,
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

    use weir_sys::cgroup::{Cgroup, find_hierarchy};

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

    /// The cgroup that this process is in.
    fn own_cgroup() -> u64 {
        let text = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let name = text.lines().find_map(|line| line.strip_prefix("0::/"));
        let root = find_hierarchy().expect("this test needs cgroup v2");
        Cgroup::open(&root.join(name.unwrap()))
            .unwrap()
            .id()
            .unwrap()
    }

    #[test]
    fn sockets_are_told_from_those_of_other_cgroups_by_who_made_them() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_server, _) = listener.accept().unwrap();
        let own = own_cgroup();
        // Of nobody: ids count up from one.
        let nobody = u64::MAX;
        for asked in [
            &[own][..],
            &[nobody, own],
            &[own, nobody],
            &[nobody, nobody - 1, own, nobody - 2],
        ] {
            let found = tcp_use(asked).unwrap();
            assert_eq!(found.len(), asked.len());
            // Other tests of this process have sockets as well.
            assert!(found[&own].active >= 3, "{asked:?}: {found:?}");
            assert!(found[&own].round_trips_us.len() >= 2, "{found:?}");
            let others = found.iter().filter(|(id, _)| **id != own);
            for (_, of_others) in others {
                assert_eq!(*of_others, TcpUse::default());
            }
        }
        drop(client);
        assert_eq!(tcp_use(&[nobody]).unwrap()[&nobody], TcpUse::default());
        assert!(tcp_use(&[]).unwrap().is_empty());
    }

    #[test]
    fn the_kernel_takes_a_filter_for_as_many_cgroups_as_there_are_slots() {
        let many: Vec<u64> = (0..u64::from(weir_abi::SLOTS_MAX))
            .map(|number| u64::MAX - number)
            .collect();
        assert_eq!(tcp_use(&many).unwrap().len(), many.len());
    }

    #[test]
    fn any_bytes_are_an_answer_or_an_error() {
        bolero::check!()
            .with_type::<Vec<u8>>()
            .with_iterations(1000)
            .for_each(|bytes| {
                let mut messages = 0;
                let count = |message: &[u8]| {
                    messages += 1;
                    read_socket(message).map(drop)
                };
                drop(decode(bytes, count));
                assert!(messages <= bytes.len() / HEADER);
                // As if it were the attributes of a socket.
                let mut message = vec![0; ATTRIBUTES];
                message[STATE] = TCP_ESTABLISHED;
                message.extend(bytes);
                let _ = read_socket(&message);
            });
    }
}
