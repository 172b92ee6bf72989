//! Messages that stand alone in a frame, and the way between them and bytes.

use std::fmt;

use prost::{Message, Name};

use crate::agent::{AgentCall, AgentEvent};
use crate::burden::{BurdenError, decode_bounded};
use crate::failure::{ErrorCode, Failure, call_id};
use crate::frame::{FrameError, encode_frame};
use crate::framework::{FrameworkCall, FrameworkEvent};
use crate::hello::{Hello, HelloAnswer};
use crate::id::{CallId, Numbered};
use crate::invalid::{At, Invalid};
use crate::operator::{Answered, OperatorAnswer, OperatorCall};
use crate::wire;

/// A message that stands alone in a frame.
pub trait Envelope: Sized {
    /// The message on the wire.
    type Wire: Message + Default + Name;

    /// Checks what came.
    fn from_wire(wire: Self::Wire) -> Result<Self, Refusal>;

    /// Returns what is sent.
    fn into_wire(self) -> Self::Wire;
}

/// Reads what stands in one frame.
pub fn decode<E: Envelope>(payload: &[u8]) -> Result<E, Refusal> {
    let wire = decode_bounded(payload).map_err(|error| Refusal {
        call: None,
        cause: RefusalCause::NotDecoded(error),
    })?;
    E::from_wire(wire)
}

/// Appends one frame with `envelope` to `out`.
pub fn encode<E: Envelope>(envelope: E, out: &mut Vec<u8>) -> Result<(), FrameError> {
    encode_frame(&envelope.into_wire(), out)
}

/// Says why a frame holds no message that can be acted on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct Refusal {
    /// The call that is refused, where it could be read.
    pub call: Option<CallId>,
    /// What is wrong.
    pub cause: RefusalCause,
}

/// What is wrong with what stands in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusalCause {
    /// The bytes are no message of protobuf, or one that takes too much memory.
    NotDecoded(BurdenError),
    /// The envelope holds nothing, or something that this version does not know.
    Nothing {
        /// What should be in it.
        wanted: &'static str,
    },
    /// A field is wrong.
    Invalid(Invalid),
}

impl fmt::Display for RefusalCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDecoded(error) => error.fmt(f),
            Self::Nothing { wanted } => {
                write!(f, "the message holds no {wanted} that this version knows")
            }
            Self::Invalid(invalid) => invalid.fmt(f),
        }
    }
}

impl Refusal {
    /// Returns the failure to answer with.
    pub fn failure(&self) -> Failure {
        match &self.cause {
            RefusalCause::NotDecoded(_) => Failure::new(
                ErrorCode::InvalidMessage,
                self,
                "send one protobuf message of this conversation in each frame",
            ),
            RefusalCause::Nothing { .. } => Failure::new(
                ErrorCode::UnknownCall,
                self,
                "send only what the protocol version has that the greeting agreed on",
            ),
            RefusalCause::Invalid(invalid) => {
                Failure::new(ErrorCode::InvalidMessage, invalid, invalid.remedy())
            }
        }
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self {
            call: None,
            cause: RefusalCause::Invalid(invalid),
        }
    }
}

/// Reads a call with its id. What is wrong with the call itself is said of that id.
fn numbered<W, C: TryFrom<W, Error = Invalid>>(
    number: u64,
    call: Option<W>,
) -> Result<Numbered<C>, Refusal> {
    let id = call_id(number).at("call_id")?;
    let cause = match call.map(C::try_from) {
        Some(Ok(call)) => return Ok(Numbered { id, call }),
        Some(Err(invalid)) => RefusalCause::Invalid(invalid),
        None => RefusalCause::Nothing { wanted: "call" },
    };
    Err(Refusal {
        call: Some(id),
        cause,
    })
}

/// Reads what the scheduler says: an event or an answer.
fn said<W, S: TryFrom<W, Error = Invalid>>(
    said: Option<W>,
    wanted: &'static str,
) -> Result<S, Refusal> {
    match said {
        Some(said) => Ok(S::try_from(said)?),
        None => Err(Refusal {
            call: None,
            cause: RefusalCause::Nothing { wanted },
        }),
    }
}

impl Envelope for Hello {
    type Wire = wire::Hello;

    fn from_wire(wire: wire::Hello) -> Result<Self, Refusal> {
        Ok(Self::try_from(wire)?)
    }

    fn into_wire(self) -> wire::Hello {
        self.into()
    }
}

impl Envelope for HelloAnswer {
    type Wire = wire::HelloAnswer;

    fn from_wire(wire: wire::HelloAnswer) -> Result<Self, Refusal> {
        said(wire.answer, "answer")
    }

    fn into_wire(self) -> wire::HelloAnswer {
        wire::HelloAnswer {
            answer: Some(self.into()),
        }
    }
}

impl Envelope for Numbered<FrameworkCall> {
    type Wire = wire::FrameworkCall;

    fn from_wire(wire: wire::FrameworkCall) -> Result<Self, Refusal> {
        numbered(wire.call_id, wire.call)
    }

    fn into_wire(self) -> wire::FrameworkCall {
        wire::FrameworkCall {
            call_id: self.id.0.get(),
            call: Some(self.call.into()),
        }
    }
}

impl Envelope for FrameworkEvent {
    type Wire = wire::FrameworkEvent;

    fn from_wire(wire: wire::FrameworkEvent) -> Result<Self, Refusal> {
        said(wire.event, "event")
    }

    fn into_wire(self) -> wire::FrameworkEvent {
        wire::FrameworkEvent {
            event: Some(self.into()),
        }
    }
}

impl Envelope for Numbered<AgentCall> {
    type Wire = wire::AgentCall;

    fn from_wire(wire: wire::AgentCall) -> Result<Self, Refusal> {
        numbered(wire.call_id, wire.call)
    }

    fn into_wire(self) -> wire::AgentCall {
        wire::AgentCall {
            call_id: self.id.0.get(),
            call: Some(self.call.into()),
        }
    }
}

impl Envelope for AgentEvent {
    type Wire = wire::AgentEvent;

    fn from_wire(wire: wire::AgentEvent) -> Result<Self, Refusal> {
        said(wire.event, "event")
    }

    fn into_wire(self) -> wire::AgentEvent {
        wire::AgentEvent {
            event: Some(self.into()),
        }
    }
}

impl Envelope for Numbered<OperatorCall> {
    type Wire = wire::OperatorCall;

    fn from_wire(wire: wire::OperatorCall) -> Result<Self, Refusal> {
        numbered(wire.call_id, wire.call)
    }

    fn into_wire(self) -> wire::OperatorCall {
        wire::OperatorCall {
            call_id: self.id.0.get(),
            call: Some(self.call.into()),
        }
    }
}

impl Envelope for Answered {
    type Wire = wire::OperatorAnswer;

    fn from_wire(wire: wire::OperatorAnswer) -> Result<Self, Refusal> {
        let answer: OperatorAnswer = said(wire.answer, "answer")?;
        let call = match &answer {
            // Only a failure may be about no call.
            OperatorAnswer::Failed(_) if wire.call_id == 0 => None,
            OperatorAnswer::Failed(_)
            | OperatorAnswer::Done { .. }
            | OperatorAnswer::Agents(_)
            | OperatorAnswer::Offers(_)
            | OperatorAnswer::Roles(_)
            | OperatorAnswer::Frameworks(_)
            | OperatorAnswer::Tasks(_)
            | OperatorAnswer::Reservations(_)
            | OperatorAnswer::Volumes(_) => Some(call_id(wire.call_id).at("call_id")?),
        };
        Ok(Self { call, answer })
    }

    fn into_wire(self) -> wire::OperatorAnswer {
        wire::OperatorAnswer {
            call_id: self.call.map_or(0, |call| call.0.get()),
            answer: Some(self.answer.into()),
        }
    }
}
