//! How long it takes to start and to end a container, and what the agent needs for many.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use weir_agent::container::State;

use crate::clock::process_time;
use crate::daemon::Daemon;
use crate::ground::{Ground, check_interrupt};
use crate::progress::Progress;
use crate::sample::Samples;
use crate::table::Table;

/// What runs beside what is measured.
pub(crate) const COMPANY: u32 = 100;

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// Starts and ends, in milliseconds, beside so many containers.
struct Lives {
    company: u32,
    /// From the request to the answer, which comes when the program runs.
    starts: Samples,
    /// From the request to kill to the answer that nothing is left.
    stops: Samples,
    /// `true`, from the request to the answer that nothing is left.
    whole: Samples,
}

/// What the agent's process needs.
struct Needs {
    /// Megabytes resident, without containers and with them: anonymous, and all.
    memory_alone: [f64; 2],
    memory: [f64; 2],
    /// Hundredths of a CPU with containers: left alone, and scraped every second.
    idle: f64,
    scraped: f64,
    /// Milliseconds of a scrape, and the bytes of its answer.
    scrapes: Samples,
    scrape_bytes: usize,
    /// Megabytes of an executor: anonymous, and its share of all that it maps.
    executor: [Samples; 2],
}

/// The results.
pub(crate) struct Containers {
    lives: Vec<Lives>,
    needs: Needs,
}

/// Starts an agent and measures all of it.
pub(crate) fn measure(ground: &Ground, starts: u32, watch: Duration) -> Result<Containers> {
    let mut daemon = Daemon::start(ground)?;
    let alone = lives(&mut daemon, 0, starts)?;
    let memory_alone = memory(daemon.pid())?;
    let progress = Progress::new("containers for company", COMPANY);
    for number in 0..COMPANY {
        progress.show(number);
        daemon.launch(&["/bin/sleep", "infinity"])?;
    }
    drop(progress);
    let accompanied = lives(&mut daemon, COMPANY, starts)?;
    let needs = needs(&mut daemon, memory_alone, watch)?;
    Ok(Containers {
        lives: vec![alone, accompanied],
        needs,
    })
}

fn lives(daemon: &mut Daemon, company: u32, starts: u32) -> Result<Lives> {
    let mut lives = Lives {
        company,
        starts: Samples::default(),
        stops: Samples::default(),
        whole: Samples::default(),
    };
    let milliseconds = |begun: Instant| begun.elapsed().as_secs_f64() * 1e3;
    let progress = Progress::new(&format!("starts beside {company} containers"), starts);
    for number in 0..=starts {
        progress.show(number);
        let begun = Instant::now();
        let container = daemon.launch(&["/bin/sleep", "infinity"])?;
        let started = milliseconds(begun);
        let begun = Instant::now();
        daemon.kill(&container)?;
        daemon.wait(&container)?;
        let stopped = milliseconds(begun);
        let begun = Instant::now();
        let container = daemon.launch(&["/bin/true"])?;
        daemon.wait(&container)?;
        // The very first finds files that are not in memory.
        if number > 0 {
            lives.starts.push(started);
            lives.stops.push(stopped);
            lives.whole.push(milliseconds(begun));
        }
    }
    Ok(lives)
}

fn needs(daemon: &mut Daemon, memory_alone: [f64; 2], watch: Duration) -> Result<Needs> {
    let pid = daemon.pid();
    // What the launches left to be done is done.
    daemon.scrape()?;
    eprintln!(
        "the agent, left alone and scraped: twice {} s",
        watch.as_secs()
    );
    let idle = load(pid, watch, || Ok(()))?;
    let mut scrapes = Samples::default();
    let mut scrape_bytes = 0;
    let scraped = load(pid, watch, || {
        let (taken, bytes) = daemon.scrape()?;
        scrapes.push(taken.as_secs_f64() * 1e3);
        scrape_bytes = bytes;
        Ok(())
    })?;
    let mut executor = [Samples::default(), Samples::default()];
    daemon.reconnect()?;
    for container in daemon.containers()? {
        if let State::Running { executor_pid, .. } = container.state {
            let [anonymous, _] = memory(executor_pid)?;
            let rollup = fs::read_to_string(format!("/proc/{executor_pid}/smaps_rollup"))?;
            executor[0].push(anonymous);
            executor[1].push(field(&rollup, "Pss:")?);
        }
    }
    Ok(Needs {
        memory_alone,
        memory: memory(pid)?,
        idle,
        scraped,
        scrapes,
        scrape_bytes,
        executor,
    })
}

/// Returns hundredths of a CPU that a process uses while something is done every second.
fn load(pid: u32, watch: Duration, mut every_second: impl FnMut() -> Result<()>) -> Result<f64> {
    let (begun, before) = (Instant::now(), process_time(pid)?);
    let mut next = begun;
    while begun.elapsed() < watch {
        every_second()?;
        next += Duration::from_secs(1);
        while let Some(left) = next.checked_duration_since(Instant::now()) {
            check_interrupt()?;
            thread::sleep(left.min(Duration::from_millis(100)));
        }
    }
    let spent = process_time(pid)? - before;
    Ok(100.0 * spent.as_secs_f64() / begun.elapsed().as_secs_f64())
}

/// Returns megabytes of a process that are resident: anonymous, and all.
fn memory(pid: u32) -> Result<[f64; 2]> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} is gone"))?;
    Ok([field(&status, "RssAnon:")?, field(&status, "VmRSS:")?])
}

/// Returns a field of kibibytes in mebibytes.
fn field(text: &str, name: &str) -> Result<f64> {
    let kibibytes: f64 = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .with_context(|| format!("the kernel tells no {name}"))?
        .parse()?;
    Ok(kibibytes * 1024.0 / MEBIBYTE)
}

impl Containers {
    /// Returns the milliseconds of a start beside so many containers.
    pub(crate) fn start(&self, company: u32) -> f64 {
        let lives = self.lives.iter().find(|lives| lives.company == company);
        lives.map_or(f64::NAN, |lives| lives.starts.median())
    }

    /// Returns the megabytes of the agent with [`COMPANY`] containers.
    pub(crate) fn memory(&self) -> f64 {
        self.needs.memory[1]
    }

    pub(crate) fn tables(&self) -> [Table; 2] {
        let mut lives = Table::new(
            "Life of a container, in milliseconds",
            "Through the agent's socket, one after another: p50 / p99. Every step of a life is on disk (fsync) before the next.",
            &[
                "containers beside",
                "start: request to program running",
                "stop: kill to nothing left",
                "`/bin/true`: request to nothing left",
            ],
        );
        let percentiles =
            |samples: &Samples| format!("{:.1} / {:.1}", samples.median(), samples.quantile(0.99));
        for life in &self.lives {
            let mut row = vec![life.company.to_string()];
            row.extend([&life.starts, &life.stops, &life.whole].map(percentiles));
            lives.push(row);
        }

        let needs = &self.needs;
        let mut agent = Table::new(
            "What the agent needs",
            "Memory as `/proc` has it, CPU time of all threads.",
            &["what", ""],
        );
        let mut say = |what: &str, value: String| agent.push(vec![what.to_owned(), value]);
        let mebibytes = |[anonymous, all]: [f64; 2]| {
            format!("{all:.1} MiB, of it {anonymous:.1} MiB anonymous")
        };
        say("resident, no containers", mebibytes(needs.memory_alone));
        say(
            &format!("resident, {COMPANY} containers"),
            mebibytes(needs.memory),
        );
        say(
            &format!("CPU, {COMPANY} containers, left alone"),
            format!("{:.2} % of one", needs.idle),
        );
        say(
            &format!("CPU, {COMPANY} containers, scraped every second"),
            format!("{:.2} % of one", needs.scraped),
        );
        say(
            "a scrape of `/metrics`",
            format!(
                "{:.1} ms (the slowest {:.1}), {} KiB",
                needs.scrapes.median(),
                needs.scrapes.max(),
                needs.scrape_bytes / 1024
            ),
        );
        say(
            "an executor, of which each container has one",
            format!(
                "{:.2} MiB anonymous; {:.2} MiB if what it shares with others is divided among them",
                needs.executor[0].median(),
                needs.executor[1].median()
            ),
        );
        [lives, agent]
    }
}
