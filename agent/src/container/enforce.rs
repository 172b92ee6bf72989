//! Makes the cgroups of a container agree with what it may use.

use weir_sys::cgroup::{Cgroup, CgroupError, IoLimits};

use super::cgroups::{CgroupTree, Controller, TASK};
use super::io_limit::{IoDevice, IoLimit, IoWeight};
use super::limits::{Limits, MilliCpus};
use super::spec::Launch;

/// What the kernel gives to whoever asks for nothing, of CPU time and of disks.
const WEIGHT: u16 = 100;

/// How a container stands among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Importance {
    /// It holds what it has.
    Regular,
    /// It runs on what others leave idle: with the CPU time that nobody else wants, and the least weight
    /// wherever there is no such thing.
    Revocable,
}

impl Importance {
    pub(crate) fn of(launch: &Launch) -> Self {
        match &launch.task {
            Some(task) if task.is_revocable => Self::Revocable,
            Some(_) | None => Self::Regular,
        }
    }
}

/// Returns the weight of a container among those that want the same processors: as much as the kernel gives by
/// itself, 100, for each CPU that it may use. 10,000 is the most that the kernel takes, so beyond 100 CPUs all weigh the
/// same.
fn weight(cpus: MilliCpus) -> u16 {
    let weight = (cpus.thousandths() / 10).clamp(1, 10_000);
    u16::try_from(weight).expect("it was clamped")
}

impl CgroupTree {
    /// Sets the limits of a container that can be set, on the cgroup of its task, and its place among the others
    /// on its own.
    ///
    /// As often as it is called, and whatever was set before: what is not limited any more is lifted.
    pub(crate) fn limit(
        &self,
        container: &Cgroup,
        limits: &Limits,
        importance: Importance,
    ) -> Result<(), CgroupError> {
        let Limits {
            cpus,
            memory,
            memory_high,
            memory_low,
            swap,
            pids,
            io_weight,
            io_max,
            // The data plane's.
            bandwidth: _,
        } = limits;
        let task = container.create_child(TASK)?;
        self.place_among_others(container, *cpus, *io_weight, importance)?;
        let is_active = |state: &Controller| *state == Controller::Active;
        // Of a container without limits too: its use is told, and what it holds is counted if it is limited later.
        let acting: Vec<&str> = [
            ("cpu", &self.cpu),
            ("memory", &self.memory),
            ("pids", &self.pids),
            ("io", &self.io),
        ]
        .into_iter()
        .filter(|(_, state)| is_active(state))
        .map(|(name, _)| name)
        .collect();
        if !acting.is_empty() {
            container.enable_controllers(&acting)?;
        }
        if is_active(&self.cpu) {
            task.set_cpu_limit(cpus.map(|cpus| u64::from(cpus.thousandths())))?;
        }
        if is_active(&self.memory) {
            task.set_memory_limit(memory.map(|memory| memory.bytes()))?;
            // A container that goes on without one of its processes is not what was started.
            task.set_killed_together(memory.is_some())?;
            task.set_memory_high(memory_high.map(|high| high.bytes()))?;
            self.leave(container, &task, memory_low.map_or(0, |low| low.bytes()))?;
        }
        if is_active(&self.swap) {
            task.set_swap_limit(swap.map(|swap| swap.bytes()))?;
        }
        if is_active(&self.pids) {
            task.set_pids_limit(pids.map(|pids| pids.get()))?;
        }
        if is_active(&self.io) {
            limit_io(&task, io_max)?;
        }
        Ok(())
    }

    /// Leaves a container so much of its memory when memory gets short.
    fn leave(&self, container: &Cgroup, task: &Cgroup, low: u64) -> Result<(), CgroupError> {
        let former = container.memory_low()?.unwrap_or(0);
        for cgroup in [container, task] {
            cgroup.set_memory_low(low)?;
        }
        if former == low {
            return Ok(());
        }
        self.add_up_low()
    }

    /// Without the controllers every container is as good as every other.
    fn place_among_others(
        &self,
        container: &Cgroup,
        cpus: Option<MilliCpus>,
        io_weight: Option<IoWeight>,
        importance: Importance,
    ) -> Result<(), CgroupError> {
        // The whole container: that is what stands beside others'.
        if self.cpu == Controller::Active {
            match importance {
                Importance::Revocable => container.set_cpu_idle()?,
                Importance::Regular => container.set_cpu_weight(cpus.map_or(WEIGHT, weight))?,
            }
        }
        if self.io_weight == Controller::Active {
            let weight = match importance {
                Importance::Revocable => 1,
                Importance::Regular => io_weight.map_or(WEIGHT, IoWeight::get),
            };
            container.set_io_weight(weight)?;
        }
        Ok(())
    }
}

/// Limits the disks that are named, and no other.
fn limit_io(task: &Cgroup, io_max: &[IoLimit]) -> Result<(), CgroupError> {
    for device in task.io_limited()? {
        let is_named = |limit: &IoLimit| *limit.device() == IoDevice::Number(device);
        if !io_max.iter().any(is_named) {
            task.set_io_limits(device, &IoLimits::default())?;
        }
    }
    for limit in io_max {
        // A file was looked up when it was asked for, see `Limits::checked`.
        if let IoDevice::Number(device) = *limit.device() {
            task.set_io_limits(device, limit.limits())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_weighs_a_hundred() {
        for (cpus, expected) in [
            ("0.01", 1),
            ("0.5", 50),
            ("1", 100),
            ("64", 6400),
            ("200", 10_000),
        ] {
            assert_eq!(weight(cpus.parse().unwrap()), expected, "{cpus}");
        }
    }
}
