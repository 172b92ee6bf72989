//! How a conversation begins: the peer says hello, and is welcomed or told why not.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::timeout;
use weir_protocol::{
    AgentName, CapabilityName, Envelope as _, ErrorCode, Failure, Hello, HelloAnswer, Limits, Line,
    Refused, VersionRange, Welcome, negotiate, wire,
};
use weir_resources::Principal;
use weir_transport::session::{CloseCode, ReceiveError, SendError};
use weir_transport::{Identity, PeerKind, Session};

use crate::ledger::Peer;

/// How long a peer may take for its hello, and to take the answer. It has opened its stream already, and
/// the hello is the first frame.
const PATIENCE: Duration = Duration::from_secs(10);

/// A session before it is known what is spoken.
pub(super) type Greeting = Session<wire::HelloAnswer, wire::Hello>;

/// Who a peer is, and what it runs.
#[derive(Debug)]
pub(super) struct Greeted {
    pub(super) peer: Peer,
    pub(super) software: Line,
}

/// Says why no conversation began.
#[derive(Debug, thiserror::Error)]
pub(super) enum GreetError {
    #[error("the peer said nothing for {} s", PATIENCE.as_secs())]
    Silent,
    #[error("the peer went away before its hello")]
    Gone,
    #[error("the hello cannot be read")]
    Receive(#[source] ReceiveError),
    #[error("the answer cannot be sent")]
    Send(#[source] SendError),
    #[error("refused: {0}")]
    Refused(Failure),
}

/// Hears the hello and answers it.
///
/// `busy` is why there is no room for the peer, if there is none: it is told in the answer, and not by
/// a closed connection.
pub(super) async fn greet(
    session: &mut Greeting,
    scheduler: &Line,
    busy: Option<Failure>,
) -> Result<Greeted, GreetError> {
    let heard = match timeout(PATIENCE, session.receive()).await {
        Ok(Ok(Some(hello))) => Hello::from_wire(hello).map_err(|refusal| refusal.failure()),
        Ok(Ok(None)) => return Err(GreetError::Gone),
        Ok(Err(error)) => return Err(GreetError::Receive(error)),
        Err(_elapsed) => {
            session.close(CloseCode::Misbehaved, GreetError::Silent);
            return Err(GreetError::Silent);
        }
    };
    match decide(heard, &session.peer().identity, scheduler, busy) {
        Ok((greeted, welcome)) => {
            answer(session, HelloAnswer::Welcome(welcome)).await?;
            Ok(greeted)
        }
        Err(refused) => {
            let failure = refused.failure.clone();
            answer(session, HelloAnswer::Refused(refused)).await?;
            Err(GreetError::Refused(failure))
        }
    }
}

async fn answer(session: &mut Greeting, answer: HelloAnswer) -> Result<(), GreetError> {
    match timeout(PATIENCE, session.send(&answer.into_wire())).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(GreetError::Send(error)),
        Err(_elapsed) => Err(GreetError::Silent),
    }
}

/// Returns what is spoken with whom, or what they are told instead.
fn decide(
    heard: Result<Hello, Failure>,
    identity: &Identity,
    scheduler: &Line,
    busy: Option<Failure>,
) -> Result<(Greeted, Welcome), Refused> {
    let refused = |failure| Refused {
        failure,
        versions: VersionRange::SPOKEN,
    };
    let hello = heard.map_err(refused)?;
    let capabilities = BTreeSet::<CapabilityName>::new();
    let agreement = negotiate(VersionRange::SPOKEN, &capabilities, &hello)?;
    let peer = peer(identity).map_err(refused)?;
    if let Some(failure) = busy {
        return Err(refused(failure));
    }
    let welcome = Welcome {
        version: agreement.version,
        capabilities: agreement.capabilities,
        scheduler: scheduler.clone(),
        limits: Limits::OWN,
    };
    let greeted = Greeted {
        peer,
        software: hello.software,
    };
    Ok((greeted, welcome))
}

/// Returns who a certificate says that a peer is.
fn peer(identity: &Identity) -> Result<Peer, Failure> {
    let name = identity.name().as_str();
    let unusable = |error: &dyn std::fmt::Display| {
        Failure::new(
            ErrorCode::Identity,
            format_args!("`{identity}` names nobody here: {error}"),
            "have a certificate issued for another name",
        )
    };
    let principal = || Principal::new(name).map_err(|error| unusable(&error));
    match identity.kind() {
        PeerKind::Agent => Ok(Peer::Agent(
            AgentName::new(name).map_err(|error| unusable(&error))?,
        )),
        PeerKind::Framework => Ok(Peer::Framework(principal()?)),
        PeerKind::Operator => Ok(Peer::Operator(principal()?)),
        PeerKind::Scheduler => Err(Failure::new(
            ErrorCode::Identity,
            format_args!("`{identity}` is a scheduler, and schedulers do not connect"),
            "connect with the certificate of an agent, a framework or an operator",
        )),
        PeerKind::Scraper => Err(Failure::new(
            ErrorCode::Identity,
            format_args!("`{identity}` is a scraper, and scrapers have no say"),
            "connect with the certificate of an agent, a framework or an operator",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(min: u32, max: u32) -> Hello {
        Hello {
            versions: VersionRange::new(min, max).unwrap(),
            capabilities: BTreeSet::new(),
            software: Line::new("test 1").unwrap(),
        }
    }

    fn say(
        identity: &str,
        hello: Hello,
        busy: Option<Failure>,
    ) -> Result<(Greeted, Welcome), Refused> {
        let scheduler = Line::new("main").unwrap();
        decide(Ok(hello), &identity.parse().unwrap(), &scheduler, busy)
    }

    #[test]
    fn who_a_peer_is_comes_from_its_certificate() {
        let (greeted, welcome) = say("spiffe://weir/agent/n1", hello(1, 2), None).unwrap();
        assert_eq!(greeted.peer, Peer::Agent(AgentName::new("n1").unwrap()));
        assert_eq!(welcome.version, 1);
        assert_eq!(welcome.scheduler.as_str(), "main");
        let (greeted, _) = say("spiffe://weir/framework/ci", hello(1, 1), None).unwrap();
        assert_eq!(greeted.peer, Peer::Framework(Principal::new("ci").unwrap()));
        let (greeted, _) = say("spiffe://weir/operator/ann", hello(1, 1), None).unwrap();
        assert_eq!(greeted.peer, Peer::Operator(Principal::new("ann").unwrap()));
    }

    #[test]
    fn who_cannot_be_spoken_to_is_told_why() {
        let refused = say("spiffe://weir/agent/n1", hello(2, 3), None).unwrap_err();
        assert_eq!(refused.failure.code, ErrorCode::ProtocolVersion);
        let refused = say("spiffe://weir/scheduler/s", hello(1, 1), None).unwrap_err();
        assert_eq!(refused.failure.code, ErrorCode::Identity);
        let busy = Failure::new(ErrorCode::LimitReached, "full", "wait");
        let refused = say("spiffe://weir/agent/n1", hello(1, 1), Some(busy.clone())).unwrap_err();
        assert_eq!(refused.failure, busy);
    }
}
