//! The agent of a node: its configuration, its start and end, and its command line.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;

use super::Node;
use super::network::inside;
use super::statistics::Statistics;
use crate::command::{command, read};
use crate::interrupt::Interrupt;
use crate::{http, tree};

/// Where the agent answers, inside of the node's namespace.
const LISTEN: &str = "127.0.0.1:9464";

/// How long the agent may take to start or to stop: it loads programs, and no more.
const PATIENCE: Duration = Duration::from_secs(30);

/// A container as `weir-agent ps --json` lists it, as far as it is looked at here.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) ports: String,
    pub(crate) ephemeral: Option<String>,
    state: State,
}

#[derive(Clone, Debug, Deserialize)]
struct State {
    state: String,
    /// Its supervisor, while it runs.
    executor_pid: Option<i32>,
}

/// Which network a container is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// One of its own, with the node's addresses.
    Isolated,
    /// The node's.
    Host,
}

impl Network {
    /// Returns the word for it in the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Isolated => "isolated",
            Self::Host => "host",
        }
    }
}

impl Container {
    pub(crate) fn executor(&self) -> Option<i32> {
        self.state.executor_pid
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state.state == "running"
    }
}

impl Node {
    /// Returns `weir-agent`, told which agent is meant; arguments of the command follow.
    pub(crate) fn weir_agent(self, subcommand: &str) -> Command {
        let mut agent = command(program());
        agent.arg("--socket").arg(self.socket()).arg(subcommand);
        agent
    }

    /// Returns how to type that.
    pub(crate) fn weir_agent_text(self) -> String {
        format!(
            "{} --socket {}",
            program().display(),
            self.socket().display()
        )
    }

    /// Returns how to ask the agent for `path` by hand: its address is inside the namespace.
    pub(crate) fn curl_text(self, path: &str) -> String {
        format!(
            "nsenter --net={} curl http://{LISTEN}{path}",
            self.node_namespace().display()
        )
    }

    /// Starts a container that runs on by itself.
    pub(crate) fn exec_detached(self, options: &[&str], argv: &[&str]) -> Result<()> {
        read(
            self.weir_agent("exec")
                .arg("--detach")
                .args(options)
                .arg("--")
                .args(argv),
        )
        .map(drop)
    }

    /// Returns the containers that have not ended.
    pub(crate) fn containers(self) -> Result<Vec<Container>> {
        let json = read(self.weir_agent("ps").arg("--json"))?;
        serde_json::from_str(&json).context("weir-agent ps --json writes what is not expected")
    }

    /// Returns what every container has used.
    pub(crate) fn statistics(self) -> Result<Statistics> {
        Statistics::read(&read(self.weir_agent("stats").arg("--json"))?)
    }

    /// Asks the agent over HTTP.
    pub(crate) fn ask(self, path: &str) -> Result<String> {
        let address: SocketAddr = LISTEN.parse().context("the address is a constant")?;
        inside(self.node_namespace(), || http::get(address, path))?
    }

    fn config(self) -> PathBuf {
        self.home().join("agent.toml")
    }

    fn socket(self) -> PathBuf {
        self.run_directory().join("agent.sock")
    }

    /// Starts the agent in the node's namespace and waits until it is healthy.
    pub(crate) fn start_agent(self, interrupt: &Interrupt) -> Result<()> {
        self.write_config()?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .with_context(|| format!("cannot open {}", self.log().display()))?;
        // A session of its own: Ctrl-C in this terminal and its closing are for us, not for it. Both
        // programs before it end by becoming it, so it is our child.
        let mut child = command("setsid")
            .arg("nsenter")
            .arg(format!("--net={}", self.node_namespace().display()))
            .arg(program())
            .arg("run")
            .arg("--config")
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot copy a descriptor")?)
            .stderr(log)
            .spawn()
            .context("cannot start weir-agent")?;

        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().context("cannot wait for weir-agent")? {
                bail!("weir-agent ended with {status}:\n{}", self.log_end());
            }
            match self.ask("/health") {
                Ok(_healthy) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(error.context(format!(
                        "weir-agent is not healthy after {} s:\n{}",
                        PATIENCE.as_secs(),
                        self.log_end()
                    )));
                }
                Err(_not_yet) => interrupt.pause(Duration::from_millis(20))?,
            }
        }
    }

    /// Ends the agent, and not its containers; fine if it is not there.
    pub(crate) fn stop_agent(self) -> Result<()> {
        let Some(pid) = self.agent_process() else {
            return Ok(());
        };
        self.signal_agent(Signal::SIGTERM)?;
        let deadline = Instant::now() + PATIENCE;
        while self.agent_process().is_some() {
            if Instant::now() > deadline {
                // To whoever listens: a panic here would leave the rest of the node.
                writeln!(
                    io::stderr(),
                    "weir-agent (process {pid}) does not end; killing it"
                )
                .ok();
                return self.kill_agent();
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Kills the agent as a crash would, and waits until it is gone.
    pub(crate) fn kill_agent(self) -> Result<()> {
        self.signal_agent(Signal::SIGKILL)?;
        while self.agent_process().is_some() {
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn signal_agent(self, signal: Signal) -> Result<()> {
        let Some(pid) = self.agent_process() else {
            return Ok(());
        };
        match kill(pid, signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot send {signal} to {pid}")),
        }
    }

    /// Returns the process of the agent.
    ///
    /// Found by its command line, which names a file that is this node's alone: a file with its
    /// number would be missing if we were killed before we wrote it.
    pub(crate) fn agent_process(self) -> Option<Pid> {
        let config = self.config();
        let words = [
            OsStr::new("run"),
            OsStr::new("--config"),
            config.as_os_str(),
        ];
        let mut end = Vec::new();
        for word in words {
            end.push(0);
            end.extend(word.as_bytes());
        }
        end.push(0);
        fs::read_dir("/proc").ok()?.find_map(|entry| {
            let entry = entry.ok()?;
            let pid = entry.file_name().to_str()?.parse().ok()?;
            // Empty for one that has ended and that nobody has waited for.
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            line.ends_with(&end).then(|| Pid::from_raw(pid))
        })
    }

    /// Has the agent take away what it and its containers left on the node, if it can still be run.
    pub(super) fn clean_up(self) -> Result<()> {
        if !self.node_namespace().exists() || !self.config().exists() || !program().exists() {
            return Ok(());
        }
        read(
            command("nsenter")
                .arg(format!("--net={}", self.node_namespace().display()))
                .arg(program())
                .arg("cleanup")
                .arg("--kill-containers")
                .arg("--config")
                .arg(self.config()),
        )
        .map(drop)
    }

    fn write_config(self) -> Result<()> {
        let (state, run) = (self.state_directory(), self.run_directory());
        let text = format!(
            r#"# Written by `cargo xtask up`: everything of this node has names of its own.
[agent]
state_directory = "{state}"
socket = "{run}/agent.sock"

[network]
pin_directory = "{run}/bpf/weir"
{settings}

[cgroup]
parent = "{name}"

[container]
# NET_RAW for the container that tries to forge a packet.
capabilities_allowed = ["NET_BIND_SERVICE", "NET_RAW"]

[http]
listen = "{LISTEN}"
"#,
            state = state.display(),
            run = run.display(),
            settings = self.network_settings,
            name = self.name,
        );
        fs::write(self.config(), text)
            .with_context(|| format!("cannot write {}", self.config().display()))
    }

    fn log_end(self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// With which profile the agent is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// For whoever wants to see something: it is built in a quarter of the time (1 minute, not 4, on
    /// two CPUs), and what carries the packets are the programs in the kernel, which are always
    /// optimised. Its checks of arithmetic are on.
    Debug,
    /// For whoever measures the agent itself.
    Release,
}

/// Returns the agent that nodes run.
fn program() -> PathBuf {
    tree::target().join("debug").join("weir-agent")
}

/// Builds the agent and the executor.
pub(crate) fn build(profile: Profile) -> Result<()> {
    let mut cargo = crate::command::cargo();
    cargo.args(["build", "--locked"]);
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    crate::command::run(cargo.args(["--package=weir-agent", "--package=weir-executor"]))
}
