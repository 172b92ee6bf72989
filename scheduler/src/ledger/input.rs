//! What happens to the ledger: sessions come and go, and peers say something in them.

use std::fmt;
use std::time::Duration;

use weir_protocol::{AgentCall, AgentName, FrameworkCall, Line, Numbered, OperatorCall, UnixMs};
use weir_resources::Principal;

/// When something happens, as whoever has the clocks says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Since any origin, the same for the whole life of a ledger. It never goes back: deadlines are
    /// counted in it.
    pub elapsed: Duration,
    /// What the wall clock shows. It may jump: it is written down and told, and decides nothing.
    pub unix: UnixMs,
}

/// One connection of one peer: a number that is never used again in the life of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {}", self.0)
    }
}

/// Who is at the other end of a session, as its certificate says. What it may say follows from it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// An agent, by its name.
    Agent(AgentName),
    /// A framework, by its principal.
    Framework(Principal),
    /// An operator, by the principal.
    Operator(Principal),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(name) => write!(f, "agent {name}"),
            Self::Framework(principal) => write!(f, "framework {principal}"),
            Self::Operator(principal) => write!(f, "operator {principal}"),
        }
    }
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A peer has connected, and said hello.
    Opened {
        /// The session, new.
        session: SessionId,
        /// Who it is.
        peer: Peer,
        /// What it runs, as it says.
        software: Line,
    },
    /// The connection of a session is gone: nothing comes from it any more.
    Closed {
        /// The session.
        session: SessionId,
    },
    /// An agent says something.
    Agent {
        /// In which session.
        session: SessionId,
        /// What.
        call: Numbered<AgentCall>,
    },
    /// A framework asks for something.
    Framework {
        /// In which session.
        session: SessionId,
        /// What.
        call: Numbered<FrameworkCall>,
    },
    /// An operator asks for something.
    Operator {
        /// In which session.
        session: SessionId,
        /// What.
        call: Numbered<OperatorCall>,
    },
}
