//! How much one TCP stream carries, through Weir and through plain routing.
//!
//! The streams stay open; in each round every one sends for a while, and what its receiver took in
//! that time is counted.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::clock::{Cpus, pin};
use crate::ground::check_interrupt;
use crate::path::{Path, Paths, RANGES_MAX, Subject, WIRE};
use crate::place::Place;
use crate::progress::Progress;
use crate::sample::Samples;
use crate::table::{Table, times};

const PATIENCE: Duration = Duration::from_secs(5);
/// What is written and read at a time: large enough that the calls do not matter.
const BLOCK_BYTES: usize = 256 * 1024;

/// From where to where a stream goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    In,
    Out,
    /// From one container to another of the same node.
    Across,
}

impl Route {
    pub(crate) const ALL: [Self; 3] = [Self::In, Self::Out, Self::Across];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::In => "wire → container",
            Self::Out => "container → wire",
            Self::Across => "container → container",
        }
    }
}

/// An open stream with its receiver at work.
struct Stream {
    sender: TcpStream,
    /// Bytes that the receiver took.
    received: Arc<AtomicU64>,
    sent: u64,
}

impl Stream {
    fn open(path: &Path, port: u16, route: Route, cpus: Cpus) -> Result<Self> {
        let across = || path.other.as_ref().context("there is no other container");
        let (from, to, address): (&Place, &Place, SocketAddr) = match route {
            Route::In => (
                &path.wire,
                &path.container,
                SocketAddr::new(path.address, port),
            ),
            Route::Out => (&path.container, &path.wire, SocketAddr::from((WIRE, port))),
            Route::Across => {
                let (other, address) = across()?;
                (&path.container, other, *address)
            }
        };
        let listener = to
            .run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())))?
            .with_context(|| format!("cannot listen on port {}", address.port()))?;
        let sender = from
            .run(|| TcpStream::connect_timeout(&address, PATIENCE))?
            .with_context(|| format!("cannot connect to {address}"))?;
        sender.set_write_timeout(Some(PATIENCE))?;
        let (mut receiver, _) = listener.accept().context("cannot accept")?;
        let received = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&received);
        thread::Builder::new()
            .name("receiver".to_owned())
            .spawn(move || {
                let _pinned = pin(cpus.far);
                let mut block = vec![0; BLOCK_BYTES];
                while let Ok(length @ 1..) = receiver.read(&mut block) {
                    counted.fetch_add(length as u64, Ordering::Relaxed);
                }
            })
            .context("cannot start a thread")?;
        Ok(Self {
            sender,
            received,
            sent: 0,
        })
    }

    /// Sends for so long, and returns gigabits per second.
    fn measure(&mut self, slice: Duration) -> Result<f64> {
        let block = vec![0; BLOCK_BYTES];
        let mut send_for = |time: Duration| {
            let (begun, before) = (Instant::now(), self.received.load(Ordering::Relaxed));
            while begun.elapsed() < time {
                self.sender
                    .write_all(&block)
                    .context("the stream is stuck")?;
                self.sent += BLOCK_BYTES as u64;
            }
            let bytes = self.received.load(Ordering::Relaxed) - before;
            Ok::<_, anyhow::Error>(bytes as f64 * 8e-9 / begun.elapsed().as_secs_f64())
        };
        // An idle connection begins slowly.
        send_for(slice / 4)?;
        let rate = send_for(slice)?;
        // What is under way must not be in the way of the next.
        let deadline = Instant::now() + PATIENCE;
        while self.received.load(Ordering::Relaxed) < self.sent {
            if Instant::now() > deadline {
                bail!("bytes are lost in a stream");
            }
            thread::yield_now();
        }
        Ok(rate)
    }
}

const SUBJECTS: [Subject; 2] = [Subject::Routing, Subject::weir(RANGES_MAX)];

/// What the streams carry, in gigabits per second, one sample a round.
pub(crate) struct Bulk(Vec<(Route, Subject, Samples)>);

impl Bulk {
    /// Measures every stream once a round, each round beginning with another one.
    pub(crate) fn measure(
        paths: &mut Paths,
        cpus: Cpus,
        rounds: u32,
        slice: Duration,
    ) -> Result<Self> {
        let mut streams = Vec::new();
        for route in Route::ALL {
            for subject in SUBJECTS {
                paths.prepare(subject)?;
                let stream = Stream::open(paths.path(subject)?, subject.port(), route, cpus)
                    .with_context(|| format!("{subject:?}, {}", route.name()))?;
                streams.push((route, subject, stream, Samples::default()));
            }
        }
        let progress = Progress::new("rounds of bulk", rounds);
        for round in 0..rounds {
            progress.show(round);
            let first = round as usize % streams.len();
            streams.rotate_left(first);
            for (route, subject, stream, samples) in &mut streams {
                check_interrupt()?;
                let rate = stream
                    .measure(slice)
                    .with_context(|| format!("{subject:?}, {}", route.name()))?;
                samples.push(rate);
            }
            streams.rotate_right(first);
        }
        drop(progress);
        let measured = streams
            .into_iter()
            .map(|(route, subject, _, samples)| (route, subject, samples));
        Ok(Self(measured.collect()))
    }

    /// Returns Weir's share of what routing carries.
    pub(crate) fn share(&self, route: Route) -> f64 {
        let of = |wanted: Subject| {
            self.0
                .iter()
                .find(|(measured, subject, _)| *measured == route && *subject == wanted)
                .map_or(f64::NAN, |(_, _, samples)| samples.median())
        };
        let [routing, weir] = SUBJECTS.map(of);
        weir / routing
    }

    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new(
            "Bulk, in Gbit/s",
            "One TCP stream. Weir's container owns 1,000 ranges.",
            &["stream", "plain routing", "**Weir**", "Weir ÷ routing"],
        );
        for route in Route::ALL {
            let mut row = vec![route.name().to_owned()];
            let of_route = self.0.iter().filter(|(measured, _, _)| *measured == route);
            row.extend(of_route.map(|(_, _, samples)| format!("{samples:.2}")));
            row.push(times(self.share(route)));
            table.push(row);
        }
        table
    }
}
