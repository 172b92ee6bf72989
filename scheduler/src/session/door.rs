//! Takes connections, up to a number for each identity, and starts their tasks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinSet;
use weir_protocol::{ErrorCode, Failure, Line};
use weir_transport::listen::Incoming;
use weir_transport::session::CloseCode;
use weir_transport::{Identity, Listener, PeerKind};

use super::conversation::converse;
use super::core::CoreHandle;
use super::greet::{GreetError, Greeted, Greeting, greet};
use super::kind::{WithAgent, WithFramework, WithOperator};
use super::metrics::SessionMetrics;
use crate::daemon::chain;
use crate::ledger::{Peer, SessionId};

/// The most connections of one agent: the one that counts, and a few of before whose end has not been
/// noticed yet. Which of them speaks for the agent is the ledger's decision.
const PER_AGENT_MAX: usize = 4;

/// The most connections of one framework's principal: many frameworks may share one.
const PER_FRAMEWORK_MAX: usize = 1_024;

/// The most connections of one operator: a few people and programs that share a certificate.
const PER_OPERATOR_MAX: usize = 128;

/// What a door is made with.
#[derive(Clone, Debug)]
pub struct DoorSettings {
    /// What the scheduler is called.
    pub scheduler: Line,
    /// Where sessions are counted.
    pub metrics: SessionMetrics,
}

/// Lets peers in, of one listener or of several.
#[derive(Clone, Debug)]
pub struct Door(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: DoorSettings,
    core: CoreHandle,
    next_session: AtomicU64,
    places: Mutex<BTreeMap<Identity, usize>>,
}

/// One of the places of an identity, until it is dropped.
#[derive(Debug)]
struct Place {
    door: Door,
    identity: Identity,
}

impl Door {
    /// Returns a door to the core.
    pub fn new(settings: DoorSettings, core: CoreHandle) -> Self {
        Self(Arc::new(Shared {
            settings,
            core,
            next_session: AtomicU64::new(1),
            places: Mutex::default(),
        }))
    }

    /// Takes connections for as long as the listener has any to give.
    ///
    /// Dropped, it ends all conversations that came through it.
    pub async fn serve(&self, listener: &mut Listener) {
        let mut conversations = JoinSet::new();
        while let Some(incoming) = listener.accept().await {
            while conversations.try_join_next().is_some() {}
            conversations.spawn(self.clone().receive(incoming));
        }
    }

    /// Holds the conversation with one peer.
    async fn receive(self, incoming: Incoming) {
        let identity = incoming.peer().identity.clone();
        let address = incoming.peer().address;
        let (place, busy) = match self.take(&identity) {
            Ok(place) => (Some(place), None),
            Err(failure) => (None, Some(failure)),
        };
        let metrics = &self.0.settings.metrics;
        let mut session: Greeting = incoming.into_session();
        let greeted = match greet(&mut session, &self.0.settings.scheduler, busy).await {
            Ok(greeted) => greeted,
            Err(error) => {
                metrics.count_refused_hello();
                tracing::warn!(
                    peer = %identity,
                    %address,
                    error = %chain(&error),
                    "no conversation"
                );
                if let GreetError::Refused(failure) = error {
                    let link = session.link().clone();
                    // What the peer is told has to reach it before the connection ends.
                    if session.finish().await.is_err() {
                        link.close(CloseCode::Refused, &failure);
                    }
                }
                return;
            }
        };
        let id = SessionId(self.0.next_session.fetch_add(1, Ordering::Relaxed));
        let Greeted { peer, software } = greeted;
        tracing::info!(session = id.0, peer = %identity, %address, %software, "connected");
        let _counted = metrics.begin(&peer);
        let core = &self.0.core;
        let ended = match &peer {
            Peer::Agent(_) => {
                converse::<WithAgent>(session, id, peer, software, core, metrics).await
            }
            Peer::Framework(_) => {
                converse::<WithFramework>(session, id, peer, software, core, metrics).await
            }
            Peer::Operator(_) => {
                converse::<WithOperator>(session, id, peer, software, core, metrics).await
            }
        };
        drop(place);
        tracing::info!(session = id.0, peer = %identity, %address, why = %ended, "disconnected");
    }

    /// Takes one of the places of an identity, or says that none is left.
    fn take(&self, identity: &Identity) -> Result<Place, Failure> {
        let max = match identity.kind() {
            PeerKind::Agent => PER_AGENT_MAX,
            PeerKind::Framework => PER_FRAMEWORK_MAX,
            PeerKind::Operator => PER_OPERATOR_MAX,
            // Refused in the greeting.
            PeerKind::Scheduler | PeerKind::Scraper => 1,
        };
        let mut places = self.places();
        let taken = places.entry(identity.clone()).or_default();
        if *taken >= max {
            return Err(Failure::new(
                ErrorCode::LimitReached,
                format_args!("`{identity}` has {taken} connections, and {max} is the most"),
                "close some, or wait ten seconds until those that are dead are noticed",
            ));
        }
        *taken += 1;
        Ok(Place {
            door: self.clone(),
            identity: identity.clone(),
        })
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<Identity, usize>> {
        // Nothing panics while it holds the lock; numbers are in order in any case.
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.door.places();
        if let Some(taken) = places.get_mut(&self.identity) {
            *taken -= 1;
            if *taken == 0 {
                places.remove(&self.identity);
            }
        }
    }
}
