//! The task that owns the ledger.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use weir_protocol::{Line, UnixMs};
use weir_transport::session::{CloseCode, Link};

use super::metrics::SessionMetrics;
use crate::ledger::{
    Batch, Input, Ledger, Message, Moment, Outgoing, Peer, Policy, RecoverError, Seed, SessionId,
    Settings,
};
use crate::store::{Pending, StoreError, StoreHandle};

/// The most requests that wait for the ledger: some milliseconds of its work. Connections that have
/// more to say wait with it.
const REQUESTS_MAX: usize = 1_024;

/// How many requests are done before their records go to the store, as one batch: what a few
/// milliseconds bring, which is how long a flush takes.
const REQUESTS_PER_TURN: usize = 256;

/// How many batches may be with the store: one that is being flushed, and some that are its next
/// transaction.
const BATCHES_MAX: usize = 4;

/// How many messages may wait for their records before nothing more is asked of the ledger.
const BACKLOG_MAX: usize = 65_536;

/// How often everything is counted: it goes through all tasks, and metrics are read every few seconds.
const CENSUS_EVERY: Duration = Duration::from_secs(2);

/// Says why the task ended.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// The database does not take what it must.
    #[error("the ledger cannot go on: nothing it says can be made durable")]
    Store(#[from] StoreError),
    /// What was written down is not in order.
    #[error("the ledger cannot be made of what the database holds")]
    Recover(#[from] RecoverError),
}

/// Where the messages of a session go.
#[derive(Debug)]
pub(super) struct Outlet {
    /// Boxed, because a queue sets places aside for messages that most peers never have waiting.
    pub(super) queue: mpsc::Sender<Box<Message>>,
    pub(super) link: Link,
}

/// What the task is asked.
#[derive(Debug)]
pub(super) enum Request {
    /// A peer has connected.
    Open {
        session: SessionId,
        peer: Peer,
        software: Line,
        outlet: Outlet,
    },
    /// A peer says something, or is gone.
    Input(Input),
    /// Other rules of access count from now on.
    SetPolicy(Arc<dyn Policy>),
}

/// Asks the task that owns the ledger.
#[derive(Clone, Debug)]
pub struct CoreHandle(mpsc::Sender<Request>);

/// Says that the task is gone: the scheduler stops.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the scheduler stops")]
pub(super) struct Stopped;

/// The ledger, with all that it speaks to.
#[derive(Debug)]
pub struct Core {
    ledger: Ledger,
    clock: Clock,
    store: StoreHandle<Batch>,
    requests: mpsc::Receiver<Request>,
    outlets: HashMap<SessionId, Outlet>,
    /// With the store, the oldest first: they become durable in this order.
    pending: VecDeque<Pending<Batch>>,
    metrics: SessionMetrics,
    /// Whether agents were kept at the last count because most are away.
    spares_agents: bool,
}

/// Counts from a start.
#[derive(Clone, Copy, Debug)]
struct Clock {
    began: Instant,
}

impl CoreHandle {
    /// Has other rules of access count from the next call on.
    pub async fn set_policy(&self, policy: Arc<dyn Policy>) {
        // A scheduler that stops needs no rules.
        drop(self.send(Request::SetPolicy(policy)).await);
    }

    pub(super) async fn send(&self, request: Request) -> Result<(), Stopped> {
        self.0.send(request).await.map_err(|_gone| Stopped)
    }
}

impl Core {
    /// Makes the ledger of what the store holds.
    pub async fn recover(
        settings: Settings,
        policy: Arc<dyn Policy>,
        seed: Seed,
        store: StoreHandle<Batch>,
        metrics: SessionMetrics,
    ) -> Result<(Self, CoreHandle), CoreError> {
        let rows = store.load().await?;
        let count = rows.len();
        let clock = Clock {
            began: Instant::now(),
        };
        let ledger = Ledger::recover(settings, policy, seed, clock.now(), rows)?;
        let census = ledger.census();
        tracing::info!(
            rows = count,
            agents = census.agents_away,
            frameworks = census.frameworks_away,
            tasks = census.tasks.values().sum::<usize>(),
            "the ledger is as it was"
        );
        metrics.set_census(&census);
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let core = Self {
            ledger,
            clock,
            store,
            requests,
            outlets: HashMap::new(),
            pending: VecDeque::new(),
            metrics,
            spares_agents: false,
        };
        Ok((core, CoreHandle(sender)))
    }

    /// Does what is asked until `stop` is true, then makes durable what is left.
    ///
    /// `alive` is told about every turn: whoever watches it knows that the ledger goes on.
    pub async fn run(
        mut self,
        mut stop: watch::Receiver<bool>,
        alive: watch::Sender<Instant>,
    ) -> Result<(), CoreError> {
        let mut turn = Vec::with_capacity(REQUESTS_PER_TURN);
        let mut census_at = Instant::now() + CENSUS_EVERY;
        loop {
            self.submit().await?;
            self.deliver();
            if Instant::now() >= census_at {
                self.count();
                census_at = Instant::now() + CENSUS_EVERY;
            }
            alive.send_replace(Instant::now());

            let has_room = self.ledger.backlog() < BACKLOG_MAX;
            let deadline = self
                .ledger
                .next_deadline()
                .filter(|_| has_room)
                .map_or(census_at, |at| census_at.min(self.clock.instant(at)));
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                written = next_written(&mut self.pending), if !self.pending.is_empty() => {
                    self.pending.pop_front();
                    self.ledger.handle_written(written?.written());
                }
                count = self.requests.recv_many(&mut turn, REQUESTS_PER_TURN), if has_room => {
                    if count == 0 {
                        // Every handle is gone.
                        break;
                    }
                    for request in turn.drain(..) {
                        self.handle(request);
                    }
                }
                () = sleep_until(deadline) => {}
            }
            self.handle_deadline();
        }
        self.finish().await
    }

    fn handle(&mut self, request: Request) {
        let began = Instant::now();
        match request {
            Request::Open {
                session,
                peer,
                software,
                outlet,
            } => {
                self.outlets.insert(session, outlet);
                let opened = Input::Opened {
                    session,
                    peer,
                    software,
                };
                self.ledger.handle(self.clock.now(), opened);
            }
            Request::Input(input) => {
                if let Input::Closed { session } = &input {
                    self.outlets.remove(session);
                }
                self.ledger.handle(self.clock.now(), input);
            }
            Request::SetPolicy(policy) => self.ledger.set_policy(policy),
        }
        self.metrics.observe_step(began.elapsed());
    }

    /// Counts everything, and says so when agents begin or cease to be kept because most are away.
    fn count(&mut self) {
        let census = self.ledger.census();
        match (self.spares_agents, census.agents_spared > 0) {
            (false, true) => tracing::error!(
                away = census.agents_away,
                connected = census.agents_connected,
                "agents are away for too long and none is removed, for more than half are: the scheduler is \
                 cut off, or most nodes are down; look at its network, and remove by hand what is gone for good"
            ),
            (true, false) => tracing::info!(
                away = census.agents_away,
                connected = census.agents_connected,
                "no agent is kept any more that is away for too long"
            ),
            (false, false) | (true, true) => {}
        }
        self.spares_agents = census.agents_spared > 0;
        self.metrics.set_census(&census);
    }

    /// Does what is due, if anything is.
    fn handle_deadline(&mut self) {
        let now = self.clock.now();
        if self.ledger.backlog() < BACKLOG_MAX
            && self
                .ledger
                .next_deadline()
                .is_some_and(|at| at <= now.elapsed)
        {
            let began = Instant::now();
            self.ledger.handle_deadline(now);
            self.metrics.observe_deadline(began.elapsed());
        }
    }

    /// Gives the store what there is to write, if it has room: what comes meanwhile is its next.
    async fn submit(&mut self) -> Result<(), CoreError> {
        if self.pending.len() < BATCHES_MAX
            && let Some(batch) = self.ledger.poll_batch()
        {
            self.pending.push_back(self.store.commit(batch).await?);
        }
        Ok(())
    }

    /// Gives the writers what may go.
    fn deliver(&mut self) {
        while let Some(outgoing) = self.ledger.poll_outgoing() {
            match outgoing {
                Outgoing::Send { session, message } => {
                    // A session that is gone; the ledger will hear, or has heard.
                    let Some(outlet) = self.outlets.get(&session) else {
                        continue;
                    };
                    self.metrics.count_message(&message);
                    if let Err(mpsc::error::TrySendError::Full(_)) =
                        outlet.queue.try_send(Box::new(message))
                    {
                        tracing::warn!(
                            session = session.0,
                            peer = %outlet.link.peer().identity,
                            "the peer does not read what it is sent, and is disconnected"
                        );
                        self.metrics.count_slow_reader();
                        outlet.link.close(
                            CloseCode::NotReading,
                            "more messages wait for you than are kept; read faster",
                        );
                        self.outlets.remove(&session);
                    }
                }
                // Its writer sends what waits, and closes.
                Outgoing::Close { session } => {
                    self.outlets.remove(&session);
                }
            }
        }
    }

    /// Makes everything durable and says what stands for it.
    async fn finish(mut self) -> Result<(), CoreError> {
        self.requests.close();
        loop {
            self.submit().await?;
            if self.pending.is_empty() {
                break;
            }
            let written = next_written(&mut self.pending).await?;
            self.pending.pop_front();
            self.ledger.handle_written(written.written());
        }
        self.deliver();
        Ok(())
    }
}

/// Waits for the oldest of the batches with the store. Dropped half-way, it has lost nothing.
async fn next_written(pending: &mut VecDeque<Pending<Batch>>) -> Result<Batch, StoreError> {
    match pending.front_mut() {
        Some(oldest) => oldest.written().await,
        None => std::future::pending().await,
    }
}

impl Clock {
    fn now(self) -> Moment {
        let unix = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            // A clock before 1970 is wrong, and decides nothing.
            .unwrap_or_default();
        Moment {
            elapsed: self.began.elapsed(),
            unix: UnixMs(u64::try_from(unix.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    fn instant(self, at: Duration) -> Instant {
        // Beyond what the clock can express nothing is due.
        self.began
            .checked_add(at)
            .unwrap_or_else(|| Instant::now() + CENSUS_EVERY)
    }
}
