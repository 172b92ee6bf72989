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
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, Shutdown, TcpStream};
    use std::time::Duration;

    use nix::poll::{PollTimeout, poll};

    use super::*;

    #[test]
    fn only_loopback_servers_are_relayed_and_each_once() {
        let configuration = "# stub\nnameserver 127.0.0.53\nnameserver\t::1 \noptions edns0\nnameserver 10.0.0.1\n nameserver 127.0.0.53\nsearch a b\nnameserver nonsense\nnameserver";
        let expected: Vec<IpAddr> = vec!["127.0.0.53".parse().unwrap(), "::1".parse().unwrap()];
        assert_eq!(loopback_servers(configuration), expected);
        assert!(loopback_servers("").is_empty());
    }

    #[test]
    fn any_text_names_a_few_loopback_addresses_at_most() {
        const PIECES: [&str; 10] = [
            "nameserver",
            " ",
            "\t",
            "\n",
            "127.0.0.53",
            "::1",
            "127.0.0.1",
            "10.0.0.1",
            "127.1.2.3",
            "#",
        ];
        bolero::check!()
            .with_type::<(String, Vec<u8>)>()
            .with_iterations(1000)
            .for_each(|(text, choices)| {
                let pieces = choices.iter().map(|b| PIECES[usize::from(b % 10)]);
                let likely: String = pieces.collect();
                for text in [text, &likely] {
                    let servers = loopback_servers(text);
                    assert!(servers.len() <= SERVERS_MAX);
                    assert!(servers.iter().all(IpAddr::is_loopback));
                    // What is printed reads back, and so each is there once.
                    let printed: String = servers
                        .iter()
                        .map(|s| format!("nameserver {s}\n"))
                        .collect();
                    assert_eq!(loopback_servers(&printed), servers, "{text:?}");
                }
            });
    }

    /// A relay for a server of this test, and where its clients are to ask.
    fn relay_for(server: SocketAddr) -> (Relay, SocketAddr, SocketAddr) {
        let inside = || SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut listener = Listener::new(inside()).unwrap();
        listener.server = server;
        let udp = listener.udp.local_addr().unwrap();
        let tcp = listener.tcp.local_addr().unwrap();
        let relay = Relay {
            listeners: vec![listener],
            ..Relay::default()
        };
        (relay, udp, tcp)
    }

    /// Waits as the executor does, and moves what can be moved.
    fn turn(relay: &mut Relay) {
        let mut descriptors = vec![];
        relay.add_interest(&mut descriptors);
        poll(&mut descriptors, PollTimeout::from(100_u8)).unwrap();
        let ready: Vec<PollFlags> = descriptors
            .iter()
            .map(|descriptor| descriptor.revents().unwrap())
            .collect();
        relay.handle_ready(&ready, &mut vec![], Instant::now());
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn any_datagram_passes_as_it_is_and_so_does_its_answer() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        for socket in [&server, &client] {
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        bolero::check!()
            .with_type::<(Vec<u8>, Vec<u8>)>()
            .with_iterations(100)
            .for_each(|(query, answer)| {
                let (mut relay, udp, _) = relay_for(server.local_addr().unwrap());
                let mut buffer = [0; 65536];
                client.send_to(query, udp).unwrap();
                turn(&mut relay);
                let (length, asker) = server.recv_from(&mut buffer).unwrap();
                assert_eq!(&buffer[..length], query.as_slice());
                server.send_to(answer, asker).unwrap();
                turn(&mut relay);
                let (length, answerer) = client.recv_from(&mut buffer).unwrap();
                assert_eq!(&buffer[..length], answer.as_slice());
                assert_eq!(answerer, udp);
                assert_eq!(relay.next_deadline(), None, "the query is forgotten");
            });
    }

    #[test]
    fn any_bytes_of_a_connection_pass_as_they_are_in_both_directions() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let exchange = |mut stream: TcpStream, bytes: &[u8]| {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(bytes).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut heard = vec![];
            stream.read_to_end(&mut heard).unwrap();
            heard
        };
        bolero::check!()
            .with_type::<(Vec<u8>, Vec<u8>, u8)>()
            .with_iterations(50)
            .for_each(|(query, answer, times)| {
                let (mut relay, _, tcp) = relay_for(server.local_addr().unwrap());
                // More than the relay holds at once, now and then.
                let query = query.repeat(usize::from(*times) * 4);
                std::thread::scope(|scope| {
                    let asked = scope.spawn(|| exchange(TcpStream::connect(tcp).unwrap(), &query));
                    let answered = scope.spawn(|| exchange(server.accept().unwrap().0, answer));
                    let deadline = Instant::now() + PATIENCE;
                    while !(asked.is_finished() && answered.is_finished()) {
                        assert!(Instant::now() < deadline, "the relay holds something back");
                        turn(&mut relay);
                    }
                    assert_eq!(asked.join().unwrap(), *answer);
                    assert_eq!(answered.join().unwrap(), query);
                });
            });
    }
}
