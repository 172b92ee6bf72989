//! What the scheduler costs as people run it: `cargo bench -p weir-scheduler --bench daemon`.
//!
//! The daemon is the process that is shipped, with its database on a disk, real certificates and real
//! QUIC. Frameworks speak through `weir-client`; agents are connections that speak the agents' protocol
//! and run nothing, for tasks are not what is measured. All of them are in this one process, which
//! therefore takes its share of the same processors.
//!
//! Each measurement is a line of JSON with a name, a value and a unit, as the allocator's are:
//!
//! - [`offered`]: how long after an agent says that a task has ended somebody is offered what it had.
//! - [`accepts`]: how many ACCEPTs a second are durable and answered.
//! - [`idle`]: how much memory an agent needs that is connected and says nothing.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "the figures are what this program is for"
)]

mod accepts;
mod cluster;
mod idle;
mod node;
mod offered;
mod sample;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

/// Measures what the daemon costs
#[derive(Clone, Debug, Parser)]
pub(crate) struct Arguments {
    /// How many agents are connected and idle when their memory is measured
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// How many tasks end one after another
    #[arg(long, default_value_t = 2_000)]
    ends: usize,
    /// For how long ACCEPTs are counted, in seconds
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How many frameworks accept at the same time
    #[arg(long, value_delimiter = ',', default_value = "1,32,128")]
    callers: Vec<usize>,
    /// Where the databases are: on the disk that is to be measured
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Measure only this; may be given more than once
    #[arg(long)]
    only: Vec<Part>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// What can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Offered,
    Accepts,
    Idle,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let is_wanted = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    if is_wanted(Part::Offered) {
        offered::measure(&arguments).await?;
    }
    if is_wanted(Part::Accepts) {
        for &callers in &arguments.callers {
            accepts::measure(&arguments, callers).await?;
        }
    }
    if is_wanted(Part::Idle) {
        idle::measure(&arguments).await?;
    }
    Ok(())
}

fn tell(name: &str, value: f64, unit: &str) {
    let line = serde_json::json!({ "name": name, "value": value, "unit": unit });
    println!("{line}");
}
