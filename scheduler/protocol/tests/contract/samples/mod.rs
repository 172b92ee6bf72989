//! One message of every kind, with every field set: what golden bytes are made of.

mod agent;
mod framework;
mod operator;
mod parts;

use weir_protocol::{
    AgentCall, AgentEvent, Answered, CallId, Envelope, ErrorCode, Failure, FrameworkCall,
    FrameworkEvent, Hello, HelloAnswer, Limits, Numbered, OperatorCall, Refusal, Refused,
    VersionRange, Welcome, decode, encode,
};

pub(crate) use agent::{info as agent_info, registration, task as agent_task};
pub(crate) use framework::{info as framework_info, offer};
pub(crate) use parts::*;

/// A message that stands alone in a frame, of any conversation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    Hello(Hello),
    HelloAnswer(HelloAnswer),
    FrameworkCall(Numbered<FrameworkCall>),
    FrameworkEvent(FrameworkEvent),
    AgentCall(Numbered<AgentCall>),
    AgentEvent(AgentEvent),
    OperatorCall(Numbered<OperatorCall>),
    OperatorAnswer(Answered),
}

/// Which conversation and direction a message is of, as the schema calls it.
pub(crate) const ENVELOPES: [&str; 8] = [
    "Hello",
    "HelloAnswer",
    "FrameworkCall",
    "FrameworkEvent",
    "AgentCall",
    "AgentEvent",
    "OperatorCall",
    "OperatorAnswer",
];

impl Message {
    pub(crate) fn envelope(&self) -> &'static str {
        match self {
            Self::Hello(_) => "Hello",
            Self::HelloAnswer(_) => "HelloAnswer",
            Self::FrameworkCall(_) => "FrameworkCall",
            Self::FrameworkEvent(_) => "FrameworkEvent",
            Self::AgentCall(_) => "AgentCall",
            Self::AgentEvent(_) => "AgentEvent",
            Self::OperatorCall(_) => "OperatorCall",
            Self::OperatorAnswer(_) => "OperatorAnswer",
        }
    }

    /// Returns the frame.
    pub(crate) fn encode(self) -> Vec<u8> {
        fn frame<E: Envelope>(envelope: E) -> Vec<u8> {
            let mut out = Vec::new();
            encode(envelope, &mut out).expect("samples fit a frame");
            out
        }
        match self {
            Self::Hello(message) => frame(message),
            Self::HelloAnswer(message) => frame(message),
            Self::FrameworkCall(message) => frame(message),
            Self::FrameworkEvent(message) => frame(message),
            Self::AgentCall(message) => frame(message),
            Self::AgentEvent(message) => frame(message),
            Self::OperatorCall(message) => frame(message),
            Self::OperatorAnswer(message) => frame(message),
        }
    }

    /// Reads what stands in a frame of this envelope.
    pub(crate) fn decode(envelope: &str, payload: &[u8]) -> Result<Self, Refusal> {
        match envelope {
            "Hello" => decode(payload).map(Self::Hello),
            "HelloAnswer" => decode(payload).map(Self::HelloAnswer),
            "FrameworkCall" => decode(payload).map(Self::FrameworkCall),
            "FrameworkEvent" => decode(payload).map(Self::FrameworkEvent),
            "AgentCall" => decode(payload).map(Self::AgentCall),
            "AgentEvent" => decode(payload).map(Self::AgentEvent),
            "OperatorCall" => decode(payload).map(Self::OperatorCall),
            "OperatorAnswer" => decode(payload).map(Self::OperatorAnswer),
            other => panic!("no envelope {other}"),
        }
    }
}

/// Returns every kind of message, with the name of its file: the envelope and the field of the
/// schema, and what distinguishes several of one field.
pub(crate) fn all() -> Vec<(String, Message)> {
    let mut all = vec![
        ("Hello".to_owned(), Message::Hello(hello())),
        (
            "HelloAnswer.welcome".to_owned(),
            Message::HelloAnswer(HelloAnswer::Welcome(welcome())),
        ),
        (
            "HelloAnswer.refused".to_owned(),
            Message::HelloAnswer(HelloAnswer::Refused(refused())),
        ),
    ];
    let call = |number: u64| CallId(number.try_into().expect("ids count from 1"));
    for (number, (name, message)) in (1..).zip(framework::calls()) {
        let message = Message::FrameworkCall(Numbered {
            id: call(number),
            call: message,
        });
        all.push((format!("FrameworkCall.{name}"), message));
    }
    for (name, event) in framework::events() {
        all.push((
            format!("FrameworkEvent.{name}"),
            Message::FrameworkEvent(event),
        ));
    }
    for (number, (name, message)) in (1..).zip(agent::calls()) {
        let message = Message::AgentCall(Numbered {
            id: call(number),
            call: message,
        });
        all.push((format!("AgentCall.{name}"), message));
    }
    for (name, event) in agent::events() {
        all.push((format!("AgentEvent.{name}"), Message::AgentEvent(event)));
    }
    for (number, (name, message)) in (1..).zip(operator::calls()) {
        let message = Message::OperatorCall(Numbered {
            id: call(number),
            call: message,
        });
        all.push((format!("OperatorCall.{name}"), message));
    }
    for (number, (name, answer)) in (1..).zip(operator::answers()) {
        let message = Message::OperatorAnswer(Answered {
            call: Some(call(number)),
            answer,
        });
        all.push((format!("OperatorAnswer.{name}"), message));
    }
    all
}

pub(crate) fn hello() -> Hello {
    Hello {
        versions: VersionRange::new(1, 3).unwrap(),
        capabilities: ["from.the.future", "known"].map(capability).into(),
        software: line("weir-agent 0.1.0"),
    }
}

pub(crate) fn welcome() -> Welcome {
    Welcome {
        version: 1,
        capabilities: [capability("known")].into(),
        scheduler: line("main"),
        limits: Limits::OWN,
    }
}

pub(crate) fn refused() -> Refused {
    Refused {
        failure: Failure::new(
            ErrorCode::ProtocolVersion,
            "the scheduler speaks protocol 1, `x` speaks protocol 2",
            "upgrade the scheduler",
        ),
        versions: VersionRange::SPOKEN,
    }
}
