//! The life of the daemon, from its first log line to its last.
//!
//! 1. Load the certificates, and look for changes of them.
//! 2. Take the state directory: one scheduler per directory. Open the database.
//! 3. Make the ledger of what the database holds. Agents and frameworks are away until they come, and
//!    have time to.
//! 4. Listen, serve metrics, and tell systemd.
//! 5. On SIGHUP: read certificates and rules of access again. What cannot be used changes nothing.
//! 6. On SIGTERM or SIGINT: take nothing new, make durable what is under way, tell the peers, and go,
//!    after 20 s at most. They come back by themselves.
//!
//! What fails on the way ends the process with a reason and what to do: whatever was answered is
//! durable, so the next start goes on from there.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prometheus::Registry;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, timeout};
use weir_service::http::{HttpError, HttpServer, Way, is_plain};
use weir_service::notice::{Notice, attend, tell};
use weir_transport::credentials::CredentialError;
use weir_transport::listen::{ListenError, ListenLimits};
use weir_transport::scrape::{Gate, ScrapeLimits};
use weir_transport::{CloseCode, CredentialWatch, Listener, PeerKind, Reloader};

use crate::config::Config;
use crate::ledger::{Batch, Seed};
use crate::session::{Core, CoreError, CoreHandle, Door, DoorSettings, SessionMetrics};
use crate::store::{
    self, LockError, StateLock, StoreError, StoreHandle, StoreMetrics, StoreOptions,
};
use crate::telemetry::{Health, Stage, Telemetry, TransportMetrics};

/// The database, in the state directory.
const DATABASE_FILE: &str = "scheduler.db";

/// How long peers may take to hear that the scheduler stops.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(2);

/// How long what is under way may take to become durable: with the goodbye and the end of the database's
/// thread less than the 30 s of `TimeoutStopSec=`. What is not durable was answered to nobody.
const DURABLE_PATIENCE: Duration = Duration::from_secs(15);

/// How long the database's thread may take to close its file.
const CLOSE_PATIENCE: Duration = Duration::from_secs(3);

/// Says why the daemon did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The certificates.
    #[error("the certificates of [tls] cannot be used")]
    Credentials(#[source] CredentialError),
    /// The state directory.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// The socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// HTTP.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Signals.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    /// Random bits.
    #[error("cannot read random bits from /dev/urandom")]
    Random(#[source] io::Error),
    /// A bug.
    #[error("metrics cannot be made")]
    Metrics(#[from] prometheus::Error),
    /// The disk, most likely.
    #[error(
        "what was under way did not become durable within {} s; what was answered is",
        DURABLE_PATIENCE.as_secs()
    )]
    Slow,
    /// A bug.
    #[error("a task of the scheduler has ended by itself")]
    Task,
}

impl DaemonError {
    /// Returns what to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Credentials(error) => error.remedy().to_string(),
            Self::Lock(error) => error.remedy().to_owned(),
            Self::Store(error) | Self::Core(CoreError::Store(error)) => error.remedy().to_owned(),
            Self::Core(CoreError::Recover(error)) => error.remedy().to_owned(),
            Self::Listen(_) => {
                "set [scheduler] listen to addresses of this machine with free ports".to_owned()
            }
            Self::Http(_) => "set [http] listen to a free address, or to \"\"".to_owned(),
            Self::Slow => "look at the disk of [scheduler] state_directory".to_owned(),
            Self::Signals(_) | Self::Random(_) | Self::Metrics(_) | Self::Task => {
                "start it again; the log says more".to_owned()
            }
        }
    }
}

/// Runs the daemon until it is told to stop.
pub async fn run(config: Config, path: PathBuf) -> Result<(), DaemonError> {
    tracing::info!(version = env!("CARGO_PKG_VERSION"), name = %config.scheduler.name, "starting");
    let mut signals = Signals::new().map_err(DaemonError::Signals)?;
    let kinds = vec![PeerKind::Scheduler];
    let reloader = Reloader::spawn(config.tls.files(), kinds, config.tls.reload_interval())
        .map_err(DaemonError::Credentials)?;
    let registry = Registry::new();
    let transport = TransportMetrics::register(&registry, reloader.watch())?;
    let sessions = SessionMetrics::register(&registry)?;
    let counted = sessions.clone();

    let _lock = StateLock::take(&config.scheduler.state_directory)?;
    let (stage, stages) = watch::channel(Stage::Starting);
    let (alive, turns) = watch::channel(Instant::now());
    let health = Health::new(stages, turns);
    // Before the database is read, which may take a while: whoever asks is told that it is.
    let telemetry = Telemetry::new(registry.clone(), transport.clone(), health.clone());
    let http = match config.http.listen {
        Some(address) => {
            let way = way(address, reloader.watch(), &transport);
            Some(HttpServer::spawn(address, way, telemetry).await?)
        }
        None => None,
    };
    let metrics_at = http.as_ref().map(|http| http.address().to_string());
    tracing::info!(http = metrics_at, "reading the database");
    let (store, store_thread) = open_store(&config, &registry)?;
    let (core, handle) = Core::recover(
        config.ledger_settings(),
        Arc::new(config.rights()),
        Seed(random_bits().map_err(DaemonError::Random)?),
        store,
        sessions.clone(),
    )
    .await?;

    let (stop, stopping) = watch::channel(false);
    let mut core = tokio::spawn(core.run(stopping, alive));
    let door = Door::new(
        DoorSettings {
            scheduler: config.scheduler.name.clone(),
            metrics: sessions,
        },
        handle.clone(),
    );
    let listening = Listening::open(&config, reloader.watch(), &door, &transport)?;
    // In this order: who reads that it is ready may ask at once.
    stage.send_replace(Stage::Ready);
    tracing::info!(listen = ?listening.addresses, http = metrics_at, "ready");
    tell(Notice::Ready).await;
    let attending = tokio::spawn(attend(
        "the ledger",
        move || {
            let turns = health.ledger_turns();
            async move { turns }
        },
        move || counted.summary(),
    ));

    let result = loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Asked::Stop(name) => {
                    tracing::info!(signal = name, "stopping");
                    break Ok(());
                }
                Asked::Reload => reload(&path, &reloader, &handle).await,
            },
            ended = &mut core => break Err(why(ended)),
        }
    };
    stage.send_replace(Stage::Stopping);
    tell(Notice::Stopping).await;
    let result = match result {
        Ok(()) => {
            stop.send_replace(true);
            match timeout(DURABLE_PATIENCE, core).await {
                Ok(ended) => ended.map_or(Err(DaemonError::Task), |ended| Ok(ended?)),
                Err(_late) => Err(DaemonError::Slow),
            }
        }
        Err(error) => Err(error),
    };
    listening.close().await;
    attending.abort();
    if let Some(http) = http {
        http.stop();
    }
    // The core had the last handle, so what it gave is written, and the file is closed.
    let closed = tokio::task::spawn_blocking(|| store_thread.join());
    match timeout(CLOSE_PATIENCE, closed).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => tracing::error!("the database's thread cannot be waited for"),
        Err(_late) => {
            tracing::error!("the database is not closed; the next start looks through it")
        }
    }
    tracing::info!("stopped");
    result
}

/// Returns how those come in who read metrics.
fn way(address: SocketAddr, credentials: CredentialWatch, metrics: &TransportMetrics) -> Way {
    if is_plain(address) {
        return Way::Plain;
    }
    let gate = Gate::with(credentials, ScrapeLimits::default());
    metrics.add_gate(gate.counts());
    Way::Tls(gate)
}

fn open_store(
    config: &Config,
    registry: &Registry,
) -> Result<(StoreHandle<Batch>, store::StoreThread), DaemonError> {
    let path = config.scheduler.state_directory.join(DATABASE_FILE);
    let options = StoreOptions {
        audit_entries_max: config.scheduler.audit_entries_max,
        metrics: StoreMetrics::register(registry)?,
    };
    Ok(store::open(&path, options)?)
}

/// Reads certificates and rules of access again.
async fn reload(path: &Path, reloader: &Reloader, core: &CoreHandle) {
    tell(Notice::Reloading).await;
    match reloader.reload().await {
        Ok(()) => tracing::info!("the certificates were read again"),
        Err(error) => {
            tracing::error!(error = %chain(&error), "the former certificates stay in force")
        }
    }
    match Config::load(path) {
        Ok(config) => {
            core.set_policy(Arc::new(config.rights())).await;
            tracing::info!(
                "the rules of access were read again; all else counts from the next start"
            );
        }
        Err(error) => {
            tracing::error!(error = %chain(&error), "the former rules of access stay in force");
        }
    }
    tell(Notice::Ready).await;
}

/// Returns why the core ended before it was asked to.
fn why(ended: Result<Result<(), CoreError>, tokio::task::JoinError>) -> DaemonError {
    match ended {
        Ok(Err(error)) => error.into(),
        Ok(Ok(())) => DaemonError::Task,
        Err(error) => {
            tracing::error!(%error, "the ledger's task has ended");
            DaemonError::Task
        }
    }
}

/// The listeners, each with its door.
struct Listening {
    addresses: Vec<String>,
    stop: watch::Sender<bool>,
    doors: JoinSet<()>,
}

impl Listening {
    /// Listens on every address.
    fn open(
        config: &Config,
        credentials: CredentialWatch,
        door: &Door,
        metrics: &TransportMetrics,
    ) -> Result<Self, DaemonError> {
        let mut listeners = Vec::new();
        for address in &config.scheduler.listen {
            let limits = ListenLimits::default();
            listeners.push(Listener::bind(*address, credentials.clone(), limits)?);
        }
        let (stop, stopping) = watch::channel(false);
        let mut listening = Self {
            addresses: Vec::new(),
            stop,
            doors: JoinSet::new(),
        };
        for listener in listeners {
            metrics.add_listener(listener.counters());
            listening
                .addresses
                .push(listener.local_address().to_string());
            let serve = serve(listener, door.clone(), stopping.clone());
            listening.doors.spawn(serve);
        }
        Ok(listening)
    }

    /// Tells every peer that the scheduler stops, and waits until they have heard it.
    async fn close(mut self) {
        self.stop.send_replace(true);
        let all = async { while self.doors.join_next().await.is_some() {} };
        if timeout(GOODBYE_PATIENCE, all).await.is_err() {
            tracing::debug!("some peers have not heard that the scheduler stops");
        }
    }
}

async fn serve(mut listener: Listener, door: Door, mut stopping: watch::Receiver<bool>) {
    tokio::select! {
        () = door.serve(&mut listener) => tracing::error!("a listener has ended by itself"),
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    listener
        .close(CloseCode::ShuttingDown, "the scheduler stops")
        .await;
}

/// What a signal asks.
enum Asked {
    /// To stop.
    Stop(&'static str),
    /// To read certificates and rules again.
    Reload,
}

/// The signals that the daemon listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Asked::Stop("SIGINT"),
            _ = self.hangup.recv() => Asked::Reload,
        }
    }
}

/// Returns 128 bits that nobody has had before.
fn random_bits() -> io::Result<u128> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u128::from_le_bytes(bytes))
}

/// Returns an error with its causes, in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        // Some errors repeat what caused them.
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
