//! Where containers' cgroups are, and what can be limited there.
//!
//! ```text
//! <parent>                  see `place`: holds nothing else
//! └── <container id>        its part of what others want as well: cpu.weight, cpu.idle, io.weight, memory.low
//!     ├── executor          the supervisor: outside of the container's limits
//!     └── task              the container: limits, statistics, bind programs, kill
//! ```

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use weir_sys::cgroup::{Cgroup, CgroupError};

use super::error::Refusal;
use super::hierarchy::{HierarchyChanges, HierarchyError};
use super::limits::{Limits, MemoryBytes};
use super::place::Place;
use crate::config::{CgroupConfig, ContainerConfig};

/// The cgroup of all containers, and the controllers that act in it.
#[derive(Clone, Debug)]
pub struct CgroupTree {
    state_directory: PathBuf,
    parent: Cgroup,
    pub(super) cpu: Controller,
    pub(super) memory: Controller,
    pub(super) pids: Controller,
    pub(super) io: Controller,
    /// Whether what is swapped out is limited.
    pub(super) swap: Controller,
    /// Whether something divides devices by weight.
    pub(super) io_weight: Controller,
    /// The cgroups above the containers that somebody else divides.
    above: Vec<Cgroup>,
    /// Whether what the parent is left is the agent's to say.
    owns_parent: bool,
    /// Held by whoever adds up what containers are left: two who do it side by side would both be wrong.
    adding_up: Arc<Mutex<()>>,
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

/// What a node lacks that cannot enforce a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacking {
    /// A controller, in cgroup v2.
    Controller(&'static str),
    /// A limit for what is swapped out, in the memory controller.
    Swap,
    /// Something that divides devices by weight.
    IoWeights,
}

impl Lacking {
    /// Returns what to do about it.
    pub(crate) const fn remedy(self) -> &'static str {
        match self {
            Self::Controller(_) => {
                "leave the limit out, or give the controller to cgroup v2, or set [cgroup] \
                 allow_unenforced_limits to run without it"
            }
            Self::Swap => {
                "leave the limit out, or boot a kernel that has swap and counts it, or set [cgroup] \
                 allow_unenforced_limits to run without it"
            }
            Self::IoWeights => {
                "leave it out, or `modprobe bfq` and restart the agent, or set [cgroup] \
                 allow_unenforced_limits to run without it"
            }
        }
    }
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Controller(name) => {
                write!(f, "the {name} controller is not in its cgroup v2")
            }
            Self::Swap => f.write_str("its kernel does not limit swap by cgroup"),
            Self::IoWeights => f.write_str("its kernel does not divide disks by weight"),
        }
    }
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
        let (pids, io) = (pass_down("pids")?, pass_down("io")?);
        let has = |controller: &Controller, is_there, file: &str| match controller {
            Controller::Active if is_there => Controller::Active,
            Controller::Active => {
                Controller::Missing(format!("no {file} in {}", parent.path().display()))
            }
            missing @ Controller::Missing(_) => missing.clone(),
        };
        let swap = has(&memory, parent.limits_swap(), "memory.swap.max");
        let io_weight = has(&io, parent.weighs_io(), "io.weight and io.bfq.weight");
        let owns_parent = place.delegated.as_deref() != Some(place.parent.as_path());
        let above = place
            .parent
            .ancestors()
            .skip(usize::from(owns_parent))
            .take_while(|path| **path != place.root)
            .map(Cgroup::open)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            state_directory: state_directory.to_owned(),
            parent,
            cpu,
            memory,
            pids,
            io,
            swap,
            io_weight,
            above,
            owns_parent,
            adding_up: Arc::default(),
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

    /// Returns whether containers may run without a limit that they ask for.
    pub(crate) fn allows_unenforced(&self) -> bool {
        self.allow_unenforced
    }

    /// Returns the cgroup that holds every container's.
    pub fn parent(&self) -> &Cgroup {
        &self.parent
    }

    /// Returns whether a container with these limits would go without one of them, or refuses it.
    pub(crate) fn check(&self, limits: &Limits) -> Result<Enforcement, Refusal> {
        self.check_change(&Limits::default(), limits)
    }

    /// Returns whether a container that has `former` limits would go without one of `limits`, or refuses them.
    pub(crate) fn check_change(
        &self,
        former: &Limits,
        limits: &Limits,
    ) -> Result<Enforcement, Refusal> {
        // Destructured so that a new limit is a compile error here.
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
        let controller = |name, state| (Lacking::Controller(name), state);
        let of_memory = controller("memory", &self.memory);
        let asked = [
            (cpus.is_some(), "--cpus", controller("cpu", &self.cpu)),
            (memory.is_some(), "--mem", of_memory),
            (memory_high.is_some(), "--mem-high", of_memory),
            (memory_low.is_some(), "--mem-low", of_memory),
            (swap.is_some(), "--swap", (Lacking::Swap, &self.swap)),
            (pids.is_some(), "--pids", controller("pids", &self.pids)),
            (
                io_weight.is_some(),
                "--io-weight",
                (Lacking::IoWeights, &self.io_weight),
            ),
            (!io_max.is_empty(), "--io-max", controller("io", &self.io)),
        ];
        let mut enforcement = Enforcement::Full;
        for (asked, option, (lacking, state)) in asked {
            match state {
                Controller::Missing(reason) if asked => {
                    if !self.allow_unenforced {
                        return Err(Refusal::Unenforceable {
                            option,
                            lacking,
                            reason: reason.clone(),
                        });
                    }
                    enforcement = Enforcement::Lacking;
                }
                Controller::Missing(_) | Controller::Active => {}
            }
        }
        let bytes = |low: Option<MemoryBytes>| low.map_or(0, MemoryBytes::bytes);
        let more = bytes(*memory_low).saturating_sub(bytes(former.memory_low));
        if more > 0 && self.memory == Controller::Active {
            self.check_low(more)?;
        }
        Ok(enforcement)
    }

    /// What a cgroup is left counts only as far as those above it are left as much.
    fn check_low(&self, wanted: u64) -> Result<(), Refusal> {
        let unknown = |source| Refusal::LowUnknown { source };
        if self.above.is_empty() {
            return Ok(());
        }
        let all = self.low_of_all().map_err(unknown)?.saturating_add(wanted);
        for above in &self.above {
            // Without the controller there is none above either, which is refused before.
            let low = above.memory_low().map_err(unknown)?.unwrap_or(0);
            if low < all {
                return Err(Refusal::LowAbove {
                    cgroup: above.path().to_owned(),
                    low,
                    all,
                });
            }
        }
        Ok(())
    }

    /// Returns what holds for a container that asks for `limits`: what the node's configuration adds is left out
    /// where it cannot be enforced, which `doctor` says.
    pub(crate) fn in_force(&self, limits: &Limits, config: &ContainerConfig) -> Limits {
        let mut all = limits.with_defaults(config);
        if limits.pids.is_none() && self.pids != Controller::Active {
            all.pids = None;
        }
        if limits.swap.is_none() && self.swap != Controller::Active {
            all.swap = None;
        }
        all
    }

    /// Leaves all containers together as much memory as they are left one by one.
    pub(crate) fn add_up_low(&self) -> Result<(), CgroupError> {
        let _alone = self
            .adding_up
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if self.owns_parent {
            self.parent.set_memory_low(self.low_of_all()?)?;
        }
        Ok(())
    }

    fn low_of_all(&self) -> Result<u64, CgroupError> {
        let mut all = 0_u64;
        for container in self.parent.children()? {
            all = all.saturating_add(container.memory_low()?.unwrap_or(0));
        }
        Ok(all)
    }

    /// Takes memory back from a container that holds more than `limit`, as far as the kernel finds any.
    ///
    /// Returns what it still holds, if that is more.
    pub(crate) fn make_room(
        &self,
        task: &Cgroup,
        limit: MemoryBytes,
    ) -> Result<Option<MemoryBytes>, CgroupError> {
        let above = |held: Option<u64>| held.filter(|held| *held > limit.bytes());
        if let Some(held) = above(task.memory_held()?) {
            task.reclaim(held - limit.bytes())?;
        }
        Ok(above(task.memory_held()?).and_then(MemoryBytes::new))
    }
}

/// The cgroup of what runs inside a container, in the container's.
pub(super) const TASK: &str = "task";

/// Whether all limits that were asked for hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Enforcement {
    /// They do, or none was asked for.
    Full,
    /// At least one does not, which the configuration allows.
    Lacking,
}

impl Enforcement {
    /// Returns whether all limits of both hold.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Full, Self::Full) => Self::Full,
            (Self::Lacking, _) | (_, Self::Lacking) => Self::Lacking,
        }
    }
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
            pids: Controller::Missing("no pids".to_owned()),
            io: Controller::Active,
            swap: Controller::Missing("a reason".to_owned()),
            io_weight: Controller::Missing("no io.weight".to_owned()),
            above: Vec::new(),
            owns_parent: true,
            adding_up: Arc::default(),
            allow_unenforced,
        }
    }

    fn limits(cpus: Option<&str>, memory: Option<&str>) -> Limits {
        Limits {
            cpus: cpus.map(|text| text.parse().unwrap()),
            memory: memory.map(|text| text.parse().unwrap()),
            ..Limits::default()
        }
    }

    #[test]
    fn each_limit_is_refused_for_what_it_lacks() {
        let refused = |limits: Limits| {
            let refusal = tree(false).check(&limits).unwrap_err();
            (refusal.to_string(), refusal.remedy())
        };
        let none = Limits::default;
        let high = Limits {
            memory_high: "64M".parse().ok(),
            ..none()
        };
        let low = Limits {
            memory_low: "64M".parse().ok(),
            ..none()
        };
        for (option, limits) in [("--mem-high", high), ("--mem-low", low)] {
            let expected = format!(
                "this node cannot enforce {option}: the memory controller is not in its cgroup v2 (a reason)"
            );
            assert_eq!(refused(limits).0, expected);
        }
        let (what, remedy) = refused(Limits {
            pids: "64".parse().ok(),
            ..none()
        });
        assert!(
            what.contains("--pids: the pids controller is not"),
            "{what}"
        );
        assert!(remedy.contains("allow_unenforced_limits"), "{remedy}");
        let (what, remedy) = refused(Limits {
            swap: "0".parse().ok(),
            ..none()
        });
        assert!(
            what.contains("--swap: its kernel does not limit swap"),
            "{what}"
        );
        assert!(remedy.contains("counts it"), "{remedy}");
        let (what, remedy) = refused(Limits {
            io_weight: "50".parse().ok(),
            ..none()
        });
        assert!(
            what.contains("--io-weight: its kernel does not divide"),
            "{what}"
        );
        assert!(remedy.contains("modprobe bfq"), "{remedy}");
        let limits = Limits {
            io_max: vec!["8:0:rbps=1M".parse().unwrap()],
            ..Limits::default()
        };
        assert_eq!(tree(false).check(&limits).unwrap(), Enforcement::Full);
    }

    #[test]
    fn what_the_configuration_adds_is_left_out_where_it_cannot_be_enforced() {
        let config = ContainerConfig::default();
        let asked = limits(None, Some("64M"));
        let mut tree = tree(true);
        assert_eq!(tree.in_force(&asked, &config), asked);
        (tree.pids, tree.swap) = (Controller::Active, Controller::Active);
        let all = tree.in_force(&asked, &config);
        assert_eq!(all.pids.map(u32::from), Some(config.pids_max));
        assert_eq!(all.swap.map(|swap| swap.bytes()), Some(0));
        // Without a limit of memory there is none to get around.
        assert_eq!(tree.in_force(&Limits::default(), &config).swap, None);
        let asked = Limits {
            pids: "9".parse().ok(),
            swap: "1G".parse().ok(),
            ..asked
        };
        assert_eq!(tree.in_force(&asked, &config), asked);
        let unlimited = ContainerConfig {
            pids_max: 0,
            ..config
        };
        assert_eq!(
            tree.in_force(&Limits::default(), &unlimited),
            Limits::default()
        );
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
