//! Queries by connection: bytes both ways until both sides have closed.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket};

use super::Listener;

/// How many connections of one container may be under way: each holds two sockets of the node.
const CONNECTIONS_MAX: usize = 16;

/// How long a connection may be silent.
const SILENT_FOR: Duration = Duration::from_secs(5);

/// How much is taken from one side before the other has taken it.
const PENDING_BYTES_MAX: usize = 16 * 1024;

/// The connections that are under way.
#[derive(Debug, Default)]
pub(super) struct Connections(Vec<Connection>);

#[derive(Debug)]
struct Connection {
    client: TcpStream,
    server: TcpStream,
    to_server: Direction,
    to_client: Direction,
    deadline: Instant,
}

/// What was read on one side and not yet written on the other.
#[derive(Debug, Default)]
struct Direction {
    pending: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// More may come.
    #[default]
    Open,
    /// No more comes; what is pending is still to be written, and then the close passed on.
    Closing,
    /// The close has been passed on.
    Closed,
}

impl Connections {
    pub(super) fn has_room(&self) -> bool {
        self.0.len() < CONNECTIONS_MAX
    }

    /// A side that nothing is wanted from is left out: its hang-up would be reported again and again.
    pub(super) fn add_interest<'a>(&'a self, descriptors: &mut Vec<PollFd<'a>>) {
        for connection in &self.0 {
            let sides = [connection.client.as_fd(), connection.server.as_fd()];
            for (side, flags) in sides.into_iter().zip(connection.interest()) {
                if !flags.is_empty() {
                    descriptors.push(PollFd::new(side, flags));
                }
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.0.iter().map(|connection| connection.deadline).min()
    }

    /// Takes the connections that wait at `listener`, and connects each with the node's server.
    pub(super) fn accept(&mut self, listener: &Listener, now: Instant) {
        while self.has_room() {
            let Ok((client, _)) = listener.tcp.accept() else {
                return;
            };
            // A client whose server does not answer is disconnected, as the server itself would do.
            if client.set_nonblocking(true).is_ok()
                && let Ok(server) = connect_to(listener.server)
            {
                self.0.push(Connection {
                    client,
                    server,
                    to_server: Direction::default(),
                    to_client: Direction::default(),
                    deadline: now + SILENT_FOR,
                });
            }
        }
    }

    /// Moves what can be moved, and ends what is done, broken or silent for too long.
    pub(super) fn handle_ready(&mut self, ready: &[PollFlags], buffer: &mut Vec<u8>, now: Instant) {
        let mut ready = ready.iter();
        self.0.retain_mut(|connection| {
            let asked = connection
                .interest()
                .into_iter()
                .filter(|flags| !flags.is_empty())
                .count();
            let active = ready
                .by_ref()
                .take(asked)
                .filter(|flags| !flags.is_empty())
                .count()
                > 0;
            if !active {
                return connection.deadline > now;
            }
            connection.deadline = now + SILENT_FOR;
            let Connection {
                client,
                server,
                to_server,
                to_client,
                ..
            } = connection;
            let moved = to_server
                .transfer(client, server, buffer)
                .and_then(|()| to_client.transfer(server, client, buffer));
            moved.is_ok() && !(to_server.state == State::Closed && to_client.state == State::Closed)
        });
    }
}

impl Connection {
    /// Returns what to wait for on the client's side and on the server's.
    fn interest(&self) -> [PollFlags; 2] {
        [
            interest(&self.to_server, &self.to_client),
            interest(&self.to_client, &self.to_server),
        ]
    }
}

impl Direction {
    fn transfer(
        &mut self,
        from: &mut TcpStream,
        to: &mut TcpStream,
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        if self.state == State::Open && self.pending.len() < PENDING_BYTES_MAX {
            buffer.resize(PENDING_BYTES_MAX, 0);
            let room = PENDING_BYTES_MAX - self.pending.len();
            match from.read(&mut buffer[..room]) {
                Ok(0) => self.state = State::Closing,
                Ok(length) => self.pending.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if !self.pending.is_empty() {
            match to.write(&self.pending) {
                Ok(length) => drop(self.pending.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if self.state == State::Closing && self.pending.is_empty() {
            to.shutdown(Shutdown::Write)?;
            self.state = State::Closed;
        }
        Ok(())
    }
}

/// Returns what to wait for on a socket that `incoming` is read from and `outgoing` is written to.
fn interest(incoming: &Direction, outgoing: &Direction) -> PollFlags {
    let mut flags = PollFlags::empty();
    flags.set(
        PollFlags::POLLIN,
        incoming.state == State::Open && incoming.pending.len() < PENDING_BYTES_MAX,
    );
    flags.set(PollFlags::POLLOUT, !outgoing.pending.is_empty());
    flags
}

/// Begins a connection without waiting for it: until it stands, reads and writes say `WouldBlock`.
fn connect_to(server: SocketAddr) -> io::Result<TcpStream> {
    let family = if server.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let socket = socket(
        family,
        SockType::Stream,
        SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(server)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(TcpStream::from(socket)),
        Err(errno) => Err(errno.into()),
    }
}
