//! Clocks of CPU time, and which CPU a thread is on.

use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// Returns the CPU time of the calling thread.
///
/// Interrupts and the packets that they process count to whichever thread they interrupt; here that
/// is the point: what a thread sends over a veth is received on its account.
pub(crate) fn thread_time() -> Result<Duration> {
    time(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// Returns the CPU time of all threads of a process, past and present.
pub(crate) fn process_time(pid: u32) -> Result<Duration> {
    let pid = Pid::from_raw(i32::try_from(pid)?);
    time(ClockId::pid_cpu_clock_id(pid).with_context(|| format!("process {pid} is gone"))?)
}

fn time(clock: ClockId) -> Result<Duration> {
    Ok(clock_gettime(clock).context("cannot read a clock")?.into())
}

/// The CPUs that measuring is done on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpus {
    /// Who measures.
    pub(crate) near: usize,
    /// Who answers. The same one on a machine that has no other.
    pub(crate) far: usize,
}

impl Cpus {
    /// Chooses among those that this process may use: away from the first, which serves most
    /// interrupts.
    pub(crate) fn choose() -> Result<Self> {
        let allowed = affinity()?;
        let cpus: Vec<usize> = (0..CpuSet::count())
            .filter(|&cpu| allowed.is_set(cpu).unwrap_or(false))
            .collect();
        let near = *cpus.last().context("there is no CPU to run on")?;
        let far = cpus.iter().rev().nth(1).copied().unwrap_or(near);
        Ok(Self { near, far })
    }
}

/// A thread that stays on one CPU until this is dropped.
#[derive(Debug)]
pub(crate) struct Pinned {
    before: CpuSet,
}

/// Keeps the calling thread on one CPU. Threads and processes that it starts inherit that.
pub(crate) fn pin(cpu: usize) -> Result<Pinned> {
    let before = affinity()?;
    let mut set = CpuSet::new();
    set.set(cpu)
        .with_context(|| format!("there is no CPU {cpu}"))?;
    sched_setaffinity(Pid::from_raw(0), &set)
        .with_context(|| format!("cannot stay on CPU {cpu}"))?;
    Ok(Pinned { before })
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Err(errno) = sched_setaffinity(Pid::from_raw(0), &self.before) {
            eprintln!("a thread stays on one CPU: {errno}");
        }
    }
}

fn affinity() -> Result<CpuSet> {
    sched_getaffinity(Pid::from_raw(0)).context("cannot read the CPU affinity")
}
