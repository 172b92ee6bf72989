//! Name resolution for containers on nodes whose resolver listens on a loopback address.
//!
//! A container has a loopback of its own, so `nameserver 127.0.0.53` would lead nowhere. The relay listens on exactly
//! those addresses inside the container's network namespace, and passes every query on to the same address in the node's:
//!
//! ```text
//!  container's namespace          executor           node's namespace
//!  127.0.0.53:53  udp, tcp  ◀──▶  this relay  ◀──▶  127.0.0.53:53
//! ```
//!
//! It is part of the executor's one poll loop. It understands nothing of what it passes on; every query has a socket and
//! so a source port of its own, as it would have without the relay.

mod tcp;
mod udp;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags};

use self::tcp::Connections;
use self::udp::Queries;

/// Where name servers listen.
const DNS_PORT: u16 = 53;

/// As many as the C library asks (`MAXNS` in `resolv.h`).
const SERVERS_MAX: usize = 3;

/// Listens inside one container and asks outside of it.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    listeners: Vec<Listener>,
    queries: Queries,
    connections: Connections,
}

/// One address of a name server, inside the container.
#[derive(Debug)]
struct Listener {
    server: SocketAddr,
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Relay {
    /// Listens for each of `servers` in the network namespace that the process is in at the moment.
    ///
    /// A server that cannot be listened for is given back with the reason; the others work.
    pub(crate) fn listen(servers: &[IpAddr]) -> (Self, Vec<(IpAddr, io::Error)>) {
        let mut relay = Self::default();
        let mut failed = vec![];
        for server in servers {
            match Listener::new(SocketAddr::new(*server, DNS_PORT)) {
                Ok(listener) => relay.listeners.push(listener),
                Err(error) => failed.push((*server, error)),
            }
        }
        (relay, failed)
    }

    /// Adds what it waits for, in an order that [`handle_ready`](Self::handle_ready) relies on.
    pub(crate) fn add_interest<'a>(&'a self, descriptors: &mut Vec<PollFd<'a>>) {
        for listener in &self.listeners {
            // What cannot be taken now stays with the kernel, which has a bound of its own.
            descriptors.push(wait(&listener.udp, self.queries.has_room()));
            descriptors.push(wait(&listener.tcp, self.connections.has_room()));
        }
        self.queries.add_interest(descriptors);
        self.connections.add_interest(descriptors);
    }

    /// Moves what can be moved; `ready` answers what [`add_interest`](Self::add_interest) added.
    pub(crate) fn handle_ready(&mut self, ready: &[PollFlags], buffer: &mut Vec<u8>, now: Instant) {
        let (listening, rest) = ready.split_at(self.listeners.len() * 2);
        let (querying, connected) = rest.split_at(self.queries.count());
        self.connections.handle_ready(connected, buffer, now);
        self.queries
            .handle_ready(querying, &self.listeners, buffer, now);
        for (index, (listener, ready)) in self
            .listeners
            .iter()
            .zip(listening.chunks_exact(2))
            .enumerate()
        {
            if !ready[0].is_empty() {
                self.queries.accept(index, listener, buffer, now);
            }
            if !ready[1].is_empty() {
                self.connections.accept(listener, now);
            }
        }
    }

    /// Returns when something has to be given up even if nothing happens.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.queries
            .next_deadline()
            .into_iter()
            .chain(self.connections.next_deadline())
            .min()
    }
}

impl Listener {
    fn new(server: SocketAddr) -> io::Result<Self> {
        let udp = UdpSocket::bind(server)?;
        udp.set_nonblocking(true)?;
        let tcp = TcpListener::bind(server)?;
        tcp.set_nonblocking(true)?;
        Ok(Self { server, udp, tcp })
    }
}

fn wait(socket: &impl std::os::fd::AsFd, wanted: bool) -> PollFd<'_> {
    PollFd::new(
        socket.as_fd(),
        if wanted {
            PollFlags::POLLIN
        } else {
            PollFlags::empty()
        },
    )
}

/// Returns the name servers of a `resolv.conf` that only the node itself can reach.
pub(crate) fn loopback_servers(configuration: &str) -> Vec<IpAddr> {
    let mut servers = vec![];
    for line in configuration.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some("nameserver"), Some(address)) = (words.next(), words.next()) else {
            continue;
        };
        if let Ok(address) = address.parse::<IpAddr>()
            && address.is_loopback()
            && !servers.contains(&address)
        {
            servers.push(address);
        }
    }
    servers.truncate(SERVERS_MAX);
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_servers_are_relayed_and_each_once() {
        let configuration = "# stub\nnameserver 127.0.0.53\nnameserver\t::1 \noptions edns0\nnameserver 10.0.0.1\n nameserver 127.0.0.53\nsearch a b\nnameserver nonsense\nnameserver";
        let expected: Vec<IpAddr> = vec!["127.0.0.53".parse().unwrap(), "::1".parse().unwrap()];
        assert_eq!(loopback_servers(configuration), expected);
        assert!(loopback_servers("").is_empty());
    }
}
