//! A cluster's certificates in a directory, and the daemon as a process.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tokio::time::timeout;
use weir_client::{Framework, FrameworkSettings, OperatorClient};
use weir_protocol::{FrameworkInfo, Line, Millis};
use weir_resources::Labels;
use weir_transport::authority::{
    AUTHORITY_LIFETIME, Authority, CERTIFICATE_LIFETIME, IssueRequest, Overwrite, Revoke,
};
use weir_transport::connect::ConnectLimits;
use weir_transport::credentials::{CredentialFiles, CredentialState};
use weir_transport::{
    Address, Connector, CredentialWatch, Credentials, Identity, PeerKind, TrustDomain,
};

/// How long anything may take on a machine that has other things to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something that must come.
pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it takes too long")
}

/// One cluster: its authority, its configuration, and the daemon if it runs.
pub(crate) struct World {
    directory: TempDir,
    pub(crate) authority: Authority,
    daemon: Option<Daemon>,
    /// What stands at the end of the configuration.
    rules: String,
    /// Where the daemon listens, once it has.
    listen: String,
    /// Where it is to serve metrics.
    pub(crate) http_listen: String,
}

struct Daemon {
    child: Child,
    http: String,
}

impl World {
    /// Returns a cluster without a daemon.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::create(
            &directory.path().join("ca"),
            &TrustDomain::new("weir.test").unwrap(),
            AUTHORITY_LIFETIME,
            SystemTime::now(),
        )
        .unwrap();
        let world = Self {
            directory,
            authority,
            daemon: None,
            rules: String::new(),
            http_listen: "127.0.0.1:0".to_owned(),
            listen: "127.0.0.1:0".to_owned(),
        };
        world.issue(PeerKind::Scheduler, "main");
        world
    }

    /// Returns a cluster whose daemon runs.
    pub(crate) fn running() -> Self {
        Self::with_rules("")
    }

    /// Returns the same with something at the end of the configuration.
    pub(crate) fn with_rules(rules: &str) -> Self {
        let mut world = Self::new();
        world.rules = rules.to_owned();
        world.start();
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn set_rules(&mut self, rules: &str) {
        self.rules = rules.to_owned();
        self.configure();
    }

    fn configure(&self) -> PathBuf {
        let path = self.path("scheduler.toml");
        let text = format!(
            r#"
[scheduler]
name = "main"
listen = ["{listen}"]
state_directory = "{state}"
log_format = "json"
log_filter = "debug,quinn=info,quinn_proto=info,rustls=info"

[tls]
certificate = "{certificate}"
key = "{key}"
authorities = "{authorities}"
revocations = "{revocations}"
reload_ms = 20

[http]
listen = "{http_listen}"
{rules}
"#,
            listen = self.listen,
            http_listen = self.http_listen,
            state = self.path("state").display(),
            certificate = self.path("certs/scheduler-main.pem").display(),
            key = self.path("certs/scheduler-main-key.pem").display(),
            authorities = self.authority.certificate_path().display(),
            revocations = self.authority.revocations_path().display(),
            rules = self.rules,
        );
        fs::write(&path, text).unwrap();
        path
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the daemon is tested as the process that it is"
    )]
    fn command(&self, subcommand: &str) -> Command {
        let config = self.configure();
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir-scheduler"));
        command.arg(subcommand).arg("--config").arg(config);
        command
    }

    /// Runs the daemon where it is known not to come up, and returns what it says.
    pub(crate) fn fails_to_start(&self) -> String {
        let (code, said) = self.ends_at_start();
        assert_eq!(code, 1, "{said}");
        said
    }

    /// Runs the daemon where it is known to end, and returns with what and what it says.
    pub(crate) fn ends_at_start(&self) -> (i32, String) {
        let output = self.command("run").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), said)
    }

    /// Starts the daemon, and returns once it serves.
    pub(crate) fn start(&mut self) {
        self.start_meeting(|_| {});
    }

    /// Starts the daemon, and returns once it serves; `meet` sees it with the address of its HTTP server
    /// before the database is read.
    pub(crate) fn start_meeting(&mut self, meet: impl FnOnce(&str)) {
        let mut child = self.command("run").stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (tell, ready) = mpsc::channel();
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                eprintln!("{line}");
                let Ok(entry) = serde_json::from_str::<serde_json::Value>(&line) else {
                    continue;
                };
                let fields = &entry["fields"];
                let text = |name: &str| fields[name].as_str().unwrap().to_owned();
                let said = match fields["message"].as_str() {
                    Some("reading the database") => text("http"),
                    Some("ready") => text("listen"),
                    _ => continue,
                };
                drop(tell.send(said));
            }
        });
        let http = ready.recv_timeout(PATIENCE).expect("the daemon starts");
        meet(&http);
        let listen = ready.recv_timeout(PATIENCE).expect("the daemon is ready");
        let addresses: Vec<String> = serde_json::from_str(&listen).unwrap();
        self.listen = addresses[0].clone();
        self.daemon = Some(Daemon { child, http });
    }

    /// Ends the daemon as a power failure would.
    pub(crate) fn kill(&mut self) {
        let mut daemon = self.daemon.take().expect("it runs");
        daemon.child.kill().unwrap();
        daemon.child.wait().unwrap();
    }

    /// Sends the daemon a signal.
    #[expect(
        clippy::disallowed_methods,
        reason = "a signal to another process takes `unsafe` or a program"
    )]
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.daemon.as_ref().expect("it runs").child.id();
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(pid.to_string())
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Stops the daemon as systemd does, and returns whether it went well.
    pub(crate) fn stop(&mut self) -> bool {
        self.signal("TERM");
        let mut daemon = self.daemon.take().expect("it runs");
        daemon.child.wait().unwrap().success()
    }

    pub(crate) fn address(&self) -> Address {
        self.listen.parse().unwrap()
    }

    fn identity(&self, kind: PeerKind, name: &str) -> Identity {
        let trust_domain = self.authority.trust_domain().clone();
        Identity::new(trust_domain, kind, name.parse().unwrap())
    }

    /// Issues a certificate, instead of any that its owner has.
    pub(crate) fn issue(&self, kind: PeerKind, name: &str) -> CredentialFiles {
        let host_names = match kind {
            PeerKind::Scheduler => vec!["127.0.0.1".parse().unwrap()],
            PeerKind::Agent | PeerKind::Framework | PeerKind::Operator | PeerKind::Scraper => {
                Vec::new()
            }
        };
        let request = IssueRequest {
            kind,
            name: name.parse().unwrap(),
            host_names,
            lifetime: CERTIFICATE_LIFETIME,
        };
        let (_, files) = self
            .authority
            .issue_files(
                &request,
                &self.path("certs"),
                Overwrite::Replace,
                SystemTime::now(),
            )
            .unwrap();
        CredentialFiles {
            certificate: files.certificate,
            key: files.key,
            authorities: self.authority.certificate_path(),
            revocations: Some(self.authority.revocations_path()),
        }
    }

    pub(crate) fn revoke(&self, kind: PeerKind, name: &str) {
        let which = Revoke::Identity(self.identity(kind, name));
        self.authority.revoke(&which, SystemTime::now()).unwrap();
    }

    pub(crate) fn credentials(&self, kind: PeerKind, name: &str) -> CredentialWatch {
        let files = self.issue(kind, name);
        let kinds = PeerKind::ALL;
        CredentialState::fixed(Credentials::load(&files, &kinds, SystemTime::now()).unwrap())
    }

    pub(crate) fn connector(&self, kind: PeerKind, name: &str) -> Connector {
        Connector::new(
            self.credentials(kind, name),
            ConnectLimits {
                handshake_patience: PATIENCE,
                ..ConnectLimits::default()
            },
        )
    }

    pub(crate) fn operator(&self, name: &str) -> OperatorClient {
        let credentials = self.credentials(PeerKind::Operator, name);
        let software = Line::new("test").unwrap();
        OperatorClient::new(self.address(), credentials, software).with_patience(PATIENCE)
    }

    /// Starts a framework of a role.
    pub(crate) fn framework(&self, name: &str, role: &str) -> Framework {
        let settings = FrameworkSettings::new(info(name, role), Line::new("test").unwrap());
        let credentials = self.credentials(PeerKind::Framework, name);
        Framework::start(self.address(), credentials, settings)
    }

    /// Returns where the daemon's HTTP server is.
    pub(crate) fn http(&self) -> &str {
        &self.daemon.as_ref().expect("it runs").http
    }

    /// Asks the daemon's HTTP server, and returns the whole answer.
    pub(crate) fn get(&self, path: &str) -> String {
        get(self.http(), path)
    }

    /// Returns a metric of the daemon.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let metrics = self.get("/metrics");
        let value = metrics
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.expect("there is such a metric").parse().unwrap()
    }
}

pub(crate) fn info(name: &str, role: &str) -> FrameworkInfo {
    FrameworkInfo {
        name: Line::new(name).unwrap(),
        role: role.parse().unwrap(),
        user: None,
        failover_timeout: Millis(600_000),
        unattended: false,
        capabilities: [].into(),
        labels: Labels::none(),
        weburl: None,
    }
}

/// Asks an HTTP server, and returns the whole answer.
pub(crate) fn get(http: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(http).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

impl Drop for World {
    fn drop(&mut self) {
        if self.daemon.is_some() {
            self.kill();
        }
    }
}
