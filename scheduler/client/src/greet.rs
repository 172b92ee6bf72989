//! Connects, greets, and hands over a session in which the conversation can begin.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use prost::{Message, Name};
use tokio::time::timeout;
use weir_protocol::{
    Envelope, Failure, Hello, HelloAnswer, Line, Refusal, VersionRange, Welcome, wire,
};
use weir_transport::session::CloseCode;
use weir_transport::{Address, Connector, Session};

use super::error::ConversationError;

/// How long a scheduler may take to answer a greeting: it has nothing to look up.
const GREETING_PATIENCE: Duration = Duration::from_secs(10);

/// Connects and greets. Dropped half-way, it leaves nothing behind.
pub(crate) async fn greet<Out: Message, In: Message + Default + Name>(
    connector: &Connector,
    address: &Address,
    software: &Line,
) -> Result<(Session<Out, In>, Welcome), ConversationError> {
    let mut session = connector
        .connect::<wire::Hello, wire::HelloAnswer>(address)
        .await
        .map_err(|source| ConversationError::Connect {
            address: address.clone(),
            source: Arc::new(source),
        })?;
    let hello = Hello {
        versions: VersionRange::SPOKEN,
        capabilities: BTreeSet::new(),
        software: software.clone(),
    };
    let greeting = hello.clone().into_wire();
    let exchange = async {
        // A scheduler that refuses the certificate says so in what is read, not in what is written.
        let sent = session.send(&greeting).await;
        match session.receive().await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(ConversationError::Ended {
                address: address.clone(),
            }),
            Err(source) => Err(match sent {
                Ok(()) => ConversationError::Receive {
                    address: address.clone(),
                    source,
                },
                Err(source) => ConversationError::Send {
                    address: address.clone(),
                    source,
                },
            }),
        }
    };
    let answer = timeout(GREETING_PATIENCE, exchange)
        .await
        .map_err(|_elapsed| ConversationError::Silent {
            address: address.clone(),
            patience: GREETING_PATIENCE,
        })??;
    match HelloAnswer::from_wire(answer) {
        Ok(HelloAnswer::Welcome(welcome)) => match hello.check(&welcome) {
            Ok(()) => Ok((session.continue_with(), welcome)),
            Err(failure) => {
                session.close(CloseCode::Misbehaved, &failure);
                Err(nonsense(address, failure))
            }
        },
        Ok(HelloAnswer::Refused(refused)) => Err(ConversationError::Refused {
            address: address.clone(),
            refused,
        }),
        Err(refusal) => Err(unreadable(address, &refusal)),
    }
}

/// Returns the error about a message whose fields are wrong.
pub(crate) fn unreadable(address: &Address, refusal: &Refusal) -> ConversationError {
    nonsense(address, refusal.failure())
}

fn nonsense(address: &Address, failure: Failure) -> ConversationError {
    ConversationError::Nonsense {
        address: address.clone(),
        failure,
    }
}
