//! What Weir's processes say to each other.
//!
//! Bytes come in as frames, frames are messages of the schema under `proto/`, and messages become
//! the types of this crate, which hold only what makes sense. Whoever decides anything sees those
//! types alone:
//!
//! ```text
//! bytes --(frame)--> payload --(wire: prost)--> message --(TryFrom)--> FrameworkCall, AgentEvent, …
//! bytes <--(frame)-- payload <--(wire: prost)-- message <----(From)--- FrameworkEvent, AgentCall, …
//! ```
//!
//! Pure: no I/O, no clock, no randomness. What is wrong with a message is an error that names the
//! field, what stands in it and what to do; nothing is dropped, cut or guessed.
//!
//! - [`bounds`]: how much of anything a message may hold, and why so much.
//! - [`burden`]: how much memory a message takes, known before it is made.
//! - [`envelope`]: messages that stand alone in a frame; [`pack`](mod@pack): lists that need several.
//! - [`frame`], [`hello`]: how messages are parted on a stream, and how a conversation begins.
//! - [`id`], [`text`], [`time`]: what things are called, texts for people, durations.
//! - [`failure`]: how anything is refused; [`invalid`]: how a message is.
//! - [`resource`]: versioned sets and estimates; the algebra is in weir-resources.
//! - [`task`]: what is to run, and what became of it.
//! - [`framework`], [`agent`], [`operator`]: the three conversations.
//! - [`wire`]: the messages as they are on the wire.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod bounds;
pub mod burden;
pub mod envelope;
pub mod frame;
pub mod hello;

pub mod failure;
pub mod id;
pub mod invalid;
pub mod text;
pub mod time;

pub mod resource;
pub mod task;

pub mod agent;
pub mod framework;
pub mod operator;

pub mod pack;

pub mod wire;

pub use agent::{
    AgentCall, AgentEvent, AgentInfo, AgentTask, ApplyOutcome, Launch, Registration,
    RegistrationReader, RegistrationStep, TaskOwner, registration_calls,
};
pub use burden::{BurdenError, decode_bounded};
pub use envelope::{Envelope, Refusal, decode, encode};
pub use failure::{CallError, ErrorCode, Failure};
pub use frame::{FrameDecoder, FrameError, encode_frame};
pub use framework::{
    Action, Filters, FrameworkCall, FrameworkCapability, FrameworkEvent, FrameworkInfo, Offer,
    Operation, OperationOutcome, RescindReason, TaskQuery,
};
pub use hello::{
    ALPN, Agreement, Hello, HelloAnswer, Limits, Refused, VersionRange, Welcome, negotiate,
};
pub use id::{
    AgentId, AgentName, BootId, CallId, CapabilityName, FrameworkId, IdError, Numbered, OfferId,
    OperationId, OperationKey, OperationOrigin, TaskId, TaskKey, UpdateId, check_name,
};
pub use invalid::{Invalid, Problem};
pub use operator::{Answered, OperatorAnswer, OperatorCall};
pub use pack::pack;
pub use resource::{
    Estimate, Oversize, PortBlocks, ResourceSet, SetVersion, VolumeSizes, check_size,
};
pub use task::{
    Argv, Ceilings, Command, Environment, Exit, NetworkMode, Reason, Run, Shell, Source, TaskSpec,
    TaskState, TaskStatus, WorkingDirectory,
};
pub use text::{Line, Note, TextError};
pub use time::{Millis, UnixMs};
