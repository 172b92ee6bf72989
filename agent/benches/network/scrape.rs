//! What a scrape costs on a full node.
//!
//! Its containers are real ones: each with its executor, its cgroup, its network namespace and its slot in the
//! programs' maps, for a scrape reads of all of them.

use std::time::Duration;

use anyhow::Result;

use crate::clock::process_time;
use crate::daemon::Daemon;
use crate::ground::Ground;
use crate::progress::Progress;
use crate::sample::Samples;
use crate::table::Table;

/// How often Prometheus is usually told to scrape.
const INTERVAL: Duration = Duration::from_secs(15);

/// What was measured of scrapes.
pub(crate) struct Scrapes {
    containers: u32,
    /// Milliseconds from the request to the last byte of the answer.
    taken: Samples,
    /// Milliseconds of CPU time of the agent for one, all threads.
    spent: f64,
    bytes: usize,
}

/// Starts an agent and so many containers, and scrapes it so often.
pub(crate) fn measure(ground: &Ground, containers: u32, scrapes: u32) -> Result<Scrapes> {
    let mut daemon = Daemon::start(ground)?;
    let progress = Progress::new("containers to scrape", containers);
    for number in 0..containers {
        progress.show(number);
        daemon.launch(&["/bin/sleep", "infinity"])?;
    }
    drop(progress);
    // The first finds what the launches left to be done.
    daemon.scrape()?;
    let before = process_time(daemon.pid())?;
    let mut taken = Samples::default();
    let mut bytes = 0;
    for _ in 0..scrapes {
        let (time, length) = daemon.scrape()?;
        taken.push(time.as_secs_f64() * 1e3);
        bytes = length;
    }
    let spent = process_time(daemon.pid())? - before;
    Ok(Scrapes {
        containers,
        taken,
        spent: spent.as_secs_f64() * 1e3 / f64::from(scrapes),
        bytes,
    })
}

impl Scrapes {
    pub(crate) fn containers(&self) -> u32 {
        self.containers
    }

    /// Returns the milliseconds of the median scrape.
    pub(crate) fn taken(&self) -> f64 {
        self.taken.median()
    }

    /// Returns hundredths of a CPU that the agent needs when it is scraped as usual.
    pub(crate) fn load(&self) -> f64 {
        100.0 * self.spent / (INTERVAL.as_secs_f64() * 1e3)
    }

    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new(
            &format!("A scrape of {} containers", self.containers),
            "Real containers, one process each; one scrape after another, over a new connection each.",
            &["what", ""],
        );
        let mut say = |what: &str, value: String| table.push(vec![what.to_owned(), value]);
        say(
            "request to last byte",
            format!(
                "{:.1} ms (the slowest {:.1})",
                self.taken.median(),
                self.taken.max()
            ),
        );
        say("CPU time of the agent", format!("{:.1} ms", self.spent));
        say(
            &format!("CPU, scraped every {} s", INTERVAL.as_secs()),
            format!("{:.2} % of one", self.load()),
        );
        say("answer", format!("{} KiB", self.bytes / 1024));
        table
    }
}
