//! From the wire, and to it.

use std::collections::BTreeSet;

use super::{Hello, HelloAnswer, Limits, Refused, VersionRange, Welcome};
use crate::bounds::CAPABILITIES_MAX;
use crate::failure::{ErrorCode, Failure};
use crate::id::CapabilityName;
use crate::invalid::{At, Enumeration, Invalid, each, required, within};
use crate::text::{Line, Note};
use crate::wire;
use crate::wire::hello_answer::Answer;

impl TryFrom<wire::Hello> for Hello {
    type Error = Invalid;

    fn try_from(wire: wire::Hello) -> Result<Self, Invalid> {
        let wire::Hello {
            protocol_min,
            protocol_max,
            capabilities: names,
            software,
        } = wire;
        Ok(Self {
            versions: VersionRange::new(protocol_min, protocol_max).at("protocol_max")?,
            capabilities: capabilities(names).at("capabilities")?,
            software: Line::new(software).at("software")?,
        })
    }
}

impl From<Hello> for wire::Hello {
    fn from(hello: Hello) -> Self {
        Self {
            protocol_min: hello.versions.min(),
            protocol_max: hello.versions.max(),
            capabilities: names(hello.capabilities),
            software: hello.software.into(),
        }
    }
}

impl TryFrom<Answer> for HelloAnswer {
    type Error = Invalid;

    fn try_from(wire: Answer) -> Result<Self, Invalid> {
        match wire {
            Answer::Welcome(welcome) => Ok(Self::Welcome(welcome.try_into().at("welcome")?)),
            Answer::Refused(refused) => Ok(Self::Refused(refused.try_into().at("refused")?)),
        }
    }
}

impl From<HelloAnswer> for Answer {
    fn from(answer: HelloAnswer) -> Self {
        match answer {
            HelloAnswer::Welcome(welcome) => Self::Welcome(welcome.into()),
            HelloAnswer::Refused(refused) => Self::Refused(refused.into()),
        }
    }
}

impl TryFrom<wire::Welcome> for Welcome {
    type Error = Invalid;

    fn try_from(wire: wire::Welcome) -> Result<Self, Invalid> {
        let version = within(wire.protocol.into(), 1, u32::MAX.into());
        version.at("protocol")?;
        Ok(Self {
            version: wire.protocol,
            capabilities: capabilities(wire.capabilities).at("capabilities")?,
            scheduler: Line::new(wire.scheduler_name).at("scheduler_name")?,
            limits: required(wire.limits).at("limits")?.into(),
        })
    }
}

impl From<Welcome> for wire::Welcome {
    fn from(welcome: Welcome) -> Self {
        Self {
            protocol: welcome.version,
            capabilities: names(welcome.capabilities),
            scheduler_name: welcome.scheduler.into(),
            limits: Some(welcome.limits.into()),
        }
    }
}

impl From<wire::Limits> for Limits {
    fn from(wire: wire::Limits) -> Self {
        let wire::Limits {
            frame_bytes_max,
            offer_ids_max,
            operations_max,
            tasks_per_launch_max,
            reconcile_max,
        } = wire;
        Self {
            frame_bytes_max,
            offer_ids_max,
            operations_max,
            tasks_per_launch_max,
            reconcile_max,
        }
    }
}

impl From<Limits> for wire::Limits {
    fn from(limits: Limits) -> Self {
        let Limits {
            frame_bytes_max,
            offer_ids_max,
            operations_max,
            tasks_per_launch_max,
            reconcile_max,
        } = limits;
        Self {
            frame_bytes_max,
            offer_ids_max,
            operations_max,
            tasks_per_launch_max,
            reconcile_max,
        }
    }
}

impl TryFrom<wire::Refused> for Refused {
    type Error = Invalid;

    fn try_from(wire: wire::Refused) -> Result<Self, Invalid> {
        Ok(Self {
            failure: Failure {
                code: ErrorCode::from_number(wire.code).at("code")?,
                reason: Note::new(wire.reason).at("reason")?,
                remedy: Note::new(wire.remedy).at("remedy")?,
            },
            versions: VersionRange::new(wire.protocol_min, wire.protocol_max).at("protocol_max")?,
        })
    }
}

impl From<Refused> for wire::Refused {
    fn from(refused: Refused) -> Self {
        let Failure {
            code,
            reason,
            remedy,
        } = refused.failure;
        Self {
            code: code.number(),
            reason: reason.into(),
            remedy: remedy.into(),
            protocol_min: refused.versions.min(),
            protocol_max: refused.versions.max(),
        }
    }
}

fn capabilities(list: Vec<String>) -> Result<BTreeSet<CapabilityName>, Invalid> {
    let names = each(list, CAPABILITIES_MAX, CapabilityName::new)?;
    Ok(BTreeSet::from_iter(names))
}

fn names(capabilities: BTreeSet<CapabilityName>) -> Vec<String> {
    capabilities.into_iter().map(String::from).collect()
}
