//! The network: connections that keep the order of what is said, and break.
//!
//! A connection is one QUIC stream. What one end says arrives at the other in its order, after a delay, or
//! not at all; each end notices by itself, at its own time, that the connection is gone. A connection that
//! a peer has given up may still deliver what was on its way while the peer already has another one.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_protocol::{AgentCall, Envelope, FrameworkCall, Numbered, OperatorCall, decode, encode};
use weir_scheduler::ledger::{Message, SessionId};
use weir_transport::connect::ConnectLimits;
use weir_transport::listen::ListenLimits;

/// Between which times of silence an end takes a connection for over, by the shipped limits.
///
/// QUIC counts the idle time from the first packet that is not answered: at the earliest one that was sent
/// right after the last that was heard, which may have been an interval ago already; at the latest one that
/// asks for a sign of life.
pub(crate) fn patience(end: End) -> (Duration, Duration) {
    let (listening, connecting) = (ListenLimits::default(), ConnectLimits::default());
    let (idle, asks) = match end {
        End::Peer => (connecting.idle, connecting.keep_alive),
        End::Scheduler => (listening.idle, listening.keep_alive),
    };
    // It is the connecting side that speaks if there is nothing to say.
    (idle.saturating_sub(connecting.keep_alive), idle + asks)
}

/// Who connects to the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Party {
    Agent(usize),
    Framework(usize),
    Operator,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Peer,
    Scheduler,
}

/// What is on its way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Frame {
    Agent(Numbered<AgentCall>),
    Framework(Numbered<FrameworkCall>),
    Operator(Numbered<OperatorCall>),
    Said(Message),
    /// The other end has closed, after all that it said.
    Close,
}

impl Frame {
    /// Returns what arrives of it: as bytes of the schema, and back. `garble` changes the bytes on the way.
    ///
    /// # Errors
    ///
    /// If it cannot be said, or what arrives is not understood.
    pub(crate) fn over_the_wire(&self, garble: bool) -> Result<Self, String> {
        Ok(match self.clone() {
            Self::Agent(call) => Self::Agent(carried(call, garble)?),
            Self::Framework(call) => Self::Framework(carried(call, garble)?),
            Self::Operator(call) => Self::Operator(carried(call, garble)?),
            Self::Said(Message::Agent(event)) => {
                Self::Said(Message::Agent(carried(event, garble)?))
            }
            Self::Said(Message::Framework(event)) => {
                Self::Said(Message::Framework(carried(event, garble)?))
            }
            Self::Said(Message::Operator(answer)) => {
                Self::Said(Message::Operator(carried(answer, garble)?))
            }
            Self::Close => Self::Close,
        })
    }
}

fn carried<E: Envelope>(envelope: E, garble: bool) -> Result<E, String> {
    let mut bytes = Vec::new();
    encode(envelope, &mut bytes).map_err(|error| error.to_string())?;
    // Behind the length of the frame.
    let payload = bytes.get_mut(4..).unwrap_or_default();
    if garble && let Some(last) = payload.last_mut() {
        *last ^= 1;
    }
    decode(payload).map_err(|refusal| refusal.to_string())
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) party: Party,
    pub(crate) peer_open: bool,
    pub(crate) scheduler_open: bool,
    /// Nothing that is said from now on arrives, or that was on its way.
    pub(crate) is_dead: bool,
    /// When the last thing that was said arrives: at the peer, and at the scheduler.
    arrives: [Duration; 2],
}

/// What keeps a party from the scheduler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Partition {
    pub(crate) heals: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) connections: BTreeMap<SessionId, Connection>,
    pub(crate) partitions: BTreeMap<Party, Partition>,
    last: u64,
}

impl Network {
    pub(crate) fn open(&mut self, party: Party, now: Duration) -> SessionId {
        self.last += 1;
        let id = SessionId(self.last);
        let connection = Connection {
            party,
            peer_open: true,
            scheduler_open: true,
            is_dead: false,
            arrives: [now; 2],
        };
        self.connections.insert(id, connection);
        id
    }

    /// Returns when something arrives that is said now, or `None` if it never does.
    pub(crate) fn arrival(
        &mut self,
        id: SessionId,
        to: End,
        now: Duration,
        delay: Duration,
    ) -> Option<Duration> {
        let connection = self.connections.get_mut(&id)?;
        if connection.is_dead {
            return None;
        }
        let heals = self.partitions.get(&connection.party);
        let heals = heals.map_or(now, |partition| partition.heals.max(now));
        let arrives = match to {
            End::Peer => &mut connection.arrives[0],
            End::Scheduler => &mut connection.arrives[1],
        };
        *arrives = (*arrives).max(heals + delay);
        Some(*arrives)
    }

    pub(crate) fn is_cut_off(&self, party: Party, now: Duration) -> bool {
        let partition = self.partitions.get(&party);
        partition.is_some_and(|partition| partition.heals > now)
    }

    /// Returns the connections of a party that are not over at both ends.
    pub(crate) fn of(&self, party: Party) -> Vec<SessionId> {
        let all = self.connections.iter();
        let own = all.filter(|(_, connection)| {
            connection.party == party && (connection.peer_open || connection.scheduler_open)
        });
        own.map(|(id, _)| *id).collect()
    }

    pub(crate) fn is_open(&self, id: SessionId, end: End) -> bool {
        self.connections
            .get(&id)
            .is_some_and(|connection| match end {
                End::Peer => connection.peer_open,
                End::Scheduler => connection.scheduler_open,
            })
    }

    pub(crate) fn shut(&mut self, id: SessionId, end: End) {
        if let Some(connection) = self.connections.get_mut(&id) {
            match end {
                End::Peer => connection.peer_open = false,
                End::Scheduler => connection.scheduler_open = false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_silent_is_taken_for_dead_after_seconds_and_within_ten() {
        for end in [End::Peer, End::Scheduler] {
            let (least, most) = patience(end);
            assert!(least >= Duration::from_secs(1), "{end:?}: {least:?}");
            assert!(least < most && most < Duration::from_secs(10), "{most:?}");
        }
    }
}
