//! The task of a framework: connects, subscribes, passes on, and comes back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use weir_protocol::{
    CallError, Envelope as _, ErrorCode, Failure, FrameworkCall, FrameworkEvent, FrameworkId, Line,
    Numbered, wire,
};
use weir_transport::connect::Backoff;
use weir_transport::session::{Receiver, Sender};
use weir_transport::{Address, Connector, Session};

use super::calls::{Era, Numbers, Told};
use super::error::FrameworkError;
use super::event::Event;
use super::settings::FrameworkSettings;
use super::watch::{OLD_CONNECTION_PATIENCE, patience};
use crate::error::ConversationError;
use crate::fresh::random;
use crate::greet::{greet, unreadable};

/// How long the answer to SUBSCRIBE is waited for: the scheduler writes the framework down first.
const SUBSCRIBE_PATIENCE: Duration = Duration::from_secs(30);

/// Owns the connection of one framework.
pub(super) struct Task {
    pub(super) connector: Connector,
    pub(super) address: Address,
    pub(super) settings: FrameworkSettings,
    pub(super) numbers: Arc<Numbers>,
    pub(super) told: mpsc::Receiver<Told>,
    pub(super) events: mpsc::Sender<Result<Event, FrameworkError>>,
    pub(super) era: watch::Sender<Option<Era>>,
}

/// A subscription.
struct Subscription {
    sender: Sender<wire::FrameworkCall>,
    receiver: Receiver<wire::FrameworkEvent>,
    id: FrameworkId,
    scheduler: Line,
    patience: Duration,
}

/// Why there is no subscription.
enum Stop {
    /// The connection is gone, or there was none.
    Broken(ConversationError),
    /// SUBSCRIBE was refused.
    Refused(Failure),
    /// The scheduler ended the conversation in words.
    Ended(Failure),
    /// Nobody is interested any more.
    Closed,
}

impl Task {
    pub(super) async fn run(mut self) {
        let end = self.subscribe_again_and_again().await;
        self.era.send_replace(None);
        // Nobody listens any more, or this is the last that they hear.
        self.events.send(Err(end)).await.ok();
        self.connector.settle().await;
    }

    async fn subscribe_again_and_again(&mut self) -> FrameworkError {
        let pauses = (self.settings.first_pause, self.settings.longest_pause);
        let mut backoff = Backoff::new(pauses.0, pauses.1);
        let mut era = Era(0);
        // When the last subscription of this program broke.
        let mut broken_at: Option<Instant> = None;
        loop {
            let stop = match self.subscribe().await {
                Ok(subscription) => {
                    backoff.reset();
                    self.settings.id = Some(subscription.id);
                    self.settings.force = false;
                    let again = era != Era(0);
                    era = Era(era.0 + 1);
                    let stop = self.converse(subscription, era, again).await;
                    self.era.send_replace(None);
                    broken_at = Some(Instant::now());
                    stop
                }
                Err(stop) => stop,
            };
            let retry_in = backoff.next_delay(random());
            let event = match stop {
                Stop::Closed => return FrameworkError::Closed,
                Stop::Broken(error) if !error.is_retryable() => {
                    return FrameworkError::Conversation(error);
                }
                Stop::Broken(error) => Event::Disconnected { error, retry_in },
                Stop::Refused(failure) if !passes(&failure, broken_at) => {
                    return FrameworkError::Refused(failure);
                }
                Stop::Ended(failure) if !failure.code.is_retryable() => {
                    return FrameworkError::Ended(failure);
                }
                Stop::Refused(failure) | Stop::Ended(failure) => {
                    Event::NotYet { failure, retry_in }
                }
            };
            if self.events.send(Ok(event)).await.is_err() || self.is_closed_within(retry_in).await {
                return FrameworkError::Closed;
            }
        }
    }

    /// Waits, and returns whether the framework is closed meanwhile.
    async fn is_closed_within(&mut self, pause: Duration) -> bool {
        let over = sleep(pause);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return false,
                told = self.told.recv() => match told {
                    // Meant for a subscription that is over.
                    Some(Told::Call(..)) => {}
                    Some(Told::Close) | None => return true,
                },
                () = self.events.closed() => return true,
            }
        }
    }

    /// Connects and subscribes. Gives up when nobody is interested any more.
    async fn subscribe(&mut self) -> Result<Subscription, Stop> {
        let address = self.address.clone();
        let call = Numbered {
            id: self.numbers.next(),
            call: FrameworkCall::Subscribe {
                framework: self.settings.info.clone(),
                id: self.settings.id,
                force: self.settings.force,
            },
        };
        let software = self.settings.software.clone();
        let attempt = async {
            let (session, _welcome) = greet(&self.connector, &address, &software)
                .await
                .map_err(Stop::Broken)?;
            match tokio::time::timeout(SUBSCRIBE_PATIENCE, subscribe(session, &address, call)).await
            {
                Ok(result) => result,
                Err(_elapsed) => Err(Stop::Broken(ConversationError::Silent {
                    address: address.clone(),
                    patience: SUBSCRIBE_PATIENCE,
                })),
            }
        };
        tokio::pin!(attempt);
        loop {
            tokio::select! {
                result = &mut attempt => return result,
                told = self.told.recv() => match told {
                    Some(Told::Call(..)) => {}
                    Some(Told::Close) | None => return Err(Stop::Closed),
                },
                () = self.events.closed() => return Err(Stop::Closed),
            }
        }
    }

    /// Passes on in both directions until one of the two has enough.
    async fn converse(&mut self, subscription: Subscription, era: Era, again: bool) -> Stop {
        let Subscription {
            mut sender,
            mut receiver,
            id,
            scheduler,
            patience,
        } = subscription;
        self.era.send_replace(Some(era));
        let events = self.events.clone();
        // While an event waits for room, nothing more is read; calls go on, so that whoever makes
        // them between two events is never waited for in a circle.
        let mut waiting = Some(Event::Subscribed {
            id,
            scheduler,
            again,
        });
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                room = events.reserve(), if waiting.is_some() => match room {
                    Ok(room) => room.send(Ok(waiting.take().expect("the branch is taken only then"))),
                    // It is closed in an orderly way, or was dropped.
                    Err(mpsc::error::SendError(())) => return self.finish(sender, era).await,
                },
                received = receiver.receive(), if waiting.is_none() => {
                    heard = Instant::now();
                    match self.read(received) {
                        Ok(event) => waiting = event,
                        Err(stop) => return stop,
                    }
                }
                told = self.told.recv() => match told {
                    Some(Told::Call(meant_for, call)) => {
                        if let Err(stop) = self.send(&mut sender, era, meant_for, *call).await {
                            return stop;
                        }
                    }
                    Some(Told::Close) | None => return finish(sender).await,
                },
                () = sleep_until(heard + patience), if waiting.is_none() => {
                    return Stop::Broken(ConversationError::Silent {
                        address: self.address.clone(),
                        patience,
                    });
                }
            }
        }
    }

    /// Sends what was told before the end, and closes.
    async fn finish(&mut self, mut sender: Sender<wire::FrameworkCall>, era: Era) -> Stop {
        // What is in the queue now; a handle that goes on making calls must not keep this open.
        while let Ok(Told::Call(meant_for, call)) = self.told.try_recv() {
            if let Err(stop) = self.send(&mut sender, era, meant_for, *call).await {
                return stop;
            }
        }
        finish(sender).await
    }

    async fn send(
        &self,
        sender: &mut Sender<wire::FrameworkCall>,
        era: Era,
        meant_for: Era,
        call: wire::FrameworkCall,
    ) -> Result<(), Stop> {
        if meant_for != era {
            tracing::debug!(
                call = call.call_id,
                "a call of an earlier subscription is dropped"
            );
            return Ok(());
        }
        let sent = sender.send(&call).await;
        sent.map_err(|source| {
            Stop::Broken(ConversationError::Send {
                address: self.address.clone(),
                source,
            })
        })
    }

    /// Makes an event of what came, or nothing of a heartbeat.
    fn read(&self, received: Received) -> Result<Option<Event>, Stop> {
        let event = match received {
            Ok(Some(event)) => event,
            Ok(None) => {
                return Err(Stop::Broken(ConversationError::Ended {
                    address: self.address.clone(),
                }));
            }
            Err(source) => {
                return Err(Stop::Broken(ConversationError::Receive {
                    address: self.address.clone(),
                    source,
                }));
            }
        };
        let event = FrameworkEvent::from_wire(event)
            .map_err(|refusal| Stop::Broken(unreadable(&self.address, &refusal)))?;
        Ok(Some(match event {
            FrameworkEvent::Subscribed { .. } | FrameworkEvent::Heartbeat => return Ok(None),
            FrameworkEvent::Offers(offers) => Event::Offers(offers),
            FrameworkEvent::Rescind { offer, reason } => Event::Rescinded { offer, reason },
            FrameworkEvent::Update(status) => Event::Update(status),
            FrameworkEvent::Operation { id, outcome } => Event::Operation { id, outcome },
            FrameworkEvent::AgentLost { id, name, reason } => Event::AgentLost { id, name, reason },
            FrameworkEvent::Error(CallError {
                call: Some(call),
                failure,
            }) => Event::Refused { call, failure },
            FrameworkEvent::Error(CallError {
                call: None,
                failure,
            }) => return Err(Stop::Ended(failure)),
        }))
    }
}

type Received = Result<Option<wire::FrameworkEvent>, weir_transport::session::ReceiveError>;

/// Says SUBSCRIBE, and waits for the answer.
async fn subscribe(
    mut session: Session<wire::FrameworkCall, wire::FrameworkEvent>,
    address: &Address,
    call: Numbered<FrameworkCall>,
) -> Result<Subscription, Stop> {
    let sent = session.send(&call.into_wire()).await;
    let event = match (session.receive().await, sent) {
        (Ok(Some(event)), _) => event,
        (_, Err(source)) => {
            return Err(Stop::Broken(ConversationError::Send {
                address: address.clone(),
                source,
            }));
        }
        (Ok(None), Ok(())) => {
            return Err(Stop::Broken(ConversationError::Ended {
                address: address.clone(),
            }));
        }
        (Err(source), Ok(())) => {
            return Err(Stop::Broken(ConversationError::Receive {
                address: address.clone(),
                source,
            }));
        }
    };
    let event = FrameworkEvent::from_wire(event)
        .map_err(|refusal| Stop::Broken(unreadable(address, &refusal)))?;
    let name = event.name();
    match event {
        FrameworkEvent::Subscribed {
            id,
            scheduler,
            heartbeat_interval,
        } => {
            let (sender, receiver) = session.split();
            Ok(Subscription {
                sender,
                receiver,
                id,
                scheduler,
                patience: patience(heartbeat_interval),
            })
        }
        FrameworkEvent::Error(CallError { failure, .. }) => Err(Stop::Refused(failure)),
        FrameworkEvent::Offers(_)
        | FrameworkEvent::Rescind { .. }
        | FrameworkEvent::Update(_)
        | FrameworkEvent::Operation { .. }
        | FrameworkEvent::AgentLost { .. }
        | FrameworkEvent::Heartbeat => Err(Stop::Broken(ConversationError::Nonsense {
            address: address.clone(),
            failure: Failure::new(
                ErrorCode::InvalidMessage,
                format_args!("{name} came before SUBSCRIBED"),
                "upgrade the scheduler; it is at fault",
            ),
        })),
    }
}

/// Waits until the scheduler has everything, and closes.
async fn finish(sender: Sender<wire::FrameworkCall>) -> Stop {
    if let Err(error) = sender.finish().await {
        // After TEARDOWN the scheduler may well be first to close.
        tracing::debug!(%error, "the connection was gone before it was closed");
    }
    Stop::Closed
}

/// Returns whether a refused SUBSCRIBE may be taken later.
fn passes(failure: &Failure, broken_at: Option<Instant>) -> bool {
    // Our own old connection may be what is in the way: the scheduler has not noticed yet that it is
    // broken.
    let old_connection = failure.code == ErrorCode::AlreadySubscribed
        && broken_at.is_some_and(|at| at.elapsed() < OLD_CONNECTION_PATIENCE);
    failure.code.is_retryable() || old_connection
}
