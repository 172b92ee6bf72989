//! Where containers' cgroups are, and what can be limited there.
//!
//! ```text
//! <parent>                  see `place`: holds nothing else
//! └── <container id>
//!     ├── executor          the supervisor: outside of the container's limits
//!     └── task              the container: limits, statistics, bind programs, kill
//! ```

use std::path::{Path, PathBuf};

use weir_sys::cgroup::{Cgroup, CgroupError};

use super::error::Refusal;
use super::hierarchy::{HierarchyChanges, HierarchyError};
use super::limits::{Limits, MilliCpus};
use super::place::Place;
use super::spec::Launch;
use crate::config::CgroupConfig;

/// The cgroup of all containers, and the controllers that act in it.
#[derive(Clone, Debug)]
pub struct CgroupTree {
    state_directory: PathBuf,
    parent: Cgroup,
    cpu: Controller,
    memory: Controller,
    allow_unenforced: bool,
}

/// Whether a resource can be limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Controller {
    /// It can.
    Active,
    /// It cannot, for this reason.
    Missing(String),
}

impl CgroupTree {
    /// Makes the parent cgroup and passes the controllers down to it, as far as they are there.
    ///
    /// What that changes is written down in the state directory, for [`Self::give_back`].
    pub fn prepare(config: &CgroupConfig, state_directory: &Path) -> Result<Self, HierarchyError> {
        let place = Place::find(config)?;
        let mut changes = HierarchyChanges::open(state_directory)?;
        let parent = changes.make(place.top(), &place.parent)?;
        if let Some(delegated) = &place.delegated
            && *delegated != place.parent
        {
            changes.make_room(&Cgroup::open(delegated)?)?;
        }
        let mut pass_down =
            |controller| controller_of(changes.pass_down(&place, controller), &place);
        let (cpu, memory) = (pass_down("cpu")?, pass_down("memory")?);
        Ok(Self {
            state_directory: state_directory.to_owned(),
            parent,
            cpu,
            memory,
            allow_unenforced: config.allow_unenforced_limits,
        })
    }

    /// Leaves the hierarchy as it was before the first agent. No container may be left.
    pub fn give_back(&self) -> Result<(), HierarchyError> {
        HierarchyChanges::open(&self.state_directory)?.give_back()
    }

    /// The same, for an agent that cannot start: nothing if a former agent's containers are left.
    pub(crate) fn give_back_if_unused(&self) -> Result<(), HierarchyError> {
        if self.parent.children()?.is_empty() {
            self.give_back()
        } else {
            Ok(())
        }
    }

    /// Returns the cgroup that holds every container's.
    pub fn parent(&self) -> &Cgroup {
        &self.parent
    }

    /// Returns whether CPU and memory can be limited.
    pub fn controllers(&self) -> [(&'static str, &Controller); 2] {
        [("cpu", &self.cpu), ("memory", &self.memory)]
    }

    /// Returns whether a container with these limits would go without one of them, or refuses it.
    pub(crate) fn check(&self, limits: &Limits) -> Result<Enforcement, Refusal> {
        let Limits { cpus, memory } = limits;
        let asked = [
            (cpus.is_some(), "--cpus", "cpu", &self.cpu),
            (memory.is_some(), "--mem", "memory", &self.memory),
        ];
        let mut enforcement = Enforcement::Full;
        for (asked, option, controller, state) in asked {
            match state {
                Controller::Missing(reason) if asked => {
                    if !self.allow_unenforced {
                        return Err(Refusal::Unenforceable {
                            option,
                            controller,
                            reason: reason.clone(),
                        });
                    }
                    enforcement = Enforcement::Lacking;
                }
                Controller::Missing(_) | Controller::Active => {}
            }
        }
        Ok(enforcement)
    }

    /// Sets the limits of a container that can be set, on the cgroup of its task, and its place among
    /// the others.
    pub(crate) fn limit(
        &self,
        container: &Cgroup,
        task: &Cgroup,
        launch: &Launch,
    ) -> Result<(), CgroupError> {
        let Limits { cpus, memory } = &launch.limits;
        // Of a container without limits too: its use is told, and what it holds is counted if it is limited later.
        let active: Vec<&str> = self
            .controllers()
            .iter()
            .filter(|(_, state)| **state == Controller::Active)
            .map(|(name, _)| *name)
            .collect();
        if !active.is_empty() {
            container.enable_controllers(&active)?;
        }
        let is_revocable = launch.task.as_ref().is_some_and(|task| task.is_revocable);
        // Without the controller every container is as good as every other, as without limits.
        if let (true, Controller::Active) = (is_revocable, &self.cpu) {
            // The whole container: that is what stands beside others'.
            container.set_cpu_idle()?;
        }
        if let (Some(cpus), Controller::Active) = (cpus, &self.cpu) {
            if !is_revocable {
                container.set_cpu_weight(weight(*cpus))?;
            }
            task.set_cpu_limit(Some(u64::from(cpus.thousandths())))?;
        }
        if let (Some(memory), Controller::Active) = (memory, &self.memory) {
            task.set_memory_limit(Some(memory.bytes()))?;
            // A container that goes on without one of its processes is not what was started.
            task.set_killed_together()?;
        }
        Ok(())
    }
}

/// Returns the weight of a container among those that want the same processors: as much as the kernel gives by
/// itself, 100, for each CPU that it may use. 10,000 is the most that the kernel takes, so beyond 100 CPUs all weigh the
/// same.
fn weight(cpus: MilliCpus) -> u16 {
    let weight = (cpus.thousandths() / 10).clamp(1, 10_000);
    u16::try_from(weight).expect("it was clamped")
}

/// Whether all limits that were asked for hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Enforcement {
    /// They do, or none was asked for.
    Full,
    /// At least one does not, which the configuration allows.
    Lacking,
}

/// Returns what came of passing a controller down.
fn controller_of(
    passed: Result<(), HierarchyError>,
    place: &Place,
) -> Result<Controller, HierarchyError> {
    match passed {
        Ok(()) => Ok(Controller::Active),
        Err(HierarchyError::Cgroup(CgroupError::NotAvailable { path, .. })) => {
            let remedy = match &place.delegated {
                Some(delegated) if *delegated == path => {
                    "; Delegate= of its unit says what systemd leaves to it"
                }
                Some(_) | None => "",
            };
            let path = path.display();
            Ok(Controller::Missing(format!(
                "not in cgroup.controllers of {path}{remedy}"
            )))
        }
        Err(error @ HierarchyError::NotOurs { .. }) => Ok(Controller::Missing(error.to_string())),
        Err(HierarchyError::Cgroup(CgroupError::Failed { path, source, .. })) => {
            let path = path.display();
            Ok(Controller::Missing(format!(
                "cannot be passed on by {path}: {source}"
            )))
        }
        Err(HierarchyError::Cgroup(
            error @ (CgroupError::Mounts { .. }
            | CgroupError::NoHierarchy
            | CgroupError::Busy { .. }),
        )) => Ok(Controller::Missing(error.to_string())),
        Err(
            error @ (HierarchyError::Record { .. }
            | HierarchyError::Damaged { .. }
            | HierarchyError::Boot(_)),
        ) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use weir_sys::cgroup::find_hierarchy;

    use super::*;

    fn tree(allow_unenforced: bool) -> CgroupTree {
        let root = find_hierarchy().expect("this test needs cgroup v2");
        CgroupTree {
            state_directory: "/nonexistent".into(),
            parent: Cgroup::open(&root).unwrap(),
            cpu: Controller::Active,
            memory: Controller::Missing("a reason".to_owned()),
            allow_unenforced,
        }
    }

    fn limits(cpus: Option<&str>, memory: Option<&str>) -> Limits {
        Limits {
            cpus: cpus.map(|text| text.parse().unwrap()),
            memory: memory.map(|text| text.parse().unwrap()),
        }
    }

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

    #[test]
    fn a_limit_that_cannot_be_enforced_is_refused_with_the_reason() {
        let refusal = tree(false)
            .check(&limits(Some("1"), Some("64M")))
            .unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "this node cannot enforce --mem: the memory controller is not in its cgroup v2 (a reason)"
        );
        assert_eq!(
            tree(false).check(&limits(Some("1"), None)).unwrap(),
            Enforcement::Full
        );
    }

    #[test]
    fn where_the_operator_allows_it_a_limit_is_known_to_be_lacking() {
        assert_eq!(
            tree(true).check(&limits(None, Some("64M"))).unwrap(),
            Enforcement::Lacking
        );
        assert_eq!(
            tree(true).check(&limits(Some("1"), None)).unwrap(),
            Enforcement::Full
        );
        assert_eq!(
            tree(true).check(&Limits::default()).unwrap(),
            Enforcement::Full
        );
    }
}
