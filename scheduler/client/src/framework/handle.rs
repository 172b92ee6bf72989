//! The handle on a framework.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use weir_protocol::{CallId, FrameworkCall, TaskStatus};
use weir_transport::connect::ConnectLimits;
use weir_transport::{Address, Connector, CredentialWatch};

use super::calls::{CALLS_MAX, Calls, NotSent, Numbers, Told};
use super::error::FrameworkError;
use super::event::Event;
use super::settings::FrameworkSettings;
use super::task::Task;

/// How many events wait to be taken. The scheduler's own queue begins behind them.
const EVENTS_MAX: usize = 1024;

/// A framework that is subscribed, or on its way to be.
///
/// Dropped, it breaks the connection: what happens to its tasks then is for its failover timeout to say.
/// To end them, call TEARDOWN and then [`Framework::close`].
#[derive(Debug)]
pub struct Framework {
    calls: Calls,
    events: mpsc::Receiver<Result<Event, FrameworkError>>,
    ended: Option<FrameworkError>,
    task: JoinHandle<()>,
}

impl Framework {
    /// Starts a framework at the scheduler at `address`.
    ///
    /// Needs a tokio runtime. Returns at once; everything else is told by [`Framework::next`].
    pub fn start(
        address: Address,
        credentials: CredentialWatch,
        settings: FrameworkSettings,
    ) -> Self {
        let (queue, told) = mpsc::channel(CALLS_MAX);
        let (tell, events) = mpsc::channel(EVENTS_MAX);
        let (era, era_seen) = watch::channel(None);
        let numbers = Arc::new(Numbers::new());
        let task = Task {
            connector: Connector::new(credentials, ConnectLimits::default()),
            address,
            settings,
            numbers: Arc::clone(&numbers),
            told,
            events: tell,
            era,
        };
        Self {
            calls: Calls {
                queue,
                era: era_seen,
                numbers,
            },
            events,
            ended: None,
            task: tokio::spawn(task.run()),
        }
    }

    /// Waits for what happens next.
    ///
    /// An error is the end, and every later call returns it again. May be dropped half-way: nothing is
    /// lost.
    pub async fn next(&mut self) -> Result<Event, FrameworkError> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        let next = self.events.recv().await;
        match next.unwrap_or(Err(FrameworkError::Closed)) {
            Ok(event) => Ok(event),
            Err(error) => {
                self.ended = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Returns a handle for calls.
    pub fn calls(&self) -> Calls {
        self.calls.clone()
    }

    /// Makes a call: see [`Calls::call`].
    pub async fn call(&self, call: FrameworkCall) -> Result<CallId, NotSent> {
        self.calls.call(call).await
    }

    /// Acknowledges an update: see [`Calls::acknowledge`].
    pub async fn acknowledge(&self, status: &TaskStatus) -> Result<(), NotSent> {
        self.calls.acknowledge(status).await
    }

    /// Sends what waits, waits until the scheduler has it, and closes the connection.
    ///
    /// Events that were not taken are lost; updates among them come again to the next who subscribes.
    pub async fn close(self) {
        let Self {
            calls,
            events,
            ended: _,
            task,
        } = self;
        // The task must not wait for room among events that nobody takes.
        drop(events);
        // It fails when the task is at its end already.
        calls.queue.send(Told::Close).await.ok();
        drop(calls);
        if let Err(error) = task.await {
            tracing::error!(%error, "the task of a framework has failed");
        }
    }
}
