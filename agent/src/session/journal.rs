//! What must be durable before what: one line of changes and effects.
//!
//! 1. A decision is [recorded](Journal::record) as changes, and its effects are
//!    [queued](Journal::effect) behind them.
//! 2. What gathers while a write is under way becomes the next write: callers that come together
//!    share a flush of the disk.
//! 3. A write that is durable lets its effects go.
//!
//! So nothing is said or done that a crash could undo, also not what merely follows in time: a
//! registration that shows a set shows one that is on the disk.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use weir_protocol::AgentCall;

use super::output::{Output, WriteId};
use crate::store::SessionChange;

/// How long after a refused write it is asked for again; doubled each time up to the longest. A full
/// disk is relieved by a person, in minutes.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(30);

/// One connection, of those that a machine has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Connection(pub(super) u64);

/// Something to do once all that was recorded before it is durable.
#[derive(Debug)]
enum Effect {
    Do(Output),
    /// Worth nothing on another connection.
    Say(Connection, AgentCall),
}

/// The line.
#[derive(Debug, Default)]
pub(super) struct Journal {
    writes: u64,
    writing: Option<Writing>,
    gathered: Vec<SessionChange>,
    /// Behind what is gathered.
    held: Vec<Effect>,
    ready: VecDeque<Effect>,
}

#[derive(Debug)]
struct Writing {
    id: WriteId,
    changes: Arc<[SessionChange]>,
    held: Vec<Effect>,
    pause: Duration,
    /// When it is asked for again, if it was refused.
    again_at: Option<Duration>,
}

impl Journal {
    /// Adds a change to what is to be durable.
    pub(super) fn record(&mut self, change: SessionChange) {
        self.gathered.push(change);
    }

    /// Adds something to be done when all that was recorded before is durable.
    pub(super) fn effect(&mut self, output: Output) {
        self.queue(Effect::Do(output));
    }

    /// Adds something to be said, if the connection still is the same by then.
    pub(super) fn say(&mut self, connection: Connection, call: AgentCall) {
        self.queue(Effect::Say(connection, call));
    }

    fn queue(&mut self, effect: Effect) {
        if !self.gathered.is_empty() {
            self.held.push(effect);
        } else if let Some(writing) = &mut self.writing {
            writing.held.push(effect);
        } else {
            self.ready.push_back(effect);
        }
    }

    /// Starts the next write, if there is something to write and no write under way.
    pub(super) fn flush(&mut self) {
        if self.writing.is_some() || self.gathered.is_empty() {
            return;
        }
        self.writes += 1;
        let writing = Writing {
            id: WriteId(self.writes),
            changes: std::mem::take(&mut self.gathered).into(),
            held: std::mem::take(&mut self.held),
            pause: RETRY_FIRST,
            again_at: None,
        };
        self.ready.push_back(Effect::Do(writing.output()));
        self.writing = Some(writing);
    }

    /// Takes note that a write is durable.
    pub(super) fn handle_written(&mut self, id: WriteId) {
        if let Some(writing) = self.writing.take_if(|writing| writing.id == id) {
            self.ready.extend(writing.held);
        }
    }

    /// Takes note that a write was refused.
    pub(super) fn handle_refused(&mut self, id: WriteId, now: Duration) {
        if let Some(writing) = &mut self.writing
            && writing.id == id
        {
            writing.again_at = Some(now.saturating_add(writing.pause));
            writing.pause = (writing.pause * 2).min(RETRY_LONGEST);
        }
    }

    /// Asks for a refused write again if it is time.
    pub(super) fn handle_time(&mut self, now: Duration) {
        if let Some(writing) = &mut self.writing
            && writing.again_at.is_some_and(|at| at <= now)
        {
            writing.again_at = None;
            self.ready.push_back(Effect::Do(writing.output()));
        }
    }

    /// Returns when [`Self::handle_time`] has something to do.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.writing.as_ref()?.again_at
    }

    /// Returns what to do next; what was to be said on another connection than `connection` is
    /// dropped.
    pub(super) fn poll(&mut self, connection: Option<Connection>) -> Option<Output> {
        loop {
            match self.ready.pop_front()? {
                Effect::Do(output) => return Some(output),
                Effect::Say(on, call) if Some(on) == connection => return Some(Output::Send(call)),
                Effect::Say(..) => {}
            }
        }
    }

    /// Returns whether all that was recorded is durable.
    pub(super) fn is_durable(&self) -> bool {
        self.writing.is_none() && self.gathered.is_empty()
    }
}

impl Writing {
    fn output(&self) -> Output {
        Output::Write {
            id: self.id,
            changes: Arc::clone(&self.changes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn release(number: u64) -> Output {
        Output::Release {
            container: crate::container::ContainerId::from_random(number),
        }
    }

    fn polled(journal: &mut Journal) -> Vec<Output> {
        std::iter::from_fn(|| journal.poll(Some(Connection(1)))).collect()
    }

    fn write_id(outputs: &[Output]) -> WriteId {
        match outputs {
            [Output::Write { id, .. }] => *id,
            other => panic!("{other:?} is not one write"),
        }
    }

    #[test]
    fn an_effect_waits_for_what_was_recorded_before_it_and_for_nothing_else() {
        let mut journal = Journal::default();
        journal.effect(release(1));
        journal.record(SessionChange::ForgetTasks);
        journal.effect(release(2));
        journal.flush();
        let outputs = polled(&mut journal);
        assert_eq!(outputs[0], release(1));
        let id = write_id(&outputs[1..]);
        assert_eq!(polled(&mut journal), []);
        journal.handle_written(id);
        assert_eq!(polled(&mut journal), [release(2)]);
    }

    #[test]
    fn what_gathers_during_a_write_is_the_next_write() {
        let mut journal = Journal::default();
        journal.record(SessionChange::ForgetTasks);
        journal.flush();
        let first = write_id(&polled(&mut journal));
        journal.effect(release(1));
        journal.record(SessionChange::SetAgent { id: None });
        journal.record(SessionChange::ForgetTasks);
        journal.effect(release(2));
        journal.flush();
        assert_eq!(polled(&mut journal), []);
        journal.handle_written(first);
        assert_eq!(polled(&mut journal), [release(1)]);
        journal.flush();
        let second = write_id(&polled(&mut journal));
        // An answer that comes twice lets nothing go.
        journal.handle_written(first);
        assert_eq!(polled(&mut journal), []);
        journal.handle_written(second);
        assert_eq!(polled(&mut journal), [release(2)]);
        assert!(journal.is_durable());
    }

    #[test]
    fn a_refused_write_comes_again_later_and_later_and_nothing_passes_it() {
        let mut journal = Journal::default();
        journal.record(SessionChange::ForgetTasks);
        journal.effect(release(1));
        journal.flush();
        let id = write_id(&polled(&mut journal));
        let mut now = NOW;
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            journal.handle_refused(id, now);
            journal.handle_time(now);
            assert_eq!(polled(&mut journal), []);
            now += Duration::from_secs(pause);
            assert_eq!(journal.deadline(), Some(now));
            journal.handle_time(now);
            assert_eq!(write_id(&polled(&mut journal)), id);
        }
        journal.handle_written(id);
        assert_eq!(polled(&mut journal), [release(1)]);
    }

    #[test]
    fn nothing_is_said_on_another_connection() {
        let mut journal = Journal::default();
        journal.record(SessionChange::ForgetTasks);
        journal.say(Connection(1), AgentCall::Unregister);
        journal.flush();
        let id = write_id(&polled(&mut journal));
        journal.handle_written(id);
        assert_eq!(journal.poll(Some(Connection(2))), None);
        journal.say(Connection(1), AgentCall::Unregister);
        assert_eq!(journal.poll(None), None);
        journal.say(Connection(1), AgentCall::Unregister);
        assert_eq!(
            journal.poll(Some(Connection(1))),
            Some(Output::Send(AgentCall::Unregister))
        );
    }
}
