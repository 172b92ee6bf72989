//! A cluster's certificates in a directory, and the daemon as a process.

use std::fs;
use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::time::timeout;
use weir_client::{Event, Framework, FrameworkSettings};
use weir_protocol::{FrameworkInfo, Line, Millis};
use weir_resources::Labels;
use weir_transport::authority::{
    AUTHORITY_LIFETIME, Authority, CERTIFICATE_LIFETIME, IssueRequest, Overwrite,
};
use weir_transport::credentials::{CredentialFiles, CredentialState};
use weir_transport::{Address, CredentialWatch, Credentials, PeerKind, TrustDomain};

use crate::Arguments;

/// How long anything may take before the measurement is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something that must come.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> Result<T> {
    timeout(PATIENCE, future)
        .await
        .with_context(|| format!("{what} did not come within {PATIENCE:?}"))
}

/// One cluster, whose daemon runs until this is dropped.
pub(crate) struct Cluster {
    directory: TempDir,
    authority: Authority,
    daemon: Child,
    listen: Address,
    http: String,
}

impl Cluster {
    /// Starts a daemon with an empty database.
    pub(crate) fn start(arguments: &Arguments) -> Result<Self> {
        let directory = match &arguments.directory {
            Some(directory) => tempfile::tempdir_in(directory),
            // Beside the program: where it was built there is a disk.
            None => tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")),
        }
        .context("cannot make a directory for the cluster")?;
        let authority = Authority::create(
            &directory.path().join("ca"),
            &TrustDomain::new("weir.test")?,
            AUTHORITY_LIFETIME,
            SystemTime::now(),
        )?;
        let own = issue(&directory, &authority, PeerKind::Scheduler, "main")?;
        let config = directory.path().join("scheduler.toml");
        fs::write(&config, configuration(&directory, &own))
            .with_context(|| format!("cannot write {}", config.display()))?;
        let mut daemon = spawn(&config)?;
        let log = daemon.stderr.take().context("its log is piped")?;
        let (listen, http) = ready(BufReader::new(log))?;
        Ok(Self {
            directory,
            authority,
            daemon,
            listen: listen.parse()?,
            http,
        })
    }

    pub(crate) fn address(&self) -> &Address {
        &self.listen
    }

    /// Issues a certificate and reads it back.
    pub(crate) fn credentials(&self, kind: PeerKind, name: &str) -> Result<CredentialWatch> {
        let files = issue(&self.directory, &self.authority, kind, name)?;
        let credentials = Credentials::load(&files, &[kind], SystemTime::now())?;
        Ok(CredentialState::fixed(credentials))
    }

    /// Starts a framework of a role, and waits until it is subscribed.
    pub(crate) async fn framework(
        &self,
        credentials: &CredentialWatch,
        role: &str,
    ) -> Result<Framework> {
        let info = FrameworkInfo {
            name: Line::new("bench")?,
            role: role.parse()?,
            user: None,
            failover_timeout: Millis(600_000),
            unattended: false,
            capabilities: [].into(),
            labels: Labels::none(),
            weburl: None,
        };
        let settings = FrameworkSettings::new(info, Line::new("bench")?);
        let mut framework = Framework::start(self.listen.clone(), credentials.clone(), settings);
        let first = within("SUBSCRIBED", framework.next()).await??;
        ensure!(
            matches!(first, Event::Subscribed { .. }),
            "not subscribed: {first:?}"
        );
        Ok(framework)
    }

    /// Returns how many bytes of the daemon are resident, of all kinds and anonymous alone.
    pub(crate) fn resident(&self) -> Result<[u64; 2]> {
        let path = format!("/proc/{}/status", self.daemon.id());
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
            let kibibytes: u64 = kibibytes.context("no such line")?.parse()?;
            Ok(kibibytes * 1024)
        };
        Ok([field("VmRSS:")?, field("RssAnon:")?])
    }

    /// Returns how much time the daemon has had on processors, in seconds.
    pub(crate) fn on_cpu(&self) -> Result<f64> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.daemon.id()))?;
        let mut nanos = 0.0;
        for task in tasks {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let first = text.split_whitespace().next().context("an empty line")?;
            nanos += first.parse::<f64>()?;
        }
        Ok(nanos / 1e9)
    }

    /// Returns a metric of the daemon.
    pub(crate) fn metric(&self, name: &str) -> Result<f64> {
        let mut stream = TcpStream::connect(&self.http)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let value = answer
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = value.with_context(|| format!("there is no metric {name}"))?;
        Ok(value.parse()?)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.daemon.kill().ok();
        self.daemon.wait().ok();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the daemon is measured as the process that it is"
)]
fn spawn(config: &std::path::Path) -> Result<Child> {
    Command::new(env!("CARGO_BIN_EXE_weir-scheduler"))
        .arg("run")
        .arg("--config")
        .arg(config)
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start weir-scheduler")
}

/// Reads the log until the daemon serves, and goes on reading it.
fn ready(mut log: impl std::io::BufRead + Send + 'static) -> Result<(String, String)> {
    let mut line = String::new();
    loop {
        line.clear();
        ensure!(log.read_line(&mut line)? > 0, "weir-scheduler has ended");
        let Ok(entry) = serde_json::from_str::<serde_json::Value>(&line) else {
            eprint!("{line}");
            continue;
        };
        let fields = &entry["fields"];
        if fields["message"] != "ready" {
            eprint!("{line}");
            continue;
        }
        let text = |name: &str| fields[name].as_str().context("no such field");
        let listen: Vec<String> = serde_json::from_str(text("listen")?)?;
        let http = text("http")?.to_owned();
        let listen = listen.into_iter().next().context("it listens nowhere")?;
        // A pipe that nobody reads would stop whoever writes to it.
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                eprintln!("{line}");
            }
        });
        return Ok((listen, http));
    }
}

fn configuration(directory: &TempDir, own: &CredentialFiles) -> String {
    format!(
        r#"
[scheduler]
name = "main"
listen = ["127.0.0.1:0"]
state_directory = "{state}"
log_format = "json"
log_filter = "warn,weir_scheduler::daemon=info"

[tls]
certificate = "{certificate}"
key = "{key}"
authorities = "{authorities}"

[http]
listen = "127.0.0.1:0"

# What is left of an offer comes back at once: otherwise a caller would wait for its next one, and the wait be measured.
[offers]
refusal_ms_min = 0
"#,
        state = directory.path().join("state").display(),
        certificate = own.certificate.display(),
        key = own.key.display(),
        authorities = own.authorities.display(),
    )
}

fn issue(
    directory: &TempDir,
    authority: &Authority,
    kind: PeerKind,
    name: &str,
) -> Result<CredentialFiles> {
    let host_names = match kind {
        PeerKind::Scheduler => vec!["127.0.0.1".parse()?],
        PeerKind::Agent | PeerKind::Framework | PeerKind::Operator | PeerKind::Scraper => {
            Vec::new()
        }
    };
    let request = IssueRequest {
        kind,
        name: name.parse()?,
        host_names,
        lifetime: CERTIFICATE_LIFETIME,
    };
    let (_, files) = authority.issue_files(
        &request,
        &directory.path().join("certs"),
        Overwrite::Replace,
        SystemTime::now(),
    )?;
    Ok(CredentialFiles {
        certificate: files.certificate,
        key: files.key,
        authorities: authority.certificate_path(),
        revocations: None,
    })
}
