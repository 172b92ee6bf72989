//! What Weir costs, beside what else there is: `cargo xtask bench network`.
//!
//! Everything that is compared is measured in one run, in rounds in which each takes its turn: what
//! else happens on the machine happens to all of them. Tables give medians over the rounds, with the
//! quartiles. In reading order:
//!
//! - [`ground`], [`place`]: where it happens; [`clock`], [`sample`], [`progress`], [`table`]: how it is
//!   measured and told.
//! - [`path`]: the ways from the wire to a container.
//! - [`flood`], [`request`], [`bulk`], [`program`] (and [`empty`]): what a packet, a request and a stream cost on them.
//! - [`daemon`], [`life`], [`scrape`]: what a container, the agent itself and a scrape of many containers cost.
//! - [`goal`]: what was to be reached.
#![forbid(unsafe_code)]
#![expect(
    clippy::disallowed_methods,
    reason = "networks are built with iproute2, and the agent is a program"
)]
#![expect(
    clippy::print_stdout,
    reason = "the tables are what this program is for"
)]

mod bulk;
mod clock;
mod daemon;
mod empty;
mod flood;
mod goal;
mod ground;
mod life;
mod path;
mod place;
mod program;
mod progress;
mod request;
mod sample;
mod scrape;
mod table;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};

use self::bulk::Bulk;
use self::clock::Cpus;
use self::flood::Costs;
use self::goal::Goals;
use self::ground::Ground;
use self::path::Paths;
use self::program::Programs;
use self::request::Requests;
use self::table::Table;

/// Measures what Weir costs
#[derive(Debug, Parser)]
struct Arguments {
    /// How often each subject takes its turn
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How many containers are started, without others and beside a hundred
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    starts: u32,
    /// Try out every measurement rather than measure: three short rounds
    #[arg(long)]
    quick: bool,
    /// Measure only this; may be given more than once
    #[arg(long)]
    only: Vec<Part>,
    /// Write the tables to this file, too
    #[arg(long)]
    tables: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// CPU time of a packet
    Cost,
    /// Latency of a request
    Request,
    /// Throughput of a stream
    Bulk,
    /// Time of a program
    Program,
    /// Life of a container, and needs of the agent
    Container,
    /// A scrape of a thousand containers
    Scrape,
}

/// How much is measured.
struct Effort {
    rounds: u32,
    /// Batches of a packet's cost, each way, in a round.
    batches: u32,
    /// Requests in a round.
    requests: u32,
    /// How long a stream sends in a round.
    slice: Duration,
    /// Runs of a program in a round.
    repeats: u32,
    starts: u32,
    /// How long the agent is watched.
    watch: Duration,
    /// Containers that are scraped, and how often.
    crowd: u32,
    scrapes: u32,
}

impl Effort {
    fn of(arguments: &Arguments) -> Self {
        if arguments.quick {
            return Self {
                rounds: arguments.rounds.min(3),
                batches: 8,
                requests: 200,
                slice: Duration::from_millis(50),
                repeats: 10_000,
                starts: arguments.starts.min(5),
                watch: Duration::from_secs(3),
                crowd: 20,
                scrapes: 3,
            };
        }
        Self {
            rounds: arguments.rounds,
            batches: 64,
            requests: 2_000,
            slice: Duration::from_millis(400),
            repeats: 200_000,
            starts: arguments.starts,
            watch: Duration::from_secs(20),
            // As many as there are ports for, one each, by default.
            crowd: 1_000,
            scrapes: 40,
        }
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let tables = {
        let ground = Ground::take()?;
        measure(&ground, arguments)?
    };
    let mut text = String::new();
    for table in tables {
        writeln!(text, "{table}")?;
    }
    print!("\n{text}");
    if let Some(path) = &arguments.tables {
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Measures what is asked for; the goals come first, where they are looked for.
fn measure(ground: &Ground, arguments: &Arguments) -> Result<Vec<Table>> {
    let wants = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let effort = Effort::of(arguments);
    let mut goals = Goals::new();
    let mut tables = Vec::new();
    if [Part::Cost, Part::Request, Part::Bulk, Part::Program]
        .into_iter()
        .any(wants)
    {
        let cpus = Cpus::choose()?;
        let mut paths = Paths::build(ground)?;
        // The threads of the data plane stay free; those that answer choose another CPU.
        let _pinned = clock::pin(cpus.near)?;
        if wants(Part::Cost) {
            let costs = Costs::measure(&mut paths, effort.rounds, effort.batches)?;
            goals.judge_costs(&costs);
            tables.push(costs.table());
        }
        if wants(Part::Request) {
            tables
                .push(Requests::measure(&mut paths, cpus, effort.rounds, effort.requests)?.table());
        }
        if wants(Part::Bulk) {
            let bulk = Bulk::measure(&mut paths, cpus, effort.rounds, effort.slice)?;
            goals.judge_bulk(&bulk);
            tables.push(bulk.table());
        }
        if wants(Part::Program) {
            tables.push(Programs::measure(&mut paths, effort.rounds, effort.repeats)?.table());
        }
    }
    if wants(Part::Container) {
        let containers = life::measure(ground, effort.starts, effort.watch)?;
        goals.judge_containers(&containers);
        tables.extend(containers.tables());
    }
    if wants(Part::Scrape) {
        let scrapes = scrape::measure(ground, effort.crowd, effort.scrapes)?;
        goals.judge_scrapes(&scrapes);
        tables.push(scrapes.table());
    }
    tables.insert(0, goals.into_table());
    Ok(tables)
}
