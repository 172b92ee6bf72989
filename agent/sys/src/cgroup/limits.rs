//! What a control group may use, and how often it came to the end of that.
//!
//! Each setter sets one thing, as often as it is called; `None` lifts the limit.

use std::fmt::Display;
use std::io;

use super::text::{flat_value, parse_limited_devices};
use super::{Cgroup, CgroupError};
use crate::block::DeviceNumber;

/// What one control group may do with one device, each second; `None` for as much as there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoLimits {
    /// Bytes read.
    pub read_bytes: Option<u64>,
    /// Bytes written.
    pub write_bytes: Option<u64>,
    /// Reads.
    pub reads: Option<u64>,
    /// Writes.
    pub writes: Option<u64>,
}

impl Cgroup {
    /// Sets its part of processors that others want as well; 100 is the kernel's default.
    pub fn set_cpu_weight(&self, weight: u16) -> Result<(), CgroupError> {
        self.require("cpu", &self.controllers()?)?;
        self.write("cpu.weight", &weight.to_string())
    }

    /// Lets it have only the processor time that nobody else wants.
    ///
    /// # Minimum kernel version
    ///
    /// 5.15 for `cpu.idle`; before that it gets the least weight there is.
    pub fn set_cpu_idle(&self) -> Result<(), CgroupError> {
        self.require("cpu", &self.controllers()?)?;
        if self.path.join("cpu.idle").exists() {
            self.write("cpu.idle", "1")
        } else {
            self.write("cpu.weight", "1")
        }
    }

    /// Sets how many thousandths of a processor it may use; `None` for all of them.
    pub fn set_cpu_limit(&self, milli_cpus: Option<u64>) -> Result<(), CgroupError> {
        /// The kernel's default period: shorter ones cost more, longer ones stall for longer.
        const PERIOD_US: u64 = 100_000;
        self.require("cpu", &self.controllers()?)?;
        let text = match milli_cpus {
            Some(milli_cpus) => format!(
                "{} {PERIOD_US}",
                milli_cpus.saturating_mul(PERIOD_US / 1000)
            ),
            None => format!("max {PERIOD_US}"),
        };
        self.write("cpu.max", &text)
    }

    /// Sets how much memory it may hold; `None` for as much as there is.
    pub fn set_memory_limit(&self, bytes: Option<u64>) -> Result<(), CgroupError> {
        self.require("memory", &self.controllers()?)?;
        self.write("memory.max", &or_max(bytes))
    }

    /// Sets beyond how much memory it is slowed down and made to give some back; `None` for never.
    pub fn set_memory_high(&self, bytes: Option<u64>) -> Result<(), CgroupError> {
        self.require("memory", &self.controllers()?)?;
        self.write("memory.high", &or_max(bytes))
    }

    /// Sets how much of its memory is taken from it only when nobody else has any to give.
    ///
    /// The groups above it must be left as much, or it counts among its neighbours only.
    pub fn set_memory_low(&self, bytes: u64) -> Result<(), CgroupError> {
        self.require("memory", &self.controllers()?)?;
        self.write("memory.low", &bytes.to_string())
    }

    /// Returns how much of its memory is taken last; `None` without the memory controller. The most that there
    /// can be is `u64::MAX`.
    pub fn memory_low(&self) -> Result<Option<u64>, CgroupError> {
        let text = self.of_controller("memory.low")?;
        Ok(text.and_then(|text| match text.trim() {
            "max" => Some(u64::MAX),
            number => number.parse().ok(),
        }))
    }

    /// Returns whether the kernel limits what is swapped out by group: not without swap, or where it was told at boot
    /// not to count it.
    pub fn limits_swap(&self) -> bool {
        self.path.join(SWAP).exists()
    }

    /// Sets how much of it may be swapped out; `None` for as much as there is.
    pub fn set_swap_limit(&self, bytes: Option<u64>) -> Result<(), CgroupError> {
        self.require("memory", &self.controllers()?)?;
        self.write(SWAP, &or_max(bytes))
    }

    /// Sets whether the kernel kills all of its processes when memory runs out, or the one that it likes least.
    pub fn set_killed_together(&self, together: bool) -> Result<(), CgroupError> {
        self.require("memory", &self.controllers()?)?;
        self.write("memory.oom.group", if together { "1" } else { "0" })
    }

    /// Sets how many processes and threads it may have; `None` for as many as there can be.
    pub fn set_pids_limit(&self, count: Option<u32>) -> Result<(), CgroupError> {
        self.require("pids", &self.controllers()?)?;
        self.write("pids.max", &or_max(count))
    }

    /// Returns how often a fork failed at its limit of processes; `None` without the pids controller.
    pub fn forks_refused(&self) -> Result<Option<u64>, CgroupError> {
        let text = self.of_controller("pids.events")?;
        Ok(text.and_then(|text| flat_value(&text, "max")))
    }

    /// Returns whether the kernel has something that divides devices by weight: `iocost`, or the scheduler BFQ.
    pub fn weighs_io(&self) -> bool {
        [IO_WEIGHT, BFQ_WEIGHT]
            .iter()
            .any(|file| self.path.join(file).exists())
    }

    /// Sets its part of devices that others want as well, from 1 to 10,000; 100 is the kernel's default.
    ///
    /// It counts on a device for which `iocost` is on (`io.cost.qos` of the root), or whose scheduler is BFQ.
    pub fn set_io_weight(&self, weight: u16) -> Result<(), CgroupError> {
        self.require("io", &self.controllers()?)?;
        for (file, weight) in [(IO_WEIGHT, weight), (BFQ_WEIGHT, bfq_weight(weight))] {
            if self.path.join(file).exists() {
                self.write(file, &format!("default {weight}"))?;
            }
        }
        Ok(())
    }

    /// Sets what it may do with a whole disk.
    pub fn set_io_limits(
        &self,
        device: DeviceNumber,
        limits: &IoLimits,
    ) -> Result<(), CgroupError> {
        // Destructured so that a new limit is a compile error here.
        let IoLimits {
            read_bytes,
            write_bytes,
            reads,
            writes,
        } = *limits;
        self.require("io", &self.controllers()?)?;
        let text = format!(
            "{device} rbps={} wbps={} riops={} wiops={}",
            or_max(read_bytes),
            or_max(write_bytes),
            or_max(reads),
            or_max(writes)
        );
        self.write(IO_MAX, &text)
    }

    /// Returns the devices of which it may not use all; none without the io controller.
    pub fn io_limited(&self) -> Result<Vec<DeviceNumber>, CgroupError> {
        let text = self.of_controller(IO_MAX)?;
        Ok(text.map_or_else(Vec::new, |text| parse_limited_devices(&text)))
    }

    /// Returns how many bytes of memory are charged to it; `None` without the memory controller.
    pub fn memory_held(&self) -> Result<Option<u64>, CgroupError> {
        let text = self.of_controller("memory.current")?;
        Ok(text.and_then(|text| text.trim().parse().ok()))
    }

    /// Takes so many bytes of memory from it, or as many as can be had: caches, and what can be swapped out.
    ///
    /// # Minimum kernel version
    ///
    /// 5.19; before that, nothing is taken.
    pub fn reclaim(&self, bytes: u64) -> Result<(), CgroupError> {
        match self.write("memory.reclaim", &bytes.to_string()) {
            Err(CgroupError::Failed { source, .. })
                if matches!(
                    source.kind(),
                    // There is less to be had, or no such file.
                    io::ErrorKind::WouldBlock | io::ErrorKind::NotFound
                ) =>
            {
                Ok(())
            }
            answer => answer,
        }
    }

    /// Returns how often memory ran out at its own limit, or at that of a group below; `None` without the memory
    /// controller. What the kernel kills for want of the node's memory, or of that of a group above, is not among it.
    pub fn out_of_memory(&self) -> Result<Option<u64>, CgroupError> {
        let text = self.of_controller("memory.events")?;
        Ok(text.and_then(|text| flat_value(&text, "oom")))
    }

    /// Reads a file that is there with a controller only.
    fn of_controller(&self, file: &str) -> Result<Option<String>, CgroupError> {
        match self.read(file) {
            Ok(text) => Ok(Some(text)),
            Err(CgroupError::Failed { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

const SWAP: &str = "memory.swap.max";
const IO_MAX: &str = "io.max";
const IO_WEIGHT: &str = "io.weight";
const BFQ_WEIGHT: &str = "io.bfq.weight";

/// As the kernel reads a limit.
fn or_max<T: Display>(limit: Option<T>) -> String {
    limit.map_or_else(|| "max".to_owned(), |limit| limit.to_string())
}

/// Returns what BFQ, which knows weights from 1 to 1,000, makes of one from 1 to 10,000: up to the default, 100, the same;
/// above in proportion. systemd does so too.
fn bfq_weight(weight: u16) -> u16 {
    const DEFAULT: u16 = 100;
    if weight <= DEFAULT {
        weight
    } else {
        // 9,900 steps become 900.
        DEFAULT + (weight - DEFAULT) / 11
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_keeps_its_place_where_bfq_divides() {
        for (weight, bfq) in [(1, 1), (100, 100), (200, 109), (10_000, 1000)] {
            assert_eq!(bfq_weight(weight), bfq);
        }
    }

    #[test]
    fn what_is_not_limited_is_written_as_the_kernel_reads_it() {
        assert_eq!(or_max(Some(0)), "0");
        assert_eq!(or_max(None::<u64>), "max");
    }
}
