//! One conversation: a task that reads, and one that writes.

use std::fmt;

use tokio::sync::mpsc;
use weir_protocol::{Envelope, Line};
use weir_transport::Session;
use weir_transport::session::{CloseCode, ReceiveError, Receiver, Sender};

use super::core::{CoreHandle, Outlet, Request};
use super::greet::Greeting;
use super::kind::Conversation;
use super::metrics::SessionMetrics;
use crate::daemon::chain;
use crate::ledger::{Input, Message, Peer, SessionId};

/// The most messages that wait for one peer: what a RECONCILE of everything gives a framework with ten
/// thousand tasks, with as many offers, and room for more. It is memory only while they wait.
const WAITING_MAX: usize = 32_768;

/// How many messages are made ready at once.
const WRITE_MAX: usize = 256;

/// For how many of them a writer keeps room while nothing is to be said.
const KEPT_MAX: usize = 4;

/// How many calls in a row may make no sense. A program with a mistake makes it again and again, and
/// every answer costs more than the call.
const REFUSALS_MAX: u32 = 64;

/// Why a conversation is over.
#[derive(Debug)]
pub(super) enum Ended {
    /// The peer has said all that it had to say.
    ByPeer,
    /// Nothing can be received any more.
    Receive(ReceiveError),
    /// Too many calls made no sense.
    Misbehaved,
    /// The scheduler stops.
    Stopping,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByPeer => f.write_str("the peer has finished"),
            Self::Receive(error) => f.write_str(&chain(error)),
            Self::Misbehaved => write!(f, "{REFUSALS_MAX} calls in a row made no sense"),
            Self::Stopping => f.write_str("the scheduler stops"),
        }
    }
}

/// Holds a conversation from its first call to its end.
pub(super) async fn converse<C: Conversation>(
    session: Greeting,
    id: SessionId,
    peer: Peer,
    software: Line,
    core: &CoreHandle,
    metrics: &SessionMetrics,
) -> Ended {
    type Wire<E> = <E as Envelope>::Wire;
    let session: Session<Wire<C::Event>, Wire<C::Call>> = session.continue_with();
    let link = session.link().clone();
    let (sender, receiver) = session.split();
    let (queue, waiting) = mpsc::channel(WAITING_MAX);
    // Weak: when the core drops its end the writer finishes, and nothing here is to keep it.
    let answers = queue.downgrade();
    let opened = Request::Open {
        session: id,
        peer,
        software,
        outlet: Outlet {
            queue,
            link: link.clone(),
        },
    };
    if core.send(opened).await.is_err() {
        link.close(CloseCode::ShuttingDown, Ended::Stopping);
        return Ended::Stopping;
    }
    let writer = tokio::spawn(write::<C>(sender, waiting));
    let ended = read::<C>(receiver, id, &answers, core, metrics).await;
    match ended {
        Ended::Misbehaved => link.close(CloseCode::Misbehaved, &ended),
        Ended::Stopping => link.close(CloseCode::ShuttingDown, &ended),
        Ended::ByPeer | Ended::Receive(_) => {}
    }
    // If the core is gone there is nobody to tell.
    drop(
        core.send(Request::Input(Input::Closed { session: id }))
            .await,
    );
    // It ends when the core has dropped its end of the queue, and what was in it is sent or lost.
    drop(writer.await);
    ended
}

/// Makes calls of frames until nothing comes any more.
async fn read<C: Conversation>(
    mut receiver: Receiver<<C::Call as Envelope>::Wire>,
    id: SessionId,
    answers: &mpsc::WeakSender<Box<Message>>,
    core: &CoreHandle,
    metrics: &SessionMetrics,
) -> Ended {
    let mut refusals = 0;
    loop {
        let frame = match receiver.receive().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ended::ByPeer,
            Err(error) => return Ended::Receive(error),
        };
        match C::Call::from_wire(frame) {
            Ok(call) => {
                refusals = 0;
                if core.send(Request::Input(C::input(id, call))).await.is_err() {
                    return Ended::Stopping;
                }
            }
            Err(refusal) => {
                metrics.count_refused_call();
                tracing::warn!(session = id.0, %refusal, "a call makes no sense");
                refusals += 1;
                if let Some(queue) = answers.upgrade() {
                    // A full queue disconnects the peer by itself.
                    let refused = C::refused(refusal.call, refusal.failure());
                    drop(queue.try_send(Box::new(refused)));
                }
                if refusals == REFUSALS_MAX {
                    return Ended::Misbehaved;
                }
            }
        }
    }
}

/// Sends messages until there are none to come, then has the peer receive all of them and closes.
async fn write<C: Conversation>(
    mut sender: Sender<<C::Event as Envelope>::Wire>,
    mut waiting: mpsc::Receiver<Box<Message>>,
) {
    let mut messages = Vec::new();
    while waiting.recv_many(&mut messages, WRITE_MAX).await > 0 {
        let events: Vec<_> = messages
            .drain(..)
            .filter_map(|message| C::event(*message))
            .map(Envelope::into_wire)
            .collect();
        if let Err(error) = sender.send_all(&events).await {
            let peer = sender.link().peer();
            tracing::debug!(peer = %peer.identity, %error, "nothing more can be sent");
            // One that fits no frame is a mistake of the ledger's; without it the peer's view would
            // be wrong. All else has closed the connection already.
            sender.link().close(CloseCode::Internal, &error);
            return;
        }
        messages.shrink_to(KEPT_MAX);
    }
    if let Err(error) = sender.finish().await {
        tracing::debug!(%error, "a conversation was not finished in order");
    }
}
