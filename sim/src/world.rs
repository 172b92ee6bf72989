//! The world: everything there is, and what happens in it, in the order of a clock of its own.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use weir_agent::container::ContainerId;
use weir_agent::session::{VolumeName, VolumeOrder, WriteId};
use weir_agent::store::SessionChange;
use weir_protocol::{OperationKey, UnixMs};
use weir_scheduler::ledger::{Moment, SessionId};

use crate::chance::Chance;
use crate::checker::{Checker, Violation};
use crate::framework::Framework;
use crate::mutation::Mutation;
use crate::network::{End, Frame, Network, Party};
use crate::node::Node;
use crate::operator::Operator;
use crate::scheduler::Scheduler;
use crate::witness::Witness;

pub(crate) const NODES: usize = 3;
pub(crate) const FRAMEWORKS: usize = 3;

/// How many of the last events are told with a failure.
const TRACE_MAX: usize = 80;

/// Where the clock begins.
pub(crate) const BEGIN: Duration = Duration::from_secs(1000);

/// How many processes of one kind there were: what was meant for one that is gone does nothing.
pub(crate) type Life = u64;

/// Something that happens.
#[derive(Debug)]
pub(crate) enum Event {
    Deliver {
        session: SessionId,
        to: End,
        frame: Frame,
    },
    /// An end notices that its connection is gone.
    Gone {
        session: SessionId,
        at: End,
    },
    Connect(Party),
    SchedulerWritten(Life),
    SchedulerStart,
    AgentWritten {
        node: usize,
        life: Life,
        id: WriteId,
        changes: Arc<[SessionChange]>,
    },
    AgentStart {
        node: usize,
    },
    ContainerRuns {
        node: usize,
        container: ContainerId,
    },
    ContainerEnds {
        node: usize,
        container: ContainerId,
        killed: bool,
    },
    Volumes {
        node: usize,
        life: Life,
        operation: OperationKey,
        order: VolumeOrder,
        volumes: Vec<VolumeName>,
    },
    CountBlocks {
        node: usize,
    },
    Estimate {
        node: usize,
    },
    FrameworkActs(usize),
    OperatorActs,
    Fault,
}

/// What is run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What decides everything that is left to chance.
    pub seed: u64,
    /// Whether anything breaks.
    pub faults: bool,
    /// What the wiring does wrong, if anything.
    pub mutation: Option<Mutation>,
}

/// What happened in a world that kept all laws.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Things that happened.
    pub events: u64,
    /// Programs that were begun.
    pub runs: usize,
    /// Operations that were asked for.
    pub operations: usize,
    /// Ends of scheduler and agents, without warning.
    pub crashes: u64,
    /// Nodes that were restarted, and databases that were lost or put back from a copy.
    pub losses: u64,
    /// Connections that broke.
    pub cuts: u64,
}

/// A law that did not hold, with how it came to that.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed that shows it again.
    pub seed: u64,
    /// What is wrong.
    pub violation: Violation,
    /// The last that happened, the latest at the end.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "seed {}: {}", self.seed, self.violation)?;
        write!(
            f,
            "replay it with WEIR_SIM_SEED={} cargo test -p weir-simulation seeds",
            self.seed
        )
    }
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) chance: Chance,
    pub(crate) now: Duration,
    pub(crate) network: Network,
    pub(crate) scheduler: Scheduler,
    pub(crate) nodes: Vec<Node>,
    pub(crate) frameworks: Vec<Framework>,
    pub(crate) operator: Operator,
    pub(crate) witness: Witness,
    /// Whether things still break, and anybody still wants anything new.
    pub(crate) is_restless: bool,
    /// Whether nothing changes any more by itself.
    pub(crate) is_settled: bool,
    /// Whether a database was lost: what was said to be over may come back.
    pub(crate) has_lost: bool,
    pub(crate) violation: Option<Violation>,
    pub(crate) report: Report,
    pub(crate) trace: VecDeque<String>,
    due: BTreeMap<(Duration, u64), Event>,
    last: u64,
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let mut chance = Chance::new(plan.seed);
        let now = BEGIN;
        let scheduler = Scheduler::new(moment(now), &mut chance);
        let mut world = Self {
            plan,
            chance,
            now,
            network: Network::default(),
            scheduler,
            nodes: (0..NODES).map(Node::new).collect(),
            frameworks: (0..FRAMEWORKS).map(Framework::new).collect(),
            operator: Operator::default(),
            witness: Witness::default(),
            is_restless: true,
            is_settled: false,
            has_lost: false,
            violation: None,
            report: Report::default(),
            trace: VecDeque::new(),
            due: BTreeMap::new(),
            last: 0,
        };
        for node in 0..NODES {
            world.after(Duration::ZERO, Event::AgentStart { node });
            world.after(Duration::from_secs(5), Event::Estimate { node });
        }
        for index in 0..FRAMEWORKS {
            world.after(Duration::ZERO, Event::Connect(Party::Framework(index)));
            world.after(Duration::from_secs(1), Event::FrameworkActs(index));
        }
        world.after(Duration::ZERO, Event::Connect(Party::Operator));
        world.after(Duration::from_secs(2), Event::OperatorActs);
        if plan.faults {
            world.after(Duration::from_secs(3), Event::Fault);
        }
        world
    }

    pub(crate) fn moment(&self) -> Moment {
        moment(self.now)
    }

    pub(crate) fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now + delay, event);
    }

    pub(crate) fn at(&mut self, at: Duration, event: Event) {
        self.last += 1;
        self.due.insert((at, self.last), event);
    }

    pub(crate) fn is_mutated(&self, mutation: Mutation) -> bool {
        self.plan.mutation == Some(mutation)
    }

    /// Writes down that a law does not hold; the first counts.
    pub(crate) fn violate(&mut self, checker: Checker, what: impl fmt::Display) {
        let what = what.to_string();
        self.violation.get_or_insert(Violation { checker, what });
    }

    pub(crate) fn note(&mut self, what: impl fmt::Display) {
        if self.trace.len() == TRACE_MAX {
            self.trace.pop_front();
        }
        self.trace
            .push_back(format!("{:>10.3} {what}", self.now.as_secs_f64()));
    }

    /// Has things happen until `until`, or until a law does not hold.
    pub(crate) fn run_until(&mut self, until: Duration) {
        while self.violation.is_none() {
            let next = self.due.first_key_value().map(|((at, _), _)| *at);
            let deadline = self.next_deadline();
            let at = next.into_iter().chain(deadline).min();
            let Some(at) = at.filter(|at| *at <= until) else {
                break;
            };
            self.now = self.now.max(at);
            self.report.events += 1;
            if deadline.is_some_and(|deadline| deadline <= self.now) {
                self.handle_deadlines();
                continue;
            }
            if let Some((_, event)) = self.due.pop_first() {
                self.handle(event);
            }
        }
        self.now = self.now.max(until);
    }

    fn next_deadline(&self) -> Option<Duration> {
        let ledger = self.scheduler.ledger.as_ref();
        let ledger = ledger.and_then(weir_scheduler::ledger::Ledger::next_deadline);
        let agents = self.nodes.iter().filter_map(|node| {
            let session = node.session.as_ref()?;
            Some(node.booted_at + session.deadline()?)
        });
        agents.chain(ledger).min()
    }

    fn handle_deadlines(&mut self) {
        self.ledger_deadline();
        for node in 0..self.nodes.len() {
            self.agent_deadline(node);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Deliver { session, to, frame } => self.deliver(session, to, frame),
            Event::Gone { session, at } => self.notice_gone(session, at),
            Event::Connect(party) => self.connect(party),
            Event::SchedulerWritten(life) => self.scheduler_written(life),
            Event::SchedulerStart => self.scheduler_start(),
            Event::AgentWritten {
                node,
                life,
                id,
                changes,
            } => self.agent_written(node, life, id, &changes),
            Event::AgentStart { node } => self.agent_start(node),
            Event::ContainerRuns { node, container } => self.container_runs(node, &container),
            Event::ContainerEnds {
                node,
                container,
                killed,
            } => self.container_ends(node, &container, killed),
            Event::Volumes {
                node,
                life,
                operation,
                order,
                volumes,
            } => self.volumes_done(node, life, operation, order, volumes),
            Event::CountBlocks { node } => self.count_blocks(node),
            Event::Estimate { node } => self.ask_estimator(node),
            Event::FrameworkActs(index) => self.framework_acts(index),
            Event::OperatorActs => self.operator_acts(),
            Event::Fault => self.fault(),
        }
    }

    /// Sends something to the other end, if it gets there.
    pub(crate) fn send(&mut self, session: SessionId, to: End, frame: Frame) {
        match frame.over_the_wire(self.is_mutated(Mutation::Garble)) {
            Ok(arrives) if arrives == frame => {}
            Ok(arrives) => {
                let what = format!("{frame:?} is said, and {arrives:?} is heard");
                self.violate(Checker::Wire, what);
            }
            Err(refusal) => {
                let what = format!("{frame:?} is said, and refused: {refusal}");
                self.violate(Checker::Wire, what);
            }
        }
        let delay = self.chance.millis(1, 40);
        if let Some(at) = self.network.arrival(session, to, self.now, delay) {
            self.at(at, Event::Deliver { session, to, frame });
        }
    }

    fn deliver(&mut self, session: SessionId, to: End, frame: Frame) {
        let Some(connection) = self.network.connections.get(&session) else {
            return;
        };
        let party = connection.party;
        if connection.is_dead || !self.network.is_open(session, to) {
            return;
        }
        match (to, frame) {
            (_, Frame::Close) => self.notice_gone(session, to),
            (End::Scheduler, frame) => self.ledger_hears(session, frame),
            (End::Peer, Frame::Said(message)) => self.peer_hears(party, session, message),
            (End::Peer, Frame::Agent(_) | Frame::Framework(_) | Frame::Operator(_)) => {}
        }
    }

    pub(crate) fn connect(&mut self, party: Party) {
        let is_ready = match party {
            Party::Agent(node) => {
                let node = &self.nodes[node];
                let wants = node.session.as_ref();
                wants.is_some_and(weir_agent::session::AgentSession::wants_connection)
                    && node.connection.is_none()
            }
            Party::Framework(index) => self.frameworks[index].connection.is_none(),
            Party::Operator => self.operator.connection.is_none(),
        };
        if !is_ready {
            return;
        }
        if self.scheduler.ledger.is_none() || self.network.is_cut_off(party, self.now) {
            return self.connect_later(party);
        }
        let session = self.network.open(party, self.now);
        self.note(format_args!("{party:?} connects: {session}"));
        self.ledger_opened(session, party);
        match party {
            Party::Agent(node) => self.agent_connected(node, session),
            Party::Framework(index) => self.framework_connected(index, session),
            Party::Operator => self.operator_connected(session),
        }
    }

    pub(crate) fn connect_later(&mut self, party: Party) {
        let delay = self.chance.millis(200, 3_000);
        self.after(delay, Event::Connect(party));
    }

    /// An end of a connection notices that it is over.
    pub(crate) fn notice_gone(&mut self, session: SessionId, at: End) {
        if !self.network.is_open(session, at) {
            return;
        }
        self.network.shut(session, at);
        let party = self.network.connections[&session].party;
        self.note(format_args!("{session} of {party:?} is gone for {at:?}"));
        match (at, party) {
            (End::Scheduler, _) => self.ledger_closed(session),
            (End::Peer, Party::Agent(node)) => self.agent_disconnected(node, session),
            (End::Peer, Party::Framework(index)) => self.framework_disconnected(index, session),
            (End::Peer, Party::Operator) => self.operator_disconnected(session),
        }
    }

    /// Closes a peer's end; what it said before arrives.
    pub(crate) fn hang_up(&mut self, session: SessionId) {
        self.send(session, End::Scheduler, Frame::Close);
        self.notice_gone(session, End::Peer);
    }
}

fn moment(now: Duration) -> Moment {
    Moment {
        elapsed: now,
        unix: unix(now),
    }
}

pub(crate) fn unix(now: Duration) -> UnixMs {
    UnixMs(1_700_000_000_000 + u64::try_from(now.as_millis()).unwrap_or(u64::MAX / 2))
}
