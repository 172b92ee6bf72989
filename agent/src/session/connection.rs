//! The connection to the scheduler: made again and again, for as long as it is wanted.
//!
//! ```text
//!   shell ──(watch: Wanted)──▶ connection task ──(bounded: Heard)──▶ shell
//!     └──(Calls, given with Up: bounded)──▶ speaking ──▶ stream
//! ```
//!
//! 1. The credentials are waited for.
//! 2. The addresses are tried in turn. The one that answers, greets and welcomes counts.
//! 3. What comes is checked and passed on; what the shell gives is numbered and sent. What makes no
//!    sense ends the connection.
//! 4. Between two attempts is a random time that doubles, up to the longest; a failure that will not pass
//!    by itself takes the longest at once. A registration starts over, and so do other credentials.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use weir_abi::SESSION_CLASS;
use weir_protocol::{
    AgentCall, AgentEvent, AgentName, CallId, Envelope as _, Hello, HelloAnswer, Line, Numbered,
    VersionRange, wire,
};
use weir_transport::connect::{Backoff, ConnectError, ConnectLimits};
use weir_transport::scrape::LateCredentials;
use weir_transport::session::{CloseCode, ReceiveError, Receiver, SendError, Sender};
use weir_transport::{Address, Connector, CredentialWatch, Credentials, Session};

use crate::config::SchedulerConfig;
use crate::container::chain;

/// What the agent calls itself.
const SOFTWARE: &str = concat!("weir-agent ", env!("CARGO_PKG_VERSION"));

/// How long a scheduler may take to answer a greeting: it has nothing to look up.
const GREETING_PATIENCE: Duration = Duration::from_secs(10);

/// How long the scheduler may take to have all that was said last.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(5);

/// The most events that wait for the shell, which takes microseconds for each. Then the stream waits.
const EVENTS_MAX: usize = 64;

/// The most calls that wait to be sent; the shell keeps what is more.
const CALLS_MAX: usize = 256;

/// The most calls of one write.
const CALLS_PER_WRITE: usize = 64;

/// What the shell wants of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Whether there should be one.
    pub(super) is_wanted: bool,
    /// Whether the one there is led to a registration.
    pub(super) is_registered: bool,
}

/// What the shell is told.
#[derive(Debug)]
pub(super) enum Told {
    /// The scheduler can be spoken to. When the sender is dropped, what was given is sent and the
    /// connection closed.
    Up {
        /// The name in the agent's certificate.
        name: AgentName,
        /// What is to be said.
        calls: mpsc::Sender<AgentCall>,
    },
    /// The scheduler said something.
    Heard(Box<AgentEvent>),
    /// It cannot be spoken to any more.
    Down,
}

/// How it goes, for metrics.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionReport {
    /// Attempts to connect.
    pub(super) attempts: u64,
    /// Those that led to a welcome.
    pub(super) welcomes: u64,
    /// The credentials, once they could be loaded.
    pub(super) credentials: Option<CredentialWatch>,
}

/// The shell's ends.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) told: mpsc::Receiver<Told>,
    pub(super) wanted: watch::Sender<Wanted>,
    pub(super) report: watch::Receiver<ConnectionReport>,
}

/// Starts the task. It ends when the shell's ends are dropped.
pub(super) fn spawn(config: &SchedulerConfig, credentials: LateCredentials) -> Connections {
    let (tell, told) = mpsc::channel(EVENTS_MAX);
    let (wanted, watched) = watch::channel(Wanted {
        is_wanted: false,
        is_registered: false,
    });
    let (publish, report) = watch::channel(ConnectionReport::default());
    let task = ConnectionTask {
        addresses: config.checked_addresses(),
        credentials,
        backoff: Backoff::new(
            Duration::from_millis(config.retry_first_ms),
            Duration::from_millis(config.retry_longest_ms),
        ),
        longest: Duration::from_millis(config.retry_longest_ms),
        tell,
        wanted: watched,
        publish,
    };
    tokio::spawn(task.run());
    Connections {
        told,
        wanted,
        report,
    }
}

struct ConnectionTask {
    addresses: Vec<Address>,
    credentials: LateCredentials,
    backoff: Backoff,
    longest: Duration,
    tell: mpsc::Sender<Told>,
    wanted: watch::Receiver<Wanted>,
    publish: watch::Sender<ConnectionReport>,
}

/// Says why the scheduler cannot be spoken to, or not any more.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("cannot connect to the scheduler at {address}")]
    Connect {
        address: Address,
        #[source]
        source: ConnectError,
    },
    #[error("cannot greet the scheduler at {address}")]
    Greet {
        address: Address,
        #[source]
        source: SendError,
    },
    #[error("the scheduler cannot be heard")]
    Receive(#[source] ReceiveError),
    #[error("the scheduler cannot be told anything")]
    Send(#[source] SendError),
    #[error("the scheduler has not answered the greeting within {} s", GREETING_PATIENCE.as_secs())]
    Silent,
    #[error("the scheduler has ended the conversation")]
    Ended,
    #[error("the scheduler does not welcome the agent: {reason}")]
    Unwelcome { reason: String, remedy: String },
    #[error("the scheduler sent what makes no sense: {reason}")]
    Nonsense { reason: String, remedy: String },
    #[error("the name `{name}` in the agent's certificate cannot be an agent's")]
    Name { name: String },
}

impl ConnectionError {
    /// Returns whether the same may work soon.
    fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { source, .. } => source.is_retryable(),
            Self::Greet { source, .. } | Self::Send(source) => match source {
                SendError::Disconnected(disconnect) => disconnect.is_retryable(),
                SendError::Stopped { code } => code.is_retryable(),
                SendError::NotReading { .. } | SendError::Finished => true,
                SendError::TooLarge(_) => false,
            },
            Self::Receive(source) => match source {
                ReceiveError::Disconnected(disconnect) => disconnect.is_retryable(),
                ReceiveError::GivenUp { code } => code.is_retryable(),
                ReceiveError::Over => true,
                ReceiveError::Frame(_) | ReceiveError::Message { .. } => false,
            },
            // It may have hung, and be restarted.
            Self::Silent | Self::Ended => true,
            Self::Unwelcome { .. } | Self::Nonsense { .. } | Self::Name { .. } => false,
        }
    }

    fn remedy(&self) -> String {
        match self {
            Self::Connect { source, .. } => source.remedy().to_owned(),
            Self::Unwelcome { remedy, .. } | Self::Nonsense { remedy, .. } => remedy.clone(),
            Self::Name { .. } => {
                "give the agent a certificate whose name is made of letters, digits, `-`, `_` and `.`"
                    .to_owned()
            }
            Self::Receive(ReceiveError::Disconnected(disconnect))
            | Self::Greet {
                source: SendError::Disconnected(disconnect),
                ..
            }
            | Self::Send(SendError::Disconnected(disconnect)) => disconnect.remedy().to_owned(),
            Self::Greet { .. }
            | Self::Receive(_)
            | Self::Send(_)
            | Self::Silent
            | Self::Ended => "if it goes on, see the scheduler's log".to_owned(),
        }
    }
}

/// What ends the task: the shell is gone.
struct Gone;

/// A welcome.
struct Welcomed {
    session: Session<wire::AgentCall, wire::AgentEvent>,
    name: AgentName,
}

impl ConnectionTask {
    async fn run(mut self) {
        let Ok(credentials) = self.await_credentials().await else {
            return;
        };
        // Nobody is told: whoever would be is gone.
        let Err(Gone) = self.serve(credentials).await;
    }

    async fn serve(
        &mut self,
        credentials: CredentialWatch,
    ) -> Result<std::convert::Infallible, Gone> {
        self.publish
            .send_modify(|report| report.credentials = Some(credentials.clone()));
        // No flood of a container keeps the agent's word from the scheduler.
        let limits = ConnectLimits {
            priority: Some(SESSION_CLASS),
            ..ConnectLimits::default()
        };
        let connector = Connector::new(credentials.clone(), limits);
        loop {
            self.until_wanted().await?;
            let shown = Arc::clone(&credentials.borrow().current);
            let error = match self.connect(&connector, &credentials).await? {
                Ok(welcomed) => self.converse(welcomed).await?,
                Err(error) => error,
            };
            let pause = if error.is_retryable() {
                self.backoff.next_delay(random())
            } else {
                self.longest
            };
            if self.wanted.borrow().is_wanted {
                let pause_ms = pause.as_millis();
                tracing::warn!(error = %chain(&error), remedy = error.remedy(), pause_ms, "the scheduler is away");
            } else {
                // Whoever wants no more has said why.
                tracing::info!(how = %chain(&error), "disconnected from the scheduler");
            }
            tokio::select! {
                paused = self.pause(pause) => paused?,
                // Whom nobody believed, or who believed nobody, need not wait to be believed now.
                () = until_replaced(credentials.clone(), &shown) => self.backoff.reset(),
            }
        }
    }

    /// Waits for the credentials, for as long as it takes.
    async fn await_credentials(&mut self) -> Result<CredentialWatch, Gone> {
        tokio::select! {
            there = self.credentials.wait_for(Option::is_some) => {
                let there = there.map_err(|_closed| Gone)?;
                there.clone().ok_or(Gone)
            }
            () = self.tell.closed() => Err(Gone),
        }
    }

    async fn until_wanted(&mut self) -> Result<(), Gone> {
        let wanted = self.wanted.wait_for(|wanted| wanted.is_wanted).await;
        wanted.map(drop).map_err(|_gone| Gone)
    }

    /// Waits; ends early with the shell.
    async fn pause(&mut self, pause: Duration) -> Result<(), Gone> {
        tokio::select! {
            () = sleep(pause) => Ok(()),
            () = self.tell.closed() => Err(Gone),
        }
    }

    /// Tries each address in turn.
    async fn connect(
        &mut self,
        connector: &Connector,
        credentials: &CredentialWatch,
    ) -> Result<Result<Welcomed, ConnectionError>, Gone> {
        let mut last = None;
        for address in self.addresses.clone() {
            self.publish.send_modify(|report| report.attempts += 1);
            let attempt = greet(connector, credentials, &address);
            let result = tokio::select! {
                result = attempt => result,
                () = self.tell.closed() => return Err(Gone),
            };
            match result {
                Ok(welcomed) => {
                    self.publish.send_modify(|report| report.welcomes += 1);
                    tracing::info!(%address, agent = %welcomed.name, "connected");
                    return Ok(Ok(welcomed));
                }
                Err(error) => last = Some(error),
            }
        }
        // There is at least one address, or there would be no task.
        Ok(Err(last.unwrap_or(ConnectionError::Ended)))
    }

    /// Passes on what comes and what goes, until either end closes.
    async fn converse(&mut self, welcomed: Welcomed) -> Result<ConnectionError, Gone> {
        let Welcomed { session, name } = welcomed;
        let (calls, given) = mpsc::channel(CALLS_MAX);
        self.tell(Told::Up { name, calls }).await?;
        let link = session.link().clone();
        let (sender, receiver) = session.split();
        let error = {
            let listening = listen(receiver, &self.tell);
            let speaking = speak(sender, given);
            tokio::pin!(listening, speaking);
            let mut is_spoken = false;
            loop {
                tokio::select! {
                    heard = &mut listening => break heard?,
                    spoken = &mut speaking, if !is_spoken => match spoken {
                        // The shell wants no more; what the scheduler still says is heard.
                        Ok(()) => is_spoken = true,
                        Err(error) => break ConnectionError::Send(error),
                    },
                    () = sleep(FAREWELL_PATIENCE), if is_spoken => break ConnectionError::Ended,
                }
            }
        };
        if let ConnectionError::Nonsense { reason, .. } = &error {
            link.close(CloseCode::Misbehaved, reason);
        } else {
            link.close(CloseCode::Done, "");
        }
        if self.wanted.borrow().is_registered {
            self.backoff.reset();
        }
        self.tell(Told::Down).await?;
        Ok(error)
    }

    async fn tell(&self, told: Told) -> Result<(), Gone> {
        self.tell.send(told).await.map_err(|_gone| Gone)
    }
}

/// Waits until other credentials are in force; for ever if there will be none.
async fn until_replaced(mut credentials: CredentialWatch, shown: &Arc<Credentials>) {
    let replaced = credentials.wait_for(|state| !Arc::ptr_eq(&state.current, shown));
    if replaced.await.is_err() {
        std::future::pending().await
    }
}

/// Connects to one address, and greets.
async fn greet(
    connector: &Connector,
    credentials: &CredentialWatch,
    address: &Address,
) -> Result<Welcomed, ConnectionError> {
    let mut session = connector
        .connect::<wire::Hello, wire::HelloAnswer>(address)
        .await
        .map_err(|source| ConnectionError::Connect {
            address: address.clone(),
            source,
        })?;
    let hello = Hello {
        versions: VersionRange::SPOKEN,
        capabilities: BTreeSet::new(),
        software: Line::new(SOFTWARE).expect("a name and a version are one line"),
    };
    let exchange = async {
        // A scheduler that refuses the certificate says so in what is read, not in what is written.
        let sent = session.send(&hello.clone().into_wire()).await;
        match session.receive().await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(ConnectionError::Ended),
            Err(source) => Err(match sent {
                Ok(()) => ConnectionError::Receive(source),
                Err(source) => ConnectionError::Greet {
                    address: address.clone(),
                    source,
                },
            }),
        }
    };
    let answer = timeout(GREETING_PATIENCE, exchange)
        .await
        .map_err(|_elapsed| ConnectionError::Silent)??;
    let welcome = match HelloAnswer::from_wire(answer) {
        Ok(HelloAnswer::Welcome(welcome)) => welcome,
        Ok(HelloAnswer::Refused(refused)) => {
            return Err(ConnectionError::Unwelcome {
                reason: refused.failure.reason.to_string(),
                remedy: refused.failure.remedy.to_string(),
            });
        }
        Err(refusal) => return Err(nonsense(&refusal.failure())),
    };
    hello
        .check(&welcome)
        .map_err(|failure| nonsense(&failure))?;
    let current = Arc::clone(&credentials.borrow().current);
    let name = current.identity().name().as_str();
    let name = AgentName::new(name).map_err(|_not_a_name| ConnectionError::Name {
        name: name.to_owned(),
    })?;
    Ok(Welcomed {
        session: session.continue_with(),
        name,
    })
}

fn nonsense(failure: &weir_protocol::Failure) -> ConnectionError {
    ConnectionError::Nonsense {
        reason: failure.reason.to_string(),
        remedy: failure.remedy.to_string(),
    }
}

/// Passes on what the scheduler says, until it says no more.
async fn listen(
    mut receiver: Receiver<wire::AgentEvent>,
    tell: &mpsc::Sender<Told>,
) -> Result<ConnectionError, Gone> {
    loop {
        let event = match receiver.receive().await {
            Ok(Some(wire)) => AgentEvent::from_wire(wire),
            Ok(None) => return Ok(ConnectionError::Ended),
            Err(error) => return Ok(ConnectionError::Receive(error)),
        };
        match event {
            Ok(event) => {
                let told = Told::Heard(Box::new(event));
                tell.send(told).await.map_err(|_gone| Gone)?;
            }
            Err(refusal) => return Ok(nonsense(&refusal.failure())),
        }
    }
}

/// Sends what the shell gives, and all of it before the end.
async fn speak(
    mut sender: Sender<wire::AgentCall>,
    mut given: mpsc::Receiver<AgentCall>,
) -> Result<(), SendError> {
    let mut id = CallId::FIRST;
    let mut calls = Vec::new();
    loop {
        if given.recv_many(&mut calls, CALLS_PER_WRITE).await == 0 {
            return match timeout(FAREWELL_PATIENCE, sender.finish()).await {
                Ok(finished) => finished,
                // It has had its time.
                Err(_elapsed) => Ok(()),
            };
        }
        let numbered: Vec<wire::AgentCall> = calls
            .drain(..)
            .map(|call| {
                let numbered = Numbered { id, call };
                id = id.next();
                numbered.into_wire()
            })
            .collect();
        sender.send_all(&numbered).await?;
    }
}

/// Returns a random number, for spreading things out.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    // The keys of the hasher are random, and others for each.
    RandomState::new().hash_one(std::time::SystemTime::now())
}
