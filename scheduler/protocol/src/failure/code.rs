//! Codes of failures.

/// Every way to be refused. The schema says what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorCode {
    /// The two sides have no version in common.
    ProtocolVersion,
    /// The certificate names somebody who may not say this.
    Identity,
    /// The scheduler is starting or stopping. Reserved: nobody sends it.
    NotReady,
    /// A bound on how many there may be is reached.
    LimitReached,
    /// The peer does not read what it is sent. Reserved: nobody sends it.
    SlowReader,
    /// The scheduler is at fault; its log says more. Reserved: nobody sends it.
    Internal,
    /// A frame that is no message, or a message whose fields are wrong.
    InvalidMessage,
    /// A call that this version does not have.
    UnknownCall,
    /// The rules of access do not allow it.
    Unauthorized,
    /// An operation id that was used before, for something else.
    OperationIdReused,
    /// Nothing is known of an operation with this id.
    OperationUnknown,
    /// The call was overtaken by another; nothing was done.
    Conflict,
    /// Any call before SUBSCRIBE or REGISTER.
    NotSubscribed,
    /// A second SUBSCRIBE on one connection, or without `force` while another is connected.
    AlreadySubscribed,
    /// Another connection has taken over this framework.
    FrameworkFailedOver,
    /// It was torn down or its time to fail over has passed.
    FrameworkRemoved,
    /// No framework has this id.
    FrameworkUnknown,
    /// The scheduler's configuration has no such role.
    RoleUnknown,
    /// An offer id that is unknown, not the caller's, named twice, or of another agent.
    InvalidOffers,
    /// An operation that makes no sense whatever is free.
    InvalidOperation,
    /// It asks for more than there is.
    InsufficientResources,
    /// The role has a volume of that id on that agent.
    VolumeExists,
    /// The agent has no such volume.
    VolumeUnknown,
    /// A task has the volume.
    VolumeInUse,
    /// The agent has no such reservation.
    ReservationUnknown,
    /// It was meant for an earlier version of the agent's set.
    StaleVersion,
    /// The agent cannot write it down or carry it out.
    AgentFailed,
    /// The description of a task cannot be launched.
    TaskInvalid,
    /// A task id that the framework has used before.
    TaskIdReused,
    /// The framework has no such task.
    TaskUnknown,
    /// No agent has this id or name.
    AgentUnknown,
    /// The agent is known and away.
    AgentDisconnected,
    /// The agent takes nothing new.
    AgentDraining,
    /// It was removed; it must end what it runs and register anew.
    AgentRemoved,
    /// An agent of that name is connected.
    AgentNameTaken,
}

impl ErrorCode {
    /// Returns whether the same request may succeed later without anybody changing it.
    pub const fn is_retryable(self) -> bool {
        match self {
            // It passes by itself.
            Self::NotReady
            | Self::LimitReached
            | Self::SlowReader
            | Self::Internal
            | Self::AgentDisconnected
            | Self::AgentFailed => true,
            // It depends on what others hold, and they may give it back.
            Self::Conflict
            | Self::InsufficientResources
            | Self::VolumeInUse
            | Self::StaleVersion => true,
            // It stays wrong until the request or a configuration is changed.
            Self::ProtocolVersion
            | Self::Identity
            | Self::InvalidMessage
            | Self::UnknownCall
            | Self::Unauthorized
            | Self::OperationIdReused
            | Self::OperationUnknown
            | Self::NotSubscribed
            | Self::AlreadySubscribed
            | Self::FrameworkFailedOver
            | Self::FrameworkRemoved
            | Self::FrameworkUnknown
            | Self::RoleUnknown
            | Self::InvalidOffers
            | Self::InvalidOperation
            | Self::VolumeExists
            | Self::VolumeUnknown
            | Self::ReservationUnknown
            | Self::TaskInvalid
            | Self::TaskIdReused
            | Self::TaskUnknown
            | Self::AgentUnknown
            | Self::AgentDraining
            | Self::AgentRemoved
            | Self::AgentNameTaken => false,
        }
    }
}
