//! A cluster's certificates in a directory, and processes that use them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use weir_transport::authority::{
    AUTHORITY_LIFETIME, Authority, CERTIFICATE_LIFETIME, IssueRequest, Issued, Overwrite, Revoke,
};
use weir_transport::connect::{ConnectError, ConnectLimits};
use weir_transport::credentials::{CredentialFiles, CredentialState};
use weir_transport::listen::{ListenLimits, RefusedPeer};
use weir_transport::{
    Address, Connector, CredentialWatch, Credentials, Identity, Listener, PeerKind, Reloader,
    Session, TrustDomain,
};

/// How often changed files are looked for.
pub(crate) const LOOK: Duration = Duration::from_millis(20);

/// What must come, comes within this time on however slow a machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Messages of the tests are plain texts.
pub(crate) type Words = Session<String, String>;

/// One authority, its certificates, and a bundle that can be changed.
pub(crate) struct World {
    directory: TempDir,
    pub(crate) authority: Authority,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::of("weir.test")
    }

    pub(crate) fn of(trust_domain: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let trust_domain = TrustDomain::new(trust_domain).unwrap();
        let authority = Authority::create(
            &directory.path().join("ca"),
            &trust_domain,
            AUTHORITY_LIFETIME,
            SystemTime::now(),
        )
        .unwrap();
        fs::copy(
            authority.certificate_path(),
            directory.path().join("bundle.pem"),
        )
        .unwrap();
        Self {
            directory,
            authority,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn bundle(&self) -> PathBuf {
        self.path("bundle.pem")
    }

    pub(crate) fn key_path(&self) -> PathBuf {
        self.path("ca/ca-key.pem")
    }

    pub(crate) fn identity(&self, kind: PeerKind, name: &str) -> Identity {
        Identity::new(
            self.authority.trust_domain().clone(),
            kind,
            name.parse().unwrap(),
        )
    }

    /// Issues a certificate, and returns where everything is that its owner needs.
    pub(crate) fn issue(&self, kind: PeerKind, name: &str) -> CredentialFiles {
        self.issue_at(kind, name, SystemTime::now(), CERTIFICATE_LIFETIME)
    }

    pub(crate) fn issue_at(
        &self,
        kind: PeerKind,
        name: &str,
        now: SystemTime,
        lifetime: Duration,
    ) -> CredentialFiles {
        let (_, files) = self
            .authority
            .issue_files(
                &request(kind, name, lifetime),
                &self.path("certs"),
                Overwrite::Refuse,
                now,
            )
            .unwrap();
        self.with(files.certificate, files.key)
    }

    /// Issues a certificate just so, and returns where everything is that its owner needs.
    pub(crate) fn issue_as(&self, request: IssueRequest) -> CredentialFiles {
        let to = self.path("certs");
        let issued =
            self.authority
                .issue_files(&request, &to, Overwrite::Refuse, SystemTime::now());
        let (_, files) = issued.unwrap();
        self.with(files.certificate, files.key)
    }

    /// Issues another certificate in the place of one that is there.
    pub(crate) fn issue_again(&self, kind: PeerKind, name: &str) -> Issued {
        let (issued, _) = self
            .authority
            .issue_files(
                &request(kind, name, CERTIFICATE_LIFETIME),
                &self.path("certs"),
                Overwrite::Replace,
                SystemTime::now(),
            )
            .unwrap();
        issued
    }

    pub(crate) fn with(&self, certificate: PathBuf, key: PathBuf) -> CredentialFiles {
        CredentialFiles {
            certificate,
            key,
            authorities: self.bundle(),
            revocations: Some(self.authority.revocations_path()),
        }
    }

    pub(crate) fn credentials(&self, kind: PeerKind, name: &str) -> CredentialWatch {
        load(&self.issue(kind, name))
    }

    pub(crate) fn revoke(&self, kind: PeerKind, name: &str) {
        self.authority
            .revoke(
                &Revoke::Identity(self.identity(kind, name)),
                SystemTime::now(),
            )
            .unwrap();
    }

    /// Starts a scheduler that says every word back.
    pub(crate) fn scheduler(&self) -> Scheduler {
        self.scheduler_with(listen_limits())
    }

    pub(crate) fn scheduler_with(&self, limits: ListenLimits) -> Scheduler {
        let files = self.issue(PeerKind::Scheduler, "main");
        let reloader = spawn_reloader(&files);
        Scheduler::start(reloader.watch(), limits, Some(reloader))
    }
}

/// A scheduler that says every word back.
pub(crate) struct Scheduler {
    pub(crate) address: Address,
    pub(crate) refusals: tokio::sync::broadcast::Receiver<RefusedPeer>,
    pub(crate) counters: weir_transport::listen::Counters,
    pub(crate) reloader: Option<Reloader>,
    /// Who was accepted, in that order.
    pub(crate) accepted: tokio::sync::mpsc::UnboundedReceiver<weir_transport::listen::Peer>,
    task: JoinHandle<()>,
}

impl Scheduler {
    pub(crate) fn start(
        credentials: CredentialWatch,
        limits: ListenLimits,
        reloader: Option<Reloader>,
    ) -> Self {
        let mut listener = Listener::bind(loopback(), credentials, limits).unwrap();
        let address = listener.local_address().into();
        let refusals = listener.refusals();
        let counters = listener.counters();
        let (tell, accepted) = tokio::sync::mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            while let Some(incoming) = listener.accept().await {
                tell.send(incoming.peer().clone()).ok();
                tokio::spawn(echo(incoming.into_session()));
            }
        });
        Self {
            address,
            refusals,
            counters,
            reloader,
            accepted,
            task,
        }
    }

    /// Waits for the next refusal.
    pub(crate) async fn refusal(&mut self) -> RefusedPeer {
        within(self.refusals.recv()).await.unwrap()
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Says every word back until the conversation ends.
async fn echo(mut session: Words) {
    while let Ok(Some(word)) = session.receive().await {
        if session.send(&word).await.is_err() {
            return;
        }
    }
    session.finish().await.ok();
}

pub(crate) fn load(files: &CredentialFiles) -> CredentialWatch {
    CredentialState::fixed(Credentials::load(files, &PeerKind::ALL, SystemTime::now()).unwrap())
}

pub(crate) fn spawn_reloader(files: &CredentialFiles) -> Reloader {
    Reloader::spawn(files.clone(), PeerKind::ALL.to_vec(), LOOK).unwrap()
}

pub(crate) fn request(kind: PeerKind, name: &str, lifetime: Duration) -> IssueRequest {
    let host_names = match kind {
        PeerKind::Scheduler => vec![
            "127.0.0.1".parse().unwrap(),
            "scheduler.weir.test".parse().unwrap(),
        ],
        PeerKind::Agent | PeerKind::Framework | PeerKind::Operator | PeerKind::Scraper => {
            Vec::new()
        }
    };
    IssueRequest {
        kind,
        name: name.parse().unwrap(),
        host_names,
        lifetime,
    }
}

/// Writes the authorities of `worlds` into one bundle.
pub(crate) fn write_bundle(path: &Path, worlds: &[&World]) {
    let bundle: Vec<String> = worlds
        .iter()
        .map(|world| fs::read_to_string(world.authority.certificate_path()).unwrap())
        .collect();
    replace(path, bundle.concat().as_bytes());
}

/// Replaces a file at once, as whoever rotates certificates should.
pub(crate) fn replace(path: &Path, content: &[u8]) {
    let next = path.with_extension("next");
    fs::write(&next, content).unwrap();
    fs::rename(&next, path).unwrap();
}

/// Limits for a machine that has other things to do.
pub(crate) fn listen_limits() -> ListenLimits {
    ListenLimits {
        handshake_patience: PATIENCE,
        stream_patience: PATIENCE,
        ..ListenLimits::default()
    }
}

/// Limits for a machine that has other things to do.
pub(crate) fn connect_limits() -> ConnectLimits {
    ConnectLimits {
        handshake_patience: PATIENCE,
        ..ConnectLimits::default()
    }
}

/// Connects until a word was said back: what has short limits may take more than one attempt.
pub(crate) async fn served(address: &Address, credentials: CredentialWatch) {
    let connector = connector(credentials);
    let word = "served".to_owned();
    within(async {
        loop {
            match connector.connect(address).await {
                Ok(mut session) => {
                    let session: &mut Words = &mut session;
                    if session.send(&word).await.is_ok()
                        && matches!(session.receive().await, Ok(Some(heard)) if heard == word)
                    {
                        return;
                    }
                }
                Err(error) => assert!(error.is_retryable(), "{}", told(&error)),
            }
        }
    })
    .await;
}

pub(crate) fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub(crate) fn connector(credentials: CredentialWatch) -> Connector {
    Connector::new(credentials, connect_limits())
}

pub(crate) async fn connect(
    address: &Address,
    credentials: CredentialWatch,
) -> Result<Words, ConnectError> {
    within(connector(credentials).connect(address)).await
}

/// Says a word and hears it back.
pub(crate) async fn say(session: &mut Words, word: &str) {
    within(session.send(&word.to_owned())).await.unwrap();
    let heard = within(session.receive()).await.unwrap();
    assert_eq!(heard.as_deref(), Some(word));
}

/// Waits for what must come, on however slow a machine.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future)
        .await
        .expect("what the test waits for did not come")
}

/// Returns an error with all its causes, as a log has it.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        told.push_str(": ");
        told.push_str(&source.to_string());
        next = source.source();
    }
    told
}
