//! What breaks: processes end, connections break, parties are cut off.

use std::time::Duration;

use weir_scheduler::ledger::SessionId;

use crate::network::{End, Partition, Party, patience};
use crate::node::gone_at_scheduler;
use crate::world::{Event, FRAMEWORKS, NODES, World};

impl World {
    pub(crate) fn fault(&mut self) {
        if !self.is_restless {
            return;
        }
        let delay = self.chance.millis(300, 6_000);
        self.after(delay, Event::Fault);
        let party = self.some_party();
        match self.chance.below(17) {
            0 => self.scheduler_crash(),
            1 | 2 => {
                let node = self.chance.below(NODES);
                self.agent_crash(node);
            }
            3 => {
                let index = self.chance.below(FRAMEWORKS);
                self.framework_fails_over(index);
            }
            4..7 => self.cut(party),
            7..9 => self.give_up(party),
            9 | 10 => {
                let length = self.chance.millis(500, 30_000);
                self.partition(party, length);
            }
            11 | 12 => {
                let node = self.chance.below(NODES);
                self.node_reboots(node);
            }
            13 | 14 => {
                let node = self.chance.below(NODES);
                self.agent_backs_up(node);
            }
            15 => match self.chance.below(4) {
                0 => self.scheduler_loses_database(),
                1 => {
                    let node = self.chance.below(NODES);
                    self.agent_loses_database(node);
                }
                _ => {}
            },
            // Long enough for an agent to be removed.
            _ => {
                let length = self.chance.millis(30_000, 70_000);
                self.partition(party, length);
            }
        }
    }

    fn some_party(&mut self) -> Party {
        match self.chance.below(NODES + FRAMEWORKS + 1) {
            index if index < NODES => Party::Agent(index),
            index if index < NODES + FRAMEWORKS => Party::Framework(index - NODES),
            _ => Party::Operator,
        }
    }

    /// Breaks the connections of a party: what is on its way is lost, and each end notices on its own.
    pub(crate) fn cut(&mut self, party: Party) {
        self.note(format_args!("the connection of {party:?} breaks"));
        for session in self.network.of(party) {
            self.break_connection(session, false);
        }
    }

    /// Nothing arrives any more on a connection.
    pub(crate) fn break_connection(&mut self, session: SessionId, is_quick: bool) {
        let Some(connection) = self.network.connections.get_mut(&session) else {
            return;
        };
        if connection.is_dead || !(connection.peer_open || connection.scheduler_open) {
            return;
        }
        connection.is_dead = true;
        self.report.cuts += 1;
        for at in [End::Peer, End::Scheduler] {
            let delay = match is_quick {
                true => self.chance.millis(1, 300),
                false => self.until_noticed(at),
            };
            self.after(delay, Event::Gone { session, at });
        }
    }

    /// A party closes its connection without a word; what it said still arrives, for a while.
    fn give_up(&mut self, party: Party) {
        self.note(format_args!("{party:?} gives up its connection"));
        for session in self.network.of(party) {
            self.report.cuts += 1;
            self.notice_gone(session, End::Peer);
            let delay = self.until_noticed(End::Scheduler);
            self.after(delay, gone_at_scheduler(session));
        }
    }

    /// Cuts a party off. What is said meanwhile arrives later, unless the connection times out first.
    pub(crate) fn partition(&mut self, party: Party, length: Duration) {
        if self.network.is_cut_off(party, self.now) {
            return;
        }
        self.note(format_args!("{party:?} is cut off for {length:?}"));
        let heals = self.now + length;
        self.network.partitions.insert(party, Partition { heals });
        for session in self.network.of(party) {
            let silence = [End::Peer, End::Scheduler].map(|at| (at, self.silence(at)));
            let Some(connection) = self.network.connections.get_mut(&session) else {
                continue;
            };
            if silence.iter().all(|(_, silence)| *silence > length) {
                continue;
            }
            connection.is_dead = true;
            self.report.cuts += 1;
            for (at, silence) in silence {
                self.after(silence, Event::Gone { session, at });
            }
        }
    }

    /// Returns after how long an end that hears nothing any more takes the connection for over.
    fn silence(&mut self, end: End) -> Duration {
        let (least, most) = patience(end);
        self.chance.millis(millis(least), millis(most))
    }

    /// Returns after how long an end has noticed that the connection is over: at the latest by silence.
    pub(crate) fn until_noticed(&mut self, end: End) -> Duration {
        let (_, most) = patience(end);
        self.chance.millis(1, millis(most))
    }

    /// Everything is mended: what is cut off comes back, what is down starts.
    pub(crate) fn mend(&mut self) {
        self.is_restless = false;
        self.note("nothing breaks any more, and nobody wants anything new");
        self.network.partitions.clear();
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
