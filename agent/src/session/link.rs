//! Registering, and what is said of the agent as a whole.

use std::sync::Arc;
use std::time::Duration;

use weir_protocol::agent::registration_calls;
use weir_protocol::{
    AgentCall, AgentId, AgentInfo, AgentName, AgentTask, ErrorCode, Estimate, Failure, Line,
    PortBlocks, Registration, TaskKey, VolumeSizes,
};
use weir_resources::Resources;

use super::journal::Connection;
use super::machine::{AgentSession, Circumstances, Duty, Lent, Link};
use super::output::{HangUp, Output};
use crate::store::SessionChange;

impl AgentSession {
    pub(super) fn handle_connected(&mut self, name: AgentName, circumstances: &Circumstances<'_>) {
        self.arrived = Some(name);
        self.register_arrived(circumstances);
    }

    /// Registers on the connection that there is, once nothing is left to wait for.
    ///
    /// - A change that is under way: whoever is registered with takes the set for what it is told, and a
    ///   scheduler that has lost its database could make nothing of the answer to a change that it knows
    ///   nothing of.
    /// - The first estimate, if tasks run on what is lent: to lend nothing is to want it all back.
    pub(super) fn register_arrived(&mut self, circumstances: &Circumstances<'_>) {
        if self.arrived.is_none()
            || self.is_changing_now()
            || self.is_unestimated(circumstances.now.since_boot)
        {
            return;
        }
        if let Some(name) = self.arrived.take() {
            self.register(name, circumstances);
        }
    }

    fn is_unestimated(&self, now: Duration) -> bool {
        let mut live = self.tasks.values().filter(|task| task.is_live());
        self.unestimated_until.is_some_and(|until| now < until)
            && live.any(|task| task.is_revocable())
    }

    fn register(&mut self, name: AgentName, circumstances: &Circumstances<'_>) {
        self.connection = Connection(self.connection.0 + 1);
        self.link = Link::Registering;
        match &self.duty {
            Duty::Serving | Duty::Draining => {}
            Duty::Left => return self.journal.effect(Output::HangUp(HangUp::Left)),
            Duty::Removed(failure) => {
                let hang_up = HangUp::Removed(failure.clone());
                return self.journal.effect(Output::HangUp(hang_up));
            }
        }
        let tasks: Vec<AgentTask> = self.tasks.values().map(|task| task.describe()).collect();
        let now = circumstances.now.since_boot;
        let registration = Registration {
            agent: AgentInfo {
                name,
                hostname: self.profile.hostname.clone(),
                addresses: Arc::clone(&self.profile.addresses),
                attributes: self.profile.attributes.clone(),
                resources: self.profile.resources.clone(),
                // Directories, which nothing keeps from growing.
                volume_sizes: VolumeSizes::Accounted,
            },
            boot: self.profile.boot.clone(),
            id: self.agent,
            checkpointed: self.set(),
            port_blocks: self.port_blocks,
            estimate: self.estimate.as_ref().and_then(|lent| lent.rest(now)),
            tasks_total: 0,
        };
        for call in registration_calls(registration, tasks) {
            self.say(call);
        }
    }

    pub(super) fn handle_disconnected(&mut self) {
        self.link = Link::Down;
        self.arrived = None;
        for task in self.tasks.values_mut() {
            task.delivery = None;
        }
        self.deliveries.clear();
    }

    pub(super) fn handle_registered(
        &mut self,
        id: AgentId,
        scheduler: &Line,
        circumstances: &Circumstances<'_>,
    ) {
        if self.link != Link::Registering {
            return;
        }
        self.figures.registrations += 1;
        tracing::info!(agent = %id, %scheduler, "registered");
        if self.agent != Some(id) {
            if let Some(former) = self.agent {
                tracing::warn!(%former, agent = %id, "the scheduler gave the agent another id");
            }
            self.agent = Some(id);
            self.journal
                .record(SessionChange::SetAgent { id: Some(id) });
        }
        self.link = Link::Registered;
        // Oldest first: what has waited longest is what somebody waits for.
        let mut keys: Vec<_> = self
            .tasks
            .iter()
            .filter_map(|(key, task)| Some((task.updates.front()?.timestamp, key.clone())))
            .collect();
        keys.sort_unstable();
        for (_, key) in keys {
            self.deliver(&key, circumstances);
        }
    }

    pub(super) fn handle_refused(
        &mut self,
        failure: Failure,
        circumstances: &mut Circumstances<'_>,
    ) {
        self.figures.registrations_refused += 1;
        if failure.code == ErrorCode::AgentRemoved {
            return self.handle_removed(failure, circumstances);
        }
        tracing::error!(reason = %failure.reason, remedy = %failure.remedy, "registration refused");
        self.journal
            .effect(Output::HangUp(HangUp::Refused(failure)));
    }

    /// Takes note of what may be lent. It is said when it changes, and again before it expires.
    pub(super) fn handle_estimated(
        &mut self,
        resources: Resources,
        circumstances: &Circumstances<'_>,
    ) {
        self.unestimated_until = None;
        let now = circumstances.now.since_boot;
        let ttl = self.profile.estimate_ttl;
        let is_said = match &self.estimate {
            // What was never lent need not be taken back.
            None => resources.is_empty(),
            Some(lent) => {
                // Half of its time leaves as much for a connection that is slow or broken.
                let renewal = lent.at.saturating_add(Duration::from(ttl) / 2);
                *lent.estimate.resources() == resources && now < renewal
            }
        };
        if is_said {
            return;
        }
        let version = self.next_version(
            self.estimate
                .as_ref()
                .map_or(0, |lent| lent.estimate.version()),
            circumstances,
        );
        match Estimate::new(version, ttl, resources) {
            Ok(estimate) => {
                self.estimate = Some(Lent {
                    estimate: estimate.clone(),
                    at: now,
                });
                self.say_when_registered(AgentCall::Estimate(estimate));
            }
            Err(error) => tracing::error!(%error, "an estimate that cannot be lent"),
        }
    }

    pub(super) fn handle_port_blocks(
        &mut self,
        free: u32,
        held: u32,
        circumstances: &Circumstances<'_>,
    ) {
        let PortBlocks { version, .. } = self.port_blocks;
        if (self.port_blocks.free, self.port_blocks.held) == (free, held) {
            return;
        }
        self.port_blocks = PortBlocks {
            version: self.next_version(version, circumstances),
            free,
            held,
        };
        self.say_when_registered(AgentCall::PortBlocks(self.port_blocks));
    }

    /// Returns the number of something that is counted within a boot.
    ///
    /// The clock since boot goes on while the agent is restarted, so that nothing need be kept.
    fn next_version(&self, last: u64, circumstances: &Circumstances<'_>) -> u64 {
        let clock = circumstances.now.since_boot.as_millis();
        let clock = u64::try_from(clock).unwrap_or(u64::MAX);
        clock.max(last.saturating_add(1))
    }

    /// Ends what came to its end: an agent that is drained leaves, one that was removed begins anew.
    pub(super) fn settle_duty(&mut self) {
        let is_busy = self.begun.is_some() || !self.waiting.is_empty();
        match &self.duty {
            Duty::Serving | Duty::Left => {}
            Duty::Draining => {
                if self.tasks.is_empty() && !is_busy && self.link == Link::Registered {
                    tracing::warn!(
                        remedy = "restart the agent when the node may take work again",
                        "drained: it leaves the scheduler, and takes nothing from it any more"
                    );
                    self.duty = Duty::Left;
                    self.agent = None;
                    self.journal.record(SessionChange::SetAgent { id: None });
                    self.say(AgentCall::Unregister);
                    self.journal.effect(Output::HangUp(HangUp::Left));
                }
            }
            Duty::Removed(_) => {
                if !is_busy && self.tasks.values().all(|task| !task.is_live()) {
                    tracing::warn!("nothing of the removed agent is left; beginning as a new one");
                    self.duty = Duty::Serving;
                    self.agent = None;
                    self.tasks.clear();
                    self.finished.clear();
                    self.deliveries.clear();
                    self.journal.record(SessionChange::SetAgent { id: None });
                    self.journal.record(SessionChange::ForgetTasks);
                }
            }
        }
    }

    /// Says something on the connection there is.
    pub(super) fn say(&mut self, call: AgentCall) {
        self.journal.say(self.connection, call);
    }

    /// Says something that a registration would say anyway.
    fn say_when_registered(&mut self, call: AgentCall) {
        match self.link {
            // While registering, too: the registration that is on its way says something older.
            Link::Registering | Link::Registered => self.say(call),
            Link::Down => {}
        }
    }

    /// Returns the tasks in no particular order.
    pub(super) fn live_keys(&self) -> Vec<TaskKey> {
        let live = self.tasks.iter().filter(|(_, task)| task.is_live());
        live.map(|(key, _)| key.clone()).collect()
    }
}
