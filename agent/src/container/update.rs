//! The part of the container task that changes containers while they run: their ports and their limits.
//!
//! A change is planned and refused here, and carried out by a job: on record first, then in the kernel. Both kinds hold
//! the container's turn, and there is one change of a container at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_resources::PortSet;

use super::adjustment::Adjustment;
use super::bandwidth::Bandwidth;
use super::cgroups::Enforcement;
use super::entry::{Entry, EntryState};
use super::error::{ContainerError, Refusal, StepError};
use super::execute::{self, NewLimits, now};
use super::facilities::ContainerNetwork;
use super::handle::Reply;
use super::id::{ContainerId, ContainerName};
use super::plan::Circumstances;
use super::spec::{Launch, PortsWanted};
use super::task::{Done, Owner, answer};
use super::view::ContainerView;
use crate::ports::Change;

impl<N: ContainerNetwork> Owner<N> {
    // === ports ===

    pub(super) fn plan_update(
        &mut self,
        name: &str,
        wanted: &PortsWanted,
        ports_in_use: &PortSet,
    ) -> Result<(ContainerId, Change), Refusal> {
        let id = self.find(name)?;
        let entry = self.entries.get_mut(&id).expect("find names entries only");
        may_begin(entry, name)?;
        let circumstances = Circumstances {
            ports_in_use,
            now: now(),
        };
        let change = self
            .books
            .plan_update(&entry.row.name, wanted, &circumstances)?;
        self.books
            .widen(&entry.row.name, &change, circumstances.now);
        begin(entry);
        Ok((id, change))
    }

    pub(super) fn start_update(
        &mut self,
        id: ContainerId,
        change: Change,
        reply: Reply<ContainerView>,
    ) {
        let entry = self.entries.get(&id).expect("it was planned for an entry");
        let (tools, turn) = (Arc::clone(&self.tools), Arc::clone(&entry.turn));
        let row = entry.row.clone();
        self.jobs.spawn(async move {
            let mut ports = turn.lock().await;
            let result = execute::update_ports(&tools, &row, &change).await;
            if result.is_ok() {
                ports.clone_from(&change.ports);
            }
            drop(ports);
            Done::Updated {
                id,
                change,
                result,
                reply,
            }
        });
    }

    pub(super) fn handle_updated(
        &mut self,
        id: &ContainerId,
        change: &Change,
        result: Result<(), StepError>,
        reply: Reply<ContainerView>,
    ) {
        let Some((entry, reply)) = finish(&mut self.entries, id, reply) else {
            return;
        };
        match result {
            Ok(()) => {
                entry.row.ports = change.ports.clone();
                self.books.replace(&entry.row.name, change, now());
                tracing::info!(container = %entry.row.name, %id, ports = %change.ports, "ports changed");
                self.publish(id);
                let entry = self.entries.get(id).expect("it was there a moment ago");
                answer(reply, Ok(ContainerView::clone(&entry.view)));
            }
            Err(error) => {
                let back = Change {
                    ports: entry.row.ports.clone(),
                    added: PortSet::new(),
                    removed: change.added.clone(),
                };
                self.books.replace(&entry.row.name, &back, now());
                answer(reply, Err(error.into()));
            }
        }
    }

    // === limits ===

    pub(super) fn handle_update_limits(
        &mut self,
        name: &str,
        adjustment: &Adjustment,
        may_kill: bool,
        reply: Reply<ContainerView>,
    ) {
        match self.plan_limits(name, adjustment, may_kill) {
            Ok((id, limits)) => self.start_limits(id, limits, reply),
            Err(refusal) => answer(reply, Err(refusal.into())),
        }
    }

    fn plan_limits(
        &mut self,
        name: &str,
        adjustment: &Adjustment,
        may_kill: bool,
    ) -> Result<(ContainerId, NewLimits), Refusal> {
        let id = self.find(name)?;
        let entry = self.entries.get_mut(&id).expect("find names entries only");
        may_begin(entry, name)?;
        let row = &entry.row;
        // What a task may use is what its framework was given, which the scheduler counts.
        if let Some(task) = &row.launch.task {
            return Err(Refusal::LimitsOfTask {
                name: name.to_owned(),
                task: task.name.task.clone(),
                framework: task.name.framework.clone(),
            });
        }
        let former = &row.launch.limits;
        let limits = adjustment.applied_to(former).checked()?;
        let (network, capabilities) = (row.launch.network, &row.launch.capabilities);
        limits.bandwidth.check(network, capabilities)?;
        let of_cgroups = self.tools.cgroups.check_change(former, &limits)?;
        let launch = Launch {
            limits,
            ..row.launch.clone()
        };
        let name = row.name.clone();
        let of_network = self.check_bandwidth(launch.limits.bandwidth, Some(&name))?;
        let entry = self
            .entries
            .get_mut(&id)
            .expect("it was there a moment ago");
        begin(entry);
        // The larger of both until it is known which holds.
        let (former, wanted) = (
            entry.row.launch.limits.bandwidth.egress_min,
            launch.limits.bandwidth.egress_min,
        );
        self.books.promise(&name, former.max(wanted));
        let limits = NewLimits {
            launch,
            unenforced: of_cgroups.and(of_network) == Enforcement::Lacking,
            may_kill,
        };
        Ok((id, limits))
    }

    /// Returns whether a container has what it asks of the network, or refuses it. `name` is its own, where it has one already.
    pub(super) fn check_bandwidth(
        &self,
        bandwidth: Bandwidth,
        name: Option<&ContainerName>,
    ) -> Result<Enforcement, Refusal> {
        if bandwidth.is_empty() {
            return Ok(Enforcement::Full);
        }
        let promised = self.books.promised_to_others(name);
        let allowed = self.tools.cgroups.allows_unenforced();
        bandwidth.check_capacity(&self.tools.network.capacity(), promised, allowed)
    }

    fn start_limits(&mut self, id: ContainerId, limits: NewLimits, reply: Reply<ContainerView>) {
        let entry = self.entries.get(&id).expect("it was planned for an entry");
        let (tools, turn) = (Arc::clone(&self.tools), Arc::clone(&entry.turn));
        let row = entry.row.clone();
        self.jobs.spawn(async move {
            let turn = turn.lock().await;
            let result = execute::update_limits(&tools, &row, &limits).await;
            drop(turn);
            Done::Limited {
                id,
                limits: Box::new(limits),
                result,
                reply,
            }
        });
    }

    pub(super) fn handle_limited(
        &mut self,
        id: &ContainerId,
        limits: NewLimits,
        result: Result<(), ContainerError>,
        reply: Reply<ContainerView>,
    ) {
        let Some((entry, reply)) = finish(&mut self.entries, id, reply) else {
            return;
        };
        let in_force = match &result {
            Ok(()) => &limits.launch,
            Err(_) => &entry.row.launch,
        };
        let minimum = in_force.limits.bandwidth.egress_min;
        self.books.promise(&entry.row.name, minimum);
        match result {
            Ok(()) => {
                entry.row.launch = limits.launch;
                entry.row.unenforced = limits.unenforced;
                let limits = &entry.row.launch.limits;
                tracing::info!(container = %entry.row.name, %id, ?limits, "limits changed");
                self.publish(id);
                let entry = self.entries.get(id).expect("it was there a moment ago");
                answer(reply, Ok(ContainerView::clone(&entry.view)));
            }
            Err(error) => answer(reply, Err(error)),
        }
    }
}

/// Ends a change; answers at once if the container has ended meanwhile.
fn finish<'a>(
    entries: &'a mut BTreeMap<ContainerId, Entry>,
    id: &ContainerId,
    reply: Reply<ContainerView>,
) -> Option<(&'a mut Entry, Reply<ContainerView>)> {
    let refusal = match entries.get_mut(id) {
        None => Refusal::NoSuchContainer {
            name: id.to_string(),
        },
        Some(entry) if !entry.view.state.is_live() => entry.not_running(),
        Some(entry) => {
            if let EntryState::Running { updating, .. } = &mut entry.state {
                *updating = false;
            }
            return Some((entry, reply));
        }
    };
    answer(reply, Err(refusal.into()));
    None
}

/// Refuses a change of a container that does not run, or is being changed.
fn may_begin(entry: &Entry, name: &str) -> Result<(), Refusal> {
    match &entry.state {
        EntryState::Running { updating: true, .. } => Err(Refusal::Updating {
            name: name.to_owned(),
        }),
        EntryState::Running {
            updating: false, ..
        } => Ok(()),
        EntryState::Starting { .. } | EntryState::Ending { .. } | EntryState::Ended { .. } => {
            Err(entry.not_running())
        }
    }
}

fn begin(entry: &mut Entry) {
    if let EntryState::Running { updating, .. } = &mut entry.state {
        *updating = true;
    }
}
