//! A ledger with its disk, agents, frameworks and an operator, all in one thread.
//!
//! What the ledger says is written and delivered at once, unless a test holds it back. After every step
//! everything that must hold is asserted, and that the disk has what the ledger would write.

mod agents;
mod frameworks;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use weir_protocol::operator::{Answered, OperatorAnswer};
use weir_protocol::{
    AgentCall, AgentEvent, CallId, FrameworkEvent, FrameworkId, FrameworkInfo, Numbered, Offer,
    OfferId, OperatorCall, UnixMs,
};
use weir_scheduler::ledger::{
    Image, Input, Ledger, Message, Moment, Outgoing, Peer, Permissive, Policy, Row, Seed,
    SessionId, Settings, TaskWhat,
};

use crate::make;
use crate::node::Node;

/// An agent of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeNumber(pub(crate) usize);

/// A framework of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fw(pub(crate) usize);

/// A framework with what it was told.
#[derive(Clone, Debug)]
pub(crate) struct Framework {
    pub(crate) principal: &'static str,
    pub(crate) info: FrameworkInfo,
    pub(crate) id: Option<FrameworkId>,
    pub(crate) session: Option<SessionId>,
    /// Offers that it holds, by what it was told.
    pub(crate) offers: BTreeMap<OfferId, Offer>,
    /// What it was told and nobody has looked at yet.
    pub(crate) events: VecDeque<FrameworkEvent>,
    next_call: CallId,
}

/// How a node is connected.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) node: Node,
    pub(crate) session: Option<SessionId>,
    /// What it was told and has not done yet.
    pub(crate) inbox: VecDeque<AgentEvent>,
    next_call: CallId,
}

pub(crate) struct World {
    pub(crate) ledger: Ledger,
    pub(crate) disk: Image,
    pub(crate) now: Moment,
    pub(crate) settings: Settings,
    pub(crate) policy: Arc<dyn Policy>,
    pub(crate) places: Vec<Place>,
    pub(crate) frameworks: Vec<Framework>,
    pub(crate) answers: Vec<(SessionId, Answered)>,
    pub(crate) closed: Vec<SessionId>,
    /// Connections that are dead, and nobody has noticed yet.
    stale: Vec<SessionId>,
    next_session: u64,
    lives: u128,
    /// Whether nodes do at once what they are told.
    pub(crate) prompt: bool,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Settings::new(make::line("s1")), Arc::new(Permissive))
    }

    pub(crate) fn with(settings: Settings, policy: Arc<dyn Policy>) -> Self {
        let now = Moment {
            elapsed: Duration::from_secs(1),
            unix: UnixMs(1_000_000),
        };
        let seed = Seed(1 << 64);
        Self {
            ledger: Ledger::new(settings.clone(), Arc::clone(&policy), seed, now),
            disk: Image::default(),
            now,
            settings,
            policy,
            places: Vec::new(),
            frameworks: Vec::new(),
            answers: Vec::new(),
            closed: Vec::new(),
            stale: Vec::new(),
            next_session: 1,
            lives: 1,
            prompt: true,
        }
    }

    fn new_session(&mut self) -> SessionId {
        self.next_session += 1;
        SessionId(self.next_session)
    }

    pub(crate) fn open(&mut self, peer: Peer) -> SessionId {
        let session = self.new_session();
        self.input(Input::Opened {
            session,
            peer,
            software: make::line("weir 0.1.0"),
        });
        session
    }

    /// Gives the ledger an input, and does all that follows.
    pub(crate) fn input(&mut self, input: Input) {
        self.ledger.handle(self.now, input);
        self.settle();
    }

    /// Writes what is to be written, delivers what may go, and has prompt nodes act.
    pub(crate) fn settle(&mut self) {
        loop {
            while let Some(batch) = self.ledger.poll_batch() {
                for record in batch.records() {
                    self.disk.apply(record);
                }
                self.ledger.handle_written(batch.written());
            }
            self.assert_in_order();
            while let Some(outgoing) = self.ledger.poll_outgoing() {
                self.deliver(outgoing);
            }
            if self
                .ledger
                .next_deadline()
                .is_some_and(|at| at <= self.now.elapsed)
            {
                self.ledger.handle_deadline(self.now);
                continue;
            }
            if !(self.prompt && self.act_all()) {
                return;
            }
        }
    }

    /// Asserts everything, and that the disk holds what the ledger is.
    pub(crate) fn assert_in_order(&self) {
        self.ledger.assert_consistent();
        let mut written: Vec<Row> = self.disk.rows().cloned().map(without_spec).collect();
        let mut live: Vec<Row> = self.ledger.rows().into_iter().map(without_spec).collect();
        written.sort_by_key(Row::key);
        live.sort_by_key(Row::key);
        assert_eq!(written, live, "what is written is what the ledger is");
    }

    fn deliver(&mut self, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Close { session } => self.forget_session(session),
            Outgoing::Send { session, message } => match message {
                Message::Agent(event) => {
                    let place = self.places.iter_mut();
                    let mut place = place.filter(|place| place.session == Some(session));
                    if let Some(place) = place.next() {
                        place.inbox.push_back(event);
                    }
                }
                Message::Framework(event) => {
                    let frameworks = self.frameworks.iter_mut();
                    let mut own = frameworks.filter(|own| own.session == Some(session));
                    if let Some(framework) = own.next() {
                        framework.hear(event);
                    }
                }
                Message::Operator(answered) => self.answers.push((session, answered)),
            },
        }
    }

    fn forget_session(&mut self, session: SessionId) {
        self.closed.push(session);
        for place in &mut self.places {
            if place.session == Some(session) {
                place.session = None;
                // What was sent before the connection was closed arrives.
                while let Some(event) = place.inbox.pop_front() {
                    place.node.handle(event);
                }
            }
        }
        for framework in &mut self.frameworks {
            if framework.session == Some(session) {
                framework.session = None;
                framework.offers.clear();
            }
        }
    }

    /// Has every node do what it was told; returns whether any was told something.
    pub(crate) fn act_all(&mut self) -> bool {
        let mut acted = false;
        for number in 0..self.places.len() {
            while self.act(NodeNumber(number)) {
                acted = true;
            }
        }
        acted
    }

    /// Has a node do the next of what it was told; returns whether there was something.
    pub(crate) fn act(&mut self, number: NodeNumber) -> bool {
        let place = &mut self.places[number.0];
        let Some(event) = place.inbox.pop_front() else {
            return false;
        };
        let calls = place.node.handle(event);
        self.node_says(number, calls);
        true
    }

    pub(crate) fn node_says(&mut self, number: NodeNumber, calls: Vec<AgentCall>) {
        for call in calls {
            let place = &mut self.places[number.0];
            let Some(session) = place.session else {
                return;
            };
            let id = place.next_call;
            place.next_call = id.next();
            let call = Numbered { id, call };
            let prompt = std::mem::replace(&mut self.prompt, false);
            self.input(Input::Agent { session, call });
            self.prompt = prompt;
        }
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        let until = self.now.elapsed + by;
        loop {
            let next = self.ledger.next_deadline().filter(|at| *at <= until);
            let at = next.unwrap_or(until).max(self.now.elapsed);
            let passed = u64::try_from((at - self.now.elapsed).as_millis()).expect("a while");
            self.now.unix = UnixMs(self.now.unix.0 + passed);
            self.now.elapsed = at;
            if next.is_none() {
                return;
            }
            self.ledger.handle_deadline(self.now);
            self.settle();
        }
    }

    pub(crate) fn advance_secs(&mut self, seconds: u64) {
        self.advance(Duration::from_secs(seconds));
    }

    /// Asks something as an operator, and returns the answer if it has come.
    pub(crate) fn ask(&mut self, principal: &str, call: OperatorCall) -> Option<OperatorAnswer> {
        let session = self.open(Peer::Operator(make::principal(principal)));
        let id = CallId::FIRST;
        let call = Numbered { id, call };
        self.input(Input::Operator { session, call });
        self.answer_in(session)
    }

    pub(crate) fn answer_in(&mut self, session: SessionId) -> Option<OperatorAnswer> {
        let index = self.answers.iter().position(|(own, _)| *own == session)?;
        Some(self.answers.remove(index).1.answer)
    }

    /// Kills the scheduler and starts it again with what is on its disk. Every connection is gone.
    pub(crate) fn restart(&mut self) {
        let rows: Vec<Row> = self.disk.rows().cloned().collect();
        self.start_with(rows);
    }

    /// Starts the scheduler with nothing.
    pub(crate) fn lose_database(&mut self) {
        self.disk = Image::default();
        self.start_with(Vec::new());
    }

    fn start_with(&mut self, rows: Vec<Row>) {
        self.lives += 1;
        self.ledger = Ledger::recover(
            self.settings.clone(),
            Arc::clone(&self.policy),
            Seed(self.lives << 64),
            self.now,
            rows,
        )
        .expect("what was written can be read");
        for place in &mut self.places {
            place.session = None;
            place.inbox.clear();
        }
        for framework in &mut self.frameworks {
            framework.session = None;
            framework.offers.clear();
        }
        self.answers.clear();
        self.stale.clear();
        self.assert_in_order();
    }
}

/// Returns a row as it is when the agent has the task: the ledger may have forgotten the description.
fn without_spec(row: Row) -> Row {
    match row {
        Row::Task(mut row) => {
            if let TaskWhat::Launched(spec) = &row.what {
                row.what = TaskWhat::Learned(weir_scheduler::ledger::LearnedTask {
                    id: spec.id.clone(),
                    name: spec.name.clone(),
                    resources: spec.resources.clone(),
                    network: spec.network,
                    labels: spec.labels.clone(),
                });
            }
            Row::Task(row)
        }
        other => other,
    }
}
