//! The stage: a cluster's certificates, a scheduler whose words the test speaks, and the command.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use weir_protocol::{
    Envelope, FrameworkCall, FrameworkEvent, FrameworkId, FrameworkInfo, Hello, HelloAnswer,
    Limits, Line, Millis, Numbered, Welcome, wire,
};
use weir_transport::credentials::{CredentialFiles, CredentialState};
use weir_transport::listen::ListenLimits;
use weir_transport::{CloseCode, Credentials, Listener, PeerKind, Session};

/// How long anything may take on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future)
        .await
        .expect("what the test waits for did not come")
}

/// A directory with the certificates of a cluster.
pub(crate) struct Stage {
    directory: TempDir,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let stage = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let made = stage.weir(&[
            "certs",
            "init",
            "--directory",
            "certs",
            "--host",
            "127.0.0.1",
        ]);
        assert_done(&made);
        stage
    }

    /// A directory without anything in it.
    pub(crate) fn empty() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The command, away from whatever this host is configured to.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("WEIR_") {
                command.env_remove(name);
            }
        }
        command
            .args(words)
            .current_dir(self.directory.path())
            .env("HOME", self.directory.path())
            .env_remove("XDG_CONFIG_HOME")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn weir(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Starts the command towards a scheduler.
    pub(crate) fn start(&self, scheduler: &Scheduler, words: &[&str]) -> Running {
        let mut command = self.command(words);
        command
            .env("WEIR_CONFIG", self.path("certs/weir.toml"))
            .env("WEIR_SCHEDULER", scheduler.address.to_string());
        Running(command.spawn().unwrap())
    }
}

/// A command that runs.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) async fn output(self) -> Output {
        let wait = tokio::task::spawn_blocking(|| self.0.wait_with_output());
        within(wait).await.unwrap().unwrap()
    }

    pub(crate) fn interrupt(&self) {
        let pid = self.0.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
        assert!(sent.success());
    }
}

/// A scheduler that says what the test says.
pub(crate) struct Scheduler {
    listener: Listener,
    pub(crate) address: SocketAddr,
    certificates: PathBuf,
}

impl Scheduler {
    pub(crate) fn start(stage: &Stage) -> Self {
        let certificates = stage.path("certs");
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into(), &certificates).unwrap();
        Self {
            address: listener.local_address(),
            listener,
            certificates,
        }
    }

    /// Goes away, and comes back at the same address.
    pub(crate) async fn restart(self) -> Self {
        let Self {
            listener,
            address,
            certificates,
        } = self;
        listener.close(CloseCode::ShuttingDown, "restart").await;
        let again = async {
            loop {
                match bind(address, &certificates) {
                    Ok(listener) => return listener,
                    // The old socket is not closed yet.
                    Err(_busy) => sleep(Duration::from_millis(10)).await,
                }
            }
        };
        Self {
            listener: within(again).await,
            address,
            certificates,
        }
    }

    /// Waits for a peer, and welcomes it.
    pub(crate) async fn greet<Said: Envelope, Heard: Envelope>(
        &mut self,
        kind: PeerKind,
    ) -> Talk<Said, Heard> {
        let incoming = within(self.listener.accept()).await.unwrap();
        assert_eq!(incoming.peer().identity.kind(), kind);
        let mut session = incoming.into_session::<wire::HelloAnswer, wire::Hello>();
        let hello = within(session.receive()).await.unwrap().unwrap();
        let hello = Hello::from_wire(hello).unwrap();
        assert!(hello.software.as_str().starts_with("weir "), "{hello:?}");
        let welcome = HelloAnswer::Welcome(Welcome {
            version: 1,
            capabilities: [].into(),
            scheduler: Line::new("main").unwrap(),
            limits: Limits::OWN,
        });
        within(session.send(&welcome.into_wire())).await.unwrap();
        Talk {
            session: session.continue_with(),
        }
    }

    /// Waits for a framework, and subscribes it. Returns what it said of itself.
    pub(crate) async fn subscribe(
        &mut self,
    ) -> (FrameworkTalk, FrameworkInfo, Option<FrameworkId>) {
        let mut talk: FrameworkTalk = self.greet(PeerKind::Framework).await;
        let FrameworkCall::Subscribe { framework, id, .. } = talk.hear().await.call else {
            panic!("SUBSCRIBE comes first");
        };
        talk.say(FrameworkEvent::Subscribed {
            id: FRAMEWORK,
            scheduler: Line::new("main").unwrap(),
            heartbeat_interval: Millis(60_000),
        })
        .await;
        (talk, framework, id)
    }
}

/// What every framework is called here.
pub(crate) const FRAMEWORK: FrameworkId = FrameworkId::from_bits(7);

pub(crate) type FrameworkTalk = Talk<FrameworkEvent, Numbered<FrameworkCall>>;

/// A conversation with one peer.
pub(crate) struct Talk<Said: Envelope, Heard: Envelope> {
    session: Session<Said::Wire, Heard::Wire>,
}

impl<Said: Envelope, Heard: Envelope> Talk<Said, Heard> {
    pub(crate) async fn say(&mut self, said: Said) {
        within(self.session.send(&said.into_wire())).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> Heard {
        let heard = within(self.session.receive()).await.unwrap();
        let heard = heard.expect("the peer has more to say");
        Heard::from_wire(heard).unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    /// Returns whether the peer has nothing more to say.
    pub(crate) async fn is_over(&mut self) -> bool {
        !matches!(within(self.session.receive()).await, Ok(Some(_)))
    }
}

impl FrameworkTalk {
    /// Waits for a call of this name; calls before it are of no interest.
    pub(crate) async fn hear_of(&mut self, name: &str) -> FrameworkCall {
        loop {
            let call = self.hear().await.call;
            if call.name() == name {
                return call;
            }
        }
    }
}

fn bind(
    address: SocketAddr,
    certificates: &Path,
) -> Result<Listener, weir_transport::listen::ListenError> {
    let files = CredentialFiles {
        certificate: certificates.join("scheduler-main.pem"),
        key: certificates.join("scheduler-main-key.pem"),
        authorities: certificates.join("ca.pem"),
        revocations: Some(certificates.join("crl.pem")),
    };
    let credentials = Credentials::load(&files, &[PeerKind::Scheduler], SystemTime::now()).unwrap();
    Listener::bind(
        address,
        CredentialState::fixed(credentials),
        ListenLimits::default(),
    )
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
pub(crate) fn assert_done(output: &Output) {
    assert_exit(output, 0);
}

#[track_caller]
pub(crate) fn assert_exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", stderr(output));
}
