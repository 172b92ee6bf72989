//! What resources are called.

use std::cmp::Ordering;
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
    pub const CPUS: Self = Self(Letters::known("cpus"));
    /// Memory in MiB.
    pub const MEM: Self = Self(Letters::known("mem"));
    /// Space on disk in MiB; the one resource that can be a volume.
    pub const DISK: Self = Self(Letters::known("disk"));
    /// TCP and UDP ports.
    pub const PORTS: Self = Self(Letters::known("ports"));
    /// What leaves the node, in Mbit/s.
    pub const NETWORK_EGRESS: Self = Self(Letters::known("network_egress"));
    /// What arrives at the node, in Mbit/s.
    pub const NETWORK_INGRESS: Self = Self(Letters::known("network_ingress"));
    /// Free blocks of ephemeral ports: each isolated container holds one.
    pub const PORT_BLOCKS: Self = Self(Letters::known("port_blocks"));

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

/// The letters of a name.
#[derive(Clone)]
struct Letters {
    /// The first letters as a number that orders as they do: names are compared all the time, and this
    /// tells most of them apart without following a pointer.
    prefix: u64,
    text: Text,
}

/// A text that is part of the program, or one that came from outside.
#[derive(Clone)]
enum Text {
    /// One of the constants: nothing is counted when it is cloned.
    Known(&'static str),
    /// Any other.
    Shared(Arc<str>),
}

impl Letters {
    const fn known(text: &'static str) -> Self {
        Self {
            prefix: prefix(text),
            text: Text::Known(text),
        }
    }

    /// Returns whether both are the same text in memory; if not, they may still be equal.
    fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq::<str>(&**self, &**other)
    }
}

/// Returns the first eight bytes of a text, the first being the highest; zeros stand for what a
/// shorter text has not, and for no byte of a name.
const fn prefix(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut prefix = [0; 8];
    let mut index = 0;
    while index < prefix.len() && index < bytes.len() {
        prefix[index] = bytes[index];
        index += 1;
    }
    u64::from_be_bytes(prefix)
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
        .map(|known| known.0)
        .find(|known| **known == *text)
        .unwrap_or_else(|| Self {
            prefix: prefix(text),
            text: Text::Shared(Arc::from(text)),
        })
    }
}

impl Deref for Letters {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.text {
            Text::Known(text) => text,
            Text::Shared(text) => text,
        }
    }
}

impl PartialEq for Letters {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
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
        match self.prefix.cmp(&other.prefix) {
            Ordering::Equal if self.is_same(other) => Ordering::Equal,
            Ordering::Equal => (**self).cmp(&**other),
            apart @ (Ordering::Less | Ordering::Greater) => apart,
        }
    }
}

impl Hash for Letters {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_order_as_their_texts_do() {
        let names = [
            "a",
            "ab",
            "abcdefg",
            "abcdefgh",
            "abcdefgh-",
            "abcdefghi",
            "abcdefgi",
            "b",
            "cpus",
            "cpus2",
            "disk",
            "mem",
            "network",
            "network_egress",
            "network_egress2",
            "port_blocks",
            "ports",
        ];
        for one in names {
            for other in names {
                let (first, second) = (
                    ResourceName::new(one).unwrap(),
                    ResourceName::new(other).unwrap(),
                );
                assert_eq!(first.cmp(&second), one.cmp(other), "{one} and {other}");
                assert_eq!(first == second, one == other, "{one} and {other}");
            }
        }
    }
}
