//! What resources are called.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use super::word::{Rules, WORD_BYTES_MAX, WordError, word};

/// The name of a resource: `cpus`, `mem`, `disk`, `ports`, or any other of ASCII letters, digits,
/// `_`, `-`, `.` and `/` that begins with a letter.
///
/// Mesos takes any text; here a name is something one can say and grep for. The names that every
/// node has cost nothing to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceName(Letters);

impl ResourceName {
    /// Processors, in cores.
    pub const CPUS: Self = Self(Letters::Known("cpus"));
    /// Memory in MiB.
    pub const MEM: Self = Self(Letters::Known("mem"));
    /// Space on disk in MiB; the one resource that can be a volume.
    pub const DISK: Self = Self(Letters::Known("disk"));
    /// TCP and UDP ports.
    pub const PORTS: Self = Self(Letters::Known("ports"));
    /// What leaves the node, in Mbit/s.
    pub const NETWORK_EGRESS: Self = Self(Letters::Known("network_egress"));
    /// Free blocks of ephemeral ports: each isolated container holds one.
    pub const PORT_BLOCKS: Self = Self(Letters::Known("port_blocks"));

    const RULES: Rules = Rules {
        what: "the name of a resource",
        bytes_max: WORD_BYTES_MAX,
        allows: |character| {
            character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.' | '/')
        },
        begins: |character| character.is_ascii_alphabetic(),
        rule: "use letters, digits, `_`, `-`, `.` and `/`, and begin with a letter",
    };

    fn check(text: &str) -> Result<(), WordError> {
        Self::RULES.check(text)
    }
}

word!(ResourceName over Letters);

/// A name that is part of the program, or one that came from outside.
#[derive(Clone)]
enum Letters {
    /// One of the constants: nothing is counted when it is cloned.
    Known(&'static str),
    /// Any other.
    Shared(Arc<str>),
}

impl From<&str> for Letters {
    fn from(text: &str) -> Self {
        [
            ResourceName::CPUS,
            ResourceName::MEM,
            ResourceName::DISK,
            ResourceName::PORTS,
            ResourceName::NETWORK_EGRESS,
            ResourceName::PORT_BLOCKS,
        ]
        .into_iter()
        .find(|known| known.as_str() == text)
        .map_or_else(|| Self::Shared(Arc::from(text)), |known| known.0)
    }
}

impl Deref for Letters {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Known(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl PartialEq for Letters {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Letters {}

impl PartialOrd for Letters {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Letters {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for Letters {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for Letters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
