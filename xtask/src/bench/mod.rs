//! Benchmarks: what Weir costs, beside what else there is.
//!
//! A benchmark is a program of its own, in `benches/` of what it measures; this builds it and what
//! it starts, runs it, and keeps its tables with all that one needs to compare them later.

mod figures;
mod record;
mod scheduler;

use anyhow::{Context as _, Result, bail};
use nix::unistd::Uid;

use crate::command::{cargo, run};
use crate::{node, setup, tree};

/// Which benchmark is run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Benchmark {
    /// The data plane beside routing, a bridge and Mesos' way; containers and the agent; as root
    Network(NetworkArguments),
    /// The allocator, and the daemon over real connections with its database on the disk
    Scheduler(scheduler::SchedulerArguments),
}

/// How much is measured. What is not said, the benchmark decides.
#[derive(Clone, Debug, clap::Args)]
struct NetworkArguments {
    /// How often each way takes its turn
    #[arg(long)]
    rounds: Option<u32>,
    /// How many containers are started, without others and beside a hundred
    #[arg(long)]
    starts: Option<u32>,
    /// Try out every measurement rather than measure
    #[arg(long)]
    quick: bool,
    /// Measure only this: cost, request, bulk, program, container or scrape; may be given more than once
    #[arg(long)]
    only: Vec<String>,
    /// Keep the tables in ci/benchmarks.md
    #[arg(long)]
    write: bool,
}

/// Runs a benchmark.
pub(crate) fn run_one(arguments: &Arguments) -> Result<()> {
    match &arguments.benchmark {
        Benchmark::Network(arguments) => network(arguments),
        Benchmark::Scheduler(arguments) => scheduler::run(arguments),
    }
}

fn network(arguments: &NetworkArguments) -> Result<()> {
    if !Uid::effective().is_root() {
        bail!("the benchmark makes namespaces and loads programs: run it as root");
    }
    if arguments.write && (arguments.quick || !arguments.only.is_empty()) {
        bail!("only a whole run is kept: --write goes with neither --quick nor --only");
    }
    setup::run_for_build()?;
    // The benchmark starts both.
    node::build(node::Profile::Release, node::AGENT)?;
    let options = arguments.options();
    let tables = tree::target().join("bench-network.md");
    run(cargo()
        .args([
            "bench",
            "--locked",
            "--package=weir-agent",
            "--bench=network",
            "--",
        ])
        .args(&options)
        .arg("--tables")
        .arg(&tables))?;
    if arguments.write {
        let text = std::fs::read_to_string(&tables)
            .with_context(|| format!("cannot read {}", tables.display()))?;
        let command = ["cargo xtask bench network"]
            .into_iter()
            .chain(options.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(" ");
        record::write("network", &command, &text)?;
    }
    Ok(())
}

impl NetworkArguments {
    fn options(&self) -> Vec<String> {
        let mut options = Vec::new();
        for (name, number) in [("--rounds", self.rounds), ("--starts", self.starts)] {
            options.extend(number.map(|number| format!("{name}={number}")));
        }
        if self.quick {
            options.push("--quick".to_owned());
        }
        options.extend(self.only.iter().map(|part| format!("--only={part}")));
        options
    }
}
