//! What a control group may use, and how often it came to the end of that.

use std::io;

use super::text::flat_value;
use super::{Cgroup, CgroupError};

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
        let text = bytes.map_or_else(|| "max".to_owned(), |bytes| bytes.to_string());
        self.write("memory.max", &text)
    }

    /// Has the kernel kill all of its processes when memory runs out, and not the one that it likes least.
    pub fn set_killed_together(&self) -> Result<(), CgroupError> {
        self.require("memory", &self.controllers()?)?;
        self.write("memory.oom.group", "1")
    }

    /// Returns how often memory ran out at its own limit, or at that of a group below; `None` without the memory
    /// controller. What the kernel kills for want of the node's memory, or of that of a group above, is not among it.
    pub fn out_of_memory(&self) -> Result<Option<u64>, CgroupError> {
        match self.read("memory.events") {
            Ok(text) => Ok(flat_value(&text, "oom")),
            Err(CgroupError::Failed { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
