//! The ledger itself, and what it is from outside.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use weir_protocol::operator::{Answered, OperatorAnswer};
use weir_protocol::{
    AgentEvent, AgentId, CallError, CallId, Failure, FrameworkEvent, FrameworkId, OfferId, TaskKey,
};
use weir_resources::Role;

use super::agent::Agents;
use super::answers::Answers;
use super::census::RemovedAgents;
use super::errand::Errands;
use super::framework::{FrameworkPresence, Frameworks};
use super::input::{Input, Moment, SessionId};
use super::issue::{IdSource, Seed};
use super::offer::HeldOffer;
use super::outbox::{Batch, Message, Outbox, Outgoing, Written};
use super::policy::Policy;
use super::record::{Actor, AuditEntry, Record, Row, RowKey};
use super::session::{Session, Sessions};
use super::settings::Settings;
use super::task::{EndedTasks, Task};
use super::timers::{Timer, Timers};
use crate::allocator::{Allocator, Weight};

/// How many agents are looked at for what to offer in one step, so that no step is long.
const AGENTS_PER_STEP: usize = 256;

/// How many timers fire in one step, for the same reason.
const TIMERS_PER_STEP: usize = 256;

/// Who holds what. See the [module](super).
#[derive(Debug)]
pub struct Ledger {
    pub(super) settings: Settings,
    pub(super) policy: Arc<dyn Policy>,
    pub(super) now: Moment,
    /// When the ledger began.
    pub(super) began: Duration,
    pub(super) ids: IdSource,
    /// The number that the next task, errand or answer gets.
    pub(super) next_number: u64,
    pub(super) sessions: Sessions,
    pub(super) agents: Agents,
    pub(super) frameworks: Frameworks,
    pub(super) offers: BTreeMap<OfferId, HeldOffer>,
    pub(super) tasks: BTreeMap<TaskKey, Task>,
    pub(super) ended_tasks: EndedTasks,
    pub(super) errands: Errands,
    pub(super) answers: Answers,
    /// As operators have set them.
    pub(super) weights: BTreeMap<Role, Weight>,
    pub(super) timers: Timers,
    pub(super) outbox: Outbox,
    pub(super) allocator: Allocator,
    /// How often the allocator was asked for grants, and how many it gave: for metrics.
    pub(super) rounds: u64,
    pub(super) grants: u64,
    pub(super) removed: RemovedAgents,
}

impl Ledger {
    /// Returns a ledger without an agent and a framework.
    pub fn new(settings: Settings, policy: Arc<dyn Policy>, seed: Seed, now: Moment) -> Self {
        let mut allocator = Allocator::new(settings.allocator, seed.half());
        for (role, weight) in &settings.weights {
            allocator.set_weight(role, *weight);
        }
        Self {
            settings,
            policy,
            now,
            began: now.elapsed,
            ids: IdSource::new(seed),
            next_number: 1,
            sessions: Sessions::new(),
            agents: Agents::default(),
            frameworks: Frameworks::default(),
            offers: BTreeMap::new(),
            tasks: BTreeMap::new(),
            ended_tasks: EndedTasks::default(),
            errands: Errands::default(),
            answers: Answers::default(),
            weights: BTreeMap::new(),
            timers: Timers::default(),
            outbox: Outbox::default(),
            allocator,
            rounds: 0,
            grants: 0,
            removed: RemovedAgents::default(),
        }
    }

    /// Does what is to be done about something that happens.
    ///
    /// Take what it leads to with [`Self::poll_batch`] and [`Self::poll_outgoing`].
    pub fn handle(&mut self, now: Moment, input: Input) {
        self.set_now(now);
        match input {
            Input::Opened {
                session,
                peer,
                software,
            } => {
                self.sessions.insert(session, Session::new(peer, software));
            }
            Input::Closed { session } => self.handle_closed(session),
            Input::Agent { session, call } => self.handle_agent_call(session, call),
            Input::Framework { session, call } => self.handle_framework_call(session, call),
            Input::Operator { session, call } => self.handle_operator_call(session, call),
        }
        self.make_offers();
        self.check();
    }

    /// Returns when [`Self::handle_deadline`] is to be called, or `None` if nothing waits.
    ///
    /// It may be in the past: then there is more to do than fits one step.
    pub fn next_deadline(&self) -> Option<Duration> {
        if self.allocator.is_pending() {
            return Some(self.now.elapsed);
        }
        let timers = self.timers.next();
        let filters = self.allocator.next_deadline();
        timers.into_iter().chain(filters).min()
    }

    /// Does what is to be done at a time.
    pub fn handle_deadline(&mut self, now: Moment) {
        self.set_now(now);
        for _ in 0..TIMERS_PER_STEP {
            let Some(timer) = self.timers.pop_due(self.now.elapsed) else {
                break;
            };
            match timer {
                Timer::AgentGone(agent) => self.handle_agent_gone(agent),
                Timer::EstimateEnds(agent) => self.handle_estimate_end(agent),
                Timer::FrameworkGone(framework) => self.handle_framework_gone(framework),
                Timer::Heartbeat(framework) => self.handle_heartbeat(framework),
                Timer::OfferExpires(offer) => self.handle_offer_expired(offer),
            }
        }
        self.make_offers();
        self.check();
    }

    /// Returns records to write, if there are any that were not given out: all of them, as one batch.
    pub fn poll_batch(&mut self) -> Option<Batch> {
        self.outbox.poll_batch()
    }

    /// Lets go what waited for a batch. Batches are written in the order in which they were given out,
    /// so this stands for all before it.
    pub fn handle_written(&mut self, written: Written) {
        self.outbox.handle_written(written);
    }

    /// Returns the next message that may go: every record before it is durable.
    pub fn poll_outgoing(&mut self) -> Option<Outgoing> {
        self.outbox.poll_outgoing()
    }

    /// Returns how many messages wait for records to be written, or to be taken.
    ///
    /// Whoever feeds the ledger stops while this is high: it has no bound of its own, for it cannot
    /// drop a message.
    pub fn backlog(&self) -> usize {
        self.outbox.waiting()
    }

    /// Has other rules of access count from now on.
    pub fn set_policy(&mut self, policy: Arc<dyn Policy>) {
        self.policy = policy;
    }

    /// Asserts everything that must always hold: see [`conservation`](super::conservation).
    ///
    /// It goes through everything: for tests, and for a doubt. Debug builds do it after every step for
    /// what the step has touched.
    ///
    /// # Panics
    ///
    /// If it is not so.
    pub fn assert_consistent(&self) {
        self.assert_everything();
        self.allocator.assert_consistent();
    }

    fn set_now(&mut self, now: Moment) {
        debug_assert!(
            now.elapsed >= self.now.elapsed,
            "time goes back from {:?} to {:?}",
            self.now.elapsed,
            now.elapsed,
        );
        self.now = Moment {
            elapsed: now.elapsed.max(self.now.elapsed),
            unix: now.unix,
        };
    }

    /// Makes offers of what the allocator grants.
    fn make_offers(&mut self) {
        let now = self.now.elapsed;
        let lapses = self.allocator.next_deadline();
        if !self.allocator.is_pending() && lapses.is_none_or(|at| at > now) {
            return;
        }
        self.rounds += 1;
        let grants = self.allocator.poll_grants(now, AGENTS_PER_STEP);
        if !grants.is_empty() {
            self.grants += u64::try_from(grants.len()).unwrap_or(u64::MAX);
            self.offer(grants);
        }
    }

    /// Returns a number that was never given.
    pub(super) fn next_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    pub(super) fn put(&mut self, row: Row) {
        self.outbox.record(Record::Put(row));
    }

    pub(super) fn drop_row(&mut self, key: RowKey) {
        self.outbox.record(Record::Drop(key));
    }

    /// Writes down that somebody did something, or why not.
    pub(super) fn audit(
        &mut self,
        who: Actor,
        what: impl std::fmt::Display,
        refused: Option<&Failure>,
    ) {
        self.outbox.record(Record::Audit(AuditEntry {
            at: self.now.unix,
            who,
            what: weir_protocol::Note::cut(what),
            refused: refused.map(|failure| failure.reason.clone()),
        }));
    }

    /// Says something to an agent, if it is connected.
    pub(super) fn tell_agent(&mut self, agent: AgentId, event: AgentEvent) {
        let agent = self.agents.by_id.get(&agent);
        if let Some(session) = agent.and_then(|agent| agent.session()) {
            self.send(session, Message::Agent(event));
        }
    }

    /// Says something to a framework, if it is connected.
    pub(super) fn tell_framework(&mut self, framework: FrameworkId, event: FrameworkEvent) {
        let Some(framework) = self.frameworks.by_id.get_mut(&framework) else {
            return;
        };
        match &mut framework.presence {
            FrameworkPresence::Away { .. } => {}
            FrameworkPresence::Connected {
                session, said_at, ..
            } => {
                *said_at = self.now.elapsed;
                let session = *session;
                self.send(session, Message::Framework(event));
            }
        }
    }

    /// Refuses a call of a framework.
    pub(super) fn refuse_framework(&mut self, session: SessionId, call: CallId, failure: Failure) {
        let error = CallError {
            call: Some(call),
            failure,
        };
        self.send(session, Message::Framework(FrameworkEvent::Error(error)));
    }

    /// Refuses a call of an agent.
    pub(super) fn refuse_agent(&mut self, session: SessionId, call: CallId, failure: Failure) {
        let error = CallError {
            call: Some(call),
            failure,
        };
        self.send(session, Message::Agent(AgentEvent::Error(error)));
    }

    /// Answers a call of an operator, if the session is still open.
    pub(super) fn answer_operator(
        &mut self,
        session: SessionId,
        call: CallId,
        answer: OperatorAnswer,
    ) {
        let answered = Answered {
            call: Some(call),
            answer,
        };
        self.send(session, Message::Operator(answered));
    }

    pub(super) fn send(&mut self, session: SessionId, message: Message) {
        if self.sessions.contains_key(&session) {
            self.outbox.push(Outgoing::Send { session, message });
        }
    }

    /// Closes a session after what was sent, and listens to it no more.
    pub(super) fn close(&mut self, session: SessionId) {
        if self.sessions.remove(&session).is_some() {
            self.outbox.push(Outgoing::Close { session });
        }
    }
}
