//! The three conversations: which messages they are made of, and where in the ledger they go.

use weir_protocol::operator::{Answered, OperatorAnswer};
use weir_protocol::{
    AgentCall, AgentEvent, CallError, CallId, Envelope, Failure, FrameworkCall, FrameworkEvent,
    Numbered, OperatorCall,
};

use crate::ledger::{Input, Message, SessionId};

/// A kind of conversation.
pub(super) trait Conversation: 'static {
    /// What comes.
    type Call: Envelope<Wire: 'static> + Send;
    /// What goes.
    type Event: Envelope<Wire: 'static> + Send;

    /// Returns what a call is to the ledger.
    fn input(session: SessionId, call: Self::Call) -> Input;

    /// Returns a message as it goes out, or `None` if it is of another conversation.
    fn event(message: Message) -> Option<Self::Event>;

    /// Returns the answer to a call that cannot be read.
    fn refused(call: Option<CallId>, failure: Failure) -> Message;
}

/// With an agent.
pub(super) enum WithAgent {}

/// With a framework.
pub(super) enum WithFramework {}

/// With an operator.
pub(super) enum WithOperator {}

impl Conversation for WithAgent {
    type Call = Numbered<AgentCall>;
    type Event = AgentEvent;

    fn input(session: SessionId, call: Self::Call) -> Input {
        Input::Agent { session, call }
    }

    fn event(message: Message) -> Option<AgentEvent> {
        match message {
            Message::Agent(event) => Some(event),
            Message::Framework(_) | Message::Operator(_) => None,
        }
    }

    fn refused(call: Option<CallId>, failure: Failure) -> Message {
        Message::Agent(AgentEvent::Error(CallError { call, failure }))
    }
}

impl Conversation for WithFramework {
    type Call = Numbered<FrameworkCall>;
    type Event = FrameworkEvent;

    fn input(session: SessionId, call: Self::Call) -> Input {
        Input::Framework { session, call }
    }

    fn event(message: Message) -> Option<FrameworkEvent> {
        match message {
            Message::Framework(event) => Some(event),
            Message::Agent(_) | Message::Operator(_) => None,
        }
    }

    fn refused(call: Option<CallId>, failure: Failure) -> Message {
        Message::Framework(FrameworkEvent::Error(CallError { call, failure }))
    }
}

impl Conversation for WithOperator {
    type Call = Numbered<OperatorCall>;
    type Event = Answered;

    fn input(session: SessionId, call: Self::Call) -> Input {
        Input::Operator { session, call }
    }

    fn event(message: Message) -> Option<Answered> {
        match message {
            Message::Operator(answered) => Some(answered),
            Message::Agent(_) | Message::Framework(_) => None,
        }
    }

    fn refused(call: Option<CallId>, failure: Failure) -> Message {
        Message::Operator(Answered {
            call,
            answer: OperatorAnswer::Failed(failure),
        })
    }
}
