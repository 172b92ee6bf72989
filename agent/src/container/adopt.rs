//! Carries out what [`recovery`](super::recovery) plans, before the first request.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use nix::unistd::Pid;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use weir_executor::record::Outcome;
use weir_sys::cgroup::Cgroup;
use weir_sys::pidfd::{self, PidfdError};
use weir_sys::process::{self, StartTime};

use super::entry::EntryState;
use super::error::RecoveryError;
use super::execute::{
    RanAs, Tools, attachment, blocking, chain, enforce, make_directory, now, remove_cgroup,
    remove_directory,
};
use super::facilities::{ContainerNetwork, LiveAttachment};
use super::handle::Request;
use super::id::ContainerId;
use super::plan::{Books, Places};
use super::recovery::{ExecutorSeen, Observed, Step, plan_recovery};
use super::task::{Owner, Settings};
use super::view::Listing;
use crate::store::{ContainerRow, ExecutorIdentity, Phase, StoreHandle, Stored};

/// An executor that lives, and a hold on it.
struct Held {
    seen: ExecutorSeen,
    executor: OwnedFd,
}

/// Makes the task's state of what a former agent left.
pub(super) async fn recover<N: ContainerNetwork>(
    settings: Settings,
    store: StoreHandle,
    network: Arc<N>,
    requests: mpsc::Receiver<Request>,
    published: watch::Sender<Listing>,
) -> Result<Owner<N>, RecoveryError> {
    let Settings {
        config,
        cgroups,
        state_directory,
        executor,
        pools,
        quarantine,
    } = settings;
    let places = Places {
        state: state_directory,
        cgroup_parent: cgroups.parent().path().to_owned(),
    };
    let Stored {
        containers: rows,
        freed,
    } = store.load().await?;
    let mut books = Books::new(pools, quarantine);
    books
        .restore(&rows, freed, now())
        .map_err(RecoveryError::Ports)?;

    let boot_id = process::boot_id().map_err(|source| RecoveryError::File {
        what: "read",
        path: "/proc/sys/kernel/random/boot_id".into(),
        source: io::Error::other(source),
    })?;
    let (observed, mut held) = {
        let (places, rows, boot_id) = (places.clone(), rows.clone(), boot_id.clone());
        blocking(move || observe(&places, &rows, &boot_id)).await?
    };
    let steps = plan_recovery(&rows, &observed);

    let live = live_attachments(&steps, &rows, &places)?;
    network
        .recover(live)
        .await
        .map_err(RecoveryError::Network)?;

    let tools = Arc::new(Tools {
        network,
        store,
        cgroups,
        places,
        config,
        executor,
        boot_id,
    });
    let mut owner = Owner {
        tools,
        books,
        quarantine,
        entries: BTreeMap::new(),
        jobs: JoinSet::new(),
        requests,
        published,
        ends: 0,
        out_of_memory: Arc::default(),
    };
    let mut by_id: BTreeMap<ContainerId, ContainerRow> = BTreeMap::new();
    for row in rows {
        match &row.phase {
            Phase::Ended {
                outcome,
                started_at,
                ended_at,
            } => {
                let state = EntryState::Ended {
                    started_at: *started_at,
                    ended_at: *ended_at,
                    outcome: outcome.clone(),
                };
                owner.insert(row, state);
            }
            Phase::Starting | Phase::Running { .. } => {
                by_id.insert(row.id.clone(), row);
            }
        }
    }
    for step in steps {
        execute_step(&mut owner, step, &mut by_id, &mut held).await;
    }
    owner.forget_oldest();
    owner.start_cleaning();
    Ok(owner)
}

/// Makes the limits of a container agree with its row and with the configuration, either of which may be newer than what
/// the former agent set.
async fn limit_again<N: ContainerNetwork>(tools: &Arc<Tools<N>>, row: &ContainerRow) {
    if let Err(error) = enforce(tools, row, &row.launch).await {
        // What was set before still holds.
        tracing::error!(container = %row.name, id = %row.id, error = %chain(&error), "its limits cannot be set again");
    }
}

async fn execute_step<N: ContainerNetwork>(
    owner: &mut Owner<N>,
    step: Step,
    rows: &mut BTreeMap<ContainerId, ContainerRow>,
    held: &mut BTreeMap<ContainerId, Held>,
) {
    let mut take = |id: &ContainerId| rows.remove(id).expect("each live row has one step");
    match step {
        Step::Adopt { id, network } => {
            let row = take(&id);
            let Phase::Running {
                executor: identity,
                started_at,
            } = row.phase.clone()
            else {
                unreachable!("only what runs is adopted");
            };
            let executor = held
                .remove(&id)
                .expect("only what was seen is adopted")
                .executor;
            tracing::info!(container = %row.name, %id, executor = identity.pid, network, "adopted");
            if network {
                limit_again(&owner.tools, &row).await;
            }
            let state = EntryState::Running {
                executor: Arc::new(executor),
                identity,
                started_at,
                updating: false,
                failed: None,
            };
            owner.insert(row, state);
            owner.start_watch(&id);
        }
        Step::End { id, ran } => {
            let row = take(&id);
            tracing::info!(container = %row.name, %id, ran, "ended while there was no agent");
            let started_at = match &row.phase {
                Phase::Running { started_at, .. } => Some(*started_at),
                Phase::Starting | Phase::Ended { .. } => None,
            };
            owner.insert(
                row,
                EntryState::Ending {
                    started_at,
                    failed: None,
                },
            );
            let ran = if ran {
                RanAs::Task
            } else {
                let reason = "the agent ended while it was being started".to_owned();
                RanAs::Nothing {
                    outcome: Outcome::Aborted { reason },
                }
            };
            owner.start_end(id, ran);
        }
        Step::RemoveCgroup { name } => {
            let path = owner.tools.places.cgroup_parent.join(&name);
            tracing::warn!(cgroup = %path.display(), "removing a cgroup that no container owns");
            if let Err(error) = blocking(move || remove_cgroup(&path)).await {
                tracing::error!(cgroup = name, error = %chain(&error), "the stray cgroup stays");
            }
        }
        Step::RemoveDirectory { name } => {
            let path = owner.tools.places.containers().join(&name);
            tracing::warn!(directory = %path.display(), "removing a directory that no container owns");
            if let Err(error) = blocking(move || remove_directory(&path)).await {
                tracing::error!(directory = name, error = %chain(&error), "the stray directory stays");
            }
        }
    }
}

/// Returns what the network takes over.
fn live_attachments(
    steps: &[Step],
    rows: &[ContainerRow],
    places: &Places,
) -> Result<Vec<LiveAttachment>, RecoveryError> {
    let adopted: BTreeSet<&ContainerId> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Adopt { id, network: true } => Some(id),
            Step::Adopt { network: false, .. }
            | Step::End { .. }
            | Step::RemoveCgroup { .. }
            | Step::RemoveDirectory { .. } => None,
        })
        .collect();
    let mut live = Vec::new();
    for row in rows.iter().filter(|row| adopted.contains(&row.id)) {
        if let Phase::Running { executor, .. } = &row.phase {
            let cgroup_id = Cgroup::open(&places.task_cgroup(&row.id))?.id()?;
            let attachment = attachment(row, cgroup_id);
            live.push(LiveAttachment {
                attachment,
                init_pid: executor.init_pid,
            });
        }
    }
    Ok(live)
}

/// Looks at what there is; makes the directories that must be there.
fn observe(
    places: &Places,
    rows: &[ContainerRow],
    boot_id: &str,
) -> Result<(Observed, BTreeMap<ContainerId, Held>), RecoveryError> {
    let containers = places.containers();
    make_directory(&containers, 0o711).map_err(|error| RecoveryError::File {
        what: "create",
        path: containers.clone(),
        source: io::Error::other(error),
    })?;
    let mut held = BTreeMap::new();
    for row in rows {
        if let Phase::Running { executor, .. } = &row.phase
            && let Some(found) = hold(executor, boot_id)
        {
            held.insert(row.id.clone(), found);
        }
    }
    let cgroups = Cgroup::open(&places.cgroup_parent)?
        .children()?
        .iter()
        .filter_map(|cgroup| cgroup.path().file_name()?.to_str().map(str::to_owned))
        .collect();
    let observed = Observed {
        executors: held
            .iter()
            .map(|(id, held)| (id.clone(), held.seen))
            .collect(),
        cgroups,
        directories: directories_in(&containers)?,
    };
    Ok((observed, held))
}

fn hold(identity: &ExecutorIdentity, boot_id: &str) -> Option<Held> {
    if identity.boot_id != boot_id {
        return None;
    }
    let pid = Pid::from_raw(i32::try_from(identity.pid).ok()?);
    match pidfd::open_verified(pid, StartTime::from_ticks(identity.start_ticks)) {
        Ok(executor) => {
            let has_init = parent_of(identity.init_pid) == Some(identity.pid);
            let seen = if has_init {
                ExecutorSeen::WithInit
            } else {
                ExecutorSeen::WithoutInit
            };
            Some(Held { seen, executor })
        }
        Err(PidfdError::Gone { .. }) => None,
        Err(error) => {
            // Taken for dead, its cgroup is killed: nothing runs on that nobody supervises.
            tracing::error!(%pid, error = %chain(&error), "an executor cannot be adopted");
            None
        }
    }
}

/// Returns the parent of a process; a zombie, whose namespaces are gone, has none here.
fn parent_of(pid: u32) -> Option<u32> {
    parse_parent(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn parse_parent(status: &str) -> Option<u32> {
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    if field("State:")?.starts_with('Z') {
        return None;
    }
    field("PPid:")?.parse().ok()
}

fn directories_in(path: &Path) -> Result<BTreeSet<String>, RecoveryError> {
    let failed = |source| RecoveryError::File {
        what: "list",
        path: path.to_owned(),
        source,
    };
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        match entry.file_name().into_string() {
            Ok(name) => {
                names.insert(name);
            }
            // The agent never made it.
            Err(name) => tracing::warn!(?name, "a stray file among the containers' directories"),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_of_a_process_hides_its_parent() {
        bolero::check!()
            .with_type::<(String, u32, bool)>()
            .with_iterations(1000)
            .for_each(|(name, parent, is_zombie)| {
                parse_parent(name);
                // proc_task_name() in fs/proc/array.c escapes line feeds and backslashes.
                let name = name.replace('\\', "\\\\").replace('\n', "\\n");
                let state = if *is_zombie { "Z (zombie)" } else { "S (sleeping)" };
                let status = format!(
                    "Name:\t{name}\nUmask:\t0022\nState:\t{state}\nTgid:\t7\nPid:\t7\nPPid:\t{parent}\n"
                );
                let expected = (!is_zombie).then_some(*parent);
                assert_eq!(parse_parent(&status), expected, "{status:?}");
            });
    }
}
