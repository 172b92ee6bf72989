//! Small conversations over real sockets.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::lab::eventually;

/// How long a socket waits before it is an error: what is expected to fail by silence waits this
/// long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Listens on a port that is free, or is about to be.
///
/// A port that a test has just closed stays taken for a moment where another test is starting a
/// command: the new process has a copy of every descriptor until it is the command.
pub(crate) fn tcp_on(to: impl ToSocketAddrs) -> TcpListener {
    free(|| TcpListener::bind(&to))
}

/// The same, for datagrams.
pub(crate) fn udp_on(to: impl ToSocketAddrs) -> UdpSocket {
    free(|| UdpSocket::bind(&to))
}

/// Repeats a call that takes a port until nobody has it.
pub(crate) fn free<T>(bind: impl Fn() -> io::Result<T>) -> T {
    eventually("the port is free", || match bind() {
        Err(error) if error.kind() == ErrorKind::AddrInUse => None,
        result => Some(result.unwrap()),
    })
}

/// A server that answers one TCP connection with what it got and who sent it.
pub(crate) struct Server {
    thread: JoinHandle<SocketAddr>,
}

impl Server {
    /// Serves one TCP connection on a listener that was made in some namespace.
    pub(crate) fn tcp(listener: TcpListener) -> Self {
        let thread = thread::spawn(move || {
            let (mut stream, peer) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut bytes = [0; 64];
            let length = stream.read(&mut bytes).unwrap();
            stream.write_all(&bytes[..length]).unwrap();
            peer
        });
        Self { thread }
    }

    /// Answers one datagram.
    pub(crate) fn udp(socket: UdpSocket) -> Self {
        let thread = thread::spawn(move || {
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut bytes = vec![0; 65536];
            let (length, peer) = socket.recv_from(&mut bytes).unwrap();
            socket.send_to(&bytes[..length], peer).unwrap();
            peer
        });
        Self { thread }
    }

    /// Waits for the end, and returns who the client was.
    pub(crate) fn client(self) -> SocketAddr {
        self.thread.join().unwrap()
    }
}

/// The address to listen on for peers of this address's family.
pub(crate) fn any_of(address: IpAddr, port: u16) -> SocketAddr {
    let any: IpAddr = if address.is_ipv4() {
        [0, 0, 0, 0].into()
    } else {
        [0_u16; 8].into()
    };
    SocketAddr::new(any, port)
}

/// Sends a word over TCP and checks that it comes back. Returns the client's end.
pub(crate) fn ask_tcp(to: SocketAddr) -> io::Result<(SocketAddr, SocketAddr)> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"weir")?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    assert_eq!(&answer, b"weir");
    Ok((stream.local_addr()?, stream.peer_addr()?))
}

/// Sends a datagram of this length and checks that it comes back from where it was sent.
pub(crate) fn ask_udp(to: SocketAddr, length: usize) -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind(any_of(to.ip(), 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let question: Vec<u8> = (0..length).map(|n| n as u8).collect();
    socket.send_to(&question, to)?;
    let mut answer = vec![0; 65536];
    let (got, from) = socket.recv_from(&mut answer)?;
    assert_eq!(&answer[..got], &question[..]);
    assert_eq!(
        from, to,
        "the answer has to come from where the question went"
    );
    socket.local_addr()
}

/// The same over a connected socket, so that errors of ICMP reach it.
pub(crate) fn ask_udp_connected(to: SocketAddr) -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind(any_of(to.ip(), 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(to)?;
    socket.send(b"weir")?;
    let mut answer = [0; 64];
    let length = socket.recv(&mut answer)?;
    assert_eq!(&answer[..length], b"weir");
    assert_eq!(socket.peer_addr()?, to);
    socket.local_addr()
}

/// What is sent in bulk: it differs at every place, so nothing can be lost, doubled or swapped
/// unseen.
fn pattern(offset: u64, bytes: &mut [u8]) {
    for (at, block) in (offset / 64..).zip(bytes.chunks_exact_mut(64)) {
        block.fill(at as u8);
        block[..8].copy_from_slice(&at.to_le_bytes());
    }
}

/// How much is written and read at a time.
const PIECE: usize = 1 << 16;

/// Sends this many bytes.
pub(crate) fn send_much(stream: &mut TcpStream, total: u64) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut sent = 0;
    while sent < total {
        let length = PIECE.min(usize::try_from(total - sent).unwrap());
        pattern(sent, &mut piece);
        stream.write_all(&piece[..length])?;
        sent += length as u64;
    }
    Ok(())
}

/// Receives until the end, checks every byte, and returns how many there were.
pub(crate) fn receive_much(stream: &mut TcpStream) -> io::Result<u64> {
    let (mut piece, mut expected) = (vec![0; PIECE], vec![0; PIECE]);
    let mut received = 0;
    loop {
        // Filled as far as there is, so that every piece but the last begins where one was sent.
        let mut length = 0;
        while length < PIECE {
            match stream.read(&mut piece[length..])? {
                0 => break,
                more => length += more,
            }
        }
        pattern(received, &mut expected);
        assert!(
            piece[..length] == expected[..length],
            "other bytes than were sent, after {received}"
        );
        received += length as u64;
        if length < PIECE {
            return Ok(received);
        }
    }
}

impl Server {
    /// Receives what one client sends, and sends as much back.
    pub(crate) fn tcp_much(listener: TcpListener) -> Self {
        let thread = thread::spawn(move || {
            let (mut stream, peer) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            let total = receive_much(&mut stream).unwrap();
            send_much(&mut stream, total).unwrap();
            peer
        });
        Self { thread }
    }
}

/// Sends this many bytes over TCP, and receives as many; both are checked byte by byte.
pub(crate) fn ask_tcp_much(to: SocketAddr, total: u64) -> io::Result<SocketAddr> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    send_much(&mut stream, total)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    assert_eq!(receive_much(&mut stream)?, total);
    stream.local_addr()
}
