//! What one packet costs, from `send` to the receiver's socket.
//!
//! Over veths the whole way runs in the context of whoever sends: its CPU time per packet is the
//! cost of the way, and what other processes do on the machine does not count. One thread sends a
//! batch, reads the clock of its own CPU time, and takes the packets from the receiving socket, for
//! which the clock has stopped; nobody is woken. A batch that is not all there at once was
//! processed by somebody else in part, and does not count.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::socket::{setsockopt, sockopt};

use crate::clock::thread_time;
use crate::ground::check_interrupt;
use crate::path::{Path, Paths, Subject, WIRE};
use crate::progress::Progress;
use crate::sample::Samples;
use crate::table::{Table, times};

/// Packets between two looks at the clock: many, for the look costs as much as a quarter of one;
/// and few enough that a timer's tick falls into one batch of many.
const BATCH: u32 = 256;
const PAYLOAD: [u8; 64] = [0; 64];
/// Room for a batch, with what the kernel adds to each packet.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// How long a packet may take whose CPU is busy otherwise.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    In,
    Out,
}

impl Direction {
    pub(crate) const BOTH: [Self; 2] = [Self::In, Self::Out];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::In => "wire → container",
            Self::Out => "container → wire",
        }
    }
}

/// Two sockets that know each other.
struct Pair {
    wire: UdpSocket,
    container: UdpSocket,
}

impl Pair {
    fn open(path: &Path, port: u16) -> Result<Self> {
        let open = |port| {
            move || {
                let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
                socket.set_nonblocking(true)?;
                setsockopt(&socket, sockopt::RcvBufForce, &BUFFER_BYTES)?;
                Ok::<_, std::io::Error>(socket)
            }
        };
        let wire = path
            .wire
            .run(open(0))?
            .context("cannot open a socket on the wire")?;
        let container = path
            .container
            .run(open(port))?
            .with_context(|| format!("cannot open port {port} in the container"))?;
        wire.connect(SocketAddr::new(path.address, port))
            .context("cannot connect to the container")?;
        container
            .connect((WIRE, wire.local_addr()?.port()))
            .context("cannot connect to the wire")?;
        let pair = Self { wire, container };
        // The first packet waits for the neighbour's address.
        for direction in Direction::BOTH {
            let (from, to) = pair.ends(direction);
            from.send(&PAYLOAD)?;
            if receive(to, 1)? < 1 {
                bail!("no packet comes through {}", direction.name());
            }
        }
        Ok(pair)
    }

    fn ends(&self, direction: Direction) -> (&UdpSocket, &UdpSocket) {
        match direction {
            Direction::In => (&self.wire, &self.container),
            Direction::Out => (&self.container, &self.wire),
        }
    }

    /// Returns the nanoseconds that a packet costs: the median of the batches.
    fn measure(&self, direction: Direction, batches: u32) -> Result<f64> {
        let (from, to) = self.ends(direction);
        let mut costs = Samples::default();
        let mut spoilt = 0;
        // The first batch finds cold caches.
        let mut is_first = true;
        while costs.len() < batches as usize {
            check_interrupt()?;
            let before = thread_time()?;
            for _ in 0..BATCH {
                from.send(&PAYLOAD).context("cannot send")?;
            }
            let spent = thread_time()? - before;
            let at_once = take(to)?;
            if at_once < BATCH {
                // Left to the thread that takes over when a CPU has too many packets.
                if at_once + receive(to, BATCH - at_once)? < BATCH {
                    bail!("packets are lost {}", direction.name());
                }
                spoilt += 1;
                if spoilt > 10 * batches {
                    bail!("the machine is too busy: hardly a batch is processed by its sender");
                }
            } else if !is_first {
                costs.push(spent.as_secs_f64() * 1e9 / f64::from(BATCH));
            }
            is_first = false;
        }
        Ok(costs.median())
    }
}

/// Takes what has arrived.
fn take(socket: &UdpSocket) -> Result<u32> {
    let mut bytes = [0; 128];
    let mut taken = 0;
    loop {
        match socket.recv(&mut bytes) {
            Ok(_) => taken += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(taken),
            Err(error) => return Err(error).context("cannot receive"),
        }
    }
}

/// Waits for so many packets, and returns how many came.
fn receive(socket: &UdpSocket, wanted: u32) -> Result<u32> {
    let deadline = Instant::now() + PATIENCE;
    let mut taken = 0;
    while taken < wanted && Instant::now() < deadline {
        taken += take(socket)?;
        thread::yield_now();
    }
    Ok(taken)
}

/// What the packets of each subject cost, in nanoseconds, one sample a round.
pub(crate) struct Costs(Vec<(Subject, [Samples; 2])>);

impl Costs {
    /// Measures every subject once a round, each round beginning with another one.
    pub(crate) fn measure(paths: &mut Paths, rounds: u32, batches: u32) -> Result<Self> {
        let mut pairs: Vec<(Subject, Pair)> = Vec::new();
        let mut costs = Vec::new();
        for subject in Subject::all() {
            let sockets = subject.sockets();
            if !pairs.iter().any(|(of, _)| *of == sockets) {
                let pair = Pair::open(paths.path(sockets)?, sockets.port())
                    .with_context(|| format!("{sockets:?}"))?;
                pairs.push((sockets, pair));
            }
            costs.push((subject, [Samples::default(), Samples::default()]));
        }
        let progress = Progress::new("rounds of what a packet costs", rounds);
        for round in 0..rounds {
            progress.show(round);
            let first = round as usize % costs.len();
            costs.rotate_left(first);
            for (subject, samples) in &mut costs {
                paths.prepare(*subject)?;
                let (_, pair) = pairs
                    .iter()
                    .find(|(of, _)| *of == subject.sockets())
                    .context("every subject has sockets")?;
                for (direction, samples) in Direction::BOTH.into_iter().zip(samples) {
                    let cost = pair
                        .measure(direction, batches)
                        .with_context(|| format!("{subject:?}"))?;
                    samples.push(cost);
                }
            }
            costs.rotate_right(first);
        }
        drop(progress);
        Ok(Self(costs))
    }

    /// Returns how many times as dear as another a subject is.
    pub(crate) fn times(&self, subject: Subject, other: Subject, direction: Direction) -> f64 {
        let of = |wanted: Subject| {
            let found = self.0.iter().find(|(measured, _)| *measured == wanted);
            found.map(|(_, samples)| &samples[direction as usize])
        };
        match (of(subject), of(other)) {
            (Some(samples), Some(others)) => samples.times(others),
            (None, _) | (_, None) => f64::NAN,
        }
    }

    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new(
            "CPU time of one packet, in nanoseconds",
            "64 bytes of UDP over IPv4, from `send` to the receiver's socket, without waking a reader. \
             \"Times Weir\" compares with Weir at as many ranges, or at one: the median of the rounds' quotients.",
            &[
                "way",
                "ranges",
                "wire → container",
                "times Weir",
                "container → wire",
                "times Weir",
            ],
        );
        for (subject, samples) in &self.0 {
            let weir = Subject::weir(subject.ranges().unwrap_or(1));
            let mut row = vec![subject.name().to_owned(), ranges(*subject)];
            for (direction, samples) in Direction::BOTH.into_iter().zip(samples) {
                row.push(samples.to_string());
                row.push(times(self.times(*subject, weir, direction)));
            }
            table.push(row);
        }
        table
    }
}

/// Returns a subject's ranges as a table has them.
pub(crate) fn ranges(subject: Subject) -> String {
    subject
        .ranges()
        .map_or_else(|| "any".to_owned(), |ranges| ranges.to_string())
}
