//! What to do with what a former agent left: pure, from rows and observations to steps.
//!
//! The agent may have been killed between any two steps of any container. The rows say what was
//! meant, the kernel and the disk say what there is:
//!
//! | row | there is | step |
//! |---|---|---|
//! | starting | anything: without the agent's word an executor aborts by itself | [`Step::End`] |
//! | running | its executor, with the container's init below it | [`Step::Adopt`] with its network |
//! | running | its executor, without an init: it is on its way out | [`Step::Adopt`] without |
//! | running | no executor | [`Step::End`]: the exit record says how |
//! | none | a cgroup below the parent | [`Step::RemoveCgroup`] |
//! | none | a container directory | [`Step::RemoveDirectory`] |
//! | ended | anything but its directory | as without a row |

use std::collections::{BTreeMap, BTreeSet};

use super::id::ContainerId;
use crate::store::{ContainerRow, Phase};

/// What there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    /// The executors of the rows that name one, as far as they live.
    pub(crate) executors: BTreeMap<ContainerId, ExecutorSeen>,
    /// The names of the cgroups below the parent.
    pub(crate) cgroups: BTreeSet<String>,
    /// The names of the directories of containers.
    pub(crate) directories: BTreeSet<String>,
}

/// An executor that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExecutorSeen {
    /// The container's init is its child.
    WithInit,
    /// It has no such child any more.
    WithoutInit,
}

/// One thing to do about what was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Go on with a container that outlived the agent.
    Adopt {
        id: ContainerId,
        /// Whether its network is taken over, too.
        network: bool,
    },
    /// Take back what a container holds, and record how it ended.
    End {
        id: ContainerId,
        /// Whether its task may have run: its ports then rest.
        ran: bool,
    },
    /// Kill what is in a cgroup that no container owns, and remove it.
    RemoveCgroup { name: String },
    /// Remove a directory that no container owns.
    RemoveDirectory { name: String },
}

/// Returns what to do, in order.
///
/// Strays come first: what runs in a cgroup without an owner may hold ports that another container
/// owns by now.
pub(crate) fn plan_recovery(rows: &[ContainerRow], observed: &Observed) -> Vec<Step> {
    let mut live = BTreeSet::new();
    let mut known = BTreeSet::new();
    let mut steps = Vec::new();
    for row in rows {
        known.insert(row.id.as_str());
        let id = row.id.clone();
        match &row.phase {
            Phase::Starting => {
                live.insert(row.id.as_str());
                steps.push(Step::End { id, ran: false });
            }
            Phase::Running { .. } => {
                live.insert(row.id.as_str());
                steps.push(match observed.executors.get(&row.id) {
                    Some(ExecutorSeen::WithInit) => Step::Adopt { id, network: true },
                    Some(ExecutorSeen::WithoutInit) => Step::Adopt { id, network: false },
                    None => Step::End { id, ran: true },
                });
            }
            Phase::Ended { .. } => {}
        }
    }
    let stray = |names: &BTreeSet<String>, owned: &BTreeSet<&str>| -> Vec<String> {
        names
            .iter()
            .filter(|name| !owned.contains(name.as_str()))
            .cloned()
            .collect()
    };
    let cgroups = stray(&observed.cgroups, &live);
    let directories = stray(&observed.directories, &known);
    let mut all: Vec<Step> = cgroups
        .into_iter()
        .map(|name| Step::RemoveCgroup { name })
        .collect();
    all.extend(
        directories
            .into_iter()
            .map(|name| Step::RemoveDirectory { name }),
    );
    all.append(&mut steps);
    all
}

#[cfg(test)]
mod tests {
    use weir_executor::record::Outcome;
    use weir_executor::spec::NetworkMode;
    use weir_resources::PortSet;

    use super::*;
    use crate::container::id::Slot;
    use crate::container::limits::Limits;
    use crate::container::spec::{Launch, User};
    use crate::ports::UnixMs;
    use crate::store::ExecutorIdentity;

    fn id(number: u64) -> ContainerId {
        ContainerId::from_random(number)
    }

    fn row(number: u64, phase: Phase) -> ContainerRow {
        ContainerRow {
            id: id(number),
            name: id(number).as_str().parse().unwrap(),
            phase,
            launch: Launch {
                name: None,
                argv: vec!["true".to_owned()],
                env: Vec::new(),
                working_directory: None,
                user: User {
                    name: "nobody".to_owned(),
                    uid: 1,
                    gid: 1,
                    groups: Vec::new(),
                },
                network: NetworkMode::Isolated,
                limits: Limits::default(),
                capabilities: Vec::new(),
                task: None,
            },
            slot: Slot::all().next().unwrap(),
            ports: PortSet::new(),
            ephemeral: None,
            unenforced: false,
            created_at: UnixMs(0),
        }
    }

    fn running() -> Phase {
        let executor = ExecutorIdentity {
            pid: 7,
            start_ticks: 8,
            boot_id: "boot".to_owned(),
            init_pid: 9,
        };
        Phase::Running {
            executor,
            started_at: UnixMs(0),
        }
    }

    fn ended() -> Phase {
        Phase::Ended {
            outcome: Outcome::Exited { code: 0 },
            started_at: None,
            ended_at: UnixMs(0),
        }
    }

    #[test]
    fn a_container_that_was_starting_is_undone_whatever_there_is() {
        let rows = [row(1, Phase::Starting)];
        let mut observed = Observed::default();
        let undone = vec![Step::End {
            id: id(1),
            ran: false,
        }];
        assert_eq!(plan_recovery(&rows, &observed), undone);
        observed.cgroups.insert(id(1).to_string());
        observed.directories.insert(id(1).to_string());
        assert_eq!(plan_recovery(&rows, &observed), undone);
    }

    #[test]
    fn a_container_whose_executor_lives_is_adopted() {
        let rows = [row(1, running()), row(2, running()), row(3, running())];
        let observed = Observed {
            executors: [
                (id(1), ExecutorSeen::WithInit),
                (id(2), ExecutorSeen::WithoutInit),
            ]
            .into(),
            ..Observed::default()
        };
        assert_eq!(
            plan_recovery(&rows, &observed),
            [
                Step::Adopt {
                    id: id(1),
                    network: true
                },
                Step::Adopt {
                    id: id(2),
                    network: false
                },
                Step::End {
                    id: id(3),
                    ran: true
                },
            ]
        );
    }

    #[test]
    fn strays_go_before_anything_else_happens() {
        let rows = [row(1, running()), row(2, ended())];
        let names = || {
            [id(1), id(2), id(3)]
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        let observed = Observed {
            executors: [(id(1), ExecutorSeen::WithInit)].into(),
            cgroups: names(),
            directories: names(),
        };
        let name = |number| id(number).to_string();
        let mut strays = vec![
            Step::RemoveCgroup { name: name(2) },
            Step::RemoveCgroup { name: name(3) },
        ];
        strays.sort_by_key(|step| format!("{step:?}"));
        let plan = plan_recovery(&rows, &observed);
        assert_eq!(plan[..2], strays);
        assert_eq!(
            plan[2..],
            [
                // The directory of an ended container is its output: it stays.
                Step::RemoveDirectory { name: name(3) },
                Step::Adopt {
                    id: id(1),
                    network: true
                },
            ]
        );
    }

    #[test]
    fn nothing_left_is_nothing_to_do() {
        assert_eq!(plan_recovery(&[], &Observed::default()), []);
        assert_eq!(plan_recovery(&[row(1, ended())], &Observed::default()), []);
    }
}
