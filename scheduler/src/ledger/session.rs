//! Sessions: which peer says something in which, and how far their conversation has come.

use std::collections::BTreeMap;

use weir_protocol::agent::RegistrationReader;
use weir_protocol::{AgentId, AgentName, FrameworkId, Line};
use weir_resources::Principal;

use super::input::{Peer, SessionId};

/// A session that is open, as far as the ledger knows.
#[derive(Debug)]
pub(super) struct Session {
    /// What the peer runs.
    pub(super) software: Line,
    pub(super) conversation: Conversation,
}

/// How far a conversation has come.
#[derive(Debug)]
pub(super) enum Conversation {
    Agent {
        name: AgentName,
        reader: RegistrationReader,
        /// `None` before REGISTER was answered.
        registered: Option<AgentId>,
    },
    Framework {
        principal: Principal,
        /// `None` before SUBSCRIBE.
        subscribed: Option<FrameworkId>,
    },
    Operator {
        principal: Principal,
    },
}

/// The sessions.
pub(super) type Sessions = BTreeMap<SessionId, Session>;

impl Session {
    pub(super) fn new(peer: Peer, software: Line) -> Self {
        let conversation = match peer {
            Peer::Agent(name) => Conversation::Agent {
                name,
                reader: RegistrationReader::default(),
                registered: None,
            },
            Peer::Framework(principal) => Conversation::Framework {
                principal,
                subscribed: None,
            },
            Peer::Operator(principal) => Conversation::Operator { principal },
        };
        Self {
            software,
            conversation,
        }
    }
}
