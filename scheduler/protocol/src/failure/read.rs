//! From the wire.

use std::num::NonZeroU64;

use super::code::ErrorCode;
use super::reason::{CallError, Failure};
use crate::id::CallId;
use crate::invalid::{At, Enumeration, Invalid, Problem, enumeration, optional, required};
use crate::text::Note;
use crate::wire;

enumeration! {
    ErrorCode, ErrorCode, Unspecified {
        ProtocolVersion = ProtocolVersion,
        Identity = Identity,
        NotReady = NotReady,
        LimitReached = LimitReached,
        SlowReader = SlowReader,
        Internal = Internal,
        InvalidMessage = InvalidMessage,
        UnknownCall = UnknownCall,
        Unauthorized = Unauthorized,
        OperationIdReused = OperationIdReused,
        OperationUnknown = OperationUnknown,
        Conflict = Conflict,
        NotSubscribed = NotSubscribed,
        AlreadySubscribed = AlreadySubscribed,
        FrameworkFailedOver = FrameworkFailedOver,
        FrameworkRemoved = FrameworkRemoved,
        FrameworkUnknown = FrameworkUnknown,
        RoleUnknown = RoleUnknown,
        InvalidOffers = InvalidOffers,
        InvalidOperation = InvalidOperation,
        InsufficientResources = InsufficientResources,
        VolumeExists = VolumeExists,
        VolumeUnknown = VolumeUnknown,
        VolumeInUse = VolumeInUse,
        ReservationUnknown = ReservationUnknown,
        StaleVersion = StaleVersion,
        AgentFailed = AgentFailed,
        TaskInvalid = TaskInvalid,
        TaskIdReused = TaskIdReused,
        TaskUnknown = TaskUnknown,
        AgentUnknown = AgentUnknown,
        AgentDisconnected = AgentDisconnected,
        AgentDraining = AgentDraining,
        AgentRemoved = AgentRemoved,
        AgentNameTaken = AgentNameTaken,
    }
}

impl TryFrom<wire::Failure> for Failure {
    type Error = Invalid;

    fn try_from(wire: wire::Failure) -> Result<Self, Invalid> {
        Ok(Self {
            code: ErrorCode::from_number(wire.code).at("code")?,
            reason: Note::new(wire.reason).at("reason")?,
            remedy: Note::new(wire.remedy).at("remedy")?,
        })
    }
}

impl TryFrom<wire::Error> for CallError {
    type Error = Invalid;

    fn try_from(wire: wire::Error) -> Result<Self, Invalid> {
        let failure = required(wire.failure).at("failure")?;
        Ok(Self {
            call: optional(wire.call_id, call_id).at("call_id")?,
            failure: failure.try_into().at("failure")?,
        })
    }
}

/// Returns the id of a call.
pub(crate) fn call_id(number: u64) -> Result<CallId, Problem> {
    NonZeroU64::new(number)
        .map(CallId)
        .ok_or(Problem::OutOfRange {
            value: 0,
            min: 1,
            max: u64::MAX,
        })
}
