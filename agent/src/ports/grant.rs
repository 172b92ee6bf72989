//! What a container owns, and what an update makes of it.

use serde::{Deserialize, Serialize};
use weir_resources::{PortRange, PortSet};

/// The ports of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// What it serves on.
    pub ports: PortSet,
    /// What its connections start from; nothing where it shares the node's namespace.
    pub ephemeral: Option<PortRange>,
}

impl Grant {
    /// Returns every port of it.
    pub fn all(&self) -> PortSet {
        self.ports
            .ranges()
            .iter()
            .copied()
            .chain(self.ephemeral)
            .collect()
    }
}

/// What an update does to the assigned ports of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it has afterwards.
    pub ports: PortSet,
    /// What it has then and has not now.
    pub added: PortSet,
    /// What it has now and has not then.
    pub removed: PortSet,
}

/// Says why the ledger cannot write down what it is told. Plans never lead there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// A container that has ports already.
    #[error("container {owner} has ports {ports} already; update it, or end it first")]
    AlreadyOwns {
        /// The container.
        owner: String,
        /// What it has.
        ports: PortSet,
    },
    /// A port that would have two owners.
    #[error("container {owner} cannot have ports {ports}: container {holder} has them")]
    Taken {
        /// The container that would get them.
        owner: String,
        /// The ports.
        ports: PortSet,
        /// The container that has them.
        holder: String,
    },
    /// A container that the ledger does not know.
    #[error("container {owner} owns no ports here; it has ended, or never began")]
    Unknown {
        /// The container.
        owner: String,
    },
}
