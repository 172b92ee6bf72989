//! Decides where a new container goes: pure, over the books of what is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_executor::spec::{ContainerSpec, NetworkMode};
use weir_resources::{Amount, BitRate, PortSet};

use super::cgroups::TASK;
use super::error::Refusal;
use super::id::{ContainerId, ContainerName, Slot};
use super::spec::{Launch, PortsWanted};
use crate::config::ContainerConfig;
use crate::ports::{
    Assigned, Change, Ephemeral, Freed, Grant, Ledger, LedgerError, Pools, PortRequest,
    Quarantined, UnixMs,
};
use crate::store::{ContainerRow, Phase};

/// How many ports a task is told one by one, as `WEIR_PORT0` and so on; `WEIR_PORTS` has them all.
const FIRST_PORTS_MAX: usize = 32;

/// What containers that have not ended hold: names, slots, ports.
#[derive(Debug)]
pub(crate) struct Books {
    names: BTreeMap<ContainerName, ContainerId>,
    slots: BTreeSet<Slot>,
    /// The slot that was given out last.
    last_slot: Option<Slot>,
    ledger: Ledger<ContainerName>,
    /// What each was promised of the wire.
    minima: BTreeMap<ContainerName, BitRate>,
}

/// Where a new container goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Placement {
    pub(crate) id: ContainerId,
    pub(crate) name: ContainerName,
    pub(crate) slot: Slot,
    pub(crate) grant: Grant,
}

/// The moment and the node, as a plan sees them.
pub(crate) struct Circumstances<'a> {
    /// What processes of the node have open.
    pub(crate) ports_in_use: &'a PortSet,
    pub(crate) now: UnixMs,
}

impl Books {
    pub(crate) fn new(pools: Pools, quarantine: Duration) -> Self {
        Self {
            names: BTreeMap::new(),
            slots: BTreeSet::new(),
            last_slot: None,
            ledger: Ledger::new(pools, quarantine),
            minima: BTreeMap::new(),
        }
    }

    /// Writes down what a former agent left.
    pub(crate) fn restore(
        &mut self,
        rows: &[ContainerRow],
        freed: Vec<Freed>,
        now: UnixMs,
    ) -> Result<(), LedgerError> {
        for row in rows {
            match row.phase {
                Phase::Starting | Phase::Running { .. } => {
                    let grant = Grant {
                        ports: row.ports.clone(),
                        ephemeral: row.ephemeral,
                    };
                    self.ledger.take(row.name.clone(), grant)?;
                    self.promise(&row.name, row.launch.limits.bandwidth.egress_min);
                    self.names.insert(row.name.clone(), row.id.clone());
                    self.slots.insert(row.slot);
                }
                Phase::Ended { .. } => {}
            }
        }
        self.ledger.restore_quarantine(freed, now);
        Ok(())
    }

    /// Returns where `launch` would go, or why nowhere. Nothing is taken yet.
    pub(crate) fn plan(
        &mut self,
        id: ContainerId,
        launch: &Launch,
        wanted: &PortsWanted,
        circumstances: &Circumstances<'_>,
    ) -> Result<Placement, Refusal> {
        let name = launch.name.clone().unwrap_or_else(|| {
            id.as_str()
                .parse()
                .expect("an id is made of letters that names are made of")
        });
        if let Some(holder) = self.names.get(&name) {
            return Err(Refusal::NameTaken {
                name,
                holder: holder.to_string(),
            });
        }
        let slot = self.next_slot()?;
        let request = PortRequest {
            assigned: assigned(wanted),
            ephemeral: match launch.network {
                NetworkMode::Isolated => Ephemeral::Block,
                NetworkMode::Host => Ephemeral::None,
            },
            quarantined: match launch.task {
                Some(_) => Quarantined::Taken,
                None => Quarantined::Refused,
            },
        };
        let grant = self
            .ledger
            .plan(&request, circumstances.ports_in_use, circumstances.now)
            .map_err(Refusal::Ports)?;
        Ok(Placement {
            id,
            name,
            slot,
            grant,
        })
    }

    /// Writes down a placement that was planned a moment ago.
    pub(crate) fn take(&mut self, placement: &Placement) {
        self.ledger
            .take(placement.name.clone(), placement.grant.clone())
            .expect("the placement was planned from these books, and nothing came between");
        self.names
            .insert(placement.name.clone(), placement.id.clone());
        self.slots.insert(placement.slot);
        self.last_slot = Some(placement.slot);
    }

    /// Returns what becomes of the ports of a container, or why nothing.
    pub(crate) fn plan_update(
        &mut self,
        name: &ContainerName,
        wanted: &PortsWanted,
        circumstances: &Circumstances<'_>,
    ) -> Result<Change, Refusal> {
        self.ledger
            .plan_update(
                name,
                &assigned(wanted),
                circumstances.ports_in_use,
                circumstances.now,
            )
            .map_err(Refusal::Ports)
    }

    /// Writes down that `added` is taken, before the container really has it.
    pub(crate) fn widen(&mut self, name: &ContainerName, change: &Change, now: UnixMs) {
        let ports = change.ports.union(&change.removed);
        let wider = Change {
            ports,
            added: change.added.clone(),
            removed: PortSet::new(),
        };
        self.replace(name, &wider, now);
    }

    /// Writes down that a container has `ports`, and lets what it no longer has rest.
    pub(crate) fn replace(&mut self, name: &ContainerName, change: &Change, now: UnixMs) {
        self.ledger
            .replace(name, change, now)
            .expect("the change was planned from these books, which nobody else writes");
    }

    /// Writes down what a container is promised of the wire.
    pub(crate) fn promise(&mut self, name: &ContainerName, minimum: Option<BitRate>) {
        match minimum {
            Some(minimum) => self.minima.insert(name.clone(), minimum),
            None => self.minima.remove(name),
        };
    }

    /// Returns what all but one container are promised together, in Mbit/s.
    pub(crate) fn promised_to_others(&self, name: Option<&ContainerName>) -> Amount {
        let others = self.minima.iter().filter(|(one, _)| Some(*one) != name);
        others
            .map(|(_, minimum)| minimum.amount())
            .try_fold(Amount::ZERO, Amount::checked_add)
            .expect(
                "there are a thousand containers at most, and each was promised less than there is",
            )
    }

    /// Takes back all that a container held; its ports rest if it ever ran.
    pub(crate) fn release(&mut self, name: &ContainerName, slot: Slot, ran: bool, now: UnixMs) {
        let _grant: Option<Grant> = if ran {
            self.ledger.release(name, now)
        } else {
            self.ledger.give_back(name)
        };
        self.names.remove(name);
        self.minima.remove(name);
        self.slots.remove(&slot);
    }

    /// Returns how many blocks of ephemeral ports a task could have.
    pub(crate) fn blocks_free(&self, ports_in_use: &PortSet) -> u32 {
        self.ledger.blocks_free(ports_in_use)
    }

    /// Returns the free slot after the last one given out, so that what is still said of a former
    /// container (an event, a counter that is being read) is not taken for the new one's.
    fn next_slot(&self) -> Result<Slot, Refusal> {
        let after = |slot: &Slot| self.last_slot.is_some_and(|last| *slot > last);
        let free = || Slot::all().filter(|slot| !self.slots.contains(slot));
        free()
            .find(after)
            .or_else(|| free().next())
            .ok_or(Refusal::NoSlot {
                live: self.slots.len(),
                slots: weir_abi::SLOTS_MAX,
            })
    }
}

fn assigned(wanted: &PortsWanted) -> Assigned {
    match wanted {
        PortsWanted::Set(ports) if ports.is_empty() => Assigned::None,
        PortsWanted::Set(ports) => Assigned::Explicit(ports.clone()),
        PortsWanted::Count(count) => Assigned::Count(*count),
    }
}

/// Where the agent keeps things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// `[agent] state_directory`.
    pub(crate) state: PathBuf,
    /// The cgroup that holds every container's.
    pub(crate) cgroup_parent: PathBuf,
}

impl Places {
    /// Returns the directory of all containers' directories.
    pub(crate) fn containers(&self) -> PathBuf {
        self.state.join("containers")
    }

    /// Returns the directory of one container.
    pub(crate) fn directory(&self, id: &ContainerId) -> PathBuf {
        self.containers().join(id.as_str())
    }

    /// Returns the cgroup of one container.
    pub(crate) fn cgroup(&self, id: &ContainerId) -> PathBuf {
        self.cgroup_parent.join(id.as_str())
    }

    /// Returns the cgroup of what runs inside one container.
    pub(crate) fn task_cgroup(&self, id: &ContainerId) -> PathBuf {
        task_cgroup(&self.cgroup_parent, id)
    }
}

/// Returns the cgroup of what runs inside one container.
pub(crate) fn task_cgroup(parent: &Path, id: &ContainerId) -> PathBuf {
    parent.join(id.as_str()).join(TASK)
}

/// Returns what the executor of a container is told.
pub(crate) fn executor_spec(
    row: &ContainerRow,
    places: &Places,
    config: &ContainerConfig,
) -> ContainerSpec {
    let launch = &row.launch;
    let task = launch.task.as_ref();
    ContainerSpec {
        id: row.id.to_string(),
        name: row.name.to_string(),
        directory: places.directory(&row.id),
        state_directory: places.state.clone(),
        argv: launch.argv.clone(),
        env: launch.env.clone(),
        working_directory: launch.working_directory.clone(),
        uid: launch.user.uid,
        gid: launch.user.gid,
        groups: launch.user.groups.clone(),
        user_name: launch.user.name.clone(),
        capabilities: launch.capabilities.clone(),
        cgroup: places.cgroup(&row.id),
        network: launch.network,
        ports: row.ports.to_string(),
        first_ports: row.ports.iter().take(FIRST_PORTS_MAX).collect(),
        kill_grace_ms: task.map_or(config.kill_grace_ms, |task| task.kill_grace_ms),
        output_bytes_max: config.output_bytes_max,
        output_files: config.output_files,
        tmp_bytes_max: config.tmp_bytes_max,
        volumes: task.map_or_else(Vec::new, |task| task.volumes.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::limits::Limits;
    use crate::container::spec::User;
    use crate::ports::{BlockSize, QUARANTINE};

    const NOW: UnixMs = UnixMs(1_700_000_000_000);

    fn ports(text: &str) -> PortSet {
        text.parse().unwrap()
    }

    fn books() -> Books {
        let block = BlockSize::new(1024).unwrap();
        let pools = Pools::new(ports("31000-31999"), ports("61440-65535"), block).unwrap();
        Books::new(pools, QUARANTINE)
    }

    fn launch(name: &str, network: NetworkMode) -> Launch {
        Launch {
            name: (!name.is_empty()).then(|| name.parse().unwrap()),
            argv: vec!["true".to_owned()],
            env: Vec::new(),
            working_directory: None,
            user: User {
                name: "nobody".to_owned(),
                uid: 65534,
                gid: 65534,
                groups: vec![65534],
            },
            network,
            limits: Limits::default(),
            capabilities: Vec::new(),
            task: None,
        }
    }

    fn place(
        books: &mut Books,
        number: u64,
        name: &str,
        wanted: &str,
    ) -> Result<Placement, Refusal> {
        let circumstances = Circumstances {
            ports_in_use: &PortSet::new(),
            now: NOW,
        };
        let placement = books.plan(
            ContainerId::from_random(number),
            &launch(name, NetworkMode::Isolated),
            &PortsWanted::Set(ports(wanted)),
            &circumstances,
        )?;
        books.take(&placement);
        Ok(placement)
    }

    #[test]
    fn a_name_is_free_again_when_its_container_has_ended() {
        let mut books = books();
        let first = place(&mut books, 1, "web", "").unwrap();
        let refusal = place(&mut books, 2, "web", "").unwrap_err();
        assert!(refusal.to_string().contains(first.id.as_str()), "{refusal}");
        books.release(&first.name, first.slot, true, NOW);
        place(&mut books, 3, "web", "").unwrap();
    }

    #[test]
    fn a_container_without_a_name_is_called_by_its_id() {
        let placement = place(&mut books(), 7, "", "").unwrap();
        assert_eq!(placement.name.as_str(), placement.id.as_str());
    }

    #[test]
    fn slots_go_round_before_one_is_used_again() {
        let mut books = books();
        let first = place(&mut books, 1, "a", "").unwrap();
        books.release(&first.name, first.slot, false, NOW);
        let second = place(&mut books, 2, "b", "").unwrap();
        assert_eq!((first.slot.index(), second.slot.index()), (0, 1));
        books.last_slot = Slot::all().last();
        assert_eq!(place(&mut books, 3, "c", "").unwrap().slot.index(), 0);
    }

    #[test]
    fn only_an_isolated_container_has_a_block() {
        let mut books = books();
        let circumstances = Circumstances {
            ports_in_use: &PortSet::new(),
            now: NOW,
        };
        let mut block = |network| {
            let id = ContainerId::from_random(1);
            let launch = launch("", network);
            let wanted = PortsWanted::default();
            books
                .plan(id, &launch, &wanted, &circumstances)
                .unwrap()
                .grant
                .ephemeral
        };
        assert!(block(NetworkMode::Isolated).is_some());
        assert_eq!(block(NetworkMode::Host), None);
    }

    #[test]
    fn a_refusal_about_ports_says_both_numbers_and_what_to_do() {
        let mut books = books();
        place(&mut books, 1, "web", "31000-31009").unwrap();
        let refusal = place(&mut books, 2, "other", "31005").unwrap_err();
        assert_eq!(refusal.to_string(), "port 31005 is owned by container web");
        assert_eq!(refusal.remedy(), "ask for others, or end it");
    }

    #[test]
    fn what_an_update_adds_is_taken_before_it_is_there_and_what_it_removes_after() {
        let mut books = books();
        let web = place(&mut books, 1, "web", "31000-31009").unwrap();
        let circumstances = Circumstances {
            ports_in_use: &PortSet::new(),
            now: NOW,
        };
        let wanted = PortsWanted::Set(ports("31005-31014"));
        let change = books
            .plan_update(&web.name, &wanted, &circumstances)
            .unwrap();
        books.widen(&web.name, &change, NOW);
        assert!(place(&mut books, 2, "a", "31000").is_err());
        assert!(place(&mut books, 2, "a", "31014").is_err());
        books.replace(&web.name, &change, NOW);
        let refusal = place(&mut books, 2, "a", "31000").unwrap_err();
        assert!(refusal.to_string().contains("freed 0 s ago"), "{refusal}");
    }
}
