//! A directory with certificates, a daemon, agents, and the command.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use weir_protocol::{Estimate, Millis};
use weir_transport::credentials::{CredentialFiles, CredentialState};
use weir_transport::{Address, Credentials, PeerKind};

use crate::agent;
use crate::make;
use crate::node::Node;

/// How long anything may take on a machine that has other things to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What every agent has.
const HAS: &str = "cpus:4;mem:4096;disk:10000;ports:[31000-31009]";

/// What an agent lends twice that lends anything.
const LENDS: &str = "cpus{REV}:2;mem{REV}:512;port_blocks{REV}:2";

/// How many containers with networks of their own it has room for.
const PORT_BLOCKS: u32 = 8;

/// One cluster.
pub(crate) struct World {
    directory: TempDir,
    daemon: Option<Child>,
    address: String,
    runtime: tokio::runtime::Runtime,
}

impl World {
    /// Starts a daemon whose configuration ends with `rules`, with the certificates of `weir certs init`.
    pub(crate) fn new(rules: &str) -> Self {
        let mut world = Self {
            directory: tempfile::tempdir().unwrap(),
            daemon: None,
            address: String::new(),
            runtime: tokio::runtime::Runtime::new().unwrap(),
        };
        let init = "certs init --directory certs --host 127.0.0.1 --agent n1 --agent n2";
        world.done(init);
        world.start(rules);
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&mut self, rules: &str) {
        let config = self.path("scheduler.toml");
        let text = format!(
            r#"
[scheduler]
name = "main"
listen = ["127.0.0.1:0"]
state_directory = "{state}"
log_format = "json"

[tls]
certificate = "{certificates}/scheduler-main.pem"
key = "{certificates}/scheduler-main-key.pem"
authorities = "{certificates}/ca.pem"
revocations = "{certificates}/crl.pem"

[http]
listen = ""
{rules}
"#,
            state = self.path("state").display(),
            certificates = self.path("certs").display(),
        );
        fs::write(&config, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_weir-scheduler"))
            .arg("run")
            .arg("--config")
            .arg(config)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        self.daemon = Some(child);
        let (tell, ready) = mpsc::channel();
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                eprintln!("{line}");
                let Ok(entry) = serde_json::from_str::<Value>(&line) else {
                    continue;
                };
                let fields = &entry["fields"];
                if fields["message"] == "ready" {
                    drop(tell.send(fields["listen"].as_str().unwrap().to_owned()));
                }
            }
        });
        let listen = ready.recv_timeout(PATIENCE).expect("the daemon is ready");
        let addresses: Vec<String> = serde_json::from_str(&listen).unwrap();
        self.address = addresses[0].clone();
    }

    /// Ends the daemon as a power failure would.
    pub(crate) fn kill_daemon(&mut self) {
        let mut daemon = self.daemon.take().expect("it runs");
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    /// Starts an agent that has a certificate, and returns once it is listed.
    pub(crate) fn start_agent(&self, name: &str, number: u128) -> JoinHandle<()> {
        self.start_node(name, node(name, number))
    }

    /// Starts an agent that lends what is idle, too.
    pub(crate) fn start_lender(&self, name: &str, number: u128) -> JoinHandle<()> {
        let mut lender = node(name, number);
        let ttl = Millis(10 * 60 * 1000);
        let estimate = Estimate::new(1, ttl, make::resources(LENDS)).unwrap();
        lender.estimate = Some(estimate);
        self.start_node(name, lender)
    }

    fn start_node(&self, name: &str, node: Node) -> JoinHandle<()> {
        let files = CredentialFiles {
            certificate: self.path(&format!("certs/agent-{name}.pem")),
            key: self.path(&format!("certs/agent-{name}-key.pem")),
            authorities: self.path("certs/ca.pem"),
            revocations: None,
        };
        let loaded = Credentials::load(&files, &[PeerKind::Agent], SystemTime::now()).unwrap();
        let address: Address = self.address.parse().unwrap();
        let credentials = CredentialState::fixed(loaded);
        let running = self.runtime.spawn(agent::run(node, address, credentials));
        self.until("agents", |agents| find(agents, "name", name).is_some());
        running
    }

    /// Returns the command, away from whatever this host is configured to.
    fn command(&self, words: &[&str]) -> Command {
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
        if !self.address.is_empty() {
            command
                .env("WEIR_CONFIG", self.path("certs/weir.toml"))
                .env("WEIR_SCHEDULER", &self.address);
        }
        command
    }

    /// Runs the command, whose words have no spaces in them.
    pub(crate) fn weir(&self, line: &str) -> Output {
        let words: Vec<&str> = line.split(' ').collect();
        self.command(&words).output().unwrap()
    }

    /// Starts the command, and leaves it running.
    pub(crate) fn spawn(&self, line: &str) -> Child {
        let words: Vec<&str> = line.split(' ').collect();
        self.command(&words).spawn().unwrap()
    }

    /// Runs the command, which must succeed, and returns what it has written.
    #[track_caller]
    pub(crate) fn done(&self, line: &str) -> String {
        let output = self.weir(line);
        assert_exit(&output, 0);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the command, which must end with `code` and say what to try, and returns what it says.
    #[track_caller]
    pub(crate) fn fails(&self, line: &str, code: i32) -> String {
        let output = self.weir(line);
        assert_exit(&output, code);
        assert!(output.stdout.is_empty(), "stdout is for data");
        let said = stderr(&output);
        assert!(said.contains("\ntry: "), "{said}");
        said
    }

    /// Runs a listing, and returns it as machines get it.
    #[track_caller]
    pub(crate) fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.done(&format!("{line} --json"))).unwrap()
    }

    /// Runs a listing until it is as it must be, and returns it.
    #[track_caller]
    pub(crate) fn until(&self, line: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let found = self.json(line);
            if is_it(&found) {
                return found;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "`weir {line}` has only {found}"
            );
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.daemon.is_some() {
            self.kill_daemon();
        }
    }
}

fn node(name: &str, number: u128) -> Node {
    Node::new(name, &make::resources(HAS), number).with_blocks(PORT_BLOCKS)
}

/// Returns the entry of a listing whose field is `value`.
pub(crate) fn find<'a>(listing: &'a Value, field: &str, value: &str) -> Option<&'a Value> {
    let entries = listing.as_array().unwrap();
    entries.iter().find(|entry| entry[field] == value)
}

/// Returns whether a listing has nothing in it.
pub(crate) fn is_empty(listing: &Value) -> bool {
    listing.as_array().unwrap().is_empty()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
pub(crate) fn assert_exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}", stderr(output));
}

/// Ends a process as Ctrl-C does.
pub(crate) fn interrupt(child: &Child) {
    let pid = child.id().to_string();
    let sent = Command::new(Path::new("kill"))
        .args(["-INT", &pid])
        .status()
        .unwrap();
    assert!(sent.success());
}
