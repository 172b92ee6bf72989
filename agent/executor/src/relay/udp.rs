//! Queries by datagram: one in, one out, or forgotten.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use super::{Listener, wait};

/// How many queries of one container may be under way: each holds a socket of the node.
const QUERIES_MAX: usize = 64;

/// How long an answer may take; the C library asks again after as long.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The longest datagram.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;

/// The queries that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Queries(Vec<Query>);

#[derive(Debug)]
struct Query {
    listener: usize,
    client: SocketAddr,
    upstream: UdpSocket,
    deadline: Instant,
}

impl Queries {
    pub(super) fn has_room(&self) -> bool {
        self.0.len() < QUERIES_MAX
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn add_interest<'a>(&'a self, descriptors: &mut Vec<PollFd<'a>>) {
        descriptors.extend(self.0.iter().map(|query| wait(&query.upstream, true)));
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.0.iter().map(|query| query.deadline).min()
    }

    /// Passes on the queries that wait at `listener`.
    pub(super) fn accept(
        &mut self,
        index: usize,
        listener: &Listener,
        buffer: &mut Vec<u8>,
        now: Instant,
    ) {
        buffer.resize(DATAGRAM_BYTES_MAX, 0);
        while self.has_room() {
            let Ok((length, client)) = listener.udp.recv_from(buffer) else {
                return;
            };
            // A query that cannot be passed on is like one that got lost on the way: it is asked again.
            if let Ok(upstream) = ask(listener.server, &buffer[..length]) {
                self.0.push(Query {
                    listener: index,
                    client,
                    upstream,
                    deadline: now + ANSWER_WITHIN,
                });
            }
        }
    }

    /// Passes back the answers that are there, and forgets what has taken too long.
    pub(super) fn handle_ready(
        &mut self,
        ready: &[PollFlags],
        listeners: &[Listener],
        buffer: &mut Vec<u8>,
        now: Instant,
    ) {
        buffer.resize(DATAGRAM_BYTES_MAX, 0);
        let mut ready = ready.iter();
        self.0.retain(|query| {
            if ready.next().is_none_or(|flags| flags.is_empty()) {
                return query.deadline > now;
            }
            match query.upstream.recv(buffer) {
                Ok(length) => {
                    let _lost = listeners[query.listener]
                        .udp
                        .send_to(&buffer[..length], query.client);
                    false
                }
                Err(error) => error.kind() == io::ErrorKind::WouldBlock && query.deadline > now,
            }
        });
    }
}

fn ask(server: SocketAddr, query: &[u8]) -> io::Result<UdpSocket> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    // Connected, so that nobody but the server can answer.
    socket.connect(server)?;
    socket.send(query)?;
    Ok(socket)
}
