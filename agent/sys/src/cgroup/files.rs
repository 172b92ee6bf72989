//! What a control group uses, for whoever asks again and again: a scrape asks it of every container.

use std::io;
use std::path::Path;

use nix::unistd::Pid;

use super::text::{flat_value, parse_cpu_statistics, parse_memory_events, parse_processes};
use super::{CgroupError, CpuStatistics, MemoryEvents, failed};
use crate::directory::Directory;

/// One control group, below a directory that is open.
#[derive(Debug)]
pub struct Files<'a> {
    above: &'a mut Directory,
    path: &'a Path,
}

impl<'a> Files<'a> {
    /// Takes the group at `path`, which begins at the directory `above`.
    pub const fn new(above: &'a mut Directory, path: &'a Path) -> Self {
        Self { above, path }
    }

    /// Returns what its processes, past and present, have used of the processors.
    ///
    /// The kernel counts this in every group, with or without a controller.
    pub fn cpu_statistics(&mut self) -> Result<CpuStatistics, CgroupError> {
        Ok(parse_cpu_statistics(self.read("cpu.stat")?))
    }

    /// Returns the processes in it, without those in groups below.
    pub fn processes(&mut self) -> Result<Vec<Pid>, CgroupError> {
        Ok(parse_processes(self.read("cgroup.procs")?))
    }

    /// Returns how many threads are in it, without those in groups below.
    pub fn threads(&mut self) -> Result<usize, CgroupError> {
        Ok(self.read("cgroup.threads")?.lines().count())
    }

    /// Returns how many bytes of memory are charged to it; `None` without the memory controller.
    pub fn memory_bytes(&mut self) -> Result<Option<u64>, CgroupError> {
        let text = self.of_controller("memory.current")?;
        Ok(text.and_then(|text| text.trim().parse().ok()))
    }

    /// Returns how many of these bytes belong to no file; `None` without the memory controller.
    pub fn anonymous_bytes(&mut self) -> Result<Option<u64>, CgroupError> {
        let text = self.of_controller("memory.stat")?;
        Ok(text.and_then(|text| flat_value(text, "anon")))
    }

    /// Returns how often it came to its limits of memory; `None` without the memory controller.
    pub fn memory_events(&mut self) -> Result<Option<MemoryEvents>, CgroupError> {
        let text = self.of_controller("memory.events")?;
        Ok(text.and_then(parse_memory_events))
    }

    /// Returns how many threads are in it and in groups below; `None` without the `pids` controller.
    pub fn charged_threads(&mut self) -> Result<Option<u64>, CgroupError> {
        let text = self.of_controller("pids.current")?;
        Ok(text.and_then(|text| text.trim().parse().ok()))
    }

    /// Returns how often a fork failed at its limit of processes; `None` without the `pids` controller.
    pub fn forks_refused(&mut self) -> Result<Option<u64>, CgroupError> {
        let text = self.of_controller("pids.events")?;
        Ok(text.and_then(|text| flat_value(text, "max")))
    }

    /// Reads a file that is there with a controller only.
    fn of_controller(&mut self, file: &str) -> Result<Option<&str>, CgroupError> {
        match self.above.read(self.path.join(file)) {
            Ok(text) => Ok(Some(text)),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed(&self.path.join(file), "read", source)),
        }
    }

    fn read(&mut self, file: &str) -> Result<&str, CgroupError> {
        self.above
            .read(self.path.join(file))
            .map_err(|source| failed(&self.path.join(file), "read", source))
    }
}
