//! How a conversation begins: which version is spoken, and what else both can do.
//!
//! 1. Whoever connects sends [`Hello`].
//! 2. The scheduler answers [`HelloAnswer::Welcome`], and everything after that is of the version it
//!    names; or [`HelloAnswer::Refused`], and closes.
//!
//! The version is the highest that both speak. A capability is in force if both have announced it;
//! a name that the other side does not know is ignored, so that a newer peer may announce whatever it
//! likes. Deciding is a pure function, [`negotiate`]; the other side checks the answer with
//! [`Hello::check`].

mod convert;

use std::collections::BTreeSet;
use std::fmt;

use crate::bounds::{
    FRAME_BYTES_MAX, OFFER_IDS_MAX, OPERATIONS_MAX, RECONCILE_MAX, TASKS_PER_LAUNCH_MAX,
};
use crate::failure::{ErrorCode, Failure};
use crate::id::CapabilityName;
use crate::text::Line;

/// The name that both sides give the protocol when TLS asks (ALPN).
pub const ALPN: &[u8] = b"weir/1";

/// Versions in a row, both ends included; never none, and never version 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VersionRange {
    min: u32,
    max: u32,
}

/// Says that two numbers are not the ends of a range of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("versions {min} to {max} are none; versions count from 1")]
pub struct NoVersions {
    /// The lowest.
    pub min: u32,
    /// The highest.
    pub max: u32,
}

impl VersionRange {
    /// The versions that this crate speaks.
    pub const SPOKEN: Self = Self { min: 1, max: 1 };

    /// Returns the versions from `min` to `max`.
    pub const fn new(min: u32, max: u32) -> Result<Self, NoVersions> {
        if min == 0 || max < min {
            return Err(NoVersions { min, max });
        }
        Ok(Self { min, max })
    }

    /// Returns the lowest.
    pub const fn min(self) -> u32 {
        self.min
    }

    /// Returns the highest.
    pub const fn max(self) -> u32 {
        self.max
    }

    /// Returns whether `version` is one of them.
    pub const fn contains(self, version: u32) -> bool {
        self.min <= version && version <= self.max
    }

    /// Returns the highest version that is in both.
    pub const fn highest_common(self, other: Self) -> Option<u32> {
        let highest = if self.max < other.max {
            self.max
        } else {
            other.max
        };
        if self.contains(highest) && other.contains(highest) {
            Some(highest)
        } else {
            None
        }
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            write!(f, "{}", self.min)
        } else {
            write!(f, "{} to {}", self.min, self.max)
        }
    }
}

/// The first message of whoever connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// What it speaks.
    pub versions: VersionRange,
    /// What else it can do.
    pub capabilities: BTreeSet<CapabilityName>,
    /// What it is, for logs.
    pub software: Line,
}

/// The first message of the scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelloAnswer {
    /// The conversation goes on.
    Welcome(Welcome),
    /// The connection is closed.
    Refused(Refused),
}

/// What is spoken from here on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version.
    pub version: u32,
    /// What both can do.
    pub capabilities: BTreeSet<CapabilityName>,
    /// What the scheduler is called.
    pub scheduler: Line,
    /// What it takes in one frame.
    pub limits: Limits,
}

/// What the scheduler takes in one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Bytes of a frame.
    pub frame_bytes_max: u32,
    /// Offers of one ACCEPT or DECLINE.
    pub offer_ids_max: u32,
    /// Operations of one ACCEPT.
    pub operations_max: u32,
    /// Tasks of one LAUNCH.
    pub tasks_per_launch_max: u32,
    /// Tasks, and operations, of one RECONCILE.
    pub reconcile_max: u32,
}

impl Limits {
    /// What this crate takes.
    pub const OWN: Self = Self {
        frame_bytes_max: count(FRAME_BYTES_MAX),
        offer_ids_max: count(OFFER_IDS_MAX),
        operations_max: count(OPERATIONS_MAX),
        tasks_per_launch_max: count(TASKS_PER_LAUNCH_MAX),
        reconcile_max: count(RECONCILE_MAX),
    };
}

/// Returns a bound as it is on the wire; checked when this crate is compiled.
#[expect(clippy::cast_possible_truncation, reason = "asserted to fit")]
const fn count(bound: usize) -> u32 {
    assert!(bound <= 0xffff_ffff);
    bound as u32
}

/// Why a conversation does not begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{failure}")]
pub struct Refused {
    /// What is wrong.
    pub failure: Failure,
    /// What the scheduler speaks.
    pub versions: VersionRange,
}

/// What two peers have agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The highest version that both speak.
    pub version: u32,
    /// What both can do.
    pub capabilities: BTreeSet<CapabilityName>,
}

/// Returns what a scheduler that speaks `versions` and has `capabilities` agrees on with whoever
/// said `hello`, or the refusal to send.
pub fn negotiate(
    versions: VersionRange,
    capabilities: &BTreeSet<CapabilityName>,
    hello: &Hello,
) -> Result<Agreement, Refused> {
    match versions.highest_common(hello.versions) {
        Some(version) => Ok(Agreement {
            version,
            capabilities: capabilities
                .intersection(&hello.capabilities)
                .cloned()
                .collect(),
        }),
        None => {
            let older = if hello.versions.max() < versions.min() {
                "the peer"
            } else {
                "the scheduler"
            };
            Err(Refused {
                failure: Failure::new(
                    ErrorCode::ProtocolVersion,
                    format_args!(
                        "the scheduler speaks protocol {versions}, `{}` speaks protocol {}",
                        hello.software, hello.versions
                    ),
                    format_args!("upgrade {older}, which is the older of the two"),
                ),
                versions,
            })
        }
    }
}

impl Hello {
    /// Returns nothing if the scheduler's answer is one to this hello, or what is wrong with it.
    pub fn check(&self, welcome: &Welcome) -> Result<(), Failure> {
        if !self.versions.contains(welcome.version) {
            return Err(Failure::new(
                ErrorCode::ProtocolVersion,
                format_args!(
                    "`{}` welcomes with protocol {}, which was not offered: {} was",
                    welcome.scheduler, welcome.version, self.versions
                ),
                "upgrade the scheduler; its answer is at fault",
            ));
        }
        let added = welcome.capabilities.difference(&self.capabilities).next();
        match added {
            None => Ok(()),
            Some(capability) => Err(Failure::new(
                ErrorCode::InvalidMessage,
                format_args!(
                    "`{}` welcomes with capability `{capability}`, which was not announced",
                    welcome.scheduler
                ),
                "upgrade the scheduler; its answer is at fault",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<CapabilityName> {
        names
            .iter()
            .map(|name| CapabilityName::new(name).unwrap())
            .collect()
    }

    fn hello(min: u32, max: u32, capabilities: &[&str]) -> Hello {
        Hello {
            versions: VersionRange::new(min, max).unwrap(),
            capabilities: names(capabilities),
            software: Line::new("weir-agent 0.1.0").unwrap(),
        }
    }

    fn versions(min: u32, max: u32) -> VersionRange {
        VersionRange::new(min, max).unwrap()
    }

    #[test]
    fn the_highest_common_version_is_spoken() {
        for (own, theirs, common) in [
            ((1, 1), (1, 1), Some(1)),
            ((1, 3), (2, 5), Some(3)),
            ((2, 5), (1, 3), Some(3)),
            ((1, 9), (4, 4), Some(4)),
            ((1, 2), (3, 4), None),
            ((3, 4), (1, 2), None),
        ] {
            let (own, theirs) = (versions(own.0, own.1), versions(theirs.0, theirs.1));
            assert_eq!(own.highest_common(theirs), common);
            assert_eq!(theirs.highest_common(own), common);
        }
    }

    #[test]
    fn a_refusal_names_both_ranges_and_the_older_side() {
        let refused = negotiate(versions(3, 4), &names(&[]), &hello(1, 2, &[])).unwrap_err();
        assert_eq!(refused.failure.code, ErrorCode::ProtocolVersion);
        assert_eq!(
            refused.to_string(),
            "the scheduler speaks protocol 3 to 4, `weir-agent 0.1.0` speaks protocol 1 to 2"
        );
        assert_eq!(
            refused.failure.remedy.as_str(),
            "upgrade the peer, which is the older of the two"
        );
        assert_eq!(refused.versions, versions(3, 4));
        let refused = negotiate(versions(1, 1), &names(&[]), &hello(2, 2, &[])).unwrap_err();
        assert!(refused.failure.remedy.as_str().contains("the scheduler"));
    }

    #[test]
    fn capabilities_that_one_side_does_not_know_are_ignored() {
        let agreement = negotiate(
            VersionRange::SPOKEN,
            &names(&["known", "ours"]),
            &hello(1, 7, &["known", "from.the.future"]),
        )
        .unwrap();
        assert_eq!(agreement.version, 1);
        assert_eq!(agreement.capabilities, names(&["known"]));
    }

    #[test]
    fn a_welcome_to_something_else_is_refused() {
        let mut welcome = Welcome {
            version: 1,
            capabilities: names(&["a"]),
            scheduler: Line::new("main").unwrap(),
            limits: Limits::OWN,
        };
        assert_eq!(hello(1, 2, &["a", "b"]).check(&welcome), Ok(()));
        let failure = hello(1, 2, &[]).check(&welcome).unwrap_err();
        assert_eq!(failure.code, ErrorCode::InvalidMessage);
        welcome.version = 3;
        let failure = hello(1, 2, &["a"]).check(&welcome).unwrap_err();
        assert_eq!(failure.code, ErrorCode::ProtocolVersion);
        assert!(failure.to_string().contains("protocol 3"), "{failure}");
    }

    #[test]
    fn no_versions_are_no_range() {
        assert!(VersionRange::new(0, 1).is_err());
        assert_eq!(
            VersionRange::new(3, 2).unwrap_err().to_string(),
            "versions 3 to 2 are none; versions count from 1"
        );
    }
}
