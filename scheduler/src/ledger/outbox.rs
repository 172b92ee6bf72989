//! What the ledger gives: records to write down, and messages that may go once they are.
//!
//! Records and messages are in one order. A message goes when every record before it is durable, and
//! this is not left to the shell: [`Outbox::poll_outgoing`] does not give it earlier.
//!
//! ```text
//!  records of one step or of several ──▶ Batch ──(one transaction)──▶ Written ─┐
//!  messages ──────────────────────────────────────────────────▶ wait ─────────┴──▶ Outgoing
//! ```

use std::collections::VecDeque;

use weir_protocol::operator::Answered;
use weir_protocol::{AgentEvent, FrameworkEvent};

use super::input::SessionId;
use super::record::Record;

/// Something for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// To be sent, after everything that was sent to the session before.
    Send {
        /// To whom.
        session: SessionId,
        /// What.
        message: Message,
    },
    /// The connection is to be closed after what was sent: the ledger has done with it, and does not
    /// listen to it any more.
    Close {
        /// Whose.
        session: SessionId,
    },
}

/// A message, by the conversation that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// To an agent.
    Agent(AgentEvent),
    /// To a framework.
    Framework(FrameworkEvent),
    /// To an operator.
    Operator(Answered),
}

/// Records to be written whole or not at all, after those of every batch before.
#[derive(Debug)]
#[must_use = "messages wait until it is written"]
pub struct Batch {
    number: u64,
    records: Vec<Record>,
}

/// The proof that a batch was written, for [`Ledger::handle_written`](super::Ledger::handle_written).
#[derive(Debug)]
#[must_use = "messages wait until the ledger is told"]
pub struct Written {
    number: u64,
}

impl Batch {
    /// Returns what is to be written, in its order.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Says that all of it is durable: it survives whatever happens to the process and the machine.
    pub fn written(self) -> Written {
        Written {
            number: self.number,
        }
    }
}

/// What the ledger has to give.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Records that are in no batch yet.
    open: Vec<Record>,
    /// The number of the last batch that was given out.
    last: u64,
    /// The number of the last batch that was written.
    durable: u64,
    /// In their order, each with the batch that must be written before.
    waiting: VecDeque<(u64, Outgoing)>,
}

impl Outbox {
    pub(super) fn record(&mut self, record: Record) {
        self.open.push(record);
    }

    pub(super) fn push(&mut self, outgoing: Outgoing) {
        let after = if self.open.is_empty() {
            self.last
        } else {
            self.last + 1
        };
        self.waiting.push_back((after, outgoing));
    }

    /// Returns all records that are in no batch yet, as one.
    pub(super) fn poll_batch(&mut self) -> Option<Batch> {
        if self.open.is_empty() {
            return None;
        }
        self.last += 1;
        Some(Batch {
            number: self.last,
            records: std::mem::take(&mut self.open),
        })
    }

    /// Writes down that a batch is durable; with it all before, for they are written in order.
    pub(super) fn handle_written(&mut self, written: Written) {
        self.durable = self.durable.max(written.number);
    }

    /// Returns the next message that may go.
    pub(super) fn poll_outgoing(&mut self) -> Option<Outgoing> {
        let (after, _) = self.waiting.front()?;
        if *after > self.durable {
            return None;
        }
        self.waiting.pop_front().map(|(_, outgoing)| outgoing)
    }

    /// Returns how many messages wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}
