//! How long a request takes: one byte there and one byte back over an open TCP connection.
//!
//! Client and server sleep until they are woken, each on its own CPU, as they do in real life; most
//! of the time is the kernel's for that, and the same for every subject.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::clock::{Cpus, pin};
use crate::flood::ranges;
use crate::ground::check_interrupt;
use crate::path::{Path, Paths, Subject};
use crate::progress::Progress;
use crate::sample::Samples;
use crate::table::{Table, times};

/// An answer that takes longer never comes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Listens in a container, and connects to it from the wire.
fn connect(path: &Path, port: u16) -> Result<(TcpStream, TcpStream)> {
    let listener = path
        .container
        .run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))?
        .with_context(|| format!("cannot listen on port {port} in the container"))?;
    let address = SocketAddr::new(path.address, port);
    let client = path
        .wire
        .run(|| TcpStream::connect_timeout(&address, PATIENCE))?
        .with_context(|| format!("cannot connect to {address}"))?;
    let (server, _) = listener.accept().context("cannot accept")?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    client.set_read_timeout(Some(PATIENCE))?;
    Ok((client, server))
}

/// Answers every byte with itself, until the connection ends.
fn serve(mut server: TcpStream, cpu: usize) {
    let mut byte = [0];
    let _pinned = pin(cpu);
    while server.read_exact(&mut byte).is_ok() && server.write_all(&byte).is_ok() {}
}

/// Returns how long each of so many requests took, in microseconds.
fn ask(client: &mut TcpStream, requests: u32) -> Result<Samples> {
    let mut byte = [1];
    let mut taken = Samples::default();
    // The first ones find cold caches, and a delayed acknowledgement.
    for number in 0..requests + requests / 5 {
        let begun = Instant::now();
        client.write_all(&byte).context("cannot ask")?;
        client.read_exact(&mut byte).context("no answer")?;
        if number >= requests / 5 {
            taken.push(begun.elapsed().as_secs_f64() * 1e6);
        }
    }
    Ok(taken)
}

/// How long requests take, in microseconds: a median and a 99th percentile a round.
pub(crate) struct Requests(Vec<(Subject, [Samples; 2])>);

impl Requests {
    /// Measures every subject once a round, each round beginning with another one.
    pub(crate) fn measure(
        paths: &mut Paths,
        cpus: Cpus,
        rounds: u32,
        requests: u32,
    ) -> Result<Self> {
        let mut clients: Vec<(Subject, TcpStream)> = Vec::new();
        let mut measured = Vec::new();
        for subject in Subject::distinct() {
            let sockets = subject.sockets();
            if !clients.iter().any(|(of, _)| *of == sockets) {
                let (client, server) = connect(paths.path(sockets)?, sockets.port())
                    .with_context(|| format!("{sockets:?}"))?;
                thread::Builder::new()
                    .name("server".to_owned())
                    .spawn(move || serve(server, cpus.far))
                    .context("cannot start a thread")?;
                clients.push((sockets, client));
            }
            measured.push((subject, [Samples::default(), Samples::default()]));
        }
        let progress = Progress::new("rounds of requests", rounds);
        for round in 0..rounds {
            progress.show(round);
            let first = round as usize % measured.len();
            measured.rotate_left(first);
            for (subject, [middle, slow]) in &mut measured {
                check_interrupt()?;
                paths.prepare(*subject)?;
                let (_, client) = clients
                    .iter_mut()
                    .find(|(of, _)| *of == subject.sockets())
                    .context("every subject has a connection")?;
                let taken = ask(client, requests).with_context(|| format!("{subject:?}"))?;
                middle.push(taken.median());
                slow.push(taken.quantile(0.99));
            }
            measured.rotate_right(first);
        }
        drop(progress);
        Ok(Self(measured))
    }

    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new(
            "Latency of a request, in microseconds",
            "One byte there and back over an open TCP connection from the wire; medians of the rounds' percentiles.",
            &["way", "ranges", "p50", "times Weir", "p99", "times Weir"],
        );
        let medians = |wanted: Subject| {
            self.0
                .iter()
                .find(|(subject, _)| *subject == wanted)
                .map_or([f64::NAN; 2], |(_, samples)| {
                    samples.each_ref().map(Samples::median)
                })
        };
        for (subject, samples) in &self.0 {
            let weir = medians(Subject::weir(subject.ranges().unwrap_or(1)));
            let mut row = vec![subject.name().to_owned(), ranges(*subject)];
            for (samples, weir) in samples.iter().zip(weir) {
                row.push(format!("{samples:.1}"));
                row.push(times(samples.median() / weir));
            }
            table.push(row);
        }
        table
    }
}
