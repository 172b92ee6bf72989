//! The scheduler's process: the shipped ledger and allocator, and a disk that holds exactly what was
//! written.
//!
//! It does what `weir_scheduler::session` does with the ledger: gives batches to the disk, tells when they
//! are durable, and sends what may go.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use weir_protocol::{AgentCall, FrameworkEvent};
use weir_scheduler::ledger::{
    Batch, Image, Input, Ledger, Message, Moment, Outgoing, Peer, Permissive, Record, Seed,
    SessionId, Settings,
};

use crate::chance::Chance;
use crate::checker::Checker;
use crate::make;
use crate::mutation::Mutation;
use crate::network::{End, Frame, Party};
use crate::world::{Event, Life, World};

/// How many batches may be with the disk.
const BATCHES_MAX: usize = 4;

#[derive(Debug)]
pub(crate) struct Scheduler {
    /// `None` while it is down.
    pub(crate) ledger: Option<Ledger>,
    pub(crate) disk: Image,
    pub(crate) life: Life,
    /// With the disk, the oldest first.
    pending: VecDeque<Batch>,
    /// What a mutated disk has said to be written and has not.
    late: VecDeque<Vec<Record>>,
}

pub(crate) fn settings() -> Settings {
    Settings {
        // Short, for a simulation to see their ends.
        agent_removal: Duration::from_secs(40),
        agent_return: Duration::from_secs(60),
        framework_return: Duration::from_secs(60),
        ..Settings::new(make::line("s1"))
    }
}

impl Scheduler {
    pub(crate) fn new(now: Moment, chance: &mut Chance) -> Self {
        let seed = Seed(chance.wide());
        Self {
            ledger: Some(Ledger::new(settings(), Arc::new(Permissive), seed, now)),
            disk: Image::default(),
            life: 1,
            pending: VecDeque::new(),
            late: VecDeque::new(),
        }
    }
}

impl World {
    fn input(&mut self, input: Input) {
        let now = self.moment();
        if let Some(ledger) = &mut self.scheduler.ledger {
            ledger.handle(now, input);
        }
        self.pump();
    }

    pub(crate) fn ledger_opened(&mut self, session: SessionId, party: Party) {
        let peer = match party {
            Party::Agent(node) => Peer::Agent(self.nodes[node].agent_name()),
            Party::Framework(index) => Peer::Framework(self.frameworks[index].principal()),
            Party::Operator => Peer::Operator(make::principal("ops")),
        };
        let software = make::line("simulation");
        self.input(Input::Opened {
            session,
            peer,
            software,
        });
    }

    pub(crate) fn ledger_closed(&mut self, session: SessionId) {
        self.input(Input::Closed { session });
    }

    pub(crate) fn ledger_hears(&mut self, session: SessionId, frame: Frame) {
        let input = match frame {
            Frame::Agent(call) => {
                self.witness_heard(session, &call.call);
                match self.mutate_agent_call(session, call) {
                    Some(call) => Input::Agent { session, call },
                    None => return,
                }
            }
            Frame::Framework(call) => {
                let (session, call) = self.mutate_framework_call(session, call);
                Input::Framework { session, call }
            }
            Frame::Operator(call) => Input::Operator { session, call },
            Frame::Said(_) | Frame::Close => return,
        };
        self.input(input);
    }

    fn witness_heard(&mut self, session: SessionId, call: &AgentCall) {
        let connection = self.network.connections.get(&session);
        if let Some(Party::Agent(node)) = connection.map(|connection| connection.party) {
            self.witness_lending(node, call);
        }
    }

    pub(crate) fn ledger_deadline(&mut self) {
        let now = self.moment();
        let Some(ledger) = &mut self.scheduler.ledger else {
            return;
        };
        if ledger.next_deadline().is_some_and(|at| at <= now.elapsed) {
            ledger.handle_deadline(now);
            self.pump();
        }
    }

    /// Gives the disk what there is to write, and the network what may go.
    fn pump(&mut self) {
        let Some(ledger) = &mut self.scheduler.ledger else {
            return;
        };
        if self.scheduler.pending.len() < BATCHES_MAX
            && let Some(batch) = ledger.poll_batch()
        {
            if self.plan.mutation == Some(Mutation::AnswerBeforeDurable) {
                self.scheduler.late.push_back(batch.records().to_vec());
                ledger.handle_written(batch.written());
            } else {
                self.scheduler.pending.push_back(batch);
            }
            let delay = self.chance.millis(1, 25);
            self.after(delay, Event::SchedulerWritten(self.scheduler.life));
        }
        while let Some(outgoing) = self
            .scheduler
            .ledger
            .as_mut()
            .and_then(Ledger::poll_outgoing)
        {
            match outgoing {
                Outgoing::Send { session, message } => {
                    self.witness_message(session, &message);
                    let Some(message) = self.mutate_message(message) else {
                        continue;
                    };
                    if self.network.is_open(session, End::Scheduler) {
                        self.send(session, End::Peer, Frame::Said(message));
                    }
                }
                Outgoing::Close { session } => {
                    if self.network.is_open(session, End::Scheduler) {
                        self.send(session, End::Peer, Frame::Close);
                        self.network.shut(session, End::Scheduler);
                    }
                }
            }
        }
    }

    pub(crate) fn scheduler_written(&mut self, life: Life) {
        if life != self.scheduler.life {
            return;
        }
        if let Some(records) = self.scheduler.late.pop_front() {
            for record in &records {
                self.scheduler.disk.apply(record);
            }
        }
        let Some(batch) = self.scheduler.pending.pop_front() else {
            return;
        };
        if !self.is_mutated(Mutation::SkipSchedulerWrite) {
            for record in batch.records() {
                self.scheduler.disk.apply(record);
            }
        }
        if let Some(ledger) = &mut self.scheduler.ledger {
            ledger.handle_written(batch.written());
        }
        self.pump();
    }

    /// Ends the scheduler at once. Of what is with the disk, some may have been written; nobody was told.
    pub(crate) fn scheduler_crash(&mut self) {
        if self.scheduler.ledger.take().is_none() {
            return;
        }
        let pending = std::mem::take(&mut self.scheduler.pending);
        let written = self.chance.below(pending.len() + 1);
        self.note(format_args!(
            "the scheduler crashes; {written} of {} batches were written",
            pending.len()
        ));
        self.scheduler.late.clear();
        for batch in pending.iter().take(written) {
            for record in batch.records() {
                self.scheduler.disk.apply(record);
            }
        }
        self.scheduler.life += 1;
        self.report.crashes += 1;
        let open: Vec<SessionId> = self.network.connections.keys().copied().collect();
        for session in open {
            self.break_connection(session, true);
            self.network.shut(session, End::Scheduler);
        }
        let delay = self.chance.millis(200, 8_000);
        self.after(delay, Event::SchedulerStart);
    }

    pub(crate) fn scheduler_start(&mut self) {
        if self.scheduler.ledger.is_some() {
            return;
        }
        for node in &mut self.nodes {
            node.lending.forget_revoked();
        }
        let seed = Seed(self.chance.wide());
        let rows: Vec<_> = self.scheduler.disk.rows().cloned().collect();
        self.note(format_args!(
            "the scheduler starts with {} rows",
            rows.len()
        ));
        let recovered =
            Ledger::recover(settings(), Arc::new(Permissive), seed, self.moment(), rows);
        match recovered {
            Ok(ledger) => self.scheduler.ledger = Some(ledger),
            Err(error) => self.violate(Checker::Durability, error),
        }
        self.pump();
    }

    /// Changes or drops what the scheduler says, if the wiring is to do that.
    fn mutate_message(&mut self, message: Message) -> Option<Message> {
        use weir_protocol::AgentEvent;
        let is_lost = match (&message, self.plan.mutation) {
            (Message::Framework(FrameworkEvent::Rescind { .. }), Some(Mutation::ForgetRescind)) => {
                true
            }
            (
                Message::Framework(FrameworkEvent::Operation { outcome, .. }),
                Some(Mutation::LoseAnswer),
            ) => outcome.is_final(),
            (Message::Agent(AgentEvent::Revoke { .. }), Some(Mutation::LoseRevoke))
            | (Message::Agent(AgentEvent::Kill { .. }), Some(Mutation::LoseKill))
            | (Message::Agent(AgentEvent::Launch(_)), Some(Mutation::LoseLaunch))
            | (
                Message::Agent(AgentEvent::Acknowledge { .. }),
                Some(Mutation::LoseAcknowledgement),
            ) => true,
            _ => false,
        };
        (!is_lost).then_some(message)
    }
}
