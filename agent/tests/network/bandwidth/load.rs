//! What puts load on a queue: flows that send all they can, and one that asks and waits for its answer.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::lab::{DEADLINE, Place, address, eventually};
use crate::talk::{PATIENCE, tcp_on};

/// Takes in all that comes, on all connections, and counts it.
pub(super) struct Sink {
    pub(super) address: SocketAddr,
    received: Arc<AtomicU64>,
}

impl Sink {
    pub(super) fn at(place: &Place, ip: &str, port: u16) -> Self {
        let listener = place.run(|| tcp_on(address(ip, port)));
        let received = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&received);
        // Ends with the test's process: nobody connects any more.
        thread::spawn(move || take_in(&listener, &count));
        Self {
            address: address(ip, port),
            received,
        }
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

fn take_in(listener: &TcpListener, received: &Arc<AtomicU64>) {
    for mut stream in listener.incoming().map_while(Result::ok) {
        let received = Arc::clone(received);
        thread::spawn(move || {
            let mut piece = vec![0; 1 << 16];
            while let Ok(length @ 1..) = stream.read(&mut piece) {
                received.fetch_add(length as u64, Ordering::Relaxed);
            }
        });
    }
}

/// Flows that send all they can, until it is dropped.
pub(super) struct Bulk {
    is_over: Arc<AtomicBool>,
    flows: Vec<JoinHandle<()>>,
}

impl Bulk {
    pub(super) fn start(from: &Place, sink: &Sink, flows: usize) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let to = sink.address;
        let flow = |_| {
            let is_over = Arc::clone(&is_over);
            let stream = from.run(move || TcpStream::connect_timeout(&to, PATIENCE).unwrap());
            thread::spawn(move || pour(stream, &is_over))
        };
        Self {
            flows: (0..flows).map(flow).collect(),
            is_over: Arc::clone(&is_over),
        }
    }
}

impl Drop for Bulk {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for flow in self.flows.drain(..) {
            let ended = flow.join();
            assert!(
                ended.is_ok() || thread::panicking(),
                "a connection was broken"
            );
        }
    }
}

fn pour(mut stream: TcpStream, is_over: &AtomicBool) {
    let piece = vec![0; 1 << 16];
    let glance = Duration::from_millis(100);
    stream.set_write_timeout(Some(glance)).unwrap();
    while !is_over.load(Ordering::Relaxed) {
        match stream.write(&piece) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Asks `count` times over one connection, a millisecond after each answer. Every answer comes, or the test fails.
pub(super) fn ask(from: &Place, server: &Place, to: SocketAddr, count: u32) {
    let listener = server.run(|| tcp_on(to));
    let answering = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut byte = [0];
        while let Ok(1) = stream.read(&mut byte) {
            stream.write_all(&byte).unwrap();
        }
    });
    let mut stream = from.run(|| TcpStream::connect_timeout(&to, PATIENCE).unwrap());
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    for _ in 0..count {
        stream.write_all(&[1]).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        // As one who thinks between two questions.
        thread::sleep(Duration::from_millis(1));
    }
    drop(stream);
    answering.join().unwrap();
}

/// How many bits per second arrived, while at least so many bytes did.
pub(super) fn rate_of(sink: &Sink, bytes: u64) -> f64 {
    let (begun, before) = (Instant::now(), sink.received());
    let arrived = eventually("it arrives", || {
        let arrived = sink.received() - before;
        (arrived >= bytes).then_some(arrived)
    });
    arrived as f64 * 8.0 / begun.elapsed().as_secs_f64()
}
