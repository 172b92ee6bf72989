//! A scheduler at the other end of the first node's wire, and the nodes that lend to it.
//!
//! ```text
//!  wire of node 1: weir-scheduler 10.9.0.1, fd09::1 ════ up0  node 1: weir-agent n1
//!                                 10.9.2.1          ════ sch0 node 2: weir-agent n2, whose own wire leads nowhere
//! ```

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Once;

use serde_json::Value;
use tempfile::TempDir;

use crate::node::{DEADLINE, Node, eventually, programs};

/// Where the scheduler listens.
const LISTEN: &str = "10.9.0.1:5151";

/// Where it serves HTTP, in the namespace of the wire.
pub(crate) const HTTP: &str = "127.0.0.1:9465";

/// What a node lends, unless a test says otherwise.
const LEND: &str = "resources.lend = \"cpus:4;mem:1024;disk:4096;ports:[31000-31019]\"\n";

/// What a node lends whose wire carries a rate that is known.
pub(crate) const LENT_WITH_RATES: &str = r#"
resources.lend = "cpus:4;mem:1024;disk:4096;ports:[31000-31019];network_egress:500;network_ingress:100"
bandwidth.egress = "1gbit"
bandwidth.ingress = "1gbit"
"#;

/// A cluster. Everything of it goes with it, also when the test has failed.
pub(crate) struct Cluster {
    /// By what their certificates call them: the first is `n1`.
    pub(crate) nodes: Vec<Node>,
    /// What stands at the end of the scheduler's configuration.
    pub(crate) rules: String,
    scheduler: Option<Child>,
    directory: TempDir,
}

/// How a command of `weir` ended, and what it said.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Returns what went to stdout, of a command that did what it was asked.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }
}

/// A command of `weir` that goes on. It goes with this.
pub(crate) struct Running(Child);

impl Running {
    /// Waits until it has ended.
    pub(crate) fn wait(mut self) -> Said {
        eventually("the command ends", || self.0.try_wait().unwrap());
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let child = &mut self.0;
        child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut stdout)
            .unwrap();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        Said {
            code: child.wait().unwrap().code(),
            stdout,
            stderr,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Cluster {
    /// Makes a scheduler and one node that has joined it.
    pub(crate) fn new() -> Self {
        Self::with(&[LEND])
    }

    /// Makes a scheduler and as many nodes, each with these lines in its configuration.
    pub(crate) fn with(lines: &[&str]) -> Self {
        let mut made = Self::without_agents(lines);
        for node in &mut made.nodes {
            node.start();
        }
        made.await_agents(lines.len());
        made
    }

    /// Makes the same without starting the agents.
    pub(crate) fn without_agents(lines: &[&str]) -> Self {
        build_scheduler();
        let nodes: Vec<Node> = lines.iter().map(|_| Node::without_daemon("")).collect();
        let mut made = Self {
            nodes,
            rules: String::new(),
            scheduler: None,
            directory: tempfile::tempdir().unwrap(),
        };
        let mut init = Command::new(programs().join("weir"));
        init.args(["certs", "init", "--host", "10.9.0.1", "--directory"]);
        init.arg(made.certificates());
        for number in 1..=lines.len() {
            init.args(["--agent", &format!("n{number}")]);
        }
        Said::of(&init.output().unwrap()).ok();
        for (index, lines) in lines.iter().enumerate() {
            made.connect(index);
            made.configure_node(index, lines);
        }
        made.start_scheduler();
        made
    }

    /// Links a node other than the first with the wire of the first.
    fn connect(&self, index: usize) {
        if index == 0 {
            return;
        }
        let wire = &self.nodes[0].wire;
        let end = format!("sch{index}");
        let other = format!("/proc/{}/fd/{}", std::process::id(), wire.as_raw_fd());
        let node = &self.nodes[index];
        let net = index + 1;
        node.ip(&format!(
            "link add sch0 type veth peer name {end} netns {other}"
        ));
        node.ip(&format!("addr add 10.9.{net}.2/24 dev sch0"));
        node.ip("link set sch0 up");
        let first = &self.nodes[0];
        first.on_wire(|| {
            crate::node::run("ip", &format!("addr add 10.9.{net}.1/24 dev {end}"));
            crate::node::run("ip", &format!("link set {end} up"));
        });
        node.ip(&format!("route add 10.9.0.1/32 via 10.9.{net}.1 dev sch0"));
    }

    /// Writes the configuration of a node anew: it works for the scheduler, and what `lines` say.
    pub(crate) fn configure_node(&self, index: usize, lines: &str) {
        let certificates = self.certificates();
        let file = |name: &str| certificates.join(name).display().to_string();
        let name = format!("n{}", index + 1);
        let standard = [
            ("scheduler.addresses", format!("[\"{LISTEN}\"]")),
            (
                "scheduler.certificate",
                format!("\"{}\"", file(&format!("agent-{name}.pem"))),
            ),
            (
                "scheduler.key",
                format!("\"{}\"", file(&format!("agent-{name}-key.pem"))),
            ),
            ("scheduler.authorities", format!("\"{}\"", file("ca.pem"))),
            ("scheduler.revocations", format!("\"{}\"", file("crl.pem"))),
            ("scheduler.reload_ms", "100".to_owned()),
            ("scheduler.retry_first_ms", "50".to_owned()),
            ("scheduler.retry_longest_ms", "1000".to_owned()),
            ("network.uplinks", "[\"up0\"]".to_owned()),
            // Ports that are given back are needed again by the next task of the test.
            ("network.quarantine_ms", "0".to_owned()),
            ("cgroup.allow_unenforced_limits", "true".to_owned()),
        ];
        let mut text = String::new();
        for (key, value) in standard.iter().filter(|(key, _)| !lines.contains(key)) {
            text.push_str(&format!("{key} = {value}\n"));
        }
        self.nodes[index].configure(&(text + lines));
    }

    // === places ===

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn certificates(&self) -> PathBuf {
        self.path("certs")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    // === the scheduler ===

    /// Starts the scheduler and waits until it serves.
    pub(crate) fn start_scheduler(&mut self) {
        assert!(self.scheduler.is_none(), "one scheduler at a time");
        let certificates = self.certificates();
        let text = format!(
            r#"
[scheduler]
listen = ["{LISTEN}"]
state_directory = "{state}"
[tls]
certificate = "{certificates}/scheduler-main.pem"
key = "{certificates}/scheduler-main-key.pem"
authorities = "{certificates}/ca.pem"
revocations = "{certificates}/crl.pem"
reload_ms = 100
[http]
listen = "{HTTP}"
{rules}
"#,
            state = self.state().display(),
            certificates = certificates.display(),
            rules = self.rules,
        );
        let config = self.path("scheduler.toml");
        fs::write(&config, text).unwrap();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path("scheduler.log"))
            .unwrap();
        let mut command = Command::new(programs().join("weir-scheduler"));
        command
            .args(["run", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let mut child = self.nodes[0].on_wire(|| command.spawn()).unwrap();
        eventually("the scheduler serves", || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", self.scheduler_log());
            self.ask("/health").map(drop)
        });
        self.scheduler = Some(child);
    }

    /// Kills the scheduler as a power failure would.
    pub(crate) fn kill_scheduler(&mut self) {
        let mut child = self.scheduler.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Returns what the schedulers of this cluster have logged.
    pub(crate) fn scheduler_log(&self) -> String {
        fs::read_to_string(self.path("scheduler.log")).unwrap_or_default()
    }

    /// Asks the scheduler over HTTP; nothing if it does not answer well.
    pub(crate) fn ask(&self, path: &str) -> Option<String> {
        self.nodes[0].on_wire(|| ask(HTTP, path))
    }

    // === the command ===

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(programs().join("weir"));
        command
            .env("WEIR_CONFIG", self.certificates().join("weir.toml"))
            .args(words)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of `weir` to its end.
    pub(crate) fn weir(&self, words: &[&str]) -> Said {
        let mut command = self.command(words);
        Said::of(&self.nodes[0].on_wire(|| command.output()).unwrap())
    }

    /// Starts a command of `weir`.
    pub(crate) fn start(&self, words: &[&str]) -> Running {
        let mut command = self.command(words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Running(self.nodes[0].on_wire(|| command.spawn()).unwrap())
    }

    /// Returns a listing of `weir`, of what lists as one array.
    pub(crate) fn list(&self, words: &[&str]) -> Vec<Value> {
        let json = self.weir(&[words, &["--json"]].concat()).ok();
        serde_json::from_str(&json).unwrap()
    }

    /// Waits until the scheduler is connected with so many agents.
    pub(crate) fn await_agents(&self, count: usize) {
        eventually("the agents have joined", || {
            let agents = self.list(&["agents"]);
            let connected = agents.iter().filter(|agent| agent["state"] == "connected");
            (connected.count() == count).then_some(())
        });
    }

    /// Waits until so many tasks run.
    pub(crate) fn await_running(&self, count: usize) -> Vec<Value> {
        eventually("the tasks run", || {
            let tasks = self.list(&["tasks"]);
            let running = tasks.iter().filter(|task| task["state"] == "TASK_RUNNING");
            (running.count() == count).then_some(tasks)
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.scheduler_log();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(40)..].join("\n");
            drop(writeln!(
                std::io::stderr(),
                "the scheduler logged last:\n{last}"
            ));
        }
        if let Some(mut child) = self.scheduler.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// The scheduler and `weir` are another package's, which building this test does not build.
fn build_scheduler() {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "weir-scheduler", "--bins"]);
        if programs().ends_with("release") {
            build.arg("--release");
        }
        assert!(
            build.status().unwrap().success(),
            "weir-scheduler does not build"
        );
    });
}

/// Asks over HTTP; nothing if there is no good answer.
pub(crate) fn ask(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.1 200").then_some(answer)
}
