//! How frameworks leave: they disconnect, are torn down, or do not come back.

use std::fmt;
use std::time::Duration;

use weir_protocol::{
    AgentEvent, AgentId, CallError, ErrorCode, Failure, FrameworkEvent, FrameworkId, Millis, Note,
    Reason, RescindReason, TaskKey,
};

use super::agent::Stray;
use super::framework::{Framework, FrameworkPresence};
use super::input::SessionId;
use super::outbox::Message;
use super::record::{Actor, EndedFramework, Row, RowKey};
use super::state::Ledger;
use super::timers::Timer;

/// Why a framework ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    TornDown,
    TornDownBy,
    NotBack,
    NothingLeft,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TornDown => "it was torn down by itself",
            Self::TornDownBy => "it was torn down by an operator",
            Self::NotBack => "it did not come back in time",
            Self::NothingLeft => "nobody attends to it, and it has no task left",
        })
    }
}

impl Ledger {
    /// Ends all offers of a framework, and tells it why if it is to be told.
    pub(super) fn end_offers_of(&mut self, id: FrameworkId, reason: Option<RescindReason>) {
        let offers = self.frameworks.by_id.get(&id);
        let offers: Vec<_> = offers
            .into_iter()
            .flat_map(|framework| framework.offers.iter().copied())
            .collect();
        for offer in offers {
            match reason {
                Some(reason) => self.rescind(offer, reason),
                None => self.withdraw(offer),
            }
        }
    }

    /// Tells a session of a framework why its conversation ends, and closes it.
    pub(super) fn end_conversation(&mut self, session: SessionId, failure: Failure) {
        let error = CallError {
            call: None,
            failure,
        };
        self.send(session, Message::Framework(FrameworkEvent::Error(error)));
        self.close(session);
    }

    /// Has the time of a framework to fail over run; if it wants none, it ends at once.
    pub(super) fn disconnect_framework(&mut self, id: FrameworkId) {
        let Some(framework) = self.frameworks.by_id.get_mut(&id) else {
            return;
        };
        if let FrameworkPresence::Connected { heartbeat_at, .. } = framework.presence {
            self.timers.cancel(heartbeat_at, Timer::Heartbeat(id));
        }
        let timeout = framework.info.failover_timeout;
        let gone_at = self.framework_gone_at(timeout, Duration::ZERO);
        let Some(framework) = self.frameworks.by_id.get_mut(&id) else {
            return;
        };
        framework.presence = FrameworkPresence::Away { gone_at };
        self.timers.set(gone_at, Timer::FrameworkGone(id));
        self.allocator
            .deactivate_framework(id)
            .expect("the allocator has the frameworks of the ledger");
        self.end_offers_of(id, None);
        if timeout == Millis(0) {
            return self.end_framework(id, End::NotBack, Actor::Scheduler);
        }
        self.acknowledge_unattended(id);
        self.hasten_end(id, self.settings.framework_return);
    }

    /// Returns whether a framework is away that has left its tasks alone.
    pub(super) fn is_unattended(&self, id: FrameworkId) -> bool {
        let framework = self.frameworks.by_id.get(&id);
        framework.is_some_and(Framework::is_unattended)
    }

    /// Acknowledges what a framework has been told of its tasks, and has left alone.
    fn acknowledge_unattended(&mut self, id: FrameworkId) {
        let framework = self.frameworks.by_id.get(&id);
        let Some(framework) = framework.filter(|framework| framework.is_unattended()) else {
            return;
        };
        let open = framework.tasks.iter().filter_map(|task| {
            let key = TaskKey {
                framework: id,
                task: task.clone(),
            };
            let task = self.tasks.get(&key)?;
            Some((task.agent, key.task, task.unacknowledged?))
        });
        let open: Vec<_> = open.collect();
        for (agent, task, update) in open {
            self.handle_acknowledge(id, agent, task, update);
        }
    }

    /// Waits no longer than so for a framework that has left its tasks alone and has none any more: its
    /// time to fail over is that of its tasks.
    pub(super) fn hasten_end(&mut self, id: FrameworkId, patience: Duration) {
        let framework = self.frameworks.by_id.get(&id);
        if framework.is_some_and(Framework::is_left_over) {
            let soon = self.now.elapsed.saturating_add(patience);
            self.move_end(id, |before| before.min(soon));
        }
    }

    /// Waits for a framework as long as it asked for, counted from now, for it has a task after all.
    pub(super) fn put_off_end(&mut self, id: FrameworkId) {
        let framework = self.frameworks.by_id.get(&id);
        if let Some(framework) = framework.filter(|framework| framework.is_unattended()) {
            let timeout = framework.info.failover_timeout;
            let later = self.framework_gone_at(timeout, self.settings.framework_return);
            self.move_end(id, |before| before.max(later));
        }
    }

    /// Has the end of a framework that is away come at another time.
    fn move_end(&mut self, id: FrameworkId, to: impl FnOnce(Duration) -> Duration) {
        let framework = self.frameworks.by_id.get_mut(&id);
        match framework.map(|framework| &mut framework.presence) {
            Some(FrameworkPresence::Away { gone_at }) => {
                self.timers.cancel(*gone_at, Timer::FrameworkGone(id));
                *gone_at = to(*gone_at);
                self.timers.set(*gone_at, Timer::FrameworkGone(id));
            }
            Some(FrameworkPresence::Connected { .. }) | None => {}
        }
    }

    /// Returns when a framework that is away has ended.
    pub(super) fn framework_gone_at(&self, timeout: Millis, least: Duration) -> Duration {
        self.now
            .elapsed
            .saturating_add(Duration::from(timeout).max(least))
    }

    pub(super) fn handle_framework_gone(&mut self, id: FrameworkId) {
        let framework = self.frameworks.by_id.get(&id);
        let end = match framework.is_some_and(Framework::is_left_over) {
            true => End::NothingLeft,
            false => End::NotBack,
        };
        self.end_framework(id, end, Actor::Scheduler);
    }

    pub(super) fn handle_teardown(&mut self, id: FrameworkId) {
        let Some(framework) = self.frameworks.by_id.get(&id) else {
            return;
        };
        let actor = Actor::Framework {
            id: Some(id),
            principal: framework.principal.clone(),
        };
        self.end_framework(id, End::TornDown, actor);
    }

    /// Ends a framework with all its tasks. It may not come back.
    ///
    /// What its tasks hold they hold until their agents say that they have ended.
    pub(super) fn end_framework(&mut self, id: FrameworkId, end: End, who: Actor) {
        self.end_offers_of(id, None);
        self.cancel_errands_of(id);
        let Some(framework) = self.frameworks.by_id.remove(&id) else {
            return;
        };
        match framework.presence {
            FrameworkPresence::Away { gone_at } => {
                self.timers.cancel(gone_at, Timer::FrameworkGone(id));
            }
            FrameworkPresence::Connected {
                session,
                heartbeat_at,
                ..
            } => {
                self.timers.cancel(heartbeat_at, Timer::Heartbeat(id));
                let failure = Failure::new(
                    ErrorCode::FrameworkRemoved,
                    format_args!("framework {id} has ended: {end}"),
                    "to go on, subscribe without an id, as a new framework",
                );
                self.end_conversation(session, failure);
            }
        }
        for task in &framework.tasks {
            let key = TaskKey {
                framework: id,
                task: task.clone(),
            };
            self.make_stray(key);
        }
        self.allocator
            .remove_framework(id)
            .expect("the allocator has the frameworks of the ledger");
        self.forget_answers_of(id);
        self.audit(who, format_args!("end framework {id}: {end}"), None);
        self.drop_row(RowKey::Framework(id));
        let ended = EndedFramework {
            id,
            info: framework.info,
            principal: framework.principal,
            subscribed: framework.subscribed,
            at: self.now.unix,
            why: Note::cut(end),
        };
        self.remember_ended_framework(ended);
    }

    pub(super) fn remember_ended_framework(&mut self, ended: EndedFramework) {
        self.put(Row::EndedFramework(ended.clone()));
        let most = self.settings.bounds.ended_frameworks;
        if let Some(forgotten) = self.frameworks.remember(ended, most) {
            self.drop_row(RowKey::EndedFramework(forgotten));
        }
    }

    /// Takes a task from a framework that ends, and has it killed.
    fn make_stray(&mut self, key: TaskKey) {
        let Some(task) = self.tasks.remove(&key) else {
            return;
        };
        self.drop_row(RowKey::Task(key.clone()));
        self.remember_ended_task(&task, None);
        let agent = task.agent;
        let Some(on) = self.agents.by_id.get_mut(&agent) else {
            return;
        };
        on.tasks.remove(&key);
        if task.is_alive() {
            let stray = Stray {
                resources: task.resources().clone(),
            };
            on.strays.insert(key.clone(), stray);
            self.kill_stray(agent, key);
        }
    }

    /// Has a task that belongs to nobody killed.
    pub(super) fn kill_stray(&mut self, agent: AgentId, task: TaskKey) {
        self.tell_agent(
            agent,
            AgentEvent::Kill {
                task,
                grace: None,
                reason: Some(Reason::FrameworkRemoved),
            },
        );
    }
}
